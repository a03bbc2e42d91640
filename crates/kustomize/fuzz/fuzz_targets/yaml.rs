//! Any bytes as YAML, in both dialects: what is accepted is printed, and the print says the same.
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
