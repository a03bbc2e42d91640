//! The Secret of a GitRepository over HTTP: `username` and `password`, or `bearerToken`; `ca.crt` (or `caFile`); `tls.crt` with
//! `tls.key`.

use plumb_api::sealed::Sealed;

use crate::{
    read::{SecretContent, SecretError},
    tls::TlsSecret,
};

/// Credentials, CA bundle and client certificate for a Git repository.
#[derive(Clone, Default)]
pub struct GitSecret {
    /// Name and password.
    pub basic: Option<(String, Sealed)>,
    /// A bearer token; a name and password win over it.
    pub bearer: Option<Sealed>,
    /// PEM certificates to trust, and the key that they are under.
    pub ca: Option<(&'static str, Vec<u8>)>,
    /// PEM certificate and key to present.
    pub client: Option<(Vec<u8>, Sealed)>,
}

impl GitSecret {
    /// Reads the keys.
    pub fn from_content(content: &SecretContent) -> Result<Self, SecretError> {
        let username = content.text("username")?;
        let basic = match (username, content.get("password")) {
            (Some(username), password) => {
                Some((username, password.cloned().unwrap_or_else(|| Sealed::from(""))))
            }
            (None, Some(_)) => return Err(content.rejected("password", "it requires 'username' to be set")),
            (None, None) => None,
        };
        let TlsSecret { ca, client } = TlsSecret::from_content(content)?;
        Ok(Self { basic, bearer: content.get("bearerToken").cloned(), ca, client })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::tests::content;

    #[test]
    fn each_key_finds_its_place() {
        let secret =
            GitSecret::from_content(&content(&[("username", "me"), ("password", "pw"), ("caFile", "pem")]))
                .unwrap();
        let (username, password) = secret.basic.unwrap();
        assert!(username == "me" && password.matches(b"pw"));
        assert_eq!(secret.ca, Some(("caFile", b"pem".to_vec())));
        let secret =
            GitSecret::from_content(&content(&[("bearerToken", "t"), ("ca.crt", "a"), ("caFile", "b")]))
                .unwrap();
        assert!(secret.basic.is_none() && secret.bearer.unwrap().matches(b"t"));
        assert_eq!(secret.ca, Some(("ca.crt", b"a".to_vec())));
        let secret = GitSecret::from_content(&content(&[("tls.crt", "c"), ("tls.key", "k")])).unwrap();
        assert!(secret.client.is_some());
    }

    #[test]
    fn incomplete_credentials_are_rejected() {
        for (keys, expect) in [
            (&[("password", "pw")][..], "'username'"),
            (&[("tls.crt", "c")], "'tls.key'"),
            (&[("tls.key", "k")], "'tls.crt'"),
        ] {
            let error = GitSecret::from_content(&content(keys)).err().unwrap();
            assert!(error.to_string().contains(expect), "{error}");
        }
    }
}
