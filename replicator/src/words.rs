//! Amounts and times as people read them.

/// A size in bytes: `1.2 GiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if value < 9.95 { 2 } else { usize::from(value < 99.5) };
    format!("{value:.digits$} {}", UNITS[unit])
}

/// How many of something: `1 file`, `2 files`.
pub fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// A span of time: `340 ms`, `12.3 s`, `4 min 05 s`, `3 h 20 min`, `2 d 4 h`.
pub fn span(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0 => format!("{:.0} ms", seconds * 1000.0),
        1..=59 => format!("{seconds:.1} s"),
        60..=3599 => format!("{} min {:02} s", whole / 60, whole % 60),
        3600..=86_399 => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
        _ => format!("{} d {} h", whole / 86_400, whole / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_spans() {
        let sizes = [(0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (1_300_000_000, "1.21 GiB"), (1023 * 1024, "1.00 MiB")];
        for (bytes, text) in sizes {
            assert_eq!(size(bytes), text);
        }
        for (seconds, text) in [(0.25, "250 ms"), (12.34, "12.3 s"), (245.0, "4 min 05 s"), (12_000.0, "3 h 20 min")] {
            assert_eq!(span(seconds), text);
        }
    }
}
