//! Indexes as repositories write them, and others that they should not.

use std::fmt::Write as _;

use plumb_memory::MemoryPool;

use super::*;

fn converted_with(pool: &MemoryPool, text: &str) -> Result<Index, IndexError> {
    let limit = Limit { name: "index", bytes_max: 1 << 30 };
    let mut memory = pool.reservation("apps", limit);
    memory.try_grow(text.len() as u64)?;
    convert(Download { bytes: text.as_bytes().to_vec(), memory }, pool.reservation("apps", INDEX_MEMORY))
}

fn converted(text: &str) -> Result<String, IndexError> {
    converted_with(&MemoryPool::new(1 << 30), text).map(|index| String::from_utf8(index.json).unwrap())
}

/// The versions of a chart, in the order of the stored index.
fn versions(text: &str) -> Vec<String> {
    let json: serde_json::Value = serde_json::from_str(&converted(text).unwrap()).unwrap();
    let list = json["entries"]["app"].as_array().unwrap();
    list.iter().map(|entry| entry["version"].as_str().unwrap().to_owned()).collect()
}

const YAML: &str = r#"
apiVersion: v1
generated: "2016-10-06T16:23:20.499029981-06:00"
serverInfo: {contextPath: /x}
entries:
  nginx:
    - apiVersion: v2
      appVersion: 1.10
      created: 2016-10-06T16:23:20.499543808-06:00
      dependencies:
        - {name: common, repository: "oci://registry.example/charts", version: 1.x.x, tags: [a], import-values: [data, {child: c, parent: p}]}
      description: "A <b>web</b> server\tthat works"
      digest: aaff4545f79d8b2913a10cb400ebb6fa9c77fe813287afbacf1a0b897cdffffff
      home: https://helm.example/charts
      keywords: [popular, web server]
      maintainers: [{email: me@example.com, name: Me}]
      name: nginx
      type: application
      urls: [nginx-1.1.0.tgz]
      version: 1.1.0
      annotations: {z: "1", a: true}
  alpine:
    - name: alpine
      version: "0.2.0"
annotations:
  origin: test
"#;

const JSON: &str = r#"{
  "apiVersion": "v1",
  "generated": "2016-10-06T16:23:20.499029981-06:00",
  "entries": {
    "alpine": [
      {
        "name": "alpine",
        "version": "0.2.0",
        "apiVersion": "v1",
        "urls": null,
        "created": "0001-01-01T00:00:00Z"
      }
    ],
    "nginx": [
      {
        "name": "nginx",
        "home": "https://helm.example/charts",
        "version": "1.1.0",
        "description": "A \u003cb\u003eweb\u003c/b\u003e server that works",
        "keywords": [
          "popular",
          "web server"
        ],
        "maintainers": [
          {
            "name": "Me",
            "email": "me@example.com"
          }
        ],
        "apiVersion": "v2",
        "appVersion": "1.1",
        "annotations": {
          "a": "true",
          "z": "1"
        },
        "dependencies": [
          {
            "name": "common",
            "version": "1.x.x",
            "repository": "oci://registry.example/charts",
            "tags": [
              "a"
            ],
            "import-values": [
              "data",
              {
                "child": "c",
                "parent": "p"
              }
            ]
          }
        ],
        "type": "application",
        "urls": [
          "nginx-1.1.0.tgz"
        ],
        "created": "2016-10-06T16:23:20.499543808-06:00",
        "digest": "aaff4545f79d8b2913a10cb400ebb6fa9c77fe813287afbacf1a0b897cdffffff"
      }
    ]
  },
  "annotations": {
    "origin": "test"
  }
}"#;

#[test]
fn an_index_is_written_as_flux_stores_it() {
    assert_eq!(converted(YAML).unwrap(), JSON);
    assert_eq!(converted(JSON).unwrap(), JSON, "JSON is read as well, and the result is stable");
    assert_eq!(
        converted("apiVersion: v1").unwrap(),
        "{\n  \"apiVersion\": \"v1\",\n  \"generated\": \"0001-01-01T00:00:00Z\",\n  \"entries\": null\n}"
    );
    let empty = "{apiVersion: v1, generated: ~, entries: {a: [], b: ~}}";
    assert!(converted(empty).unwrap().ends_with("\"entries\": {\n    \"a\": [],\n    \"b\": []\n  }\n}"));
}

#[test]
fn versions_are_sorted_as_helm_sorts_them() {
    let entries: Vec<String> = ["1.2.0", "v1.10.0", "1.10.0-rc.1", "0.9", "1.2.0+later", "2025.02.03"]
        .iter()
        .map(|version| format!("  - {{name: app, version: {version:?}}}\n"))
        .collect();
    let text = format!("apiVersion: v1\nentries:\n  app:\n{}", entries.join(""));
    assert_eq!(versions(&text), ["2025.02.03", "v1.10.0", "1.10.0-rc.1", "1.2.0", "1.2.0+later", "0.9"]);
}

