//! Scenario tests (T1) of whole attempts: artifacts of sources over HTTP, a real store, a mock API server that holds ExternalArtifacts.

use std::{
    collections::BTreeMap,
    io::Read as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use jiff::Timestamp;
use plumb_api::{
    meta::{DIRECTORY_DIGESTS_METADATA, Reconciled as _},
    source::{
        GeneratedArtifact,
        GeneratorSourceKind::{Bucket, GitRepository},
    },
};
use plumb_filetree::digest::sha256_hex;
use plumb_memory::MemoryPool;
use plumb_status::{Before, Status, Summary, breaches, summarize};
use plumb_store::{Advertised, ArtifactStore, Location, Retention};
use plumb_testkit::{
    archive::tar_gz,
    scenario::{Call, Response, Scenario},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::fixture::{emitted, ready};

/// Where ExternalArtifacts are.
const EXTERNAL: &str = "/apis/source.toolkit.fluxcd.io/v1/namespaces/apps/externalartifacts";
const UID: &str = "uid-of-app";

/// A mock of the part of an API server that holds ExternalArtifacts.
type Objects = Arc<Mutex<BTreeMap<String, Value>>>;

struct Fixture {
    generators: Generators,
    api: Scenario,
    objects: Objects,
    /// Archives by path.
    served: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    url: String,
    object: Value,
    root: tempfile::TempDir,
    now: Timestamp,
    /// The next resource version.
    versions: AtomicU64,
    /// The inventories that were written before an attempt went on, and how many calls there were by then.
    ahead: Vec<(Vec<String>, usize)>,
}

struct TestVisit<'a> {
    ledger: Mutex<GeneratorLedger>,
    ahead: Mutex<Vec<(Vec<String>, usize)>>,
    api: &'a Scenario,
}

impl GeneratorVisit for TestVisit<'_> {
    fn lock_ledger(&self) -> MutexGuard<'_, GeneratorLedger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn park(&self) {}

    async fn write_ahead(&self) -> Result<(), ReportError> {
        let names = names(&self.lock_ledger().inventory);
        self.ahead.lock().unwrap().push((names, self.api.calls().len()));
        Ok(())
    }
}

fn names(inventory: &[GeneratedArtifact]) -> Vec<String> {
    inventory.iter().map(|entry| entry.name.clone()).collect()
}

async fn serve(served: Arc<Mutex<BTreeMap<String, Vec<u8>>>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 2048];
            let length = socket.read(&mut request).await.unwrap();
            let line = String::from_utf8_lossy(&request[..length]).into_owned();
            let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            let found = served.lock().unwrap().get(&path).cloned();
            let (status, body) = found.map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
            let head =
                format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            socket.write_all(&[head.into_bytes(), body].concat()).await.unwrap();
        }
    });
    format!("http://{address}")
}

/// Answers as an API server would that has no other writers.
fn hold_objects(api: &Scenario, objects: &Objects) {
    let respond = |objects: &Objects, respond: fn(&mut BTreeMap<String, Value>, &str, &Call) -> Response| {
        let objects = Arc::clone(objects);
        Response::with(move |call| {
            let name = call.path.trim_start_matches(EXTERNAL).trim_start_matches('/');
            let name = name.trim_end_matches("/status").to_owned();
            respond(&mut objects.lock().unwrap(), &name, call)
        })
    };
    api.on(
        "GET",
        &format!("{EXTERNAL}/*"),
        respond(objects, |all, name, _| match all.get(name) {
            Some(object) => Response::ok(object.clone()),
            None => Response::not_found(),
        }),
    );
    api.on(
        "DELETE",
        &format!("{EXTERNAL}/*"),
        respond(objects, |all, name, _| match all.remove(name) {
            Some(object) => Response::ok(object),
            None => Response::not_found(),
        }),
    );
    api.on(
        "PATCH",
        &format!("{EXTERNAL}/*"),
        respond(objects, |all, name, call| {
            let mut object = call.body.clone();
            let before = all.get(name).cloned().unwrap_or_default();
            object["metadata"]["uid"] = json!(format!("uid-of-{name}"));
            object["metadata"]["generation"] = json!(1);
            object["status"] = before["status"].clone();
            all.insert(name.to_owned(), object.clone());
            Response::ok(object)
        }),
    );
    api.on(
        "PATCH",
        &format!("{EXTERNAL}/*/status"),
        respond(objects, |all, name, call| {
            let Some(object) = all.get_mut(name) else { return Response::not_found() };
            object["status"] = call.body["status"].clone();
            Response::ok(object.clone())
        }),
    );
}

