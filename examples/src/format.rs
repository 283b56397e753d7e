//! Numbers for people.

use std::time::Duration;

/// With a comma every three digits: `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number of things: `1 worker`, `2 workers`.
pub fn count(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", grouped(number))
}

/// Three digits and a unit: `4.21 ms`.
pub fn duration(duration: Duration) -> String {
    let nanos = duration.as_nanos() as f64;
    let (value, unit) = match nanos {
        ..1e3 => (nanos, "ns"),
        ..1e6 => (nanos / 1e3, "µs"),
        ..1e9 => (nanos / 1e6, "ms"),
        _ => (nanos / 1e9, "s"),
    };
    let decimals = match value {
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

/// Beyond this many workers only the extremes are told.
const LISTED: usize = 8;

/// How much each worker has: `250 + 250`, or `28 to 35 each` for many.
pub fn spread(values: &[u64]) -> String {
    if values.len() <= LISTED {
        let values: Vec<_> = values.iter().copied().map(grouped).collect();
        return values.join(" + ");
    }
    let least = values.iter().copied().min().unwrap_or(0);
    let most = values.iter().copied().max().unwrap_or(0);
    format!("{} to {} each", grouped(least), grouped(most))
}

/// What part each worker has, in percent: `51 + 49 %`.
pub fn shares(values: &[u64]) -> String {
    let total = values.iter().sum::<u64>().max(1) as f64;
    let percent = |value: &u64| (*value as f64 * 100.0 / total).round() as u64;
    format!(
        "{} %",
        spread(&values.iter().map(percent).collect::<Vec<_>>())
    )
}

/// A rate: `number` in `elapsed`, a second.
pub fn rate(number: u64, elapsed: Duration) -> u64 {
    (number as f64 / elapsed.as_secs_f64().max(1e-9)).round() as u64
}

/// Bytes in `elapsed` as megabytes (10^6) a second: `26.4 MB/s`.
pub fn throughput(bytes: u64, elapsed: Duration) -> String {
    let megabytes = bytes as f64 / 1e6 / elapsed.as_secs_f64().max(1e-9);
    format!("{megabytes:.1} MB/s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_in_groups_of_three() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(12_345_678), "12,345,678");
    }

    #[test]
    fn durations_have_three_digits() {
        assert_eq!(duration(Duration::from_nanos(17)), "17.0 ns");
        assert_eq!(duration(Duration::from_nanos(4_210)), "4.21 µs");
        assert_eq!(duration(Duration::from_micros(123_456)), "123 ms");
        assert_eq!(duration(Duration::from_secs(2)), "2.00 s");
    }

    #[test]
    fn many_workers_are_summed_up() {
        assert_eq!(spread(&[3, 1_000]), "3 + 1,000");
        assert_eq!(spread(&[5, 9, 7, 5, 9, 7, 5, 9, 7]), "5 to 9 each");
        assert_eq!(shares(&[1, 3]), "25 + 75 %");
        assert_eq!(shares(&[0, 0]), "0 + 0 %");
    }
}
