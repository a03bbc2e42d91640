//! Builds the control plane from Go modules: one small program of ours that imports the components' own commands,
//! with exact versions. It takes minutes once per machine, so it reports its progress.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::{PROGRESS_EVERY, VERSION};

const MAIN: &str = include_str!("../go/main.go");
const MODULE: &str = include_str!("../go/go.mod");
const SUMS: &str = include_str!("../go/go.sum");
/// About how many packages are compiled: only for the progress line.
const PACKAGES: usize = 2710;
/// How many lines of the compiler wait to be read.
const LINES_WAITING_MAX: usize = 1024;
/// How many of the compiler's own lines an error shows.
const ERROR_LINES_MAX: usize = 30;

/// Builds with this `go` into `folder` and renames the finished program to `binary`.
pub fn build(go: &Path, folder: &Path, binary: &Path, progress: &dyn Fn(&str)) -> Result<()> {
    let source =
        tempfile::Builder::new().prefix("source-").tempdir_in(folder).context("cannot create a folder")?;
    for (name, content) in [("main.go", MAIN), ("go.mod", MODULE), ("go.sum", SUMS)] {
        fs::write(source.path().join(name), content).with_context(|| format!("cannot write {name}"))?;
    }
    let output = source.path().join("plane");
    progress(&format!(
        "building Kubernetes {VERSION} from Go modules: once per machine, 4 to 10 minutes on two cores"
    ));
    let mut command = Command::new(go);
    command.current_dir(source.path()).envs([("GOTOOLCHAIN", "local"), ("GOFLAGS", ""), ("GOWORK", "off")]);
    command
        .args(["build", "-v", "-trimpath", "-buildvcs=false", "-ldflags", &link_flags(), "-o"])
        .arg(&output)
        .arg(".");
    let what = Compilation { title: "the control plane".to_owned(), packages: PACKAGES };
    run(command, &what, progress)?;
    // Renamed only when complete: another process finds all of it, or nothing.
    fs::rename(&output, binary).with_context(|| format!("cannot rename to {}", binary.display()))
}

/// What is compiled.
pub(crate) struct Compilation {
    /// As progress names it.
    pub(crate) title: String,
    /// About how many packages are compiled: only for the progress line.
    pub(crate) packages: usize,
}

/// Runs the compiler to its end, and reports its progress, also while it prints nothing.
pub(crate) fn run(command: Command, what: &Compilation, progress: &dyn Fn(&str)) -> Result<()> {
    run_reporting(command, what, PROGRESS_EVERY, progress)
}

fn run_reporting(
    mut command: Command,
    what: &Compilation,
    every: Duration,
    progress: &dyn Fn(&str),
) -> Result<()> {
    let Compilation { title, packages } = what;
    let started = Instant::now();
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().context("cannot start go")?;
    let output = child.stderr.take().context("go has no stderr")?;
    let (sender, lines) = sync_channel(LINES_WAITING_MAX);
    let reader = thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let (mut compiled, mut last, mut next) = (0, Vec::new(), started + every);
    // With -v the compiler names each package on a line of its own; a download starts with "go: downloading".
    loop {
        match lines.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(line) if line.contains(' ') => last.push(line),
            Ok(_) => compiled += 1,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if Instant::now() >= next {
            let seconds = started.elapsed().as_secs();
            match compiled {
                0 => progress(&format!("downloading modules: {} so far, {seconds} s", last.len())),
                _ => progress(&format!(
                    "compiled {compiled} of about {packages} packages of {title}, {seconds} s"
                )),
            }
            next = Instant::now() + every;
        }
    }
    // It has ended: it was what held the sender.
    let _ = reader.join();
    if !child.wait().context("go cannot be waited for")?.success() {
        let from = last.len().saturating_sub(ERROR_LINES_MAX);
        bail!("go build failed:\n{}", last[from..].join("\n"));
    }
    progress(&format!("built {title} in {} s", started.elapsed().as_secs()));
    Ok(())
}

/// Without these the programs report a version that clients cannot parse.
fn link_flags() -> String {
    let mut numbers = VERSION.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let of = |package: &str| {
        format!(
            "-X {package}.gitVersion={VERSION} -X {package}.gitMajor={major} -X {package}.gitMinor={minor} \
             -X {package}.gitTreeState=clean"
        )
    };
    format!("-s -w {} {}", of("k8s.io/component-base/version"), of("k8s.io/client-go/pkg/version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_reported_while_the_compiler_prints_nothing() {
        let reported = std::cell::Cell::new(0);
        let (mut command, every) = (Command::new("/bin/sh"), Duration::from_millis(1));
        // It continues only when something was reported meanwhile.
        let folder = tempfile::tempdir().unwrap();
        let wait = "for i in $(seq 1000); do [ -e told ] && exit 0; sleep 0.01; done; exit 1";
        command.current_dir(folder.path()).args(["-c", wait]);
        let what = Compilation { title: "it".to_owned(), packages: 1 };
        run_reporting(command, &what, every, &|_| {
            reported.set(reported.get() + 1);
            fs::write(folder.path().join("told"), "").unwrap();
        })
        .unwrap();
        assert!(reported.get() >= 2, "progress, and the end");
    }

    #[test]
    fn the_version_is_that_of_the_module() {
        assert!(MODULE.contains(&format!("k8s.io/kubernetes {VERSION}")), "go.mod names another version");
        assert!(link_flags().contains("gitMinor=36 "));
    }
}
