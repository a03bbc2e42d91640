//! One attempt at an ArtifactGenerator: a table of contents. Policy is in `plan` and `drift`, files are in `compose`.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, MutexGuard},
    time::Duration,
};

use jiff::Timestamp;
use kube::{Client, ResourceExt as _};
use plumb_api::{
    meta::{Artifact, ORIGIN_REVISION_METADATA},
    source::{ArtifactGenerator, ArtifactGeneratorCondition, GeneratedArtifact},
};
use plumb_archive::UnpackLimits;
use plumb_cluster::NamespacedName;
use plumb_fetch::{ArtifactTree, Fetcher};
use plumb_memory::{Limit, MemoryPool};
use plumb_runtime::ReportError;
use plumb_status::{AttemptOutcome, Detail, EventDraft, Reason};
use plumb_store::{Location, StoreError};
use plumb_transport::Slots;

use super::{
    compose::{self, content_digest},
    drift::{self, Drift},
    error::GeneratorError,
    ledger::GeneratorLedger,
    outputs::{self, Deletion},
    plan::{self, Output, Plan},
    sources::{Observed, Sources, digest_of},
};
use crate::artifact::{Content, Interrupted, Payload, Storage, on_thread};

/// Objects whose artifacts are generated at the same time: each holds the files of its sources in memory.
pub const BUILDS_MAX: usize = 4;
/// How long an attempt waits for its turn.
const SLOT_WAIT_MAX: Duration = Duration::from_mins(10);
/// What the files of an artifact are charged to, in addition to those of the sources.
const COMPOSED: Limit = Limit { name: "files of a generated artifact", bytes_max: 640 << 20 };
/// The kind that locations in the storage have.
const EXTERNAL_ARTIFACT: &str = "ExternalArtifact";

/// What all attempts share.
pub struct Generators {
    /// The API server.
    pub client: Client,
    /// The sources.
    pub sources: Sources,
    /// The storage of the artifacts.
    pub storage: Storage,
    /// Downloads of the sources' artifacts.
    pub fetcher: Fetcher,
    /// What composed files are charged to.
    pub memory: MemoryPool,
    /// Limits of an artifact.
    pub limits: UnpackLimits,
    /// Whether sources may be in other namespaces.
    pub cross_namespace: bool,
    /// Turns, fairly by namespace.
    pub slots: Slots,
}

/// What an attempt needs of its visit: the runtime's, or a test.
pub trait GeneratorVisit: Sync {
    /// The ledger, until the guard is dropped. Never held across an await.
    fn lock_ledger(&self) -> MutexGuard<'_, GeneratorLedger>;
    /// Releases the worker; the attempt continues.
    fn park(&self);
    /// Writes the ledger into the status, and that the attempt goes on.
    fn write_ahead(&self) -> impl Future<Output = Result<(), ReportError>> + Send;
}

/// Whether anything was generated, and how many artifacts there are.
struct Done {
    artifacts: usize,
    drift: Option<Drift>,
}

impl Generators {
    /// One attempt, and how it ends.
    pub async fn reconcile<V: GeneratorVisit>(
        &self,
        object: &ArtifactGenerator,
        visit: &V,
        now: Timestamp,
    ) -> AttemptOutcome<ArtifactGeneratorCondition> {
        match self.attempt(object, visit, now).await {
            Ok(Done { artifacts, drift }) => {
                let text = format!("reconciliation succeeded, generated {artifacts} artifact(s)");
                AttemptOutcome::Succeeded {
                    detail: Detail::new(Reason::Succeeded, text),
                    changed: drift.is_some(),
                }
            }
            Err(error) => AttemptOutcome::of(&error, None),
        }
    }

    /// The attempt for an object that is being deleted.
    pub async fn teardown<V: GeneratorVisit>(
        &self,
        object: &ArtifactGenerator,
        visit: &V,
    ) -> AttemptOutcome<ArtifactGeneratorCondition> {
        let all = visit.lock_ledger().inventory.clone();
        let removed = match self.remove(object, &all, visit).await {
            Ok(()) => outputs::release(&self.client, object).await,
            error => error,
        };
        match removed {
            Ok(()) => AttemptOutcome::Gone,
            Err(error) => AttemptOutcome::of(&error, None),
        }
    }