#[test]
fn entries_that_helm_skips_are_left_out_and_the_rest_stays() {
    for bad in [
        "~",
        "{name: app}",
        "{version: 1.0.0}",
        "{name: app, version: not a version}",
        "{name: app, version: 1.2.3.4}",
        "{name: .., version: 1.0.0}",
        "{name: a/b, version: 1.0.0}",
        "{name: app, version: 1.0.0, type: other}",
        "{name: app, version: 1.0.0, maintainers: [~]}",
        "{name: app, version: 1.0.0, dependencies: [~]}",
        "{name: app, version: 1.0.0, dependencies: [{name: x, alias: a/b}]}",
    ] {
        let text =
            format!("apiVersion: v1\nentries:\n  app:\n  - {bad}\n  - {{name: app, version: 1.1.0}}\n");
        let index = converted_with(&MemoryPool::new(1 << 30), &text).unwrap();
        assert_eq!((versions(&text), index.skipped), (vec!["1.1.0".to_owned()], 1), "{bad}");
    }
    let same = "{apiVersion: v1, entries: {app: [{name: app, version: 1.0.0, dependencies: [{name: x}, {name: x}], digest: one}, {name: app, version: 1.0.0, digest: two}]}}";
    assert_eq!(versions(same), ["1.0.0", "1.0.0"], "duplicates are kept, and so is what Helm forgives");
}

#[test]
fn what_is_no_index_is_named() {
    let problem = |text: &str| converted(text).unwrap_err().to_string();
    assert_eq!(problem(""), "empty index.yaml file");
    assert_eq!(problem("entries: {}"), "no API version specified");
    assert_eq!(problem("{}"), "no API version specified");
    for (text, expect) in [
        ("<html><body>Not Found</body></html>", "the index cannot be read"),
        ("apiVersion: v1\nentries: [", "the index cannot be read"),
        ("apiVersion: v1\nentries: {app: [{name: app, version: [1]}]}", "the index cannot be read"),
        ("{\"apiVersion\": \"v1\", \"entries\": {\"app\": {}}}", "a list of versions of a chart"),
        ("apiVersion: v1\ngenerated: yesterday", "is not a time in RFC 3339"),
        ("apiVersion: v1\napiVersion: v2", "the index cannot be read"),
        ("apiVersion: v1\nentries: {app: [], app: []}", "the index cannot be read"),
    ] {
        assert!(problem(text).contains(expect), "{}", problem(text));
    }
    let long = format!("apiVersion: v1\ngenerated: {}", "x".repeat(10_000));
    assert!(problem(&long).len() < 400, "what a server sends does not fill a status");
}

#[test]
fn aliases_do_not_multiply_an_index() {
    let mut text = "apiVersion: v1\nx0: &x0 [a,a,a,a,a,a,a,a,a,a]\n".to_owned();
    for level in 1..10 {
        let before = vec![format!("*x{}", level - 1); 10].join(",");
        writeln!(text, "x{level}: &x{level} [{before}]").unwrap();
    }
    assert!(matches!(converted(&text), Err(IndexError::Malformed { .. })));
}

#[test]
fn an_index_is_charged_and_given_back() {
    let pool = MemoryPool::new(64 << 20);
    let mut entries = String::new();
    for number in 0..2000 {
        let description = "d".repeat(200);
        writeln!(entries, "  - {{name: app, version: 1.0.{number}, description: {description}}}").unwrap();
    }
    let text = format!("apiVersion: v1\nentries:\n  app:\n{entries}");
    let index = converted_with(&pool, &text).unwrap();
    assert_eq!(
        index.memory.bytes(),
        index.json.len() as u64,
        "the download and what was read are given back"
    );
    // While it is written, what was read is there as well.
    assert!(pool.usage().peak > index.json.len() as u64 * 3 / 2, "{:?}", pool.usage());
    drop(index);
    assert_eq!(pool.usage().reserved, 0);
    // Short entries take more memory than text: their memory is what is charged.
    let pool = MemoryPool::new(8 << 20);
    let short = format!("apiVersion: v1\nentries:\n  app:\n{}", "  - {name: a, version: 1}\n".repeat(60_000));
    assert!(matches!(converted_with(&pool, &short), Err(IndexError::OverBudget(_))));
    assert_eq!(pool.usage().reserved, 0);
    // So do charts without versions.
    let names: Vec<String> = (0..60_000).map(|number| format!("\"{number:05}\":[]")).collect();
    let charts = format!("{{\"apiVersion\":\"v1\",\"entries\":{{{}}}}}", names.join(","));
    let pool = MemoryPool::new(16 << 20);
    assert!(matches!(converted_with(&pool, &charts), Err(IndexError::OverBudget(_))));
    assert!(converted_with(&MemoryPool::new(64 << 20), &charts).is_ok());
    assert_eq!(pool.usage().reserved, 0);
}

#[test]
fn an_index_takes_less_than_three_times_its_size() {
    let mut charts = String::new();
    for (chart, number) in (0..1500).flat_map(|chart| (0..4).map(move |number| (chart, number))) {
        if number == 0 {
            writeln!(charts, "  chart-{chart}:").unwrap();
        }
        let digest = "0".repeat(64);
        write!(
            charts,
            "  - apiVersion: v2\n    appVersion: 1.{number}.0\n    created: \"2024-01-01T00:00:00.000000000Z\"\n    \
             description: A chart that does what such charts do\n    digest: {digest}\n    home: https://example.com/app\n    \
             keywords:\n    - one\n    - two\n    maintainers:\n    - email: me@example.com\n      name: me\n    name: app\n    \
             urls:\n    - https://example.com/charts/app-1.{number}.0.tgz\n    version: 1.{number}.0\n"
        )
        .unwrap();
    }
    let text = format!("apiVersion: v1\nentries:\n{charts}");
    let pool = MemoryPool::new(1 << 30);
    let index = converted_with(&pool, &text).unwrap();
    let (size, peak) = (text.len() as u64, pool.usage().peak);
    assert!(size > 2 << 20 && peak < 3 * size, "{size} bytes took {peak} for {}", index.json.len());
    assert!(index.json.len() < 2 * text.len());
}
