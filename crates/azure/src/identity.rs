//! Who asks for a token. Pure.

use plumb_transport::{TokenKey, token_key};
use url::Url;

use crate::error::AzureError;

/// The authority of the public cloud.
pub const AUTHORITY_DEFAULT: &str = "https://login.microsoftonline.com/";
/// The audience of assertions that are exchanged.
pub const ASSERTION_AUDIENCE: &str = "api://AzureADTokenExchange";
/// The scope of Azure DevOps.
pub const DEVOPS_SCOPE: &str = "499b84ac-1321-427f-aa17-267ca6975798/.default";
/// Characters of an ID, at most.
const ID_LENGTH_MAX: usize = 256;

/// An application or a managed identity, and who acts as it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AzureIdentity {
    token_url: Url,
    client_id: String,
    /// Who shows that it is this identity: a token is never handed to another one that only says so.
    holder: String,
}

impl AzureIdentity {
    /// An identity by its IDs, at an authority such as [`AUTHORITY_DEFAULT`]. `holder` names who acts as it: the controller, or a
    /// ServiceAccount with its namespace.
    pub fn new(authority: &str, tenant_id: &str, client_id: &str, holder: &str) -> Result<Self, AzureError> {
        let is_id = |text: &str| {
            let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-');
            (1..=ID_LENGTH_MAX).contains(&text.len())
                && text.chars().all(is_allowed)
                && text.trim_matches('.') == text
        };
        if !is_id(tenant_id) {
            return Err(AzureError::Id { what: "tenant ID" });
        }
        if !is_id(client_id) {
            return Err(AzureError::Id { what: "client ID" });
        }
        let base = format!("{}/{tenant_id}/oauth2/v2.0/token", authority.trim_end_matches('/'));
        let token_url = Url::parse(&base).map_err(|_| AzureError::Authority)?;
        if !matches!(token_url.scheme(), "http" | "https") || !token_url.username().is_empty() {
            return Err(AzureError::Authority);
        }
        Ok(Self { token_url, client_id: client_id.to_owned(), holder: holder.to_owned() })
    }

    pub(crate) fn token_url(&self) -> &Url {
        &self.token_url
    }

    pub(crate) fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Tells identities apart, and what tokens are for.
    pub fn key(&self, scope: &str) -> TokenKey {
        token_key(&[self.token_url.as_str(), &self.client_id, &self.holder, scope])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_one_segment_of_the_url() {
        let identity = AzureIdentity::new(AUTHORITY_DEFAULT, "contoso.com", "1234-ab", "a/b").unwrap();
        assert_eq!(
            identity.token_url().as_str(),
            "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token"
        );
        for (tenant, client, what) in [
            ("", "c", "tenant ID"),
            ("..", "c", "tenant ID"),
            ("a/b", "c", "tenant ID"),
            ("a?b", "c", "tenant ID"),
            ("t", "a&b", "client ID"),
            ("t", "", "client ID"),
        ] {
            let error = AzureIdentity::new(AUTHORITY_DEFAULT, tenant, client, "x").unwrap_err();
            assert!(matches!(error, AzureError::Id { what: which } if which == what), "{error}");
        }
        for authority in ["ftp://host", "nonsense", "https://me@host"] {
            assert!(AzureIdentity::new(authority, "t", "c", "x").is_err(), "{authority}");
        }
    }

    #[test]
    fn another_holder_scope_or_identity_has_another_key() {
        let of =
            |tenant, client, holder| AzureIdentity::new(AUTHORITY_DEFAULT, tenant, client, holder).unwrap();
        let key = of("t", "c", "a/sa").key("s");
        assert_eq!(key, of("t", "c", "a/sa").key("s"));
        for other in [of("u", "c", "a/sa"), of("t", "d", "a/sa"), of("t", "c", "b/sa")] {
            assert_ne!(key, other.key("s"));
        }
        assert_ne!(key, of("t", "c", "a/sa").key("other"));
    }
}
