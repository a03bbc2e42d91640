//! Verifies the signature of a chart in a registry, before it is pulled: as that of an OCIRepository.

use plumb_oci_signature::Verdict;

use super::{
    HelmChartSource,
    error::{HelmChartError, PullError},
    registry::tag_of,
    resolve::{Origin, Place, Remote},
    validate::Valid,
};
use crate::oci_signature::Policy;

/// What the signature of a chart is worth; none where the spec wants none. What is pulled then is what was verified.
pub async fn verify(
    source: &HelmChartSource,
    namespace: &str,
    valid: &Valid,
    remote: &mut Remote,
) -> Result<Option<Verdict>, HelmChartError> {
    let Some(method) = &valid.verify else { return Ok(None) };
    let Origin::Repository(found) = &mut remote.origin else { return Err(HelmChartError::NoSignatures) };
    let Place::Registry { remote: registry, timeout: _, name, verified } = &mut found.place else {
        return Err(HelmChartError::NoSignatures);
    };
    let provider = method.provider();
    let failed = |source| HelmChartError::Verification { provider, source: Box::new(source) };
    let policy = Policy::read(&source.clients.api(), namespace, method).await.map_err(failed)?;
    let tag = tag_of(&found.version);
    let digest = registry.digest_of(&tag).await.map_err(|source| {
        HelmChartError::Download(PullError::Registry { reference: format!("{}:{tag}", found.name), source })
    })?;
    let verdict = if let Some(verdict) = source.verified.get(name, &digest, &policy) {
        verdict
    } else {
        let found = crate::oci_signature::verify(registry, name, &digest, &policy).await;
        let verdict = found.map_err(failed)?;
        source.verified.note(name, &digest, &policy, verdict);
        verdict
    };
    *verified = Some(digest);
    Ok(Some(verdict))
}
