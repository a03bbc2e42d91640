//! A second kind of source, a double that serves bytes from memory: it needs nothing of `artifact` that is not there. Its status
//! passes the lint after every attempt.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::NamespaceResourceScope;
use plumb_api::meta::{Artifact, GoDuration, Period, Periods, Reconciled};
use plumb_memory::{Limit, MemoryPool};
use plumb_status::{
    AttemptOutcome, Before, Classify, Condition, ConditionStatus, ConditionType, ConditionUpdate,
    Consequence, Detail, EventDraft, Polarity, Reason, Status, Summary, breaches, summarize, summary::Next,
};
use plumb_store::{Advertised, ArtifactStore, Retention};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    ArtifactCondition, ArtifactLedger, BreaksCondition, Content, Fetched, Input, Inputs, MediaType, Payload,
    Resolved, Source, SourceObject, Storage, Validated, Verified, reconcile, teardown,
};

/// An object of the double.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Blob {
    metadata: ObjectMeta,
    spec: BlobSpec,
    status: BlobStatus,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct BlobSpec {
    layer: String,
    without_artifact: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct BlobStatus {
    artifact: Option<Artifact>,
    conditions: Vec<Condition>,
    observed_generation: i64,
    observed_layer: Option<String>,
    chart: Option<String>,
    url: Option<String>,
}

impl kube::Resource for Blob {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Blob".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "test".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "blobs".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl Periods for Blob {
    fn periods(&self) -> Vec<Period> {
        Vec::new()
    }
}

impl Reconciled for Blob {
    fn conditions(&self) -> &[Condition] {
        &self.status.conditions
    }

    fn observed_generation(&self) -> Option<i64> {
        Some(self.status.observed_generation)
    }

    fn last_handled_reconcile_at(&self) -> Option<&str> {
        None
    }

    fn suspended(&self) -> bool {
        false
    }

    fn interval(&self) -> Option<GoDuration> {
        None
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum BlobCondition {
    StorageOperationFailed,
    FetchFailed,
    SourceUnavailable,
    ArtifactOutdated,
    ArtifactInStorage,
    SourceVerified,
}

impl ConditionType for BlobCondition {
    const ALL: &'static [Self] = &[
        Self::StorageOperationFailed,
        Self::FetchFailed,
        Self::SourceUnavailable,
        Self::ArtifactOutdated,
        Self::ArtifactInStorage,
        Self::SourceVerified,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::StorageOperationFailed => "StorageOperationFailed",
            Self::FetchFailed => "FetchFailed",
            Self::SourceUnavailable => "SourceUnavailable",
            Self::ArtifactOutdated => "ArtifactOutdated",
            Self::ArtifactInStorage => "ArtifactInStorage",
            Self::SourceVerified => "SourceVerified",
        }
    }

    fn polarity(self) -> Polarity {
        match self {
            Self::ArtifactInStorage | Self::SourceVerified => Polarity::Positive,
            Self::StorageOperationFailed
            | Self::FetchFailed
            | Self::SourceUnavailable
            | Self::ArtifactOutdated => Polarity::Negative,
        }
    }
}

impl ArtifactCondition for BlobCondition {
    const STORAGE_OPERATION_FAILED: Self = Self::StorageOperationFailed;
    const FETCH_FAILED: Self = Self::FetchFailed;
    const ARTIFACT_OUTDATED: Self = Self::ArtifactOutdated;
    const ARTIFACT_IN_STORAGE: Self = Self::ArtifactInStorage;
}

impl SourceObject for Blob {
    type Condition = BlobCondition;
    const HAS_URL: bool = true;

    fn artifact(&self) -> Option<&Artifact> {
        self.status.artifact.as_ref()
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn stored_detail(&self, artifact: &Artifact) -> Detail {
        Detail::new(Reason::Succeeded, format!("stored artifact for digest '{}'", artifact.revision))
    }

    fn recovered(&self, artifact: &Artifact) -> Detail {
        Detail::new(Reason::Resumed, format!("'{}' is there again", artifact.revision))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum BlobError {
    #[error("the source of the blob is not ready")]
    NotReady,
    #[error("no key matches the signature")]
    Unverified,
}

impl Classify for BlobError {
    fn reason(&self) -> Reason {
        match self {
            Self::NotReady => Reason::DependencyNotReady,
            Self::Unverified => Reason::VerificationError,
        }
    }

    fn consequence(&self) -> Consequence {
        match self {
            Self::NotReady => Consequence::Wait,
            Self::Unverified => Consequence::Retry,
        }
    }
}

impl BreaksCondition for BlobError {
    type Condition = BlobCondition;

    fn condition(&self) -> Option<BlobCondition> {
        Some(match self {
            Self::NotReady => BlobCondition::SourceUnavailable,
            Self::Unverified => BlobCondition::SourceVerified,
        })
    }
}

/// What the double serves.
#[derive(Clone)]
struct Registry {
    content: &'static str,
    resolves: Result<(), BlobError>,
    verifies: Result<(), BlobError>,
    fetches: u32,
}

#[derive(Clone)]
struct BlobSource {
    registry: Arc<Mutex<Registry>>,
    memory: MemoryPool,
}

impl Source for BlobSource {
    type Object = Blob;
    type Valid = String;
    type Remote = Bytes;
    type Error = BlobError;

    fn validate(object: &Blob) -> Result<Validated<String>, BlobError> {
        if object.spec.without_artifact {
            return Ok(Validated::Static);
        }
        Ok(Validated::Artifact(object.spec.layer.clone()))
    }

    async fn resolve(
        &self,
        _object: &Blob,
        layer: &String,
    ) -> Result<Resolved<Bytes, BlobCondition>, BlobError> {
        let registry = self.registry.lock().unwrap().clone();
        registry.resolves?;
        let verified = Detail::new(Reason::Succeeded, "verified");
        Ok(Resolved {
            revision: format!(
                "latest@sha256:{}",
                plumb_filetree::digest::sha256_hex(registry.content.as_bytes())
            ),
            inputs: Inputs(vec![Input::new("observedLayer", "spec.layer", layer)]),
            conditions: vec![
                (BlobCondition::SourceUnavailable, ConditionUpdate::Clear),
                (BlobCondition::SourceVerified, ConditionUpdate::Set(ConditionStatus::True, verified)),
            ],
            remote: Bytes::from_static(registry.content.as_bytes()),
        })
    }

    async fn verify(
        &self,
        _object: &Blob,
        _layer: &String,
        remote: Bytes,
    ) -> Result<Verified<Bytes, BlobCondition>, BlobError> {
        let registry = self.registry.lock().unwrap().clone();
        registry.verifies?;
        let event = (registry.fetches == 0).then(|| EventDraft::trace(Reason::Succeeded, "verified"));
        let events = event.into_iter().collect();
        Ok(Verified { events, ..Verified::unchanged(remote) })
    }

    async fn fetch(
        &self,
        object: &Blob,
        _layer: &String,
        bytes: Bytes,
    ) -> Result<Fetched<BlobCondition>, BlobError> {
        self.registry.lock().unwrap().fetches += 1;
        let limit = Limit { name: "blob", bytes_max: 1 << 20 };
        let mut memory = self.memory.reservation(object.metadata.namespace.as_deref().unwrap(), limit);
        memory.try_grow(bytes.len() as u64).unwrap();
        Ok(Fetched {
            file_stem: plumb_filetree::digest::sha256_hex(&bytes),
            content: Content {
                payload: Payload::Bytes { media_type: MediaType::Gzip, bytes },
                memory: Some(memory),
            },
            metadata: BTreeMap::from([(
                "org.opencontainers.image.revision".to_owned(),
                "main@sha1:1".to_owned(),
            )]),
            announcement: Detail::new(Reason::GitOperationSucceeded, "pulled 'blob' chart with version '1'"),
            status: json!({"chart": "blob"}).as_object().unwrap().clone(),
            conditions: Vec::new(),
        })
    }
}

struct Fixture {
    source: BlobSource,
    storage: Storage,
    root: tempfile::TempDir,
    object: Blob,
}

impl Fixture {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let registry = Registry { content: "one", resolves: Ok(()), verifies: Ok(()), fetches: 0 };
        let source =
            BlobSource { registry: Arc::new(Mutex::new(registry)), memory: MemoryPool::new(4 << 20) };
        let storage = Storage {
            store: ArtifactStore::open(root.path()).unwrap(),
            bucket: None,
            advertised: Advertised::new("host", "127.0.0.1:1".parse().unwrap(), None),
            retention: Retention { ttl: Duration::from_mins(1), records: 2 },
        };
        let mut object = Blob::default();
        object.metadata.namespace = Some("apps".to_owned());
        object.metadata.name = Some("blob".to_owned());
        object.metadata.generation = Some(1);
        object.status.observed_generation = -1;
        Self { source, storage, root, object }
    }

    fn serve(&self, change: impl FnOnce(&mut Registry)) {
        change(&mut self.source.registry.lock().unwrap());
    }

    fn spec(&mut self, change: impl FnOnce(&mut BlobSpec)) {
        change(&mut self.object.spec);
        *self.object.metadata.generation.as_mut().unwrap() += 1;
    }

    fn fetches(&self) -> u32 {
        self.source.registry.lock().unwrap().fetches
    }

    /// One attempt; its status is stored as the runtime would store it.
    async fn attempt(&mut self) -> Summary {
        let ledger = Mutex::new(ArtifactLedger::of(&self.object, &self.storage));
        let now = Timestamp::UNIX_EPOCH;
        let outcome = reconcile(&self.source, &self.object, &self.storage, &ledger, now).await;
        let ledger = ledger.into_inner().unwrap();
        let before = Status {
            conditions: self.object.status.conditions.clone(),
            observed_generation: self.object.status.observed_generation,
            last_handled_reconcile_at: None,
        };
        let generation = self.object.metadata.generation.unwrap();
        let view = Before { generation, requested_at: None, at_start: &before, current: &before, now };
        let summary = summarize(&view, &ledger, &outcome);
        let Some(after) = summary.status.clone() else {
            self.object.status = BlobStatus::default();
            return summary;
        };
        assert_eq!(breaches::<BlobCondition>(generation, &after), Vec::<&str>::new(), "{after:?}");
        let mut status = serde_json::to_value(&self.object.status).unwrap();
        for (field, value) in ledger.status() {
            status[field] = value;
        }
        status["conditions"] = json!(after.conditions);
        status["observedGeneration"] = json!(after.observed_generation);
        self.object.status = serde_json::from_value(status).unwrap();
        summary
    }

    fn stored(&self) -> std::path::PathBuf {
        self.root.path().join(&self.object.status.artifact.as_ref().unwrap().path)
    }
}

fn events(summary: &Summary) -> Vec<String> {
    summary.events.iter().map(|event| format!("{} {}", event.reason, event.message)).collect()
}

fn conditions(summary: &Summary) -> Vec<String> {
    let conditions = &summary.status.as_ref().unwrap().conditions;
    conditions.iter().map(|one| format!("{} {} {}", one.type_, one.status.as_str(), one.reason)).collect()
}

#[tokio::test]
async fn bytes_of_another_kind_become_an_artifact_and_are_reused() {
    let mut fixture = Fixture::new();
    let summary = fixture.attempt().await;
    let artifact = fixture.object.status.artifact.clone().unwrap();
    let digest = plumb_filetree::digest::sha256_hex(b"one");
    assert_eq!(artifact.revision, format!("latest@sha256:{digest}"));
    assert_eq!(artifact.digest, format!("sha256:{digest}"));
    assert_eq!(artifact.path, format!("blob/apps/blob/{digest}.tgz"));
    assert_eq!(artifact.url, format!("http://host/blob/apps/blob/{digest}.tgz"));
    assert_eq!(fixture.object.status.url.as_ref(), Some(&artifact.url));
    assert_eq!(artifact.origin_revision(), Some("main@sha1:1"));
    assert_eq!(fixture.object.status.chart.as_deref(), Some("blob"));
    assert_eq!(std::fs::read(fixture.stored()).unwrap(), b"one");
    assert_eq!(
        events(&summary),
        ["Succeeded verified", "GitOperationSucceeded pulled 'blob' chart with version '1'"]
    );
    assert_eq!(
        conditions(&summary),
        ["Ready True Succeeded", "ArtifactInStorage True Succeeded", "SourceVerified True Succeeded"]
    );
    let kept = fixture.attempt().await;
    assert_eq!((events(&kept), fixture.fetches()), (Vec::new(), 1));
    assert_eq!(fixture.object.status.artifact, Some(artifact));
    assert_eq!(fixture.source.memory.usage().reserved, 0);
}

#[tokio::test]
async fn another_revision_another_input_and_a_lost_file_each_lead_to_a_new_artifact() {
    let mut fixture = Fixture::new();
    fixture.attempt().await;
    fixture.serve(|registry| registry.content = "two");
    fixture.attempt().await;
    assert_eq!((std::fs::read(fixture.stored()).unwrap(), fixture.fetches()), (b"two".to_vec(), 2));
    fixture.spec(|spec| spec.layer = "second".to_owned());
    fixture.attempt().await;
    assert_eq!((fixture.object.status.observed_layer.as_deref(), fixture.fetches()), (Some("second"), 3));
    std::fs::write(fixture.stored(), "damaged").unwrap();
    let summary = fixture.attempt().await;
    assert!(events(&summary)[0].contains("did not match its digest"), "{summary:?}");
    assert_eq!((std::fs::read(fixture.stored()).unwrap(), fixture.fetches()), (b"two".to_vec(), 4));
    fixture.attempt().await;
    assert_eq!(fixture.fetches(), 4);
}

#[tokio::test]
async fn an_artifact_of_another_object_is_waited_for_with_the_condition_of_the_kind() {
    let mut fixture = Fixture::new();
    fixture.attempt().await;
    fixture.serve(|registry| registry.resolves = Err(BlobError::NotReady));
    let waiting = fixture.attempt().await;
    assert_eq!(waiting.next, Next::After(Duration::from_secs(30)));
    let actual = conditions(&waiting);
    assert!(actual.contains(&"SourceUnavailable True DependencyNotReady".to_owned()), "{actual:?}");
    assert!(actual.contains(&"ArtifactInStorage True Succeeded".to_owned()), "{actual:?}");
    fixture.serve(|registry| registry.resolves = Ok(()));
    let ready = fixture.attempt().await;
    assert_eq!(conditions(&ready)[0], "Ready True Succeeded");
    assert_eq!(conditions(&ready).len(), 3, "{ready:?}");
    let revision = fixture.object.status.artifact.unwrap().revision;
    assert_eq!(events(&ready), [format!("Resumed '{revision}' is there again")]);
}

#[tokio::test]
async fn a_signature_that_does_not_verify_makes_the_condition_of_the_kind_false() {
    let mut fixture = Fixture::new();
    fixture.serve(|registry| registry.resolves = Err(BlobError::Unverified));
    let summary = fixture.attempt().await;
    let actual = conditions(&summary);
    assert!(actual.contains(&"SourceVerified False VerificationError".to_owned()), "{actual:?}");
    assert_eq!((summary.next, fixture.fetches()), (Next::Backoff, 0));
    assert_eq!(fixture.object.status.artifact, None);
}

#[tokio::test]
async fn what_is_not_accepted_is_not_fetched_and_the_source_counts_as_reached() {
    let mut fixture = Fixture::new();
    fixture.attempt().await;
    let artifact = fixture.object.status.artifact.clone();
    let failed = Condition {
        type_: "FetchFailed".to_owned(),
        status: ConditionStatus::True,
        ..fixture.object.status.conditions[0].clone()
    };
    fixture.object.status.conditions.push(failed);
    fixture.serve(|registry| {
        registry.content = "two";
        registry.verifies = Err(BlobError::Unverified);
    });
    let summary = fixture.attempt().await;
    assert_eq!((fixture.object.status.artifact.clone(), fixture.fetches()), (artifact, 1));
    let actual = conditions(&summary);
    assert!(actual.contains(&"SourceVerified False VerificationError".to_owned()), "{actual:?}");
    assert!(!actual.iter().any(|one| one.starts_with("FetchFailed")), "{actual:?}");
    assert!(!actual.iter().any(|one| one.starts_with("ArtifactOutdated")), "{actual:?}");
    fixture.serve(|registry| registry.verifies = Ok(()));
    fixture.attempt().await;
    assert_eq!(fixture.fetches(), 2);
}

#[tokio::test]
async fn an_object_that_only_holds_settings_has_neither_artifact_nor_status_any_more() {
    let mut fixture = Fixture::new();
    fixture.attempt().await;
    let stored = fixture.stored();
    fixture.spec(|spec| spec.without_artifact = true);
    let summary = fixture.attempt().await;
    assert!(!stored.exists());
    assert_eq!((&summary.status, summary.next, fixture.fetches()), (&None, Next::Never, 1));
    assert_eq!(
        events(&summary),
        ["GarbageCollectionSucceeded garbage collected artifacts of a resource that has none any more"]
    );
    assert_eq!(events(&fixture.attempt().await), Vec::<String>::new());
}

#[tokio::test]
async fn storage_that_fails_is_reported_and_deletion_removes_what_was_stored() {
    let mut fixture = Fixture::new();
    // A file in the place of the folder: a failure that holds for root too.
    std::fs::write(fixture.root.path().join("blob"), "in the way").unwrap();
    let failed = fixture.attempt().await;
    let actual = conditions(&failed);
    assert!(actual.contains(&"StorageOperationFailed True DirectoryCreationFailed".to_owned()), "{actual:?}");
    std::fs::remove_file(fixture.root.path().join("blob")).unwrap();
    assert_eq!(conditions(&fixture.attempt().await)[0], "Ready True Succeeded");
    let stored = fixture.stored();
    let ledger = Mutex::new(ArtifactLedger::of(&fixture.object, &fixture.storage));
    let outcome = teardown::<BlobSource>(&fixture.object, &fixture.storage, &ledger).await;
    assert!(matches!(outcome, AttemptOutcome::Gone) && !stored.parent().unwrap().exists());
    assert_eq!(plumb_status::Ledger::events(&*ledger.lock().unwrap()).len(), 1);
}

#[test]
fn a_new_address_of_the_server_is_in_the_status_after_a_restart() {
    let mut fixture = Fixture::new();
    let artifact = json!({
        "path": "blob/apps/blob/x.tgz", "url": "http://old/blob/apps/blob/x.tgz", "digest": "sha256:0",
        "revision": "1.2.3", "lastUpdateTime": "2026-01-01T00:00:00Z",
    });
    fixture.object.status.artifact = serde_json::from_value(artifact).unwrap();
    let status = ArtifactLedger::of(&fixture.object, &fixture.storage).status();
    assert_eq!(status["url"], status["artifact"]["url"]);
    assert_eq!(status["artifact"]["url"], Value::from("http://host/blob/apps/blob/x.tgz"));
}
