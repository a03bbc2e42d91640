//! Events: to the cluster as core/v1, and on the wire to notification-controller. They leave through bounded queues of
//! their own; a sink that is down never delays anybody. What finds no room is counted.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event as ClusterEvent, EventSource, ObjectReference as ClusterReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use kube::{Api, Client, Resource, ResourceExt as _};
use plumb_api::event::{Event, ObjectReference, Severity as WireSeverity};
use plumb_api::meta::EVENT_PREFIX;
use plumb_status::message::cut;
use plumb_status::{Audience, EventDraft, Severity, chain};
use plumb_transport::{ClientConfig, Credential, HttpClient, HttpRequest, OriginCredential, shown_text};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::clock::Clock;
use crate::event_token::read_event_token;
use crate::metrics::Metrics;
use plumb_cluster::call;

/// How many events wait in each queue.
const QUEUED_MAX: usize = 1024;
/// How many bytes of events wait in each queue: message and metadata come from outside.
const QUEUED_BYTES_MAX: usize = 4 << 20;
/// How many bytes an event has beside its message and metadata, about.
const EVENT_BYTES: usize = 1 << 10;
/// How many bytes the message of an event in the cluster has: the API server refuses more.
const CLUSTER_BYTES_MAX: usize = 1024;
/// How many bytes the message of an event on the wire has.
const WIRE_BYTES_MAX: usize = 39_000;
/// How many events are remembered in order to count repetitions.
const REMEMBERED_MAX: usize = 4096;
/// How long one delivery on the wire may take.
const WIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// The pauses before a delivery on the wire is tried again.
const WIRE_PAUSES: [Duration; 4] =
    [Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(15)];

/// Tells of events. Clones share the queues.
#[derive(Clone)]
pub struct Recorder(Arc<Inner>);

struct Inner {
    controller: &'static str,
    instance: String,
    clock: Clock,
    metrics: Metrics,
    cluster: QueueEnd,
    wire: Option<QueueEnd>,
}

/// The sending end of a queue.
struct QueueEnd {
    sender: mpsc::Sender<Charged>,
    bytes: Arc<AtomicUsize>,
}

/// An event with the bytes that it holds of its queue's budget.
struct Charged {
    event: Event,
    bytes: usize,
    all: Arc<AtomicUsize>,
}

impl QueueEnd {
    fn new() -> (Self, mpsc::Receiver<Charged>) {
        let (sender, receiver) = mpsc::channel(QUEUED_MAX);
        (Self { sender, bytes: Arc::default() }, receiver)
    }

    /// Whether there was room: for one more event, and for its bytes.
    fn offer(&self, event: Event) -> bool {
        let metadata: usize = event.metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
        let bytes = EVENT_BYTES + event.message.len() + metadata;
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        // Gives its bytes back when it is dropped, also if it finds no room here.
        let charged = Charged { event, bytes, all: Arc::clone(&self.bytes) };
        before + bytes <= QUEUED_BYTES_MAX && self.sender.try_send(charged).is_ok()
    }
}

impl Drop for Charged {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Where events go on the wire.
#[derive(Debug, Clone)]
pub(crate) struct EventAddress {
    /// The URL of notification-controller.
    pub(crate) url: String,
    /// The file with the bearer token, where one is sent.
    pub(crate) token_file: Option<PathBuf>,
}

/// The two ends that do the sending.
pub(crate) struct Senders {
    cluster: mpsc::Receiver<Charged>,
    wire: Option<(EventAddress, mpsc::Receiver<Charged>)>,
    metrics: Metrics,
}

impl Recorder {
    /// A recorder, and what sends for it. Without an address nothing goes on the wire.
    pub(crate) fn new(
        controller: &'static str,
        instance: String,
        address: Option<EventAddress>,
        clock: Clock,
        metrics: Metrics,
    ) -> (Self, Senders) {
        let (cluster, cluster_end) = QueueEnd::new();
        let (wire, wire_end) = match address {
            Some(address) => {
                let (sender, end) = QueueEnd::new();
                (Some(sender), Some((address, end)))
            }
            None => (None, None),
        };
        let senders = Senders { cluster: cluster_end, wire: wire_end, metrics: metrics.clone() };
        (Self(Arc::new(Inner { controller, instance, clock, metrics, cluster, wire })), senders)
    }

    /// Tells of something that happened to an object. Keys of metadata without a group get that of the object. Never
    /// waits.
    pub fn emit<O: Resource<DynamicType = ()>>(&self, object: &O, event: EventDraft) {
        self.emit_as(&ApiResource::erase::<O>(&()), object, event);
    }

