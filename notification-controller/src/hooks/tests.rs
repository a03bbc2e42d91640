//! Webhooks against the server, over HTTP, with a mock API server behind it.

use plumb_testkit::scenario::{Answer as ApiAnswer, Scenario};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::server::{Limits, local};
use crate::stage::{receiver, secret};

const GIT: &str = "/apis/source.toolkit.fluxcd.io/v1/namespaces/prod/gitrepositories/repo";
const PATH: &str = "/hook/abc";

struct Stage {
    address: String,
    api: Scenario,
    directory: Arc<Directory>,
    _stop: CancellationToken,
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
        });
        let handle = move |arrived| {
            let hooks = Arc::clone(&hooks);
            async move { hooks.take(&arrived).await }
        };
        let (address, stop) = local::start(Limits::of_body(3 << 20), handle).await;
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
        let url = format!("http://{}{path}", self.address);
        let mut request = crate::dispatch::http_client().unwrap().post(url).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap().status().as_u16()
    }

    fn patches(&self) -> usize {
        self.api.lines().iter().filter(|line| line.starts_with("PATCH")).count()
    }
}

#[tokio::test]
async fn a_webhook_asks_for_a_reconciliation() {
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

#[tokio::test]
async fn a_receiver_that_is_suspended_or_not_ready_is_unavailable() {
    let stage = Stage::start(CrossNamespace::Allowed).await;
    stage.receiver(json!({ "suspend": true }));
    assert_eq!(stage.post(PATH, &[], "{}").await, 503);
    let spec = json!({ "type": "generic", "secretRef": { "name": "s" }, "resources": [] });
    let mut failing = receiver("hook", PATH, spec);
    failing.status.as_mut().unwrap().conditions[0].status = plumb_status::ConditionStatus::False;
    stage.directory.put_receiver(&failing);
    assert_eq!(stage.post(PATH, &[], "{}").await, 503);
    stage.receiver(json!({ "type": "gitlab" }));
    assert_eq!(stage.post(PATH, &[], "{}").await, 503);
    assert_eq!(stage.patches(), 0);
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
    // openssl dgst -sha256 -hmac secret, over {}
    let right = "sha256=77325902caca812dc259733aacd046b73817372c777b8d95b402647474516e13";
    assert_eq!(stage.post(PATH, &[("X-Signature", "sha256=00")], "{}").await, 400);
    assert_eq!(stage.post(PATH, &[], "{}").await, 400);
    assert_eq!(stage.post(PATH, &[("X-Signature", right)], "{ }").await, 400);
    assert_eq!(stage.patches(), 0);
    assert_eq!(stage.post(PATH, &[("X-Signature", right)], "{}").await, 200);
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
async fn one_failing_resource_does_not_keep_the_others_from_being_asked() {
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
async fn another_namespace_is_blocked_by_the_flag() {
    let stage = Stage::start(CrossNamespace::Blocked).await;
    stage.receiver(json!({ "resources": [{ "kind": "GitRepository", "name": "repo", "namespace": "dev" }] }));
    assert_eq!(stage.post(PATH, &[], "{}").await, 500);
    assert_eq!(stage.patches(), 0);
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_our_fault() {
    let stage = Stage::start(CrossNamespace::Allowed).await;
    stage.api.on("GET", "/api/v1/namespaces/prod/secrets/s", ApiAnswer::not_found());
    stage.receiver(json!({}));
    assert_eq!(stage.post(PATH, &[], "{}").await, 500);
}
