//! Any text as the content of a ConfigMap into which variables are put; the first line is a value of one of them.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use plumb_kustomize_fuzz::tree;
use plumb_manifests::yaml::{self, Map, Node};
use plumb_rendering::{Options, RenderError, RenderSpec, Rendered, Unset, When, prepare};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (first, rest) = text.split_once('\n').unwrap_or(("", text));
    let mut object = Map::new();
    object.insert("apiVersion", "v1");
    object.insert("kind", "ConfigMap");
    object.insert("metadata", Map::from_iter([("name".into(), Node::text("a"))]));
    object.insert("data", Map::from_iter([("k".into(), Node::text(rest)), ("$${v}".into(), Node::text("x"))]));
    let printed = yaml::to_string(&Node::from(object));
    let tree = tree(&[("kustomization.yaml", b"resources: [a.yaml]\n"), ("a.yaml", printed.as_bytes())]);
    let pairs = [("v", first), ("path", "/a/b/c.txt"), ("n", "3"), ("empty", ""), ("word", "\u{df}\u{e9}aAz*?[")];
    let vars: BTreeMap<String, String> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let spec = RenderSpec { when: When::Always, ..RenderSpec::default() };
    for unset in [Unset::Refused, Unset::Empty] {
        let options = Options { unset, ..Options::default() };
        let render = || -> Result<Rendered, RenderError> { prepare(&tree, &spec, &options)?.render(&spec, &vars, &options) };
        match render() {
            Ok(rendered) => {
                assert!(rendered.reads.holds_in(&tree));
                let again = render();
                assert!(again.is_ok_and(|again| again.digest == rendered.digest));
                for built in &rendered.objects {
                    drop(yaml::json_to_string(built.object.value()));
                }
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});
