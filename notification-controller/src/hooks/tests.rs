//! Webhooks against the server, over HTTP, with a mock API server behind it.

use plumb_testkit::scenario::{Response as ApiAnswer, Scenario};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::harness::{receiver, secret};
use crate::server::{BodyLimits, local};

const GIT: &str = "/apis/source.toolkit.fluxcd.io/v1/namespaces/prod/gitrepositories/repo";
const PATH: &str = "/hook/abc";

struct Stage {
    address: String,
    api: Scenario,
    directory: Arc<Directory>,
    _stop: CancellationToken,
}

fn bodies() -> Share {
    crate::budget::Budget::of(&plumb_memory::MemoryPool::new(256 << 20)).bodies
}

impl Stage {
    async fn start(cross_namespace: CrossNamespace) -> Self {
        let api = Scenario::new();
        secret(&api, "s", &[("token", "secret")]);
        let meta = json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": { "name": "repo" }
        });
        api.on("PATCH", GIT, ApiAnswer::ok(meta));
        let directory = Arc::new(Directory::default());
        let hooks = Arc::new(Hooks {
            cluster: api.client(),
            directory: Arc::clone(&directory),
            cross_namespace,
            is_filled: Arc::new(|| true),
            now: Arc::new(|| "2026-11-25T06:30:00.123456789Z".parse().unwrap()),
            memory: bodies(),
            shares: PathShares::default(),
            coalescer: Coalescer::default(),
            events_at: ":9090".to_owned(),
        });
        let (address, stop) = local::start(BodyLimits::of_body(WEBHOOK_BYTES_MAX), hooks).await;
        Self { address, api, directory, _stop: stop }
    }

    /// A Receiver that is Ready, with these changes to its spec.
    fn receiver(&self, changes: Value) {
        let mut spec = json!({
            "type": "generic", "secretRef": { "name": "s" },
            "resources": [{ "kind": "GitRepository", "name": "repo" }]
        });
        let Value::Object(changes) = changes else { panic!("changes are an object") };
        for (key, value) in changes {
            spec[key] = value;
        }
        self.directory.put_receiver(&receiver("hook", PATH, spec));
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> u16 {
        self.answer(path, headers, body).await.0
    }

    /// Status and text of the answer to a POST.
    async fn answer(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> (u16, String) {
        let url = format!("http://{}{path}", self.address);
        let mut request = crate::harness::http().post(url).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    fn patches(&self) -> usize {
        self.api.lines().iter().filter(|line| line.starts_with("PATCH")).count()
    }
}

#[tokio::test]
async fn a_webhook_requests_a_reconciliation() {
    let stage = Stage::start(CrossNamespace::Allowed).await;
    stage.receiver(json!({}));
    assert_eq!(stage.post(PATH, &[], "{}").await, 200);
    let patch = stage.api.matching("PATCH", GIT).remove(0);
    assert_eq!(patch.content_type, "application/merge-patch+json");
    assert_eq!(patch.parameter("fieldManager"), Some("notification-controller"));
    let annotations = json!({ "reconcile.fluxcd.io/requestedAt": "2026-11-25T06:30:00.123456789Z" });
    assert_eq!(patch.body["metadata"]["annotations"], annotations);
}

#[tokio::test]
async fn an_unknown_path_is_not_found() {
    let stage = Stage::start(CrossNamespace::Allowed).await;
    stage.receiver(json!({}));
    for path in ["/", "/hook/", "/hook/abd", "/hook/abcd", "/hook/abc/"] {
        assert_eq!(stage.post(path, &[], "{}").await, 404, "{path}");
    }
    stage.directory.drop_receiver("prod", "hook");
    assert_eq!(stage.post(PATH, &[], "{}").await, 404);
    assert_eq!(stage.patches(), 0);
}

/// A signature of `{}` with the token `secret`: openssl dgst -sha256 -hmac secret
const SIGNED: (&str, &str) =
    ("X-Signature", "sha256=77325902caca812dc259733aacd046b73817372c777b8d95b402647474516e13");

#[tokio::test]
async fn a_receiver_that_is_suspended_or_not_ready_says_so_to_those_who_know_its_token() {
    let stage = Stage::start(CrossNamespace::Allowed).await;
    stage.receiver(json!({ "type": "generic-hmac", "suspend": true }));
    assert_eq!(stage.post(PATH, &[SIGNED], "{}").await, 503);
    assert_eq!(stage.post(PATH, &[], "{}").await, 404);
    let spec = json!({ "type": "generic-hmac", "secretRef": { "name": "s" }, "resources": [] });
    let mut failing = receiver("hook", PATH, spec);
    failing.status.as_mut().unwrap().conditions[0].status = plumb_status::ConditionStatus::False;
    stage.directory.put_receiver(&failing);
    assert_eq!(stage.post(PATH, &[SIGNED], "{}").await, 503);
    assert_eq!(stage.post(PATH, &[], "{}").await, 404);
    stage.receiver(json!({ "type": "gitlab" }));
    assert_eq!(stage.post(PATH, &[], "{}").await, 404);
    assert_eq!(stage.patches(), 0);
}

/// The bytes of the answer to a POST, without the date, and the time that passed on the server's clock.
async fn raw(stage: &Stage, path: &str, headers: &str) -> (String, Duration) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let began = Instant::now();
    let mut stream = tokio::net::TcpStream::connect(&stage.address).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{headers}content-length: 2\r\n\r\n{{}}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    let lines: Vec<_> = said.lines().filter(|line| !line.starts_with("date:")).collect();
    (lines.join("\n"), began.elapsed())
}

#[tokio::test]
async fn unknown_forbidden_and_wrong_token_are_answered_alike() {
    let stage = Stage::start(CrossNamespace::Allowed).await;
    stage.receiver(json!({ "type": "generic-hmac" }));
    let (unknown, _) = raw(&stage, "/hook/abd", "").await;
    assert!(unknown.starts_with("HTTP/1.1 404") && unknown.ends_with("not found"), "{unknown}");
    let mut alike = Vec::new();
    for headers in ["", "x-signature: sha256=00\r\n", "x-signature: md5=00\r\n", "x-signature: nonsense\r\n"]
    {
        alike.push(raw(&stage, PATH, headers).await.0);
    }
    stage.receiver(json!({ "type": "generic-hmac", "suspend": true }));
    alike.push(raw(&stage, PATH, "x-signature: sha256=00\r\n").await.0);
    stage.receiver(json!({ "type": "github" }));
    alike.push(raw(&stage, PATH, "content-type: text/plain\r\n").await.0);
    stage.receiver(json!({ "type": "gitlab" }));
    alike.push(raw(&stage, PATH, "").await.0);
    stage.receiver(json!({ "type": "generic-hmac", "secretRef": null }));
    alike.push(raw(&stage, PATH, "").await.0);
    stage.receiver(json!({ "type": "generic-hmac" }));
    stage.api.on("GET", "/api/v1/namespaces/prod/secrets/s", ApiAnswer::not_found());
    alike.push(raw(&stage, PATH, "").await.0);
    assert_eq!(alike, vec![unknown; alike.len()]);
    assert_eq!(stage.patches(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_rejection_does_not_reveal_how_far_a_webhook_came() {
    let api = Scenario::new();
    secret(&api, "s", &[("token", "secret")]);
    let directory = Arc::new(Directory::default());
    let spec = json!({ "type": "generic-hmac", "secretRef": { "name": "s" }, "resources": [] });
    directory.put_receiver(&receiver("hook", PATH, spec));
    let hooks = Hooks {
        cluster: api.client(),
        directory,
        cross_namespace: CrossNamespace::Allowed,
        is_filled: Arc::new(|| true),
        now: Arc::new(jiff::Timestamp::now),
        memory: bodies(),
        shares: PathShares::default(),
        coalescer: Coalescer::default(),
        events_at: ":9090".to_owned(),
    };
    let took = async |path: &str, signature: &'static str| {
        let began = Instant::now();
        let mut arrived = Arrived::of(Method::POST, path, "{}");
        arrived.headers.insert("x-signature", http::HeaderValue::from_static(signature));
        let answer = hooks.answer(arrived).await;
        (answer.status().as_u16(), began.elapsed())
    };
    let unknown = took("/hook/abd", "sha256=00").await;
    assert_eq!(unknown, (404, REJECTION_STEP));
    assert_eq!(took(PATH, "sha256=00").await, unknown);
    assert_eq!(took(PATH, "nonsense").await, unknown);
    // A Secret that is read slowly moves the answer by whole steps.
    let slow = ApiAnswer::not_found().after(Duration::from_millis(700));
    api.on("GET", "/api/v1/namespaces/prod/secrets/s", slow);
    assert_eq!(took(PATH, "sha256=00").await, (404, 2 * REJECTION_STEP));
}

#[tokio::test]
async fn a_receiver_that_is_looked_at_once_more_goes_on() {
    let stage = Stage::start(CrossNamespace::Allowed).await;
    let resources = json!([{ "kind": "GitRepository", "name": "repo" }]);
    let spec = json!({ "type": "generic", "secretRef": { "name": "s" }, "resources": resources });
    let mut busy = receiver("hook", PATH, spec);
    busy.status.as_mut().unwrap().conditions[0].status = plumb_status::ConditionStatus::Unknown;
    stage.directory.put_receiver(&busy);
    assert_eq!(stage.post(PATH, &[], "{}").await, 200);
}

#[tokio::test]
async fn a_wrong_signature_is_refused() {
    let stage = Stage::start(CrossNamespace::Allowed).await;
    stage.receiver(json!({ "type": "generic-hmac" }));
    assert_eq!(stage.post(PATH, &[("X-Signature", "sha256=00")], "{}").await, 404);
    assert_eq!(stage.post(PATH, &[], "{}").await, 404);
    assert_eq!(stage.post(PATH, &[SIGNED], "{ }").await, 404);
    assert_eq!(stage.patches(), 0);
    assert_eq!(stage.post(PATH, &[SIGNED], "{}").await, 200);
    assert_eq!(stage.patches(), 1);
}

#[tokio::test]
async fn an_event_of_github_outside_of_the_list_is_refused() {
    let stage = Stage::start(CrossNamespace::Allowed).await;
    stage.receiver(json!({ "type": "github", "events": ["push"] }));
    let json = ("Content-Type", "application/json");
    let signature =
        ("X-Hub-Signature-256", "sha256=77325902caca812dc259733aacd046b73817372c777b8d95b402647474516e13");
    assert_eq!(stage.post(PATH, &[json, signature, ("X-GitHub-Event", "ping")], "{}").await, 400);
    let missing = "the header X-GitHub-Event is missing: it must name one of the events of spec.events\n";
    assert_eq!(stage.answer(PATH, &[json, signature], "{}").await, (400, missing.to_owned()));
    assert_eq!(stage.answer(PATH, &[json], "{}").await, (404, "not found\n".to_owned()));
    assert_eq!(stage.post(PATH, &[json, signature, ("X-GitHub-Event", "push")], "{}").await, 200);
    assert_eq!(stage.patches(), 1);
}

#[tokio::test]
async fn a_giant_body_is_refused() {
    let stage = Stage::start(CrossNamespace::Allowed).await;
    stage.receiver(json!({}));
    assert_eq!(stage.post(PATH, &[], vec![b'x'; (3 << 20) + 1]).await, 413);
    assert_eq!(stage.patches(), 0);
}

#[tokio::test]
async fn one_failing_resource_does_not_keep_the_others_from_being_annotated() {
    let stage = Stage::start(CrossNamespace::Allowed).await;
    stage.api.on("PATCH", "/apis/*/v1/namespaces/prod/*/ghost", ApiAnswer::not_found());
    stage.receiver(json!({ "resources": [
        { "kind": "Kustomization", "name": "ghost" },
        { "kind": "Bucket", "name": "*" },
        { "kind": "GitRepository", "name": "repo" }
    ] }));
    assert_eq!(stage.post(PATH, &[], "{}").await, 500);
    assert_eq!(stage.api.matching("PATCH", GIT).len(), 1);
    assert_eq!(stage.patches(), 2);
}

#[tokio::test]
async fn a_receiver_with_a_resource_that_leads_to_no_object_reconciles_the_others_and_names_it_in_the_answer()
{
    let stage = Stage::start(CrossNamespace::Allowed).await;
    let spec = json!({
        "type": "generic", "secretRef": { "name": "s" },
        "resources": [{ "kind": "Bucket", "name": "*" }, { "kind": "GitRepository", "name": "repo" }]
    });
    let mut stalled = receiver("hook", PATH, spec);
    let ready = &mut stalled.status.as_mut().unwrap().conditions[0];
    ready.status = plumb_status::ConditionStatus::False;
    ready.reason = "InvalidSpec".to_owned();
    stage.directory.put_receiver(&stalled);
    let expect = "1 resources could not be annotated: matchLabels field not set when using wildcard '*' as name of Bucket: \
                  set matchLabels, or name one object\n";
    assert_eq!(stage.answer(PATH, &[], "{}").await, (500, expect.to_owned()));
    assert_eq!(stage.patches(), 1);
}

#[tokio::test]
async fn an_event_that_is_posted_here_is_sent_to_the_event_server() {
    let stage = Stage::start(CrossNamespace::Allowed).await;
    for path in ["/", "/events", "/hook"] {
        let (status, text) = stage.answer(path, &[], crate::harness::event_json("Applied").to_string()).await;
        assert_eq!(status, 404);
        assert!(
            text.contains("events are posted to the event server (--events-addr=:9090)"),
            "{path}: {text}"
        );
    }
}

#[tokio::test]
async fn another_namespace_is_blocked_by_the_flag() {
    let stage = Stage::start(CrossNamespace::Blocked).await;
    stage.receiver(json!({ "resources": [{ "kind": "GitRepository", "name": "repo", "namespace": "dev" }] }));
    assert_eq!(stage.post(PATH, &[], "{}").await, 500);
    assert_eq!(stage.patches(), 0);
}

const BUCKETS: &str = "/apis/source.toolkit.fluxcd.io/v1/namespaces/prod/buckets";

fn page(names: &[&str], next: &str) -> ApiAnswer {
    let items: Vec<_> = names.iter().map(|name| json!({ "metadata": { "name": name } })).collect();
    ApiAnswer::ok(json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
        "metadata": { "continue": next, "resourceVersion": "1" }, "items": items
    }))
}

#[tokio::test]
async fn all_objects_with_the_labels_are_annotated_over_all_pages() {
    let stage = Stage::start(CrossNamespace::Allowed).await;
    stage.api.once("GET", BUCKETS, page(&["a", "b"], "more"));
    stage.api.on("GET", BUCKETS, page(&["c"], ""));
    stage.api.on(
        "PATCH",
        &format!("{BUCKETS}/*"),
        ApiAnswer::ok(json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": { "name": "x" }
        })),
    );
    stage.receiver(
        json!({ "resources": [{ "kind": "Bucket", "name": "*", "matchLabels": { "team": "a", "b": "" } }] }),
    );
    assert_eq!(stage.post(PATH, &[], "{}").await, 200);
    let lists = stage.api.matching("GET", BUCKETS);
    assert_eq!(lists.len(), 2);
    assert_eq!(lists[0].parameter("labelSelector"), Some("b%3D%2Cteam%3Da"));
    assert_eq!(lists[1].parameter("continue"), Some("more"));
    let mut patched: Vec<_> =
        stage.api.calls().into_iter().filter(|call| call.method == "PATCH").map(|call| call.path).collect();
    patched.sort();
    assert_eq!(patched, ["a", "b", "c"].map(|name| format!("{BUCKETS}/{name}")));
}

