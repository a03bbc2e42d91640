//! Whole attempts against a mock API server and a real artifact server: which calls, in which order, and what of them
//! remains when one fails.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use plumb_filetree::{MemoryTree, RelPath, TreeLimits};
use plumb_runtime::{Clock, ControllerOptions as _, Runtime};
use plumb_store::{ArtifactStore, Location, Written};
use plumb_testkit::scenario::{Call, Feed, Response, Scenario, ServedKind};
use plumb_testkit::wait::Wait;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::install;
use crate::options::Options;

const KUSTOMIZATION: &str = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/flux-system/kustomizations/apps";
const STATUS: &str = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/flux-system/kustomizations/apps/status";
pub(crate) const LIST: &str = "/apis/kustomize.toolkit.fluxcd.io/v1/kustomizations";
pub(crate) const SOURCES: &str = "/apis/source.toolkit.fluxcd.io/v1/gitrepositories";
pub(crate) const SOURCE: &str =
    "/apis/source.toolkit.fluxcd.io/v1/namespaces/flux-system/gitrepositories/repo";
pub(crate) const REVISION: &str = "main@sha1:1111111111111111111111111111111111111111";
/// How long anything is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const POLL: Duration = Duration::from_millis(5);

/// A namespace, two ConfigMaps and a Deployment: three waves.
const MANIFESTS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: prod}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: a, namespace: prod}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: b, namespace: prod}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: prod}
spec: {replicas: 1}
";

/// A controller at work on one Kustomization.
struct Fixture {
    api: Scenario,
    object: Arc<Mutex<Value>>,
    shutdown: CancellationToken,
    running: tokio::task::JoinHandle<()>,
    store: ArtifactStore,
    artifact: Value,
    /// The watch of sources.
    feed: Feed,
    /// The next version of the source.
    versions: AtomicU32,
    _folder: tempfile::TempDir,
}

impl Fixture {
    async fn start(manifests: &str, edit: impl FnOnce(&mut Value), script: impl FnOnce(&Scenario)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = ArtifactStore::open(folder.path()).unwrap();
        let artifact = serve(&store, manifests).await;
        let api = Scenario::new();
        let mut object = kustomization();
        edit(&mut object);
        let object = Arc::new(Mutex::new(object));
        let (feed, watch) = Response::feed();
        stage(&api, &object, &artifact, watch);
        script(&api);
        let options = Options::parse_args(["kc", "--metrics-addr=0", "--health-addr=0"]).unwrap();
        let mut runtime = Runtime::new(&options, api.client(), Clock::system());
        let shutdown = runtime.shutdown();
        install(&mut runtime, options).await.unwrap();
        let running = tokio::spawn(async move { runtime.run().await.unwrap() });
        Self {
            api,
            object,
            shutdown,
            running,
            store,
            artifact,
            feed,
            versions: AtomicU32::new(10),
            _folder: folder,
        }
    }

    /// What a commit leads to: an artifact of these files at another revision, and a source that tells of it.
    fn publish(&self, files: &[(&str, &str)], revision: &str) {
        self.publish_as(files, revision, |_| {});
    }

    /// The same, with an edit of what the source tells of its artifact.
    fn publish_as(&self, files: &[(&str, &str)], revision: &str, edit: impl FnOnce(&mut Value)) {
        let written = put(&self.store, "2.tar.gz", files);
        let mut artifact = self.artifact.clone();
        let (host, _) = artifact["url"].as_str().unwrap().split_once("/gitrepository/").unwrap();
        artifact["url"] = format!("{host}/{}", written.path).into();
        artifact["path"] = written.path.into();
        artifact["digest"] = written.digest.into();
        artifact["revision"] = revision.into();
        edit(&mut artifact);
        let mut source = source(&artifact);
        let version = self.versions.fetch_add(1, Ordering::Relaxed);
        source["metadata"]["resourceVersion"] = version.to_string().into();
        self.api.on("GET", SOURCE, Response::ok(source.clone()));
        self.feed.send("MODIFIED", &source);
    }

    fn status(&self) -> Value {
        self.object.lock().unwrap()["status"].clone()
    }

    /// Waits until Ready has this status, and says what stands.
    async fn until_ready_is(&self, status: &str) -> Value {
        let stands = |object: &Value| {
            object["conditions"][0]["type"] == "Ready" && object["conditions"][0]["status"] == status
        };
        self.until(&format!("Ready is {status}"), || stands(&self.status())).await;
        self.status()
    }

    async fn until_revision_is(&self, revision: &str) {
        let applied = || self.status()["lastAppliedRevision"] == revision;
        self.until(&format!("{revision} is applied"), applied).await;
    }

