//! Charts that are loaded and packaged, in memory. Helm itself never enters: it is compared with in `tests/helm.rs`.

use plumb_memory::{Limit, MemoryPool};

use super::*;
use crate::package::package;

const FILE_MAX: u64 = 5 << 20;
const CHART: &str = "apiVersion: v2\nname: app\nversion: 1.2.0\n";

fn memory(bytes_max: u64) -> MemoryReservation {
    MemoryPool::new(4 << 30).reservation("apps", Limit { name: "chart", bytes_max })
}

fn files(files: &[(&str, &str)]) -> Vec<ChartFile> {
    let file = |(path, content): &(&str, &str)| ChartFile {
        path: (*path).to_owned(),
        content: Bytes::from((*content).to_owned()),
        modified: 7,
    };
    files.iter().map(file).collect()
}

fn load(of: &[(&str, &str)]) -> Result<Chart, ChartError> {
    ChartReader::new(FILE_MAX, &mut memory(1 << 30)).files(files(of))
}

fn unpacked(archive: &[u8]) -> Result<Chart, ChartError> {
    ChartReader::new(FILE_MAX, &mut memory(1 << 30)).archive(archive)
}

/// Paths and contents of an archive.
fn listed(archive: &[u8]) -> Vec<(String, String)> {
    let mut tar = tar::Archive::new(MultiGzDecoder::new(archive));
    let entry = |entry: io::Result<tar::Entry<'_, _>>| {
        let mut entry: tar::Entry<'_, MultiGzDecoder<&[u8]>> = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.mode().unwrap(), header.mtime().unwrap()), (0o644, 7));
        let (mut text, path) = (String::new(), entry.path().unwrap().display().to_string());
        entry.read_to_string(&mut text).unwrap();
        (path, text)
    };
    tar.entries().unwrap().map(entry).collect()
}

fn paths(chart: &Chart) -> Vec<String> {
    listed(&package(chart).unwrap()).into_iter().map(|(path, _)| path).collect()
}

#[test]
fn a_chart_is_packaged_in_the_order_of_helm_and_the_same_each_time() {
    let of = [
        (".helmignore", ""),
        ("Chart.lock", "digest: d\n"),
        ("Chart.yaml", CHART),
        ("README.md", "# app"),
        ("charts/db/Chart.yaml", "name: db\nversion: 1.0.0\n"),
        ("charts/db/values.yaml", "a: 1\n"),
        ("charts/README.md", "no chart"),
        ("charts/_x/y", ""),
        ("charts/app-1.tgz.prov", "signed"),
        ("crds/x.yaml", ""),
        ("templates/a.yaml", "a"),
        ("values.schema.json", "{}"),
        ("values.yaml", "# kept\na: 1\n"),
    ];
    // A file in `charts/` itself is a chart without `Chart.yaml` to Helm.
    assert!(matches!(load(&of), Err(ChartError::Subchart { directory, .. }) if directory == "README.md"));
    let of: Vec<_> = of.into_iter().filter(|(path, _)| *path != "charts/README.md").collect();
    let archive = package(&load(&of).unwrap()).unwrap();
    let found = listed(&archive);
    let paths: Vec<_> = found.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "app/Chart.yaml",
            "app/Chart.lock",
            "app/values.yaml",
            "app/values.schema.json",
            "app/templates/a.yaml",
            "app/.helmignore",
            "app/README.md",
            "app/charts/app-1.tgz.prov",
            "app/crds/x.yaml",
            "app/charts/db/Chart.yaml",
            "app/charts/db/values.yaml",
        ]
    );
    assert_eq!(found[2].1, "# kept\na: 1\n");
    assert_eq!(found[1].1, "dependencies: null\ndigest: d\ngenerated: \"0001-01-01T00:00:00Z\"\n");
    assert_eq!(archive, package(&load(&of).unwrap()).unwrap());
    let again = unpacked(&archive).unwrap();
    assert_eq!(package(&again).unwrap(), archive, "packaged again it is the same");
}

