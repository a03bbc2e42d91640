//! No controller ever starts a process: the sources of the controllers, and of every library that they are linked with from
//! this workspace, name nothing that does. Tests may, and so may the tools.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{Outcome, cargo};

/// Calls that start a process or load code, as they are written in a source.
const STARTERS: [&str; 8] = [
    "process::Command",
    "CommandExt",
    "Command::new(",
    "execve",
    "posix_spawn",
    "libloading",
    "dlopen",
    "fork(",
];
const CONTROLLERS: [&str; 3] = ["kustomize-controller", "notification-controller", "source-controller"];

/// Fails with every line of a controller, or of a library in it, that names what starts a process.
pub fn run(root: &Path) -> Result<Outcome> {
    let output = cargo(root, &["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .context("cannot start cargo")?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata failed")?;
    let mut breaches = Vec::new();
    for folder in linked(&metadata)? {
        let mut files = Vec::new();
        collect(&folder.join("src"), &mut files)?;
        for file in files {
            let text = std::fs::read_to_string(&file)?;
            let shown = file.strip_prefix(root).unwrap_or(&file).display().to_string();
            breaches.extend(starters(&text).map(|(line, word)| format!("{shown}:{line}: {word}")));
        }
    }
    if breaches.is_empty() {
        Ok(Outcome::Passed)
    } else {
        bail!("a controller starts no process:\n  {}", breaches.join("\n  "))
    }
}

/// The folders of the controllers and of the workspace's libraries that are linked into them.
fn linked(metadata: &Value) -> Result<Vec<PathBuf>> {
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let by_name: BTreeMap<&str, &Value> =
        packages.iter().filter_map(|package| Some((package["name"].as_str()?, package))).collect();
    let mut open: Vec<&str> = CONTROLLERS.to_vec();
    let mut seen = BTreeSet::new();
    let mut folders = Vec::new();
    while let Some(name) = open.pop() {
        let Some(package) = by_name.get(name).filter(|_| seen.insert(name)) else { continue };
        let manifest = Path::new(package["manifest_path"].as_str().context("a package has a manifest")?);
        folders.push(manifest.parent().context("a manifest lies in a folder")?.to_path_buf());
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            if dependency["path"].is_string() && dependency["kind"].as_str() != Some("dev") {
                open.extend(dependency["name"].as_str());
            }
        }
    }
    if CONTROLLERS.iter().any(|name| !seen.contains(name)) || folders.len() <= CONTROLLERS.len() {
        bail!("cargo metadata does not list the controllers and their libraries");
    }
    Ok(folders)
}

/// Source files, without those that only tests are made of: `tests.rs`, and modules that are declared for tests only.
fn collect(folder: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        paths.push(entry?.path());
    }
    let is_source = |path: &Path| path.extension().is_some_and(|extension| extension == "rs");
    let mut skipped = BTreeSet::from(["tests".to_owned()]);
    let parent = folder.with_extension("rs");
    for file in paths.iter().chain([&parent]).filter(|path| is_source(path) && path.is_file()) {
        skipped.extend(test_modules(&std::fs::read_to_string(file)?));
    }
    for path in paths {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        if skipped.contains(stem.as_ref()) {
            continue;
        }
        if path.is_dir() {
            collect(&path, into)?;
        } else if is_source(&path) {
            into.push(path);
        }
    }
    Ok(())
}

fn test_modules(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let pairs = lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]");
    let declared = pairs.filter_map(|pair| pair[1].split_once("mod ")?.1.strip_suffix(';'));
    declared.map(str::to_owned).collect()
}

/// The lines above the tests that name a starter, and which.
fn starters(text: &str) -> impl Iterator<Item = (usize, &'static str)> {
    let tests = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..tests].lines().enumerate().flat_map(|(number, line)| {
        let code = line.split("//").next().unwrap_or_default();
        STARTERS.into_iter().filter(move |word| names(code, word)).map(move |word| (number + 1, word))
    })
}

/// Whether the word is in the code, and not the end of a longer one.
fn names(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::workspace_root;

    #[test]
    fn no_source_of_a_controller_names_what_starts_a_process() {
        run(&workspace_root().unwrap()).unwrap();
    }

    #[test]
    fn a_starter_is_found_in_code_and_not_in_comments_or_tests() {
        let found = |text: &str| starters(text).collect::<Vec<_>>();
        assert_eq!(found("use std::process::Command;\n"), [(1, "process::Command")]);
        assert_eq!(found("\n    tokio::process::Command::new(\"x\")\n").len(), 2);
        assert_eq!(
            found("// std::process::Command\n#[cfg(test)]\nmod tests {\n    use std::process::Command;\n"),
            []
        );
        assert_eq!(found("LsRefsCommand::new(x)"), []);
        assert_eq!(test_modules("#[cfg(test)]\nmod crash;\nmod store;\n"), ["crash"]);
    }
}
