//! Sizes as Flux's events tell them: four digits at most, and units of a thousand.

const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];

/// `1.234kB` of 1234.
pub fn human_size(bytes: u64) -> String {
    // By its digits: a cast would lose those that are not shown.
    let mut size: f64 = bytes.to_string().parse().unwrap_or(f64::MAX);
    let mut unit = 0;
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    let decimals = match size {
        _ if size >= 100.0 => 1,
        _ if size >= 10.0 => 2,
        _ => 3,
    };
    let digits = format!("{size:.decimals$}");
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    let unit = UNITS.get(unit).copied().unwrap_or_default();
    format!("{}{unit}", if digits.is_empty() { "0" } else { digits })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_digits_are_shown_and_no_zeros_behind_them() {
        for (bytes, expect) in [
            (0, "0B"),
            (90, "90B"),
            (100, "100B"),
            (1000, "1kB"),
            (1234, "1.234kB"),
            (12_345, "12.35kB"),
            (123_449, "123.4kB"),
            (999_999, "1000kB"),
            (20_000_000, "20MB"),
            (53_100_000, "53.1MB"),
        ] {
            assert_eq!(human_size(bytes), expect);
        }
    }
}
