//! The digest of a manifest or blob. Pure.

use std::fmt;

use plumb_filetree::digest;

/// Hexadecimal digits of a SHA-256.
const HEX_DIGITS: usize = 64;

/// A SHA-256, written `sha256:…`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Digest(String);

/// A text is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("digest {text:?} is not 'sha256:' and 64 lower case hexadecimal digits")]
pub struct DigestError {
    text: String,
}

/// A SHA-256 that is fed piece by piece.
#[derive(Default)]
pub(crate) struct Hasher(digest::Hasher);

impl Digest {
    /// Parses `sha256:…`. Other algorithms are not used by registries today.
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        let is_hex = |hex: &str| {
            hex.len() == HEX_DIGITS && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        match text.strip_prefix("sha256:") {
            Some(hex) if is_hex(hex) => Ok(Self(text.to_owned())),
            _ => Err(DigestError { text: text.chars().take(2 * HEX_DIGITS).collect() }),
        }
    }

    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }

    /// As it is written: `sha256:…`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As it is written where a colon is not allowed: `sha256-…`. Tags that are made of it lead to what is attached to the artifact.
    pub fn tag(&self) -> String {
        self.0.replacen(':', "-", 1)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Digest {
        Digest(format!("sha256:{}", self.0.finish_hex()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_sha256_is_a_digest() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").as_str(), empty);
        assert_eq!(Digest::parse(empty), Ok(Digest::of(b"")));
        for text in [
            "",
            &empty[..70],
            &empty.to_uppercase(),
            &empty.replace("sha256", "md5"),
            &format!("{empty}0"),
            &empty[7..],
        ] {
            assert!(Digest::parse(text).is_err(), "{text}");
        }
    }
}