#[tokio::test]
async fn labels_beside_a_name_are_passed_over() {
    let stage = Stage::start(CrossNamespace::Allowed).await;
    stage.receiver(json!({ "resources": [
        { "kind": "GitRepository", "name": "repo", "matchLabels": { "team": "a" } }
    ] }));
    assert_eq!(stage.post(PATH, &[], "{}").await, 200);
    let read: Vec<_> = stage.api.calls().into_iter().filter(|call| call.method == "GET").collect();
    assert_eq!(read.len(), 1, "the Secret is read, and no list of objects");
    assert_eq!(stage.patches(), 1);
}

#[tokio::test]
async fn labels_that_no_object_has_are_no_failure_and_a_missing_label_is_one() {
    let stage = Stage::start(CrossNamespace::Allowed).await;
    stage.api.on("GET", BUCKETS, page(&[], ""));
    stage.receiver(
        json!({ "resources": [{ "kind": "Bucket", "name": "*", "matchLabels": { "team": "a" } }] }),
    );
    assert_eq!(stage.post(PATH, &[], "{}").await, 200);
    stage.receiver(json!({ "resources": [{ "kind": "Bucket", "name": "*" }] }));
    assert_eq!(stage.post(PATH, &[], "{}").await, 500);
    stage.api.on("GET", BUCKETS, ApiAnswer::forbidden("no"));
    stage.receiver(
        json!({ "resources": [{ "kind": "Bucket", "name": "*", "matchLabels": { "team": "a" } }] }),
    );
    assert_eq!(stage.post(PATH, &[], "{}").await, 500);
    assert_eq!(stage.patches(), 0);
}

