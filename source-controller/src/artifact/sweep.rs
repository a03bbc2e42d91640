//! Artifacts of objects that are gone: another replica or another shard of the controller handled their deletion, or somebody removed
//! their finalizer. Nothing is removed unless the API server says that there is no such object.

use std::time::Duration;

use kube::{Api, Client};
use plumb_cluster::{NamespacedName, ObjectCache, call};
use plumb_status::chain;
use plumb_store::BucketStore;

use super::{source::SourceObject, storage::Storage};

/// The pause between two searches.
const INTERVAL: Duration = Duration::from_hours(1);
/// A directory that was changed within this time is left alone: its object may be new.
const AGE_MIN: Duration = Duration::from_mins(10);
/// Objects that are asked for in one search.
const ASKED_MAX: usize = 1000;

/// Removes artifacts of objects of a kind that are gone, at the start and every hour.
pub async fn sweep<O: SourceObject>(known: ObjectCache<O>, storage: Storage, client: Client) {
    known.synced().await;
    let mut last = None;
    loop {
        once(&known, &storage, &client, AGE_MIN, &mut last).await;
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Aborts uploads that a process began and did not end, at the start and every hour.
pub async fn sweep_uploads(bucket: BucketStore) {
    loop {
        match bucket.abort_unfinished().await {
            Ok(0) => {}
            Ok(aborted) => tracing::info!(aborted, "unfinished uploads to the object store aborted"),
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(error, "failed to abort unfinished uploads to the object store");
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Those of the sorted names that are looked at in one search: behind the last one of the search before, then from the start.
fn turn(mut names: Vec<NamespacedName>, last: Option<&NamespacedName>, max: usize) -> Vec<NamespacedName> {
    let seen = names.iter().take_while(|name| last.is_some_and(|last| *name <= last)).count();
    names.rotate_left(seen);
    names.truncate(max);
    names
}

/// Searches once, behind the `last` name of the search before; how many objects' artifacts were removed.
pub(super) async fn once<O: SourceObject>(
    known: &ObjectCache<O>,
    storage: &Storage,
    client: &Client,
    unchanged_for: Duration,
    last: &mut Option<NamespacedName>,
) -> usize {
    let kind = O::kind(&());
    let stored = match storage.objects::<O>(unchanged_for).await {
        Ok(stored) => stored,
        Err(error) => {
            let error = chain(&error);
            tracing::warn!(kind = %kind, error, "failed to look for artifacts of objects that are gone");
            return 0;
        }
    };
    let unknown = stored.into_iter().filter(|name| known.get(name).is_none() && !known.is_unreadable(name));
    let asked = turn(unknown.collect(), last.as_ref(), ASKED_MAX);
    *last = asked.last().cloned();
    let mut removed = 0;
    for NamespacedName { namespace, name } in asked {
        let api: Api<O> = Api::namespaced(client.clone(), &namespace);
        // Also an object of another shard, which is not in the cache, has its artifacts here until it is deleted.
        match call(api.get_metadata_opt(&name)).await {
            Ok(None) => {}
            Ok(Some(_)) => continue,
            Err(error) => {
                let error = chain(&error);
                tracing::debug!(kind = %kind, namespace, name, error, "failed to look for the object of artifacts");
                continue;
            }
        }
        match storage.remove_of::<O>(&namespace, &name).await {
            Ok(collected) => {
                removed += 1;
                let artifacts = collected.artifacts;
                tracing::info!(kind = %kind, namespace, name, artifacts, "artifacts of an object that is gone removed");
            }
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(kind = %kind, namespace, name, error, "failed to remove artifacts of an object that is gone");
            }
        }
    }
    removed
}

#[cfg(test)]
mod tests {
    use plumb_api::source::GitRepository;
    use plumb_store::{Advertised, ArtifactStore, Location, Retention};
    use plumb_testkit::scenario::{Response, Scenario};
    use serde_json::json;

    use super::*;

    fn repository(name: &str) -> serde_json::Value {
        json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": { "name": name, "namespace": "apps", "resourceVersion": "1" },
            "spec": { "url": "https://git.example/app", "interval": "1m" },
        })
    }

    #[test]
    fn each_search_goes_on_behind_the_one_before() {
        let all = ["a/a", "a/b", "b/a", "c/a"].map(|text| {
            let (namespace, name) = text.split_once('/').unwrap();
            NamespacedName::new(namespace, name)
        });
        let mut last = None;
        let seen: Vec<String> = (0..3)
            .flat_map(|_| {
                let found = turn(all.to_vec(), last.as_ref(), 2);
                last = found.last().cloned();
                found.into_iter().map(|name| format!("{}/{}", name.namespace, name.name))
            })
            .collect();
        assert_eq!(seen, ["a/a", "a/b", "b/a", "c/a", "a/a", "a/b"]);
        assert_eq!(turn(all.to_vec(), None, 9).len(), 4);
        assert_eq!(turn(Vec::new(), last.as_ref(), 9).len(), 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn in_a_bucket_only_artifacts_of_objects_that_are_gone_are_removed() {
        let server = plumb_testkit::bucket::ObjectStore::plain().unwrap();
        let (root, credentials) =
            (tempfile::tempdir().unwrap(), crate::object_storage::tests::access_key("id"));
        let bucket = crate::object_storage::tests::replica(&server.address().to_string(), &credentials);
        let storage = Storage { bucket: Some(bucket), ..crate::fixture::storage(root.path()) };
        let of = |prefix: &str, name: &str| format!("{prefix}gitrepository/apps/{name}/a.tgz");
        for name in ["known", "gone"] {
            server.put(&of("clusters/one/", name), b"x");
        }
        server.put(&of("clusters/two/", "gone"), b"x");
        server.put(&of("", "gone"), b"x");
        let api = Scenario::new();
        let path = "/apis/source.toolkit.fluxcd.io/v1/namespaces/apps/gitrepositories/gone";
        api.on("GET", path, Response::not_found());
        let known: ObjectCache<GitRepository> = ObjectCache::default();
        known.put(serde_json::from_value(repository("known")).unwrap());

        assert_eq!(
            once(&known, &storage, &api.client(), Duration::from_mins(1), &mut None).await,
            0,
            "they are new"
        );
        server.answer(|_| Some(plumb_testkit::registry::response(507, &[], "")));
        assert_eq!(
            once(&known, &storage, &api.client(), Duration::ZERO, &mut None).await,
            0,
            "an outage removes nothing"
        );
        server.answer_itself();
        assert_eq!(once(&known, &storage, &api.client(), Duration::ZERO, &mut None).await, 1);
        let left = [of("clusters/one/", "known"), of("clusters/two/", "gone"), of("", "gone")];
        assert_eq!(server.keys(), left);
    }

    #[tokio::test]
    async fn only_artifacts_of_objects_that_are_gone_are_removed() {
        let root = tempfile::tempdir().unwrap();
        let storage = Storage {
            store: ArtifactStore::open(root.path()).unwrap(),
            bucket: None,
            advertised: Advertised::new("host", "127.0.0.1:1".parse().unwrap(), None),
            retention: Retention { ttl: Duration::from_mins(1), records: 2 },
        };
        for name in ["known", "of-another-shard", "gone", "not-answered"] {
            let location = Location::new("GitRepository", "apps", name).unwrap();
            storage.store.put_bytes(&location, "a.tgz", b"x").unwrap();
        }
        let other = Location::new("Bucket", "apps", "gone").unwrap();
        storage.store.put_bytes(&other, "a.tgz", b"x").unwrap();
        let api = Scenario::new();
        let path =
            |name: &str| format!("/apis/source.toolkit.fluxcd.io/v1/namespaces/apps/gitrepositories/{name}");
        api.on("GET", &path("of-another-shard"), Response::ok(repository("of-another-shard")));
        api.on("GET", &path("gone"), Response::not_found());
        api.on("GET", &path("not-answered"), Response::status(500, "InternalError", "etcd is away"));
        let known: ObjectCache<GitRepository> = ObjectCache::default();
        known.put(serde_json::from_value(repository("known")).unwrap());
        let left = || storage.store.objects("GitRepository", Duration::ZERO).unwrap();

        assert_eq!(
            once(&known, &storage, &api.client(), Duration::from_mins(1), &mut None).await,
            0,
            "they are new"
        );
        assert_eq!(once(&known, &storage, &api.client(), Duration::ZERO, &mut None).await, 1);
        let names: Vec<String> = left().into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["known", "not-answered", "of-another-shard"]);
        assert_eq!(storage.store.objects("Bucket", Duration::ZERO).unwrap().len(), 1);
        assert_eq!(api.unscripted(), Vec::<String>::new());
    }
}
