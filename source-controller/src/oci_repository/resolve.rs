//! Which artifact the reference of the spec leads to now: by its digest without a request, by a tag with one.

use std::time::Duration;

use kube::ResourceExt as _;
use plumb_api::source::{OCIRepository, SourceCondition};
use plumb_oci::Remote;
use plumb_status::ConditionUpdate;
use plumb_transport::{Slot, Slots};

use super::{
    OciSource, Pull,
    access::access,
    error::{OciSourceError, ReferenceError},
    tag::highest,
    validate::{Reference, Valid},
};
use crate::artifact::{Input, Inputs, Resolved};

/// How long an operation waits for its turn.
const SLOT_WAIT_MAX: Duration = Duration::from_secs(30);

/// Finds the artifact. What it leaves can pull it.
pub async fn resolve(
    source: &OciSource,
    object: &OCIRepository,
    valid: &Valid,
) -> Result<Resolved<Pull, SourceCondition>, OciSourceError> {
    let namespace = object.namespace().unwrap_or_default();
    let access = access(source, &namespace, valid).await?;
    let _turn = turn(&source.polls, &namespace).await?;
    let remote = source.registries.connect(&namespace, &valid.repository, access, valid.timeout).await;
    let remote = find(object, valid, remote.map_err(OciSourceError::Resolve)?).await?;
    Ok(Resolved {
        revision: remote.revision.clone(),
        inputs: inputs(object),
        // Left behind by Flux: this version rejects the field that it belongs to.
        conditions: vec![(SourceCondition::SourceVerified, ConditionUpdate::Clear)],
        remote,
    })
}

async fn find(object: &OCIRepository, valid: &Valid, remote: Remote) -> Result<Pull, OciSourceError> {
    let url = || object.spec.url.clone();
    let tag = match &valid.reference {
        Reference::Digest(digest) => {
            return Ok(Pull { remote, digest: digest.clone(), revision: digest.to_string() });
        }
        Reference::Tag(tag) => tag.clone(),
        Reference::Version { constraint, filter } => {
            let tags = remote.tags().await.map_err(|source| OciSourceError::Tags { url: url(), source })?;
            let media_type = valid.layer.media_type.as_deref();
            let found = highest(&tags, constraint, filter.as_ref(), media_type).map(str::to_owned);
            found.ok_or_else(|| OciSourceError::Reference {
                url: url(),
                source: ReferenceError::NoMatch {
                    range: constraint.as_str().to_owned(),
                    tags: tags.len(),
                    filtered: filter.is_some(),
                },
            })?
        }
    };
    let digest = remote.digest_of(&tag).await.map_err(OciSourceError::Resolve)?;
    Ok(Pull { remote, revision: format!("{tag}@{digest}"), digest })
}

/// What an artifact is made with.
pub fn inputs(object: &OCIRepository) -> Inputs {
    Inputs(vec![
        Input::new("observedIgnore", "spec.ignore", &object.spec.ignore),
        Input::new("observedLayerSelector", "spec.layerSelector", &object.spec.layer_selector),
    ])
}

/// Waits until it is the namespace's turn.
pub async fn turn(slots: &Slots, namespace: &str) -> Result<Slot, OciSourceError> {
    tokio::time::timeout(SLOT_WAIT_MAX, slots.acquire(namespace)).await.map_err(|_| OciSourceError::NoSlot {
        namespace: namespace.to_owned(),
        max: slots.consumer_max(),
        seconds: SLOT_WAIT_MAX.as_secs(),
    })
}
