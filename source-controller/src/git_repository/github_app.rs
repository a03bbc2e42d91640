//! The credential of a GitHub App: its Secret, and a token of its installation.

use jiff::Timestamp;
use plumb_github::{App, AppError, Installation};
use plumb_secrets::{GithubSecret, SecretContent, SecretError, github};
use plumb_transport::{ClientConfig, Credential, Proxy, Trust};

use super::{GitSource, error::GitSourceError, validate::Valid};

/// The user whose password is a token of an installation.
const TOKEN_USER: &str = "x-access-token";

/// The credential for the repository, and the app that it is of: a token that is made now, or that was made before.
pub async fn credential(
    source: &GitSource,
    namespace: &str,
    valid: &Valid,
    content: &SecretContent,
    (trust, proxy): (Trust, Proxy),
) -> Result<(Credential, App), GitSourceError> {
    let app = app(content).map_err(GitSourceError::Secret)?;
    let config = ClientConfig { trust, proxy, addresses: Some(source.addresses), ..ClientConfig::default() };
    let token = source.apps.token(config, &app, namespace, valid.timeout, Timestamp::now()).await;
    let password = token.map_err(GitSourceError::Github)?;
    Ok((Credential::Basic { username: TOKEN_USER.to_owned(), password }, app))
}

fn app(content: &SecretContent) -> Result<App, SecretError> {
    let GithubSecret { app_id, installation_id, installation_owner, private_key, base_url } =
        GithubSecret::from_content(content)?;
    let installation = match (installation_id, installation_owner) {
        (Some(id), _) => App::installation_id(&id),
        (None, owner) => Ok(Installation::Owner(owner.unwrap_or_default().trim().to_owned())),
    };
    let app = installation
        .and_then(|installation| App::new(&app_id, installation, &private_key, base_url.as_deref()));
    app.map_err(|error| {
        let key = match error {
            AppError::Id => github::APP_ID,
            AppError::InstallationId => github::INSTALLATION_ID,
            AppError::Owner => github::INSTALLATION_OWNER,
            AppError::Key => github::PRIVATE_KEY,
            AppError::BaseUrl => github::BASE_URL,
        };
        content.rejected(key, error.to_string())
    })
}
