//! How long the reconciliations that go on have taken so far, by kind. Read when it is scraped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::time::Instant;

/// What goes on. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Processing(Arc<Mutex<BTreeMap<String, Kind>>>);

#[derive(Debug, Default)]
struct Kind {
    next: u64,
    started: BTreeMap<u64, Instant>,
}

/// A reconciliation that goes on until this is dropped.
pub(crate) struct Started {
    processing: Processing,
    kind: String,
    number: u64,
}

impl Processing {
    /// A reconciliation of a kind begins.
    pub(crate) fn begin(&self, kind: &str) -> Started {
        let kind = kind.to_lowercase();
        let mut all = self.lock();
        let of_kind = all.entry(kind.clone()).or_default();
        let number = of_kind.next;
        of_kind.next += 1;
        of_kind.started.insert(number, Instant::now());
        Started { processing: self.clone(), kind, number }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Kind>> {
        // Each change of the map is whole before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seconds of the longest reconciliation that goes on, and of all of them, by kind.
    fn seconds(&self) -> Vec<(String, f64, f64)> {
        let of = |(kind, Kind { started, .. }): (&String, &Kind)| {
            let seconds = started.values().map(|begun| begun.elapsed().as_secs_f64());
            (kind.clone(), seconds.clone().fold(0.0, f64::max), seconds.sum())
        };
        self.lock().iter().map(of).collect()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(kind) = self.processing.lock().get_mut(&self.kind) {
            kind.started.remove(&self.number);
        }
    }
}

impl Collector for Processing {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let all = self.seconds();
        for (name, help, longest) in [
            (
                "workqueue_longest_running_processor_seconds",
                "Duration of the longest running reconciliation in seconds",
                true,
            ),
            (
                "workqueue_unfinished_work_seconds",
                "Duration of all running reconciliations in seconds",
                false,
            ),
        ] {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (kind, longest_seconds, all_seconds) in &all {
                let gauge = ConstGauge::new(if longest { *longest_seconds } else { *all_seconds });
                gauge.encode(family.encode_family(&[("name", kind.as_str())])?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_longest_and_the_sum_of_what_goes_on_are_told() {
        let processing = Processing::default();
        let first = processing.begin("Kustomization");
        tokio::time::advance(Duration::from_secs(5)).await;
        let second = processing.begin("Kustomization");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(processing.seconds(), [("kustomization".to_owned(), 7.0, 9.0)]);
        drop(first);
        assert_eq!(processing.seconds(), [("kustomization".to_owned(), 2.0, 2.0)]);
        drop(second);
        assert_eq!(processing.seconds(), [("kustomization".to_owned(), 0.0, 0.0)]);
    }
}