    async fn until(&self, what: &str, holds: impl FnMut() -> bool) {
        let waited = Wait::until(what, PATIENCE).every(POLL).holds(holds).await;
        waited.unwrap_or_else(|error| panic!("{error}: {:#}\n{:#?}", self.status(), self.api.lines()));
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.running).await.unwrap().unwrap();
    }

    /// The writes that were asked for, without events.
    fn writes(&self) -> Vec<String> {
        let write = |call: &Call| {
            matches!(call.method.as_str(), "PATCH" | "DELETE" | "POST" | "PUT")
                && !call.path.ends_with("/events")
        };
        self.api
            .calls()
            .iter()
            .filter(|call| write(call))
            .map(|call| format!("{} {}", call.method, call.path.rsplit('/').next().unwrap()))
            .collect()
    }
}

fn kustomization() -> Value {
    json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
        "metadata": { "name": "apps", "namespace": "flux-system", "uid": "k", "generation": 1, "resourceVersion": "10" },
        "spec": { "interval": "1h", "prune": true, "sourceRef": { "kind": "GitRepository", "name": "repo" } },
        "status": {}
    })
}

pub(crate) fn put(store: &ArtifactStore, name: &str, files: &[(&str, &str)]) -> Written {
    store.put(&Location::new("GitRepository", "flux-system", "repo").unwrap(), name, &tree(files)).unwrap().0
}

fn tree(files: &[(&str, &str)]) -> MemoryTree {
    let mut tree = MemoryTree::builder(TreeLimits::default());
    for (path, content) in files {
        tree.file(&RelPath::parse(path).unwrap(), content.as_bytes().to_vec().into(), false).unwrap();
    }
    tree.build()
}

/// Stores the manifests as an artifact and serves it; what the source's status says of it.
async fn serve(store: &ArtifactStore, manifests: &str) -> Value {
    let written = put(store, "1.tar.gz", &[("all.yaml", manifests)]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/{}", listener.local_addr().unwrap(), written.path);
    let store = store.clone();
    tokio::spawn(async move { axum::serve(listener, plumb_store::router(store)).await });
    json!({
        "digest": written.digest, "lastUpdateTime": "2026-11-25T06:30:00Z", "path": written.path, "revision": REVISION, "url": url
    })
}

pub(crate) fn source(artifact: &Value) -> Value {
    json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
        "metadata": { "name": "repo", "namespace": "flux-system", "uid": "g", "generation": 1, "resourceVersion": "9" },
        "spec": { "url": "https://git.example/repo", "interval": "1h" },
        "status": { "artifact": artifact, "observedGeneration": 1 }
    })
}

/// Of the other kinds of sources there is none.
pub(crate) fn no_other_sources(api: &Scenario) {
    for (plural, list) in [("ocirepositories", "OCIRepositoryList"), ("buckets", "BucketList")] {
        let path = format!("/apis/source.toolkit.fluxcd.io/v1/{plural}");
        api.on("GET", &path, Response::silence());
        api.once("GET", &path, Response::list("v1", list, &[]));
    }
}

fn stage(api: &Scenario, object: &Arc<Mutex<Value>>, artifact: &Value, watch: Response) {
    let source = source(artifact);
    no_other_sources(api);
    api.on("GET", SOURCES, watch);
    api.on("GET", SOURCE, Response::ok(source.clone()));
    api.once("GET", SOURCES, Response::list("v1", "GitRepositoryList", &[source]));
    let listing = Arc::clone(object);
    listed(api, LIST, "KustomizationList", move || listing.lock().unwrap().clone());
    for path in [KUSTOMIZATION, STATUS] {
        let object = Arc::clone(object);
        api.on("PATCH", path, Response::with(move |call| merged(&object, call)));
    }
    let reading = Arc::clone(object);
    api.on("GET", KUSTOMIZATION, Response::with(move |_| Response::ok(reading.lock().unwrap().clone())));
    api.on("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/*", Response::not_found());
    api.on("POST", "/api/v1/namespaces/flux-system/events", Response::echo());
    discovery(api);
    for path in [
        "/api/v1/namespaces/*",
        "/api/v1/namespaces/prod/configmaps/*",
        "/apis/apps/v1/namespaces/prod/deployments/*",
    ] {
        api.on("PATCH", path, Response::with(applied));
    }
    // The drift loop sees nothing here: it has tests of its own.
    for path in ["/api/v1/namespaces", "/api/v1/configmaps", "/apis/apps/v1/deployments"] {
        api.on("GET", path, Response::silence());
    }
}

