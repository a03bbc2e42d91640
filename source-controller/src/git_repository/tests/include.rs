//! `spec.include`: files of another GitRepository, whose artifact is in the same storage.

use std::io::Read as _;

use bytes::Bytes;
use plumb_filetree::{MemoryTree, RelPath, TreeLimits};
use plumb_store::Location;

use super::*;
use crate::object_storage::tests::{access_key, replica};

const BASE: &str = "/apis/source.toolkit.fluxcd.io/v1/namespaces/apps/gitrepositories/base";

/// Stores an artifact of the GitRepository `base`; what the API server says of that.
fn base(fixture: &Fixture<GitSource>, file: &str, files: &[(&str, &str)]) -> Value {
    let mut tree = MemoryTree::builder(TreeLimits::DEFAULT);
    for (path, content) in files {
        let content = Bytes::copy_from_slice(content.as_bytes());
        tree.file(&RelPath::parse(path).unwrap(), content, false).unwrap();
    }
    let location = Location::new("GitRepository", "apps", "base").unwrap();
    let (written, _) = fixture.storage.store.put(&location, file, &tree.build()).unwrap();
    let artifact = json!({
        "path": written.path, "digest": written.digest, "size": written.size, "revision": "main@sha1:1",
        "url": "http://x/a", "lastUpdateTime": "2026-01-01T00:00:00Z",
    });
    json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
        "metadata": { "name": "base", "namespace": "apps" },
        "spec": { "url": "https://git.example/base", "interval": "1m" }, "status": { "artifact": artifact },
    })
}

