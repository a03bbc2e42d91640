//! `plumb bench-build DIR N`: the engine in a loop, as `cargo xtask bench build` runs it beside its peers. Everything is
//! done anew in each turn, reading the files included.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use plumb_kustomize::Reach;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use crate::build;

/// Builds before the clock starts.
const WARM_UPS: usize = 3;

/// Arguments of `plumb bench-build`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Directory with the kustomization file.
    directory: PathBuf,
    /// Number of builds.
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    turns: u32,
}

/// Builds in a loop and prints a line of JSON.
pub fn run(arguments: &Arguments) -> Result<()> {
    let directory = build::locate(&arguments.directory)?;
    let once = || -> Result<(usize, usize)> {
        let build = build::build(&directory, Reach::Tree)?;
        Ok((build.objects.len(), build.to_yaml().len()))
    };
    for _ in 0..WARM_UPS {
        once()?;
    }
    let (mut objects, mut bytes) = (0, 0);
    let mut wall = Vec::new();
    let began = cpu();
    for _ in 0..arguments.turns {
        let started = Instant::now();
        (objects, bytes) = once()?;
        wall.push(milliseconds(started.elapsed()));
    }
    let cpu = milliseconds(cpu().saturating_sub(began)) / f64::from(arguments.turns);
    wall.sort_by(f64::total_cmp);
    let median = wall.get(wall.len() / 2).context("at least one turn")?;
    let report = json!({
        "objects": objects, "bytes": bytes, "n": arguments.turns,
        "wall_ms_median": median, "wall_ms_min": wall.first(), "wall_ms_max": wall.last(),
        "cpu_ms_per_build": cpu,
    });
    crate::output::write(&format!("{report}\n"), None)
}

/// Processor time of this process so far.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanoseconds.unwrap_or_default())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