    /// The same for an object whose type is known by its resource.
    pub fn emit_as<O: Resource>(&self, resource: &ApiResource, object: &O, event: EventDraft) {
        let EventDraft { severity, reason, message, metadata, audience } = event;
        let mut words: BTreeMap<String, String> = object
            .annotations()
            .iter()
            .filter(|(key, _)| key.starts_with(EVENT_PREFIX))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        for (key, value) in metadata {
            let key = if key.contains('/') { key } else { format!("{}/{key}", resource.group) };
            words.insert(key, value);
        }
        let event = Event {
            involved_object: ObjectReference {
                kind: resource.kind.clone(),
                namespace: object.namespace().unwrap_or_default(),
                name: object.name_any(),
                uid: object.uid().unwrap_or_default(),
                api_version: resource.api_version.clone(),
                resource_version: object.resource_version().unwrap_or_default(),
                field_path: String::new(),
            },
            severity: match severity {
                Severity::Trace => WireSeverity::Trace,
                Severity::Info => WireSeverity::Info,
                Severity::Error => WireSeverity::Error,
            },
            timestamp: plumb_status::condition::whole_seconds(self.0.clock.now()),
            message,
            reason: reason.as_str().to_owned(),
            metadata: words,
            reporting_controller: self.0.controller.to_owned(),
            reporting_instance: self.0.instance.clone(),
        };
        self.send(event, severity, audience);
    }

    fn send(&self, mut event: Event, severity: Severity, audience: Audience) {
        let inner = &self.0;
        let on_wire = matches!(audience, Audience::Everyone | Audience::Wire)
            && severity != Severity::Trace
            && !event.involved_object.namespace.is_empty();
        if on_wire && let Some(wire) = &inner.wire {
            let mut event = event.clone();
            event.message = cut(&event.message, WIRE_BYTES_MAX);
            if !wire.offer(event) {
                inner.metrics.dropped("wire");
            }
        }
        if matches!(audience, Audience::Everyone | Audience::Cluster) {
            event.message = cut(&event.message, CLUSTER_BYTES_MAX);
            if !inner.cluster.offer(event) {
                inner.metrics.dropped("cluster");
            }
        }
    }
}

impl Senders {
    /// Sends until `closing`, and then what is in the queues by then.
    pub(crate) async fn run(self, client: Client, closing: CancellationToken) {
        let Self { cluster, wire, metrics } = self;
        let wire = async {
            if let Some((address, queue)) = wire {
                send_wire(address, Queued { queue, closing: closing.clone() }, metrics.clone()).await;
            }
        };
        tokio::join!(
            send_cluster(client, Queued { queue: cluster, closing: closing.clone() }, metrics.clone()),
            wire
        );
    }
}

/// The receiving end of a queue.
struct Queued {
    queue: mpsc::Receiver<Charged>,
    closing: CancellationToken,
}

impl Queued {
    /// The next event; none when all recorders are gone, or when the queue is empty at the end.
    async fn next(&mut self) -> Option<Charged> {
        tokio::select! {
            biased;
            event = self.queue.recv() => event,
            () = self.closing.cancelled() => self.queue.try_recv().ok(),
        }
    }
}

async fn send_wire(address: EventAddress, mut queue: Queued, metrics: Metrics) {
    let client = match HttpClient::new(ClientConfig::default()) {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(error = %chain(&error), "failed to set up the HTTP client for events");
            return;
        }
    };
    while let Some(event) = queue.next().await {
        if let Err(error) = deliver(&client, &address, &event.event).await {
            metrics.dropped("wire");
            warn_lost(&event.event, &error, "failed to deliver event");
        }
    }
}

/// One delivery. A rejected event is not sent again: only a missing response and faults of the receiver are retried.
async fn deliver(client: &HttpClient, address: &EventAddress, event: &Event) -> Result<(), String> {
    let request = request(address, event).await?;
    let mut pauses = WIRE_PAUSES.iter();
    loop {
        let error = match client.send(request.clone()).await.map(|answer| answer.status()) {
            Ok(status) if status.is_success() => return Ok(()),
            // A repetition within the receiver's window: it has heard of it.
            Ok(StatusCode::TOO_MANY_REQUESTS) => return Ok(()),
            Ok(status) if status.is_client_error() => return Err(format!("answered {status}")),
            Ok(status) => format!("answered {status}"),
            Err(error) => chain(&error),
        };
        match pauses.next() {
            Some(pause) => tokio::time::sleep(*pause).await,
            None => return Err(error),
        }
    }
}

