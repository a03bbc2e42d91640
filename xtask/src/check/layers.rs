//! Checks cargo's dependency graph against `layers.toml`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use super::Outcome;

#[derive(Deserialize)]
struct Layers {
    #[serde(rename = "crate")]
    rooms: BTreeMap<String, Room>,
    forbidden: BTreeMap<String, BTreeSet<String>>,
    #[serde(default)]
    pure_parts: Vec<PurePart>,
    #[serde(default)]
    only_in: Vec<OnlyIn>,
}

/// Code that is allowed in these files alone.
#[derive(Deserialize)]
struct OnlyIn {
    /// The text.
    text: String,
    /// Where it is allowed: files, and folders with all files in them; from the root. Tests may have it everywhere.
    files: Vec<String>,
    /// What that keeps true.
    reason: String,
}

/// Part of a crate that is pure though the crate is not.
#[derive(Deserialize)]
struct PurePart {
    /// Files, and folders with all that is in them; from the root.
    paths: Vec<String>,
    /// Paths of the language that are allowed although their crate is not pure.
    #[serde(default)]
    allowed: Vec<String>,
}

#[derive(Deserialize)]
struct Room {
    kind: String,
    uses: Uses,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Uses {
    Word(String),
    List(BTreeSet<String>),
}

impl Layers {
    /// Whether tests may use a crate: every library is allowed in a test, a binary never.
    fn serves_tests(&self, name: &str) -> bool {
        self.rooms.get(name).is_some_and(|room| room.kind != "binary")
    }
}

/// Fails with every dependency that the table does not allow.
pub fn run(root: &Path) -> Result<Outcome> {
    let text = std::fs::read_to_string(root.join("layers.toml")).context("cannot read layers.toml")?;
    let layers: Layers = toml::from_str(&text).context("layers.toml is not valid")?;
    let metadata = super::cargo(root, &["metadata", "--no-deps", "--format-version", "1"]).output()?;
    if !metadata.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&metadata.stderr));
    }
    let metadata: Value = serde_json::from_slice(&metadata.stdout)?;
    let mut breaches = breaches(&layers, &metadata);
    for part in &layers.pure_parts {
        breaches.extend(impure_lines(root, &layers, part)?);
    }
    breaches.extend(unguarded(root, &layers)?);
    breaches.extend(strays(root, &layers)?);
    if breaches.is_empty() { Ok(Outcome::Passed) } else { bail!("\n  {}", breaches.join("\n  ")) }
}

/// The lines of a pure part that name a crate which a pure crate must not use. Tests may.
fn impure_lines(root: &Path, layers: &Layers, part: &PurePart) -> Result<Vec<String>> {
    let names = impure_names(layers);
    let mut found = Vec::new();
    for file in super::tidy::rust_files(root)? {
        let path = file.strip_prefix(root).unwrap_or(&file);
        if !part.paths.iter().any(|part| path.starts_with(part)) || is_test(path) {
            continue;
        }
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", path.display()))?;
        for (number, line) in (1..).zip(text.lines()) {
            if let Some(name) = impure_name(line, &names, &part.allowed) {
                found.push(format!("{}:{number}: a pure part must not use {name}", path.display()));
            }
        }
    }
    Ok(found)
}

/// The attribute with which clippy holds a pure crate to `clippy.toml`.
const GUARD: &str = "#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]";

/// Roots of pure crates and parts without [`GUARD`].
fn unguarded(root: &Path, layers: &Layers) -> Result<Vec<String>> {
    let crates = layers.rooms.iter().filter(|(_, room)| matches!(room.kind.as_str(), "pure" | "words"));
    let roots = crates.map(|(name, _)| format!("crates/{name}/src/lib.rs"));
    let parts = layers
        .pure_parts
        .iter()
        .flat_map(|part| &part.paths)
        .filter(|path| Path::new(path).extension().is_some())
        .cloned();
    let mut found = Vec::new();
    for path in roots.chain(parts) {
        let text =
            std::fs::read_to_string(root.join(&path)).with_context(|| format!("cannot read {path}"))?;
        if !text.contains(GUARD) {
            found.push(format!("{path}: it is pure and lacks {GUARD}"));
        }
    }
    Ok(found)
}

/// Lines with a text that is allowed in other files only.
fn strays(root: &Path, layers: &Layers) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for file in super::tidy::rust_files(root)? {
        let path = file.strip_prefix(root).unwrap_or(&file);
        let is_ours =
            !path.starts_with("tests") && !path.starts_with("xtask") && !path.starts_with("crates/testkit");
        if !is_ours || is_test(path) || path.starts_with("crates/plane") {
            continue;
        }
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", path.display()))?;
        for rule in &layers.only_in {
            if text.contains(&rule.text) && !rule.files.iter().any(|file| path.starts_with(file)) {
                found.push(format!("{}: {} stands here: {}", path.display(), rule.text, rule.reason));
            }
        }
    }
    Ok(found)
}

fn is_test(path: &Path) -> bool {
    let names = path.iter().filter_map(|name| name.to_str()).map(|name| name.trim_end_matches(".rs"));
    names.into_iter().any(|name| matches!(name, "tests" | "stories"))
}

