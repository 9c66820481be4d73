//! Sizes, rates, spans of time and percentages as people write them.
//!
//! Units are matched exactly, since `Mb` and `MB` differ by eight; a unit that differs in case only is named in the message.
//! `k`, `M`, `G`, `T` are powers of 1000, `Ki`, `Mi`, `Gi`, `Ti` powers of 1024 (IEC 80000-13).

use std::fmt;

use crate::problem::quote;

/// Why a text is not a size, a rate, a span of time or a percentage. Shown with what to write instead, where that can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitError {
    /// No number at the start.
    NoNumber(String),
    /// A number without a unit.
    NoUnit {
        /// As written.
        written: String,
        /// The same number with a likely unit.
        instead: Vec<String>,
    },
    /// A unit nobody knows here.
    UnknownUnit {
        /// The unit as written.
        unit: String,
        /// All units, comma-separated.
        known: String,
        /// What was probably meant, if that can be told.
        instead: Vec<String>,
    },
    /// More than 64 bits of bytes or milliseconds, or decimals that are not up to nine digits.
    TooLarge(String),
    /// Not a whole percentage, or above 100 %.
    Percentage(String),
}

impl UnitError {
    /// What to write, each a way to mean something else; empty if that cannot be told.
    pub fn instead(&self) -> &[String] {
        match self {
            Self::NoUnit { instead, .. } | Self::UnknownUnit { instead, .. } => instead,
            _ => &[],
        }
    }

    /// What is wrong, without what to write instead.
    pub fn wrong(&self) -> String {
        match self {
            Self::NoNumber(written) => format!("{} does not start with a number", quote(written)),
            Self::NoUnit { written, .. } => format!("{} has no unit", quote(written)),
            Self::UnknownUnit { unit, instead, .. } if !instead.is_empty() => format!("{} is not a unit here", quote(unit)),
            Self::UnknownUnit { unit, known, .. } => format!("{} is not one of the units {known}", quote(unit)),
            Self::TooLarge(written) => format!("{} is too large or has too many digits", quote(written)),
            Self::Percentage(written) => format!("{} is not a whole percentage from 0% to 100%", quote(written)),
        }
    }
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.wrong())?;
        let instead: Vec<_> = self.instead().iter().map(|instead| format!("{instead:?}")).collect();
        if instead.is_empty() { Ok(()) } else { write!(f, "; write {}", instead.join(" or ")) }
    }
}

impl std::error::Error for UnitError {}

