//! Generated charts, packaged here and by the stock `helm`: the same files with the same content. Values files are merged and written
//! as Helm merges and writes them, and Helm renders what is packaged here as it renders the directory.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read as _,
    path::Path,
};

use bytes::Bytes;
use flate2::read::GzDecoder;
use plumb_filetree::{MemoryTree, RelPath, TreeLimits};
use plumb_helm::{ChartReader, Values, chart_files, package};
use plumb_memory::{Limit, MemoryPool, MemoryReservation};
use plumb_testkit::{
    oracle::Choices,
    peers::{self, helm},
};

/// Charts that are generated: each takes Helm three processes.
const CHARTS: usize = 24;
/// Texts of values that are compared.
const TEXTS: usize = 400;
const FILE_MAX: u64 = 5 << 20;

fn memory() -> MemoryReservation {
    MemoryPool::new(4 << 30).reservation("test", Limit { name: "charts", bytes_max: 2 << 30 })
}

type Files = BTreeMap<String, String>;

fn written(folder: &Path, files: &Files) {
    for (path, content) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().expect("the files of a test can be written"))
            .expect("the files of a test can be written");
        fs::write(path, content).expect("the files of a test can be written");
    }
}

fn packaged(files: &Files) -> Vec<u8> {
    let mut tree = MemoryTree::builder(TreeLimits::DEFAULT);
    for (path, content) in files {
        let path = RelPath::parse(&format!("charts/app/{path}")).expect("the chart can be packaged");
        tree.file(&path, Bytes::from(content.clone()), false).expect("the chart can be packaged");
    }
    let files = chart_files(&tree.build(), &RelPath::parse("charts/app").expect("the chart can be packaged"))
        .expect("the chart can be packaged");
    package(&ChartReader::new(FILE_MAX, &mut memory()).files(files).expect("the chart can be packaged"))
        .expect("the chart can be packaged")
}

fn listed(archive: &[u8]) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(GzDecoder::new(archive));
    let entries = archive.entries().expect("the archive can be read").map(|entry| {
        let mut entry = entry.expect("the archive can be read");
        let (path, mut text) =
            (entry.path().expect("the archive can be read").display().to_string(), String::new());
        entry.read_to_string(&mut text).expect("the archive can be read");
        (path, text)
    });
    entries.collect()
}

#[test]
fn charts_are_packaged_as_helm_packages_them() {
    if !peers::are_there() {
        return;
    }
    let mut choices = Choices::from_environment();
    let home = tempfile::tempdir().unwrap();
    for number in 0..CHARTS {
        let files = chart(&mut choices, number);
        let (source, out) = (format!("source-{number}"), format!("out-{number}"));
        written(&home.path().join(&source), &files);
        helm(home.path(), &["package", &source, "--destination", &out]).unwrap();
        let theirs = fs::read_dir(home.path().join(&out)).unwrap().next().unwrap().unwrap().path();
        let ours = packaged(&files);
        assert_eq!(listed(&ours), listed(&fs::read(&theirs).unwrap()), "{number}: {files:#?}");

        let archive = home.path().join(format!("ours-{number}.tgz"));
        fs::write(&archive, &ours).unwrap();
        let archive = archive.to_str().unwrap();
        let shown = |chart: &str| helm(home.path(), &["show", "all", chart]).unwrap();
        assert_eq!(shown(archive), shown(theirs.to_str().unwrap()), "{number}");
        let rendered = |chart: &str| helm(home.path(), &["template", "release", chart]);
        let (ours, theirs) = (rendered(archive), rendered(&source));
        assert_eq!(ours.is_ok(), theirs.is_ok(), "{number}: {ours:?} {theirs:?}");
        if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
            assert_eq!(ours, theirs, "{number}");
        }
    }
}

