//! Durations as Go writes them (`1h30m0s`), which is how they stand in every spec and message. Clocks never enter.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest text that is read as a duration.
pub const DURATION_BYTES_MAX: usize = 128;

/// A span of time in nanoseconds, with Go's way to read and print it; at most about 292 years either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct GoDuration(i64);

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not of the form number-unit, repeated.
    #[error("{text:?} is not a duration such as 1h30m or 500ms")]
    Form {
        /// What was read.
        text: String,
    },
    /// Beyond what 64 bits of nanoseconds hold.
    #[error("the duration {text:?} is too long")]
    Range {
        /// What was read.
        text: String,
    },
}

/// Units with their length in nanoseconds; longer names before the names that they begin with.
const UNITS: &[(&str, u64)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3_600 * SECOND),
];
const SECOND: u64 = 1_000_000_000;

impl GoDuration {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A number of seconds; the longest span where it does not fit.
    pub const fn from_secs(seconds: u32) -> Self {
        Self(seconds as i64 * 1_000_000_000)
    }

    /// A number of nanoseconds.
    pub const fn from_nanos(nanoseconds: i64) -> Self {
        Self(nanoseconds)
    }

    /// In nanoseconds.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// As the standard library has it; zero where it is negative.
    pub fn to_std(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }

    /// This span less another, held inside the range.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl From<Duration> for GoDuration {
    /// The longest span where it does not fit.
    fn from(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl From<GoDuration> for Duration {
    fn from(duration: GoDuration) -> Self {
        duration.to_std()
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanoseconds = self.0.unsigned_abs();
        if self.0 < 0 {
            out.write_str("-")?;
        }
        if nanoseconds < SECOND {
            return match nanoseconds {
                0 => out.write_str("0s"),
                1..1_000 => write!(out, "{nanoseconds}ns"),
                1_000..1_000_000 => write!(out, "{}µs", Decimal { value: nanoseconds, unit: 1_000 }),
                _ => write!(out, "{}ms", Decimal { value: nanoseconds, unit: 1_000_000 }),
            };
        }
        let minutes = nanoseconds / (60 * SECOND);
        if minutes >= 60 {
            write!(out, "{}h", minutes / 60)?;
        }
        if minutes > 0 {
            write!(out, "{}m", minutes % 60)?;
        }
        write!(out, "{}s", Decimal { value: nanoseconds % (60 * SECOND), unit: SECOND })
    }
}

/// A value in a unit, with as many decimals as it needs.
struct Decimal {
    value: u64,
    unit: u64,
}

impl fmt::Display for Decimal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.value / self.unit, self.value % self.unit);
        if rest == 0 {
            return write!(out, "{whole}");
        }
        let digits = self.unit.ilog10() as usize;
        let decimals = format!("{rest:0digits$}");
        write!(out, "{whole}.{}", decimals.trim_end_matches('0'))
    }
}

impl FromStr for GoDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let form = || DurationError::Form { text: text.chars().take(DURATION_BYTES_MAX).collect() };
        let range = || DurationError::Range { text: text.to_owned() };
        if text.len() > DURATION_BYTES_MAX {
            return Err(form());
        }
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        if unsigned == "0" {
            return Ok(Self::ZERO);
        }
        if unsigned.is_empty() {
            return Err(form());
        }
        let (mut rest, mut total) = (unsigned, 0_u128);
        while !rest.is_empty() {
            let (part, after) = first_part(rest).ok_or_else(form)?;
            total = total.saturating_add(part);
            rest = after;
        }
        let total = i128::try_from(total).map_err(|_| range())?;
        let signed = if text.starts_with('-') { -total } else { total };
        i64::try_from(signed).map(Self).map_err(|_| range())
    }
}

/// The nanoseconds of the first number with its unit, and what follows.
fn first_part(text: &str) -> Option<(u128, &str)> {
    let (whole, rest) = digits(text);
    let (decimals, rest) = rest.strip_prefix('.').map_or(("", rest), digits);
    if whole.is_empty() && decimals.is_empty() {
        return None;
    }
    let unit_ends = rest.find(|letter: char| letter == '.' || letter.is_ascii_digit()).unwrap_or(rest.len());
    let (name, after) = rest.split_at(unit_ends);
    let (_, unit) = UNITS.iter().find(|(unit, _)| *unit == name)?;
    let unit = u128::from(*unit);
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().unwrap_or(u128::MAX) };
    // Beyond the eighteenth decimal nothing reaches a nanosecond of an hour.
    let decimals = decimals.get(..18).unwrap_or(decimals);
    let scale = 10_u128.pow(u32::try_from(decimals.len()).ok()?);
    let fraction = decimals.parse::<u128>().unwrap_or(0) * unit / scale;
    Some((whole.saturating_mul(unit).saturating_add(fraction), after))
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for GoDuration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "GoDuration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, nanoseconds: i64, printed: &str) {
        let duration: GoDuration = text.parse().unwrap();
        assert_eq!(duration.as_nanos(), nanoseconds, "{text}");
        assert_eq!(duration.to_string(), printed, "{text}");
        assert_eq!(printed.parse(), Ok(duration), "{printed}");
    }

    const S: i64 = 1_000_000_000;

    #[test]
    fn durations_are_read_and_printed_as_go_does() {
        check("1h30m", 5400 * S, "1h30m0s");
        check("60s", 60 * S, "1m0s");
        check("10m", 600 * S, "10m0s");
        check("1h", 3600 * S, "1h0m0s");
        check("100h", 360_000 * S, "100h0m0s");
        check("1.5h", 5400 * S, "1h30m0s");
        check("500ms", S / 2, "500ms");
        check("1s500ms", S * 3 / 2, "1.5s");
        check("1m0.05s", 60 * S + S / 20, "1m0.05s");
        check(".5s", S / 2, "500ms");
        check("1.s", S, "1s");
        check("0", 0, "0s");
        check("-0", 0, "0s");
        check("0s", 0, "0s");
        check("-1m30s", -90 * S, "-1m30s");
        check("+5s", 5 * S, "5s");
        check("1us", 1_000, "1µs");
        check("1.5µs", 1_500, "1.5µs");
        check("1100us", 1_100_000, "1.1ms");
        check("7ns", 7, "7ns");
        check("0.3333333333333333333h", 1_199_999_999_999, "19m59.999999999s");
        check("9223372036854775807ns", i64::MAX, "2562047h47m16.854775807s");
        check("-9223372036854775808ns", i64::MIN, "-2562047h47m16.854775808s");
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "3",
            "-",
            "s",
            ".",
            "-.",
            ".s",
            "+.s",
            "1d",
            "3000000h",
            "9223372036854775808ns",
            "1 s",
            "1s ",
        ] {
            assert!(text.parse::<GoDuration>().is_err(), "{text:?}");
        }
        assert!("1s".repeat(DURATION_BYTES_MAX).parse::<GoDuration>().is_err());
    }

    #[test]
    fn a_negative_span_is_no_time_for_a_timer() {
        assert_eq!(GoDuration::from_nanos(-1).to_std(), Duration::ZERO);
        assert_eq!(GoDuration::from_secs(90).to_std(), Duration::from_secs(90));
    }
}
