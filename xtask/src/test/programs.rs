//! The test programs that cargo built: which package and target each belongs to, and its path.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::WITH_PLANE;

/// The target of a package that a test program was made of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// `--lib`.
    Library,
    /// `--bin NAME`.
    Binary(String),
    /// `--test NAME`.
    Integration(String),
}

/// One test program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The package it belongs to.
    pub package: String,
    /// The package's folder: the program runs there.
    pub folder: PathBuf,
    /// What it was made of.
    pub target: Target,
    /// Its path.
    pub executable: PathBuf,
}

impl Target {
    /// The words that choose it on cargo's command line.
    pub fn words(&self) -> Vec<String> {
        match self {
            Self::Library => vec!["--lib".to_owned()],
            Self::Binary(name) => vec!["--bin".to_owned(), name.clone()],
            Self::Integration(name) => vec!["--test".to_owned(), name.clone()],
        }
    }
}

impl Program {
    /// The last part of the executable's path; cargo makes it unique.
    pub fn file_name(&self) -> String {
        self.executable.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Whether its tests need a control plane.
    pub fn needs_plane(&self) -> bool {
        let Target::Integration(target) = &self.target else { return false };
        WITH_PLANE.contains(&(&*self.package, &**target))
    }

    /// A command that runs it as `cargo test` does.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.executable);
        command.current_dir(&self.folder).env("CARGO_MANIFEST_DIR", &self.folder);
        command
    }
}

/// The packages of the workspace, by name, with their folders.
pub fn packages(cargo: &mut Command) -> Result<BTreeMap<String, PathBuf>> {
    let output = cargo
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .context("cannot start cargo")?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata failed")?;
    let mut packages = BTreeMap::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let (Some(name), Some(manifest)) = (package["name"].as_str(), package["manifest_path"].as_str())
        else {
            bail!("cargo metadata lists a package without a name or a manifest");
        };
        let folder = Path::new(manifest).parent().context("a manifest lies in a folder")?;
        packages.insert(name.to_owned(), folder.to_path_buf());
    }
    Ok(packages)
}

/// Builds with `cargo test --no-run …` and returns the programs; an error with cargo's own message if it
/// does not compile.
pub fn build(command: &mut Command, packages: &BTreeMap<String, PathBuf>) -> Result<Vec<Program>> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {command:?}"))?;
    let messages = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("{}{}", rendered_errors(&messages), String::from_utf8_lossy(&output.stderr));
    }
    Ok(messages.lines().filter_map(|line| read(line, packages)).collect())
}

/// A line of `--message-format json`: a test program, or something else.
fn read(line: &str, packages: &BTreeMap<String, PathBuf>) -> Option<Program> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message["profile"]["test"] != Value::Bool(true) {
        return None;
    }
    let executable = message["executable"].as_str()?.into();
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?.to_path_buf();
    let package = packages.iter().find(|(_, known)| **known == folder)?.0.clone();
    let name = message["target"]["name"].as_str()?.to_owned();
    let target = match message["target"]["kind"][0].as_str()? {
        "test" => Target::Integration(name),
        "bin" => Target::Binary(name),
        _ => Target::Library,
    };
    Some(Program { package, folder, target, executable })
}

fn rendered_errors(messages: &str) -> String {
    let values = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let errors = values.filter(|value| value["message"]["level"] == "error");
    errors.filter_map(|value| value["message"]["rendered"].as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_read_from_the_artifact_messages_of_cargo() {
        let packages = BTreeMap::from([("plumb-a".to_owned(), PathBuf::from("/w/crates/a"))]);
        let line = |kind: &str, test: bool| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/w/crates/a/Cargo.toml","target":{{"kind":["{kind}"],"name":"it"}},"profile":{{"test":{test}}},"executable":"/w/target/debug/deps/it-01"}}"#
            )
        };
        let program = read(&line("test", true), &packages).unwrap();
        assert_eq!(program.package, "plumb-a");
        assert_eq!(program.target, Target::Integration("it".to_owned()));
        assert_eq!(program.file_name(), "it-01");
        assert!(!program.needs_plane());
        assert!(Program { package: "plumb-tests".to_owned(), ..program.clone() }.needs_plane());
        let unit = Program { package: "plumb-plane".to_owned(), target: Target::Library, ..program };
        assert!(!unit.needs_plane(), "only its integration test does");
        assert_eq!(read(&line("lib", true), &packages).unwrap().target.words(), ["--lib"]);
        assert_eq!(read(&line("bin", false), &packages), None);
        assert_eq!(read("   Compiling plumb-a", &packages), None);
    }
}
