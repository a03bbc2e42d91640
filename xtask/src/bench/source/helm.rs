//! A HelmRepository with an index of 20 MB: the first artifact, and polls of which nothing changes.

use std::{collections::BTreeMap, fmt::Write as _, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use plumb_plane::{Plane, PlaneOptions};
use plumb_testkit::{
    controllers::{Controllers, ControllersOptions, NAMESPACE, SOURCE},
    helm::HelmServer,
    kinds,
    sink::Sink,
};
use serde_json::{Value, json};

use super::{Section, cpu_seconds, objects::Objects};
use crate::bench::load;

/// Charts of the index, and versions of each: about 20 MB.
const CHARTS: u32 = 10_000;
const VERSIONS: u32 = 5;
/// Polls of an index that has not changed.
const POLLS: u32 = 20;
/// The pause after which nothing goes on any more.
const QUIET: Duration = Duration::from_secs(2);
/// What the first artifact may cost, in seconds of CPU; and what it may take in memory, in sizes of the index.
const CPU_MAX: f64 = 0.5;
const SIZES_MAX: f64 = 3.0;
/// What a poll of an unchanged index may cost, in seconds of CPU: a parse takes more.
const POLL_CPU_MAX: f64 = 0.02;
const MIB: f64 = 1024.0 * 1024.0;

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Measured {
    /// Of the index, in MiB.
    size: f64,
    /// Until the artifact is stored, in seconds.
    seconds: f64,
    /// CPU until then, in seconds.
    cpu: f64,
    /// The peak of resident memory beyond that before, in MiB.
    grown: f64,
    /// CPU of a poll of which nothing changes, in seconds.
    poll: f64,
}

/// Measures.
pub fn run(binaries: &Path) -> Result<Section> {
    let plane = Plane::start(&PlaneOptions::default())?;
    let (server, sink) = (HelmServer::plain()?, Sink::start()?);
    let index = index()?;
    let size = f64::from(u32::try_from(index.len())?) / MIB;
    server.file("/index.yaml", index);
    server.tags();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let client = runtime.block_on(plane.client())?;
    runtime.block_on(load::prepare(&client))?;
    let options = ControllersOptions {
        names: vec![SOURCE],
        namespace: None,
        flags: BTreeMap::new(),
        ..ControllersOptions::with_sink(sink.address())
    };
    let controllers = Controllers::start(&plane, binaries, &options)?;
    let process = controllers.id(SOURCE).context("source-controller does not run")?;
    std::thread::sleep(QUIET);
    let before = load::resident(process).context("source-controller has ended")?;
    let repositories =
        Objects { api: kinds::namespaced(&client, "HelmRepository", NAMESPACE)?, runtime: &runtime };
    let cpu = cpu_seconds(process)?;
    let (seconds, artifact) =
        repositories.create(source(&server)).with_context(|| controllers.last_lines())?;
    std::thread::sleep(QUIET);
    let cpu = cpu_seconds(process)? - cpu;
    let grown = peak(process)? - before;
    let revision = artifact.get("revision").and_then(Value::as_str).unwrap_or_default();
    let polled = cpu_seconds(process)?;
    for poll in 0..POLLS {
        repositories.reconcile("charts", usize::try_from(poll)?, revision)?;
    }
    std::thread::sleep(QUIET);
    let poll = (cpu_seconds(process)? - polled) / f64::from(POLLS);
    let unchanged = server.take_calls().iter().filter(|call| call.status == 304).count();
    anyhow::ensure!(
        unchanged >= usize::try_from(POLLS)?,
        "{unchanged} of {POLLS} polls were answered with 304"
    );
    let measured = Measured { size, seconds, cpu, grown, poll };
    Ok(Section { table: table(measured), missed: misses(measured) })
}

/// The peak of the resident memory of a process, in MiB.
fn peak(process: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no peak in /proc")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

fn source(server: &HelmServer) -> Value {
    json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "HelmRepository",
        "metadata": { "name": "charts" }, "spec": { "interval": "1h", "url": server.url() },
    })
}

/// An index as Helm writes it.
fn index() -> Result<String> {
    let mut text = "apiVersion: v1\nentries:\n".to_owned();
    let digest = "0123456789abcdef".repeat(4);
    for chart in 0..CHARTS {
        writeln!(text, "  chart-{chart}:")?;
        for version in (0..VERSIONS).rev() {
            write!(
                text,
                "  - apiVersion: v2\n    appVersion: 1.{version}.0\n    created: \"2024-01-01T00:00:00.000000000Z\"\n    \
                 description: A chart that does what such charts do\n    digest: {digest}\n    home: https://example.com/app\n    \
                 keywords:\n    - one\n    maintainers:\n    - name: me\n    name: chart-{chart}\n    \
                 urls:\n    - https://example.com/charts/chart-{chart}-1.{version}.0.tgz\n    version: 1.{version}.0\n"
            )?;
        }
    }
    text.push_str("generated: \"2024-01-01T00:00:00.000000000Z\"\n");
    Ok(text)
}

/// What does not meet its target; empty if everything does.
fn misses(measured: Measured) -> Vec<String> {
    let Measured { size, seconds: _, cpu, grown, poll } = measured;
    let mut missed = Vec::new();
    if cpu > CPU_MAX {
        missed.push(format!("the first artifact of the index takes {cpu:.2} s of CPU, at most {CPU_MAX}"));
    }
    if grown > SIZES_MAX * size {
        missed.push(format!(
            "the index takes {:.1} times its size in memory, at most {SIZES_MAX}",
            grown / size
        ));
    }
    if poll > POLL_CPU_MAX {
        missed
            .push(format!("a poll of the unchanged index takes {poll:.3} s of CPU, at most {POLL_CPU_MAX}"));
    }
    missed
}

fn table(measured: Measured) -> String {
    let Measured { size, seconds, cpu, grown, poll } = measured;
    format!(
        "HelmRepository with an index of {size:.0} MiB ({CHARTS} charts, {VERSIONS} versions each)\n\n\
         | | | target |\n|---|---|---|\n\
         | until the artifact is stored | {seconds:.2} s | |\n\
         | CPU | {cpu:.2} s | ≤ {CPU_MAX} s |\n\
         | memory, peak beyond that before | {grown:.0} MiB: {:.1} × the index | ≤ {SIZES_MAX} × |\n\
         | CPU of a poll, nothing changed (ETag) | {poll:.3} s | ≤ {POLL_CPU_MAX} s |",
        grown / size
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_has_its_size_and_each_target_that_is_missed_is_named() {
        let size = index().unwrap().len();
        assert!((18 << 20..26 << 20).contains(&size), "{size}");
        let good = Measured { size: 20.0, seconds: 1.0, cpu: 0.4, grown: 50.0, poll: 0.01 };
        assert_eq!(misses(good), Vec::<String>::new());
        assert!(misses(Measured { cpu: 1.0, ..good })[0].contains("1.00 s of CPU"));
        assert!(misses(Measured { grown: 80.0, ..good })[0].contains("4.0 times its size"));
        assert!(misses(Measured { poll: 0.5, ..good })[0].contains("0.500 s of CPU"));
    }
}
