//! Which index a repository has now. An unchanged one costs one request without a body where the server can tell.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use kube::ResourceExt as _;
use plumb_api::source::{HelmRepository, SourceCondition};
use plumb_memory::Limit;
use plumb_transport::{Slot, Slots};

use super::{
    HelmRepositorySource,
    client::Access,
    download::{Downloaded, File, FileRequest, download},
    error::HelmRepositoryError,
    seen::{self, SeenIndex},
    validate::Valid,
};
use crate::artifact::{Inputs, Resolved};

/// How long an operation waits for its turn.
const SLOT_WAIT_MAX: Duration = Duration::from_secs(30);

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
    let _turn = turn(&source.polls, &namespace).await?;
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
        timeout: valid.timeout,
        namespace,
    };
    download(&access.http, source.clients.memory(), request).await.map_err(HelmRepositoryError::Fetch)
}

/// Waits until it is the namespace's turn.
pub async fn turn(slots: &Slots, namespace: &str) -> Result<Slot, HelmRepositoryError> {
    let turn = tokio::time::timeout(SLOT_WAIT_MAX, slots.acquire(namespace)).await;
    turn.map_err(|_| HelmRepositoryError::NoSlot {
        namespace: namespace.to_owned(),
        max: slots.consumer_max(),
        seconds: SLOT_WAIT_MAX.as_secs(),
    })
}
