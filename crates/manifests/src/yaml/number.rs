//! Numbers as Go's libraries read and print them: YAML to float, float to JSON, JSON to YAML.

use std::borrow::Cow;

use serde_json::{Number, Value};

/// A float as it arrives after Go has printed it as JSON and read it back: whole numbers become integers, of no more
/// digits than distinguish the float from others. `None` for infinities and not-a-number, which JSON cannot express.
pub fn json_number(float: f64) -> Option<Value> {
    // From here on Go prints an exponent, which makes a float of it.
    const EXPONENT_MIN: f64 = 1e21;
    if float.fract() == 0.0 && float.abs() < EXPONENT_MIN {
        let text = format!("{float}");
        if let Ok(number) = text.parse::<i64>() {
            return Some(number.into());
        }
        if let Ok(number) = text.parse::<u64>() {
            return Some(number.into());
        }
    }
    Number::from_f64(float).map(Value::Number)
}

/// A float as Go's `%g` prints it: the fewest digits, with an exponent below 1e-4 and from 1e6 on.
pub(super) fn print_float(float: f64) -> String {
    let scientific = format!("{float:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        return format!("{float}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// An integer in any of Go's notations: `0x`, `0o`, `0b`, a leading `0` for octal, underscores anywhere.
pub(super) fn parse_integer(text: &str) -> Option<Value> {
    let text = without_underscores(text);
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, &*text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.bytes().next().is_some_and(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if !negative {
        return Some(magnitude.into());
    }
    let signed = 0_i64.checked_sub_unsigned(magnitude)?;
    Some(signed.into())
}

/// A float in YAML's notation (neither hexadecimal nor `inf`).
pub(super) fn parse_float(text: &str) -> Option<f64> {
    let text = without_underscores(text);
    let float: f64 = if is_float_shaped(&text) { text.parse().ok()? } else { return None };
    float.is_finite().then_some(float)
}

fn without_underscores(text: &str) -> Cow<'_, str> {
    if text.contains('_') { text.replace('_', "").into() } else { text.into() }
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float_shaped(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa_is_good = match mantissa.split_once('.') {
        Some(("", fraction)) => !fraction.is_empty() && digits(fraction),
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => !mantissa.is_empty() && digits(mantissa),
    };
    mantissa_is_good && exponent.is_none_or(|text| !text.is_empty() && digits(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_go_prints_them() {
        for (float, expect) in [
            (1.5, "1.5"),
            (0.5, "0.5"),
            (123_456_789.123_456_79, "1.2345678912345679e+08"),
            (1e20, "1e+20"),
            (1e-7, "1e-07"),
            (0.000_01, "1e-05"),
            (0.000_12, "0.00012"),
            (999_999.5, "999999.5"),
            (1_234_567.5, "1.2345675e+06"),
        ] {
            assert_eq!(print_float(float), expect);
        }
    }

    #[test]
    fn integers_are_read_in_all_notations() {
        for (text, expect) in [
            ("0x1F", 31),
            ("0o17", 15),
            ("017", 15),
            ("0b101", 5),
            ("1_000", 1000),
            ("+7", 7),
            ("-0", 0),
            ("-0x10", -16),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(parse_integer(text), Some(expect.into()), "{text}");
        }
        for text in ["089", "0x", "1.5", "", "+", "--1", "0x-1", "18446744073709551616"] {
            assert_eq!(parse_integer(text), None, "{text}");
        }
    }

    #[test]
    fn whole_floats_become_integers_on_the_way_through_json() {
        assert_eq!(json_number(1000.0), Some(1000.into()));
        assert_eq!(json_number(-0.0), Some(0.into()));
        assert_eq!(json_number(1e20).map(|value| value.is_f64()), Some(true));
        assert_eq!(json_number(9_223_372_036_854_775_807.0), Some(9_223_372_036_854_776_000_u64.into()));
        assert_eq!(json_number(-9_223_372_036_854_775_808.0).map(|value| value.is_f64()), Some(true));
        assert_eq!(json_number(f64::INFINITY), None);
    }

    #[test]
    fn texts_shaped_like_floats_are_distinguished_from_others() {
        for text in ["1e3", ".5", "5.", "-1.5E-3", "089"] {
            assert!(parse_float(text).is_some(), "{text}");
        }
        for text in [".", "e3", "1e", "1.2.3", "1e400", "0x1p3", "+"] {
            assert!(parse_float(text).is_none(), "{text}");
        }
    }
}
