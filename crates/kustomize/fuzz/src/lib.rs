//! What all targets share: a tree made from texts, small limits, and what must hold for every build.

use bytes::Bytes;
use plumb_filetree::{FileTree, MemoryTree, RelPath, TreeLimits};
use plumb_kustomize::{Build, BuildError, Limits, Options, build};
use plumb_manifests::yaml::{self, Node};

/// A Deployment, a Service and a ConfigMap that refer to each other.
pub const OBJECTS: &str = include_str!("objects.yaml");

/// Limits small enough that work which is not counted shows up as a slow input.
pub fn limits() -> Limits {
    Limits {
        files_max: 200,
        file_bytes_max: 1 << 20,
        read_bytes_max: 4 << 20,
        values_max: 50_000,
        objects_max: 2_000,
        depth_max: 16,
        output_bytes_max: 4 << 20,
        steps_max: 1_000_000,
        yaml: yaml_limits(),
    }
}

/// The same for one text.
pub fn yaml_limits() -> yaml::Limits {
    yaml::Limits { nodes_max: 50_000, alias_allowance: 10_000, ..yaml::Limits::default() }
}

/// A tree of texts.
pub fn tree(files: &[(&str, &[u8])]) -> MemoryTree {
    let mut builder = MemoryTree::builder(TreeLimits::DEFAULT);
    for (path, text) in files {
        if let Ok(path) = RelPath::parse(path) {
            // What does not fit into a tree never reaches a build.
            let _ = builder.file(&path, Bytes::copy_from_slice(text), false);
        }
    }
    builder.build()
}

/// Builds the root of a tree and checks what must hold for every result. No input may panic, hang or grow.
pub fn check(files: &[(&str, &[u8])]) -> Option<Build> {
    let tree = tree(files);
    let options = Options { limits: limits(), ..Options::default() };
    match build(&tree, &RelPath::root(), &options) {
        Ok(build) => {
            check_build(&tree, &build, &options);
            Some(build)
        }
        Err(error) => {
            check_error(&error);
            None
        }
    }
}

fn check_error(error: &BuildError) {
    assert!(!error.to_string().is_empty(), "an error says something");
}

fn check_build(tree: &dyn FileTree, build: &Build, options: &Options) {
    assert!(build.reads.holds_in(tree), "what was read is what is there");
    let printed = build.to_yaml();
    if build.objects.iter().all(|built| is_printable(&built.node)) {
        for built in &build.objects {
            check_printed(&built.node);
        }
    }
    // The same again, of the same tree: the engine has no memory.
    let again = plumb_kustomize::build(tree, &RelPath::root(), options);
    assert!(again.is_ok_and(|again| again.to_yaml() == printed), "a build can be repeated");
}

/// The output parses to the same value again, in both dialects.
pub fn check_printed(node: &Node) {
    let printed = yaml::to_string(node);
    let limits = yaml::Limits::default();
    let expect = node.to_json();
    let read = yaml::parse(&printed, &limits);
    let read = match read {
        Ok(documents) => documents.into_iter().next().map(|document| document.node.to_json()),
        Err(error) => panic!("printed as {printed:?}, which is refused: {error}\n{expect:?}"),
    };
    assert_eq!(read.as_ref(), Some(&expect), "printed as {printed:?}");
    let read = yaml::parse_settings(&printed, &limits);
    assert_eq!(read.as_ref(), Ok(&expect), "printed as {printed:?}, read as settings");
}

/// Whether a document is one that can be read again: an object, all of whose values can. kustomize prints some values
/// so that they cannot, and so do we: see README.md.
pub fn is_printable(document: &Node) -> bool {
    !document.is_scalar() && is_printable_value(document)
}

fn is_printable_value(node: &Node) -> bool {
    match node {
        Node::Null(_) => true,
        Node::Plain(plain) => plain.is_finite(),
        Node::String(text) => is_printable_text(text),
        Node::Array(items) => items.iter().all(is_printable_value),
        Node::Object(map) => map.iter().all(|(key, value)| is_printable_text(key) && is_printable_value(value)),
    }
}

fn is_printable_text(text: &str) -> bool {
    // Line breaks of YAML 1.1 are printed raw, as kustomize does, and YAML 1.2 takes them for text.
    const OLD_BREAKS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];
    text != "<<" && !text.contains(['\u{feff}', '\u{7f}']) && !text.contains(OLD_BREAKS)
}

/// The two halves of a text, cut at a line of percent signs.
pub fn halves(bytes: &[u8]) -> (&[u8], Option<&[u8]>) {
    const CUT: &[u8] = b"\n%%%\n";
    match bytes.windows(CUT.len()).position(|window| window == CUT) {
        Some(at) => (&bytes[..at + 1], Some(&bytes[at + CUT.len()..])),
        None => (bytes, None),
    }
}
