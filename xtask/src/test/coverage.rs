//! `cargo xtask test --coverage`: which lines of the kustomize engine its tests reach, as cargo-tarpaulin counts them.
//! Its ptrace engine needs nothing of the compiler, so the pinned stable toolchain is enough.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use plumb_plane::cache_folder;
use serde::Deserialize;

use super::{cargo, finish, say, shared_folder, target_folder};

/// Fewer percent than this of the lines of the crate is a failure.
const PERCENT_MIN: f64 = 90.0;
const PACKAGE: &str = "plumb-kustomize";
const FOLDER: &str = "crates/kustomize/src";

/// What tarpaulin writes.
#[derive(Deserialize)]
struct Report {
    files: Vec<FileReport>,
}

#[derive(Deserialize)]
struct FileReport {
    /// One component each, the root first.
    path: Vec<String>,
    covered: u32,
    coverable: u32,
}

/// Runs the crate's tests and prints the percentage of each file and of all.
pub fn run(root: &Path) -> Result<()> {
    let program = tarpaulin(root)?;
    let folder = target_folder(root)?.join("coverage");
    fs::create_dir_all(&folder)?;
    let mut command = Command::new(program);
    command.current_dir(root).env("PLUMB_SHARED", shared_folder(root));
    // Traced, each case takes long, and a few run through the same lines.
    command.env("PLUMB_DIFFERENTIAL_CASES", "10");
    command.args([
        "tarpaulin",
        "--engine",
        "ptrace",
        "--packages",
        PACKAGE,
        "--skip-clean",
        "--timeout",
        "900",
    ]);
    command.args(["--include-files", &format!("{FOLDER}/*"), "--out", "Json", "--output-dir"]).arg(&folder);
    // Apart from the usual target folder: other flags of the compiler would make it rebuild everything.
    command.arg("--target-dir").arg(folder.join("target"));
    finish(&mut command, "the tests failed under cargo-tarpaulin; see above")?;
    let written = fs::read_to_string(folder.join("tarpaulin-report.json"));
    let report: Report = serde_json::from_str(&written.context("cargo-tarpaulin wrote no report")?)
        .context("the report of cargo-tarpaulin is not understood")?;
    let (lines, percent) = table(&report);
    for line in lines {
        say(&line)?;
    }
    if percent < PERCENT_MIN {
        bail!("the tests reach {percent:.1} % of the lines of {PACKAGE}, less than {PERCENT_MIN} %");
    }
    Ok(())
}

/// The user's own, or one that is built into the cache, once.
fn tarpaulin(root: &Path) -> Result<PathBuf> {
    let cached = cache_folder()?.join("tools");
    for program in [PathBuf::from("cargo-tarpaulin"), cached.join("bin/cargo-tarpaulin")] {
        let llvm_cov_version =
            Command::new(&program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if llvm_cov_version.is_ok_and(|status| status.success()) {
            return Ok(program);
        }
    }
    eprintln!("  installing cargo-tarpaulin into {}; this takes some minutes, once", cached.display());
    let mut install = cargo(root);
    install.args(["install", "cargo-tarpaulin", "--locked", "--root"]).arg(&cached);
    finish(&mut install, "cargo-tarpaulin cannot be installed; see above")?;
    Ok(cached.join("bin/cargo-tarpaulin"))
}

/// A line for each file that has lines to reach, and one for all; the percentage of all.
fn table(report: &Report) -> (Vec<String>, f64) {
    let mut files: Vec<(String, u32, u32)> = report
        .files
        .iter()
        .filter(|file| file.coverable > 0)
        .map(|file| {
            let path = file.path.join("/");
            let name = path.rsplit_once(&format!("{FOLDER}/")).map_or(path.as_str(), |(_, name)| name);
            (name.to_owned(), file.covered, file.coverable)
        })
        .collect();
    files.sort();
    let line = |name: &str, covered: u32, coverable: u32| {
        format!("{:6.1} %  {covered:>5} of {coverable:<5}  {name}", percent(covered, coverable))
    };
    let mut lines: Vec<String> =
        files.iter().map(|(name, covered, all)| line(name, *covered, *all)).collect();
    let covered = files.iter().map(|file| file.1).sum();
    let coverable = files.iter().map(|file| file.2).sum();
    lines.push(line("all", covered, coverable));
    (lines, percent(covered, coverable))
}

fn percent(covered: u32, coverable: u32) -> f64 {
    if coverable == 0 { 0.0 } else { 100.0 * f64::from(covered) / f64::from(coverable) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_classified_by_their_names_and_summed() {
        let written = r#"{"files": [
            {"path": ["/", "w", "crates", "kustomize", "src", "set.rs"], "content": "", "traces": [], "covered": 9, "coverable": 10},
            {"path": ["/", "w", "crates", "kustomize", "src", "a", "mod.rs"], "covered": 40, "coverable": 40},
            {"path": ["/", "w", "crates", "kustomize", "src", "none.rs"], "covered": 0, "coverable": 0}
        ]}"#;
        let (lines, percent) = table(&serde_json::from_str(written).unwrap());
        let expect = [
            " 100.0 %     40 of 40     a/mod.rs",
            "  90.0 %      9 of 10     set.rs",
            "  98.0 %     49 of 50     all",
        ];
        assert_eq!(lines, expect);
        assert!((percent - 98.0).abs() < 1e-9);
    }
}
