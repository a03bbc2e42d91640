//! Which commit the reference of the spec leads to now: the Secret is read, the references of the repository are listed.

use kube::ResourceExt;
use plumb_api::{
    meta::Artifact,
    sealed::Sealed,
    source::{GitRepository, GitRepositoryCondition},
};
use plumb_azure::{AzureIdentity, DEVOPS_SCOPE};
use plumb_filetree::digest::Hasher;
use plumb_git::{Endpoint, GitError, Identity, IdentityError, KnownHosts, SshCredential};
use plumb_github::App;
use plumb_secrets::{GitSecret, GithubSecret, SecretContent, SecretError, SshSecret};
use plumb_status::ConditionUpdate;
use plumb_transport::{Credential, CredentialPart, Proxy, Trust, TrustPart};

use super::{
    GitSource, Pull, azure,
    error::{GitSourceError, ProviderError},
    github_app, include, recent,
    validate::{AzureProvider, Valid},
};
use crate::artifact::{Input, Inputs, Resolved, on_thread};
use crate::settings;

/// Finds the commit. The session that it leaves can fetch it.
pub async fn resolve(
    source: &GitSource,
    repository: &GitRepository,
    valid: &Valid,
) -> Result<Resolved<Pull, GitRepositoryCondition>, GitSourceError> {
    let namespace = repository.namespace().unwrap_or_default();
    let included = include::artifacts(source, &namespace, &valid.includes).await;
    let included = included.map_err(GitSourceError::Include)?;
    let Opened { endpoint, owner, key } = opened(source, repository, valid).await?;
    if endpoint.is_exposed() {
        tracing::warn!(url = %endpoint.url(), "credentials are sent over an unencrypted connection");
    }
    let known = recent::age_max(repository).and_then(|age_max| source.recent.get(&key, age_max));
    let session = if let Some(found) = known {
        source.git.session(&namespace, &endpoint, &valid.reference, found)
    } else {
        let found = source.git.find(&namespace, &endpoint, &valid.reference, valid.list_timeout()).await;
        if let (Err(GitError::Unauthenticated { .. }), Some(owner)) = (&found, &owner) {
            // It may have been revoked: the next attempt gets another one.
            owner.forget_token(source);
        }
        let session = found.map_err(GitSourceError::of_git)?;
        source.recent.put(key, session.found().clone());
        session
    };
    Ok(Resolved {
        revision: session.found().revision(),
        inputs: inputs(repository, &included),
        conditions: vec![(GitRepositoryCondition::IncludeUnavailable, ConditionUpdate::Clear)],
        remote: Pull { session, included },
    })
}

/// Whose token a credential is.
enum TokenOwner {
    App(App),
    Azure(AzureIdentity),
}

impl TokenOwner {
    /// Tells owners apart.
    fn key(&self) -> [u8; 32] {
        match self {
            Self::App(app) => app.fingerprint(),
            Self::Azure(identity) => identity.key(DEVOPS_SCOPE),
        }
    }

    fn forget_token(&self, source: &GitSource) {
        match self {
            Self::App(app) => source.apps.forget(app),
            Self::Azure(identity) => source.azure.tokens.forget(identity, DEVOPS_SCOPE),
        }
    }
}

/// Where a repository is and what opens it.
struct Opened {
    endpoint: Endpoint,
    /// Whose token it is opened with.
    owner: Option<TokenOwner>,
    /// Tells apart what is found with other settings.
    key: String,
}

async fn opened(
    source: &GitSource,
    repository: &GitRepository,
    valid: &Valid,
) -> Result<Opened, GitSourceError> {
    let namespace = &repository.namespace().unwrap_or_default();
    let content = match &valid.secret {
        None => None,
        Some(name) => {
            let content = plumb_secrets::read(&source.client, namespace, name).await;
            let content = content.map_err(GitSourceError::Secret)?;
            if !valid.is_github_app && GithubSecret::is_one(&content) {
                let (namespace, name) = (namespace.to_owned(), name.clone());
                return Err(GitSourceError::Provider(ProviderError::NotGithub { namespace, name }));
            }
            Some(content)
        }
    };
    let (proxy, of_proxy) = proxy(source, namespace, valid).await?;
    let key = recent::key(repository, &[content.as_ref(), of_proxy.as_ref()]);
    let mut owner = None;
    let opened = if valid.url.starts_with("ssh://") {
        Endpoint::over_ssh(&valid.url, ssh_credential(content).await?)
    } else {
        let credential = http_credential(source, namespace, valid, content.as_ref(), &proxy);
        let (credential, trust, of_token) = credential.await?;
        owner = of_token;
        Endpoint::new(&valid.url, credential, trust).map(|endpoint| {
            let endpoint = endpoint.through(proxy);
            owner.as_ref().map_or(endpoint.clone(), |owner| endpoint.owned_by(owner.key()))
        })
    };
    let endpoint = opened.map_err(|source| GitSourceError::Settings(GitError::Endpoint { source }))?;
    Ok(Opened { endpoint, owner, key })
}

