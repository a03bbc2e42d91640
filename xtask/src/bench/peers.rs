//! The programs that we compare with: built from their own sources into the user's cache, once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use plumb_plane::cache_folder;

/// The version that Flux pins, and that our engine prints like.
const KUSTOMIZE: &str = "5.8.1";

/// kustomize itself.
pub fn kustomize() -> Result<PathBuf> {
    let folder = cache_folder()?.join("bench").join(format!("kustomize-{KUSTOMIZE}"));
    let program = folder.join("kustomize");
    if program.is_file() {
        return Ok(program);
    }
    eprintln!("  building kustomize {KUSTOMIZE}; the first time takes a minute");
    fs::create_dir_all(&folder)?;
    let package = format!("sigs.k8s.io/kustomize/kustomize/v5@v{KUSTOMIZE}");
    go(Command::new("go").args(["install", &package]).env("GOBIN", &folder))?;
    Ok(program)
}

/// The loop that builds as kustomize-controller does; its source is next to this repository.
pub fn kbuild(shared: &Path) -> Result<PathBuf> {
    let source = shared.join("peers/kbuild");
    if !source.is_dir() {
        bail!("its source is not at {}; set PLUMB_SHARED", source.display());
    }
    let folder = cache_folder()?.join("bench");
    fs::create_dir_all(&folder)?;
    let program = folder.join("kbuild");
    go(Command::new("go").args(["build", "-o"]).arg(&program).arg(".").current_dir(&source))?;
    Ok(program)
}

fn go(command: &mut Command) -> Result<()> {
    let output = command.output().context("go cannot be started; it builds the peers")?;
    if output.status.success() {
        return Ok(());
    }
    bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr).trim())
}
