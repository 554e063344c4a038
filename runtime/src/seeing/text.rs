//! Numbers as people read them, and values in short.

use std::fmt::{self, Write};

/// Nanoseconds, to three digits: `870 ns`, `12.3 µs`, `4.56 s`, `2 h 05 min`.
pub(crate) fn nanos(nanos: u64) -> String {
    let value = nanos as f64;
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..999_500 => format!("{} µs", digits(value / 1e3)),
        999_500..999_500_000 => format!("{} ms", digits(value / 1e6)),
        999_500_000..60_000_000_000 => format!("{} s", digits(value / 1e9)),
        60_000_000_000..3_600_000_000_000 => {
            let seconds = nanos / 1_000_000_000;
            format!("{} min {:02} s", seconds / 60, seconds % 60)
        }
        _ => {
            let minutes = nanos / 60_000_000_000;
            format!("{} h {:02} min", minutes / 60, minutes % 60)
        }
    }
}

/// Bytes, to three digits: `512 B`, `1.50 KiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut value, mut unit) = (bytes as f64 / 1024.0, 0);
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{} {}", digits(value), UNITS[unit])
}

/// Three digits.
fn digits(value: f64) -> String {
    match value {
        ..9.995 => format!("{value:.2}"),
        ..99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// A count with its thousands apart: `1 234 567`.
pub(crate) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Most characters of a value in short.
const MOST: usize = 80;

/// Text that ends early: what is written beyond is an error, which ends a `Debug` of something large before it is all made.
#[derive(Debug, Default)]
pub(crate) struct Short {
    text: String,
    chars: usize,
    is_cut: bool,
}

impl Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for char in text.chars() {
            if self.chars == MOST {
                self.is_cut = true;
                return Err(fmt::Error);
            }
            self.text.push(if char.is_control() { ' ' } else { char });
            self.chars += 1;
        }
        Ok(())
    }
}

impl Short {
    /// What was written, with a sign where it was cut.
    pub(crate) fn finish(mut self) -> String {
        if self.is_cut {
            self.text.pop();
            self.text.push('…');
        }
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        let times = [0, 999, 1_000, 12_345, 999_499, 999_500, 1_500_000_000, 61_000_000_000, 7_500_000_000_000];
        let texts: Vec<_> = times.into_iter().map(nanos).collect();
        let wanted =
            ["0 ns", "999 ns", "1.00 µs", "12.3 µs", "999 µs", "1.00 ms", "1.50 s", "1 min 01 s", "2 h 05 min"];
        assert_eq!(texts, wanted);
        assert_eq!([bytes(0), bytes(1023), bytes(1024), bytes(1 << 20)], ["0 B", "1023 B", "1.00 KiB", "1.00 MiB"]);
        assert_eq!([count(7), count(1234), count(1_234_567)], ["7", "1 234", "1 234 567"]);
    }

    #[test]
    fn large_values_are_cut_before_they_are_made() {
        let mut short = Short::default();
        assert!(write!(short, "{:?}", vec![1u8; 1 << 24]).is_err());
        let text = short.finish();
        assert_eq!(text.chars().count(), MOST);
        assert!(text.ends_with('…'), "{text}");
    }
}
