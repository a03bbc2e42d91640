//! The content of a `!!binary` scalar.

/// Base64 in the standard alphabet, blanks and line breaks left out of account.
pub(super) fn decoded(text: &str) -> Result<String, String> {
    let reject = || "!!binary value contains invalid base64 data".to_owned();
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0_u32);
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=') {
        let sextet = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err(reject()),
        };
        bits = (bits << 6) | u32::from(sextet);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).map_err(|_| reject())?);
            bits &= (1 << count) - 1;
        }
    }
    String::from_utf8(bytes).map_err(|_| "!!binary value is not UTF-8".to_owned())
}
