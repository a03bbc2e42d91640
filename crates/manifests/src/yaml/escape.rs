//! Characters in double quotes, as YAML escapes them.

use std::borrow::Cow;

/// The escape sequence of a character: the short one where YAML has one.
pub fn escaped(c: char) -> Cow<'static, str> {
    let short = match c {
        '\0' => "\\0",
        '\u{7}' => "\\a",
        '\u{8}' => "\\b",
        '\t' => "\\t",
        '\n' => "\\n",
        '\u{b}' => "\\v",
        '\u{c}' => "\\f",
        '\r' => "\\r",
        '\u{1b}' => "\\e",
        '"' => "\\\"",
        '\\' => "\\\\",
        '\u{85}' => "\\N",
        '\u{2028}' => "\\L",
        '\u{2029}' => "\\P",
        c => return Cow::Owned(by_code(u32::from(c))),
    };
    Cow::Borrowed(short)
}

fn by_code(code: u32) -> String {
    match code {
        0..=0xff => format!("\\x{code:02X}"),
        0x100..=0xffff => format!("\\u{code:04X}"),
        _ => format!("\\U{code:08X}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_escaped_as_short_as_yaml_allows() {
        for (c, expect) in [
            ('\n', "\\n"),
            ('"', "\\\""),
            ('\u{85}', "\\N"),
            ('\u{1}', "\\x01"),
            ('\u{ad}', "\\xAD"),
            ('\u{feff}', "\\uFEFF"),
            ('\u{1f600}', "\\U0001F600"),
        ] {
            assert_eq!(escaped(c), expect);
        }
    }
}