/// Crates that a pure crate must not use, as they are written in code.
fn impure_names(layers: &Layers) -> Vec<String> {
    let pure = |room: &Room| matches!(room.kind.as_str(), "pure" | "words");
    let impure = layers.rooms.iter().filter(|(_, room)| !pure(room)).map(|(name, _)| format!("plumb_{name}"));
    let outside = layers.forbidden.get("pure").into_iter().flatten().cloned();
    impure.chain(outside).map(|name| name.replace('-', "_")).collect()
}

fn impure_name<'n>(line: &str, names: &'n [String], allowed: &[String]) -> Option<&'n String> {
    if line.trim_start().starts_with("//") {
        return None;
    }
    let rest = allowed.iter().fold(line.to_owned(), |line, allowed| line.replace(allowed.as_str(), ""));
    names.iter().find(|name| rest.contains(&format!("{name}::")))
}

fn breaches(layers: &Layers, metadata: &Value) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut seen = BTreeSet::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = room_name(package["name"].as_str().unwrap_or_default());
        seen.insert(name.to_owned());
        let Some(room) = layers.rooms.get(name) else {
            breaches.push(format!("crate {name} stands in no row of layers.toml"));
            continue;
        };
        let dependencies = || package["dependencies"].as_array().into_iter().flatten();
        for dependency in dependencies() {
            breaches.extend(judge(layers, name, room, dependency));
        }
        if let Uses::List(allowed) = &room.uses {
            let used: BTreeSet<&str> =
                dependencies().filter_map(|dependency| dependency["name"].as_str()).map(room_name).collect();
            for unused in allowed.iter().filter(|allowed| !used.contains(allowed.as_str())) {
                breaches.push(format!("layers.toml allows {name} to use {unused}, which it does not"));
            }
        }
    }
    for name in layers.rooms.keys().filter(|name| !seen.contains(*name)) {
        breaches.push(format!("layers.toml names {name}, which is no crate"));
    }
    breaches
}

fn judge(layers: &Layers, name: &str, room: &Room, dependency: &Value) -> Option<String> {
    let used = dependency["name"].as_str().unwrap_or_default();
    let is_dev = dependency["kind"].as_str() == Some("dev");
    let is_ours = dependency["path"].is_string();
    if !is_ours {
        let forbidden = layers.forbidden.get(&room.kind).is_some_and(|set| set.contains(used));
        return (forbidden && !is_dev).then(|| format!("{name} ({}) must not use {used}", room.kind));
    }
    let used = room_name(used);
    let allowed = match &room.uses {
        Uses::Word(word) => word == "any",
        Uses::List(list) => used == "status" || list.contains(used) || (is_dev && layers.serves_tests(used)),
    };
    (!allowed).then(|| format!("{name} may not use {used}: layers.toml does not list it"))
}

fn room_name(package: &str) -> &str {
    package.strip_prefix("plumb-").unwrap_or(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dependency: &Value, expect: Option<&str>) {
        let layers: Layers = toml::from_str(
            "[crate.planning]\nkind = \"pure\"\nuses = [\"manifests\"]\n\
             [crate.store]\nkind = \"adapter\"\nuses = []\n[crate.source-controller]\nkind = \"binary\"\nuses = []\n\
             [forbidden]\npure = [\"tokio\"]\n",
        )
        .unwrap();
        let room = &layers.rooms["planning"];
        assert_eq!(judge(&layers, "planning", room, dependency).as_deref(), expect);
    }

    #[test]
    fn a_listed_crate_is_allowed() {
        check(&serde_json::json!({"name": "plumb-manifests", "path": "/x"}), None);
    }

    #[test]
    fn status_is_open_to_all() {
        check(&serde_json::json!({"name": "plumb-status", "path": "/x"}), None);
    }

    #[test]
    fn an_unlisted_crate_is_a_breach() {
        check(
            &serde_json::json!({"name": "plumb-apply", "path": "/x"}),
            Some("planning may not use apply: layers.toml does not list it"),
        );
    }

    #[test]
    fn a_library_may_be_in_a_test_and_a_binary_may_not() {
        check(&serde_json::json!({"name": "plumb-store", "path": "/x", "kind": "dev"}), None);
        check(
            &serde_json::json!({"name": "source-controller", "path": "/x", "kind": "dev"}),
            Some("planning may not use source-controller: layers.toml does not list it"),
        );
    }

    #[test]
    fn a_pure_crate_has_no_runtime_but_may_test_with_one() {
        check(&serde_json::json!({"name": "tokio"}), Some("planning (pure) must not use tokio"));
        check(&serde_json::json!({"name": "tokio", "kind": "dev"}), None);
    }

    #[test]
    fn a_pure_part_names_no_impure_crate() {
        let text = "[crate.planning]\nkind = \"pure\"\nuses = []\n[crate.cluster]\nkind = \"adapter\"\nuses = []\n\
                    [forbidden]\npure = [\"tokio\"]\n";
        let names = impure_names(&toml::from_str(text).unwrap());
        let allowed = ["plumb_cluster::Name".to_owned()];
        for (line, expect) in [
            ("use plumb_planning::plan;", None),
            ("use plumb_cluster::Name;", None),
            ("use plumb_cluster::Cluster;", Some("plumb_cluster")),
            ("    tokio::spawn(work);", Some("tokio")),
            ("// tokio::spawn is not used here", None),
        ] {
            assert_eq!(impure_name(line, &names, &allowed).map(String::as_str), expect, "{line}");
        }
    }
}
