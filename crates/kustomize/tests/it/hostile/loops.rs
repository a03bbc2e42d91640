//! What leads back to itself, and what grows with every step: cycles, fan-out, replacements that make what they look for.

use bytes::Bytes;
use plumb_filetree::{EntryKind, FileTree, MemoryTree, ReadError, RelPath};
use plumb_kustomize::{ErrorKind, Limits, Options, build};

use crate::hostile::{A, built, built_with, many, reject, tree};

const COMPONENT: &str = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n";

#[test]
fn every_field_that_names_directories_finds_cycles() {
    for (field, head) in [
        ("resources", ""),
        ("bases", ""),
        ("components", COMPONENT),
        ("transformers", ""),
        ("generators", ""),
        ("validators", ""),
    ] {
        for (from_root, from_a) in [("a", "../b"), ("./a/", "../a/../b/."), ("a", "..")] {
            let root = format!("{field}: [{from_root}]\n");
            let a = format!("{head}{field}: ['{from_a}']\n");
            let b = format!("{head}{field}: [../a]\n");
            reject(
                &[("kustomization.yaml", &root), ("a/kustomization.yaml", &a), ("b/kustomization.yaml", &b)],
                ErrorKind::Invalid,
                "cycle detected: / -> /a -> ",
            );
        }
    }
}

/// A tree in which one directory is a link to another.
struct Linked {
    tree: MemoryTree,
    link: RelPath,
    target: RelPath,
}

impl FileTree for Linked {
    fn kind(&self, path: &RelPath) -> Option<EntryKind> {
        self.tree.kind(&self.follow(path))
    }

    fn follow(&self, path: &RelPath) -> RelPath {
        let mut path = path.clone();
        // As the kernel: so many links are followed, and no more.
        for _ in 0..40 {
            if !path.starts_with(&self.link) {
                return path;
            }
            let rest: Vec<&str> = path.components().skip(self.link.depth()).collect();
            path = self.target.join(&RelPath::parse(&rest.join("/")).unwrap()).unwrap();
        }
        path
    }

    fn read(&self, path: &RelPath) -> Result<Bytes, ReadError> {
        self.tree.read(&self.follow(path))
    }

    fn list(&self, path: &RelPath) -> Result<Vec<(String, EntryKind)>, ReadError> {
        self.tree.list(&self.follow(path))
    }
}

#[test]
fn a_link_to_a_parent_is_a_cycle() {
    for (link, target) in [("d/up", ""), ("d/up", "d"), ("up", "")] {
        let tree = tree(&[
            ("kustomization.yaml", if link == "up" { "resources: [up]\n" } else { "resources: [d]\n" }),
            ("d/kustomization.yaml", "resources: [up]\n"),
        ]);
        let linked =
            Linked { tree, link: RelPath::parse(link).unwrap(), target: RelPath::parse(target).unwrap() };
        let error = build(&linked, &RelPath::root(), &Options::default()).unwrap_err().to_string();
        assert!(error.contains("cycle detected: /"), "{error}");
    }
}

#[test]
fn a_link_to_itself_is_nothing_that_can_be_read() {
    let tree = tree(&[("kustomization.yaml", "resources: [loop/a.yaml]\n"), ("a.yaml", A)]);
    let (link, target) = (RelPath::parse("loop").unwrap(), RelPath::parse("loop/loop").unwrap());
    let linked = Linked { tree, link, target };
    let error = build(&linked, &RelPath::root(), &Options::default()).unwrap_err().to_string();
    assert!(error.contains("no such file or directory"), "{error}");
}

#[test]
fn a_fan_out_is_stopped_by_the_number_of_files() {
    for (field, head) in [("resources", ""), ("components", COMPONENT)] {
        let mut files = vec![("kustomization.yaml".to_owned(), format!("{field}: [l0a, l0b]\n"))];
        for level in 0..6 {
            let next = level + 1;
            for side in ["a", "b"] {
                let text = format!("{head}{field}: [../l{next}a, ../l{next}b]\n");
                files.push((format!("l{level}{side}/kustomization.yaml"), text));
            }
        }
        for side in ["a", "b"] {
            files.push((format!("l6{side}/kustomization.yaml"), format!("{head}namePrefix: p-\n")));
        }
        let files: Vec<(&str, &str)> =
            files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let limits = Limits { files_max: 50, ..Limits::default() };
        let error = built_with(&files, limits).unwrap_err();
        assert!(error.to_string().contains("more than 50 files are read"), "{error}");
    }
}

