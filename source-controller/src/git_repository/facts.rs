//! What is the case: whether the stored artifact is what the status says, and which commit the repository has. Reads only, but for
//! one thing: a stored file that is not what its digest says is taken out of service at once.

use kube::ResourceExt;
use plumb_api::{meta::Artifact, source::GitRepository};
use plumb_git::{Credential, Endpoint, Session, Trust};
use plumb_secrets::GitSecret;
use plumb_store::{Integrity, StoreError};

use super::{Context, error::SourceError, location, validate::Valid};

/// The artifact that the status tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// The status tells of none.
    Never,
    /// It is there, and whole.
    Intact(Artifact),
    /// It was told of, but is gone or was damaged.
    Lost(Integrity),
}

/// Looks whether the artifact of the status is there and whole.
pub async fn stored(repository: &GitRepository, context: &Context) -> Result<Stored, SourceError> {
    let Some(artifact) = repository.artifact().cloned() else { return Ok(Stored::Never) };
    let location = location(repository).map_err(|source| StoreError::Location { source })?;
    let (path, digest) = (artifact.path.clone(), artifact.digest.clone());
    Ok(match context.on_store(move |store| store.verify(&location, &path, &digest)).await? {
        Integrity::Intact => Stored::Intact(artifact),
        lost @ (Integrity::Missing | Integrity::Mismatch | Integrity::Unreadable) => Stored::Lost(lost),
    })
}

/// Finds the commit that the spec means. The session that it returns can fetch it.
pub async fn remote(
    repository: &GitRepository,
    valid: &Valid,
    context: &Context,
) -> Result<Session, SourceError> {
    let namespace = repository.namespace().unwrap_or_default();
    let secret = match &valid.secret {
        None => GitSecret::default(),
        Some(name) => {
            let read = plumb_secrets::read(&context.client, &namespace, name).await;
            read.and_then(|keys| GitSecret::from_content(&keys))
                .map_err(|source| SourceError::Secret { source })?
        }
    };
    let GitSecret { basic, bearer, ca, client } = secret;
    let credential = match (basic, bearer) {
        (Some((username, password)), _) => Credential::Basic { username, password },
        (None, Some(token)) => Credential::Bearer { token },
        (None, None) => Credential::None,
    };
    let endpoint = Endpoint::new(&valid.url, credential, Trust { ca, client })
        .map_err(|source| SourceError::Settings { source: plumb_git::GitError::Endpoint { source } })?;
    if endpoint.is_exposed() {
        tracing::warn!(url = %endpoint.url(), "credentials are sent over an unencrypted connection");
    }
    let found = context.git.find(&namespace, &endpoint, &valid.reference, valid.timeout).await;
    found.map_err(SourceError::of_git)
}
