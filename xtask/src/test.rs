//! `cargo xtask test`: builds, starts one control plane, passes it to every test, and prints the sum in its last line.

mod coverage;
pub mod mutants;
pub mod programs;
mod vectors;

use std::{
    ffi::OsString,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use plumb_plane::{HANDOVER, Plane, PlaneOptions};
use plumb_testkit::{controllers::BINARIES, skip::SKIPS};

use crate::{check::workspace_root, proof::results::Recorder};

/// The integration tests that need a control plane: the package and the target.
pub const WITH_PLANE: [(&str, &str); 2] = [("plumb-tests", "it"), ("plumb-plane", "whole")];

/// Arguments of `cargo xtask test`.
#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Arguments {
    /// Run only tests whose name contains this, e.g. `e2e::`. `vectors` runs the shared cases of the kustomize engine.
    filter: Option<String>,
    /// Run only the tests of this package. Can be repeated. A control plane is started only if a package needs it.
    #[arg(long, short)]
    package: Vec<String>,
    /// Measure the line coverage of the kustomize engine. Fail below 90 %.
    #[arg(long)]
    coverage: bool,
    /// Apply the mutants of `tests/mutants` one at a time. Fail if the named test passes.
    #[arg(long, conflicts_with_all = ["coverage", "record", "package"])]
    mutants: bool,
    /// Record the results of the tests that `docs/proof.md` names in `tests/proof/results.toml`.
    #[arg(long)]
    record: bool,
    /// Skip the tests that need a control plane.
    #[arg(long, conflicts_with_all = ["chaos", "coverage", "mutants", "package"])]
    no_plane: bool,
    /// Run every point of the crash sweeps and every cell of the chaos matrix, instead of the sample; takes up to 30
    /// minutes. A filter selects among them.
    #[arg(long, conflicts_with_all = ["package", "coverage", "mutants"])]
    chaos: bool,
}

/// The environment variable that enables all chaos tests.
const CHAOS: &str = "PLUMB_CHAOS";
/// The tests behind `--chaos`, and their package.
const CHAOS_TESTS: (&str, &str) = ("chaos::", "plumb-tests");

/// How many tests ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    passed: u64,
    failed: u64,
    skipped: u64,
}

/// Runs the tests; an error if one failed.
pub fn run(arguments: &Arguments) -> Result<()> {
    let root = workspace_root()?;
    if arguments.coverage {
        return coverage::run(&root);
    }
    if arguments.mutants {
        return mutants::run(&root, arguments.filter.as_deref());
    }
    if arguments.package.is_empty() && arguments.filter.as_deref() == Some("vectors") {
        return vectors::run(&root);
    }
    if arguments.no_plane {
        return without_plane(&root, arguments);
    }
    let stage = Stages::new();
    let target = target_folder(&root)?;
    stage.begins("build");
    finish(cargo(&root).args(["build", "--workspace", "--bins"]), "the build failed")?;
    finish(cargo(&root).args(test_words(arguments, &["--no-run"])), "the tests do not compile")?;
    if arguments.needs_plane() {
        stage.begins("programs of others");
        provide_peers()?;
    }
    let plane = if arguments.needs_plane() { Some(started(&stage)?) } else { None };
    stage.begins("tests");
    let skips = tempfile::NamedTempFile::new().context("no temporary file")?;
    let mut command = cargo(&root);
    command.args(test_words(arguments, &["--no-fail-fast"]));
    if arguments.chaos {
        command.env(CHAOS, "all");
    }
    if let Some(plane) = &plane {
        command.env(HANDOVER, plane.description());
    }
    command.env(SKIPS, skips.path()).env(BINARIES, target.join("debug"));
    let mut recorder = if arguments.record { Some(recorder(&root, arguments)?) } else { None };
    let streams = if arguments.record { Streams::Both } else { Streams::Output };
    let (status, mut sum) = watch(command, streams, |line| {
        if let Some(recorder) = &mut recorder {
            recorder.read(line);
        }
    })?;
    stage.begins("done");
    drop(plane);
    let reasons = fs::read_to_string(skips.path()).context("the skips cannot be read")?;
    if let Some(mut recorder) = recorder {
        recorder.read_skips(&reasons);
        recorder.write(&root, &jiff::Zoned::now().date().to_string(), &checked_out(&root)?)?;
    }
    if !status.success() && sum.failed == 0 {
        eprintln!("a test program ended without a result; see above");
        sum.failed = 1;
    }
    conclude(sum, &reasons)
}

