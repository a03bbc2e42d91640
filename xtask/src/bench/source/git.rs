//! A large repository: its first artifact, the next one after a commit of one file, and a poll that finds nothing. The floor is what
//! stock `git` and `gzip` need for the same content over the same server. Flux's source-controller does the same where it can be built.

use std::{
    fmt::Write as _,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use plumb_plane::{Plane, PlaneOptions};
use plumb_testkit::{
    controllers::{Controllers, ControllersOptions, NAMESPACE, SOURCE},
    gitserver::{GitServer, GitServerOptions},
    kinds,
    repository::Repository,
    sink::Sink,
};
use serde_json::json;

use super::{Arguments, Section, median, objects::Objects};
use crate::bench::{load, measure};

/// Files of a directory of the repository.
const FILES_PER_DIRECTORY: u32 = 100;
/// Lines of each file, each with some digits that differ.
const LINES: u32 = 12;
/// References of the repository that is polled.
const REFS: u32 = 5000;
/// How often the small steps are repeated.
const REPEATS: usize = 5;
/// Targets: times the floor, times the first artifact, resident memory in MiB, requests and bytes of a poll.
const FIRST_MAX: f64 = 1.3;
const NEXT_MAX: f64 = 2.0;
const NEXT_TO_FIRST_MIN: f64 = 20.0;
const RESIDENT_MAX: f64 = 120.0;
const REQUESTS_MAX: u64 = 1;
const BYTES_MAX: u64 = 1024;

/// How many times faster than Flux the first artifact has to be.
const FIRST_TO_FLUX_MIN: f64 = 4.0;

/// What was measured.
#[derive(Clone, Copy, Debug, Default)]
struct Measured {
    ours: Arm,
    /// None where it could not be built.
    flux: Option<Arm>,
    /// Seconds of stock programs.
    first_floor: f64,
    next_floor: f64,
}

/// What was measured of one source-controller.
#[derive(Clone, Copy, Debug, Default)]
struct Arm {
    /// Seconds.
    first: f64,
    next: f64,
    /// Peak of resident memory, in MiB.
    peak: f64,
    idle: f64,
    poll_requests: u64,
    poll_bytes: u64,
}

/// What both source-controllers read.
struct Bench<'a> {
    server: &'a GitServer,
    large: Repository,
    many: Repository,
    sink: Sink,
    runtime: tokio::runtime::Runtime,
}

/// Measures.
pub fn run(arguments: &Arguments, binaries: &Path) -> Result<Section> {
    let server = GitServer::start(&GitServerOptions::default())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (large, many) = (server.repository("large")?, server.repository("many")?);
    fill(&large, arguments.files)?;
    add_refs(&many)?;
    let bench = Bench { server: &server, large, many, sink: Sink::start()?, runtime };
    let scratch = tempfile::tempdir()?;
    let floor = Floor { url: server.url("large"), folder: scratch.path() };
    let before = floor.first("a")?;
    let mut next_floors = Vec::new();
    let ours = bench.arm(binaries, || {
        next_floors.push(floor.next("a", "dir-0001")?);
        Ok(())
    })?;
    let first_floor = f64::midpoint(before, floor.first("b")?);
    let flux = super::flux()?.map(|binaries| bench.arm(&binaries, || Ok(()))).transpose()?;
    let measured = Measured { ours, flux, first_floor, next_floor: median(next_floors) };
    Ok(Section { table: table(arguments, measured), missed: misses(measured) })
}