/// A chart with files of all kinds, a `.helmignore`, and charts below it.
fn chart(choices: &mut Choices, number: usize) -> Files {
    let mut files = Files::new();
    let is_v1 = choices.below(4) == 0;
    let below: Vec<&str> = ["db", "cache", "web"].into_iter().filter(|_| choices.below(3) == 0).collect();
    let needed: Vec<String> =
        below.iter().map(|name| format!("- {{name: {name}, version: '>=0.1', repository: ''}}\n")).collect();
    let needed = needed.concat();
    let needed = if needed.is_empty() { String::new() } else { format!("dependencies:\n{needed}") };
    let mut text = chart_file(choices, "app", if is_v1 { "v1" } else { "v2" });
    files.insert(if is_v1 { "requirements.yaml" } else { "Chart.yaml" }.to_owned(), needed.clone());
    text += if is_v1 { "" } else { &needed };
    files.insert("Chart.yaml".to_owned(), text);
    if choices.below(3) == 0 && !needed.is_empty() {
        let lock = format!("{needed}digest: sha256:0\ngenerated: \"2024-01-02T03:04:05.67Z\"\n");
        files.insert(if is_v1 { "requirements.lock" } else { "Chart.lock" }.to_owned(), lock);
    }
    for name in below {
        files.insert(format!("charts/{name}/Chart.yaml"), chart_file(choices, name, "v2"));
        files.insert(format!("charts/{name}/values.yaml"), map(choices, 1));
        files.insert(format!("charts/{name}/templates/x.yaml"), config_map(name));
        files.insert(format!("charts/{name}/docs/x.txt"), "text".to_owned());
    }
    files.insert("values.yaml".to_owned(), format!("# a comment\n{}", map(choices, 2)));
    if choices.below(3) == 0 {
        files.insert("values.schema.json".to_owned(), "{\"type\": \"object\"}".to_owned());
    }
    let names = [
        "a.txt",
        "docs/a.txt",
        "docs/b.md",
        "templates/.c",
        "templates/d.yaml",
        "x/y/z.txt",
        "crds/e.yaml",
        "README.md",
        "docs.txt",
    ];
    for name in names {
        if choices.below(3) > 0 {
            let is_template = name.ends_with("d.yaml");
            let text = if is_template { config_map(&format!("app-{number}")) } else { format!("# {name}") };
            files.insert(name.to_owned(), text);
        }
    }
    if choices.below(4) > 0 {
        let rules = [
            "*.txt",
            "/a.txt",
            "docs/",
            "docs/*",
            "x/y",
            "/x/",
            "[ab].*",
            "!*",
            "!docs/",
            "# c",
            "",
            "z.txt",
            "do?s",
            "a.tx\\t",
            "/docs/*.md",
            "y/",
            "charts/*/docs",
        ];
        // A negated rule leaves out nearly everything, Chart.yaml too: Helm then finds no chart.
        let chosen: Vec<&str> = (0..choices.below(5))
            .map(|_| choices.one(&rules))
            .filter(|rule| !rule.starts_with('!'))
            .collect();
        files.insert(".helmignore".to_owned(), chosen.join("\n"));
    }
    files
}

fn chart_file(choices: &mut Choices, name: &str, api_version: &str) -> String {
    let versions = ["1.2.0", "v1.2.0", "0.1.0-rc.1+b.2", "\"1.2\"", "1.10"];
    let mut text = format!("apiVersion: {api_version}\nname: {name}\nversion: {}\n", choices.one(&versions));
    let further = [
        "appVersion: 1.10\n",
        "appVersion: 2024-01-02\n",
        "description: \"a\\tb  <&> é\"\n",
        "keywords: [b, a, 1, yes]\n",
        "maintainers: [{name: x, email: x@example.com, unknown: 1}]\n",
        "annotations: {b: 'yes', a/c: \"1\", empty: ''}\n",
        "kubeVersion: '>=1.20.0-0'\n",
        "home: https://example.com/?a=b&c\n",
        "sources: [https://example.com/1, https://example.com/2]\n",
        "deprecated: false\n",
        "unknown: {a: 1}\n",
        "icon: data:image/png;base64,AAAA\ntype: application\n",
        "tags: a,b\ncondition: x.enabled\n",
    ];
    let chosen: BTreeSet<&str> = (0..choices.below(6)).map(|_| choices.one(&further)).collect();
    let one_app_version = |line: &&&str| **line != further[1] || !chosen.contains(further[0]);
    text.extend(chosen.iter().filter(one_app_version).copied());
    text
}

