//! The harness of the tests of both servers: a sink and a reporter that keep what they are given, objects from JSON.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Response, StatusCode};
use plumb_api::event::Event;
use plumb_api::meta::NamespacedName;
use plumb_api::notification::{Alert, Provider, Receiver};
use plumb_memory::MemoryPool;
use plumb_status::Reason;
use plumb_status::cadence::Backoff;
use plumb_testkit::scenario::{Response as ApiAnswer, Scenario};
use plumb_transport::address::AddressPolicy;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::budget::Budget;
use crate::dispatch::{AlertReporter, Dispatcher, DispatcherConfig, SendRetries, http_client};
use crate::server::local::Function;
use crate::server::{Arrived, BodyLimits, answer, local};

/// So long a test waits for something that should happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sinks are on this machine.
pub const ADDRESSES: AddressPolicy = AddressPolicy::allow_all("--allow-addresses");

/// A client for tests.
pub fn http() -> reqwest::Client {
    reqwest::Client::new()
}

/// What arrived at a sink: path, headers, body.
pub type Got = Arc<Mutex<Vec<(String, BTreeMap<String, String>, Value)>>>;

/// What was reported: Alert, reason, text.
pub type Reported = Arc<Mutex<Vec<(String, Reason, String)>>>;

/// A sink that answers with these statuses in turn, then with the last one for ever.
pub struct Sink {
    pub url: String,
    pub got: Got,
    _stop: CancellationToken,
}

impl Sink {
    pub async fn start(statuses: &'static [u16]) -> Self {
        Self::with_body(statuses, "").await
    }

    pub async fn with_body(statuses: &'static [u16], body: &'static str) -> Self {
        let got = Got::default();
        let noted = Arc::clone(&got);
        let handle = move |arrived: Arrived| {
            let at = note(&noted, &arrived);
            let status = statuses[at.min(statuses.len() - 1)];
            async move { answer(StatusCode::from_u16(status).unwrap(), body) }
        };
        let (address, stop) = local::start(BodyLimits::of_body(4 << 20), Arc::new(Function(handle))).await;
        Self { url: format!("http://{address}/sink/s3cret-path"), got, _stop: stop }
    }

    /// A sink that never answers.
    pub async fn that_hangs() -> Self {
        let got = Got::default();
        let noted = Arc::clone(&got);
        let handle = move |arrived: Arrived| {
            note(&noted, &arrived);
            std::future::pending::<Response<_>>()
        };
        let (address, stop) = local::start(BodyLimits::of_body(4 << 20), Arc::new(Function(handle))).await;
        Self { url: format!("http://{address}/"), got, _stop: stop }
    }

    pub fn count(&self) -> usize {
        self.got.lock().unwrap().len()
    }
}

fn note(got: &Got, arrived: &Arrived) -> usize {
    let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
    let headers = arrived.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let body = serde_json::from_slice(&arrived.body).unwrap_or(Value::Null);
    let mut got = got.lock().unwrap();
    got.push((arrived.path.clone(), headers, body));
    got.len() - 1
}

/// Waits until it holds.
#[track_caller]
pub fn until(mut holds: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let start = std::time::Instant::now();
        while !holds() {
            assert!(start.elapsed() < PATIENCE, "waited in vain at {caller}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

pub fn alert_reporter() -> (AlertReporter, Reported) {
    let reported = Reported::default();
    let kept = Arc::clone(&reported);
    let report: AlertReporter = Arc::new(move |alert: &NamespacedName, reason, text: &str| {
        kept.lock().unwrap().push((alert.to_string(), reason, text.to_owned()));
    });
    (report, reported)
}

/// A dispatcher that tries again after a moment, and what it dropped.
pub fn dispatcher(api: &Scenario, report: AlertReporter) -> (Dispatcher, Arc<Mutex<usize>>) {
    let dropped = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&dropped);
    let backoff = Backoff { min: Duration::from_millis(5), max: Duration::from_millis(20) };
    let config = DispatcherConfig {
        cluster: api.client(),
        http: http_client(ADDRESSES).unwrap(),
        retries: SendRetries { backoff, ..SendRetries::DEFAULT },
        memory: Budget::of(&MemoryPool::new(256 << 20)).notifications,
        report,
        count_dropped: Arc::new(move || *counted.lock().unwrap() += 1),
    };
    (Dispatcher::new(config), dropped)
}

/// A Secret in the namespace `prod`.
pub fn secret(api: &Scenario, name: &str, data: &[(&str, &str)]) {
    let data: BTreeMap<_, _> = data.iter().map(|(key, value)| (*key, base64(value.as_bytes()))).collect();
    let metadata = json!({ "name": name, "namespace": "prod" });
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data });
    api.on("GET", &format!("/api/v1/namespaces/prod/secrets/{name}"), ApiAnswer::ok(secret));
}

fn base64(bytes: &[u8]) -> String {
    serde_json::to_value(k8s_openapi::ByteString(bytes.to_vec())).unwrap().as_str().unwrap().to_owned()
}

fn metadata(name: &str) -> Value {
    json!({ "name": name, "namespace": "prod", "uid": "u", "generation": 1 })
}

fn object(version: &str, kind: &str, name: &str, spec: Value) -> Value {
    let api = format!("notification.toolkit.fluxcd.io/{version}");
    let mut object = json!({ "apiVersion": api, "kind": kind, "metadata": metadata(name) });
    object["spec"] = spec;
    object
}

pub fn alert(name: &str, spec: Value) -> Alert {
    serde_json::from_value(object("v1beta3", "Alert", name, spec)).unwrap()
}

pub fn provider(name: &str, spec: Value) -> Provider {
    serde_json::from_value(object("v1beta3", "Provider", name, spec)).unwrap()
}

/// A Receiver that is Ready under this path.
pub fn receiver(name: &str, path: &str, spec: Value) -> Receiver {
    let ready = json!({
        "type": "Ready", "status": "True", "reason": "Succeeded", "message": "",
        "lastTransitionTime": "2026-11-25T06:30:00Z"
    });
    let mut object = object("v1", "Receiver", name, spec);
    object["status"] = json!({ "conditions": [ready], "webhookPath": path });
    serde_json::from_value(object).unwrap()
}

/// An event of the Kustomization `prod/apps`.
pub fn event(message: &str) -> Event {
    serde_json::from_value(event_json(message)).unwrap()
}

pub fn event_json(message: &str) -> Value {
    json!({
        "involvedObject": {
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "namespace": "prod",
            "name": "apps", "uid": "1"
        },
        "severity": "info", "timestamp": "2026-11-25T06:30:00Z", "message": message,
        "reason": "ReconciliationSucceeded", "reportingController": "kustomize-controller",
        "metadata": { "kustomize.toolkit.fluxcd.io/revision": "main@sha1:1" }
    })
}
