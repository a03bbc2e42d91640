//! Reads a Kustomization and its source again, from the API server, before anything is deleted: what the attempt goes by came
//! from a watch and may be old.

use std::time::Duration;

use kube::Api;
use plumb_api::kustomize::Kustomization;
use plumb_api::meta::Artifact;
use plumb_cluster::{CallError, call};
use plumb_runtime::Visit;
use plumb_status::chain;

use super::Context;
use super::error::KustomizationError;
use crate::kind::Kustomizations;
use crate::source_ref::SourceRef;
use crate::sources;

/// How long news that a read has shown already is awaited from the watch.
const WATCH_LAG_MAX: Duration = Duration::from_secs(5);

/// What a second read says about the attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reread {
    /// All is as the attempt began with.
    Unchanged,
    /// There is something newer, and the next attempt begins with it.
    Superseded,
}

/// Whether the Kustomization is still the one that the attempt began with, and its source still has this artifact. Where the
/// source has a newer artifact, or the watch shows a newer Kustomization within [`WATCH_LAG_MAX`], the attempt is superseded.
/// Otherwise what has changed is an error: nothing is deleted.
pub async fn reread(
    visit: &Visit<Kustomizations>,
    artifact: Option<&Artifact>,
    context: &Context,
) -> Result<Reread, KustomizationError> {
    let Some(moved) = changed(visit.object(), artifact, context).await? else { return Ok(Reread::Unchanged) };
    let (what, is_newer) = match moved {
        Moved::Artifact(revision) => (format!("its source has the newer revision {revision}"), true),
        Moved::Other(what) => (what.to_owned(), false),
    };
    // The next attempt goes by the watch: without its news it would only come to this place again.
    let shown = tokio::time::timeout(WATCH_LAG_MAX, visit.superseded());
    if visit.worker().parked(shown).await.is_err() && !is_newer {
        return Err(KustomizationError::PruneStopped { what });
    }
    tracing::info!(what, "nothing is deleted: the attempt is superseded");
    Ok(Reread::Superseded)
}

/// What is not as the attempt began with.
enum Moved {
    /// The source has an artifact of this revision.
    Artifact(String),
    Other(&'static str),
}

async fn changed(
    object: &Kustomization,
    artifact: Option<&Artifact>,
    context: &Context,
) -> Result<Option<Moved>, KustomizationError> {
    let (meta, client) = (&object.metadata, context.cluster.client());
    let (namespace, name) =
        (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
    let api: Api<Kustomization> = Api::namespaced(client.clone(), namespace);
    let live = call(api.get_opt(name)).await.map_err(|error| unread("the Kustomization", &error))?;
    if let Some(what) = moved(object, live.as_ref()) {
        return Ok(Some(Moved::Other(what)));
    }
    let Some(artifact) = artifact else { return Ok(None) };
    let live = sources::read(client, &SourceRef::of(object)).await;
    let same = |now: &Artifact| now.revision == artifact.revision && now.digest == artifact.digest;
    Ok(match live.map_err(|error| unread("its source", &error))?.artifact() {
        Some(now) if same(&now) => None,
        Some(now) => Some(Moved::Artifact(now.revision)),
        None => Some(Moved::Other("its source has no artifact any more")),
    })
}

fn unread(what: &str, error: &CallError) -> KustomizationError {
    KustomizationError::PruneStopped { what: format!("{what} cannot be read: {}", chain(error)) }
}

/// What is different about a Kustomization that matters for what is deleted.
fn moved(known: &Kustomization, live: Option<&Kustomization>) -> Option<&'static str> {
    let Some(live) = live else { return Some("the Kustomization does not exist any more") };
    if live.metadata.uid != known.metadata.uid {
        Some("the Kustomization was deleted and created again")
    } else if live.metadata.deletion_timestamp.is_some() != known.metadata.deletion_timestamp.is_some() {
        Some("the Kustomization is being deleted")
    } else if live.spec.suspend != known.spec.suspend {
        Some("spec.suspend has changed")
    } else if live.spec.prune != known.spec.prune
        || live.spec.deletion_policy != known.spec.deletion_policy
        || live.metadata.generation != known.metadata.generation
    {
        Some("the spec of the Kustomization has changed")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(patch: &Value, expect: Option<&str>) {
        let mut value = json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": "apps", "namespace": "flux-system", "uid": "k", "generation": 1},
            "spec": {"interval": "1m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "repo"}}
        });
        let known: Kustomization = serde_json::from_value(value.clone()).unwrap();
        json_patch::merge(&mut value, patch);
        let live: Kustomization = serde_json::from_value(value).unwrap();
        assert_eq!(moved(&known, Some(&live)), expect, "{patch}");
    }

    #[test]
    fn each_change_that_matters_stops_a_prune() {
        check(
            &json!({"status": {"lastAttemptedRevision": "main"}, "metadata": {"resourceVersion": "9"}}),
            None,
        );
        check(&json!({"metadata": {"uid": "l"}}), Some("the Kustomization was deleted and created again"));
        let deleted = json!({"metadata": {"deletionTimestamp": "2026-11-25T06:30:00Z"}});
        check(&deleted, Some("the Kustomization is being deleted"));
        check(&json!({"spec": {"suspend": true}}), Some("spec.suspend has changed"));
        let spec = Some("the spec of the Kustomization has changed");
        check(&json!({"spec": {"prune": false}}), spec);
        check(&json!({"metadata": {"generation": 2}}), spec);
    }
}
