//! What is attached to an artifact: manifests under a tag that is made of its digest, and manifests that refer to it. A registry
//! without the referrers API has an index of them under such a tag.

use std::collections::BTreeMap;

use http::{HeaderValue, Method, StatusCode, header};
use serde::Deserialize;

use crate::{
    digest::Digest,
    error::{OciError, ResponseError},
    manifest::{Descriptor, Manifest},
    registry::{Remote, shown},
    tags::next_page,
};

/// Manifests of one type that refer to an artifact: more are an error, not left out.
pub const REFERRERS_MAX: usize = 200;
/// Pages of the list of them.
const PAGES_MAX: usize = 20;
/// The media type of the list.
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

#[derive(Deserialize)]
struct Page {
    manifests: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    digest: String,
    artifact_type: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
}

impl Remote {
    /// The manifest that a tag leads to; none where there is no such tag.
    pub async fn tagged(&self, tag: &str) -> Result<Option<Manifest>, OciError> {
        match found(self.digest_of(tag).await)? {
            Some(digest) => self.manifest(&digest).await.map(Some),
            None => Ok(None),
        }
    }

    /// What a digest leads to: the media type of its manifest or index, as the registry has it, and its bytes.
    pub async fn describe(&self, digest: &Digest) -> Result<Descriptor, OciError> {
        let (bytes, _memory, media_type) = self.manifest_bytes(digest).await?;
        let media_type = media_type.unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim().to_owned();
        let size = bytes.len() as u64;
        Ok(Descriptor { media_type, digest: digest.clone(), size, annotations: BTreeMap::new() })
    }

    /// The digests of the manifests that refer to an artifact and have a type that begins so, in the order of the registry. One whose
    /// type is not known counts. Those whose annotations in the list say that they are something else are passed over, and so are those
    /// with a digest by another algorithm than SHA-256, which Plumb does not pull. The list itself proves nothing: anybody who may push
    /// can add to it.
    pub async fn referrers(
        &self,
        subject: &Digest,
        type_prefix: &str,
        is_other: &(dyn Fn(&BTreeMap<String, String>) -> bool + Sync),
    ) -> Result<Vec<Digest>, OciError> {
        let mut referrers = Referrers { type_prefix, is_other, digests: Vec::new() };
        let mut url = self.url(&format!("referrers/{subject}"))?;
        for _ in 0..PAGES_MAX {
            let response = match self.get(&url, INDEX).await {
                Ok(response) => response,
                // What registries without this API respond. The next page of a list is not one that may be missing.
                Err(OciError::Status { status: 400 | 404 | 405 | 406, .. })
                    if referrers.digests.is_empty() =>
                {
                    return self.tagged_referrers(subject, referrers).await;
                }
                Err(error) => return Err(error),
            };
            let media_type = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
            if !media_type.is_some_and(|value| value.starts_with(INDEX.as_bytes())) {
                // A page of a web interface, say.
                return self.tagged_referrers(subject, referrers).await;
            }
            let wrong = |source| OciError::Response { request: shown(&Method::GET, &url), source };
            let next = next_page(&url, response.headers()).map_err(wrong)?;
            let (body, _memory, _) = self.body(&url, response, self.manifest_limit()).await?;
            referrers.add(&body).map_err(wrong)?;
            match next {
                None => return Ok(referrers.digests),
                Some(next) if next == url => {
                    return Err(wrong(ResponseError::Link { problem: "it leads to the same page" }));
                }
                Some(next) => url = next,
            }
        }
        let source = ResponseError::TooMany { what: "pages", max: PAGES_MAX };
        Err(OciError::Response { request: shown(&Method::GET, &url), source })
    }

    /// The index that clients write where a registry has no list of its own.
    async fn tagged_referrers(
        &self,
        subject: &Digest,
        mut referrers: Referrers<'_>,
    ) -> Result<Vec<Digest>, OciError> {
        let Some(digest) = found(self.digest_of(&subject.tag()).await)? else { return Ok(Vec::new()) };
        let (bytes, _memory, _) = self.manifest_bytes(&digest).await?;
        let url = self.url(&format!("manifests/{digest}"))?;
        let wrong = |source| OciError::Response { request: shown(&Method::GET, &url), source };
        referrers.add(&bytes).map_err(wrong)?;
        Ok(referrers.digests)
    }
}

/// Collects the referrers of a type.
struct Referrers<'a> {
    type_prefix: &'a str,
    is_other: &'a (dyn Fn(&BTreeMap<String, String>) -> bool + Sync),
    digests: Vec<Digest>,
}

impl Referrers<'_> {
    fn add(&mut self, page: &[u8]) -> Result<(), ResponseError> {
        let malformed = || ResponseError::Malformed { what: "list of referrers" };
        let Page { manifests } = serde_json::from_slice(page).map_err(|_| malformed())?;
        for Entry { digest, artifact_type, annotations } in manifests.unwrap_or_default() {
            let artifact_type = artifact_type.unwrap_or_default();
            if !artifact_type.is_empty() && !artifact_type.starts_with(self.type_prefix)
                || (self.is_other)(&annotations.unwrap_or_default())
            {
                continue;
            }
            let Ok(digest) = Digest::parse(&digest) else { continue };
            if self.digests.len() >= REFERRERS_MAX {
                return Err(ResponseError::TooMany { what: "referrers", max: REFERRERS_MAX });
            }
            self.digests.push(digest);
        }
        Ok(())
    }
}

/// What is there; none where the registry says that it is not.
fn found<T>(result: Result<T, OciError>) -> Result<Option<T>, OciError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(OciError::Status { status, .. }) if status == StatusCode::NOT_FOUND.as_u16() => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
