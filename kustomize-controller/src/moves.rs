//! Objects that move between Kustomizations, against a mock API server that keeps what is applied to it: whatever the order
//! and whatever is wrong with the new owner, nothing is deleted that someone wants, and it stays the same object.

mod deletions;
mod dependencies;
mod families;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use plumb_runtime::{Clock, ControllerOptions as _, Runtime};
use plumb_store::ArtifactStore;
use plumb_testkit::scenario::{Call, Feed, Response, Scenario, ServedKind};
use plumb_testkit::wait::Wait;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::install;
use crate::options::Options;
use crate::scenarios::{
    LIST, PATIENCE, POLL, REVISION, SOURCE, SOURCES, discovery, fields, ids, merged, no_other_sources, put,
    source,
};

const NEXT: &str = "main@sha1:2222222222222222222222222222222222222222";
const THIRD: &str = "main@sha1:3333333333333333333333333333333333333333";
const ROOT: &str = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/flux-system/kustomizations";
const NAME: &str = "kustomize.toolkit.fluxcd.io/name";

type Objects = Arc<Mutex<BTreeMap<String, Arc<Mutex<Value>>>>>;

/// An API server that keeps objects, and a controller that works on it.
struct World {
    api: Scenario,
    /// By path.
    objects: Objects,
    shutdown: CancellationToken,
    running: tokio::task::JoinHandle<()>,
    store: ArtifactStore,
    host: String,
    sources: Feed,
    kustomizations: Feed,
    published: Mutex<u32>,
    _folder: tempfile::TempDir,
}

fn kustomization(name: &str, edit: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
        "metadata": { "name": name, "namespace": "flux-system", "uid": name, "generation": 1, "resourceVersion": "10" },
        "spec": {
            "interval": "1h", "prune": true, "path": format!("./{name}"),
            "sourceRef": { "kind": "GitRepository", "name": "repo" },
        },
        "status": {}
    });
    json_patch::merge(&mut object, edit);
    object
}

fn map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: prod}}\n")
}

/// Many files that each hold one ConfigMap of this name.
fn maps(paths: &[&str]) -> Vec<(String, String)> {
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().trim_end_matches(".yaml").to_owned();
    paths.iter().map(|path| ((*path).to_owned(), map(&name(path)))).collect()
}

impl World {
    async fn start(files: &[(String, String)], kustomizations: &[Value]) -> Self {
        Self::scripted(files, kustomizations, |_| {}).await
    }

    /// The same, with answers of its own.
    async fn scripted(
        files: &[(String, String)],
        kustomizations: &[Value],
        script: impl FnOnce(&Scenario),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = ArtifactStore::open(folder.path()).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("http://{}", listener.local_addr().unwrap());
        let served = store.clone();
        tokio::spawn(async move { axum::serve(listener, plumb_store::router(served)).await });
        let api = Scenario::new();
        let objects = Objects::default();
        for object in kustomizations {
            let path = format!("{ROOT}/{}", object["metadata"]["name"].as_str().unwrap());
            objects.lock().unwrap().insert(path, Arc::new(Mutex::new(object.clone())));
        }
        let (sources, watch) = Response::feed();
        let (kustomizations, kustomizations_watch) = Response::feed();
        let options = Options::parse_args(["kc", "--metrics-addr=0", "--health-addr=0"]).unwrap();
        let mut runtime = Runtime::new(&options, api.client(), Clock::system());
        let shutdown = runtime.shutdown();
        let world = Self {
            running: tokio::spawn(async {}),
            api,
            objects,
            shutdown,
            store,
            host,
            sources,
            kustomizations,
            published: Mutex::new(0),
            _folder: folder,
        };
        world.stage(&world.artifact(files, REVISION), (watch, kustomizations_watch));
        script(&world.api);
        install(&mut runtime, options).await.unwrap();
        let running = tokio::spawn(async move { runtime.run().await.unwrap() });
        Self { running, ..world }
    }

