//! Which artifact the reference of the spec leads to now: by its digest without a request, by a tag with one.

use std::time::{Duration, Instant};

use kube::ResourceExt as _;
use plumb_api::source::{OCIRepository, SourceCondition};
use plumb_oci::Access;

use super::{
    OciSource, Pull,
    access::access,
    error::{OciSourceError, ReferenceError},
    tag::highest,
    validate::{Reference, Valid},
    verify::verify,
};
use crate::artifact::{Input, Inputs, Resolved, on_thread, slot};

/// How long a poll may take, whatever the timeout: it holds a slot that others wait for.
pub const POLL_MAX: Duration = Duration::from_mins(2);

/// Finds the artifact. What it leaves can pull it.
pub async fn resolve(
    source: &OciSource,
    object: &OCIRepository,
    valid: &Valid,
) -> Result<Resolved<Pull, SourceCondition>, OciSourceError> {
    let namespace = object.namespace().unwrap_or_default();
    let access = access(source, &namespace, valid).await?;
    let mut remote = find(source, object, valid, access).await?;
    let verified = verify(source, &namespace, valid, &mut remote).await?;
    Ok(Resolved {
        revision: remote.revision.clone(),
        inputs: inputs(object),
        conditions: vec![(SourceCondition::SourceVerified, verified)],
        remote,
    })
}

async fn find(
    source: &OciSource,
    object: &OCIRepository,
    valid: &Valid,
    access: Access,
) -> Result<Pull, OciSourceError> {
    // It leads to the same artifact for ever, also while the registry is down.
    if let Reference::Digest(digest) = &valid.reference {
        return Ok(Pull { access, remote: None, digest: digest.clone(), revision: digest.to_string() });
    }
    let namespace = object.namespace().unwrap_or_default();
    let slot = slot(&source.polls, &namespace).await?;
    let (repository, timeout) = (&valid.repository, valid.timeout.min(POLL_MAX));
    let remote = source.registries.connect(&namespace, repository, access.clone(), timeout).await;
    let remote = remote.map_err(OciSourceError::Resolve)?;
    let tag = if let Reference::Tag(tag) = &valid.reference {
        tag.clone()
    } else {
        let tags = remote.tags().await;
        let (tags, charged) =
            tags.map_err(|source| OciSourceError::Tags { url: object.spec.url.clone(), source })?;
        let choice = Choice { url: object.spec.url.clone(), valid: valid.clone(), tags, timeout };
        // Matching many tags takes a while. The thread holds the slot, also when its caller is dropped.
        let work = move || {
            let found = choice.tag();
            drop(charged);
            (found, slot)
        };
        let (found, _slot) = on_thread(work).await?;
        found?
    };
    let digest = remote.digest_of(&tag).await.map_err(OciSourceError::Resolve)?;
    Ok(Pull { access, remote: Some(remote), revision: format!("{tag}@{digest}"), digest })
}

/// What the choice among tags goes by.
struct Choice {
    url: String,
    valid: Valid,
    tags: Vec<String>,
    timeout: Duration,
}

impl Choice {
    fn tag(&self) -> Result<String, OciSourceError> {
        let Self { url, valid, tags, timeout } = self;
        let Reference::Version { constraint, filter } = &valid.reference else { return Ok(String::new()) };
        let failed = |source| OciSourceError::Reference { url: url.clone(), source };
        let end = Instant::now() + *timeout;
        let is_over = || Instant::now() >= end;
        let media_type = valid.layer.media_type.as_deref();
        let Ok(found) = highest(tags, constraint, filter.as_ref(), media_type, &is_over) else {
            return Err(failed(ReferenceError::TooSlow { tags: tags.len(), seconds: timeout.as_secs() }));
        };
        found.map(str::to_owned).ok_or_else(|| {
            failed(ReferenceError::NoMatch {
                range: constraint.as_str().to_owned(),
                tags: tags.len(),
                filtered: filter.is_some(),
            })
        })
    }
}

/// What an artifact is made with.
pub fn inputs(object: &OCIRepository) -> Inputs {
    Inputs(vec![
        Input::new("observedIgnore", "spec.ignore", &object.spec.ignore),
        Input::new("observedLayerSelector", "spec.layerSelector", &object.spec.layer_selector),
    ])
}
