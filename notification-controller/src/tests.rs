//! The whole controller as it is installed, against a mock API server: watches, servers, statuses, events.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use plumb_runtime::{Clock, ControllerOptions as _, Runtime};
use plumb_testkit::scenario::{Feed, Response, Scenario};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::harness::{Sink, event_json, secret, until};
use crate::install::{Listeners, install_with};
use crate::options::Options;

const ALERTS: &str = "/apis/notification.toolkit.fluxcd.io/v1beta3/alerts";
const PROVIDERS: &str = "/apis/notification.toolkit.fluxcd.io/v1beta3/providers";
const RECEIVERS: &str = "/apis/notification.toolkit.fluxcd.io/v1/receivers";
const RECEIVER: &str = "/apis/notification.toolkit.fluxcd.io/v1/namespaces/prod/receivers/hook";
const EVENTS: &str = "/api/v1/namespaces/prod/events";
const LEASE: &str =
    "/apis/coordination.k8s.io/v1/namespaces/flux-system/leases/notification-controller-leader-election";
const GIT: &str = "/apis/source.toolkit.fluxcd.io/v1/namespaces/prod/gitrepositories/repo";

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    let version = if kind == "Receiver" { "v1" } else { "v1beta3" };
    json!({
        "apiVersion": format!("notification.toolkit.fluxcd.io/{version}"), "kind": kind,
        "metadata": {
            "name": name, "namespace": "prod", "uid": format!("{kind}-{name}"), "generation": 1,
            "resourceVersion": "1"
        },
        "spec": spec
    })
}

fn alert(name: &str, changes: &Value) -> Value {
    let mut spec = json!({
        "providerRef": { "name": "sink" }, "eventSources": [{ "kind": "Kustomization", "name": "*" }]
    });
    for (key, value) in changes.as_object().unwrap() {
        spec[key] = value.clone();
    }
    object("Alert", name, &spec)
}

/// A list, and a watch that the test feeds.
fn serve(api: &Scenario, path: &str, items: Vec<Value>) -> Feed {
    let (feed, watch) = Response::feed();
    let watch = Mutex::new(watch);
    api.on(
        "GET",
        path,
        Response::with(move |call| {
            if call.parameter("watch").is_some() {
                watch.lock().unwrap().clone()
            } else {
                Response::list("notification.toolkit.fluxcd.io/v1", "List", &items)
            }
        }),
    );
    feed
}

/// The controller at work.
struct Controller {
    api: Scenario,
    events: SocketAddr,
    hooks: SocketAddr,
    alerts: Feed,
    providers: Feed,
    receivers: Feed,
    shutdown: CancellationToken,
    ended: tokio::task::JoinHandle<bool>,
}

impl Controller {
    async fn start(alerts: Vec<Value>, providers: Vec<Value>, receivers: Vec<Value>) -> Self {
        Self::start_on(Scenario::new(), &[], alerts, providers, receivers).await
    }

    /// One with further flags, on an API server that is scripted already.
    async fn start_on(
        api: Scenario,
        flags: &[&str],
        alerts: Vec<Value>,
        providers: Vec<Value>,
        receivers: Vec<Value>,
    ) -> Self {
        let kept = receivers.first().cloned();
        let (alerts, providers) = (serve(&api, ALERTS, alerts), serve(&api, PROVIDERS, providers));
        let receivers = serve(&api, RECEIVERS, receivers);
        api.on("POST", EVENTS, Response::echo());
        api.on("PATCH", GIT, Response::echo());
        if let Some(object) = kept {
            keep(&api, object);
        }
        let args = [
            "--health-addr=0",
            "--metrics-addr=0",
            "--events-addr=127.0.0.1:0",
            "--receiverAddr=127.0.0.1:0",
            "--allow-addresses=loopback",
        ];
        let options = Options::parse_args([&["notification-controller"][..], &args, flags].concat()).unwrap();
        let mut runtime = Runtime::new(&options, api.client(), Clock::system());
        let listeners = Listeners::open(&options).await.unwrap();
        let address =
            |listener: &Option<tokio::net::TcpListener>| listener.as_ref().unwrap().local_addr().unwrap();
        let (events, hooks) = (address(&listeners.events), address(&listeners.hooks));
        install_with(&mut runtime, &options, listeners).unwrap();
        let shutdown = runtime.shutdown();
        let ended = tokio::spawn(async move { runtime.run().await.is_ok() });
        Self { api, events, hooks, alerts, providers, receivers, shutdown, ended }
    }

