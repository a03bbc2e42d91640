//! Many OCIRepositories of one registry, polled every minute, of which nothing changes. Requests are counted by the registry.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use plumb_plane::{Plane, PlaneOptions};
use plumb_testkit::{
    archive::tar_gz,
    controllers::{Controllers, ControllersOptions, NAMESPACE, SOURCE},
    kinds,
    registry::{FLUX_LAYER, Registry},
    sink::Sink,
};
use serde_json::json;

use super::{Arguments, Section, cpu_seconds, objects::Objects};
use crate::bench::load;

/// The poll interval of every object.
const INTERVAL: Duration = Duration::from_mins(1);
/// How many requests a poll may cost, and which part of a core all polls may take.
const REQUESTS_MAX: f64 = 1.0;
const CORE_MAX: f64 = 0.03;

/// What was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Measured {
    /// Until all objects are Ready, in seconds.
    cold: f64,
    /// Requests at the registry, for each object and interval.
    requests: f64,
    /// The part of a core that source-controller takes.
    core: f64,
    /// Resident memory at the end, in MiB.
    resident: f64,
}

/// Measures.
pub fn run(arguments: &Arguments, binaries: &Path) -> Result<Section> {
    let plane = Plane::start(&PlaneOptions::default())?;
    let (registry, sink) = (Registry::plain()?, Sink::start()?);
    let layer = tar_gz(&[("settings.yaml", b"a: b\n", 0o644)]);
    registry.push("latest", &[(FLUX_LAYER, &layer)], &json!({}));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let client = runtime.block_on(plane.client())?;
    runtime.block_on(load::prepare(&client))?;
    let options = ControllersOptions {
        names: vec![SOURCE],
        namespace: None,
        flags: BTreeMap::from([(SOURCE, vec!["--concurrent=10".to_owned()])]),
        ..ControllersOptions::with_sink(sink.address())
    };
    let controllers = Controllers::start(&plane, binaries, &options)?;
    let process = controllers.id(SOURCE).context("source-controller does not run")?;
    let began = Instant::now();
    let sources = Objects { api: kinds::namespaced(&client, "OCIRepository", NAMESPACE)?, runtime: &runtime };
    let all = (0..arguments.repositories).map(|number| source(&registry, number)).collect();
    sources.create_all(all).with_context(|| controllers.last_lines())?;
    let cold = began.elapsed().as_secs_f64();
    eprintln!("all Ready after {cold:.0} s; measuring for {} min", arguments.intervals);
    // The first polls come with the jitter of the intervals: one interval later all objects are polled evenly.
    std::thread::sleep(INTERVAL);
    let (cpu, _) = (cpu_seconds(process)?, registry.take_calls());
    let started = Instant::now();
    std::thread::sleep(INTERVAL * arguments.intervals);
    let (seconds, used) = (started.elapsed().as_secs_f64(), cpu_seconds(process)? - cpu);
    let polls = f64::from(arguments.repositories) * seconds / INTERVAL.as_secs_f64();
    let requests = u32::try_from(registry.take_calls().len()).unwrap_or(u32::MAX);
    let resident = load::resident(process).context("source-controller has ended")?;
    let measured = Measured { cold, requests: f64::from(requests) / polls, core: used / seconds, resident };
    Ok(Section { table: table(arguments, measured), missed: misses(measured) })
}

fn source(registry: &Registry, number: u32) -> serde_json::Value {
    json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository",
        "metadata": { "name": format!("app-{number:04}") },
        "spec": { "interval": "1m", "url": registry.url(&format!("org/app-{number:04}")) },
    })
}

/// What does not meet its target; empty if everything does.
fn misses(measured: Measured) -> Vec<String> {
    let mut missed = Vec::new();
    // A jitter of the intervals moves some polls in or out of the time that is measured.
    if measured.requests > REQUESTS_MAX * 1.05 {
        missed.push(format!("a poll costs {:.2} requests, at most {REQUESTS_MAX}", measured.requests));
    }
    if measured.core > CORE_MAX {
        missed.push(format!("all polls take {:.3} of a core, at most {CORE_MAX}", measured.core));
    }
    missed
}

fn table(arguments: &Arguments, measured: Measured) -> String {
    let Measured { cold, requests, core, resident } = measured;
    format!(
        "{} OCIRepositories of one registry, interval 1 min, {} intervals, nothing changes\n\n\
         | | | target |\n|---|---|---|\n\
         | until all are Ready | {cold:.1} s | |\n\
         | requests at the registry, per object and interval | {requests:.2} | ≤ {REQUESTS_MAX} |\n\
         | CPU | {:.2} % of a core | ≤ {:.0} % |\n\
         | RSS | {resident:.1} MiB | |",
        arguments.repositories,
        arguments.intervals,
        core * 100.0,
        CORE_MAX * 100.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_that_is_missed_is_named() {
        let good = Measured { cold: 1.0, requests: 1.02, core: 0.01, resident: 20.0 };
        assert_eq!(misses(good), Vec::<String>::new());
        assert!(misses(Measured { requests: 2.0, ..good })[0].contains("2.00 requests"));
        assert!(misses(Measured { core: 0.2, ..good })[0].contains("0.200 of a core"));
    }
}
