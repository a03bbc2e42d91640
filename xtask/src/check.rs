//! `cargo xtask check`: every habit of the house, the same at a desk and in CI.
//! It runs all steps, then says which failed; nothing here knows how to fix what it finds, but it says what to run.

mod layers;
mod tidy;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};

/// One step: its name, and what runs it.
type Step = (&'static str, fn(&Path) -> Result<()>);

const STEPS: [Step; 8] = [
    ("fmt", fmt),
    ("layers", layers::run),
    ("tidy", tidy::run),
    ("gen", generated),
    ("clippy", clippy),
    ("doc", doc),
    ("deny", deny),
    ("fast tests", fast_tests),
];

/// Runs all steps, or the one that is named.
pub fn run(only: Option<&str>) -> Result<()> {
    let root = workspace_root()?;
    let steps: Vec<&Step> = STEPS.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)).collect();
    if steps.is_empty() {
        let names: Vec<&str> = STEPS.iter().map(|(name, _)| *name).collect();
        bail!("no step {only:?}; there are: {}", names.join(", "));
    }
    let mut failed = Vec::new();
    for (name, step) in steps {
        let started = Instant::now();
        eprintln!("check: {name} …");
        match step(&root) {
            Ok(()) => eprintln!("check: {name} ok ({:.1} s)", started.elapsed().as_secs_f32()),
            Err(error) => {
                eprintln!("check: {name} FAILED: {error:#}");
                failed.push(*name);
            }
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    bail!("check failed: {}", failed.join(", "))
}

/// The folder that holds the workspace's Cargo.toml.
pub fn workspace_root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(here.parent().context("xtask lies in the workspace's folder")?.to_path_buf())
}

fn cargo(root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).args(args);
    command
}

fn succeed(command: &mut Command, remedy: &str) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    if status.success() { Ok(()) } else { bail!("{remedy}") }
}

fn fmt(root: &Path) -> Result<()> {
    succeed(&mut cargo(root, &["fmt", "--all", "--check"]), "run `cargo fmt --all`")
}

fn generated(_root: &Path) -> Result<()> {
    crate::r#gen::run(true)
}

fn clippy(root: &Path) -> Result<()> {
    let args = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
    succeed(&mut cargo(root, &args), "clippy found something; see above")
}

fn doc(root: &Path) -> Result<()> {
    let args = ["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"];
    succeed(cargo(root, &args).env("RUSTDOCFLAGS", "-D warnings"), "rustdoc found something; see above")
}

fn deny(root: &Path) -> Result<()> {
    let present = cargo(root, &["deny", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !present {
        eprintln!("check: deny skipped: cargo-deny is not installed (`cargo install cargo-deny --locked`)");
        return Ok(());
    }
    eprintln!("check: deny: advisories skipped, they need a database from outside");
    succeed(
        &mut cargo(
            root,
            &["deny", "--offline", "--log-level", "error", "check", "bans", "licenses", "sources"],
        ),
        "cargo-deny found something; see above",
    )
}

/// T0 and T1: everything that needs no control plane.
fn fast_tests(root: &Path) -> Result<()> {
    let args = ["test", "--quiet", "--workspace", "--exclude", "plumb-tests", "--lib", "--bins"];
    succeed(&mut cargo(root, &args), "a test failed; see above")
}
