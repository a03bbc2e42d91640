//! Trees that are composed from the files of several sources.

use plumb_api::source::ArtifactGenerator;
use plumb_filetree::TreeLimits;
use plumb_memory::{Limit, MemoryPool};
use plumb_status::chain;
use plumb_testkit::archive::tar_gz;
use serde_json::{Value, json};

use super::*;
use crate::artifact_generator::plan;

const LIMIT: Limit = Limit { name: "test", bytes_max: u64::MAX };

fn tree(files: &[(&str, &[u8])]) -> MemoryTree {
    let mut builder = MemoryTree::builder(TreeLimits::DEFAULT);
    for (path, content) in files {
        let path = RelPath::parse(path).unwrap();
        if path.as_str().ends_with("empty") {
            builder.dir(&path).unwrap();
        } else {
            let executable = path.file_name().is_some_and(|name| name.ends_with("sh"));
            builder.file(&path, Bytes::copy_from_slice(content), executable).unwrap();
        }
    }
    builder.build()
}

fn repository() -> MemoryTree {
    tree(&[
        ("deploy/app.yaml", b"app"),
        ("deploy/web/a.yaml", b"a"),
        ("deploy/web/docs/readme.md", b"docs"),
        ("deploy/web/run.sh", b"run"),
        ("deploy/web/empty", b""),
        ("readme.md", b"readme"),
        ("values.yaml", b"a: 1\nb:\n  c: 1\n"),
    ])
}

fn operations(copies: &Value) -> Vec<Copy> {
    let object: ArtifactGenerator = serde_json::from_value(json!({
        "apiVersion": "source.extensions.fluxcd.io/v1beta1", "kind": "ArtifactGenerator",
        "metadata": { "name": "app", "namespace": "apps" },
        "spec": {
            "sources": [
                { "alias": "repo", "kind": "GitRepository", "name": "mono" },
                { "alias": "other", "kind": "Bucket", "name": "other" },
            ],
            "artifacts": [{ "name": "web", "copy": copies }],
        },
    }))
    .unwrap();
    plan::plan(&object, true).unwrap().outputs.remove(0).copies
}

fn composed(copies: &Value, other: &MemoryTree) -> Result<MemoryTree, ComposeError> {
    let repository = repository();
    let mut memory = MemoryPool::new(64 << 20).reservation("apps", LIMIT);
    let source = |alias: &str| match alias {
        "repo" => Some(&repository),
        _ => Some(other),
    };
    compose(&operations(copies), source, &UnpackLimits::DEFAULT, &mut memory)
}

/// What is in the artifact: paths in their order, a slash behind directories.
fn paths(tree: &MemoryTree) -> String {
    let names: Vec<String> = tree
        .iter()
        .map(|(path, file)| format!("{}{}", path.as_str(), if file.is_some() { "" } else { "/" }))
        .collect();
    names.join(" ")
}

#[track_caller]
fn check(from: &str, to: &str, exclude: &[&str], expect: &str) {
    let copies = json!([{ "from": from, "to": to, "exclude": exclude }]);
    let actual = match composed(&copies, &tree(&[])) {
        Ok(tree) => paths(&tree),
        Err(error) => chain(&error),
    };
    assert_eq!(actual, expect, "{from} {to} {exclude:?}");
}

#[test]
fn a_file_goes_to_a_name_or_into_a_directory() {
    check("@repo/readme.md", "@artifact/x.md", &[], "x.md");
    check("@repo/readme.md", "@artifact/x/", &[], "x/ x/readme.md");
    check("@repo/readme.md", "@artifact/", &[], "readme.md");
    check("@repo/./deploy//app.yaml", "@artifact/a/b.yaml", &[], "a/ a/b.yaml");
    check("@repo/readme.md", "@artifact/", &["*.md"], "");
}

#[test]
fn a_directory_keeps_its_name_and_what_is_in_it() {
    let web = "web/ web/a.yaml web/docs/ web/docs/readme.md web/empty/ web/run.sh";
    check("@repo/deploy/web", "@artifact/", &[], web);
    check("@repo/deploy/web/", "@artifact/", &[], web);
    check(
        "@repo/deploy/web",
        "@artifact/x",
        &["docs", "empty/"],
        "x/ x/web/ x/web/a.yaml x/web/empty/ x/web/run.sh",
    );
    check("@repo/deploy/web", "@artifact/", &["*.md", "*.sh", "empty"], "web/ web/a.yaml web/docs/");
    check("@repo/", "@artifact/", &["deploy", "*.yaml"], "readme.md");
}