#[test]
fn the_same_file_many_times_is_read_within_the_limits() {
    let text = format!("patches: [{}]\nresources: [a.yaml]\n", "{path: p.yaml}, ".repeat(2_000));
    let patch = "kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\n";
    let limits = Limits { files_max: 1_000, ..Limits::default() };
    let files = [("kustomization.yaml", text.as_str()), ("a.yaml", A), ("p.yaml", patch)];
    let error = built_with(&files, limits).unwrap_err();
    assert!(error.to_string().contains("more than 1000 files are read"), "{error}");
    let text = format!("configurations: [{}]\nresources: [a.yaml]\n", "c.yaml, ".repeat(2_000));
    let limits = Limits { files_max: 1_000, ..Limits::default() };
    let error =
        built_with(&[("kustomization.yaml", &text), ("a.yaml", A), ("c.yaml", "images: []\n")], limits)
            .unwrap_err();
    assert!(error.to_string().contains("more than 1000 files are read"), "{error}");
}

fn replaced(entries: &str, limits: Limits) -> Result<plumb_kustomize::Build, plumb_kustomize::BuildError> {
    let object = "kind: T\nmetadata: {name: t}\nd: {l: [{k: x}], m: {a: 1}, e: []}\n";
    let text = format!("resources: [t.yaml]\nreplacements:\n{entries}");
    built_with(&[("kustomization.yaml", &text), ("t.yaml", object)], limits)
}

#[test]
fn replacements_that_create_their_own_match_end() {
    for path in ["d.e.[k=(y]", "d.e.[k=.]", "d.l.[k=a|b].c"] {
        let entry = format!(
            "- sourceValue: v\n  targets: [{{select: {{kind: T}}, fieldPaths: ['{path}', '{path}', '{path}'], options: \
             {{create: true}}}}]\n"
        );
        match replaced(&entry, Limits::default()) {
            Ok(build) => assert!(build.to_yaml().len() < 1_000),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

#[test]
fn replacements_that_feed_each_other_end() {
    // Every object names the next one, and every name changes what the next entry selects.
    let rename = many(200, |index| {
        format!(
            "- sourceValue: t{index}\n  targets: [{{select: {{kind: T, name: t.*}}, fieldPaths: [metadata.name]}}]\n"
        )
    });
    let built = replaced(&rename, Limits::default()).unwrap();
    assert_eq!(built.objects[0].node["metadata"]["name"].as_str(), Some("t199"));
    // A map is put into itself, a few times.
    let double =
        "- {source: {kind: T, fieldPath: d}, targets: [{select: {kind: T}, fieldPaths: [d.x, d.y], options: \
                  {create: true}}]}\n"
            .repeat(4);
    let error = replaced(&double, Limits { values_max: 200, ..Limits::default() }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OverLimit, "{error}");
}

#[test]
fn a_chain_of_references_in_a_schema_is_followed_to_its_limit() {
    let object = "apiVersion: e.com/v1\nkind: Foo\nmetadata: {name: f}\nspec: {a: [{id: x, v: 1}]}\n";
    let links = many(20, |index| format!("  A{index}: {{$ref: '#/definitions/A{}'}}\n", index + 1));
    let schema = format!(
        "definitions:\n  Foo:\n    x-kubernetes-group-version-kind: [{{group: e.com, version: v1, kind: Foo}}]\n    \
         properties: {{spec: {{$ref: '#/definitions/A0'}}}}\n{links}  A20: {{properties: {{}}}}\n"
    );
    let patch = "apiVersion: e.com/v1\nkind: Foo\nmetadata: {name: f}\nspec: {a: [{id: x, w: 2}]}\n";
    let settings = "resources: [a.yaml]\nopenapi: {path: s.yaml}\npatches: [{path: p.yaml}]\n";
    let files =
        [("kustomization.yaml", settings), ("a.yaml", object), ("s.yaml", &schema), ("p.yaml", patch)];
    assert!(built(&files).unwrap().to_yaml().contains("w: 2"));
}
