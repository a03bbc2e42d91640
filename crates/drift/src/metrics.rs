//! What is counted of drift. Labels name owners that exist, and classes from a closed set.

use std::collections::BTreeMap;
use std::sync::Arc;

use plumb_api::kustomize::DriftClass;
use plumb_runtime::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets_range};

use crate::state::{Measurement, OwnerRef};

/// The bounds of a detection or a correction, in seconds.
const SECONDS: (f64, f64) = (0.001, 60.0);
const BUCKETS: u16 = 14;

/// The metrics of a loop. Clones share them.
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

    /// Counts.
    pub(crate) fn measure(&self, measurement: Measurement) {
        match measurement {
            Measurement::Detected(took) => self.0.detect.observe(took.as_secs_f64()),
            Measurement::Corrected(owner, took) => {
                self.0.correct.observe(took.as_secs_f64());
                self.0.corrections.get_or_create(&labels(&owner)).inc();
            }
            Measurement::Objects { owner, before, now, open } => {
                self.count(before, now);
                self.open(&owner, open);
            }
            Measurement::Forgotten(owner, counted) => {
                self.count(counted, (0, 0));
                self.open(&owner, Vec::new());
                self.0.corrections.remove(&labels(&owner));
            }
        }
    }

    /// Managed and unverified objects of one owner, before and now.
    fn count(&self, before: (usize, usize), now: (usize, usize)) {
        let step = |gauge: &Gauge, before: usize, now: usize| {
            if before != now {
                gauge.inc_by(whole(now) - whole(before));
            }
        };
        step(&self.0.managed, before.0, now.0);
        step(&self.0.unverified, before.1, now.1);
    }

    fn open(&self, owner: &OwnerRef, classes: Vec<DriftClass>) {
        let mut counts: BTreeMap<DriftClass, usize> = BTreeMap::new();
        for class in classes {
            *counts.entry(class).or_default() += 1;
        }
        for class in DriftClass::ALL {
            let labels = of_class(owner, *class);
            match counts.get(class) {
                Some(count) => {
                    self.0.objects.get_or_create(&labels).set(whole(*count));
                }
                None => {
                    self.0.objects.remove(&labels);
                }
            }
        }
    }
}

fn labels(owner: &OwnerRef) -> OwnerLabels {
    OwnerLabels { kind: owner.kind, name: owner.name.name.clone(), namespace: owner.name.namespace.clone() }
}

fn of_class(owner: &OwnerRef, class: DriftClass) -> ClassLabels {
    let OwnerLabels { kind, name, namespace } = labels(owner);
    ClassLabels { kind, name, namespace, class: class.as_str() }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
