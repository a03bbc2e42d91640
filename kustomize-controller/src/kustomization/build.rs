//! From an artifact to the objects that it stands for. Builds are kept, one for each Kustomization: what no file that
//! was read has changed is not built again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use plumb_api::kustomize::Kustomization;
use plumb_api::meta::{Artifact, DIRECTORY_DIGESTS_METADATA};
use plumb_cluster::NamespacedName;
use plumb_fetch::ArtifactTree;
use plumb_filetree::{DirectoryDigests, MemoryTree};
use plumb_kustomize::{Charge, Interrupt, Limits, ReadSet, Warning};
use plumb_memory::{Limit, MemoryReservation};
use plumb_planning::fingerprint::{Fingerprint, HashKey};
use plumb_planning::ownership::Owner;
use plumb_planning::plan::{self, Planned};
use plumb_rendering::{Options, RenderSpec, Rendered, Retyped, When};
use plumb_runtime::Worker;

use super::Context;
use super::error::KustomizationError;
use super::variables::variables;

/// What an artifact stands for.
#[derive(Debug)]
pub struct Build {
    /// Every object, ready to be applied.
    pub planned: Vec<Arc<Planned>>,
    /// Of the manifests as they were rendered.
    pub digest: String,
    /// What was accepted but should be looked at.
    pub warnings: Vec<Warning>,
    /// Texts that a substitution has turned into something else.
    pub retyped: Vec<Retyped>,
    reads: ReadSet,
}

/// What a build was made of, beside files.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Recipe {
    uid: String,
    generation: i64,
    variables: Fingerprint,
}

#[derive(Clone)]
struct Kept {
    recipe: Recipe,
    artifact: Origin,
    build: Arc<Build>,
}

/// What is known of an artifact without its files.
#[derive(Clone)]
struct Origin {
    digest: String,
    directories: DirectoryDigests,
}

impl Origin {
    /// An artifact whose producer tells nothing of its directories, or nothing that can be read, has to be fetched.
    fn of(artifact: &Artifact) -> Self {
        let directories = artifact.metadata.get(DIRECTORY_DIGESTS_METADATA);
        let directories = directories.and_then(|text| text.parse().ok()).unwrap_or_default();
        Self { digest: artifact.digest.clone(), directories }
    }

    /// Whether everything that a build read is certainly the same in both.
    fn agrees(&self, other: &Self, reads: &ReadSet) -> bool {
        self.digest == other.digest
            || reads.iter().all(|(path, _)| self.directories.is_same_at(&other.directories, path))
    }
}

/// The builds that are kept.
#[derive(Default)]
pub struct Builds(Mutex<BTreeMap<NamespacedName, Kept>>);

impl Builds {
    /// Forgets the build of a Kustomization.
    pub fn forget(&self, key: &NamespacedName) {
        self.lock().remove(key);
    }

    /// What a Kustomization rendered last, whatever has changed since.
    pub fn newest(&self, key: &NamespacedName) -> Option<Arc<Build>> {
        self.lock().get(key).map(|kept| Arc::clone(&kept.build))
    }

    fn get(&self, key: &NamespacedName, recipe: &Recipe) -> Option<Kept> {
        self.lock().get(key).filter(|kept| kept.recipe == *recipe).cloned()
    }

