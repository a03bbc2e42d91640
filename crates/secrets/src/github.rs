//! The Secret of a GitHub App: `githubAppID`, `githubAppInstallationID` or `githubAppInstallationOwner`, `githubAppPrivateKey`, and
//! perhaps `githubAppBaseURL`.

use plumb_api::sealed::Sealed;

use crate::read::{SecretContent, SecretError};

/// The key with the number of the app.
pub const APP_ID: &str = "githubAppID";
/// The keys of the installation: its number, or whose it is.
pub const INSTALLATION_ID: &str = "githubAppInstallationID";
/// Whose installation it is.
pub const INSTALLATION_OWNER: &str = "githubAppInstallationOwner";
/// The private key.
pub const PRIVATE_KEY: &str = "githubAppPrivateKey";
/// The URL of the API.
pub const BASE_URL: &str = "githubAppBaseURL";

/// A GitHub App, as a Secret has it.
pub struct GithubSecret {
    /// The number of the app.
    pub app_id: String,
    /// The number of the installation.
    pub installation_id: Option<String>,
    /// Whose installation it is; read where it has no number.
    pub installation_owner: Option<String>,
    /// The private key in PEM.
    pub private_key: Sealed,
    /// The URL of the API, other than that of github.com.
    pub base_url: Option<String>,
}

impl GithubSecret {
    /// Reads the keys.
    pub fn from_content(content: &SecretContent) -> Result<Self, SecretError> {
        content.require(APP_ID)?;
        let (installation_id, installation_owner) =
            (content.text(INSTALLATION_ID)?, content.text(INSTALLATION_OWNER)?);
        if installation_id.is_none() && installation_owner.is_none() {
            return Err(content.missing(INSTALLATION_ID));
        }
        Ok(Self {
            app_id: content.text(APP_ID)?.unwrap_or_default(),
            installation_id,
            installation_owner,
            private_key: content.require(PRIVATE_KEY)?.clone(),
            base_url: content.text(BASE_URL)?,
        })
    }

    /// Whether a Secret is one of a GitHub App.
    pub fn is_one(content: &SecretContent) -> bool {
        content.get(APP_ID).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::tests::content;

    #[test]
    fn app_installation_and_key_are_required() {
        let all =
            [(APP_ID, "1"), (PRIVATE_KEY, "pem"), (INSTALLATION_ID, "2"), (BASE_URL, "https://git.example")];
        let secret = GithubSecret::from_content(&content(&all)).unwrap();
        assert_eq!((secret.app_id.as_str(), secret.installation_id.as_deref()), ("1", Some("2")));
        assert!(secret.private_key.matches(b"pem"));
        assert_eq!(secret.base_url.as_deref(), Some("https://git.example"));
        let owned = [(APP_ID, "1"), (PRIVATE_KEY, "pem"), (INSTALLATION_OWNER, "octo")];
        let secret = GithubSecret::from_content(&content(&owned)).unwrap();
        assert_eq!(secret.installation_owner.as_deref(), Some("octo"));
        for (keys, missing) in
            [(&all[1..], APP_ID), (&all[..2], INSTALLATION_ID), (&[all[0], all[2]], PRIVATE_KEY)]
        {
            let error = GithubSecret::from_content(&content(keys)).err().unwrap();
            assert_eq!(error.to_string(), format!("secret 'ns/n' has no key '{missing}'"));
        }
        assert!(
            GithubSecret::is_one(&content(&all)) && !GithubSecret::is_one(&content(&[("username", "x")]))
        );
    }
}
