//! Measures: what is counted of drift. Labels name Kustomizations that exist, and classes from a closed set.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use plumb_cluster::NamespacedName;
use plumb_planning::drift::Class;
use plumb_runtime::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets_range};

/// The bounds of a detection or a correction, in seconds.
const SECONDS: (f64, f64) = (0.001, 60.0);
const BUCKETS: u16 = 14;

/// The metrics of a desk. Clones share them.
#[derive(Clone)]
pub struct DriftMetrics(Arc<Inner>);

struct Inner {
    objects: Family<ClassLabels, Gauge>,
    corrections: Family<OwnerLabels, Counter>,
    detect: Histogram,
    correct: Histogram,
    managed: Gauge,
    unverified: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassLabels {
    kind: &'static str,
    name: String,
    namespace: String,
    class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OwnerLabels {
    kind: &'static str,
    name: String,
    namespace: String,
}

/// Whose drift it is.
const KIND: &str = "Kustomization";

impl Default for DriftMetrics {
    fn default() -> Self {
        let seconds = || Histogram::new(exponential_buckets_range(SECONDS.0, SECONDS.1, BUCKETS));
        Self(Arc::new(Inner {
            objects: Family::default(),
            corrections: Family::default(),
            detect: seconds(),
            correct: seconds(),
            managed: Gauge::default(),
            unverified: Gauge::default(),
        }))
    }
}

impl DriftMetrics {
    /// Adds them to what the process shows.
    pub fn register(&self, metrics: &Metrics) {
        let Inner { objects, corrections, detect, correct, managed, unverified } = &*self.0;
        metrics.register("plumb_drift_objects", "Number of objects with open drift", objects.clone());
        metrics.register("plumb_drift_corrections", "Total number of corrected objects", corrections.clone());
        metrics.register(
            "plumb_drift_detect_seconds",
            "Seconds from the watch event of a change to its detection as drift",
            detect.clone(),
        );
        metrics.register(
            "plumb_drift_correct_seconds",
            "Seconds from the watch event of a change to its correction",
            correct.clone(),
        );
        metrics.register("plumb_objects_managed", "Number of managed objects", managed.clone());
        metrics.register(
            "plumb_objects_unverified",
            "Number of objects not compared since the start",
            unverified.clone(),
        );
    }

    pub(super) fn detected(&self, took: Duration) {
        self.0.detect.observe(took.as_secs_f64());
    }

    pub(super) fn corrected(&self, key: &NamespacedName, took: Duration) {
        self.0.correct.observe(took.as_secs_f64());
        self.0.corrections.get_or_create(&owner(key)).inc();
    }

    /// Managed and unverified objects of one Kustomization, before and now.
    pub(super) fn counted(&self, before: (usize, usize), now: (usize, usize)) {
        let step = |gauge: &Gauge, before: usize, now: usize| {
            if before != now {
                gauge.inc_by(whole(now) - whole(before));
            }
        };
        step(&self.0.managed, before.0, now.0);
        step(&self.0.unverified, before.1, now.1);
    }

    pub(super) fn standing(&self, key: &NamespacedName, classes: impl Iterator<Item = Class>) {
        let mut counts: BTreeMap<Class, usize> = BTreeMap::new();
        for class in classes {
            *counts.entry(class).or_default() += 1;
        }
        for class in Class::ALL {
            let labels = of_class(key, class);
            match counts.get(&class) {
                Some(count) => {
                    self.0.objects.get_or_create(&labels).set(whole(*count));
                }
                None => {
                    self.0.objects.remove(&labels);
                }
            }
        }
    }

    pub(super) fn forget(&self, key: &NamespacedName, counted: (usize, usize)) {
        self.counted(counted, (0, 0));
        self.standing(key, std::iter::empty());
        self.0.corrections.remove(&owner(key));
    }
}

fn owner(key: &NamespacedName) -> OwnerLabels {
    OwnerLabels { kind: KIND, name: key.name.clone(), namespace: key.namespace.clone() }
}

fn of_class(key: &NamespacedName, class: Class) -> ClassLabels {
    ClassLabels {
        kind: KIND,
        name: key.name.clone(),
        namespace: key.namespace.clone(),
        class: class.as_str(),
    }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
