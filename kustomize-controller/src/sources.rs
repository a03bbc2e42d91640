//! The sources of every kind, as the watches know them: what an attempt asks of one is its artifact.

use std::sync::Arc;

use kube::{Api, Client};
use plumb_api::kustomize::SourceKind;
use plumb_api::meta::Artifact;
use plumb_api::source::{Bucket, ExternalArtifact, GitRepository, OCIRepository};
use plumb_cluster::{CallError, NamespacedName, ObjectCache, ObjectEvent, call};
use plumb_runtime::{Runtime, Watched, Watching};

use crate::source_ref::SourceRef;

/// A kind of source.
trait ArtifactSource: Watched {
    /// Its kind, as a Kustomization names it.
    const KIND: SourceKind;

    /// The artifact that it has now.
    fn artifact(&self) -> Option<&Artifact>;
}

macro_rules! artifact_sources {
    ($($kind:ty, $name:expr;)*) => {$(
        impl ArtifactSource for $kind {
            const KIND: SourceKind = $name;

            fn artifact(&self) -> Option<&Artifact> {
                self.status.as_ref()?.artifact.as_ref()
            }
        }
    )*};
}

artifact_sources! {
    GitRepository, SourceKind::GitRepository;
    OCIRepository, SourceKind::OciRepository;
    Bucket, SourceKind::Bucket;
    ExternalArtifact, SourceKind::ExternalArtifact;
}

/// What is known of a source.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// It is not there.
    Missing,
    /// It is there and has no artifact.
    Empty,
    /// It has this artifact.
    Holds(Box<Artifact>),
}

impl Source {
    /// The artifact, if there is one.
    pub fn artifact(self) -> Option<Artifact> {
        match self {
            Self::Holds(artifact) => Some(*artifact),
            Self::Missing | Self::Empty => None,
        }
    }

    fn of<K: ArtifactSource>(object: Option<&K>) -> Self {
        match object.map(K::artifact) {
            None => Self::Missing,
            Some(None) => Self::Empty,
            Some(Some(artifact)) => Self::Holds(Box::new(artifact.clone())),
        }
    }
}

/// The sources of every kind that is watched.
#[derive(Clone)]
pub struct Sources {
    git_repositories: ObjectCache<GitRepository>,
    oci_repositories: ObjectCache<OCIRepository>,
    buckets: ObjectCache<Bucket>,
    /// None where the feature gate is off.
    external_artifacts: Option<ObjectCache<ExternalArtifact>>,
}

/// What is done when a source has something new: its name and its artifact.
type OnArtifact = Arc<dyn Fn(&SourceRef, &Artifact) + Send + Sync>;

impl Sources {
    /// Watches the kinds. `on_artifact` receives each artifact that differs from the one before.
    pub fn watch(
        runtime: &mut Runtime,
        external_artifacts: bool,
        on_artifact: impl Fn(&SourceRef, &Artifact) + Send + Sync + 'static,
    ) -> Self {
        let on_artifact: OnArtifact = Arc::new(on_artifact);
        Self {
            git_repositories: watch(runtime, &on_artifact),
            oci_repositories: watch(runtime, &on_artifact),
            buckets: watch(runtime, &on_artifact),
            external_artifacts: external_artifacts.then(|| watch(runtime, &on_artifact)),
        }
    }

    /// What is known of a source. One of a kind that is not watched is not there.
    pub fn get(&self, source: &SourceRef) -> Source {
        let name = NamespacedName::new(&source.namespace, &source.name);
        match source.kind {
            SourceKind::GitRepository => Source::of(self.git_repositories.get(&name).as_deref()),
            SourceKind::OciRepository => Source::of(self.oci_repositories.get(&name).as_deref()),
            SourceKind::Bucket => Source::of(self.buckets.get(&name).as_deref()),
            SourceKind::ExternalArtifact => {
                let found = self.external_artifacts.as_ref().and_then(|cache| cache.get(&name));
                Source::of(found.as_deref())
            }
        }
    }

    /// Resolves when all kinds were listed once.
    pub async fn synced(&self) {
        self.git_repositories.synced().await;
        self.oci_repositories.synced().await;
        self.buckets.synced().await;
        if let Some(external_artifacts) = &self.external_artifacts {
            external_artifacts.synced().await;
        }
    }
}

/// Reads a source from the API server itself.
pub async fn read(client: &Client, source: &SourceRef) -> Result<Source, CallError> {
    match source.kind {
        SourceKind::GitRepository => read_one::<GitRepository>(client, source).await,
        SourceKind::OciRepository => read_one::<OCIRepository>(client, source).await,
        SourceKind::Bucket => read_one::<Bucket>(client, source).await,
        SourceKind::ExternalArtifact => read_one::<ExternalArtifact>(client, source).await,
    }
}

async fn read_one<K: ArtifactSource>(client: &Client, source: &SourceRef) -> Result<Source, CallError> {
    let api: Api<K> = Api::namespaced(client.clone(), &source.namespace);
    Ok(Source::of(call(api.get_opt(&source.name)).await?.as_ref()))
}

fn watch<K: ArtifactSource>(runtime: &mut Runtime, on_artifact: &OnArtifact) -> ObjectCache<K> {
    let on_artifact = Arc::clone(on_artifact);
    runtime.watch(Watching::default(), move |change: &ObjectEvent<K>| {
        let ObjectEvent::Applied { old, new } = change else { return };
        let Some(now) = new.artifact() else { return };
        let before = old.as_deref().and_then(K::artifact);
        let is_same =
            before.is_some_and(|before| before.revision == now.revision && before.digest == now.digest);
        if !is_same {
            on_artifact(&SourceRef::new(K::KIND, NamespacedName::of(new.as_ref())), now);
        }
    })
}
