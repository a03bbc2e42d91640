//! Builds the control plane from Go modules: one small program of ours that imports the components' own commands,
//! with exact versions. It takes minutes once per machine, so it says how far it is.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{VERSION, process::on_path};

const MAIN: &str = include_str!("../go/main.go");
const MODULE: &str = include_str!("../go/go.mod");
const SUMS: &str = include_str!("../go/go.sum");
/// About how many packages are compiled: only for the progress line.
const PACKAGES: usize = 2710;
/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// How many of the compiler's own lines an error shows.
const ERROR_LINES_MAX: usize = 30;

/// Builds into `folder` and renames the finished program to `binary`.
pub fn build(folder: &Path, binary: &Path, tell: &dyn Fn(&str)) -> Result<()> {
    let Some(go) = on_path("go") else {
        bail!(
            "no control plane was found, and no Go to build one. Install Go 1.26 or newer, or provide etcd, \
             kube-apiserver and kube-controller-manager in PATH, KUBEBUILDER_ASSETS or PLUMB_PLANE_DIR"
        );
    };
    let source =
        tempfile::Builder::new().prefix("source-").tempdir_in(folder).context("cannot create a folder")?;
    for (name, content) in [("main.go", MAIN), ("go.mod", MODULE), ("go.sum", SUMS)] {
        fs::write(source.path().join(name), content).with_context(|| format!("cannot write {name}"))?;
    }
    let output = source.path().join("plane");
    tell(&format!(
        "building Kubernetes {VERSION} from Go modules: once per machine, 4 to 10 minutes on two cores"
    ));
    let mut command = Command::new(go);
    command.current_dir(source.path()).envs([("GOTOOLCHAIN", "local"), ("GOFLAGS", ""), ("GOWORK", "off")]);
    command
        .args(["build", "-v", "-trimpath", "-buildvcs=false", "-ldflags", &link_flags(), "-o"])
        .arg(&output)
        .arg(".");
    run(command, tell)?;
    // Renamed only when whole: another process sees all of it, or nothing.
    fs::rename(&output, binary).with_context(|| format!("cannot rename to {}", binary.display()))
}

fn run(mut command: Command, tell: &dyn Fn(&str)) -> Result<()> {
    let started = Instant::now();
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().context("cannot start go")?;
    let lines = child.stderr.take().context("go has no stderr")?;
    let (mut compiled, mut told, mut last) = (0, Instant::now(), Vec::new());
    // With -v the compiler names each package on a line of its own; a download starts with "go: downloading".
    for line in BufReader::new(lines).lines().map_while(Result::ok) {
        if line.contains(' ') {
            last.push(line);
        } else {
            compiled += 1;
        }
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            let seconds = started.elapsed().as_secs();
            match compiled {
                0 => tell(&format!("downloading modules: {} so far, {seconds} s", last.len())),
                _ => tell(&format!("compiled {compiled} of about {PACKAGES} packages, {seconds} s")),
            }
        }
    }
    if !child.wait().context("go cannot be waited for")?.success() {
        let from = last.len().saturating_sub(ERROR_LINES_MAX);
        bail!("go build failed:\n{}", last[from..].join("\n"));
    }
    tell(&format!("built the control plane in {} s", started.elapsed().as_secs()));
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
    fn the_version_is_that_of_the_module() {
        assert!(MODULE.contains(&format!("k8s.io/kubernetes {VERSION}")), "go.mod names another version");
        assert!(link_flags().contains("gitMinor=36 "));
    }
}