impl Bench<'_> {
    /// Measures one source-controller on a control plane of its own. `between` runs after each commit.
    fn arm(&self, binaries: &Path, mut between: impl FnMut() -> Result<()>) -> Result<Arm> {
        let Self { server, large, many, sink, runtime } = self;
        let plane = Plane::start(&PlaneOptions::default())?;
        let client = runtime.block_on(plane.client())?;
        runtime.block_on(load::prepare(&client))?;
        let options = ControllersOptions {
            names: vec![SOURCE],
            namespace: None,
            ..ControllersOptions::with_sink(sink.address())
        };
        let controllers = Controllers::start(&plane, binaries, &options)?;
        let process = controllers.id(SOURCE).context("source-controller does not run")?;
        std::thread::sleep(Duration::from_secs(3));
        let mut arm = Arm { idle: load::resident(process).unwrap_or_default(), ..Arm::default() };
        let sources = Objects { api: kinds::namespaced(&client, "GitRepository", NAMESPACE)?, runtime };
        let created = sources.create(source("large", &server.url("large")));
        (arm.first, _) = created.with_context(|| controllers.last_lines())?;
        arm.peak = f64::from(measure::peak(process)) / 1024.0;
        let mut next = Vec::new();
        for number in 0..REPEATS {
            large.write("dir-0001/file-0001.yaml", &format!("changed: {number} by {process}\n"))?;
            large.push("change one file")?;
            next.push(sources.reconcile("large", number, &large.revision()?)?);
            between()?;
        }
        arm.next = median(next);
        sources.create(source("many", &server.url("many")))?;
        let revision = many.revision()?;
        sources.reconcile("many", 1, &revision)?;
        let (requests, bytes) = (server.requests(), server.bytes());
        sources.reconcile("many", 2, &revision)?;
        (arm.poll_requests, arm.poll_bytes) = (server.requests() - requests, server.bytes() - bytes);
        Ok(arm)
    }
}

/// Commits and pushes so many files, each of its own content.
fn fill(repository: &Repository, files: u32) -> Result<()> {
    let mut stream = String::from(
        "commit refs/heads/main\ncommitter Plumb <plumb@example.com> 1700000000 +0000\ndata 5\nfiles\n",
    );
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for number in 0..files {
        let mut content = String::new();
        for line in 0..LINES {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            writeln!(content, "setting-{line}: \"{state:016x} of a config map\"")?;
        }
        let path =
            format!("dir-{:04}/file-{:04}.yaml", number / FILES_PER_DIRECTORY, number % FILES_PER_DIRECTORY);
        write!(stream, "M 100644 inline {path}\ndata {}\n{content}\n", content.len())?;
    }
    import(repository, &stream)?;
    repository.git(&["reset", "--quiet", "--hard"])?;
    repository.git(&["push", "--quiet", "origin", "main"])?;
    Ok(())
}

fn import(repository: &Repository, stream: &str) -> Result<()> {
    let mut child = Command::new("git")
        .args(["fast-import", "--quiet", "--force"])
        .current_dir(repository.folder())
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot start git")?;
    child.stdin.take().context("git has no stdin")?.write_all(stream.as_bytes())?;
    if !child.wait()?.success() {
        bail!("git fast-import failed");
    }
    Ok(())
}

/// A repository with one file and many tags.
fn add_refs(repository: &Repository) -> Result<()> {
    repository.write("a.yaml", "a: b\n")?;
    let head = repository.push("one file")?;
    let mut stream = String::new();
    for number in 0..REFS {
        write!(stream, "reset refs/tags/v0.{number}.0\nfrom {head}\n\n")?;
    }
    import(repository, &stream)?;
    repository.git(&["push", "--quiet", "origin", "--tags"])?;
    Ok(())
}

/// The same work by stock programs.
struct Floor<'a> {
    url: String,
    folder: &'a Path,
}

impl Floor<'_> {
    fn first(&self, name: &str) -> Result<f64> {
        let url = &self.url;
        self.time(&format!(
            "git clone --quiet --bare --depth 1 '{url}' {name} && git -C {name} archive HEAD | gzip > {name}.tar.gz"
        ))
    }

    fn next(&self, name: &str, changed: &str) -> Result<f64> {
        let url = &self.url;
        self.time(&format!(
            "git -C {name} fetch --quiet --depth 1 '{url}' main && git -C {name} archive FETCH_HEAD {changed} | gzip > part.tar.gz"
        ))
    }

    fn time(&self, script: &str) -> Result<f64> {
        let began = Instant::now();
        let status = Command::new("sh").args(["-c", script]).current_dir(self.folder).status()?;
        if !status.success() {
            bail!("{script} ended with {status}");
        }
        Ok(began.elapsed().as_secs_f64())
    }
}

/// A GitRepository that is polled only when it is asked to.
fn source(name: &str, url: &str) -> serde_json::Value {
    json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": { "name": name },
        "spec": { "interval": "1h", "timeout": "10m", "url": url, "ref": { "branch": "main" } },
    })
}

