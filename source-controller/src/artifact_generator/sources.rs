//! The sources, as the watches know them, and the digest that tells whether one of them has something new.

use std::collections::BTreeMap;

use plumb_api::{
    meta::Artifact,
    source::{Bucket, ExternalArtifact, GeneratorSourceKind, GitRepository, HelmChart, OCIRepository},
};
use plumb_cluster::{NamespacedName, ObjectCache, ObjectEvent};
use plumb_filetree::digest::sha256_hex;
use plumb_runtime::{Runtime, Watched, Watching};

use super::{
    error::GeneratorError,
    plan::{Plan, SourceName},
};

/// A kind of source.
pub trait ArtifactSource: Watched {
    /// Its kind, as an ArtifactGenerator names it.
    const KIND: GeneratorSourceKind;

    /// The artifact that it has now.
    fn artifact(&self) -> Option<&Artifact>;
}

macro_rules! artifact_sources {
    ($($kind:ty, $name:ident;)*) => {$(
        impl ArtifactSource for $kind {
            const KIND: GeneratorSourceKind = GeneratorSourceKind::$name;

            fn artifact(&self) -> Option<&Artifact> {
                self.status.as_ref()?.artifact.as_ref()
            }
        }
    )*};
}

artifact_sources! {
    Bucket, Bucket;
    GitRepository, GitRepository;
    OCIRepository, OciRepository;
    HelmChart, HelmChart;
    ExternalArtifact, ExternalArtifact;
}

/// The sources of every kind.
#[derive(Clone, Default)]
pub struct Sources {
    /// Buckets.
    pub buckets: ObjectCache<Bucket>,
    /// GitRepositories.
    pub git_repositories: ObjectCache<GitRepository>,
    /// OCIRepositories.
    pub oci_repositories: ObjectCache<OCIRepository>,
    /// HelmCharts.
    pub helm_charts: ObjectCache<HelmChart>,
    /// ExternalArtifacts, the generated ones too.
    pub external_artifacts: ObjectCache<ExternalArtifact>,
}

/// The artifacts of the sources of an object, by alias.
pub type Observed = BTreeMap<String, Artifact>;

impl Sources {
    /// Watches the kinds. `on_artifact` is called with each source whose artifact differs from the one before; `on_lost` with each
    /// ExternalArtifact that was deleted.
    pub fn watch(
        runtime: &mut Runtime,
        on_artifact: impl Fn(&SourceName) + Clone + Send + Sync + 'static,
        on_lost: impl Fn(&ExternalArtifact) + Send + Sync + 'static,
    ) -> Self {
        let on_external = on_artifact.clone();
        Self {
            buckets: watch(runtime, on_artifact.clone()),
            git_repositories: watch(runtime, on_artifact.clone()),
            oci_repositories: watch(runtime, on_artifact.clone()),
            helm_charts: watch(runtime, on_artifact),
            external_artifacts: runtime.watch(Watching::default(), move |change| {
                if let ObjectEvent::Deleted { old } = change {
                    on_lost(old);
                }
                note(change, &on_external);
            }),
        }
    }

    /// Resolves when all kinds were listed once.
    pub async fn synced(&self) {
        self.buckets.synced().await;
        self.git_repositories.synced().await;
        self.oci_repositories.synced().await;
        self.helm_charts.synced().await;
        self.external_artifacts.synced().await;
    }

    /// The artifact of each source of a plan.
    pub fn observe(&self, plan: &Plan) -> Result<Observed, GeneratorError> {
        plan.sources.iter().map(|(alias, name)| Ok((alias.clone(), self.artifact(name)?))).collect()
    }

    fn artifact(&self, source: &SourceName) -> Result<Artifact, GeneratorError> {
        match source.kind {
            GeneratorSourceKind::Bucket => artifact_in(&self.buckets, source),
            GeneratorSourceKind::GitRepository => artifact_in(&self.git_repositories, source),
            GeneratorSourceKind::OciRepository => artifact_in(&self.oci_repositories, source),
            GeneratorSourceKind::HelmChart => artifact_in(&self.helm_charts, source),
            GeneratorSourceKind::ExternalArtifact => artifact_in(&self.external_artifacts, source),
        }
    }
}

fn artifact_in<K: ArtifactSource>(
    cache: &ObjectCache<K>,
    source: &SourceName,
) -> Result<Artifact, GeneratorError> {
    let source_name = || source.clone();
    let object = cache
        .get(&source.name)
        .ok_or_else(|| GeneratorError::SourceMissing { source_name: source_name() })?;
    let artifact = object.artifact().filter(|_| object.meta().deletion_timestamp.is_none());
    artifact.cloned().ok_or_else(|| GeneratorError::SourceNotReady { source_name: source_name() })
}

/// The digest of what was observed, as Flux computes it: an object that its source-watcher left is not generated anew.
pub fn digest_of(observed: &Observed) -> String {
    let mut parts: Vec<String> = observed
        .iter()
        .map(|(alias, Artifact { digest, revision, url, .. })| {
            format!("{alias}=[digest={digest},revision={revision},url={url}]")
        })
        .collect();
    parts.sort();
    format!("sha256:{}", sha256_hex(parts.join("|").as_bytes()))
}

fn watch<K: ArtifactSource>(
    runtime: &mut Runtime,
    on_artifact: impl Fn(&SourceName) + Send + Sync + 'static,
) -> ObjectCache<K> {
    runtime.watch(Watching::default(), move |change: &ObjectEvent<K>| note(change, &on_artifact))
}

fn note<K: ArtifactSource>(change: &ObjectEvent<K>, on_artifact: &impl Fn(&SourceName)) {
    let ObjectEvent::Applied { old, new } = change else { return };
    let Some(now) = new.artifact() else { return };
    let before = old.as_deref().and_then(K::artifact);
    let is_same = before.is_some_and(|before| {
        (&before.revision, &before.digest, &before.url) == (&now.revision, &now.digest, &now.url)
    });
    if !is_same {
        on_artifact(&SourceName { kind: K::KIND, name: NamespacedName::of(new.as_ref()) });
    }
}
