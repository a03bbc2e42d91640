//! Resident memory of processes over time. Linux only: it is read from `/proc`.

use std::{fs, time::Duration};

use tokio::time::{Instant, interval};

/// How often memory is read.
const PERIOD: Duration = Duration::from_secs(1);

/// MiB of each process, by time.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<(&'static str, Vec<f64>)>);

/// How the memory of one process developed, in MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Growth {
    /// The mean of the second quarter of the time.
    pub second: f64,
    /// The mean of the last quarter.
    pub last: f64,
    /// The highest value.
    pub peak: f64,
}

impl Growth {
    /// The last quarter by the second.
    pub fn factor(self) -> f64 {
        self.last / self.second.max(f64::MIN_POSITIVE)
    }

    fn of(values: &[f64]) -> Self {
        let quarter = |number: usize| {
            let part = &values[values.len() * number / 4..values.len() * (number + 1) / 4];
            #[expect(clippy::cast_precision_loss, reason = "a few thousand samples")]
            let count = part.len().max(1) as f64;
            part.iter().sum::<f64>() / count
        };
        Self { second: quarter(1), last: quarter(3), peak: values.iter().copied().fold(0.0, f64::max) }
    }
}

impl Samples {
    /// Reads for this long; none if a process ends meanwhile.
    pub async fn take(processes: &[(&'static str, u32)], time: Duration) -> Option<Self> {
        let mut samples = Self(processes.iter().map(|(name, _)| (*name, Vec::new())).collect());
        let (end, mut ticks) = (Instant::now() + time, interval(PERIOD));
        while Instant::now() < end {
            ticks.tick().await;
            for ((_, process), (_, values)) in processes.iter().zip(&mut samples.0) {
                values.push(resident(*process)?);
            }
        }
        Some(samples)
    }

    /// How each process developed.
    pub fn growths(&self) -> Vec<(&'static str, Growth)> {
        self.0.iter().map(|(name, values)| (*name, Growth::of(values))).collect()
    }
}

/// `VmRSS` of a process in MiB; none if it has ended.
pub fn resident(process: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u32 = line.split_whitespace().next()?.parse().ok()?;
    Some(f64::from(kib) / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarters_are_compared_by_their_means() {
        let values = [9.0, 9.0, 2.0, 4.0, 5.0, 5.0, 6.0, 6.0];
        let growth = Growth::of(&values);
        assert_eq!(growth, Growth { second: 3.0, last: 6.0, peak: 9.0 });
        assert!((growth.factor() - 2.0).abs() < 1e-9);
    }

    #[test]
    fn our_own_memory_can_be_read_and_that_of_no_process_cannot() {
        assert!(resident(std::process::id()).is_some_and(|mib| mib > 0.1));
        assert_eq!(resident(u32::MAX), None);
    }
}