    async fn attempt<V: GeneratorVisit>(
        &self,
        object: &ArtifactGenerator,
        visit: &V,
        now: Timestamp,
    ) -> Result<Done, GeneratorError> {
        let plan = plan::plan(object, self.cross_namespace)?;
        let observed = self.sources.observe(&plan)?;
        let digest = digest_of(&observed);
        if self.storage.is_remote() {
            // An object store may be silent.
            visit.park();
        }
        let Some(drift) = self.drift(object, &plan, &digest).await? else {
            let artifacts = visit.lock_ledger().inventory.len();
            return Ok(Done { artifacts, drift: None });
        };
        tracing::info!(name = object.name_any(), reason = drift.as_str(), "generating artifacts");
        visit.lock_ledger().progress = Some(format!("generating artifacts: {}", drift.as_str()));
        visit.park();
        let plan = self.generate(object, plan, &observed, visit, now).await?;
        let inventory = visit.lock_ledger().inventory.clone();
        self.remove(object, &orphans(object, &plan, &inventory), visit).await?;
        self.collect(visit, now).await;
        let mut ledger = visit.lock_ledger();
        ledger.progress = None;
        ledger.sources_digest = Some(digest);
        Ok(Done { artifacts: plan.outputs.len(), drift: Some(drift) })
    }

