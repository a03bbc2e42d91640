//! Finds the signatures of an artifact in its repository, until one counts: bundles that refer to it, then the layers of the manifest
//! under the tag that is made of its digest. Manifests and layers are pulled strictly by digest, one at a time.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use plumb_oci::{Blob, Descriptor, Digest, Manifest, OciError, Remote, Repository};
use plumb_oci_signature::{
    BUNDLE_BYTES_MAX, BUNDLE_MEDIA_TYPE, ENVELOPE_BYTES_MAX, JWS_MEDIA_TYPE, NOTATION_ARTIFACT_TYPE,
    Notation, PAYLOAD_BYTES_MAX, Rejection, SIGNATURE, SIGNATURE_PREDICATE, Signers, SimpleSignature, Target,
    Verdict,
};
use plumb_status::chain;
use tokio::time::Instant;

use super::{
    error::VerifyError,
    policy::{Policy, Trust},
};
use crate::artifact::on_thread;

/// Characters of a media type that an error quotes.
const MEDIA_TYPE_CHARS_MAX: usize = 100;
/// The annotation of a bundle's manifest with the type of its predicate. It proves nothing, but saves the download.
const PREDICATE: &str = "dev.sigstore.bundle.predicateType";

/// Signatures times keys that are tried for one artifact: seconds of one thread.
const TRIES_MAX: usize = 10_000;

/// Looks for a signature that counts.
pub async fn verify(
    remote: &Remote,
    repository: &Repository,
    digest: &Digest,
    policy: &Policy,
) -> Result<Verdict, VerifyError> {
    let Policy { trust, fingerprint: _ } = policy;
    let tries = Tries { deadline: remote.deadline(), used: 0 };
    let mut search = Search { remote, digest, tries, problems: Vec::new() };
    let found = match trust {
        Trust::Cosign(signers) if search.bundles(signers).await? || search.tagged(signers).await? => {
            Some(Verdict::Verified)
        }
        Trust::Cosign(_) => None,
        Trust::Notation(notation) => search.envelopes(notation, &repository.to_string()).await?,
    };
    let reference = format!("{repository}@{digest}");
    found.ok_or(VerifyError::NoMatch { reference, problems: search.problems })
}

struct Search<'a> {
    remote: &'a Remote,
    digest: &'a Digest,
    tries: Tries,
    /// Why each signature so far does not count.
    problems: Vec<String>,
}

/// What is left of the effort for one artifact.
struct Tries {
    deadline: Instant,
    /// Signatures times keys so far.
    used: usize,
}

impl Tries {
    /// Runs the check of one signature with so many keys on a blocking thread: it may take longer than other tasks can wait.
    async fn run<T: Send + 'static>(
        &mut self,
        keys: usize,
        check: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, VerifyError> {
        if Instant::now() >= self.deadline {
            return Err(VerifyError::Deadline);
        }
        self.used = self.used.saturating_add(keys);
        if self.used > TRIES_MAX {
            return Err(VerifyError::TooManyTries { max: TRIES_MAX });
        }
        on_thread(check).await.map_err(VerifyError::Interrupted)
    }
}

/// What refers to the artifact.
enum Referrer {
    Bundle(Blob),
    /// A bundle that calls itself an attestation.
    Attestation {
        predicate: String,
    },
    Other,
}