#[test]
fn an_old_chart_keeps_its_files_of_requirements() {
    let of = [
        ("Chart.yaml", "name: app\nversion: 1.0.0\n"),
        ("Chart.lock", "digest: d\n"),
        ("requirements.lock", "dependencies: []\n"),
        ("requirements.yaml", "dependencies: [{name: db, repository: https://h}]\n"),
    ];
    let chart = load(&of).unwrap();
    assert_eq!(paths(&chart), ["app/Chart.yaml", "app/requirements.lock", "app/requirements.yaml"]);
    assert_eq!(chart.missing_dependencies(), [], "the lock has none");
    let newer = load(&[of[3], ("Chart.yaml", CHART)]).unwrap();
    assert_eq!(paths(&newer), ["app/Chart.yaml"]);
    assert_eq!(newer.missing_dependencies().len(), 1);
}

#[test]
fn charts_below_are_loaded_from_directories_and_archives() {
    let inner = package(&load(&[("Chart.yaml", "name: db\nversion: 2.0.0\n")]).unwrap()).unwrap();
    let mut of = files(&[("Chart.yaml", CHART), ("charts/db/Chart.yaml", "name: db\nversion: 1.0.0\n")]);
    of.push(ChartFile { path: "charts/db-2.0.0.tgz".to_owned(), content: inner.into(), modified: 7 });
    let chart = ChartReader::new(FILE_MAX, &mut memory(1 << 30)).files(of).unwrap();
    // Two charts of one name, which Helm tells apart by their version.
    assert_eq!(
        paths(&chart),
        ["app/Chart.yaml", "app/charts/db/Chart.yaml", "app/charts/db-2.0.0/Chart.yaml"],
        "each has a directory of its own"
    );
    assert_eq!(unpacked(&package(&chart).unwrap()).unwrap().dependencies.len(), 2);
    let mut twice = chart.clone();
    twice.add_dependency(chart.dependencies[0].clone());
    assert_eq!(paths(&twice), paths(&chart), "the same chart is there once");
    let error = load(&[("Chart.yaml", CHART), ("charts/x.tgz/y", "")]).unwrap_err();
    assert_eq!(error.to_string(), "error unpacking subchart x.tgz in app");
}

#[test]
fn dependencies_that_are_missing_are_those_of_the_lock() {
    let needs = "dependencies: [{name: db, version: ^1, repository: https://h}, {name: db, alias: cache, version: ^2, repository: file://../db}]\n";
    let chart = load(&[("Chart.yaml", &format!("{CHART}{needs}"))]).unwrap();
    let missing = chart.missing_dependencies();
    let keys: Vec<_> = missing.iter().map(|it| (it.key.as_str(), it.version.as_str())).collect();
    assert_eq!(keys, [("db", "^1"), ("cache", "^2")]);
    let lock = ("Chart.lock", "dependencies: [{name: db, version: 1.2.3, repository: https://h}]\n");
    let locked = load(&[("Chart.yaml", &format!("{CHART}{needs}")), lock]).unwrap();
    assert_eq!(locked.missing_dependencies()[0].version, "1.2.3");
    let db = ("charts/db/Chart.yaml", "name: db\nversion: 1.2.3\n");
    let there = load(&[("Chart.yaml", &format!("{CHART}{needs}")), lock, db]).unwrap();
    assert_eq!(there.missing_dependencies(), []);
    let half = load(&[("Chart.yaml", &format!("{CHART}{needs}")), db]).unwrap();
    assert_eq!(half.missing_dependencies().len(), 1);
}