    async fn drift(
        &self,
        object: &ArtifactGenerator,
        plan: &Plan,
        digest: &str,
    ) -> Result<Option<Drift>, GeneratorError> {
        if let Some(drift) = drift::of_status(object, plan, digest) {
            return Ok(Some(drift));
        }
        for entry in object.status.iter().flat_map(|status| &status.inventory) {
            let location = location(&entry.namespace, &entry.name)?;
            let path = location.file(&entry.filename).map_err(|source| StoreError::Location { source })?;
            let url = self.storage.advertised.url(path.as_str());
            let integrity = self.storage.verify_at(location, path.to_string(), entry.digest.clone()).await?;
            let external = NamespacedName::new(&entry.namespace, &entry.name);
            let external = self.sources.external_artifacts.get(&external);
            let found = drift::of_file(integrity)
                .or_else(|| drift::of_external(object, entry, external.as_deref(), &url));
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    async fn generate<V: GeneratorVisit>(
        &self,
        object: &ArtifactGenerator,
        plan: Plan,
        observed: &Observed,
        visit: &V,
        now: Timestamp,
    ) -> Result<Arc<Plan>, GeneratorError> {
        let namespace = object.namespace().unwrap_or_default();
        let _slot = self.slots.acquire_within(&namespace, SLOT_WAIT_MAX).await?;
        let trees = Arc::new(self.fetch(&namespace, &plan, observed).await?);
        let of_pattern = plan.pattern.as_ref().and_then(|pattern| trees.get(pattern.alias()));
        let plan = Arc::new(plan.expanded(&object.spec.artifacts, of_pattern.map(|tree| tree.as_tree()))?);
        // Inventory before the objects: one that is created right before a crash must stay tracked.
        if Self::announce(&namespace, &plan, visit) {
            visit.write_ahead().await?;
        }
        for at in 0..plan.outputs.len() {
            let (generated, artifact) = self.build(&namespace, &plan, at, &trees, observed, now).await?;
            let (name, metadata) = (&generated.name, plan.metadata_of(&plan.outputs[at]));
            outputs::apply(&self.client, object, name, &metadata, &artifact, now).await?;
            note(visit, generated, &artifact);
        }
        Ok(plan)
    }

    async fn fetch(
        &self,
        namespace: &str,
        plan: &Plan,
        observed: &Observed,
    ) -> Result<BTreeMap<String, Arc<ArtifactTree>>, GeneratorError> {
        let mut trees = BTreeMap::new();
        for (alias, artifact) in observed {
            let tree = self.fetcher.fetch(namespace, artifact).await.map_err(|source| {
                // Every alias that was observed is one of the plan.
                match plan.sources.get(alias) {
                    Some(name) => {
                        GeneratorError::Fetch { source_name: name.clone(), source: Box::new(source) }
                    }
                    None => GeneratorError::Interrupted(Interrupted),
                }
            })?;
            trees.insert(alias.clone(), tree);
        }
        Ok(trees)
    }

    /// Enters the artifacts that the inventory does not have yet; whether there are any.
    fn announce<V: GeneratorVisit>(namespace: &str, plan: &Plan, visit: &V) -> bool {
        let mut ledger = visit.lock_ledger();
        let missing: Vec<String> = plan
            .outputs
            .iter()
            .filter(|output| !ledger.inventory.iter().any(|entry| entry.name == output.name))
            .map(|output| output.name.clone())
            .collect();
        for name in &missing {
            let (name, namespace) = (name.clone(), namespace.to_owned());
            ledger.note(GeneratedArtifact {
                digest: String::new(),
                filename: String::new(),
                name,
                namespace,
            });
        }
        !missing.is_empty()
    }

    /// Composes an artifact on a thread, and stores it.
    async fn build(
        &self,
        namespace: &str,
        plan: &Arc<Plan>,
        at: usize,
        trees: &Arc<BTreeMap<String, Arc<ArtifactTree>>>,
        observed: &Observed,
        now: Timestamp,
    ) -> Result<(GeneratedArtifact, Artifact), GeneratorError> {
        let output = &plan.outputs[at];
        let mut memory = self.memory.reservation(namespace, COMPOSED);
        let (of_thread, trees_of_thread, limits) = (Arc::clone(plan), Arc::clone(trees), self.limits);
        let composed = on_thread(move || {
            let source = |alias: &str| trees_of_thread.get(alias).map(|tree| tree.as_tree());
            let composed = compose::compose(&of_thread.outputs[at].copies, source, &limits, &mut memory);
            composed.map(|tree| (content_digest(&tree), tree, memory))
        });
        let composed = composed.await?;
        let (stem, tree, memory) = composed.map_err(|source| GeneratorError::Build {
            name: output.name.clone(),
            source: Box::new(source),
        })?;
        let location = location(namespace, &output.name)?;
        let content = Content { payload: Payload::Tree(tree), memory: Some(memory) };
        let stored = self.storage.put_at(location, &stem, content).await?;
        let (revision, metadata) = described(output, observed, &stored.written.digest);
        let artifact = self.storage.artifact(stored, revision, metadata, now);
        let generated = GeneratedArtifact {
            digest: artifact.digest.clone(),
            filename: artifact.path.rsplit('/').next().unwrap_or_default().to_owned(),
            name: output.name.clone(),
            namespace: namespace.to_owned(),
        };
        Ok((generated, artifact))
    }

    /// Deletes ExternalArtifacts and their files.
    async fn remove<V: GeneratorVisit>(
        &self,
        object: &ArtifactGenerator,
        entries: &[GeneratedArtifact],
        visit: &V,
    ) -> Result<(), GeneratorError> {
        for entry in entries {
            // What a status says of other namespaces is not this object's to delete.
            if Some(&entry.namespace) != object.metadata.namespace.as_ref() {
                visit.lock_ledger().forget(entry);
                continue;
            }
            if outputs::delete(&self.client, object, &entry.name).await? == Deletion::KeptForAnother {
                visit.lock_ledger().forget(entry);
                continue;
            }
            self.storage.remove_at(location(&entry.namespace, &entry.name)?).await?;
            let mut ledger = visit.lock_ledger();
            ledger.forget(entry);
            let text = format!("ExternalArtifact/{}/{} deleted", entry.namespace, entry.name);
            ledger.events.push(EventDraft::trace(Reason::GarbageCollectionSucceeded, text));
        }
        Ok(())
    }

    /// Leftover files are harmless, so a failure is only reported.
    async fn collect<V: GeneratorVisit>(&self, visit: &V, now: Timestamp) {
        let entries = visit.lock_ledger().inventory.clone();
        for GeneratedArtifact { filename, name, namespace, digest: _ } in entries {
            let Ok(location) = location(&namespace, &name) else { continue };
            if let Err(error) = self.storage.collect_at(location, Some(filename), now).await {
                let text = format!("garbage collection failed: {}", plumb_status::chain(&error));
                visit.lock_ledger().events.push(EventDraft::error(Reason::GarbageCollectionFailed, text));
            }
        }
    }
}

/// The entries of the inventory that the spec does not have any more.
fn orphans(
    object: &ArtifactGenerator,
    plan: &Plan,
    inventory: &[GeneratedArtifact],
) -> Vec<GeneratedArtifact> {
    let own = object.namespace().unwrap_or_default();
    let is_planned = |entry: &GeneratedArtifact| {
        entry.namespace == own && plan.outputs.iter().any(|output| output.name == entry.name)
    };
    inventory.iter().filter(|entry| !is_planned(entry)).cloned().collect()
}

fn note<V: GeneratorVisit>(visit: &V, generated: GeneratedArtifact, artifact: &Artifact) {
    let mut ledger = visit.lock_ledger();
    if !ledger.inventory.contains(&generated) {
        let text = format!(
            "ExternalArtifact/{}/{} reconciled with revision {}",
            generated.namespace, generated.name, artifact.revision
        );
        ledger.events.push(EventDraft::info(Reason::NewArtifact, text));
    }
    ledger.note(generated);
}

/// Revision and metadata of an artifact.
fn described(output: &Output, observed: &Observed, digest: &str) -> (String, BTreeMap<String, String>) {
    let source = |alias: &Option<String>| alias.as_ref().and_then(|alias| observed.get(alias));
    let revision = source(&output.revision)
        .map_or_else(|| format!("latest@{digest}"), |artifact| artifact.revision.clone());
    let origin = source(&output.origin_revision)
        .map(|artifact| artifact.origin_revision().unwrap_or(&artifact.revision).to_owned());
    let metadata = origin.map(|origin| (ORIGIN_REVISION_METADATA.to_owned(), origin));
    (revision, metadata.into_iter().collect())
}

fn location(namespace: &str, name: &str) -> Result<Location, StoreError> {
    Location::new(EXTERNAL_ARTIFACT, namespace, name).map_err(|source| StoreError::Location { source })
}