    fn put(&self, key: &NamespacedName, recipe: Recipe, artifact: Origin, build: &Arc<Build>) {
        let kept = Kept { recipe, artifact, build: Arc::clone(build) };
        self.lock().insert(key.clone(), kept);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<NamespacedName, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The objects of an artifact, from memory where nothing that they depend on is different. The artifact is waited for
/// without the worker, where one is named.
pub async fn build(
    object: &Kustomization,
    artifact: &Artifact,
    context: &Context,
    worker: Option<&Worker>,
) -> Result<Arc<Build>, KustomizationError> {
    let key = NamespacedName::of(object);
    let variables = variables(object, context.cluster.client()).await?;
    let recipe = Recipe {
        variables: Fingerprint::of_value(&serde_json::json!(variables)),
        uid: object.metadata.uid.clone().unwrap_or_default(),
        generation: object.metadata.generation.unwrap_or_default(),
    };
    let origin = Origin::of(artifact);
    let kept = context.builds.get(&key, &recipe);
    if let Some(Kept { artifact: known, build, .. }) = &kept
        && origin.agrees(known, &build.reads)
    {
        // The next artifact is compared with this one: its directories are closer to those.
        context.builds.put(&key, recipe, origin, build);
        return Ok(Arc::clone(build));
    }
    let consumer = object.metadata.namespace.as_deref().unwrap_or_default();
    let fetch = context.fetcher.fetch(consumer, artifact);
    let fetched = match worker {
        Some(worker) => worker.parked(fetch).await,
        None => fetch.await,
    };
    let tree = fetched.map_err(|error| {
        if error.is_not_found() { KustomizationError::ArtifactGone } else { error.into() }
    })?;
    if let Some(Kept { build, .. }) = kept
        && build.reads.holds_in(tree.as_tree())
    {
        context.builds.put(&key, recipe, origin, &build);
        return Ok(build);
    }
    let spec = RenderSpec::from_spec(&object.spec);
    let build = Arc::new(rendered(object, tree, (spec, variables, Encrypted::Rejected), context).await?);
    context.builds.put(&key, recipe, origin, &build);
    Ok(build)
}

/// The objects of an artifact as far as they can be told apart: without variables, and with encrypted Secrets as they
/// are. Nothing of it may be applied.
pub async fn build_for_ids(
    object: &Kustomization,
    artifact: &Artifact,
    context: &Context,
) -> Result<Build, KustomizationError> {
    let consumer = object.metadata.namespace.as_deref().unwrap_or_default();
    let tree = context.fetcher.fetch(consumer, artifact).await?;
    let spec = RenderSpec { when: When::Never, ..RenderSpec::from_spec(&object.spec) };
    rendered(object, tree, (spec, BTreeMap::new(), Encrypted::Kept), context).await
}

/// What a Secret leads to that is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encrypted {
    /// An error: a cluster would take it with the wrong content.
    Rejected,
    /// It is rendered as it is, for its ID: nothing of it may be applied.
    Kept,
}

/// Renders on a thread of its own.
async fn rendered(
    object: &Kustomization,
    tree: Arc<ArtifactTree>,
    (spec, variables, encrypted): (RenderSpec, BTreeMap<String, String>, Encrypted),
    context: &Context,
) -> Result<Build, KustomizationError> {
    let (owner, namespace) = (owner(object), object.metadata.namespace.clone().unwrap_or_default());
    let hash_key = context.hash_key.clone();
    let reservation = context.memory.reservation(&namespace, OBJECTS);
    let rendered = context.threads.run(&namespace, move |interrupt| {
        let options = options(interrupt, reservation);
        render((tree.as_ref(), &spec, &variables, encrypted), &owner, &hash_key, &options)
    });
    rendered.await?
}

/// Who the objects of a Kustomization belong to.
pub fn owner(object: &Kustomization) -> Owner {
    Owner {
        name: object.metadata.name.clone().unwrap_or_default(),
        namespace: object.metadata.namespace.clone().unwrap_or_default(),
    }
}

/// What one build may hold.
const OBJECTS: Limit = Limit { name: "objects of a Kustomization", bytes_max: 512 << 20 };

/// A build that ends when it is asked to, and whose objects are charged to the budget until it has ended.
fn options(interrupt: &Interrupt, reservation: MemoryReservation) -> Options {
    let reservation = Mutex::new(reservation);
    let charge = Charge::new(move |bytes| {
        let mut reservation = reservation.lock().unwrap_or_else(PoisonError::into_inner);
        reservation.try_grow(bytes).map_err(|error| error.to_string())
    });
    let limits = Limits { interrupt: interrupt.clone(), charge, ..Limits::default() };
    let build = plumb_kustomize::Options { limits, ..plumb_kustomize::Options::default() };
    Options { build, ..Options::default() }
}

fn render(
    (tree, spec, variables, encrypted): (&MemoryTree, &RenderSpec, &BTreeMap<String, String>, Encrypted),
    owner: &Owner,
    key: &HashKey,
    options: &Options,
) -> Result<Build, KustomizationError> {
    let prepared = plumb_rendering::prepare(tree, spec, options)?;
    if encrypted == Encrypted::Rejected {
        prepared.reject_encrypted()?;
    }
    let Rendered { objects, digest, reads, warnings, substituted } =
        prepared.render(spec, variables, options)?;
    for warning in &warnings {
        let text = warning.text.as_str();
        tracing::warn!(
            name = owner.name,
            namespace = owner.namespace,
            warning = text,
            "kustomize build warning"
        );
    }
    let objects = objects.into_iter().map(|built| built.object).collect();
    Ok(Build {
        planned: plan::prepare(objects, owner, key)?,
        digest,
        warnings,
        retyped: substituted.retyped,
        reads,
    })
}
