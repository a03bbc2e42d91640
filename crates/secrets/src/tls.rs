//! The keys for TLS in a Secret: `ca.crt`, and `tls.crt` with `tls.key`; before Flux 2.0 `caFile`, `certFile` and `keyFile`.

use plumb_api::sealed::Sealed;

use crate::read::{SecretContent, SecretError};

/// CA bundle and client certificate.
#[derive(Clone, Default)]
pub struct TlsSecret {
    /// PEM certificates to trust, and the key that they are under.
    pub ca: Option<(&'static str, Vec<u8>)>,
    /// PEM certificate and key to present.
    pub client: Option<(Vec<u8>, Sealed)>,
}

impl TlsSecret {
    /// Reads the keys, where there are any.
    pub fn from_content(content: &SecretContent) -> Result<Self, SecretError> {
        let ca = ["ca.crt", "caFile"]
            .into_iter()
            .find_map(|key| content.get(key).map(|ca| (key, ca.expose().to_vec())));
        Ok(Self { ca, client: pair(content, "tls.crt", "tls.key")? })
    }

    /// Reads the keys, also the old ones, where there are any.
    pub fn with_old_keys(content: &SecretContent) -> Result<Self, SecretError> {
        let mut tls = Self::from_content(content)?;
        if tls.client.is_none() {
            tls.client = pair(content, "certFile", "keyFile")?;
        }
        Ok(tls)
    }

    /// Reads the keys of a Secret that is for TLS and nothing else: also the old ones, and some have to be there.
    pub fn required(content: &SecretContent) -> Result<Self, SecretError> {
        let tls = Self::with_old_keys(content)?;
        if tls.is_empty() {
            return Err(content.missing("ca.crt"));
        }
        Ok(tls)
    }

    /// Whether there is nothing for TLS.
    pub fn is_empty(&self) -> bool {
        self.ca.is_none() && self.client.is_none()
    }
}

fn pair(
    content: &SecretContent,
    certificate: &'static str,
    key: &'static str,
) -> Result<Option<(Vec<u8>, Sealed)>, SecretError> {
    match (content.get(certificate), content.get(key)) {
        (Some(certificate), Some(key)) => Ok(Some((certificate.expose().to_vec(), key.clone()))),
        (Some(_), None) => Err(content.rejected(certificate, format!("it requires '{key}' to be set"))),
        (None, Some(_)) => Err(content.rejected(key, format!("it requires '{certificate}' to be set"))),
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::tests::content;

    fn required(keys: &[(&str, &str)]) -> Result<TlsSecret, String> {
        TlsSecret::required(&content(keys)).map_err(|error| error.to_string())
    }

    #[test]
    fn new_and_old_keys_find_their_place() {
        for keys in [
            [("ca.crt", "a"), ("tls.crt", "c"), ("tls.key", "k")],
            [("caFile", "a"), ("certFile", "c"), ("keyFile", "k")],
        ] {
            let TlsSecret { ca, client } = required(&keys).unwrap();
            let (certificate, key) = client.unwrap();
            assert_eq!((ca.unwrap().1, certificate), (b"a".to_vec(), b"c".to_vec()));
            assert!(key.matches(b"k"));
        }
    }

    #[test]
    fn a_secret_for_tls_has_something_for_it() {
        for (keys, expect) in [
            (&[("username", "me")][..], "has no key 'ca.crt'"),
            (&[("tls.crt", "c")], "'tls.crt' of secret 'ns/n' cannot be used: it requires 'tls.key'"),
            (&[("keyFile", "k")], "it requires 'certFile'"),
        ] {
            let error = required(keys).err().unwrap();
            assert!(error.contains(expect), "{error}");
        }
        assert!(TlsSecret::from_content(&content(&[("username", "me")])).unwrap().ca.is_none());
    }
}
