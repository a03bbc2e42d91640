//! What is counted and measured. Labels come from closed sets, or from the names of objects that exist.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use plumb_cluster::NamespacedName;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets_range};
use prometheus_client::registry::{Metric, Registry};

use crate::process::ProcessMetrics;
use crate::processing::{Processing, Started};

/// The bounds of the duration of an attempt, in seconds.
const SECONDS: (f64, f64) = (0.01, 1800.0);
const BUCKETS: u16 = 10;

/// The metrics of a controller. Clones share them.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Mutex<Registry>,
    durations: Family<ObjectLabels, Histogram, fn() -> Histogram>,
    reconciles: Family<ResultLabels, Counter>,
    errors: Family<ControllerLabels, Counter>,
    active: Family<ControllerLabels, Gauge>,
    concurrent: Family<ControllerLabels, Gauge>,
    dropped: Family<QueueLabels, Counter>,
    refused: Family<PortLabels, Counter>,
    leading: Family<NameLabels, Gauge>,
    depth: Family<NameLabels, Gauge>,
    times: Family<ControllerLabels, Histogram, fn() -> Histogram>,
    requests: Family<RequestLabels, Counter>,
    processing: Processing,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    code: String,
    host: String,
    method: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ObjectLabels {
    kind: String,
    name: String,
    namespace: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    controller: String,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ControllerLabels {
    controller: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabels {
    queue: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PortLabels {
    port: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NameLabels {
    name: String,
}

impl Default for Metrics {
    fn default() -> Self {
        let durations: fn() -> Histogram =
            || Histogram::new(exponential_buckets_range(SECONDS.0, SECONDS.1, BUCKETS));
        let inner = Inner {
            registry: Mutex::default(),
            durations: Family::new_with_constructor(durations),
            reconciles: Family::default(),
            errors: Family::default(),
            active: Family::default(),
            concurrent: Family::default(),
            dropped: Family::default(),
            refused: Family::default(),
            leading: Family::default(),
            depth: Family::default(),
            times: Family::new_with_constructor(durations),
            requests: Family::default(),
            processing: Processing::default(),
        };
        let metrics = Self(Arc::new(inner));
        let all = &metrics.0;
        metrics.register(
            "gotk_reconcile_duration_seconds",
            "Duration of reconciliations in seconds",
            all.durations.clone(),
        );
        metrics.register(
            "controller_runtime_reconcile",
            "Total number of reconciliations by result",
            all.reconciles.clone(),
        );
        metrics.register(
            "controller_runtime_reconcile_errors",
            "Total number of failed reconciliations",
            all.errors.clone(),
        );
        metrics.register("controller_runtime_active_workers", "Number of active workers", all.active.clone());
        metrics.register(
            "controller_runtime_max_concurrent_reconciles",
            "Maximum number of concurrent reconciliations",
            all.concurrent.clone(),
        );
        metrics.register(
            "plumb_events_dropped",
            "Total number of events that were not delivered",
            all.dropped.clone(),
        );
        let refused = "Total number of connections closed because a limit was exceeded";
        metrics.register("plumb_http_connections_refused", refused, all.refused.clone());
        metrics.register(
            "leader_election_master_status",
            "1 if this process is the leader, else 0",
            all.leading.clone(),
        );
        metrics.register("workqueue_depth", "Number of queued objects", all.depth.clone());
        metrics.register(
            "controller_runtime_reconcile_time_seconds",
            "Duration of reconciliations by controller in seconds",
            all.times.clone(),
        );
        metrics.register(
            "rest_client_requests",
            "Total number of requests to the API server by code, method and host",
            all.requests.clone(),
        );
        metrics.register_collector(all.processing.clone());
        metrics.register_collector(ProcessMetrics);
        metrics
    }
}

impl Metrics {
    /// Adds a metric. A counter's name comes without `_total`.
    pub fn register(&self, name: &str, help: &str, metric: impl Metric) {
        self.0.registry.lock().unwrap_or_else(PoisonError::into_inner).register(name, help, metric);
    }

    /// Adds a gauge whose value is read when it is scraped.
    pub fn register_read_gauge(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> i64 + Send + Sync + 'static,
    ) {
        self.register_collector(ReadGauge { name, help, read: Box::new(read) });
    }

    /// Adds a counter whose value is read when it is scraped. Its name comes without `_total`.
    pub fn register_read_counter(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        self.register_collector(ReadCounter { name, help, read: Box::new(read) });
    }

    /// Adds metrics that are read when they are scraped.
    pub(crate) fn register_collector(&self, collector: impl Collector) {
        self.0
            .registry
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .register_collector(Box::new(collector));
    }

    /// Everything, as text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let registry = self.0.registry.lock().unwrap_or_else(PoisonError::into_inner);
        if prometheus_client::encoding::text::encode(&mut text, &registry).is_err() {
            // A metric that cannot be written must not take the others with it.
            let _ = writeln!(text, "# EOF");
        }
        text
    }

    pub(crate) fn attempt_ended(
        &self,
        kind: &str,
        key: &NamespacedName,
        result: &'static str,
        took: Duration,
    ) {
        let labels =
            ObjectLabels { kind: kind.into(), name: key.name.clone(), namespace: key.namespace.clone() };
        self.0.durations.get_or_create(&labels).observe(took.as_secs_f64());
        let controller = kind.to_lowercase();
        let of_controller = ControllerLabels { controller: controller.clone() };
        self.0.times.get_or_create(&of_controller).observe(took.as_secs_f64());
        self.0.reconciles.get_or_create(&ResultLabels { controller, result }).inc();
        if result == "error" {
            self.0.errors.get_or_create(&of_controller).inc();
        }
    }

    /// A reconciliation of a kind goes on until the result is dropped.
    pub(crate) fn reconciling(&self, kind: &str) -> Started {
        self.0.processing.begin(kind)
    }

    /// Counts a request to the API server.
    pub(crate) fn request_sent(&self, host: &str, method: &str, code: String) {
        let labels = RequestLabels { code, host: host.to_owned(), method: method.to_owned() };
        self.0.requests.get_or_create(&labels).inc();
    }

    pub(crate) fn connection_refused(&self, port: &'static str, reason: &'static str) {
        self.0.refused.get_or_create(&PortLabels { port, reason }).inc();
    }

    pub(crate) fn forget(&self, kind: &str, key: &NamespacedName) {
        let labels =
            ObjectLabels { kind: kind.into(), name: key.name.clone(), namespace: key.namespace.clone() };
        self.0.durations.remove(&labels);
    }

    pub(crate) fn workers(&self, kind: &str, active: usize, most: usize, waiting: usize) {
        let whole = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let labels = ControllerLabels { controller: kind.to_lowercase() };
        self.0.active.get_or_create(&labels).set(whole(active));
        self.0.concurrent.get_or_create(&labels).set(whole(most));
        self.0.depth.get_or_create(&NameLabels { name: kind.to_lowercase() }).set(whole(waiting));
    }

    pub(crate) fn leads(&self, name: &str, leads: bool) {
        self.0.leading.get_or_create(&NameLabels { name: name.into() }).set(i64::from(leads));
    }

    /// Counts an event or a notification that found no room in a queue, or was not delivered.
    pub fn dropped(&self, queue: &'static str) {
        self.0.dropped.get_or_create(&QueueLabels { queue }).inc();
    }
}

/// A gauge whose value belongs to somebody else.
struct ReadGauge {
    name: &'static str,
    help: &'static str,
    read: Box<dyn Fn() -> i64 + Send + Sync>,
}

impl std::fmt::Debug for ReadGauge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadGauge").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Collector for ReadGauge {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let gauge = ConstGauge::new((self.read)());
        gauge.encode(encoder.encode_descriptor(self.name, self.help, None, gauge.metric_type())?)
    }
}

/// A counter whose value belongs to somebody else.
struct ReadCounter {
    name: &'static str,
    help: &'static str,
    read: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl std::fmt::Debug for ReadCounter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadCounter").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Collector for ReadCounter {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let counter = ConstCounter::new((self.read)());
        counter.encode(encoder.encode_descriptor(self.name, self.help, None, counter.metric_type())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_is_read_when_it_is_scraped() {
        let metrics = Metrics::default();
        let value = Arc::new(std::sync::atomic::AtomicI64::new(1));
        let read = Arc::clone(&value);
        metrics.register_read_gauge("x_threads", "Threads", move || {
            read.load(std::sync::atomic::Ordering::Relaxed)
        });
        assert!(metrics.render().contains("x_threads 1\n"));
        value.store(7, std::sync::atomic::Ordering::Relaxed);
        assert!(metrics.render().contains("x_threads 7\n"));
    }

    #[test]
    fn the_names_are_those_that_dashboards_ask_for() {
        let metrics = Metrics::default();
        let key = NamespacedName::new("flux-system", "apps");
        metrics.attempt_ended("Kustomization", &key, "success", Duration::from_secs(1));
        metrics.attempt_ended("Kustomization", &key, "error", Duration::from_secs(1));
        let _going = metrics.reconciling("Kustomization");
        metrics.dropped("wire");
        metrics.leads("kc", true);
        let text = metrics.render();
        for line in [
            r#"gotk_reconcile_duration_seconds_count{kind="Kustomization",name="apps",namespace="flux-system"} 2"#,
            r#"controller_runtime_reconcile_total{controller="kustomization",result="success"} 1"#,
            r#"controller_runtime_reconcile_errors_total{controller="kustomization"} 1"#,
            r#"plumb_events_dropped_total{queue="wire"} 1"#,
            r#"leader_election_master_status{name="kc"} 1"#,
            r#"controller_runtime_reconcile_time_seconds_count{controller="kustomization"} 2"#,
            r#"workqueue_longest_running_processor_seconds{name="kustomization"} "#,
            r#"workqueue_unfinished_work_seconds{name="kustomization"} "#,
            "process_cpu_seconds_total ",
            "process_resident_memory_bytes ",
            "process_open_fds ",
            "process_max_fds ",
            "process_start_time_seconds 1",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        metrics.forget("Kustomization", &key);
        assert!(!metrics.render().contains("namespace=\"flux-system\""));
    }

    #[test]
    fn series_go_with_their_objects() {
        let metrics = Metrics::default();
        let visit = |name: &str| {
            metrics.attempt_ended("Kustomization", &NamespacedName::new("a", name), "error", Duration::ZERO);
        };
        visit("lives");
        let before = metrics.render().lines().count();
        for number in 0..1_000 {
            visit(&format!("x-{number}"));
        }
        assert!(metrics.render().lines().count() > before + 1_000);
        for number in 0..1_000 {
            metrics.forget("Kustomization", &NamespacedName::new("a", format!("x-{number}")));
        }
        assert_eq!(metrics.render().lines().count(), before);
    }
}
