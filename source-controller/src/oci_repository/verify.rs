//! Verifies the signature of the artifact that was resolved, before anything of it is pulled.

use plumb_oci_signature::Verdict;
use plumb_status::ConditionUpdate;

use super::{OciSource, Pull, error::OciSourceError, resolve::POLL_MAX, validate::Valid};
use crate::{
    artifact::slot,
    oci_signature::{Policy, VerifyError, verified_condition},
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
    let known = source.verified.get(&valid.repository, &pull.digest, &policy);
    let verdict = if let Some(verdict) = known {
        verdict
    } else {
        let verdict = look(source, namespace, valid, pull, &policy).await?.map_err(failed)?;
        source.verified.note(&valid.repository, &pull.digest, &policy, verdict);
        verdict
    };
    let text = format!("verified signature of revision {}", pull.revision);
    Ok(verified_condition(Some(verdict), text))
}

/// Looks for a signature in the registry.
async fn look(
    source: &OciSource,
    namespace: &str,
    valid: &Valid,
    pull: &mut Pull,
    policy: &Policy,
) -> Result<Result<Verdict, VerifyError>, OciSourceError> {
    let _slot = slot(&source.polls, namespace).await?;
    let timeout = valid.timeout.min(POLL_MAX);
    let remote = if let Some(remote) = pull.remote.take() {
        remote.restarted(timeout)
    } else {
        let access = pull.access.clone();
        match source.registries.connect(namespace, &valid.repository, access, timeout).await {
            Ok(remote) => remote,
            Err(error) => return Ok(Err(VerifyError::Registry(error))),
        }
    };
    let verdict = crate::oci_signature::verify(&remote, &valid.repository, &pull.digest, policy).await;
    pull.remote = Some(remote);
    Ok(verdict)
}