#[test]
fn patterns_keep_the_path_but_for_two_stars_at_the_end() {
    check("@repo/deploy/*.yaml", "@artifact/x/", &[], "x/ x/deploy/ x/deploy/app.yaml");
    check("@repo/deploy/web/**", "@artifact/", &["docs/**", "empty"], "a.yaml run.sh");
    check("@repo/deploy/web/**", "@artifact/", &["deploy/web/docs", "empty"], "a.yaml run.sh");
    check("@repo/**", "@artifact/", &["*.md", "web"], "deploy/ deploy/app.yaml values.yaml");
    check(
        "@repo/deploy/*",
        "@artifact/",
        &["web", "app.y?ml"],
        "failed to apply copy operation from '@repo/deploy/*' to '@artifact/': all files matching pattern 'deploy/*' in source 'repo' were excluded",
    );
    check(
        "@repo/*.txt",
        "@artifact/",
        &[],
        "failed to apply copy operation from '@repo/*.txt' to '@artifact/': no files match pattern '*.txt' in source 'repo'",
    );
    check(
        "@repo/none",
        "@artifact/",
        &[],
        "failed to apply copy operation from '@repo/none' to '@artifact/': source 'none' does not exist",
    );
}

#[test]
fn what_is_optional_may_be_missing() {
    let copies = json!([
        { "from": "@repo/none", "to": "@artifact/", "optional": true },
        { "from": "@repo/*.txt", "to": "@artifact/", "optional": true },
        { "from": "@repo/readme.md", "to": "@artifact/" },
    ]);
    assert_eq!(paths(&composed(&copies, &tree(&[])).unwrap()), "readme.md");
}

#[test]
fn later_operations_win_and_modes_stay() {
    let other = tree(&[("readme.md", b"other")]);
    let copies = json!([
        { "from": "@repo/readme.md", "to": "@artifact/" },
        { "from": "@repo/deploy/web/run.sh", "to": "@artifact/" },
        { "from": "@other/readme.md", "to": "@artifact/" },
    ]);
    let tree = composed(&copies, &other).unwrap();
    let file = |path: &str| tree.file(&RelPath::parse(path).unwrap()).unwrap().clone();
    assert_eq!(file("readme.md").content, "other");
    assert!(file("run.sh").executable && !file("readme.md").executable);
    let copies = json!([
        { "from": "@repo/readme.md", "to": "@artifact/x" },
        { "from": "@repo/readme.md", "to": "@artifact/x/y" },
    ]);
    let error = chain(&composed(&copies, &other).unwrap_err());
    assert!(error.ends_with("path RelPath(\"x/y\") is both a file and a directory"), "{error}");
}

#[test]
fn yaml_is_merged_into_a_file_that_exists() {
    let other = tree(&[("values.yaml", b"b:\n  d: 2\n"), ("text", b"- x")]);
    let merged = |from: &str, to: &str| {
        let copies = json!([
            { "from": "@repo/values.yaml", "to": "@artifact/" },
            { "from": from, "to": to, "strategy": "Merge" },
        ]);
        composed(&copies, &other)
    };
    let result = merged("@other/values.yaml", "@artifact/").unwrap();
    let file = result.file(&RelPath::parse("values.yaml").unwrap()).unwrap();
    assert_eq!(file.content, "a: 1\nb:\n  c: 1\n  d: 2\n");
    let result = merged("@other/values.yaml", "@artifact/new.yaml").unwrap();
    assert_eq!(result.file(&RelPath::parse("new.yaml").unwrap()).unwrap().content, "b:\n  d: 2\n");
    let error = chain(&merged("@other/text", "@artifact/values.yaml").unwrap_err());
    assert!(
        error.ends_with("failed to merge 'text' into 'values.yaml': YAML document in line 1 is not a map"),
        "{error}"
    );
}

