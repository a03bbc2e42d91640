//! The Secret of a proxy: `address`, and perhaps `username` and `password`.

use plumb_api::sealed::Sealed;

use crate::read::{SecretContent, SecretError};

/// The address of a proxy, and credentials for it.
#[derive(Clone)]
pub struct ProxySecret {
    /// The URL of the proxy.
    pub address: String,
    /// Name and password.
    pub basic: Option<(String, Sealed)>,
}

impl ProxySecret {
    /// Reads the keys.
    pub fn from_content(content: &SecretContent) -> Result<Self, SecretError> {
        content.require("address")?;
        let address = content.text("address")?.unwrap_or_default();
        let password = content.get("password").cloned().unwrap_or_else(|| Sealed::from(""));
        let basic = content.text("username")?.map(|username| (username, password));
        Ok(Self { address, basic })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::tests::content;

    #[test]
    fn the_address_is_required_and_the_credentials_are_not() {
        let keys = [("address", "http://proxy:3128"), ("username", "me"), ("password", "pw")];
        let proxy = ProxySecret::from_content(&content(&keys)).unwrap();
        let (username, password) = proxy.basic.unwrap();
        assert_eq!((proxy.address.as_str(), username.as_str()), ("http://proxy:3128", "me"));
        assert!(password.matches(b"pw"));
        assert!(ProxySecret::from_content(&content(&keys[..1])).unwrap().basic.is_none());
        let error = ProxySecret::from_content(&content(&keys[1..])).err().unwrap();
        assert_eq!(error.to_string(), "secret 'ns/n' has no key 'address'");
    }
}