async fn request(address: &EventAddress, event: &Event) -> Result<HttpRequest, String> {
    let url = Url::parse(&address.url)
        .map_err(|error| format!("--events-addr={:?} is not a URL: {error}", shown_text(&address.url)))?;
    let body = serde_json::to_vec(event).map_err(|error| chain(&error))?;
    let request = HttpRequest::post(url.clone(), body)
        .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .timeout(WIRE_TIMEOUT);
    let Some(file) = &address.token_file else { return Ok(request) };
    let unreadable =
        |error: &dyn std::error::Error| format!("the token in {} cannot be read: {error}", file.display());
    let token = read_event_token(file).await.map_err(|error| unreadable(&error))?;
    let credential = OriginCredential::new(&url, &Credential::Bearer { token });
    Ok(request.credential(credential.map_err(|error| unreadable(&error))?))
}

fn warn_lost(event: &Event, error: &str, what: &'static str) {
    let ObjectReference { kind, name, namespace, .. } = &event.involved_object;
    tracing::warn!(kind, name, namespace, error, "{what}");
}

type EventSeries = Mutex<BTreeMap<(String, String, String), (String, i32)>>;

async fn send_cluster(client: Client, mut queue: Queued, metrics: Metrics) {
    let series = EventSeries::default();
    while let Some(event) = queue.next().await {
        if let Err(error) = note(&client, &series, &event.event).await {
            metrics.dropped("cluster");
            warn_lost(&event.event, &chain(&error), "failed to write Kubernetes event");
        }
    }
}

/// Writes an event, or counts the one that says the same already.
async fn note(client: &Client, series: &EventSeries, event: &Event) -> Result<(), plumb_cluster::CallError> {
    let object = &event.involved_object;
    let namespace = if object.namespace.is_empty() { "default" } else { &object.namespace };
    let api: Api<ClusterEvent> = Api::namespaced(client.clone(), namespace);
    let message = event.message.clone();
    let same = (format!("{}/{}", object.kind, object.uid), event.reason.clone(), message.clone());
    let known = series.lock().unwrap_or_else(PoisonError::into_inner).get(&same).cloned();
    if let Some((name, count)) = known {
        let count = count.saturating_add(1);
        let patch = json!({ "count": count, "lastTimestamp": Time(event.timestamp), "metadata": { "annotations": event.metadata } });
        match call(api.patch_metadata(&name, &PatchParams::default(), &Patch::Merge(&patch))).await {
            Ok(_) => {
                series.lock().unwrap_or_else(PoisonError::into_inner).insert(same, (name, count));
                return Ok(());
            }
            Err(error) if error.code() == Some(404) => {}
            Err(error) => return Err(error),
        }
    }
    let body = cluster_event(event, message, namespace);
    let name = body.name_any();
    call(api.create(&PostParams::default(), &body)).await?;
    let mut series = series.lock().unwrap_or_else(PoisonError::into_inner);
    if series.len() >= REMEMBERED_MAX {
        series.clear();
    }
    series.insert(same, (name, 1));
    Ok(())
}

fn cluster_event(event: &Event, message: String, namespace: &str) -> ClusterEvent {
    let object = &event.involved_object;
    let mut body = ClusterEvent::default();
    body.metadata.namespace = Some(namespace.to_owned());
    body.metadata.name = Some(format!("{}.{}", object.name, unique(event.timestamp)));
    if !event.metadata.is_empty() {
        body.metadata.annotations = Some(event.metadata.clone());
    }
    body.involved_object = ClusterReference {
        api_version: Some(object.api_version.clone()),
        kind: Some(object.kind.clone()),
        name: Some(object.name.clone()),
        namespace: Some(object.namespace.clone()),
        uid: Some(object.uid.clone()),
        resource_version: Some(object.resource_version.clone()),
        field_path: None,
    };
    body.type_ = Some(if event.severity == WireSeverity::Error { "Warning" } else { "Normal" }.to_owned());
    body.reason = Some(event.reason.clone());
    body.message = Some(message);
    body.count = Some(1);
    body.first_timestamp = Some(Time(event.timestamp));
    body.last_timestamp = Some(Time(event.timestamp));
    body.source = Some(EventSource { component: Some(event.reporting_controller.clone()), host: None });
    body.reporting_component = Some(event.reporting_controller.clone());
    body.reporting_instance = Some(event.reporting_instance.clone());
    body
}

/// Sixteen hexadecimal digits that no other event has.
fn unique(at: Timestamp) -> String {
    let chance = uuid::Uuid::new_v4().as_u128();
    let low = u32::try_from(chance & u128::from(u32::MAX)).unwrap_or_default();
    format!("{:08x}{low:08x}", at.as_second() & 0xffff_ffff)
}

#[cfg(test)]
mod tests;
