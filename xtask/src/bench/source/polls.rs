//! Many GitRepositories, ten of each URL, polled every minute, of which nothing changes. Requests are counted by the Git server. Flux's
//! source-controller does the same where it can be built.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use plumb_plane::{Plane, PlaneOptions};
use plumb_testkit::{
    controllers::{Controllers, ControllersOptions, NAMESPACE, SOURCE},
    gitserver::{GitServer, GitServerOptions},
    kinds,
    sink::Sink,
};
use serde_json::json;

use super::{Arguments, Section, cpu_seconds, objects::Objects};
use crate::bench::load;

/// The poll interval of every object.
const INTERVAL: Duration = Duration::from_mins(1);
/// GitRepositories of one URL.
const PER_URL: u32 = 10;
/// Targets: requests a minute for each URL, and the part of a core that all polls may take.
const REQUESTS_MAX: f64 = 1.0;
const CORE_MAX: f64 = 0.05;

/// How many times the CPU of Flux has to be ours.
const CPU_TO_FLUX_MIN: f64 = 20.0;

/// What was measured.
#[derive(Clone, Copy, Debug)]
struct Measured {
    ours: Arm,
    /// None where it could not be built.
    flux: Option<Arm>,
}

/// What was measured of one source-controller.
#[derive(Clone, Copy, Debug)]
struct Arm {
    /// Requests at the Git server, for each URL and interval.
    requests: f64,
    /// The part of a core that source-controller takes.
    core: f64,
    /// Resident memory at the end, in MiB.
    resident: f64,
}

/// Measures.
pub fn run(arguments: &Arguments, binaries: &Path) -> Result<Section> {
    let server = GitServer::start(&GitServerOptions::default())?;
    let urls = arguments.git_repositories.div_ceil(PER_URL);
    for number in 0..urls {
        let repository = server.repository(&format!("app-{number:03}"))?;
        repository.write("a.yaml", "a: b\n")?;
        repository.push("one file")?;
    }
    let ours = arm(arguments, &server, urls, binaries)?;
    let flux = super::flux()?.map(|binaries| arm(arguments, &server, urls, &binaries)).transpose()?;
    let measured = Measured { ours, flux };
    Ok(Section { table: table(arguments, urls, measured), missed: misses(measured) })
}

/// Measures one source-controller on a control plane of its own.
fn arm(arguments: &Arguments, server: &GitServer, urls: u32, binaries: &Path) -> Result<Arm> {
    let (plane, sink) = (Plane::start(&PlaneOptions::default())?, Sink::start()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let client = runtime.block_on(plane.client())?;
    runtime.block_on(load::prepare(&client))?;
    let options = ControllersOptions {
        names: vec![SOURCE],
        namespace: None,
        ..ControllersOptions::with_sink(sink.address())
    };
    let controllers = Controllers::start(&plane, binaries, &options)?;
    let process = controllers.id(SOURCE).context("source-controller does not run")?;
    let sources = Objects { api: kinds::namespaced(&client, "GitRepository", NAMESPACE)?, runtime: &runtime };
    let source = |number: u32| {
        json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": { "name": format!("app-{number:04}") },
            "spec": {
                "interval": "1m", "url": server.url(&format!("app-{:03}", number % urls)), "ref": { "branch": "main" },
            },
        })
    };
    let all = (0..arguments.git_repositories).map(source).collect();
    sources.create_all(all).with_context(|| controllers.last_lines())?;
    eprintln!("all Ready; measuring for {} min", arguments.intervals);
    // The first polls come with the jitter of the intervals: one interval later all objects are polled evenly.
    std::thread::sleep(INTERVAL);
    let (cpu, requests, started) = (cpu_seconds(process)?, server.requests(), Instant::now());
    std::thread::sleep(INTERVAL * arguments.intervals);
    let (seconds, used) = (started.elapsed().as_secs_f64(), cpu_seconds(process)? - cpu);
    let requests = u32::try_from(server.requests() - requests).unwrap_or(u32::MAX);
    let polls = f64::from(urls) * seconds / INTERVAL.as_secs_f64();
    let resident = load::resident(process).context("source-controller has ended")?;
    Ok(Arm { requests: f64::from(requests) / polls, core: used / seconds, resident })
}

fn misses(measured: Measured) -> Vec<String> {
    let Measured { ours: Arm { requests, core, resident: _ }, flux } = measured;
    let mut missed = Vec::new();
    // A jitter of the intervals moves some polls in or out of the time that is measured.
    if requests > REQUESTS_MAX * 1.05 {
        missed.push(format!("a URL is asked {requests:.2} times a minute, at most {REQUESTS_MAX}"));
    }
    if core > CORE_MAX {
        missed.push(format!("all polls take {core:.3} of a core, at most {CORE_MAX}"));
    }
    if let Some(flux) = flux.filter(|flux| flux.core < CPU_TO_FLUX_MIN * core) {
        missed.push(format!("Flux takes {:.1} × the CPU, at least {CPU_TO_FLUX_MIN}", flux.core / core));
    }
    missed
}

fn table(arguments: &Arguments, urls: u32, measured: Measured) -> String {
    let Measured { ours: Arm { requests, core, resident }, flux } = measured;
    let flux = |figure: &dyn Fn(Arm) -> String| flux.map_or_else(|| "not built".to_owned(), figure);
    let [of_requests, of_core, of_resident] = [
        flux(&|arm| format!("{:.2}", arm.requests)),
        flux(&|arm| format!("{:.2} %, {:.1} × ours", arm.core * 100.0, arm.core / core)),
        flux(&|arm| format!("{:.1} MiB", arm.resident)),
    ];
    format!(
        "{} GitRepositories of {urls} URLs, interval 1 min, {} intervals, nothing changes\n\n\
         | | Plumb | target | Flux 1.9.3 |\n|---|---|---|---|\n\
         | requests at the Git server, per URL and interval | {requests:.2} | ≤ {REQUESTS_MAX} | {of_requests} |\n\
         | CPU | {:.2} % of a core | ≤ {:.0} % | {of_core} |\n\
         | RSS | {resident:.1} MiB | | {of_resident} |",
        arguments.git_repositories,
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
        let ours = Arm { requests: 1.02, core: 0.01, resident: 20.0 };
        let good = Measured { ours, flux: Some(Arm { core: 0.3, ..ours }) };
        let with = |ours| misses(Measured { ours, ..good });
        assert_eq!(with(ours), Vec::<String>::new());
        assert!(with(Arm { requests: 10.0, ..ours })[0].contains("10.00 times"));
        assert!(with(Arm { core: 0.2, ..ours })[0].contains("0.200 of a core"));
        assert!(with(Arm { core: 0.02, ..ours })[0].contains("Flux takes 15.0 × the CPU"));
    }
}