/// A unit: its name and how many of the smallest unit it holds.
type Unit = (&'static str, u64);

const SIZE_UNITS: [Unit; 9] = [
    ("B", 1),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// In bits per second.
const RATE_UNITS: [Unit; 13] = [
    ("B/s", 8),
    ("kB/s", 8 * 1000),
    ("MB/s", 8 * 1_000_000),
    ("GB/s", 8 * 1_000_000_000),
    ("TB/s", 8 * 1_000_000_000_000),
    ("KiB/s", 8 << 10),
    ("MiB/s", 8 << 20),
    ("GiB/s", 8 << 30),
    ("TiB/s", 8 << 40),
    ("kbit/s", 1000),
    ("Mbit/s", 1_000_000),
    ("Gbit/s", 1_000_000_000),
    ("bit/s", 1),
];

/// In milliseconds.
const SPAN_UNITS: [Unit; 5] = [("ms", 1), ("s", 1000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Other ways in which people write [`SPAN_UNITS`], without the plural's `s`.
const SPAN_WORDS: [(&str, &str); 9] = [
    ("msec", "ms"),
    ("millisecond", "ms"),
    ("sec", "s"),
    ("second", "s"),
    ("m", "min"),
    ("minute", "min"),
    ("hr", "h"),
    ("hour", "h"),
    ("day", "d"),
];

/// How many of [`RATE_UNITS`] are bytes, the ones printed.
const BYTE_RATE_UNITS: usize = 9;

/// Digits taken after the decimal point.
const MAX_DECIMALS: usize = 9;

/// Reads a size such as `16 GiB`, `500 MB` or `1.5GiB`, in bytes; parts of a byte are dropped.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    parse(text, &SIZE_UNITS, "GiB", 1)
}

/// Reads a rate such as `50 MB/s` or `100 Mbit/s`, in bytes per second; parts of a byte are dropped.
pub fn parse_rate(text: &str) -> Result<u64, UnitError> {
    parse(text, &RATE_UNITS, "MB/s", 8)
}

/// Reads a span of time such as `15 min`, `5s` or `1.5 h`, in milliseconds; parts of one are dropped. A day has 24 hours.
pub fn parse_span(text: &str) -> Result<u64, UnitError> {
    parse(text, &SPAN_UNITS, "s", 1)
}

/// Reads a whole percentage such as `25%`, at most 100.
pub fn parse_percentage(text: &str) -> Result<u8, UnitError> {
    let number = text.trim().strip_suffix('%').map(str::trim_end);
    let all_digits = number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    let percentage = number.filter(|_| all_digits).and_then(|n| n.parse().ok()).filter(|p| *p <= 100);
    percentage.ok_or_else(|| UnitError::Percentage(text.to_owned()))
}

/// `bytes` exactly, in the unit that gives the shortest number: `16 GiB`, `500 MB`, `1537 B`.
pub fn print_size(bytes: u64) -> String {
    print(u128::from(bytes), &SIZE_UNITS)
}

/// `bytes_per_second` exactly, in the unit that gives the shortest number: `50 MB/s`.
pub fn print_rate(bytes_per_second: u64) -> String {
    print(u128::from(bytes_per_second) * 8, &RATE_UNITS[..BYTE_RATE_UNITS])
}

/// `milliseconds` exactly, in the unit that gives the shortest number: `15 min`, `1500 ms`.
pub fn print_span(milliseconds: u64) -> String {
    print(u128::from(milliseconds), &SPAN_UNITS)
}

fn parse(text: &str, units: &[Unit], usual: &str, divisor: u128) -> Result<u64, UnitError> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (&text[..end], text[end..].trim_start());
    if !number.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(UnitError::NoNumber(text.to_owned()));
    }
    if unit.is_empty() {
        return Err(UnitError::NoUnit { written: text.to_owned(), instead: vec![format!("{number} {usual}")] });
    }
    let known = units.iter().find(|(name, _)| *name == unit).ok_or_else(|| unknown_unit(number, unit, units))?;
    let small = scaled(number, known.1).ok_or_else(|| UnitError::TooLarge(text.to_owned()))?;
    u64::try_from(small / divisor).map_err(|_| UnitError::TooLarge(text.to_owned()))
}

/// `number`, perhaps with decimals, times `unit`.
fn scaled(number: &str, unit: u64) -> Option<u128> {
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    if decimals.is_empty() || decimals.len() > MAX_DECIMALS || !decimals.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let unit = u128::from(unit);
    let whole = u128::from(whole.parse::<u64>().ok()?) * unit;
    let part = u128::from(decimals.parse::<u64>().ok()?) * unit / 10_u128.pow(decimals.len() as u32);
    Some(whole + part)
}

fn unknown_unit(number: &str, unit: &str, units: &[Unit]) -> UnitError {
    let meant = if units == SPAN_UNITS { meant_spans(unit) } else { meant_amounts(unit, units) };
    let instead = meant.iter().map(|name| format!("{number} {name}")).collect();
    let known: Vec<_> = units.iter().map(|(name, _)| *name).collect();
    UnitError::UnknownUnit { unit: unit.to_owned(), known: known.join(", "), instead }
}

fn meant_spans(unit: &str) -> Vec<&'static str> {
    let lower = unit.to_lowercase();
    let word = lower.strip_suffix('s').filter(|word| !word.is_empty()).unwrap_or(&lower);
    let names = SPAN_UNITS.iter().map(|(name, _)| (*name, *name));
    names.chain(SPAN_WORDS).find(|(written, _)| *written == word || *written == lower).map(|(_, name)| name).into_iter().collect()
}

/// A unit in another case, or without its `B`, `iB` or `/s`, leads to those that can be meant: `mb/s` to `MB/s` and `Mbit/s`.
fn meant_amounts(unit: &str, units: &[Unit]) -> Vec<&'static str> {
    let bits = units.iter().any(|(name, _)| name.contains("bit"));
    let letters = |name: &str| {
        let name = name.to_lowercase().replace("/sec", "/s").replace("ps", "/s");
        if bits { name.replace("bit", "b") } else { name }
    };
    let wanted = letters(unit);
    let close = |name: &str| {
        let name = letters(name);
        let endings = ["", "/s", "b", "ib", "b/s", "ib/s"];
        endings.iter().any(|ending| name.strip_suffix(ending) == Some(&wanted))
    };
    match wanted.as_str() {
        "" | "/s" => Vec::new(),
        _ => units.iter().map(|(name, _)| *name).filter(|name| close(name)).collect(),
    }
}