impl Fixture {
    async fn new(artifacts: Value) -> Self {
        let root = tempfile::tempdir().unwrap();
        let api = Scenario::new();
        let objects = Objects::default();
        hold_objects(&api, &objects);
        let served = Arc::default();
        let url = serve(Arc::clone(&served)).await;
        let retries = plumb_fetch::DownloadRetries { retries_max: 0, ..Default::default() };
        let memory = MemoryPool::new(600 << 20);
        let policy = plumb_fetch::HostPolicy::default();
        let fetcher =
            Fetcher::new(policy, retries, plumb_fetch::FetchLimits::default(), memory.clone()).unwrap();
        let storage = Storage {
            store: ArtifactStore::open(&root.path().join("data")).unwrap(),
            bucket: None,
            advertised: Advertised::new(
                "source-controller.flux-system.svc.",
                "127.0.0.1:1".parse().unwrap(),
                None,
            ),
            retention: Retention { ttl: Duration::from_mins(1), records: 2 },
        };
        let generators = Generators {
            client: api.client(),
            sources: Sources::default(),
            storage,
            fetcher,
            memory,
            limits: UnpackLimits::DEFAULT,
            cross_namespace: true,
            slots: Slots::new(BUILDS_MAX),
        };
        let object = json!({
            "apiVersion": "source.extensions.fluxcd.io/v1beta1", "kind": "ArtifactGenerator",
            "metadata": { "name": "app", "namespace": "apps", "generation": 1, "uid": UID },
            "spec": {
                "sources": [
                    { "alias": "repo", "kind": "GitRepository", "name": "mono" },
                    { "alias": "chart", "kind": "OCIRepository", "name": "chart", "namespace": "infra" },
                ],
                "artifacts": artifacts,
            },
            "status": {},
        });
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        Self {
            generators,
            api,
            objects,
            served,
            url,
            object,
            root,
            now,
            versions: AtomicU64::new(1),
            ahead: Vec::new(),
        }
    }