/// Runs the programs of the packages that need no control plane, built as the whole workspace is: with the same features.
fn without_plane(root: &Path, arguments: &Arguments) -> Result<()> {
    let packages = programs::packages(&mut cargo(root))?;
    let mut command = cargo(root);
    command.args(["test", "--workspace", "--no-run", "--message-format", "json"]);
    let built = programs::build(&mut command, &packages)?;
    let skips = tempfile::NamedTempFile::new().context("no temporary file")?;
    let mut recorder = Recorder::new(built.clone());
    let mut sum = Sum::default();
    for program in built.iter().filter(|program| !program.needs_plane()) {
        let started = format!("Running {} ({})", program.package, program.executable.display());
        say(&started)?;
        recorder.read(&started);
        let mut command = program.command();
        command.args(&arguments.filter).env(SKIPS, skips.path()).env("PLUMB_SHARED", shared_folder(root));
        let (status, part) = watch(command, Streams::Output, |line| recorder.read(line))?;
        sum.passed += part.passed;
        sum.skipped += part.skipped;
        sum.failed += if status.success() { 0 } else { part.failed.max(1) };
    }
    let reasons = fs::read_to_string(skips.path()).context("the skips cannot be read")?;
    if arguments.record {
        recorder.read_skips(&reasons);
        recorder.write(root, &jiff::Zoned::now().date().to_string(), &checked_out(root)?)?;
    }
    conclude(sum, &reasons)
}

/// Prints the reasons of the skips and the sum; an error if a test failed.
fn conclude(mut sum: Sum, reasons: &str) -> Result<()> {
    for reason in reasons.lines() {
        say(reason)?;
    }
    sum.add_skips(reasons.lines().count());
    say(&format!("{} passed, {} failed, {} skipped", sum.passed, sum.failed, sum.skipped))?;
    if sum.failed > 0 {
        bail!("a test failed");
    }
    Ok(())
}

impl Arguments {
    fn needs_plane(&self) -> bool {
        let needs = |package: &String| WITH_PLANE.iter().any(|(of, _)| of == package);
        self.package.is_empty() || self.package.iter().any(needs)
    }
}

/// Builds the programs of others that tests run against, where that was not done before.
fn provide_peers() -> Result<()> {
    // Without a Go their tests are skipped, and say so.
    for peer in plumb_plane::peers::ALL.iter().filter(|peer| peer.is_obtainable()) {
        peer.provide(&|line| eprintln!("  {line}"))?;
    }
    // Without Python and Node, too.
    for store in plumb_plane::stores::ALL.iter().filter(|store| store.is_obtainable()) {
        store.provide(&|line| eprintln!("  {line}"))?;
    }
    Ok(())
}

fn started(stage: &Stages) -> Result<Plane> {
    stage.begins("control plane");
    let plane = Plane::start(&PlaneOptions {
        audit: true,
        progress: |line| eprintln!("  {line}"),
        ..PlaneOptions::default()
    })?;
    eprintln!("  {}; ready in {:.1} s", plane.origin(), plane.started_in().as_secs_f32());
    Ok(plane)
}

fn recorder(root: &Path, arguments: &Arguments) -> Result<Recorder> {
    let packages = programs::packages(&mut cargo(root))?;
    let mut command = cargo(root);
    command.args(test_words(arguments, &["--no-run", "--message-format", "json"]));
    Ok(Recorder::new(programs::build(&mut command, &packages)?))
}

/// The commit that is checked out, short; with a plus if files differ from it.
fn checked_out(root: &Path) -> Result<String> {
    let git = |words: &[&str]| -> Result<String> {
        let output =
            Command::new("git").current_dir(root).args(words).output().context("cannot start git")?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=9", "HEAD"])?;
    let differs = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Ok(if differs { format!("{commit}+") } else { commit })
}

/// What runs, and since when.
struct Stages(Instant);

impl Stages {
    fn new() -> Self {
        Self(Instant::now())
    }

    fn begins(&self, what: &str) {
        eprintln!("== {what} ({:.0} s)", self.0.elapsed().as_secs_f32());
    }
}

/// The cargo that runs us, in the workspace.
pub fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}