    fn artifact(&self, files: &[(String, String)], revision: &str) -> Value {
        let at = {
            let mut published = self.published.lock().unwrap();
            *published += 1;
            *published
        };
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let written = put(&self.store, &format!("{at}.tar.gz"), &files);
        json!({
            "digest": written.digest, "lastUpdateTime": "2026-11-25T06:30:00Z", "path": written.path,
            "revision": revision, "url": format!("{}/{}", self.host, written.path),
        })
    }

    fn stage(&self, artifact: &Value, (sources, kustomizations): (Response, Response)) {
        let api = &self.api;
        let current = Arc::new(Mutex::new(source(artifact)));
        self.objects.lock().unwrap().insert("source".to_owned(), Arc::clone(&current));
        no_other_sources(api);
        api.on("GET", SOURCES, sources);
        api.once("GET", SOURCES, Response::list("v1", "GitRepositoryList", &[source(artifact)]));
        let reading = Arc::clone(&current);
        api.on("GET", SOURCE, Response::with(move |_| Response::ok(reading.lock().unwrap().clone())));
        let all: Vec<Value> = self
            .objects
            .lock()
            .unwrap()
            .iter()
            .filter(|(path, _)| path.starts_with(ROOT))
            .map(|(_, object)| object.lock().unwrap().clone())
            .collect();
        api.on("GET", LIST, kustomizations);
        api.once("GET", LIST, Response::list("v1", "KustomizationList", &all));
        api.on("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/*", Response::not_found());
        api.on("POST", "/api/v1/namespaces/flux-system/events", Response::echo());
        discovery(api);
        for path in ["/api/v1/namespaces", "/api/v1/configmaps"] {
            api.on("GET", path, Response::silence());
        }
        for path in ["/api/v1/namespaces/*", "/api/v1/namespaces/prod/configmaps/*", &format!("{ROOT}/*")] {
            for method in ["GET", "PATCH", "DELETE"] {
                let objects = Arc::clone(&self.objects);
                api.on(method, path, Response::with(move |call| serve(&objects, call)));
            }
        }
    }

    /// What a commit leads to.
    fn publish(&self, files: &[(String, String)], revision: &str) {
        let artifact = self.artifact(files, revision);
        let stored = Arc::clone(&self.objects.lock().unwrap()["source"]);
        let next = {
            let mut stored = stored.lock().unwrap();
            let version = stored["metadata"]["resourceVersion"].as_str().unwrap().parse::<u32>().unwrap() + 1;
            *stored = source(&artifact);
            stored["metadata"]["resourceVersion"] = version.to_string().into();
            stored.clone()
        };
        self.sources.send("MODIFIED", &next);
    }

    /// Someone edits a Kustomization: another generation.
    fn edit(&self, name: &str, patch: &Value) {
        let stored = Arc::clone(&self.objects.lock().unwrap()[&format!("{ROOT}/{name}")]);
        let next = {
            let mut stored = stored.lock().unwrap();
            json_patch::merge(&mut stored, patch);
            let generation = stored["metadata"]["generation"].as_u64().unwrap() + 1;
            stored["metadata"]["generation"] = generation.into();
            bump(&mut stored);
            stored.clone()
        };
        self.kustomizations.send("MODIFIED", &next);
    }

    fn add(&self, object: &Value) {
        let path = format!("{ROOT}/{}", object["metadata"]["name"].as_str().unwrap());
        self.objects.lock().unwrap().insert(path, Arc::new(Mutex::new(object.clone())));
        self.kustomizations.send("ADDED", object);
    }

    fn get(&self, path: &str) -> Value {
        let found = self.objects.lock().unwrap().get(path).cloned();
        found.map_or(Value::Null, |found| found.lock().unwrap().clone())
    }

    fn status(&self, name: &str) -> Value {
        self.get(&format!("{ROOT}/{name}"))["status"].clone()
    }

    fn map(&self, name: &str) -> Value {
        self.get(&format!("/api/v1/namespaces/prod/configmaps/{name}"))
    }

    fn owner(&self, name: &str) -> String {
        self.map(name)["metadata"]["labels"][NAME].as_str().unwrap_or_default().to_owned()
    }

    fn inventory(&self, name: &str) -> BTreeSet<String> {
        ids(&self.status(name))
    }

