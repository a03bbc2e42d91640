//! The Secret of a HelmRepository over HTTP: `username` with `password`; before Flux 2.0 also the keys for TLS.

use plumb_api::sealed::Sealed;

use crate::{
    read::{SecretContent, SecretError},
    tls::TlsSecret,
};

/// Credentials for a Helm repository.
#[derive(Clone, Default)]
pub struct HelmSecret {
    /// Name and password.
    pub basic: Option<(String, Sealed)>,
    /// What was here before there was a Secret of its own for it.
    pub tls: TlsSecret,
}

impl HelmSecret {
    /// Reads the keys.
    pub fn from_content(content: &SecretContent) -> Result<Self, SecretError> {
        let basic = match (content.text("username")?, content.get("password")) {
            (Some(username), Some(password)) => Some((username, password.clone())),
            (Some(_), None) => {
                return Err(content.rejected("username", "it requires 'password' to be set"));
            }
            (None, Some(_)) => {
                return Err(content.rejected("password", "it requires 'username' to be set"));
            }
            (None, None) => None,
        };
        Ok(Self { basic, tls: TlsSecret::with_old_keys(content)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::tests::content;

    #[test]
    fn a_name_needs_a_password_and_tls_may_be_beside_them() {
        let keys =
            [("username", "me"), ("password", "pw"), ("caFile", "a"), ("certFile", "c"), ("keyFile", "k")];
        let HelmSecret { basic, tls } = HelmSecret::from_content(&content(&keys)).unwrap();
        let (username, password) = basic.unwrap();
        assert!(username == "me" && password.matches(b"pw") && tls.ca.is_some() && tls.client.is_some());
        let empty = HelmSecret::from_content(&content(&[("x", "y")])).unwrap();
        assert!(empty.basic.is_none() && empty.tls.is_empty());
        for (keys, expect) in [
            (&[("username", "me")][..], "'username' of secret 'ns/n' cannot be used: it requires 'password'"),
            (&[("password", "pw")], "'password' of secret 'ns/n' cannot be used: it requires 'username'"),
            (&[("certFile", "c")], "it requires 'keyFile'"),
        ] {
            let error = HelmSecret::from_content(&content(keys)).err().unwrap().to_string();
            assert!(error.contains(expect), "{error}");
        }
    }
}