fn config_map(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata:\n  values: {{{{ toYaml .Values | b64enc }}}}\n  chart: {{{{ toYaml .Chart | b64enc }}}}\n  files: {{{{ range $path, $_ := .Files.Glob \"**\" }}}}{{{{ $path }}}},{{{{ end }}}}\n"
    )
}

/// A map in YAML, in flow style, with maps and lists in it.
fn map(choices: &mut Choices, depth: usize) -> String {
    let keys = ["a", "b", "a10", "a2", "\"1\"", "yes", "x.y", "é", "'null'", "aB"];
    let chosen: BTreeSet<&str> = (0..choices.below(6)).map(|_| choices.one(&keys)).collect();
    let mut fields = Vec::new();
    for key in chosen {
        fields.push(format!("{key}: {}", value(choices, depth)));
    }
    format!("{{{}}}\n", fields.join(", "))
}

/// Scalars as YAML writes them, that Go and YAML read in their own ways.
const SCALARS: &[&str] = &[
    "x",
    "1",
    "-1",
    "1.5",
    "1.0",
    "1e3",
    "1e21",
    "1e-7",
    "0x1F",
    "017",
    "08",
    "1_000",
    ".5",
    "+1",
    "true",
    "yes",
    "Off",
    "y",
    "9007199254740993",
    "123456789012345678901",
    "2001-01-01",
    "'2001-01-01'",
    "''",
    "\"yes\"",
    "'1'",
    "\"1e3\"",
    "'~'",
    "\"a: b\"",
    "\"# c\"",
    "\"a\\nb\\n\"",
    "\" a\"",
    "\"a\\tb\"",
    "\"é\"",
    "\"\\u0007\"",
    "'- a'",
    "'*a'",
    "'&a'",
    "'!a'",
    "'%'",
    "'@a'",
    "'{a'",
    "1:30",
    "0.1",
    "100000",
    "1000000",
    "123456.789",
    "1.2.3",
    "'a''b'",
    "\"a\\\\b\"",
    "<<",
    "'='",
    "\"<&>\"",
    "\"a long text that is folded because it has more than eighty columns, as go-yaml does it with plain scalars\"",
    "\"a long text: that is quoted and folded because it has more than eighty columns, as go-yaml does it\"",
    "\"first\\n\\n  second\\nthird\"",
    "\"trailing \"",
    "\"\\n\"",
    "'0o17'",
    "0o17",
    "0b11",
    "'0b11'",
    "'.inf'",
    "'1_000'",
    "!!str 1",
];

fn value(choices: &mut Choices, depth: usize) -> String {
    match choices.below(if depth == 0 { 4 } else { 7 }) {
        4 => {
            let items: Vec<String> = (0..choices.below(4)).map(|_| value(choices, depth - 1)).collect();
            format!("[{}]", items.join(", "))
        }
        5 | 6 => map(choices, depth - 1).trim_end().to_owned(),
        _ => choices.one(SCALARS).to_owned(),
    }
}

#[test]
fn values_are_read_and_written_as_helm_reads_and_writes_them() {
    if !peers::are_there() {
        return;
    }
    let mut choices = Choices::from_environment();
    let texts: Vec<String> = (0..TEXTS).map(|_| map(&mut choices, 3)).collect();
    let mut files =
        Files::from([("Chart.yaml".to_owned(), "apiVersion: v2\nname: app\nversion: 1.0.0\n".to_owned())]);
    files.extend(
        texts.iter().enumerate().map(|(number, text)| (format!("texts/{number}.yaml"), text.clone())),
    );
    let template = "{{ range $path, $_ := .Files.Glob \"texts/*\" }}\n- {path: {{ $path }}, text: {{ $.Files.Get $path | fromYaml | toYaml | b64enc }}}\n{{- end }}\n";
    files.insert("templates/x.yaml".to_owned(), format!("apiVersion: v1\nkind: List\nitems: {template}"));
    let home = tempfile::tempdir().unwrap();
    written(&home.path().join("app"), &files);
    let rendered = helm(home.path(), &["template", "release", "app"]).unwrap();
    let mut compared = 0;
    for (number, text) in texts.iter().enumerate() {
        let line = rendered.lines().find(|line| line.contains(&format!("texts/{number}.yaml,"))).unwrap();
        let encoded = line.split("text: ").nth(1).unwrap().trim_end_matches('}');
        let theirs = decoded(encoded);
        let mut memory = memory();
        let mut values = Values::new(&mut memory);
        let ours = values.merge_file("x", text.as_bytes()).map(|()| values.to_yaml());
        if theirs.starts_with("Error: ") {
            assert!(ours.is_err(), "{text}\n{theirs}\n{ours:?}");
            continue;
        }
        // Helm cuts the last line break off, and writes an empty map.
        let ours = ours.unwrap();
        let ours = if ours.is_empty() { "{}" } else { ours.strip_suffix('\n').unwrap() };
        assert_eq!(ours, theirs, "{text}");
        compared += 1;
    }
    assert!(compared > TEXTS / 2, "{compared}");
}

fn decoded(base64: &str) -> String {
    String::from_utf8(data_encoding::BASE64.decode(base64.trim().as_bytes()).expect("it is text in Base64"))
        .expect("it is text in Base64")
}

#[test]
fn values_files_are_merged_as_helm_merges_them() {
    if !peers::are_there() {
        return;
    }
    let mut choices = Choices::from_environment();
    let home = tempfile::tempdir().unwrap();
    let files = Files::from([
        ("Chart.yaml".to_owned(), "apiVersion: v2\nname: app\nversion: 1.0.0\n".to_owned()),
        ("templates/x.yaml".to_owned(), config_map("x")),
    ]);
    written(&home.path().join("app"), &files);
    for number in 0..CHARTS {
        let texts: Vec<String> = (0..2 + choices.below(3)).map(|_| map(&mut choices, 3)).collect();
        let mut arguments: Vec<String> = ["template", "release", "app"].map(str::to_owned).to_vec();
        let mut memory = memory();
        let mut values = Values::new(&mut memory);
        for (index, text) in texts.iter().enumerate() {
            let name = format!("values-{number}-{index}.yaml");
            fs::write(home.path().join(&name), text).unwrap();
            arguments.extend(["--values".to_owned(), name]);
            values.merge_file("x", text.as_bytes()).unwrap();
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let rendered = helm(home.path(), &arguments).unwrap();
        let line = rendered.lines().find_map(|line| line.strip_prefix("  values: ")).unwrap();
        let ours = values.to_yaml();
        let ours = if ours.is_empty() { "{}" } else { ours.strip_suffix('\n').unwrap() };
        assert_eq!(ours, decoded(line), "{number}: {texts:#?}");
    }
}
