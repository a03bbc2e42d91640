//! Which commit the spec means now: the Secret is read, the references of the repository are listed.

use kube::ResourceExt;
use plumb_api::source::{GitRepository, GitRepositoryCondition, GitRepositoryInclude};
use plumb_git::{Credential, Endpoint, Session, Trust};
use plumb_secrets::GitSecret;
use plumb_status::ConditionUpdate;

use super::{GitSource, error::GitSourceError, validate::Valid};
use crate::artifact::{Input, Inputs, Resolved};

/// Finds the commit. The session that it leaves can fetch it.
pub async fn resolve(
    source: &GitSource,
    repository: &GitRepository,
    valid: &Valid,
) -> Result<Resolved<Session, GitRepositoryCondition>, GitSourceError> {
    let namespace = repository.namespace().unwrap_or_default();
    let endpoint = endpoint(source, &namespace, valid).await?;
    if endpoint.is_exposed() {
        tracing::warn!(url = %endpoint.url(), "credentials are sent over an unencrypted connection");
    }
    let found = source.git.find(&namespace, &endpoint, &valid.reference, valid.timeout).await;
    let remote = found.map_err(GitSourceError::of_git)?;
    Ok(Resolved {
        revision: remote.found().revision(),
        inputs: inputs(valid),
        // Left behind by Flux: this version rejects the fields that they belong to.
        conditions: [GitRepositoryCondition::IncludeUnavailable, GitRepositoryCondition::SourceVerified]
            .map(|condition| (condition, ConditionUpdate::Clear))
            .to_vec(),
        remote,
    })
}

async fn endpoint(source: &GitSource, namespace: &str, valid: &Valid) -> Result<Endpoint, GitSourceError> {
    let secret = match &valid.secret {
        None => GitSecret::default(),
        Some(name) => {
            let read = plumb_secrets::read(&source.client, namespace, name).await;
            read.and_then(|keys| GitSecret::from_content(&keys)).map_err(GitSourceError::Secret)?
        }
    };
    let GitSecret { basic, bearer, ca, client } = secret;
    let credential = match (basic, bearer) {
        (Some((username, password)), _) => Credential::Basic { username, password },
        (None, Some(token)) => Credential::Bearer { token },
        (None, None) => Credential::None,
    };
    Endpoint::new(&valid.url, credential, Trust { ca, client })
        .map_err(|source| GitSourceError::Settings(plumb_git::GitError::Endpoint { source }))
}

/// What an artifact is made with. An artifact that Flux made with what this version does not support is not the artifact of this
/// spec, so these inputs are listed as not set.
pub fn inputs(valid: &Valid) -> Inputs {
    Inputs(vec![
        Input::new("observedIgnore", "spec.ignore", &valid.ignore),
        Input::new("observedInclude", "spec.include", Vec::<GitRepositoryInclude>::new()),
        Input::new("observedRecurseSubmodules", "spec.recurseSubmodules", false),
        Input::new("observedSparseCheckout", "spec.sparseCheckout", Vec::<String>::new()),
    ])
}
