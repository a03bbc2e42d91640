//! The Secret of a Receiver: the key `token`.

use plumb_api::sealed::Sealed;

use crate::read::{SecretContent, SecretError};

/// The token that webhooks are checked with.
pub fn receiver_token(content: &SecretContent) -> Result<Sealed, SecretError> {
    content.require("token").cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::tests::content;

    #[test]
    fn a_missing_token_is_an_error() {
        assert!(receiver_token(&content(&[("token", "t")])).unwrap().matches(b"t"));
        assert!(receiver_token(&content(&[("tokens", "t")])).is_err());
    }
}
