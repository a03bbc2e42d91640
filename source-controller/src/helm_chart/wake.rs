//! A change of a source wakes the charts that are from it.

use plumb_api::source::HelmChart;
use plumb_cluster::{NamespacedName, ObjectCache, ObjectEvent};
use plumb_runtime::{Priority, Queue};

use crate::artifact::SourceObject;

/// Wakes the charts that a change of a source concerns.
pub fn wake_charts<O: SourceObject>(change: &ObjectEvent<O>, charts: &ObjectCache<HelmChart>, queue: &Queue) {
    let Some(changed) = concerns(change) else { return };
    let kind = O::kind(&());
    for chart in charts.all() {
        let source = &chart.spec.source_ref;
        let key = NamespacedName::of(chart.as_ref());
        let is_from_it = source.kind.as_str() == kind
            && (&key.namespace, &source.name) == (&changed.namespace, &changed.name);
        if is_from_it {
            queue.add(&key, Priority::Revision);
        }
    }
}

/// The source whose charts have to be looked at again: it is new or gone, or has another artifact or spec.
fn concerns<O: SourceObject>(change: &ObjectEvent<O>) -> Option<NamespacedName> {
    match change {
        ObjectEvent::Applied { old: Some(old), new } => {
            let seen = |object: &O| {
                // An artifact that was lost and is stored again has the revision that it had.
                let stored =
                    object.artifact().map(|artifact| (artifact.revision.clone(), artifact.last_update_time));
                (object.meta().uid.clone(), object.meta().generation, stored)
            };
            (seen(old) != seen(new)).then(|| NamespacedName::of(new.as_ref()))
        }
        ObjectEvent::Applied { old: None, new } => Some(NamespacedName::of(new.as_ref())),
        ObjectEvent::Deleted { old } => Some(NamespacedName::of(old.as_ref())),
        // As if it were suspended.
        ObjectEvent::Unreadable { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use plumb_api::source::{GitRepository, HelmRepository};
    use plumb_status::cadence::Backoff;
    use serde_json::{Value, json};

    use super::*;

    fn repository(name: &str, generation: i64, revision: Option<&str>) -> Arc<HelmRepository> {
        let artifact = revision.map_or(Value::Null, |revision| {
            json!({ "path": "p", "url": "u", "revision": revision, "digest": "sha256:0", "lastUpdateTime": "2026-01-01T00:00:00Z" })
        });
        Arc::new(
            serde_json::from_value(json!({
                "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "HelmRepository",
                "metadata": { "name": name, "namespace": "apps", "generation": generation },
                "spec": { "url": "https://h" }, "status": { "artifact": artifact },
            }))
            .unwrap(),
        )
    }

    /// How many charts a change wakes, of three: two of the repository `charts`, one of them in another namespace.
    fn woken<O: SourceObject>(change: &ObjectEvent<O>) -> usize {
        let charts = ObjectCache::default();
        for (name, namespace, source) in
            [("a", "apps", "charts"), ("b", "apps", "other"), ("c", "web", "charts")]
        {
            let chart: HelmChart = serde_json::from_value(json!({
                "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "HelmChart",
                "metadata": { "name": name, "namespace": namespace, "resourceVersion": "1" },
                "spec": { "chart": "app", "interval": "1m", "sourceRef": { "kind": "HelmRepository", "name": source } },
            }))
            .unwrap();
            charts.put(chart);
        }
        let queue = Queue::new(Backoff::default());
        wake_charts(change, &charts, &queue);
        queue.depth()
    }

    #[test]
    fn only_the_charts_of_a_repository_that_has_something_new_are_woken() {
        let applied = |old, new| woken(&ObjectEvent::Applied { old, new });
        let one = || repository("charts", 1, Some("sha256:1"));
        assert_eq!(applied(None, one()), 1);
        assert_eq!(applied(Some(repository("charts", 1, None)), one()), 1);
        assert_eq!(applied(Some(one()), repository("charts", 1, Some("sha256:2"))), 1);
        assert_eq!(applied(Some(one()), repository("charts", 2, Some("sha256:1"))), 1);
        assert_eq!(applied(Some(one()), one()), 0, "a poll without news wakes nothing");
        assert_eq!(applied(None, repository("elsewhere", 1, None)), 0);
        assert_eq!(woken(&ObjectEvent::Deleted { old: one() }), 1);
        // A source of another kind may have the same name.
        let git: GitRepository = serde_json::from_value(json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": { "name": "charts", "namespace": "apps" }, "spec": { "url": "https://h", "interval": "1m" },
        }))
        .unwrap();
        assert_eq!(woken(&ObjectEvent::Deleted { old: Arc::new(git) }), 0);
    }
}
