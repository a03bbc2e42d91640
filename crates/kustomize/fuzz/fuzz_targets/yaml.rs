//! Any bytes as YAML, in both dialects: what is accepted is printed, and the output parses to the same value. What the quick reader
//! accepts, the parser accepts too, with the same value.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plumb_kustomize_fuzz::{check_printed, is_printable, yaml_limits};
use plumb_manifests::yaml::{self, Dialect, Node};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let limits = yaml_limits();
    for dialect in [Dialect::Objects, Dialect::Settings] {
        check_readers(text, dialect);
    }
    for dialect in [Dialect::Objects, Dialect::Settings] {
        match yaml::parse_as(text, dialect, &limits) {
            Ok(documents) => {
                for document in documents {
                    assert!(document.line >= 1);
                    if is_printable(&document.node) {
                        check_printed(&document.node);
                    }
                }
            }
            Err(error) => {
                assert!(error.line >= 1 && error.column >= 1, "{error}");
                assert!(error.line <= text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count() + 1, "{error}");
                assert!(!error.message.is_empty());
            }
        }
    }
    if let Ok(value) = yaml::parse_settings(text, &limits) {
        let node = Node::from(value);
        if is_printable(&node) {
            check_printed(&node);
        }
    }
});

/// The quick reader leaves anchors to the parser, so one more key with an anchor shows what the parser makes of the rest.
fn check_readers(text: &str, dialect: Dialect) {
    const MORE: &str = "zzzz: &z 1\n";
    let limits = yaml_limits();
    let has_marks = text.lines().any(|line| line.starts_with("---") || line.starts_with("...") || line.starts_with('%'));
    if !text.ends_with('\n') || has_marks || text.contains("zzzz") || text.contains(['&', '*', '!', '\r', '\u{feff}']) {
        return;
    }
    let Ok(read) = yaml::parse_as(text, dialect, &limits) else {
        return;
    };
    let [yaml::Document { node: Node::Object(map), .. }] = &read[..] else {
        return;
    };
    let is_flow = text.lines().any(|line| line.trim_start().starts_with('{'));
    if is_flow || map.is_empty() {
        return;
    }
    let slow = match yaml::parse_as(&format!("{text}{MORE}"), dialect, &limits) {
        Ok(documents) => documents,
        // A map that is indented is none that a key can follow.
        Err(_) if text.lines().any(|line| line.starts_with(' ')) && !text.starts_with(|c: char| c.is_alphanumeric()) => return,
        Err(error) => panic!("read as {map:?}, but refused by the parser: {error}"),
    };
    let Some(Node::Object(mut slow)) = slow.into_iter().next().map(|document| document.node) else {
        panic!("the parser reads no map");
    };
    slow.remove("zzzz");
    // The debug form distinguishes quotes and kinds of nulls.
    assert_eq!(format!("{map:?}"), format!("{slow:?}"), "quick and slow");
}
