//! `cargo xtask check`: all checks, the same on a developer's machine and in CI.
//! It runs all steps, then lists those that failed, with the command to run.

mod layers;
mod links;
mod processes;
mod tidy;
mod words;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// One step: its name, and what runs it.
type Step = (&'static str, fn(&Path) -> Result<Outcome>);

/// How a step that did not fail went.
enum Outcome {
    Passed,
    /// It could not be checked here, with the reason.
    Skipped(String),
}

/// The quick ones first: a breach of a text rule is reported in a second.
const STEPS: [Step; 12] = [
    ("fmt", fmt),
    ("layers", layers::run),
    ("tidy", tidy::run),
    ("words", words::run),
    ("processes", processes::run),
    ("gen", generated),
    ("proof", proof),
    ("mutants", mutants),
    ("clippy", clippy),
    ("doc", doc),
    ("deny", deny),
    ("unit", unit),
];

/// Runs all steps; those that are named alone, or all but those that are named, with commas between the names.
pub fn run(only: Option<&str>, without: Option<&str>) -> Result<()> {
    let root = workspace_root()?;
    let steps = chosen(only, without)?;
    let started = Instant::now();
    let mut lines = Vec::new();
    let mut failed = Vec::new();
    for (name, step) in steps {
        eprintln!("── {name}");
        let began = Instant::now();
        let line = match step(&root) {
            Ok(Outcome::Passed) => format!("{name:<8} ok       {}", seconds(began.elapsed())),
            Ok(Outcome::Skipped(why)) => format!("{name:<8} skipped  {} ({why})", seconds(began.elapsed())),
            Err(error) => {
                eprintln!("{error:#}");
                failed.push(name);
                format!("{name:<8} FAILED   {}", seconds(began.elapsed()))
            }
        };
        eprintln!("{line}");
        lines.push(line);
    }
    eprintln!("── check: {}", seconds(started.elapsed()));
    for line in &lines {
        eprintln!("{line}");
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

fn chosen(only: Option<&str>, without: Option<&str>) -> Result<Vec<Step>> {
    let omitted = without.map(named).transpose()?.unwrap_or_default();
    let steps = only.map_or_else(|| Ok(STEPS.to_vec()), named)?;
    let is_omitted = |step: &Step| omitted.iter().any(|omitted| omitted.0 == step.0);
    Ok(steps.into_iter().filter(|step| !is_omitted(step)).collect())
}

fn named(names: &str) -> Result<Vec<Step>> {
    let step = |wanted: &str| {
        let step = STEPS.iter().find(|(name, _)| *name == wanted).copied();
        let known = STEPS.map(|(name, _)| name).join(", ");
        step.with_context(|| format!("no step {wanted:?}; there are: {known}"))
    };
    names.split(',').map(str::trim).map(step).collect()
}

fn seconds(elapsed: Duration) -> String {
    format!("{:.1} s", elapsed.as_secs_f32())
}

fn cargo(root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).args(args);
    command
}

fn succeed(command: &mut Command, remedy: &str) -> Result<Outcome> {
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    if status.success() { Ok(Outcome::Passed) } else { bail!("{remedy}") }
}

fn fmt(root: &Path) -> Result<Outcome> {
    succeed(&mut cargo(root, &["fmt", "--all", "--check"]), "run `cargo fmt --all`")
}

fn generated(_root: &Path) -> Result<Outcome> {
    crate::r#gen::run(true).map(|()| Outcome::Passed)
}

/// The claims of `tests/proof` name rows and tests that exist.
fn proof(root: &Path) -> Result<Outcome> {
    crate::proof::check(root).map(|()| Outcome::Passed)
}

/// The mutants of `tests/mutants` still fit the code.
fn mutants(root: &Path) -> Result<Outcome> {
    crate::test::mutants::check(root).map(|()| Outcome::Passed)
}

fn clippy(root: &Path) -> Result<Outcome> {
    let args = ["clippy", "--quiet", "--workspace", "--all-targets", "--keep-going", "--", "-D", "warnings"];
    succeed(&mut cargo(root, &args), "clippy found something; see above")
}

fn doc(root: &Path) -> Result<Outcome> {
    let args = ["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items", "--keep-going"];
    succeed(cargo(root, &args).env("RUSTDOCFLAGS", "-D warnings"), "rustdoc found something; see above")
}

/// Bans, licences and sources always; advisories only where their database is present, for it comes from outside.
fn deny(root: &Path) -> Result<Outcome> {
    let requested = cargo(root, &["deny", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !requested.is_ok_and(|status| status.success()) {
        let how = "cargo-deny is not installed: `cargo install cargo-deny --locked`";
        return Ok(Outcome::Skipped(how.to_owned()));
    }
    let mut args = vec!["deny", "--log-level", "error", "check", "bans", "licenses", "sources"];
    if has_advisories() {
        args.extend(["advisories", "--disable-fetch"]);
    } else {
        eprintln!("advisories skipped: their database is not here (`cargo deny fetch db`)");
    }
    succeed(&mut cargo(root, &args), "cargo-deny found something; see above")
}

fn has_advisories() -> bool {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let entries = home.and_then(|home| std::fs::read_dir(home.join("advisory-dbs")).ok());
    entries.is_some_and(|mut entries| entries.next().is_some())
}

/// T0 and T1: everything that needs no control plane.
fn unit(root: &Path) -> Result<Outcome> {
    let remedy = "a test failed; see above";
    // The unit tests of these two are quick; those in their folders start control planes.
    let planes = ["--exclude", "plumb-tests", "--exclude", "plumb-plane"];
    let args = ["test", "--quiet", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests"];
    let others = succeed(cargo(root, &args).args(planes), remedy);
    let plane = succeed(&mut cargo(root, &["test", "--quiet", "--package", "plumb-plane", "--lib"]), remedy);
    others.and(plane)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(only: Option<&str>, without: Option<&str>) -> Result<Vec<&'static str>> {
        Ok(chosen(only, without)?.into_iter().map(|(name, _)| name).collect())
    }

    #[test]
    fn steps_are_chosen_by_name_in_the_requested_order() {
        assert_eq!(names(None, None).unwrap().len(), STEPS.len());
        assert_eq!(names(Some("tidy, fmt"), None).unwrap(), ["tidy", "fmt"]);
    }

    #[test]
    fn steps_are_left_out_by_name() {
        let left = names(None, Some("unit, deny")).unwrap();
        assert_eq!(left.len(), STEPS.len() - 2);
        assert!(!left.contains(&"unit") && !left.contains(&"deny"), "{left:?}");
        assert!(names(None, Some("units")).is_err());
    }

    #[test]
    fn an_unknown_step_is_rejected_with_those_there_are() {
        let rejected = names(Some("fmt,lint"), None).unwrap_err().to_string();
        assert!(rejected.starts_with("no step \"lint\"; there are: fmt, layers"), "{rejected}");
    }

    #[test]
    fn a_step_whose_command_fails_fails() {
        let mut command = cargo(Path::new("."), &["no-such-command"]);
        assert!(succeed(command.stderr(Stdio::null()), "told").is_err());
    }
}