    async fn until(&self, what: &str, fits: impl Fn(&Self) -> bool) {
        let waited = Wait::until(what, PATIENCE).every(POLL).holds(|| fits(self)).await;
        waited.unwrap_or_else(|error| {
            let objects = self.objects.lock().unwrap();
            panic!("{error}\n{objects:#?}\n{:#?}\n{:#?}", self.api.lines(), self.api.unscripted())
        });
    }

    async fn until_applied(&self, name: &str, revision: &str) {
        self.until(&format!("{name} has applied {revision}"), |world| {
            let status = world.status(name);
            status["conditions"][0]["status"] == "True" && status["lastAppliedRevision"] == revision
        })
        .await;
    }

    /// Waits until Ready says this.
    async fn until_said(&self, name: &str, text: &str) {
        let said = |world: &Self| world.status(name)["conditions"][0]["message"].to_string();
        self.until(&format!("{name} says {text}"), |world| said(world).contains(text)).await;
    }

    /// The paths that were asked to be deleted.
    fn deletions(&self) -> Vec<String> {
        self.api.matching("DELETE", "*").into_iter().map(|call| call.path).collect()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.running).await.unwrap().unwrap();
    }
}

fn bump(object: &mut Value) {
    let version = object["metadata"]["resourceVersion"].as_str().unwrap_or("0").parse::<u32>().unwrap() + 1;
    object["metadata"]["resourceVersion"] = version.to_string().into();
}

/// As the server says that an object is not there.
fn absent(path: &str) -> Response {
    let name = path.rsplit('/').next();
    let details = json!({"name": name, "kind": "configmaps"});
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404,
        "message": "not found", "details": details,
    });
    Response::json(404, status)
}