fn listed(
    api: &Scenario,
    path: &str,
    kind: &'static str,
    object: impl Fn() -> Value + Send + Sync + 'static,
) {
    api.on(
        "GET",
        path,
        Response::with(move |call| {
            if call.parameter("watch").is_some() {
                Response::watch(Vec::new())
            } else {
                Response::list("v1", kind, &[object()])
            }
        }),
    );
}

/// As the server: a merge patch with the version that it was computed for.
pub(crate) fn merged(object: &Mutex<Value>, call: &Call) -> Response {
    let mut object = object.lock().unwrap();
    if let Some(version) = call.body["metadata"].get("resourceVersion")
        && *version != object["metadata"]["resourceVersion"]
    {
        return Response::conflict("modified");
    }
    let next = object["metadata"]["resourceVersion"].as_str().unwrap().parse::<u32>().unwrap() + 1;
    json_patch::merge(&mut object, &call.body);
    object["metadata"]["resourceVersion"] = next.to_string().into();
    Response::ok(object.clone())
}

/// The fields of a value, as an entry of managedFields holds them.
pub(crate) fn fields(value: &Value) -> Value {
    let Some(map) = value.as_object() else { return json!({}) };
    let own =
        map.iter().filter(|(key, _)| !["apiVersion", "kind", "name", "namespace"].contains(&key.as_str()));
    own.map(|(key, part)| (format!("f:{key}"), fields(part))).collect::<serde_json::Map<_, _>>().into()
}

/// As the server: what was applied, with the server's own fields.
fn applied(call: &Call) -> Response {
    let mut object = call.body.clone();
    let owned = fields(&object);
    object["metadata"]["uid"] = call.path.clone().into();
    object["metadata"]["resourceVersion"] = "1".into();
    object["metadata"]["generation"] = 1.into();
    object["metadata"]["managedFields"] = json!([{
        "manager": "kustomize-controller", "operation": "Apply", "apiVersion": object["apiVersion"], "fieldsType": "FieldsV1",
        "time": "2026-11-25T06:30:00Z", "fieldsV1": owned
    }]);
    Response::created(object)
}

pub(crate) fn discovery(api: &Scenario) {
    api.serve_kinds(&["Namespace", "ConfigMap", "Deployment"].map(ServedKind::known));
}

