//! The keys for Git over SSH in a Secret: `identity`, `known_hosts`, and `password` with the passphrase of the private key.

use plumb_api::sealed::Sealed;

use crate::read::SecretContent;

/// A private key and the host keys that are accepted.
#[derive(Clone, Default)]
pub struct SshSecret {
    /// The private key.
    pub identity: Option<Sealed>,
    /// Lines of known_hosts.
    pub known_hosts: Option<Sealed>,
    /// The passphrase of the private key.
    pub passphrase: Option<Sealed>,
}

impl SshSecret {
    /// Reads the keys. Which of them have to be there is up to the caller.
    pub fn from_content(content: &SecretContent) -> Self {
        let key = |name| content.get(name).cloned();
        Self { identity: key("identity"), known_hosts: key("known_hosts"), passphrase: key("password") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::tests::content;

    #[test]
    fn each_key_finds_its_place() {
        let data = [("identity", "key"), ("identity.pub", "x"), ("known_hosts", "host"), ("password", "pw")];
        let secret = SshSecret::from_content(&content(&data));
        assert!(secret.identity.unwrap().matches(b"key"));
        assert!(secret.known_hosts.unwrap().matches(b"host"));
        assert!(secret.passphrase.unwrap().matches(b"pw"));
        let empty = SshSecret::from_content(&content(&[("identity", "")]));
        assert!(empty.identity.is_none() && empty.known_hosts.is_none() && empty.passphrase.is_none());
    }
}
