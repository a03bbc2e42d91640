//! Odd inputs, built as kustomize 5.8.1 builds them: each file of `corners` is a table of small trees with what it
//! printed for them.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a case that cannot be set up, or differs, fails the test"
)]

use bytes::Bytes;
use plumb_filetree::{MemoryTree, RelPath, TreeLimits};
use plumb_kustomize::{Build, BuildError, Options, build};

/// A case begins with `#### name`, a file of its tree with `== path`, and what is printed with `=>`; a case without
/// that must be rejected.
#[track_caller]
fn check(table: &str) {
    let mut cases = 0;
    for case in table.split("#### ").skip(1) {
        let (name, rest) = case.split_once('\n').unwrap();
        let (files, expect) = match rest.split_once("=>\n") {
            Some((files, expect)) => (files, Some(expect)),
            None => (rest, None),
        };
        let printed = built(files).map(|build| build.to_yaml());
        match (&printed, expect) {
            (Ok(printed), Some(expect)) => assert_eq!(printed, expect, "{name}"),
            (Err(_), None) => {}
            (printed, _) => panic!("{name}: {printed:?}"),
        }
        cases += 1;
    }
    assert!(cases > 0, "the table has cases");
}

fn built(files: &str) -> Result<Build, BuildError> {
    let mut tree = MemoryTree::builder(TreeLimits::DEFAULT);
    for file in files.split("== ").skip(1) {
        let (path, content) = file.split_once('\n').unwrap();
        let path = RelPath::parse(path).unwrap();
        tree.file(&path, Bytes::copy_from_slice(content.as_bytes()), false).unwrap();
    }
    build(&tree.build(), &RelPath::parse("").unwrap(), &Options::default())
}

#[test]
fn kustomization_files_and_configurations_are_read_strictly() {
    check(include_str!("corners/settings.txt"));
}

#[test]
fn field_specifications_are_merged_in_kustomizes_order() {
    check(include_str!("corners/specifications.txt"));
}

#[test]
fn transformers_and_generators_take_odd_values() {
    check(include_str!("corners/transformers.txt"));
}

#[test]
fn names_vars_and_replacements_find_what_kustomize_finds() {
    check(include_str!("corners/references.txt"));
}

#[test]
fn objects_are_written_and_read_before_they_are_printed() {
    check(include_str!("corners/printing.txt"));
}
