//! Bytes that are no plain text: rejected with their position, or built as kustomize builds them.

use bytes::Bytes;
use plumb_filetree::{MemoryTree, RelPath, TreeLimits};
use plumb_kustomize::{Build, BuildError, Options, build};

fn built(object: &[u8]) -> Result<Build, BuildError> {
    built_with(b"resources: [a.yaml]\n", object)
}

fn built_with(settings: &[u8], object: &[u8]) -> Result<Build, BuildError> {
    let mut builder = MemoryTree::builder(TreeLimits::DEFAULT);
    for (path, content) in [("kustomization.yaml", settings), ("a.yaml", object)] {
        builder.file(&RelPath::parse(path).unwrap(), Bytes::copy_from_slice(content), false).unwrap();
    }
    build(&builder.build(), &RelPath::root(), &Options::default())
}

#[track_caller]
fn reject(object: &[u8], part: &str) {
    let error = built(object).unwrap_err().to_string();
    assert!(error.contains(part), "{error}");
}

#[track_caller]
fn check(object: &str, expect: &str) {
    assert_eq!(built(object.as_bytes()).unwrap().to_yaml(), expect);
}

const X: &str = "kind: X\nmetadata:\n  name: x\n";

#[test]
fn bytes_that_are_no_utf_8_are_rejected_with_the_file() {
    reject(b"kind: X\nmetadata: {name: x}\na: \xff\n", "/a.yaml:3:1: the content is not UTF-8");
    reject(b"\xc3\x28", "/a.yaml:1:1: the content is not UTF-8");
    // A surrogate, and a slash that is longer than it needs to be.
    reject(b"kind: X\nmetadata: {name: \xed\xa0\x80}\n", "not UTF-8");
    reject(b"kind: X\nmetadata: {name: ..\xc0\xaf}\n", "not UTF-8");
    let error = built_with(b"namePrefix: \xff\n", b"").unwrap_err().to_string();
    assert!(error.contains("/kustomization.yaml:1:1: the content is not UTF-8"), "{error}");
}

#[test]
fn characters_that_yaml_does_not_allow_are_rejected_with_their_position() {
    reject(b"kind: X\nmetadata: {name: x}\na: b\0c\n", "/a.yaml:3:");
    reject(b"kind: X\nmetadata: {name: x}\na: \x01\n", "/a.yaml:3:");
    reject(b"kind: X\nmetadata: {name: x}\na: \"\x07\"\n", "/a.yaml:3:");
    reject(b"kind: X\nmetadata: {name: x}\na: \"\\U00110000\"\n", "/a.yaml:3:");
    reject(b"kind: X\nmetadata: {name: x}\na: \"\\q\"\n", "/a.yaml:3:");
    reject(b"kind: X\nmetadata:\n\tname: x\n", "/a.yaml:3:");
}

#[test]
fn marks_and_line_ends_of_other_systems_are_read() {
    check("\u{feff}kind: X\nmetadata:\n  name: x\n", X);
    check("kind: X\r\nmetadata:\r\n  name: x\r\n", X);
    check(
        "kind: X\nmetadata:\n  name: x\nt: |\n  a\r\n  b\n",
        "kind: X\nmetadata:\n  name: x\nt: |\n  a\n  b\n",
    );
}

#[test]
fn utf_16_with_its_mark_is_read() {
    let units: Vec<u16> = format!("\u{feff}{X}a: \u{e9}\u{1f600}\n").encode_utf16().collect();
    let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
    for bytes in [&little, &big] {
        assert_eq!(built(bytes).unwrap().to_yaml(), format!("a: \"\u{e9}\\U0001F600\"\n{X}"));
        assert_eq!(built_with(b"resources: [a.yaml]\nnamePrefix: p-\n", bytes).unwrap().objects.len(), 1);
        reject(&bytes[..bytes.len() - 1], "/a.yaml: the content has the mark of UTF-16");
    }
    reject(b"\xff\xfe\x00\xd8a\0", "/a.yaml: the content has the mark of UTF-16");
    reject(&little[2..], "the content is not UTF-8");
}

#[test]
fn escaped_characters_are_printed_so_that_they_can_be_read() {
    check("kind: X\nmetadata: {name: x}\na: \"\\0\\e\\t\"\n", &format!("a: \"\\0\\e\\t\"\n{X}"));
    check("kind: X\nmetadata: {name: x}\na: \"\\U0001F600\"\n", &format!("a: \"\\U0001F600\"\n{X}"));
}

#[test]
fn a_json_patch_with_half_a_character_is_rejected() {
    let patch = r#"[{"op": "add", "path": "/a", "value": "\ud83d"}]"#;
    let settings = format!("resources: [a.yaml]\npatches: [{{patch: '{patch}', target: {{kind: X}}}}]\n");
    let error = built_with(settings.as_bytes(), X.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("unable to parse SM or JSON patch from [patch: 48 bytes]: no JSON"), "{error}");
}

#[test]
fn bytes_of_any_kind_can_be_generated() {
    let settings = b"configMapGenerator: [{name: c, files: [a.yaml]}]\n";
    let bytes: Vec<u8> = (0..=255).collect();
    let build = built_with(settings, &bytes).unwrap();
    assert!(build.to_yaml().contains("binaryData:\n  a.yaml: |\n"));
    let build = built_with(settings, b"a\0b").unwrap();
    assert!(build.to_yaml().contains("a.yaml: \"a\\0b\"\n"));
}