impl Search<'_> {
    /// Whether one of the bundles counts.
    async fn bundles(&mut self, signers: &Arc<Signers>) -> Result<bool, VerifyError> {
        // Where the list says it: an attestation that is added every day must not use up the limit.
        let is_other = |annotations: &BTreeMap<String, String>| {
            annotations.get(PREDICATE).is_some_and(|kind| kind != SIGNATURE_PREDICATE)
        };
        let listed = self.remote.referrers(self.digest, BUNDLE_MEDIA_TYPE, &is_other).await;
        // A registry that has no list may have signatures under a tag.
        let found = self.noted("the referrers of the artifact", listed)?.unwrap_or_default();
        for bundle in found {
            let name = format!("bundle {bundle}");
            let pulled = self.bundle(&bundle).await;
            let rejection = match self.noted(&name, pulled)? {
                Some(Referrer::Bundle(blob)) => {
                    let (of_thread, digest) = (Arc::clone(signers), self.digest.clone());
                    let check = move || of_thread.verify_bundle(&blob.bytes, digest.as_str());
                    match self.tries.run(signers.keys(), check).await? {
                        Ok(()) => return Ok(true),
                        Err(rejection) => rejection,
                    }
                }
                Some(Referrer::Attestation { predicate }) => Rejection::Attestation { predicate },
                Some(Referrer::Other) | None => continue,
            };
            self.problems.push(format!("{name}: {rejection}"));
        }
        Ok(false)
    }

    async fn bundle(&self, digest: &Digest) -> Result<Referrer, OciError> {
        let Manifest { layers, mut annotations } = self.remote.manifest(digest).await?;
        let [layer] = layers.as_slice() else { return Ok(Referrer::Other) };
        if !layer.media_type.starts_with(BUNDLE_MEDIA_TYPE) {
            return Ok(Referrer::Other);
        }
        if let Some(predicate) = annotations.remove(PREDICATE).filter(|kind| kind != SIGNATURE_PREDICATE) {
            return Ok(Referrer::Attestation { predicate });
        }
        self.remote.blob_within(layer, BUNDLE_BYTES_MAX).await.map(Referrer::Bundle)
    }

    /// Whether one of the layers under the tag counts.
    async fn tagged(&mut self, signers: &Arc<Signers>) -> Result<bool, VerifyError> {
        let tag = format!("{}.sig", self.digest.tag());
        let manifest = self.remote.tagged(&tag).await;
        let Some(Some(Manifest { layers, annotations: _ })) = self.noted(&format!("tag {tag}"), manifest)?
        else {
            return Ok(false);
        };
        // Signatures of several keys have the same payload.
        let mut last: Option<(Descriptor, Arc<Blob>)> = None;
        for (at, layer) in layers.into_iter().enumerate() {
            let annotations = layer.annotations.clone();
            if !annotations.contains_key(SIGNATURE) {
                continue;
            }
            let name = format!("signature {}", at + 1);
            if last.as_ref().is_none_or(|(known, _)| known.digest != layer.digest) {
                let pulled = self.remote.blob_within(&layer, PAYLOAD_BYTES_MAX).await;
                let Some(blob) = self.noted(&name, pulled)? else { continue };
                last = Some((layer, Arc::new(blob)));
            }
            let Some((_, blob)) = &last else { continue };
            let (of_thread, blob, digest) = (Arc::clone(signers), Arc::clone(blob), self.digest.clone());
            let check = move || {
                let signed = SimpleSignature { payload: &blob.bytes, annotations: &annotations };
                of_thread.verify_simple(signed, digest.as_str())
            };
            match self.tries.run(signers.keys(), check).await? {
                Ok(()) => return Ok(true),
                Err(rejection) => self.problems.push(format!("{name}: {rejection}")),
            }
        }
        Ok(false)
    }

    /// What the first of the envelopes that counts is worth.
    async fn envelopes(
        &mut self,
        notation: &Arc<Notation>,
        repository: &str,
    ) -> Result<Option<Verdict>, VerifyError> {
        match notation.is_skipped(repository) {
            Ok(false) => {}
            Ok(true) => return Ok(Some(Verdict::Ignored)),
            Err(rejection) => {
                self.problems.push(rejection.to_string());
                return Ok(None);
            }
        }
        let described = self.remote.describe(self.digest).await.map_err(VerifyError::Registry)?;
        let Descriptor { media_type, digest, size, annotations: _ } = described;
        let target = Arc::new(Target { media_type, digest: digest.to_string(), size });
        let listed = self.remote.referrers(self.digest, NOTATION_ARTIFACT_TYPE, &|_| false).await;
        let found = self.noted("the referrers of the artifact", listed)?.unwrap_or_default();
        for signature in found {
            let name = format!("signature {signature}");
            let pulled = self.envelope(&signature).await;
            let Some(envelope) = self.noted(&name, pulled)? else { continue };
            let checked = match envelope {
                Ok(blob) => {
                    let (of_thread, target) = (Arc::clone(notation), Arc::clone(&target));
                    let repository = repository.to_owned();
                    let check = move || of_thread.verify(&blob.bytes, &target, &repository, Timestamp::now());
                    self.tries.run(1, check).await?.map_err(|error| error.to_string())
                }
                Err(media_type) => Err(format!("its envelope is {media_type:?}, not JWS ({JWS_MEDIA_TYPE})")),
            };
            match checked {
                Ok(verdict) => return Ok(Some(verdict)),
                Err(problem) => self.problems.push(format!("{name}: {problem}")),
            }
        }
        Ok(None)
    }

    /// An envelope, or the media type of one that is not understood.
    async fn envelope(&self, digest: &Digest) -> Result<Result<Blob, String>, OciError> {
        let Manifest { layers, annotations: _ } = self.remote.manifest(digest).await?;
        match layers.as_slice() {
            [layer] if layer.media_type == JWS_MEDIA_TYPE => {
                self.remote.blob_within(layer, ENVELOPE_BYTES_MAX).await.map(Ok)
            }
            [layer, ..] => Ok(Err(layer.media_type.chars().take(MEDIA_TYPE_CHARS_MAX).collect())),
            [] => Ok(Err(String::new())),
        }
    }

    /// What was pulled. A signature that cannot be pulled does not count, and harms no other one; a registry that cannot be reached
    /// ends the search.
    fn noted<T>(&mut self, name: &str, pulled: Result<T, OciError>) -> Result<Option<T>, VerifyError> {
        match pulled {
            Ok(pulled) => Ok(Some(pulled)),
            Err(error @ (OciError::Connection { .. } | OciError::OverBudget(_) | OciError::Client(_))) => {
                Err(VerifyError::Registry(error))
            }
            Err(error) => {
                self.problems.push(format!("{name}: {}", chain(&error)));
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use super::*;

    #[tokio::test]
    async fn a_check_holds_no_worker_and_ends_with_the_deadline_and_the_limit() {
        let caller = thread::current().id();
        let now = Instant::now();
        let mut tries = Tries { deadline: now + Duration::from_hours(1), used: 0 };
        assert_ne!(tries.run(TRIES_MAX, || thread::current().id()).await.unwrap(), caller);
        let error = tries.run(1, || panic!("tried over the limit")).await.unwrap_err();
        assert!(matches!(error, VerifyError::TooManyTries { max: TRIES_MAX }), "{error}");
        let mut late = Tries { deadline: now, used: 0 };
        let error = late.run(1, || panic!("tried after the deadline")).await.unwrap_err();
        assert!(matches!(error, VerifyError::Deadline), "{error}");
    }
}
