//! Every case of the shared vectors: what builds must be what the kustomize program prints, byte by byte; what is not
//! built must be rejected by name.
//!
//! The vectors are outside of this repository: in `$PLUMB_SHARED`, else in `../shared` next to it. Without them the
//! test prints that and passes.

#![expect(clippy::unwrap_used, reason = "a case that cannot be read fails the test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use plumb_filetree::{MemoryTree, RelPath, TreeBuilder, TreeLimits};
use plumb_kustomize::{ErrorKind, Options, Reach, build};
use serde_json::Value;

/// Cases that differ on purpose, each with its reason.
const EXCEPTIONS: &[(&str, &str)] = &[];

/// The fields that a case may be skipped for; an error that names anything else is a failure.
const NOT_SUPPORTED: &[&str] = &["remote resource"];

enum Outcome {
    Passed,
    Skipped(String),
    Excepted,
    Failed(String),
}

#[test]
fn every_vector_is_printed_as_kustomize_prints_it_or_rejected_by_name() {
    let root = shared().join("vectors/kustomize");
    let Ok(entries) = std::fs::read_dir(&root) else {
        println!("skipped: no vectors at {}", root.display());
        return;
    };
    let mut cases: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    let (mut passed, mut excepted, mut failures) = (0, 0, Vec::new());
    let mut skipped: BTreeMap<String, usize> = BTreeMap::new();
    for case in &cases {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        match run(case, &name) {
            Outcome::Passed => passed += 1,
            Outcome::Excepted => excepted += 1,
            Outcome::Skipped(feature) => *skipped.entry(feature).or_default() += 1,
            Outcome::Failed(message) => failures.push(format!("== {name}\n{message}")),
        }
    }
    let skips: usize = skipped.values().sum();
    println!("{} vectors: {passed} passed, {skips} skipped {skipped:?}, {excepted} excepted", cases.len());
    assert!(failures.is_empty(), "{} failed\n{}", failures.len(), failures.join("\n"));
}

fn shared() -> PathBuf {
    match std::env::var_os("PLUMB_SHARED") {
        Some(path) => path.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
    }
}

fn run(case: &Path, name: &str) -> Outcome {
    let read = |file: &str| std::fs::read_to_string(case.join(file));
    let about: Value = serde_json::from_str(&read("case.json").unwrap()).unwrap();
    let mut builder = MemoryTree::builder(TreeLimits::DEFAULT);
    add(&mut builder, &case.join("input"), &RelPath::root());
    let tree = builder.build();
    let target = RelPath::root().resolve(about["target"].as_str().unwrap()).unwrap();
    let is_free = about["opts"]["LoadRestrictions"] == "none";
    let reach = if is_free { Reach::Tree } else { Reach::OwnDirectory };
    let result = build(&tree, &target, &Options { reach, ..Options::default() });
    let outcome = match (&result, read("expected.yaml"), read("expected.err")) {
        (Err(error), ..) if error.kind() == ErrorKind::Unsupported => {
            let text = error.to_string();
            match NOT_SUPPORTED.iter().find(|feature| text.contains(**feature)) {
                Some(feature) => Outcome::Skipped((*feature).to_owned()),
                None => Outcome::Failed(text),
            }
        }
        (Ok(build), Ok(expected), _) if build.to_yaml() == expected => Outcome::Passed,
        (Ok(build), Ok(expected), _) => Outcome::Failed(difference(&build.to_yaml(), &expected)),
        (Err(error), Ok(_), _) => Outcome::Failed(format!("refused: {error}")),
        (Ok(build), Err(_), expected) => {
            Outcome::Failed(format!("built, but expected {expected:?}:\n{}", build.to_yaml()))
        }
        (Err(error), Err(_), expected) => {
            let expected = expected.unwrap();
            let is_exact = about["class"] != "core-err-nonzero";
            let (said, wanted) = (spaced(&error.to_string()), spaced(&expected));
            if is_exact && !said.contains(&wanted) {
                Outcome::Failed(format!("refused: {said}\nexpected: {wanted}"))
            } else {
                Outcome::Passed
            }
        }
    };
    match (&outcome, EXCEPTIONS.iter().any(|(excepted, _)| *excepted == name)) {
        (Outcome::Failed(_), true) => Outcome::Excepted,
        (Outcome::Passed, true) => Outcome::Failed("an exception that passes".to_owned()),
        _ => outcome,
    }
}

fn spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The first lines that differ.
fn difference(ours: &str, theirs: &str) -> String {
    let at = ours.lines().zip(theirs.lines()).position(|(own, other)| own != other);
    let at = at.unwrap_or_else(|| ours.lines().count().min(theirs.lines().count()));
    let around = |text: &str| {
        let lines: Vec<&str> = text.lines().skip(at.saturating_sub(3)).take(8).collect();
        lines.join("\n")
    };
    format!("line {}\n-- ours\n{}\n-- theirs\n{}", at + 1, around(ours), around(theirs))
}

fn add(builder: &mut TreeBuilder, directory: &Path, path: &RelPath) {
    // One case has no input at all.
    for entry in std::fs::read_dir(directory).into_iter().flatten() {
        let entry = entry.unwrap();
        let child = path.child(&entry.file_name().to_string_lossy()).unwrap();
        if entry.path().is_dir() {
            add(builder, &entry.path(), &child);
        } else {
            builder.file(&child, Bytes::from(std::fs::read(entry.path()).unwrap()), false).unwrap();
        }
    }
}
