//! What the kernel tells of this process, as Prometheus clients name it. Read when it is scraped.

use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Units of processor time a second, in which Linux tells it to processes.
const TICKS_PER_SECOND: f64 = 100.0;
/// Fields of /proc/self/stat after the name of the program, from 0: processor time in user and kernel mode, and the start.
const USER_TICKS: usize = 11;
const KERNEL_TICKS: usize = 12;
const START_TICKS: usize = 19;

/// A collector of the process's metrics. A figure that cannot be read is left out.
#[derive(Debug)]
pub(crate) struct ProcessMetrics;

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        if let (Some(user), Some(kernel)) = (ticks(&stat, USER_TICKS), ticks(&stat, KERNEL_TICKS)) {
            let counter = ConstCounter::new((user + kernel) / TICKS_PER_SECOND);
            let help = "Total user and system CPU time spent in seconds";
            counter.encode(encoder.encode_descriptor(
                "process_cpu_seconds",
                help,
                None,
                counter.metric_type(),
            )?)?;
        }
        let started = fs::read_to_string("/proc/stat").ok().and_then(|text| start_seconds(&text, &stat));
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let open = fs::read_dir("/proc/self/fd").ok().map(|entries| whole(entries.count()));
        for (name, help, value) in [
            ("process_start_time_seconds", "Start time of the process since unix epoch in seconds", started),
            ("process_resident_memory_bytes", "Resident memory size in bytes", kibibytes(&status, "VmRSS:")),
            ("process_virtual_memory_bytes", "Virtual memory size in bytes", kibibytes(&status, "VmSize:")),
            ("process_open_fds", "Number of open file descriptors", open),
            ("process_max_fds", "Maximum number of open file descriptors", max_files(&limits)),
        ] {
            let Some(value) = value else { continue };
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

fn whole(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

/// A field of /proc/self/stat. The name of the program, in parentheses, may hold spaces and parentheses.
fn ticks(stat: &str, field: usize) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(field)?.parse().ok()
}

/// When the process was started, in seconds since 1970.
fn start_seconds(system_stat: &str, stat: &str) -> Option<f64> {
    let boot: f64 = system_stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + ticks(stat, START_TICKS)? / TICKS_PER_SECOND)
}

/// A line of /proc/self/status that is in kibibytes, in bytes.
fn kibibytes(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}

/// The soft limit of open files.
fn max_files(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_as_the_kernel_writes_them() {
        let fields: Vec<String> = (0..50).map(|number| (number * 100).to_string()).collect();
        let stat = format!("42 (a ) b) {}", fields.join(" "));
        assert_eq!((ticks(&stat, USER_TICKS), ticks(&stat, KERNEL_TICKS)), (Some(1100.0), Some(1200.0)));
        assert_eq!(start_seconds("cpu 1\nbtime 1000\n", &stat), Some(1019.0));
        let status = "Name:\tx\nVmSize:\t    2000 kB\nVmRSS:\t      10 kB\n";
        assert_eq!((kibibytes(status, "VmRSS:"), kibibytes(status, "VmSwap:")), (Some(10_240.0), None));
        let limits = "Max open files            1024                 4096                 files\n";
        assert_eq!(max_files(limits), Some(1024.0));
        assert_eq!((max_files(""), ticks("", 1), start_seconds("", "")), (None, None, None));
    }
}