/// Runs a command to its end; an error if it fails.
pub fn finish(command: &mut Command, failure: &str) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    if status.success() { Ok(()) } else { bail!("{failure}") }
}

fn test_words(arguments: &Arguments, more: &[&str]) -> Vec<OsString> {
    let (chaos, chaos_package) = CHAOS_TESTS;
    let packages: Vec<&str> = if arguments.chaos {
        vec![chaos_package]
    } else {
        arguments.package.iter().map(String::as_str).collect()
    };
    let mut words: Vec<OsString> = vec!["test".into()];
    if packages.is_empty() {
        words.push("--workspace".into());
    }
    for package in packages {
        words.extend(["--package".into(), package.into()]);
    }
    words.extend(more.iter().map(OsString::from));
    let filter = arguments.filter.as_deref().or(arguments.chaos.then_some(chaos));
    words.extend(filter.map(OsString::from));
    words
}

/// Where cargo puts what it builds.
pub fn target_folder(root: &Path) -> Result<PathBuf> {
    let output = cargo(root).args(["metadata", "--no-deps", "--format-version", "1"]).output()?;
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("cargo metadata failed")?;
    let folder = metadata["target_directory"].as_str().context("cargo metadata names no target folder")?;
    Ok(folder.into())
}

/// Which streams of a command are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Streams {
    Output,
    /// Output of cargo about the programs that it starts goes to the error stream.
    Both,
}

/// Passes the output on as it comes, shows each line to `look`, and sums the results in it.
fn watch(mut command: Command, streams: Streams, mut look: impl FnMut(&str)) -> Result<(ExitStatus, Sum)> {
    let (output, input) = std::io::pipe().context("no pipe for cargo's output")?;
    if streams == Streams::Both {
        command.stderr(input.try_clone().context("no pipe for cargo's errors")?);
    }
    let mut child = command.stdout(input).spawn().context("cannot start cargo")?;
    // It holds our ends of the pipe, which would never close.
    drop(command);
    let mut sum = Sum::default();
    for line in BufReader::new(output).lines() {
        let line = line.context("cargo's output cannot be read")?;
        sum.read(&line);
        look(&line);
        say(&line)?;
    }
    Ok((child.wait()?, sum))
}

/// Data next to this repository: vectors and peers. `$PLUMB_SHARED`, else `../shared`.
pub fn shared_folder(root: &Path) -> PathBuf {
    std::env::var_os("PLUMB_SHARED").map_or_else(|| root.join("../shared"), PathBuf::from)
}

/// A line of the result.
pub fn say(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

impl Sum {
    /// Adds a line like `test result: ok. 3 passed; 1 failed; 2 ignored; …`; other lines are nothing.
    fn read(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("test result: ") else { return };
        let words: Vec<&str> = rest.split_whitespace().collect();
        for pair in words.windows(2) {
            let count = pair[0].parse().unwrap_or(0);
            match pair[1].trim_end_matches(';') {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.skipped += count,
                _ => {}
            }
        }
    }

    /// A test that skipped itself passed in the eyes of the harness.
    fn add_skips(&mut self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX).min(self.passed);
        self.passed -= count;
        self.skipped += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chaos_runs_its_own_tests_alone() {
        let arguments = Arguments {
            filter: None,
            package: Vec::new(),
            coverage: false,
            mutants: false,
            record: false,
            no_plane: false,
            chaos: true,
        };
        assert_eq!(
            test_words(&arguments, &["--no-run"]),
            ["test", "--package", "plumb-tests", "--no-run", "chaos::"]
        );
        let arguments = Arguments { filter: Some("matrix".to_owned()), ..arguments };
        assert_eq!(test_words(&arguments, &[]), ["test", "--package", "plumb-tests", "matrix"]);
    }

    #[test]
    fn results_are_summed_and_skips_are_not_passes() {
        let mut sum = Sum::default();
        sum.read("test a::b ... ok");
        sum.read(
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        );
        sum.read("test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.00s");
        sum.add_skips(2);
        assert_eq!(sum, Sum { passed: 3, failed: 1, skipped: 3 });
    }
}