#[test]
fn values_files_of_the_chart_replace_its_default_values() {
    let of = [
        ("Chart.yaml", CHART),
        ("values.yaml", "# gone\na: {b: 1, c: 2}\n"),
        ("prod.yaml", "a: {c: 3}\n"),
        ("env/x.yaml", "d: 4\n"),
        ("templates/t.yaml", "e: 5\n"),
        ("bad.yaml", "[1]"),
    ];
    let merged = |paths: &[&str], ignore_missing| {
        let mut chart = load(&of).unwrap();
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        let merged = chart.merge_own_values(&paths, ignore_missing, &mut memory(1 << 20));
        let text = |chart: Chart| String::from_utf8(chart.values.unwrap().content.to_vec()).unwrap();
        merged.map(|merged| (text(chart), merged.join(" "))).map_err(|error| error.to_string())
    };
    let ok = |text: &str, merged: &str| Ok((text.to_owned(), merged.to_owned()));
    assert_eq!(
        merged(&["./values.yaml", "prod.yaml"], false),
        ok("a:\n  b: 1\n  c: 3\n", "./values.yaml prod.yaml")
    );
    assert_eq!(
        merged(&["prod.yaml", "env//x.yaml"], false),
        ok("a:\n  c: 3\nd: 4\n", "prod.yaml env//x.yaml")
    );
    assert_eq!(merged(&["missing.yaml", "prod.yaml"], true), ok("a:\n  c: 3\n", "prod.yaml"));
    assert_eq!(merged(&["missing.yaml"], true), ok("", ""));
    for path in ["missing.yaml", "templates/t.yaml", "../prod.yaml", "/prod.yaml"] {
        assert_eq!(merged(&[path], false), Err(format!("no values file found at path '{path}'")));
    }
    assert_eq!(
        merged(&["bad.yaml"], true),
        Err("unmarshaling values from 'bad.yaml' failed: the file is not a map".to_owned())
    );
    let mut bare = load(&[("Chart.yaml", CHART), ("prod.yaml", "a: 1")]).unwrap();
    let error = bare.merge_own_values(&["prod.yaml".to_owned()], false, &mut memory(1 << 20)).unwrap_err();
    assert_eq!(error.to_string(), "failed to locate values file: values.yaml");
}

#[test]
fn limits_are_named() {
    let archive = package(&load(&[("Chart.yaml", CHART), ("x", "0123456789")]).unwrap()).unwrap();
    let mut memory_of_a_chart = memory(1 << 30);
    let error = ChartReader::new(9, &mut memory_of_a_chart).archive(&archive).unwrap_err();
    assert!(error.to_string().contains("exceeds limit (9) (--helm-chart-file-max-size)"), "{error}");
    let error = ChartReader::new(FILE_MAX, &mut memory(10)).archive(&archive).unwrap_err();
    assert!(matches!(error, ChartError::OverBudget(_)), "{error}");
    let error = unpacked(&archive[..archive.len() - 9]).unwrap_err();
    assert!(matches!(error, ChartError::Damaged(_)), "{error}");
    let deep = (0..=CHARTS_DEPTH_MAX + 1).fold(String::new(), |path, _| format!("{path}charts/a/"));
    let of: Vec<_> =
        (0..=CHARTS_DEPTH_MAX + 1).map(|depth| format!("{}Chart.yaml", &deep[..depth * 9])).collect();
    let of: Vec<_> = of.iter().map(|path| (path.as_str(), "name: a\nversion: 1.0.0\n")).collect();
    let error = load(&of).unwrap_err();
    let text = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source()).last();
    assert_eq!(text.unwrap().to_string(), "more than 16 charts are inside each other");
    // All that one reader reads counts together: an archive in an archive is no way around.
    let mut small = memory(1 << 30);
    let mut reader = ChartReader { unpacked_left: 100, ..ChartReader::new(FILE_MAX, &mut small) };
    assert!(matches!(reader.archive(&archive), Err(ChartError::TooLarge)));
    let mut reader = ChartReader { unpacked_left: 60, ..ChartReader::new(FILE_MAX, &mut small) };
    let two = files(&[("Chart.yaml", CHART), ("x", "of less than sixty bytes")]);
    assert!(matches!(reader.files(two), Err(ChartError::TooLarge)));
}

#[test]
fn paths_are_cleaned_as_go_cleans_them() {
    for (path, expect) in [
        ("./a//b/../c", "a/c"),
        ("../a", "../a"),
        ("a/../../b", "../b"),
        ("/a/", "/a"),
        ("values.yaml", "values.yaml"),
    ] {
        assert_eq!(clean(path), expect);
    }
}
