//! Which index a repository has now. An unchanged one costs one request without a body where the server can tell.

use http::{HeaderName, HeaderValue};
use kube::ResourceExt as _;
use plumb_api::source::{HelmRepository, SourceCondition};
use plumb_memory::Limit;

use super::{
    HelmRepositorySource,
    client::Access,
    download::{Downloaded, File, FileRequest, download},
    error::HelmRepositoryError,
    seen::{self, SeenIndex},
    validate::Valid,
};
use crate::artifact::{Inputs, Resolved, slot};

/// The index that was resolved.
#[derive(Debug)]
pub enum Remote {
    /// It was downloaded.
    Fetched(Box<File>),
    /// It is the one of this digest: the server says so.
    Unchanged {
        /// The SHA-256 digest, in hexadecimal.
        sha256: String,
    },
}

/// Finds the index.
pub async fn resolve(
    source: &HelmRepositorySource,
    object: &HelmRepository,
    valid: &Valid,
) -> Result<Resolved<Remote, SourceCondition>, HelmRepositoryError> {
    let namespace = object.namespace().unwrap_or_default();
    let access = source.clients.access(&namespace, valid).await?;
    let key = seen::key(&namespace, &valid.index, &access.fingerprint);
    // Only the index that the status announces is as good as a download.
    let announced = object.artifact().map(|artifact| artifact.revision.as_str());
    let seen = source.seen.get(&key).filter(|seen| Some(seen.revision.as_str()) == announced);
    let conditions = seen.as_ref().map(SeenIndex::conditions).unwrap_or_default();
    let _slot = slot(&source.polls, &namespace).await?;
    let remote = match (index(source, &namespace, valid, &access, conditions).await?, seen) {
        (Downloaded::File(file), _) => {
            source.seen.set(&key, SeenIndex::of(&revision(&file.sha256), &file.headers));
            Remote::Fetched(file)
        }
        (Downloaded::Unchanged, seen) => {
            let sha256 =
                seen.as_ref().and_then(|seen| seen.revision.strip_prefix("sha256:")).unwrap_or_default();
            Remote::Unchanged { sha256: sha256.to_owned() }
        }
    };
    let sha256 = match &remote {
        Remote::Fetched(file) => &file.sha256,
        Remote::Unchanged { sha256 } => sha256,
    };
    Ok(Resolved { revision: revision(sha256), inputs: Inputs::default(), conditions: Vec::new(), remote })
}

fn revision(sha256: &str) -> String {
    format!("sha256:{sha256}")
}

/// Downloads the index.
pub async fn index(
    source: &HelmRepositorySource,
    namespace: &str,
    valid: &Valid,
    access: &Access,
    conditions: &[(HeaderName, HeaderValue)],
) -> Result<Downloaded, HelmRepositoryError> {
    let request = FileRequest {
        url: &valid.index,
        credential: access.credential.as_ref(),
        conditions,
        limit: Limit {
            name: "index of a Helm repository (--helm-index-max-size)",
            bytes_max: source.limits.index,
        },
        timeout: valid.poll_timeout(),
        namespace,
    };
    download(&access.http, source.clients.memory(), request).await.map_err(HelmRepositoryError::Fetch)
}
