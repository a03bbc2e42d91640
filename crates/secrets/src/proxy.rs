//! The Secret of a proxy: `address`, and perhaps `username` and `password`.

use percent_encoding::percent_decode_str;
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
        let (address, in_address) = without_user_info(&address);
        let basic = content.text("username")?.map(|username| (username, password));
        Ok(Self { address, basic: basic.or(in_address) })
    }
}

/// An address without its user info, and that: Flux takes it there, too. Addresses are shown in errors, so it is taken out.
fn without_user_info(address: &str) -> (String, Option<(String, Sealed)>) {
    let Some((scheme, rest)) = address.split_once("://") else { return (address.to_owned(), None) };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let Some((user_info, host)) = rest[..end].rsplit_once('@') else { return (address.to_owned(), None) };
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (username, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let basic = (decoded(username), Sealed::from(decoded(password)));
    (format!("{scheme}://{host}{}", &rest[end..]), Some(basic))
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
        let in_address = content(&[("address", "http://m%40e:p%3Aw@proxy:3128/x@y")]);
        let proxy = ProxySecret::from_content(&in_address).unwrap();
        let (username, password) = proxy.basic.unwrap();
        assert_eq!((proxy.address.as_str(), username.as_str()), ("http://proxy:3128/x@y", "m@e"));
        assert!(password.matches(b"p:w"));
        let error = ProxySecret::from_content(&content(&keys[1..])).err().unwrap();
        assert_eq!(error.to_string(), "secret 'ns/n' has no key 'address'");
    }
}
