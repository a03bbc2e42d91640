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
    #[error("the algorithm {given:?} is not one of {allowed}")]
    Algorithm {
        /// What was given, cut.
        given: String,
        /// What is accepted.
        allowed: String,
    },
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

/// A hash function of an HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// For senders that have nothing better.
    Sha1,
    Sha256,
    Sha512,
}

impl Algorithm {
    pub(super) const ALL: &[Self] = &[Self::Sha1, Self::Sha256, Self::Sha512];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }
}

/// Whether `given` signs the body with the token, by one of these algorithms.
pub(super) fn verify(
    given: &str,
    body: &[u8],
    token: &[u8],
    allowed: &'static [Algorithm],
) -> Result<(), SignatureError> {
    if token.is_empty() {
        return Err(SignatureError::EmptyToken);
    }
    let (algorithm, digits) = given.split_once('=').ok_or(SignatureError::Form)?;
    let known = allowed.iter().find(|known| known.as_str() == algorithm);
    let signed = match known {
        Some(Algorithm::Sha1) => check::<Hmac<Sha1>>(digits, body, token),
        Some(Algorithm::Sha256) => check::<Hmac<Sha256>>(digits, body, token),
        Some(Algorithm::Sha512) => check::<Hmac<Sha512>>(digits, body, token),
        None => {
            let given = algorithm.chars().take(ECHO_CHARS_MAX).collect();
            return Err(SignatureError::Algorithm { given, allowed: names(allowed) });
        }
    };
    signed?.then_some(()).ok_or(SignatureError::Mismatch)
}

/// The work of one HMAC over the body; never true.
pub(super) fn verify_with_sha256(body: &[u8], token: &[u8]) -> bool {
    check::<Hmac<Sha256>>("", body, token).unwrap_or_default()
}

fn names(allowed: &[Algorithm]) -> String {
    allowed.iter().map(|algorithm| algorithm.as_str()).collect::<Vec<_>>().join(", ")
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
        assert_eq!(verify("sha256=00", b"", b"", Algorithm::ALL), Err(SignatureError::EmptyToken));
    }
}