#[tokio::test]
async fn a_resource_that_would_leave_its_path_reaches_nothing() {
    let stage = Stage::start(CrossNamespace::Blocked).await;
    stage.receiver(json!({ "resources": [
        { "kind": "GitRepository", "name": "../../kube-system/gitrepositories/repo" },
        { "kind": "GitRepository", "name": "repo?dryRun=All" },
        { "kind": "GitRepository", "name": "repo", "apiVersion": "source.toolkit.fluxcd.io/v1/namespaces/dev" },
        { "kind": "GitRepository", "name": "repo", "apiVersion": "../../api/v1" },
        { "kind": "GitRepository", "name": "*", "matchLabels": { "a": "b,c!=d" } },
        { "kind": "GitRepository", "name": "*", "namespace": "dev", "matchLabels": { "a": "b" } }
    ] }));
    assert_eq!(stage.post(PATH, &[], "{}").await, 500);
    assert_eq!(stage.api.lines(), ["GET /api/v1/namespaces/prod/secrets/s"]);
}

/// A connection whose body of 3 MiB lacks its last byte.
async fn almost(stage: &Stage, path: &str) -> tokio::net::TcpStream {
    use tokio::io::AsyncWriteExt as _;
    let mut stream = tokio::net::TcpStream::connect(&stage.address).await.unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nhost: h\r\ncontent-length: {WEBHOOK_BYTES_MAX}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b'x'; WEBHOOK_BYTES_MAX - 1]).await.unwrap();
    stream
}