pub(super) fn files(fixture: &Fixture<GitSource>) -> Vec<String> {
    let bytes = std::fs::read(fixture.stored()).unwrap();
    let mut tar = tar::Archive::new(flate2::read::MultiGzDecoder::new(&*bytes));
    let entries = tar.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        format!("{}={content}", entry.path().unwrap().display())
    });
    entries.filter(|entry| !entry.ends_with('=')).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_included_repository_is_waited_for_and_its_files_are_copied() {
    let (server, _repository) = served(&GitServerOptions::default());
    let mut fixture = source_at(&server.url("app"));
    fixture.set(
        "include",
        json!([{ "repository": { "name": "base" }, "fromPath": "deploy", "toPath": "base" }]),
    );
    fixture.api.on("GET", BASE, Response::not_found());
    let summary = fixture.attempt().await;
    assert_eq!(condition(&summary, "IncludeUnavailable").unwrap(), "True NotFound");
    let (_, _, message) = ready(&summary);
    assert!(message.contains("could not get resource for include 'base'"), "{message}");

    let mut object =
        base(&fixture, "1.tar.gz", &[("deploy/a.yaml", "one"), ("deploy/b.png", "x"), ("c.yaml", "c")]);
    let without = {
        let mut object = object.clone();
        object["status"] = json!({});
        object
    };
    fixture.api.on("GET", BASE, Response::ok(without));
    let summary = fixture.attempt().await;
    assert_eq!(condition(&summary, "IncludeUnavailable").unwrap(), "True NoArtifact");
    assert!(ready(&summary).2.contains("no artifact available for include 'base'"));

    fixture.api.on("GET", BASE, Response::ok(object.clone()));
    let summary = fixture.attempt().await;
    assert_eq!((ready(&summary).0.as_str(), condition(&summary, "IncludeUnavailable")), ("True", None));
    assert_eq!(files(&fixture), ["app.yaml=one\n", "base/a.yaml=one"]);
    assert_eq!(fixture.object["status"]["observedInclude"], fixture.object["spec"]["include"]);
    assert_eq!(
        fixture.object["status"]["includedArtifacts"][0]["digest"],
        object["status"]["artifact"]["digest"]
    );

    let before = fixture.stored();
    fixture.attempt().await;
    assert_eq!(fixture.stored(), before, "nothing has changed");
    object = base(&fixture, "2.tar.gz", &[("deploy/a.yaml", "two")]);
    fixture.api.on("GET", BASE, Response::ok(object));
    fixture.attempt().await;
    assert_eq!(files(&fixture), ["app.yaml=one\n", "base/a.yaml=two"], "another artifact is another input");
    assert_ne!(fixture.stored(), before);

    fixture.set("include", json!([{ "repository": { "name": "base" }, "fromPath": "gone" }]));
    let summary = fixture.attempt().await;
    let text = "failed to copy 'base' include from '/gone' to '/base': there is no such file or directory in its artifact";
    assert_eq!(
        ready(&summary),
        ("False".into(), "CopyFailure".into(), format!("{text} (correct spec.include)"))
    );
    assert_eq!(condition(&summary, "IncludeUnavailable").unwrap(), "True CopyFailure");
    fixture.set("include", json!([{ "repository": { "name": "base" }, "toPath": "../x" }]));
    assert_eq!(ready(&fixture.attempt().await).1, "IllegalPath");
    fixture.set("include", json!([]));
    let summary = fixture.attempt().await;
    assert_eq!((ready(&summary).0.as_str(), condition(&summary, "IncludeUnavailable")), ("True", None));
    assert_eq!(fixture.object["status"].get("includedArtifacts"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_leave_out_their_own_file_hold_for_all_files() {
    let (server, repository) = served(&GitServerOptions::default());
    for (path, content) in
        [(".sourceignore", "/*\n!/deploy/\n"), ("deploy/logo.png", "logo"), ("deploy/.sops.yaml", "rules")]
    {
        repository.write(path, content).unwrap();
    }
    repository.push("Leave out all but deploy").unwrap();
    let mut fixture = source_at(&server.url("app"));
    fixture.set(
        "include",
        json!([
            { "repository": { "name": "base" }, "toPath": "deploy/base" },
            { "repository": { "name": "base" }, "toPath": "vendor" },
        ]),
    );
    let object = base(&fixture, "1.tar.gz", &[("a.yaml", "one"), ("b.png", "x")]);
    fixture.api.on("GET", BASE, Response::ok(object));
    assert_eq!(ready(&fixture.attempt().await).0, "True");
    let expect =
        ["deploy/.sops.yaml=rules", "deploy/logo.png=logo", "deploy/base/a.yaml=one", "deploy/base/b.png=x"];
    let mut found = files(&fixture);
    found.sort();
    let mut expect = expect.map(str::to_owned);
    expect.sort();
    assert_eq!(found, expect);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_included_from_an_artifact_in_a_bucket() {
    let objects = plumb_testkit::bucket::ObjectStore::plain().unwrap();
    let credentials = access_key("id");
    let (server, _repository) = served(&GitServerOptions::default());
    let mut fixture = source_at(&server.url("app"));
    // What is on disk is uploaded, as another replica did before.
    let object = base(&fixture, "1.tar.gz", &[("a.yaml", "one")]);
    let path = object["status"]["artifact"]["path"].as_str().unwrap();
    let written = plumb_store::Written {
        path: path.to_owned(),
        digest: object["status"]["artifact"]["digest"].as_str().unwrap().to_owned(),
        size: object["status"]["artifact"]["size"].as_u64().unwrap(),
    };
    let bucket = replica(&objects.address().to_string(), &credentials);
    let location = Location::new("GitRepository", "apps", "base").unwrap();
    let file = fixture.storage.store.file(&written);
    bucket.upload(&location, &written, &file).await.unwrap();
    std::fs::remove_file(file).unwrap();
    fixture.storage.bucket = Some(bucket.clone());
    fixture.source.storage.bucket = Some(bucket);
    fixture.api.on("GET", BASE, Response::ok(object.clone()));
    fixture.set("include", json!([{ "repository": { "name": "base" }, "toPath": "base" }]));
    let (status, _, message) = ready(&fixture.attempt().await);
    assert_eq!(status, "True", "{message}");
    let key = format!("clusters/one/{}", fixture.artifact()["path"].as_str().unwrap());
    let bytes = objects.bytes(&key).unwrap();
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(&bytes[..]));
    let names = tar.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string());
    assert!(names.collect::<Vec<_>>().contains(&"base/a.yaml".to_owned()));
}