    /// The source has these files now.
    fn source(&self, kind: &str, namespace: &str, name: &str, revision: &str, files: &[(&str, &[u8], u32)]) {
        let archive = tar_gz(files);
        let digest = sha256_hex(&archive);
        let path = format!("/{kind}/{digest}.tar.gz");
        self.served.lock().unwrap().insert(path.clone(), archive);
        let object = json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": kind,
            "metadata": { "name": name, "namespace": namespace, "resourceVersion": self.version() },
            "spec": { "url": if kind == "OCIRepository" { "oci://r.example/x" } else { "https://g.example/x" }, "interval": "1m" },
            "status": { "artifact": {
                "url": format!("{}{path}", self.url), "path": path, "revision": revision,
                "digest": format!("sha256:{digest}"), "lastUpdateTime": "2026-01-01T00:00:00Z",
                "metadata": if kind == "OCIRepository" {
                    json!({ "org.opencontainers.image.revision": "main@sha1:abc" })
                } else {
                    json!({})
                },
            } },
        });
        let sources = &self.generators.sources;
        match kind {
            "OCIRepository" => drop(sources.oci_repositories.put(serde_json::from_value(object).unwrap())),
            _ => drop(sources.git_repositories.put(serde_json::from_value(object).unwrap())),
        }
    }

    /// Both sources, as they are at first.
    fn both(&self) {
        let files: &[(&str, &[u8], u32)] = &[("web/a.yaml", b"a", 0o644), ("api/b.yaml", b"b", 0o644)];
        self.source("GitRepository", "apps", "mono", "main@sha1:111", files);
        self.source(
            "OCIRepository",
            "infra",
            "chart",
            "6.5.4@sha256:222",
            &[("values.yaml", b"x: 1\n", 0o644)],
        );
    }

    fn version(&self) -> String {
        self.versions.fetch_add(1, Ordering::Relaxed).to_string()
    }

    fn typed(&self) -> ArtifactGenerator {
        serde_json::from_value(self.object.clone()).unwrap()
    }

    fn spec(&mut self, field: &str, value: Value) {
        self.object["spec"][field] = value;
        let generation = self.object["metadata"]["generation"].as_i64().unwrap();
        self.object["metadata"]["generation"] = json!(generation + 1);
    }

    /// One attempt; its status is stored as the runtime would store it, and the watch shows the ExternalArtifacts.
    async fn attempt(&mut self) -> Summary {
        let object = self.typed();
        let visit = TestVisit {
            ledger: Mutex::new(GeneratorLedger::of(&object)),
            ahead: Mutex::default(),
            api: &self.api,
        };
        let outcome = self.generators.reconcile(&object, &visit, self.now).await;
        self.ahead.extend(visit.ahead.into_inner().unwrap());
        let ledger = visit.ledger.into_inner().unwrap();
        let before = Status {
            conditions: object.conditions().to_vec(),
            observed_generation: object.observed_generation().unwrap_or(-1),
            last_handled_reconcile_at: None,
        };
        let generation = object.metadata.generation.unwrap();
        let view =
            Before { generation, requested_at: None, at_start: &before, current: &before, now: self.now };
        let summary = summarize(&view, &ledger, &outcome);
        let after = summary.status.clone().unwrap();
        assert_eq!(
            breaches::<ArtifactGeneratorCondition>(generation, &after),
            Vec::<&str>::new(),
            "{after:?}"
        );
        self.object["status"] = Value::Object(ledger.status());
        self.object["status"]["conditions"] = json!(after.conditions);
        self.show_objects();
        assert_eq!(self.api.unscripted(), Vec::<String>::new());
        summary
    }

    /// The watch shows what the API server has.
    fn show_objects(&self) {
        let cache = &self.generators.sources.external_artifacts;
        let objects = self.objects.lock().unwrap().clone();
        for known in cache.all() {
            let key = NamespacedName::of(known.as_ref());
            if !objects.contains_key(&key.name) {
                cache.remove(&key);
            }
        }
        for (_, mut object) in objects {
            let version = self.versions.fetch_add(1, Ordering::Relaxed);
            object["metadata"]["resourceVersion"] = json!(version.to_string());
            cache.put(serde_json::from_value(object).unwrap());
        }
    }

    fn external(&self, name: &str) -> Value {
        self.objects.lock().unwrap().get(name).cloned().unwrap_or_default()
    }

    /// Path and content of each file of an artifact.
    fn files(&self, name: &str) -> Vec<(String, String)> {
        let path = self.external(name)["status"]["artifact"]["path"].as_str().unwrap().to_owned();
        let bytes = std::fs::read(self.root.path().join("data").join(path)).unwrap();
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(&*bytes));
        let entries = tar.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            (entry.path().unwrap().display().to_string(), text)
        });
        entries.filter(|(path, _)| !path.ends_with('/')).collect()
    }

    /// The file of an artifact on the disk.
    fn stored(&self, name: &str) -> std::path::PathBuf {
        let path = self.external(name)["status"]["artifact"]["path"].as_str().unwrap().to_owned();
        self.root.path().join("data").join(path)
    }

    fn writes(&self) -> Vec<String> {
        let calls = self.api.lines().into_iter().filter(|line| !line.starts_with("GET"));
        calls.map(|line| line.replace(EXTERNAL, "")).collect()
    }
}

/// Two artifacts of one repository, one with values of a chart.
fn two() -> Value {
    json!([
        { "name": "web", "copy": [{ "from": "@repo/web/**", "to": "@artifact/" }] },
        {
            "name": "api", "revision": "@chart", "originRevision": "@chart",
            "copy": [
                { "from": "@repo/api/**", "to": "@artifact/" },
                { "from": "@chart/values.yaml", "to": "@artifact/" },
            ],
        },
    ])
}

