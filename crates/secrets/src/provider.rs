//! The Secret of a Provider: `address`, `token`, `username`, `password`, `headers`, `proxy`.

use std::collections::BTreeMap;

use plumb_api::sealed::Sealed;

use crate::read::{SecretContent, SecretError};

/// Headers beyond this count are rejected.
const HEADERS_MAX: usize = 100;
/// A larger `headers` key is rejected.
const HEADERS_BYTES_MAX: usize = 64 << 10;

/// Where and how to deliver.
#[derive(Clone, Default)]
pub struct ProviderSecret {
    /// The address; it wins over that of the spec. It often is a secret by itself.
    pub address: Option<Sealed>,
    /// A token, or the key of a signature.
    pub token: Option<Sealed>,
    /// A name.
    pub username: Option<String>,
    /// A password.
    pub password: Option<Sealed>,
    /// More headers.
    pub headers: BTreeMap<String, Sealed>,
    /// A proxy; parsed so that it can be rejected rather than ignored.
    pub proxy: Option<Sealed>,
}

impl ProviderSecret {
    /// Reads the keys.
    pub fn from_content(content: &SecretContent) -> Result<Self, SecretError> {
        Ok(Self {
            address: content.get("address").cloned(),
            token: content.get("token").cloned(),
            username: content.text("username")?,
            password: content.get("password").cloned(),
            headers: headers(content)?,
            proxy: content.get("proxy").cloned(),
        })
    }
}

/// `headers` is a YAML map from names to values.
fn headers(content: &SecretContent) -> Result<BTreeMap<String, Sealed>, SecretError> {
    const KEY: &str = "headers";
    let Some(text) = content.text(KEY)? else { return Ok(BTreeMap::new()) };
    if text.len() > HEADERS_BYTES_MAX {
        return Err(content.rejected(KEY, "it is too large"));
    }
    // The parser's words are left out: they quote the text.
    let map: BTreeMap<String, String> =
        serde_saphyr::from_str(&text).map_err(|_| content.rejected(KEY, "it is not a YAML map of texts"))?;
    if map.len() > HEADERS_MAX {
        return Err(content.rejected(KEY, "it has too many entries"));
    }
    Ok(map.into_iter().map(|(name, value)| (name, Sealed::from(value))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::tests::content;

    #[test]
    fn each_key_finds_its_place() {
        let secret = ProviderSecret::from_content(&content(&[
            ("address", "https://hook"),
            ("token", "t"),
            ("username", "me"),
            ("headers", "Authorization: Bearer x\nX-Forwarded-Proto: https\n"),
        ]))
        .unwrap();
        assert!(secret.address.unwrap().matches(b"https://hook"));
        assert!(secret.headers["Authorization"].matches(b"Bearer x"));
        assert_eq!(secret.headers.len(), 2);
        assert!(secret.password.is_none());
    }

    #[test]
    fn bad_headers_are_rejected_without_quoting_them() {
        let error = ProviderSecret::from_content(&content(&[("headers", "- s3cret\n- list")])).err().unwrap();
        assert!(error.to_string().contains("'headers'") && !error.to_string().contains("s3cret"), "{error}");
    }
}