#[tokio::test]
async fn slow_giant_bodies_to_other_paths_do_not_keep_an_honest_webhook_out() {
    let stage = Stage::start(CrossNamespace::Allowed).await;
    stage.receiver(json!({}));
    let spec = json!({ "type": "generic", "secretRef": { "name": "s" }, "resources": [] });
    stage.directory.put_receiver(&receiver("flooded", "/hook/flooded", spec));
    let mut held = Vec::new();
    // As many as once filled the pool that all shared, to a path that exists; some to paths that do not.
    for _ in 0..22 {
        held.push(almost(&stage, "/hook/flooded").await);
    }
    for at in 0..4 {
        held.push(almost(&stage, &format!("/hook/{at}")).await);
    }
    assert_eq!(stage.post(PATH, &[], "{}").await, 200);
}

#[tokio::test]
async fn a_hundred_webhooks_at_once_make_few_patches() {
    let stage = Stage::start(CrossNamespace::Allowed).await;
    stage.receiver(json!({}));
    let posts = (0..100).map(|_| stage.post(PATH, &[], "{}"));
    let answers = futures_util::future::join_all(posts).await;
    assert_eq!(answers, vec![200; 100]);
    // The first, and one a second later for all that came meanwhile. A slow machine may need more seconds.
    assert!(stage.patches() <= 1 + 10, "{}", stage.patches());
}