/// As the server, in small.
fn serve(objects: &Objects, call: &Call) -> Response {
    let path = call.path.trim_end_matches("/status");
    let known = objects.lock().unwrap().get(path).cloned();
    if path.starts_with(ROOT) && call.method == "PATCH" && !call.content_type.contains("apply") {
        let Some(known) = known else { return Response::not_found() };
        let answer = merged(&known, call);
        let released = known.lock().unwrap()["metadata"]["deletionTimestamp"].is_string()
            && known.lock().unwrap()["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty);
        if released {
            objects.lock().unwrap().remove(path);
        }
        return answer;
    }
    match (call.method.as_str(), known) {
        ("GET", Some(known)) => Response::ok(known.lock().unwrap().clone()),
        ("DELETE", Some(known)) if known.lock().unwrap()["metadata"]["finalizers"].is_array() => {
            let mut known = known.lock().unwrap();
            known["metadata"]["deletionTimestamp"] = "2026-11-25T06:30:00Z".into();
            bump(&mut known);
            Response::ok(known.clone())
        }
        ("DELETE", Some(_)) => {
            objects.lock().unwrap().remove(path);
            Response::status(200, "", "")
        }
        ("PATCH", known) => {
            let mut object = call.body.clone();
            let owned = fields(&object);
            let before = known.map(|known| known.lock().unwrap().clone());
            // Each creation has a uid of its own.
            let uid = || json!(format!("{path}#{:?}", std::time::Instant::now()));
            object["metadata"]["uid"] = before.as_ref().map_or_else(uid, |it| it["metadata"]["uid"].clone());
            object["metadata"]["resourceVersion"] =
                before.as_ref().map_or_else(|| json!("1"), |it| it["metadata"]["resourceVersion"].clone());
            object["metadata"]["generation"] = 1.into();
            object["metadata"]["managedFields"] = json!([{
                "manager": "kustomize-controller", "operation": "Apply", "apiVersion": object["apiVersion"],
                "fieldsType": "FieldsV1", "time": "2026-11-25T06:30:00Z", "fieldsV1": owned
            }]);
            bump(&mut object);
            if call.parameter("dryRun").is_none() {
                objects.lock().unwrap().insert(path.to_owned(), Arc::new(Mutex::new(object.clone())));
            }
            Response::ok(object)
        }
        (_, _) => absent(path),
    }
}

/// Two Kustomizations `one` and `two`, of which `one` has the objects.
async fn two(one: &Value, two: &Value) -> World {
    let files = maps(&["one/a.yaml", "one/b.yaml", "two/z.yaml"]);
    let world = World::start(&files, &[kustomization("one", one), kustomization("two", two)]).await;
    world.until_applied("one", REVISION).await;
    world
}

const SUSPENDED: &str = r#"{"spec": {"suspend": true}}"#;
const RESUMED: &str = r#"{"spec": {"suspend": false}}"#;

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_moves_to_a_suspended_kustomization_stays_until_that_one_takes_it_over() {
    let world = two(&json!({}), &json!({})).await;
    world.until_applied("two", REVISION).await;
    world.edit("two", &value(SUSPENDED));
    let uid = world.map("a")["metadata"]["uid"].clone();
    world.publish(&maps(&["one/b.yaml", "two/a.yaml", "two/z.yaml"]), NEXT);
    world.until_applied("one", NEXT).await;
    let kept = "ConfigMap/prod/a is kept: Kustomization/flux-system/two contains it";
    world.until_said("one", kept).await;
    assert_eq!(world.deletions(), [""; 0]);
    assert!(world.inventory("one").contains("prod_a__ConfigMap"), "it stays in the inventory");
    let told =
        |call: &&Call| call.body["reason"] == "PruneHeld" && call.body["message"].to_string().contains(kept);
    world
        .until("an event says so", |world| {
            world.api.matching("POST", "/api/v1/namespaces/flux-system/events").iter().any(|call| told(&call))
        })
        .await;
    world.edit("two", &value(RESUMED));
    world.until("two owns it", |world| world.owner("a") == "two").await;
    world.until("one has let it go", |world| !world.inventory("one").contains("prod_a__ConfigMap")).await;
    assert!(world.inventory("two").contains("prod_a__ConfigMap"));
    world.until_said("one", &format!("\"Applied revision: {NEXT}\"")).await;
    assert_eq!((world.map("a")["metadata"]["uid"].clone(), world.deletions()), (uid, Vec::new()));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_its_new_owner_took_first_is_released_by_the_old_one() {
    let world = two(&json!({}), &json!({})).await;
    world.until_applied("two", REVISION).await;
    world.edit("one", &value(SUSPENDED));
    let uid = world.map("a")["metadata"]["uid"].clone();
    world.publish(&maps(&["one/b.yaml", "two/a.yaml", "two/z.yaml"]), NEXT);
    world.until_applied("two", NEXT).await;
    world.edit("one", &value(RESUMED));
    world.until_applied("one", NEXT).await;
    world.until("one has let it go", |world| !world.inventory("one").contains("prod_a__ConfigMap")).await;
    assert_eq!((world.owner("a"), world.map("a")["metadata"]["uid"].clone()), ("two".to_owned(), uid));
    assert_eq!(world.deletions(), [""; 0]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_stays_while_the_kustomization_that_it_may_have_moved_to_cannot_be_built() {
    let world = two(&json!({}), &json!({})).await;
    world.until_applied("two", REVISION).await;
    let uid = world.map("a")["metadata"]["uid"].clone();
    let mut broken = maps(&["one/b.yaml", "two/a.yaml", "two/z.yaml"]);
    broken.push(("two/broken.yaml".to_owned(), "a: [b".to_owned()));
    world.publish(&broken, NEXT);
    world.until_said("one", "a is kept: Kustomization/flux-system/two may contain it: ").await;
    assert_eq!(world.deletions(), [""; 0]);
    // The next commit repairs it, and takes one object out for good.
    world.publish(&maps(&["one/c.yaml", "two/a.yaml", "two/z.yaml"]), THIRD);
    world.until_applied("two", THIRD).await;
    world
        .until("b is gone, a is not", |world| {
            world.map("b") == Value::Null && world.owner("a") == "two" && world.inventory("one").len() == 1
        })
        .await;
    assert_eq!(world.map("a")["metadata"]["uid"], uid);
    assert_eq!(world.deletions(), ["/api/v1/namespaces/prod/configmaps/b"]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_stays_while_the_kustomization_that_it_may_have_moved_to_cannot_be_read() {
    let world = two(&json!({}), &json!({})).await;
    world.until_applied("two", REVISION).await;
    let uid = world.map("a")["metadata"]["uid"].clone();
    world.edit("two", &json!({"spec": {"prune": "perhaps"}}));
    world.until_said("two", "the object cannot be read").await;
    world.publish(&maps(&["one/b.yaml", "two/a.yaml", "two/z.yaml"]), NEXT);
    world.until_applied("one", NEXT).await;
    world
        .until_said("one", "a is kept: Kustomization/flux-system/two may contain it: it cannot be read")
        .await;
    assert_eq!(world.deletions(), [""; 0]);
    world.edit("two", &json!({"spec": {"prune": true}}));
    world.until("two owns it", |world| world.owner("a") == "two").await;
    world.until("one has let it go", |world| !world.inventory("one").contains("prod_a__ConfigMap")).await;
    assert_eq!((world.map("a")["metadata"]["uid"].clone(), world.deletions()), (uid, Vec::new()));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kustomization_that_another_one_is_about_to_create_is_waited_for() {
    let world = two(&json!({}), &json!({})).await;
    world.until_applied("two", REVISION).await;
    let uid = world.map("a")["metadata"]["uid"].clone();
    world.edit("two", &value(SUSPENDED));
    let third = kustomization("three", &json!({}));
    let mut files = maps(&["one/b.yaml", "two/z.yaml", "three/a.yaml"]);
    let text = json!({
        "apiVersion": third["apiVersion"], "kind": "Kustomization", "spec": third["spec"],
        "metadata": {"name": "three", "namespace": "flux-system"},
    });
    files.push(("two/three.yaml".to_owned(), text.to_string()));
    world.publish(&files, NEXT);
    world.until_said("one", "it has not applied Kustomization/flux-system/three yet").await;
    assert_eq!(world.deletions(), [""; 0]);
    world.add(&third);
    world.until("three owns it", |world| world.owner("a") == "three").await;
    world.until("one has let it go", |world| !world.inventory("one").contains("prod_a__ConfigMap")).await;
    assert_eq!((world.map("a")["metadata"]["uid"].clone(), world.deletions()), (uid, Vec::new()));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kustomization_that_is_renamed_hands_its_objects_over_before_it_goes() {
    let one = json!({"metadata": {"finalizers": ["finalizers.fluxcd.io"]}});
    let world = two(&one, &json!({})).await;
    let uids = ["a", "b"].map(|name| world.map(name)["metadata"]["uid"].clone());
    let renamed = json!({"spec": {"path": "./one", "suspend": true}});
    world.add(&kustomization("renamed", &renamed));
    world.edit("one", &json!({"metadata": {"deletionTimestamp": "2026-11-25T06:30:00Z"}}));
    world.until_said("one", "a is kept: Kustomization/flux-system/renamed contains it").await;
    assert_eq!(world.deletions(), [""; 0]);
    world.edit("renamed", &value(RESUMED));
    world.until_applied("renamed", REVISION).await;
    world.until("one is gone", |world| world.get(&format!("{ROOT}/one")) == Value::Null).await;
    assert_eq!(["a", "b"].map(|name| world.map(name)["metadata"]["uid"].clone()), uids);
    assert_eq!((world.owner("a"), world.deletions()), ("renamed".to_owned(), Vec::new()));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_namespace_of_objects_of_another_kustomization_is_not_deleted() {
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: prod}\n".to_owned();
    let mut files = maps(&["one/a.yaml", "two/z.yaml"]);
    files.push(("one/namespace.yaml".to_owned(), namespace));
    let world =
        World::start(&files, &[kustomization("one", &json!({})), kustomization("two", &json!({}))]).await;
    world.until_applied("one", REVISION).await;
    world.until_applied("two", REVISION).await;
    world.publish(&maps(&["one/other.yaml", "two/z.yaml"]), NEXT);
    world
        .until_said(
            "one",
            "Namespace/prod is kept: it contains ConfigMap/prod/z of Kustomization/flux-system/two",
        )
        .await;
    assert_eq!(world.deletions(), ["/api/v1/namespaces/prod/configmaps/a"]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_nobody_wants_is_deleted_although_others_are_suspended() {
    let world = two(&json!({}), &json!({})).await;
    world.until_applied("two", REVISION).await;
    world.edit("two", &value(SUSPENDED));
    world.publish(&maps(&["one/b.yaml", "two/z.yaml"]), NEXT);
    world.until_applied("one", NEXT).await;
    world.until("it is gone", |world| world.map("a") == Value::Null).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_two_want_goes_to_the_one_that_still_wants_it() {
    let files = maps(&["one/a.yaml", "one/b.yaml", "two/a.yaml", "two/z.yaml"]);
    let world =
        World::start(&files, &[kustomization("one", &json!({})), kustomization("two", &json!({}))]).await;
    world.until_applied("one", REVISION).await;
    world.until_applied("two", REVISION).await;
    let uid = world.map("a")["metadata"]["uid"].clone();
    let (owner, other) = if world.owner("a") == "one" { ("one", "two") } else { ("two", "one") };
    // The one whose labels it carries drops it; nothing changes for the other one.
    let dropped = format!("{owner}/a.yaml");
    let files: Vec<_> = files.into_iter().filter(|(path, _)| *path != dropped).collect();
    world.publish(&files, NEXT);
    world.until("the other one owns it", |world| world.owner("a") == other).await;
    world
        .until("the old one has let it go", |world| !world.inventory(owner).contains("prod_a__ConfigMap"))
        .await;
    assert_eq!((world.map("a")["metadata"]["uid"].clone(), world.deletions()), (uid, Vec::new()));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_not_applied_again_and_again_on_account_of_a_suspended_old_owner() {
    let files = maps(&["one/a.yaml", "one/b.yaml", "two/a.yaml", "two/z.yaml"]);
    let world =
        World::start(&files, &[kustomization("one", &json!({})), kustomization("two", &json!({}))]).await;
    world.until_applied("one", REVISION).await;
    world.until_applied("two", REVISION).await;
    let (owner, other) = if world.owner("a") == "one" { ("one", "two") } else { ("two", "one") };
    world.edit(other, &value(SUSPENDED));
    let dropped = format!("{owner}/a.yaml");
    let mut files: Vec<_> = files.into_iter().filter(|(path, _)| *path != dropped).collect();
    world.publish(&files, NEXT);
    world.until_said(owner, &format!("a is kept: Kustomization/flux-system/{other} contains it")).await;
    world.edit(owner, &value(SUSPENDED));
    let patches = |world: &World| world.api.matching("PATCH", "/api/v1/namespaces/prod/configmaps/a").len();
    let before = patches(&world);
    files.extend(maps(&[&format!("{other}/new.yaml")]));
    world.publish(&files, THIRD);
    world.edit(other, &value(RESUMED));
    world.until_applied(other, THIRD).await;
    assert_eq!((patches(&world), world.deletions()), (before, Vec::new()));
    world.edit(owner, &value(RESUMED));
    world.until("the other one owns it", |world| world.owner("a") == other).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kustomization_whose_new_spec_another_one_is_about_to_apply_prunes_nothing_by_the_old_one() {
    let world = two(&json!({}), &json!({})).await;
    world.until_applied("two", REVISION).await;
    world.edit("two", &value(SUSPENDED));
    let uid = world.map("a")["metadata"]["uid"].clone();
    // One commit moves the folder of `one`, and the path that leads to it.
    let moved = kustomization("one", &json!({"spec": {"path": "./new"}}));
    let text = json!({
        "apiVersion": moved["apiVersion"], "kind": "Kustomization", "spec": moved["spec"],
        "metadata": {"name": "one", "namespace": "flux-system"},
    });
    let mut files = maps(&["one/b.yaml", "two/z.yaml", "new/a.yaml", "new/b.yaml"]);
    files.push(("two/one.yaml".to_owned(), text.to_string()));
    world.publish(&files, NEXT);
    world.until_said("one", "it has not applied Kustomization/flux-system/one yet").await;
    world.edit("one", &json!({"spec": {"path": "./new"}}));
    world.until_said("one", &format!("\"Applied revision: {NEXT}\"")).await;
    assert_eq!((world.map("a")["metadata"]["uid"].clone(), world.deletions()), (uid, Vec::new()));
    assert_eq!(world.inventory("one").len(), 2);
    world.stop().await;
}