pub(crate) fn ids(status: &Value) -> BTreeSet<String> {
    let entries = status["inventory"]["entries"].as_array();
    entries.into_iter().flatten().map(|entry| entry["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inventory_is_written_before_the_first_object_and_waves_follow_each_other() {
    let fixture = Fixture::start(MANIFESTS, |_| {}, |_| {}).await;
    let status = fixture.until_ready_is("True").await;
    let writes = fixture.writes();
    assert_eq!(writes[..3], ["PATCH apps", "PATCH status", "PATCH prod"], "{writes:?}");
    assert_eq!(BTreeSet::from([writes[3].as_str(), &writes[4]]), BTreeSet::from(["PATCH a", "PATCH b"]));
    assert_eq!(writes[5..], ["PATCH web", "PATCH status"], "{writes:?}");
    let ahead = &fixture.api.matching("PATCH", STATUS)[0].body["status"];
    assert_eq!(ids(ahead), ids(&status));
    assert_eq!(ids(&status).len(), 4);
    assert_eq!(status["lastAppliedRevision"], REVISION);
    assert_eq!(fixture.api.unscripted(), [""; 0]);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_touches_no_file_of_a_kustomization_costs_it_one_status_and_no_object() {
    const NEXT: &str = "main@sha1:2222222222222222222222222222222222222222";
    let fixture = Fixture::start(MANIFESTS, |_| {}, |_| {}).await;
    fixture.until_ready_is("True").await;
    fixture.api.forget_calls();
    fixture.publish(&[("all.yaml", MANIFESTS), ("notes.md", "new")], NEXT);
    fixture.until_revision_is(NEXT).await;
    assert_eq!(fixture.writes(), ["PATCH status"]);
    // The watches for drift list whole kinds, and may begin as late as now.
    let is_of_object = |line: &String| {
        line.contains("/namespaces/") && (line.contains("configmaps") || line.contains("deployments"))
    };
    let reads: Vec<String> = fixture.api.lines().into_iter().filter(is_of_object).collect();
    assert_eq!(reads, [""; 0]);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_applied_when_the_inventory_cannot_be_written() {
    let fixture = Fixture::start(
        MANIFESTS,
        |_| {},
        |api| {
            api.once("PATCH", STATUS, Response::status(500, "InternalError", "etcd is away"));
        },
    )
    .await;
    let status = fixture.until_ready_is("False").await;
    assert!(
        status["conditions"][0]["message"]
            .as_str()
            .unwrap()
            .starts_with("cannot record what is about to be applied"),
        "{status}"
    );
    assert!(
        fixture.writes().iter().all(|write| write == "PATCH apps" || write == "PATCH status"),
        "{:?}",
        fixture.writes()
    );
    fixture.stop().await;
}

/// An older revision stands as applied, with one object.
fn applied_before(object: &mut Value) {
    object["status"] = json!({
        "observedGeneration": 1, "lastAppliedRevision": "main@sha1:0000000000000000000000000000000000000000",
        "inventory": { "entries": [{ "id": "prod_old__ConfigMap", "v": "v1" }] },
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "ReconciliationSucceeded", "message": "Applied revision: 0",
            "observedGeneration": 1, "lastTransitionTime": "2026-11-25T06:30:00Z"
        }]
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inventory_that_is_too_large_ends_the_old_ready_and_keeps_the_old_inventory() {
    let too_large = Response::status(413, "RequestEntityTooLarge", "limit is 3145728");
    let fixture = Fixture::start(MANIFESTS, applied_before, |api| {
        api.once("PATCH", STATUS, too_large);
    })
    .await;
    let status = fixture.until_ready_is("False").await;
    let message = status["conditions"][0]["message"].as_str().unwrap();
    for part in
        ["cannot record what is about to be applied", "bytes", "limit is 3145728", "split this Kustomization"]
    {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(ids(&status), BTreeSet::from(["prod_old__ConfigMap".to_owned()]));
    let writes = fixture.writes();
    assert!(writes.iter().all(|write| write == "PATCH apps" || write == "PATCH status"), "{writes:?}");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_object_lets_its_wave_finish_and_stops_the_rest() {
    let gone = json!({ "entries": [{ "id": "prod_old__ConfigMap", "v": "v1" }] });
    let edit = move |object: &mut Value| object["status"] = json!({ "inventory": gone });
    let fixture = Fixture::start(MANIFESTS, edit, |api| {
        for name in ["a", "b"] {
            api.on(
                "PATCH",
                &format!("/api/v1/namespaces/prod/configmaps/{name}"),
                Response::invalid(&format!("{name} is bad")),
            );
        }
    })
    .await;
    let status = fixture.until_ready_is("False").await;
    let message = status["conditions"][0]["message"].as_str().unwrap();
    assert!(
        message.contains("ConfigMap/prod/a") && message.contains("ConfigMap/prod/b"),
        "all errors are listed: {message}"
    );
    assert_eq!(status["conditions"][0]["reason"], "ReconciliationFailed");
    let writes = fixture.writes();
    assert!(
        !writes.contains(&"PATCH web".to_owned()) && !writes.iter().any(|write| write.starts_with("DELETE")),
        "{writes:?}"
    );
    // What was applied, what was not, and what was there before: all of it stays ours.
    assert_eq!(ids(&status).len(), 5);
    assert_eq!(status["lastAppliedRevision"], Value::Null);
    assert_eq!(status["lastAttemptedRevision"], REVISION);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_cannot_be_read_changes_nothing() {
    let fixture = Fixture::start("a: [b", |_| {}, |_| {}).await;
    let status = fixture.until_ready_is("False").await;
    assert_eq!(status["conditions"][0]["reason"], "BuildFailed");
    assert!(status["conditions"][0]["message"].as_str().unwrap().contains("/all.yaml:1:4"), "{status}");
    assert_eq!(fixture.writes(), ["PATCH apps", "PATCH status"]);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_is_not_honoured_stalls_before_anything_is_fetched() {
    let fixture =
        Fixture::start(MANIFESTS, |object| object["spec"]["serviceAccountName"] = "tenant".into(), |_| {})
            .await;
    let status = fixture.until_ready_is("False").await;
    assert_eq!(status["conditions"][0]["reason"], "UnsupportedField");
    assert!(status["conditions"].as_array().unwrap().iter().any(|condition| condition["type"] == "Stalled"));
    assert_eq!(fixture.writes(), ["PATCH apps", "PATCH status"]);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_kustomization_is_not_applied() {
    let edit = |object: &mut Value| {
        object["spec"]["suspend"] = true.into();
        object["metadata"]["annotations"] = json!({ "reconcile.fluxcd.io/requestedAt": "now" });
    };
    let fixture = Fixture::start(MANIFESTS, edit, |_| {}).await;
    fixture.until("the request is handled", || fixture.status()["lastHandledReconcileAt"] == "now").await;
    assert_eq!(fixture.writes(), ["PATCH apps", "PATCH status"]);
    fixture.stop().await;
}

mod identity;
mod sources;
mod unanswered;
mod waiting;
mod warnings;
