//! Verifies the signature of the artifact that was resolved, before anything of it is pulled.

use plumb_status::{ConditionStatus, ConditionUpdate, Detail, Reason};

use super::{OciSource, Pull, error::OciSourceError, resolve::POLL_MAX, validate::Valid};
use crate::{
    artifact::slot,
    oci_signature::{Policy, VerifyError},
};

/// The condition that follows. Signatures are looked for only where artifact and policy are not known to belong together.
pub async fn verify(
    source: &OciSource,
    namespace: &str,
    valid: &Valid,
    pull: &mut Pull,
) -> Result<ConditionUpdate, OciSourceError> {
    let Some(method) = &valid.verify else { return Ok(ConditionUpdate::Clear) };
    let provider = method.provider();
    let failed = |source| OciSourceError::Verification { provider, source: Box::new(source) };
    let policy = Policy::read(&source.client, namespace, method).await.map_err(failed)?;
    if !source.verified.has(&valid.repository, &pull.digest, &policy) {
        let _slot = slot(&source.polls, namespace).await?;
        let timeout = valid.timeout.min(POLL_MAX);
        let remote = if let Some(remote) = pull.remote.take() {
            remote.restarted(timeout)
        } else {
            let access = pull.access.clone();
            let remote = source.registries.connect(namespace, &valid.repository, access, timeout).await;
            remote.map_err(|error| failed(VerifyError::Registry(error)))?
        };
        let reference = format!("{}@{}", valid.repository, pull.digest);
        crate::oci_signature::verify(&remote, &reference, &pull.digest, &policy).await.map_err(failed)?;
        pull.remote = Some(remote);
        source.verified.note(&valid.repository, &pull.digest, &policy);
    }
    let text = format!("verified signature of revision {}", pull.revision);
    Ok(ConditionUpdate::Set(ConditionStatus::True, Detail::new(Reason::Succeeded, text)))
}