#[test]
fn archives_are_unpacked_and_other_files_are_left() {
    let archive = tar_gz(&[("chart/Chart.yaml", b"name: x", 0o644), ("chart/run.sh", b"", 0o755)]);
    let other = tree(&[("a/b/chart.TGZ", &archive), ("a/b/x.txt", b"x"), ("bad.tgz", b"x")]);
    let extracted =
        |from: &str| composed(&json!([{ "from": from, "to": "@artifact/x", "strategy": "Extract" }]), &other);
    for from in ["@other/a/**", "@other/**/chart.*", "@other/a/b/chart.TGZ"] {
        let tree = extracted(from).unwrap();
        assert_eq!(paths(&tree), "x/ x/chart/ x/chart/Chart.yaml x/chart/run.sh", "{from}");
    }
    for (from, expect) in [
        ("@other/a", "extract strategy is not supported for directories, got 'a'"),
        ("@other/a/b/x.txt", "extract strategy requires tarball file (.tar.gz or .tgz), got 'a/b/x.txt'"),
    ] {
        let error = chain(&extracted(from).unwrap_err());
        assert!(error.ends_with(expect), "{error}");
    }
    let error = chain(&extracted("@other/bad.tgz").unwrap_err());
    assert!(error.contains("failed to extract tarball 'bad.tgz'"), "{error}");
    let escape = tar_gz(&[("../../x", b"", 0o644)]);
    let copies = json!([{ "from": "@other/x.tgz", "to": "@artifact/", "strategy": "Extract" }]);
    let error = chain(&composed(&copies, &tree(&[("x.tgz", &escape)])).unwrap_err());
    assert!(error.contains("leaves the tree"), "{error}");
}

#[test]
fn what_no_artifact_holds_by_default_is_left_out_of_the_result() {
    let other = tree(&[(".github/x.yaml", b""), ("a/logo.png", b""), ("a/x.yaml", b""), (".gitignore", b"")]);
    let copies = json!([{ "from": "@other/", "to": "@artifact/" }]);
    assert_eq!(paths(&composed(&copies, &other).unwrap()), "a/ a/x.yaml");
}

#[test]
fn memory_and_comparisons_are_bounded() {
    let other = tree(&[("values.yaml", &[b'#'; 4096])]);
    let copies = json!([
        { "from": "@other/values.yaml", "to": "@artifact/" },
        { "from": "@other/values.yaml", "to": "@artifact/", "strategy": "Merge" },
    ]);
    let compose_within = |bytes: u64| {
        let mut memory =
            MemoryPool::new(1 << 30).reservation("apps", Limit { name: "composed", bytes_max: bytes });
        let done = compose(&operations(&copies), |_| Some(&other), &UnpackLimits::DEFAULT, &mut memory);
        done.map(|_| memory.bytes()).map_err(|error| chain(&error))
    };
    assert!(compose_within(8192 * merge::MEMORY_FACTOR).unwrap_err().contains("more memory"));
    assert!(
        compose_within(8193 * merge::MEMORY_FACTOR + 8192).unwrap() < 8192,
        "the transient part is given back"
    );
    let copies = operations(&json!([{ "from": "@other/*", "to": "@artifact/" }]));
    let mut memory = MemoryPool::new(1 << 30).reservation("apps", LIMIT);
    let mut composer = Composer {
        tree: MemoryTree::builder(TreeLimits::DEFAULT),
        limits: &UnpackLimits::DEFAULT,
        memory: &mut memory,
        comparisons: 0,
    };
    let error = composer.apply(&copies[0], &other).unwrap_err();
    assert!(error.to_string().contains("more than 50000000 comparisons"), "{error}");
}

#[test]
fn the_digest_of_the_content_sees_paths_modes_and_contents() {
    let digests: std::collections::BTreeSet<String> = [
        tree(&[("a", b"x")]),
        tree(&[("b", b"x")]),
        tree(&[("a", b"y")]),
        tree(&[("a.sh", b"x")]),
        tree(&[("a", b"x"), ("empty", b"")]),
        tree(&[]),
    ]
    .iter()
    .map(content_digest)
    .collect();
    assert_eq!(digests.len(), 6);
    assert_eq!(content_digest(&tree(&[("a", b"x")])), content_digest(&tree(&[("a", b"x")])));
}