fn misses(measured: Measured) -> Vec<String> {
    let Measured { ours, flux, first_floor, next_floor } = measured;
    let Arm { first, next, peak, idle: _, poll_requests, poll_bytes } = ours;
    let mut missed = Vec::new();
    let mut check = |holds: bool, text: String| {
        if !holds {
            missed.push(text);
        }
    };
    check(
        first <= FIRST_MAX * first_floor,
        format!("the first artifact takes {:.2} × the floor", first / first_floor),
    );
    check(
        next <= NEXT_MAX * next_floor,
        format!("the next artifact takes {:.2} × the floor", next / next_floor),
    );
    check(
        first >= NEXT_TO_FIRST_MIN * next,
        format!("the next artifact is {:.1} × faster than the first", first / next),
    );
    if let Some(flux) = flux {
        check(
            flux.first >= FIRST_TO_FLUX_MIN * first,
            format!("the first artifact is {:.1} × faster than Flux's", flux.first / first),
        );
    }
    check(peak <= RESIDENT_MAX, format!("the memory peaks at {peak:.0} MiB"));
    check(poll_requests <= REQUESTS_MAX, format!("a poll is {poll_requests} requests"));
    check(poll_bytes <= BYTES_MAX, format!("a poll reads {poll_bytes} bytes"));
    missed
}

fn table(arguments: &Arguments, measured: Measured) -> String {
    let Measured { ours, flux, first_floor, next_floor } = measured;
    let Arm { first, next, peak, idle, poll_requests, poll_bytes } = ours;
    let flux = |figure: &dyn Fn(Arm) -> String| flux.map_or_else(|| "not built".to_owned(), figure);
    let [of_first, of_next, of_ratio, of_peak, of_idle, of_poll] = [
        flux(&|arm| format!("{:.2} s", arm.first)),
        flux(&|arm| format!("{:.3} s", arm.next)),
        flux(&|arm| format!("{:.1} ×", arm.first / arm.next)),
        flux(&|arm| format!("{:.0} MiB", arm.peak)),
        flux(&|arm| format!("{:.1} MiB", arm.idle)),
        flux(&|arm| format!("{}, {}", arm.poll_requests, arm.poll_bytes)),
    ];
    format!(
        "GitRepository over HTTP, {} files; {REFS} references\n\n\
         | | Plumb | git and gzip | ratio | target | Flux 1.9.3 |\n|---|---|---|---|---|---|\n\
         | first artifact | {first:.2} s | {first_floor:.2} s | {:.2} | ≤ {FIRST_MAX} | {of_first} |\n\
         | one file committed → artifact | {next:.3} s | {next_floor:.3} s | {:.2} | ≤ {NEXT_MAX} | {of_next} |\n\
         | … faster than the first | {:.1} × | | | ≥ {NEXT_TO_FIRST_MIN} × | {of_ratio} |\n\
         | peak RSS | {peak:.0} MiB | | | ≤ {RESIDENT_MAX} MiB | {of_peak} |\n\
         | RSS idle | {idle:.1} MiB | | | ≤ 15 MiB | {of_idle} |\n\
         | poll: requests, bytes read | {poll_requests}, {poll_bytes} | | | ≤ {REQUESTS_MAX}, {BYTES_MAX} | {of_poll} |",
        arguments.files,
        first / first_floor,
        next / next_floor,
        first / next,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_that_is_missed_is_named() {
        let ours = Arm { first: 10.0, next: 0.3, peak: 100.0, idle: 10.0, poll_requests: 1, poll_bytes: 300 };
        let flux = Some(Arm { first: 50.0, ..Arm::default() });
        let good = Measured { ours, flux, first_floor: 9.0, next_floor: 0.2 };
        assert_eq!(misses(good), Vec::<String>::new());
        assert_eq!(misses(Measured { flux: None, ..good }), Vec::<String>::new());
        let ours = Arm { first: 20.0, next: 2.0, peak: 200.0, poll_requests: 2, poll_bytes: 2000, ..ours };
        assert_eq!(misses(Measured { ours, ..good }).len(), 7);
    }
}
