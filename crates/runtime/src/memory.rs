//! The size of the process's memory budget: a flag, or a share of the container's limit, and its metrics.

use std::fs;

use plumb_memory::MemoryPool;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::metrics::Metrics;

/// The part of the container's memory limit that input may claim, in percent; the rest is the process's own.
const SHARE_PERCENT: u64 = 60;
/// The memory limit of config/manager, assumed where the container has none.
const CONTAINER_BYTES_DEFAULT: u64 = 1 << 30;
/// Where control groups version 2 and version 1 name the limit of the process's own container.
const LIMIT_FILES: [&str; 2] = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
/// Version 1 writes a number near the largest one where there is no limit.
const CONTAINER_BYTES_MAX: u64 = 1 << 50;

/// The pool of the process. `flag` is its size in bytes, 0 for a share of the container's limit.
pub(crate) fn pool(flag: u64, metrics: &Metrics) -> MemoryPool {
    let bytes_max = if flag > 0 { flag } else { share(container_limit()) };
    let pool = MemoryPool::new(bytes_max);
    metrics.register_collector(MemoryMetrics(pool.clone()));
    pool
}

fn share(container_bytes: Option<u64>) -> u64 {
    container_bytes.unwrap_or(CONTAINER_BYTES_DEFAULT) / 100 * SHARE_PERCENT
}

fn container_limit() -> Option<u64> {
    LIMIT_FILES.iter().find_map(|file| parse_limit(&fs::read_to_string(file).ok()?))
}

fn parse_limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes < CONTAINER_BYTES_MAX)
}

/// Reads a quantity of bytes as Kubernetes writes them: `512Mi`, `1G`, `1048576`.
pub(crate) fn parse_quantity(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 7] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("", 1),
    ];
    let invalid = || format!("{text:?} is not a quantity of bytes such as 512Mi");
    let (unit, factor) = UNITS.iter().find(|(unit, _)| text.ends_with(unit)).ok_or_else(invalid)?;
    let number: u64 = text.strip_suffix(unit).and_then(|number| number.parse().ok()).ok_or_else(invalid)?;
    number.checked_mul(*factor).ok_or_else(invalid)
}

/// Reads the figures when they are scraped.
#[derive(Debug)]
struct MemoryMetrics(MemoryPool);

impl Collector for MemoryMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let usage = self.0.usage();
        for (name, help, bytes) in [
            ("plumb_memory_budget_bytes", "Memory budget for data from outside, in bytes", usage.bytes_max),
            (
                "plumb_memory_reserved_bytes",
                "Memory reserved for data from outside, in bytes",
                usage.reserved,
            ),
            (
                "plumb_memory_reserved_peak_bytes",
                "Peak of the memory reserved for data from outside, in bytes",
                usage.peak,
            ),
        ] {
            let gauge = ConstGauge::new(i64::try_from(bytes).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let rejections = ConstCounter::new(usage.rejections);
        let help = "Total number of operations rejected because of a memory limit";
        let descriptor =
            encoder.encode_descriptor("plumb_memory_rejections", help, None, rejections.metric_type())?;
        rejections.encode(descriptor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_a_share_of_the_limit_of_either_version_of_control_groups() {
        assert_eq!(share(parse_limit("1073741824\n")), 644_245_080);
        assert_eq!(share(parse_limit("max\n")), share(None));
        assert_eq!(share(parse_limit("9223372036854771712\n")), share(None));
    }

    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        assert_eq!(parse_quantity("512Mi"), Ok(512 << 20));
        assert_eq!(parse_quantity("1G"), Ok(1_000_000_000));
        assert_eq!(parse_quantity("0"), Ok(0));
        for text in ["", "Mi", "-1", "1.5Gi", "1Ti", "99999999999999999999", "99999999999Gi"] {
            assert!(parse_quantity(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_figures_are_scraped() {
        let metrics = Metrics::default();
        let pool = pool(1 << 20, &metrics);
        let limit = plumb_memory::Limit { name: "files", bytes_max: 4 };
        assert!(pool.reservation("a", limit).try_grow(5).is_err());
        let text = metrics.render();
        assert!(text.contains("plumb_memory_budget_bytes 1048576"), "{text}");
        assert!(text.contains("plumb_memory_rejections_total 1"), "{text}");
    }
}