    async fn post(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: String) -> u16 {
        let client = crate::harness::http();
        let mut request = client.post(format!("http://{address}{path}")).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap().status().as_u16()
    }

    /// Posts an event until the stores are filled.
    async fn event(&self, message: &str) -> u16 {
        loop {
            let status = Self::post(self.events, "/", &[], event_json(message).to_string()).await;
            if status != 503 {
                return status;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// Kind/name, type, reason and message of the events in the cluster.
    fn reported(&self) -> Vec<String> {
        let text = |event: &Value| {
            let object = &event["involvedObject"];
            let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (kind, name) = (word(&object["kind"]), word(&object["name"]));
            format!(
                "{kind}/{name} {} {}: {}",
                word(&event["type"]),
                word(&event["reason"]),
                word(&event["message"])
            )
        };
        self.api.matching("POST", EVENTS).iter().map(|call| text(&call.body)).collect()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        assert!(self.ended.await.unwrap());
    }
}

/// An API server that keeps one Receiver: finalizer and status are patched as requested.
fn keep(api: &Scenario, object: Value) {
    let version = AtomicU64::new(1);
    let kept = Mutex::new(object);
    let answer = move |call: &plumb_testkit::scenario::Call| {
        let mut kept = kept.lock().unwrap();
        kept["metadata"]["resourceVersion"] = (version.fetch_add(1, Ordering::SeqCst) + 1).to_string().into();
        if let Some(status) = call.body.get("status") {
            let fields = status.as_object().unwrap().clone();
            if !kept["status"].is_object() {
                kept["status"] = json!({});
            }
            for (key, value) in fields {
                kept["status"][key] = value;
            }
        } else {
            kept["metadata"]["finalizers"] = json!(["finalizers.fluxcd.io"]);
        }
        Response::ok(kept.clone())
    };
    let answer = Response::with(answer);
    api.on("PATCH", RECEIVER, answer.clone());
    api.on("PATCH", &format!("{RECEIVER}/status"), answer);
}

#[tokio::test]
async fn an_event_goes_through_an_alert_to_its_provider() {
    let sink = Sink::start(&[200]).await;
    let provider = object("Provider", "sink", &json!({ "type": "generic", "address": sink.url }));
    let controller = Controller::start(vec![alert("all", &json!({}))], vec![provider], vec![]).await;
    assert_eq!(controller.event("Applied").await, 202);
    until(|| sink.count() == 1).await;
    assert_eq!(sink.got.lock().unwrap()[0].2["message"], "Applied");
    assert_eq!(controller.event("Applied").await, 429);
    // An Alert that comes later counts from then on.
    controller.alerts.send("DELETED", &alert("all", &json!({})));
    controller.alerts.send("ADDED", &alert("errors", &json!({ "eventSeverity": "error" })));
    controller.alerts.send("ADDED", &alert("reported", &json!({ "exclusionList": ["("] })));
    until(|| controller.reported().len() == 1).await;
    assert_eq!(controller.event("Applied once more").await, 202);
    until(|| sink.count() == 2).await;
    assert_eq!(
        controller.reported(),
        ["Alert/reported Warning InvalidConfig: failed to compile exclusion regex: (: unclosed group"]
    );
    controller.stop().await;
}

#[tokio::test]
async fn unsupported_fields_are_reported_once_and_nothing_is_sent() {
    let sink = Sink::start(&[200]).await;
    let labels =
        json!({ "eventSources": [{ "kind": "Kustomization", "name": "*", "matchLabels": { "a": "b" } }] });
    let proxied = json!({ "type": "generic", "address": sink.url, "proxySecretRef": { "name": "p" } });
    let mut unreadable = object("Provider", "odd", &json!({ "type": "pigeon" }));
    let controller = Controller::start(
        vec![alert("labels", &labels), alert("proxied", &json!({}))],
        vec![object("Provider", "sink", &proxied), unreadable.clone()],
        vec![],
    )
    .await;
    until(|| controller.reported().len() == 3).await;
    assert_eq!(controller.event("Applied").await, 202);
    // The same generation once more: nothing is reported.
    let mut again = object("Provider", "sink", &proxied);
    again["metadata"]["resourceVersion"] = "2".into();
    again["metadata"]["annotations"] = json!({ "a": "b" });
    controller.providers.send("MODIFIED", &again);
    unreadable["metadata"]["resourceVersion"] = "3".into();
    controller.providers.send("MODIFIED", &unreadable);
    // A new generation is.
    again["metadata"]["generation"] = 2.into();
    again["spec"] = json!({ "type": "discord" });
    again["metadata"]["resourceVersion"] = "4".into();
    controller.providers.send("MODIFIED", &again);
    until(|| controller.reported().len() == 4).await;
    let mut reported = controller.reported();
    reported.sort();
    assert_eq!(
        reported[0],
        "Alert/labels Warning UnsupportedField: spec.eventSources[0].matchLabels is not supported by this version of Plumb \
         (remove the field)"
    );
    assert!(
        reported[1].starts_with("Provider/odd Warning InvalidSpec: the object cannot be read: "),
        "{}",
        reported[1]
    );
    let text = "is not supported by this version of Plumb";
    assert_eq!(
        reported[2],
        format!("Provider/sink Warning UnsupportedField: spec.proxySecretRef {text} (remove the field)")
    );
    let remedy = "(spec.type: use generic, generic-hmac, slack)";
    assert_eq!(
        reported[3],
        format!("Provider/sink Warning UnsupportedField: spec.type \"discord\" {text} {remedy}")
    );
    assert_eq!(sink.count(), 0);
    controller.stop().await;
}

#[tokio::test]
async fn a_receiver_becomes_ready_and_its_webhook_requests_a_reconciliation() {
    let spec = json!({
        "type": "generic-hmac", "secretRef": { "name": "s" },
        "resources": [{ "kind": "GitRepository", "name": "repo" }]
    });
    let receiver = object("Receiver", "hook", &spec);
    let controller = Controller::start(vec![], vec![], vec![receiver.clone()]).await;
    secret(&controller.api, "s", &[("token", "token")]);
    let status = format!("{RECEIVER}/status");
    until(|| {
        let patches = controller.api.matching("PATCH", &status);
        patches.last().is_some_and(|patch| patch.body["status"]["webhookPath"].is_string())
    })
    .await;
    let written = controller.api.matching("PATCH", &status).pop().unwrap();
    let path = written.body["status"]["webhookPath"].as_str().unwrap().to_owned();
    assert_eq!(written.parameter("fieldManager"), Some("notification-controller"));
    let ready = &written.body["status"]["conditions"][0];
    assert_eq!(
        (ready["status"].as_str(), ready["message"].as_str()),
        (Some("True"), Some(&*format!("Receiver initialized for path: {path}")))
    );
    let post = async |signature: &str, body: &str| {
        Controller::post(controller.hooks, &path, &[("X-Signature", signature)], body.to_owned()).await
    };
    let signature = plumb_testkit::webhook::signature("token", b"{}").unwrap();
    until(|| controller.reported().len() == 1 || !controller.api.unscripted().is_empty()).await;
    assert_eq!(
        controller.reported(),
        ["Receiver/hook Normal Succeeded: Reconciliation finished, next run in 10m0s"]
    );
    assert_eq!(post("sha256=00", "{}").await, 404);
    assert_eq!(controller.api.matching("PATCH", GIT).len(), 0);
    assert_eq!(post(&signature, "{}").await, 200);
    let asked = controller.api.matching("PATCH", GIT).pop().unwrap();
    assert!(asked.body["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"].is_string());
    // Gone: the path is unknown.
    controller.receivers.send("DELETED", &receiver);
    while post(&signature, "{}").await != 404 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(controller.api.unscripted(), [""; 0]);
    controller.stop().await;
}

#[tokio::test]
async fn a_replica_that_does_not_lead_handles_webhooks_and_writes_nothing_else() {
    let api = Scenario::new();
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": "notification-controller-leader-election", "resourceVersion": "1" },
        "spec": { "holderIdentity": "another", "leaseDurationSeconds": 35, "leaseTransitions": 1 }
    });
    api.on("GET", LEASE, Response::ok(lease));
    let spec = json!({
        "type": "generic", "secretRef": { "name": "s" }, "resources": [{ "kind": "GitRepository", "name": "repo" }]
    });
    let path = plumb_alerting::receiver::webhook_path(b"token", "hook", "prod");
    let mut receiver = object("Receiver", "hook", &spec);
    let ready = json!({ "type": "Ready", "status": "True", "reason": "Succeeded", "message": "", "lastTransitionTime": "2026-11-25T06:30:00Z" });
    receiver["status"] = json!({ "conditions": [ready], "webhookPath": path, "observedGeneration": 1 });
    let flags = ["--enable-leader-election"];
    let controller = Controller::start_on(api, &flags, vec![], vec![], vec![receiver]).await;
    secret(&controller.api, "s", &[("token", "token")]);
    let status = loop {
        let status = Controller::post(controller.hooks, &path, &[], "{}".to_owned()).await;
        if status != 503 {
            break status;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    };
    assert_eq!((status, controller.api.matching("PATCH", GIT).len()), (200, 1));
    let writes = controller.api.calls().into_iter().filter(|call| call.method != "GET").count();
    assert_eq!(writes, 1, "the annotation alone");
    controller.stop().await;
}

#[tokio::test]
async fn a_notification_that_does_not_arrive_is_reported_on_its_alert() {
    // Port 1 is reserved: nobody listens there.
    let spec = json!({ "type": "generic", "address": "http://127.0.0.1:1/s3cret", "timeout": "1s" });
    let provider = object("Provider", "sink", &spec);
    let controller = Controller::start(vec![alert("all", &json!({}))], vec![provider], vec![]).await;
    assert_eq!(controller.event("Applied").await, 202);
    until(|| controller.reported().len() == 1).await;
    let reported = controller.reported().remove(0);
    let text = "Alert/all Warning NotificationDispatchFailed: failed to send notification for Kustomization/prod/apps to Provider/";
    assert!(reported.starts_with(text) && !reported.contains("s3cret"), "{reported}");
    controller.stop().await;
}

#[tokio::test]
async fn what_was_taken_is_sent_before_the_end() {
    let sink = Sink::start(&[500, 200]).await;
    let provider = object("Provider", "sink", &json!({ "type": "generic", "address": sink.url }));
    let controller = Controller::start(vec![alert("all", &json!({}))], vec![provider], vec![]).await;
    assert_eq!(controller.event("Applied").await, 202);
    until(|| sink.count() == 1).await;
    // The second try comes after two seconds: the end waits for it.
    controller.stop().await;
    assert_eq!(sink.count(), 2);
}

#[tokio::test]
async fn a_port_that_is_taken_ends_the_start_and_is_named() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let args = ["notification-controller".to_owned(), format!("--events-addr={address}")];
    let options = Options::parse_args(args).unwrap();
    let error = Listeners::open(&options).await.err().unwrap();
    assert!(error.to_string().starts_with(&format!("cannot listen on {address}: ")), "{error}");
}