#[tokio::test]
async fn each_artifact_of_the_spec_becomes_an_object_and_nothing_is_done_again_without_news() {
    let mut fixture = Fixture::new(two()).await;
    fixture.both();
    fixture.spec("commonMetadata", json!({ "labels": { "team": "a" }, "annotations": { "note": "x" } }));
    let first = fixture.attempt().await;
    let text = "reconciliation succeeded, generated 2 artifact(s)";
    assert_eq!(ready(&first), ("True".into(), "Succeeded".into(), text.into()));
    assert_eq!(fixture.files("web"), [("a.yaml".into(), "a".into())]);
    assert_eq!(
        fixture.files("api"),
        [("b.yaml".into(), "b".into()), ("values.yaml".into(), "x: 1\n".into())]
    );
    let web = fixture.external("web");
    let digest = web["status"]["artifact"]["digest"].as_str().unwrap();
    assert_eq!(web["status"]["artifact"]["revision"], format!("latest@{digest}"));
    assert_eq!(
        web["metadata"]["labels"],
        json!({ "team": "a", "app.kubernetes.io/managed-by": "source-watcher", "source.extensions.fluxcd.io/generator": UID })
    );
    assert_eq!(web["metadata"]["annotations"], json!({ "note": "x" }));
    assert_eq!(
        web["spec"]["sourceRef"],
        json!({ "apiVersion": "source.extensions.fluxcd.io/v1beta1", "kind": "ArtifactGenerator", "name": "app", "namespace": "apps" })
    );
    let condition = &web["status"]["conditions"][0];
    assert_eq!(
        (&condition["type"], &condition["status"], &condition["message"]),
        (&json!("Ready"), &json!("True"), &json!("Artifact is ready"))
    );
    let path = web["status"]["artifact"]["path"].as_str().unwrap();
    assert!(path.starts_with("externalartifact/apps/web/"), "{path}");
    assert_eq!(web["status"]["artifact"]["url"], format!("http://source-controller.flux-system.svc./{path}"));
    let api = &fixture.external("api")["status"]["artifact"];
    assert_eq!(api["revision"], "6.5.4@sha256:222");
    assert_eq!(api["metadata"]["org.opencontainers.image.revision"], "main@sha1:abc");
    assert_ne!(
        api["metadata"][DIRECTORY_DIGESTS_METADATA],
        web["status"]["artifact"]["metadata"][DIRECTORY_DIGESTS_METADATA]
    );
    assert_eq!(fixture.writes(), ["PATCH /web", "PATCH /web/status", "PATCH /api", "PATCH /api/status"]);
    assert!(fixture.api.calls().iter().all(|call| call.parameter("fieldManager") == Some("source-watcher")));

    fixture.api.forget_calls();
    let second = fixture.attempt().await;
    assert_eq!(ready(&second).0, "True");
    assert_eq!((fixture.api.lines(), emitted(&second)), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn the_inventory_is_written_before_an_object_is_created() {
    let mut fixture = Fixture::new(two()).await;
    fixture.both();
    fixture.attempt().await;
    assert_eq!(fixture.ahead, [(vec!["web".to_owned(), "api".to_owned()], 0)], "before the first call");
    assert_eq!(fixture.object["status"]["inventory"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn only_the_artifact_whose_files_changed_gets_a_new_revision() {
    let mut fixture = Fixture::new(two()).await;
    fixture.both();
    fixture.attempt().await;
    let before = (fixture.external("web"), fixture.external("api"));
    fixture.now = "2026-01-01T01:00:00Z".parse().unwrap();
    let files: &[(&str, &[u8], u32)] = &[("web/a.yaml", b"newer", 0o644), ("api/b.yaml", b"b", 0o644)];
    fixture.source("GitRepository", "apps", "mono", "main@sha1:333", files);
    let summary = fixture.attempt().await;
    assert_eq!(fixture.files("web"), [("a.yaml".into(), "newer".into())]);
    let after = (fixture.external("web"), fixture.external("api"));
    assert_ne!(after.0["status"]["artifact"]["revision"], before.0["status"]["artifact"]["revision"]);
    assert_eq!(after.1["status"], before.1["status"], "its time too");
    let events = emitted(&summary);
    assert!(
        events[0].starts_with("NewArtifact ExternalArtifact/apps/web reconciled with revision latest@"),
        "{events:?}"
    );
    assert!(!events.iter().any(|event| event.contains("apps/api")), "{events:?}");
}

#[tokio::test]
async fn an_artifact_that_left_the_spec_is_deleted_with_its_files_unless_it_belongs_to_another() {
    let mut fixture = Fixture::new(two()).await;
    fixture.both();
    fixture.attempt().await;
    let (file, other) = (fixture.stored("api"), fixture.stored("web"));
    fixture.api.forget_calls();
    fixture.spec("artifacts", json!([two()[0]]));
    fixture.attempt().await;
    assert!(fixture.external("api").is_null() && !file.exists() && other.exists());
    let delete = fixture.api.matching("DELETE", &format!("{EXTERNAL}/*"));
    assert_eq!(delete[0].body["preconditions"]["uid"], "uid-of-api");
    assert_eq!(names(&fixture.typed().status.unwrap().inventory), ["web"]);

    fixture.spec("artifacts", two());
    fixture.attempt().await;
    let label = &mut fixture.objects.lock().unwrap().clone();
    label.get_mut("api").unwrap()["metadata"]["labels"]["source.extensions.fluxcd.io/generator"] = json!("x");
    *fixture.objects.lock().unwrap() = label.clone();
    fixture.spec("artifacts", json!([two()[0]]));
    fixture.attempt().await;
    assert!(!fixture.external("api").is_null(), "another generator has taken it");
}

#[tokio::test]
async fn each_directory_of_a_pattern_becomes_an_object_as_long_as_it_is_there() {
    let mut fixture = Fixture::new(json!([{
        "name": "app-{app}", "revision": "@repo",
        "copy": [{ "from": "@repo/apps/{app}/**", "to": "@artifact/{app}/" }],
    }]))
    .await;
    fixture.both();
    let apps = |names: &[&str]| {
        let files: Vec<_> = names.iter().map(|name| (format!("apps/{name}/a.yaml"), *name)).collect();
        let files: Vec<_> =
            files.iter().map(|(path, text)| (path.as_str(), text.as_bytes(), 0o644)).collect();
        fixture.source("GitRepository", "apps", "mono", &format!("main@sha1:{}", names.len()), &files);
    };
    apps(&["Auth", "web"]);
    fixture.spec("pathPattern", json!("@repo/apps/{app}"));
    fixture.spec("commonMetadata", json!({ "labels": { "team": "a" } }));
    let summary = fixture.attempt().await;
    assert_eq!(ready(&summary).2, "reconciliation succeeded, generated 2 artifact(s)");
    let labels = &fixture.external("app-auth")["metadata"]["labels"];
    assert_eq!((&labels["app"], &labels["team"]), (&json!("auth"), &json!("a")));
    assert_eq!(fixture.files("app-auth"), [("Auth/a.yaml".to_owned(), "Auth".to_owned())]);
    assert_eq!(fixture.external("app-web")["status"]["artifact"]["revision"], "main@sha1:2");
    let calls = fixture.api.calls().len();
    let again = fixture.attempt().await;
    assert_eq!(ready(&again).2, "reconciliation succeeded, generated 2 artifact(s)");
    assert_eq!(fixture.api.calls().len(), calls, "nothing changed");

    let apps = |names: &[&str]| {
        let files: Vec<_> = names.iter().map(|name| (format!("apps/{name}/a.yaml"), *name)).collect();
        let files: Vec<_> =
            files.iter().map(|(path, text)| (path.as_str(), text.as_bytes(), 0o644)).collect();
        fixture.source("GitRepository", "apps", "mono", &format!("main@sha1:{}", names.len()), &files);
    };
    apps(&["api", "db", "web"]);
    let stored = fixture.root.path().join("data/externalartifact/apps/app-auth");
    assert!(stored.exists());
    fixture.attempt().await;
    let all: Vec<String> = fixture.objects.lock().unwrap().keys().cloned().collect();
    assert_eq!(all, ["app-api", "app-db", "app-web"]);
    assert!(!stored.exists());

    let files: &[(&str, &[u8], u32)] = &[("apps/a/f", b"x", 0o644), ("apps/A/f", b"x", 0o644)];
    fixture.source("GitRepository", "apps", "mono", "main@sha1:9", files);
    let summary = fixture.attempt().await;
    let message = "pathPattern \"@repo/apps/{app}\": directories \"apps/A\" and \"apps/a\" both resolve to artifact name \"app-a\"";
    assert_eq!(ready(&summary), ("False".into(), "ValidationFailed".into(), message.into()));
    assert_eq!(fixture.objects.lock().unwrap().len(), 3, "the artifacts stay");
}

#[tokio::test]
async fn lost_damaged_and_edited_artifacts_are_made_again() {
    let mut fixture = Fixture::new(two()).await;
    fixture.both();
    fixture.attempt().await;
    let file = fixture.stored("web");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    fixture.attempt().await;
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    std::fs::write(&file, b"x").unwrap();
    fixture.attempt().await;
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    for edit in [
        (|all: &mut BTreeMap<String, Value>| drop(all.remove("web"))) as fn(&mut BTreeMap<String, Value>),
        |all| all.get_mut("web").unwrap()["status"]["artifact"]["digest"] = json!("sha256:00"),
        |all| all.get_mut("web").unwrap()["status"]["artifact"]["url"] = json!("http://elsewhere/x"),
        |all| all.get_mut("web").unwrap()["metadata"]["labels"] = json!({}),
    ] {
        let before = fixture.external("web");
        edit(&mut fixture.objects.lock().unwrap());
        fixture.show_objects();
        fixture.attempt().await;
        let after = fixture.external("web");
        assert_eq!(
            (
                &after["status"]["artifact"]["digest"],
                &after["status"]["artifact"]["url"],
                &after["metadata"]["labels"]
            ),
            (
                &before["status"]["artifact"]["digest"],
                &before["status"]["artifact"]["url"],
                &before["metadata"]["labels"]
            )
        );
    }
}

#[tokio::test]
async fn a_missing_source_is_waited_for_and_a_forbidden_one_stalls() {
    let mut fixture = Fixture::new(two()).await;
    let summary = fixture.attempt().await;
    let text = "get sources failed: source 'OCIRepository/infra/chart' not found (create it, or correct spec.sources)";
    assert_eq!(ready(&summary), ("False".into(), "SourceFetchFailed".into(), text.into()));
    assert_eq!(summary.next, plumb_status::Next::After(plumb_status::cadence::DEPENDENCY_WAIT));
    fixture.generators.cross_namespace = false;
    let summary = fixture.attempt().await;
    let text = "cross-namespace reference to source OCIRepository/infra/chart is not allowed (move the source, or start the \
                controller without --no-cross-namespace-refs)";
    assert_eq!(ready(&summary), ("False".into(), "AccessDenied".into(), text.into()));
    assert_eq!(summary.next, plumb_status::Next::Never);
    assert_eq!(fixture.api.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn a_source_with_another_digest_is_rejected_and_the_last_artifacts_stay() {
    let mut fixture = Fixture::new(two()).await;
    fixture.both();
    fixture.attempt().await;
    let before = fixture.external("web");
    fixture.source("GitRepository", "apps", "mono", "main@sha1:444", &[("web/a.yaml", b"forged", 0o644)]);
    for (path, archive) in fixture.served.lock().unwrap().iter_mut() {
        if path.starts_with("/GitRepository") {
            *archive = tar_gz(&[("web/a.yaml", b"something else", 0o644)]);
        }
    }
    let summary = fixture.attempt().await;
    assert_eq!(ready(&summary).1, "SourceFetchFailed");
    assert!(
        ready(&summary).2.contains("fetch sources failed: 'GitRepository/apps/mono'"),
        "{:?}",
        ready(&summary)
    );
    assert_eq!(fixture.external("web"), before);
}

#[tokio::test]
async fn a_failed_build_names_the_artifact_and_the_operation() {
    let mut fixture = Fixture::new(json!([
        { "name": "web", "copy": [{ "from": "@repo/none", "to": "@artifact/" }] },
    ]))
    .await;
    fixture.both();
    let summary = fixture.attempt().await;
    let text = "web build failed: failed to apply copy operation from '@repo/none' to '@artifact/': source 'none' does not exist \
                (correct spec.artifacts, or the files of the sources)";
    assert_eq!(ready(&summary), ("False".into(), "BuildFailed".into(), text.into()));
    assert_eq!(summary.next, plumb_status::Next::Backoff);
}

#[tokio::test]
async fn a_rejected_write_is_tried_again_and_keeps_the_inventory() {
    let mut fixture = Fixture::new(two()).await;
    fixture.both();
    fixture.api.once("PATCH", &format!("{EXTERNAL}/api"), Response::forbidden("no"));
    let summary = fixture.attempt().await;
    let (status, reason, message) = ready(&summary);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "ReconciliationFailed"));
    assert!(message.starts_with("api reconcile failed: failed to apply ExternalArtifact: "), "{message}");
    assert_eq!(names(&fixture.typed().status.unwrap().inventory), ["api", "web"]);
    assert_eq!(ready(&fixture.attempt().await).0, "True");
}

#[tokio::test]
async fn deletion_takes_all_artifacts_with_it() {
    let mut fixture = Fixture::new(two()).await;
    fixture.both();
    fixture.attempt().await;
    let files = [fixture.stored("api"), fixture.stored("web")];
    let object = fixture.typed();
    let visit = |fixture: &Fixture| TestVisit {
        ledger: Mutex::new(GeneratorLedger::of(&object)),
        ahead: Mutex::default(),
        api: Box::leak(Box::new(fixture.api.clone())),
    };
    fixture.api.once("DELETE", &format!("{EXTERNAL}/api"), Response::forbidden("no"));
    let first = fixture.generators.teardown(&object, &visit(&fixture)).await;
    assert!(matches!(first, AttemptOutcome::Failed { .. }), "{first:?}");
    let second = fixture.generators.teardown(&object, &visit(&fixture)).await;
    assert_eq!(second, AttemptOutcome::Gone);
    assert!(
        !fixture.api.lines().iter().any(|line| line.contains("artifactgenerators")),
        "no foreign finalizer"
    );
    assert!(fixture.objects.lock().unwrap().is_empty() && files.iter().all(|file| !file.exists()));
}

#[tokio::test]
async fn the_finalizer_that_source_watcher_left_is_released() {
    let mut fixture = Fixture::new(two()).await;
    fixture.object["metadata"]["finalizers"] =
        json!(["source.extensions.fluxcd.io/finalizer", "finalizers.fluxcd.io", "example.com/x"]);
    fixture.object["metadata"]["resourceVersion"] = json!("7");
    let path = "/apis/source.extensions.fluxcd.io/v1beta1/namespaces/apps/artifactgenerators/app";
    fixture.api.once("PATCH", path, Response::conflict("newer"));
    fixture.api.once("PATCH", path, Response::ok(fixture.object.clone()));
    let object = fixture.typed();
    let visit = TestVisit {
        ledger: Mutex::new(GeneratorLedger::of(&object)),
        ahead: Mutex::default(),
        api: &fixture.api,
    };
    let first = fixture.generators.teardown(&object, &visit).await;
    assert!(matches!(first, AttemptOutcome::Failed { .. }), "{first:?}");
    assert_eq!(fixture.generators.teardown(&object, &visit).await, AttemptOutcome::Gone);
    assert_eq!(
        fixture.api.calls()[1].body,
        json!({ "metadata": { "resourceVersion": "7", "finalizers": ["finalizers.fluxcd.io", "example.com/x"] } })
    );
}

#[tokio::test]
async fn nothing_of_another_namespace_is_deleted_whatever_the_status_says() {
    let mut fixture = Fixture::new(two()).await;
    fixture.both();
    fixture.attempt().await;
    let forged =
        json!({ "name": "web", "namespace": "infra", "digest": "sha256:00", "filename": "x.tar.gz" });
    fixture.object["status"]["inventory"].as_array_mut().unwrap().push(forged);
    fixture.api.forget_calls();
    fixture.attempt().await;
    assert!(fixture.api.matching("DELETE", "/apis/*").is_empty());
    assert_eq!(names(&fixture.typed().status.unwrap().inventory), ["web", "api"]);
    // An entry with the name of an own artifact, whose digest is not that of the file.
    let others = Location::new("ExternalArtifact", "infra", "web").unwrap();
    let store = &fixture.generators.storage.store;
    let written = store.put_bytes(&others, "x.tar.gz", b"of another namespace").unwrap();
    let file = fixture.root.path().join("data").join(written.path);
    let digest = format!("sha256:{}", "0".repeat(64));
    let inventory = fixture.object["status"]["inventory"].as_array_mut().unwrap();
    inventory[0] = json!({ "name": "web", "namespace": "infra", "digest": digest, "filename": "x.tar.gz" });
    fixture.attempt().await;
    assert!(file.exists(), "it is the file of another namespace");
    assert_eq!(names(&fixture.typed().status.unwrap().inventory), ["web", "api"]);
}

#[test]
fn a_source_wakes_those_that_use_it() {
    let object: ArtifactGenerator = serde_json::from_value(json!({
        "apiVersion": "source.extensions.fluxcd.io/v1beta1", "kind": "ArtifactGenerator",
        "metadata": { "name": "app", "namespace": "apps", "annotations": { "source.extensions.fluxcd.io/reconcile": "Disabled" } },
        "spec": {
            "sources": [
                { "alias": "a", "kind": "GitRepository", "name": "mono" },
                { "alias": "b", "kind": "Bucket", "name": "x", "namespace": "infra" },
            ],
            "artifacts": two(),
        },
    }))
    .unwrap();
    for (kind, namespace, name, expect) in [
        (GitRepository, "apps", "mono", true),
        (GitRepository, "infra", "mono", false),
        (Bucket, "apps", "mono", false),
        (Bucket, "infra", "x", true),
    ] {
        let source = SourceName { kind, name: NamespacedName::new(namespace, name) };
        assert_eq!(uses(&object, &source), expect, "{source}");
    }
    assert!(object.suspended());
}

#[tokio::test]
async fn the_watches_begin_when_the_kind_is_served() {
    let api = Scenario::new();
    let path = "/apis/source.extensions.fluxcd.io/v1beta1";
    api.once("GET", path, Response::not_found());
    api.once("GET", path, Response::status(503, "ServiceUnavailable", "later"));
    api.on("GET", path, Response::ok(json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "source.extensions.fluxcd.io/v1beta1",
        "resources": [{ "name": "artifactgenerators", "singularName": "", "namespaced": true, "kind": "ArtifactGenerator", "verbs": ["get"] }],
    })));
    let begin = CancellationToken::new();
    until_served(api.client(), Duration::from_millis(1), begin.clone()).await;
    assert!(begin.is_cancelled());
    assert_eq!(api.calls().len(), 3);
}

#[tokio::test]
async fn the_kind_is_installed_only_where_it_is_served() {
    let api = Scenario::new();
    let path = "/apis/source.extensions.fluxcd.io/v1beta1";
    api.once("GET", path, Response::not_found());
    assert!(!is_served(&api.client()).await.unwrap());
    api.once("GET", path, Response::ok(json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "source.extensions.fluxcd.io/v1beta1",
        "resources": [{ "name": "artifactgenerators", "singularName": "", "namespaced": true, "kind": "ArtifactGenerator", "verbs": ["get"] }],
    })));
    assert!(is_served(&api.client()).await.unwrap());
    api.once("GET", path, Response::status(503, "ServiceUnavailable", "later"));
    assert!(is_served(&api.client()).await.is_err());
}
