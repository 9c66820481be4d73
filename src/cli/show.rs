//! How things are written for people.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use standin_common::entry::Time;
use standin_replicator::journal::Point;
pub(crate) use standin_replicator::words::{count, size, span};

/// Prints to standard output. A reader that has gone away, such as `head`, is no error, but it is said: `false`.
pub(crate) fn print(text: &str) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    let newline = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
    match write!(out, "{text}{newline}").and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

/// A time in UTC, as RFC 3339. A peer may say any, also one that no calendar has.
pub(crate) fn time(at: Time) -> String {
    let since = Duration::new(u64::try_from(at.secs).unwrap_or(0), at.nanos.min(999_999_999));
    let mut text = String::new();
    match UNIX_EPOCH.checked_add(since).map(|at| write!(text, "{}", humantime::format_rfc3339_seconds(at))) {
        Some(Ok(())) => text,
        _ => format!("{} s after 1970", at.secs),
    }
}

/// How long ago a time was.
pub(crate) fn age(at: Time) -> String {
    let since = Duration::new(u64::try_from(at.secs).unwrap_or(0), at.nanos.min(999_999_999));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{} ago", span(now.saturating_sub(since).as_secs_f64()))
}

/// How good a point is.
pub(crate) fn grade(point: &Point) -> &'static str {
    if point.consistent { "consistent" } else { "one by one" }
}

/// Text of another machine or disk in one line, with nothing in it that could upset a terminal or its reader.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().flat_map(|c| if is_harmful(c) { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// The same of a text that may have several lines.
pub(crate) fn harmless_lines(text: &str) -> String {
    text.split('\n').map(harmless).collect::<Vec<_>>().join("\n")
}

/// Marks of direction (UAX #9) can make a name look like another one.
fn is_harmful(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Rows under a heading, each column as wide as its widest cell.
pub(crate) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([heading[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..heading.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<_> = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(&mut heading.iter().copied());
    rows.iter().for_each(|row| text.push_str(&line(&mut row.iter().map(String::as_str))));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_utc() {
        assert_eq!(time(Time { secs: 0, nanos: 5 }), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn a_table_is_aligned() {
        assert_eq!(table(&["a", "long"], &[vec!["xx".into(), "y".into()]]), "a   long\nxx  y\n");
    }

    #[test]
    fn nothing_upsets_a_terminal() {
        assert_eq!(harmless("a\x1b[31m\nä\u{202e}"), "a\\u{1b}[31m\\nä\\u{202e}");
        assert_eq!(harmless_lines("a\r\nb"), "a\\r\nb");
    }

    #[test]
    fn times_that_no_calendar_has_are_no_panic() {
        for secs in [i64::MIN, -1, 253_402_300_800, i64::MAX] {
            for at in [Time { secs, nanos: 0 }, Time { secs, nanos: u32::MAX }] {
                assert!(!time(at).is_empty() && age(at).ends_with(" ago"));
            }
        }
    }
}
