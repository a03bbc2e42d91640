//! The signatures `algorithm=hexadecimal` that several senders use. Compared in constant time.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

/// What is wrong with a signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no `=` in it, or there is none at all.
    #[error("it does not have the form algorithm=signature")]
    Form,
    /// Not one of ours.
    #[error("the algorithm {0:?} is not one of sha1, sha256, sha512")]
    Algorithm(String),
    /// No bytes can be read from it.
    #[error("the signature is not hexadecimal")]
    Hexadecimal,
    /// An empty token would let everyone sign.
    #[error("the token is empty")]
    EmptyToken,
    /// It is another one.
    #[error("the signature does not match")]
    Mismatch,
}

/// How much of an unknown algorithm is repeated.
const ECHO_CHARS_MAX: usize = 16;

/// Whether `given` signs the body with the token.
pub(super) fn verify(given: &str, body: &[u8], token: &[u8]) -> Result<(), SignatureError> {
    if token.is_empty() {
        return Err(SignatureError::EmptyToken);
    }
    let (algorithm, digits) = given.split_once('=').ok_or(SignatureError::Form)?;
    let signed = match algorithm {
        "sha1" => check::<Hmac<Sha1>>(digits, body, token),
        "sha256" => check::<Hmac<Sha256>>(digits, body, token),
        "sha512" => check::<Hmac<Sha512>>(digits, body, token),
        other => return Err(SignatureError::Algorithm(other.chars().take(ECHO_CHARS_MAX).collect())),
    };
    signed?.then_some(()).ok_or(SignatureError::Mismatch)
}

fn check<M: Mac + KeyInit>(digits: &str, body: &[u8], token: &[u8]) -> Result<bool, SignatureError> {
    let given = bytes(digits).ok_or(SignatureError::Hexadecimal)?;
    let mut mac = <M as KeyInit>::new_from_slice(token).expect("an HMAC takes a key of any length");
    mac.update(body);
    Ok(mac.verify_slice(&given).is_ok())
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    digits.as_bytes().chunks(2).map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_token_verifies_nothing() {
        // openssl dgst -sha256 -hmac "" would sign it.
        assert_eq!(verify("sha256=00", b"", b""), Err(SignatureError::EmptyToken));
    }
}
