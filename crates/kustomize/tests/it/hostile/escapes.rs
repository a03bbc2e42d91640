//! Paths that lead out of the tree, out of the directory, or to another host; and the secrets that must not come back.

use bytes::Bytes;
use plumb_filetree::{EntryKind, FileTree, MemoryTree, ReadError, RelPath};
use plumb_kustomize::{ErrorKind, Options, Reach, build};

use crate::hostile::{A, built, tree};

/// Every field that accepts a path, which is `PATH`.
const FIELDS: [&str; 26] = [
    "resources: [PATH]\n",
    "bases: [PATH]\n",
    "components: [PATH]\n",
    "resources: [a.yaml]\npatches: [{path: PATH}]\n",
    "resources: [a.yaml]\npatches: [{path: PATH, target: {kind: X}}]\n",
    "resources: [a.yaml]\npatchesStrategicMerge: [PATH]\n",
    "resources: [a.yaml]\npatchesJson6902: [{path: PATH, target: {version: v1, kind: X, name: x}}]\n",
    "configMapGenerator: [{name: c, files: [PATH]}]\n",
    "configMapGenerator: [{name: c, files: [KEYPATH]}]\n",
    "configMapGenerator: [{name: c, envs: [PATH]}]\n",
    "configMapGenerator: [{name: c, env: PATH}]\n",
    "secretGenerator: [{name: c, files: [PATH]}]\n",
    "secretGenerator: [{name: c, envs: [PATH]}]\n",
    "resources: [a.yaml]\nconfigurations: [PATH]\n",
    "resources: [a.yaml]\ncrds: [PATH]\n",
    "resources: [a.yaml]\nopenapi: {path: PATH}\n",
    "resources: [a.yaml]\nreplacements: [{path: PATH}]\n",
    "resources: [a.yaml]\ngenerators: [PATH]\n",
    "resources: [a.yaml]\ntransformers: [PATH]\n",
    "resources: [a.yaml]\nvalidators: [PATH]\n",
    "resources: [a.yaml]\ntransformers:\n- '{apiVersion: builtin, kind: PatchTransformer, metadata: {name: t}, path: PATH2}'\n",
    "resources: [a.yaml]\ntransformers:\n- '{apiVersion: builtin, kind: PatchStrategicMergeTransformer, metadata: {name: t}, \
     paths: [PATH2]}'\n",
    "resources: [a.yaml]\ntransformers:\n- '{apiVersion: builtin, kind: PatchJson6902Transformer, metadata: {name: t}, target: \
     {kind: X, name: x}, path: PATH2}'\n",
    "resources: [a.yaml]\ntransformers:\n- '{apiVersion: builtin, kind: ReplacementTransformer, metadata: {name: t}, \
     replacements: [{path: PATH2}]}'\n",
    "resources: [a.yaml]\ntransformers:\n- '{apiVersion: builtin, kind: ValueAddTransformer, metadata: {name: t}, value: x, \
     targetFilePath: PATH2}'\n",
    "generators:\n- '{apiVersion: builtin, kind: ConfigMapGenerator, metadata: {name: g}, files: [PATH2]}'\n",
];

fn with_path(field: &str, path: &str) -> String {
    // Inside of single quotes only double ones can follow.
    let quoted = format!("{path:?}").replace("\\0", "\\x00");
    let key = format!("{:?}", format!("k={path}")).replace("\\0", "\\x00");
    field.replace("KEYPATH", &key).replace("PATH2", &quoted.replace('\'', "''")).replace("PATH", &quoted)
}

#[test]
fn no_field_leads_out_of_the_tree() {
    for path in [
        "../../../proc/self/environ",
        "..",
        "../",
        "a/../../x",
        "./../x",
        "/etc/shadow",
        "/var/run/secrets/kubernetes.io/serviceaccount/token",
        "/dev/zero",
        "//etc/shadow",
        "%2e%2e/%2e%2e/etc/shadow",
        "..\\..\\etc\\shadow",
        "a\0b",
        "a.yaml\0",
        "~/.ssh/id_rsa",
        "$HOME/.kube/config",
        "${HOME}",
        "file:///etc/shadow",
        "\u{2024}\u{2024}/x",
        ".git/config",
    ] {
        for field in FIELDS {
            let text = with_path(field, path);
            let error = built(&[("kustomization.yaml", &text), ("a.yaml", A)]).unwrap_err();
            let message = error.to_string();
            let is_reported = message.starts_with("/kustomization.yaml") || message.contains("no such file");
            assert!(is_reported, "{text}{message}");
        }
    }
}

#[test]
fn no_path_is_too_long_or_too_deep() {
    for path in ["a/".repeat(10_000), "x".repeat(100_000), "../a/".repeat(10_000), "./".repeat(100_000)] {
        for field in FIELDS {
            let text = with_path(field, &path);
            let error = built(&[("kustomization.yaml", &text), ("a.yaml", A)]).unwrap_err().to_string();
            assert!(error.starts_with("/kustomization.yaml"), "{}", &error[..error.len().min(200)]);
        }
    }
}

