//! Secret bytes: they can be used, but neither printed, logged nor serialised by accident. Where they come from and
//! what they are for never enters.

use subtle::ConstantTimeEq;

/// Bytes that nobody may see. It has neither `Debug` nor `Display` nor `Serialize`, so a type that holds one cannot
/// be printed by derive either.
#[derive(Clone)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// Seals bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes, for the one place that needs them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text, where they are text.
    pub fn expose_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Whether there is nothing inside.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether these bytes are the same, in a time that depends on their lengths alone.
    pub fn matches(&self, other: &[u8]) -> bool {
        self.0.ct_eq(other).into()
    }
}

impl From<String> for Sealed {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl From<&str> for Sealed {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl From<Vec<u8>> for Sealed {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_matches_only_itself() {
        let secret = Sealed::from("token");
        assert!(secret.matches(b"token"));
        assert!(!secret.matches(b"tokem"));
        assert!(!secret.matches(b"token2"));
        assert!(!secret.matches(b""));
    }

    #[test]
    fn bytes_that_are_no_text_are_not_given_as_text() {
        assert_eq!(Sealed::new(vec![0xff]).expose_str(), None);
        assert_eq!(Sealed::from("x").expose_str(), Some("x"));
        assert!(Sealed::new(Vec::new()).is_empty());
    }
}