fn print(amount: u128, units: &[Unit]) -> String {
    let exact = units.iter().filter(|(_, size)| amount.is_multiple_of(u128::from(*size)));
    let best = exact.min_by_key(|(_, size)| amount / u128::from(*size));
    match best {
        Some((name, size)) if amount > 0 => format!("{} {name}", amount / u128::from(*size)),
        // Nought is nought of the smallest unit.
        _ => format!("0 {}", units.first().map_or("", |(name, _)| name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_as_people_write_them() {
        for (text, bytes) in [
            ("16 GiB", 16 << 30),
            ("500 MB", 500_000_000),
            ("1.5GiB", 3 << 29),
            (" 0 B ", 0),
            ("2 TB", 2_000_000_000_000),
            ("0.0001 kB", 0),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "GiB", "-1 B", "1.2.3 MB", "1. MB", "16", "16 gib", "99999999999 TB", "1e3 MB", "1,5 GB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_in_bytes_and_bits() {
        assert_eq!(parse_rate("50 MB/s"), Ok(50_000_000));
        assert_eq!(parse_rate("100 Mbit/s"), Ok(12_500_000));
        assert_eq!(parse_rate("1MiB/s"), Ok(1 << 20));
        assert!(parse_rate("50 MB").is_err());
        assert_eq!(print_rate(12_500_000), "12500 kB/s");
    }

    #[test]
    fn spans_as_people_write_them() {
        for (text, ms) in
            [("15 min", 900_000), ("5s", 5000), ("6 h", 21_600_000), ("1.5 h", 5_400_000), ("250 ms", 250), ("2d", 172_800_000)]
        {
            assert_eq!(parse_span(text), Ok(ms), "{text}");
        }
        assert_eq!((print_span(900_000), print_span(5500), print_span(0)), ("15 min".into(), "5500 ms".into(), "0 ms".into()));
        let message = |text: &str| parse_span(text).unwrap_err().to_string();
        assert_eq!(message("15"), r#""15" has no unit; write "15 s""#);
        assert_eq!(message("15m"), r#""m" is not a unit here; write "15 min""#);
        assert_eq!(message("15 Minutes"), r#""Minutes" is not a unit here; write "15 min""#);
        assert_eq!(message("2 hrs"), r#""hrs" is not a unit here; write "2 h""#);
        assert_eq!(message("5 S"), r#""S" is not a unit here; write "5 s""#);
        assert_eq!(message("1 month"), r#""month" is not one of the units ms, s, min, h, d"#);
        assert!(message("99999999999999 d").contains("too large"));
    }

    #[test]
    fn messages_say_what_to_write() {
        let message = |text: &str| parse_size(text).unwrap_err().to_string();
        assert_eq!(message("16"), r#""16" has no unit; write "16 GiB""#);
        assert_eq!(message("16 gib"), r#""gib" is not a unit here; write "16 GiB""#);
        assert_eq!(message("16 G"), r#""G" is not a unit here; write "16 GB" or "16 GiB""#);
        let message = |text: &str| parse_rate(text).unwrap_err().to_string();
        assert_eq!(message("5 mbps"), r#""mbps" is not a unit here; write "5 MB/s" or "5 Mbit/s""#);
        assert_eq!(message("5 MiB"), r#""MiB" is not a unit here; write "5 MiB/s""#);
        let message = |text: &str| parse_size(text).unwrap_err().to_string();
        assert!(message("16 apples").ends_with("KiB, MiB, GiB, TiB"));
    }

    #[test]
    fn percentages() {
        assert_eq!(parse_percentage("25%"), Ok(25));
        assert_eq!(parse_percentage("100 %"), Ok(100));
        for bad in ["101%", "25", "%", "-1%", "+5%", "2.5%"] {
            assert!(parse_percentage(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(bytes in any::<u64>(), shift in 0..64_u32) {
            let bytes = bytes >> shift;
            prop_assert_eq!(parse_size(&print_size(bytes)), Ok(bytes));
            prop_assert_eq!(parse_rate(&print_rate(bytes)), Ok(bytes));
            prop_assert_eq!(parse_span(&print_span(bytes)), Ok(bytes));
        }

        #[test]
        fn whole_units_are_read_back(number in 0..10_000_u64, unit in 0..SIZE_UNITS.len()) {
            let bytes = number * SIZE_UNITS[unit].1;
            prop_assert_eq!(parse_size(&print_size(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = (parse_size(&text), parse_rate(&text), parse_span(&text), parse_percentage(&text));
        }
    }
}