#[test]
fn files_outside_of_the_own_directory_are_rejected_by_every_field() {
    let secret = "kind: Secret\napiVersion: v1\nmetadata: {name: s}\nstringData: {k: CANARY}\n";
    let options = Options { reach: Reach::OwnDirectory, ..Options::default() };
    for field in FIELDS {
        for path in ["../secret.yaml", "../top/../secret.yaml", "x/../../secret.yaml"] {
            let text = with_path(field, path);
            let files =
                tree(&[("top/kustomization.yaml", &text), ("top/a.yaml", A), ("secret.yaml", secret)]);
            let error = build(&files, &RelPath::parse("top").unwrap(), &options).unwrap_err().to_string();
            let is_rejected = error.contains("security; file '/secret.yaml' is not in or below '/top'")
                || error.contains("no directory")
                || error.contains("accumulating components");
            assert!(is_rejected && !error.contains("CANARY"), "{text}{error}");
        }
    }
}

/// A tree in which one file is a link to another.
struct LinkedFile(MemoryTree);

impl FileTree for LinkedFile {
    fn kind(&self, path: &RelPath) -> Option<EntryKind> {
        self.0.kind(&self.follow(path))
    }

    fn follow(&self, path: &RelPath) -> RelPath {
        if path.as_str() == "top/link.yaml" { RelPath::parse("secret.yaml").unwrap() } else { path.clone() }
    }

    fn read(&self, path: &RelPath) -> Result<Bytes, ReadError> {
        self.0.read(&self.follow(path))
    }

    fn list(&self, path: &RelPath) -> Result<Vec<(String, EntryKind)>, ReadError> {
        self.0.list(&self.follow(path))
    }
}

#[test]
fn a_link_does_not_lead_out_of_the_own_directory() {
    let secret = "kind: Secret\napiVersion: v1\nmetadata: {name: s}\nstringData: {k: CANARY}\n";
    let options = Options { reach: Reach::OwnDirectory, ..Options::default() };
    for field in FIELDS {
        let text = with_path(field, "link.yaml");
        let files = tree(&[("top/kustomization.yaml", &text), ("top/a.yaml", A), ("secret.yaml", secret)]);
        let built = build(&LinkedFile(files), &RelPath::parse("top").unwrap(), &options);
        let error = built.unwrap_err().to_string();
        assert!(!error.contains("CANARY"), "{text}{error}");
        assert!(error.contains("security; file") || error.contains("components"), "{text}{error}");
    }
}

#[test]
fn a_directory_or_nothing_in_the_place_of_a_file_is_rejected() {
    for path in ["d", "d/", ".", "gone", "gone/x", "a.yaml/x", "", " "] {
        for field in FIELDS {
            let text = with_path(field, path);
            let files = [("kustomization.yaml", text.as_str()), ("a.yaml", A), ("d/x", "x")];
            // An empty path is no path in places.
            if let Err(error) = built(&files) {
                assert!(!error.to_string().is_empty(), "{text}");
            } else {
                assert_eq!(path.trim(), "", "{text}");
            }
        }
    }
}

#[test]
fn nothing_is_fetched() {
    for address in [
        "http://169.254.169.254/latest/meta-data",
        "https://example.com/a.yaml",
        "https://github.com/org/repo//dir?ref=main",
        "git@github.com:org/repo.git",
        "git::https://example.com/repo",
        "ssh://git@example.com/repo",
        "ssh://-oProxyCommand=x/repo",
        "github.com/org/repo",
        "file:///etc",
        "oci://example.com/x",
        "s3::https://bucket/x",
        "HTTPS://EXAMPLE.COM/a.yaml",
    ] {
        for field in FIELDS {
            if field.contains("files:") && address.contains('=') {
                // Text before an equals sign is a key.
                continue;
            }
            let text = with_path(field, address);
            let error = built(&[("kustomization.yaml", &text), ("a.yaml", A)]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{text}{error}");
            assert!(error.to_string().contains("remote resource"), "{text}{error}");
        }
    }
}

#[test]
fn nothing_is_executed() {
    for function in [
        "kind: X\napiVersion: v1\nmetadata:\n  name: x\n  annotations:\n    config.kubernetes.io/function: |\n      exec: \
         {path: /bin/sh}\n",
        "kind: X\napiVersion: v1\nmetadata:\n  name: x\n  annotations:\n    config.kubernetes.io/function: |\n      container: \
         {image: x}\n",
        "kind: X\napiVersion: v1\nmetadata:\n  name: x\n  annotations:\n    config.kubernetes.io/function: |\n      starlark: \
         {path: x.star}\n",
        "kind: HelmChartInflationGenerator\napiVersion: builtin\nmetadata: {name: x}\nname: c\n",
        "kind: SomePlugin\napiVersion: someteam.example.com/v1\nmetadata: {name: x}\n",
    ] {
        for field in ["generators", "transformers", "validators"] {
            let text = format!("resources: [a.yaml]\n{field}: [f.yaml]\n");
            let error =
                built(&[("kustomization.yaml", &text), ("a.yaml", A), ("f.yaml", function)]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        }
    }
}