/// The proxy of the Secret, or that of the environment.
async fn proxy(
    source: &GitSource,
    namespace: &str,
    valid: &Valid,
) -> Result<(Proxy, Option<SecretContent>), GitSourceError> {
    let Some(name) = &valid.proxy else { return Ok((Proxy::Environment, None)) };
    let content =
        plumb_secrets::read(&source.client, namespace, name).await.map_err(GitSourceError::Proxy)?;
    // The content of a mirror is the same through any proxy.
    let proxy = settings::proxy(&content, &mut Hasher::default()).map_err(GitSourceError::Proxy)?;
    Ok((proxy, Some(content)))
}

async fn http_credential(
    source: &GitSource,
    namespace: &str,
    valid: &Valid,
    content: Option<&SecretContent>,
    proxy: &Proxy,
) -> Result<(Credential, Trust, Option<TokenOwner>), GitSourceError> {
    let (credential, trust) = match content {
        None => (Credential::None, Trust::default()),
        Some(content) => authentication(content).map_err(GitSourceError::Secret)?,
    };
    if let Some(AzureProvider { service_account }) = &valid.azure {
        let account = service_account.as_deref();
        let made = azure::credential(source, namespace, valid, account, (&trust, proxy)).await;
        let (credential, identity) = made.map_err(GitSourceError::of_azure)?;
        return Ok((credential, trust, identity.map(TokenOwner::Azure)));
    }
    let Some(content) = content else { return Ok((credential, trust, None)) };
    if !valid.is_github_app {
        return Ok((credential, trust, None));
    }
    let (credential, app) =
        github_app::credential(source, namespace, valid, content, (trust.clone(), proxy.clone())).await?;
    Ok((credential, trust, Some(TokenOwner::App(app))))
}

/// The private key and the host keys of a Secret.
async fn ssh_credential(content: Option<SecretContent>) -> Result<SshCredential, GitSourceError> {
    let has_secret = content.is_some();
    let missing = |option| GitSourceError::SshOption { option, has_secret };
    let content = content.ok_or_else(|| missing("identity"))?;
    let SshSecret { identity, known_hosts, passphrase } = SshSecret::from_content(&content);
    let identity = identity.ok_or_else(|| missing("identity"))?;
    let known_hosts = known_hosts.ok_or_else(|| missing("known_hosts"))?;
    let known_hosts = KnownHosts::parse(known_hosts.expose())
        .map_err(|error| GitSourceError::Secret(content.rejected("known_hosts", error.to_string())))?;
    // A passphrase takes CPU time.
    let parsed = on_thread(move || {
        Identity::parse(identity.expose(), passphrase.as_ref().and_then(Sealed::expose_str))
    });
    let parsed = parsed.await?;
    let identity = parsed.map_err(|error| match error {
        IdentityError::Encrypted => GitSourceError::EncryptedIdentity { secret: content.shown() },
        IdentityError::Passphrase => GitSourceError::Secret(content.rejected("password", error.to_string())),
        _ => GitSourceError::Secret(content.rejected("identity", error.to_string())),
    })?;
    Ok(SshCredential::new(identity, known_hosts))
}

/// Credentials and trust of a Secret. Each value is checked here, where Secret and key are known.
fn authentication(content: &SecretContent) -> Result<(Credential, Trust), SecretError> {
    let GitSecret { basic, bearer, ca, client } = GitSecret::from_content(content)?;
    let credential = match (basic, bearer) {
        (Some((username, password)), _) => Credential::Basic { username, password },
        (None, Some(token)) => Credential::Bearer { token },
        (None, None) => Credential::None,
    };
    credential.authorization().map_err(|error| {
        let key = match error.part {
            CredentialPart::Username => "username",
            CredentialPart::Password => "password",
            CredentialPart::Token => "bearerToken",
        };
        content.rejected(key, format!("it {}", error.problem))
    })?;
    let (ca_key, ca) = ca.unzip();
    let client = client.as_ref().map(|(chain, key)| (chain.as_slice(), key));
    let trust = Trust::parse(ca.as_deref(), client).map_err(|error| {
        let key = match error.part {
            TrustPart::CaBundle => ca_key.unwrap_or("ca.crt"),
            TrustPart::ClientCertificate => "tls.crt",
            TrustPart::ClientKey => "tls.key",
        };
        content.rejected(key, error.problem)
    })?;
    Ok((credential, trust))
}

/// What an artifact is made with.
pub fn inputs(repository: &GitRepository, included: &[Artifact]) -> Inputs {
    Inputs(vec![
        Input::new("observedIgnore", "spec.ignore", &repository.spec.ignore),
        Input::new("observedInclude", "spec.include", &repository.spec.include),
        Input::new("includedArtifacts", "an included artifact", included),
        Input::new("observedRecurseSubmodules", "spec.recurseSubmodules", repository.spec.recurse_submodules),
        Input::new("observedSparseCheckout", "spec.sparseCheckout", &repository.spec.sparse_checkout),
    ])
}
