//! Sources of the other kinds, which come and are applied as a GitRepository is.

use plumb_api::meta::DIRECTORY_DIGESTS_METADATA;
use plumb_archive::write_tree;
use plumb_filetree::digest::DigestAlgorithm;

use super::*;

fn source_of(kind: &str, spec: &Value, artifact: &Value) -> Value {
    json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": kind,
        "metadata": { "name": "repo", "namespace": "flux-system", "uid": "s", "generation": 1, "resourceVersion": "9" },
        "spec": spec, "status": { "artifact": artifact, "observedGeneration": 1 }
    })
}

/// Applies the artifact of a source that appears while the controller runs; what the status of the Kustomization is then.
async fn applied(kind: &str, plural: &str, spec: Value, origin: Option<&str>) -> Value {
    let (feed, watch) = Response::feed();
    let path = format!("/apis/source.toolkit.fluxcd.io/v1/{plural}");
    let named = kind.to_owned();
    let edit = move |object: &mut Value| object["spec"]["sourceRef"]["kind"] = named.into();
    let fixture = Fixture::start(MANIFESTS, edit, |api| {
        api.on("GET", &path, watch);
    })
    .await;
    let waiting = fixture.until_ready_is("False").await;
    assert_eq!(waiting["conditions"][0]["reason"], "ArtifactFailed");
    let mut artifact = fixture.artifact.clone();
    if let Some(origin) = origin {
        artifact["metadata"] = json!({ "org.opencontainers.image.revision": origin });
    }
    feed.send("ADDED", &source_of(kind, &spec, &artifact));
    fixture.until_revision_is(REVISION).await;
    let status = fixture.status();
    fixture.stop().await;
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oci_repository_and_a_bucket_are_applied_when_they_appear() {
    let spec = json!({ "url": "oci://registry.example/app", "interval": "1h" });
    let status = applied("OCIRepository", "ocirepositories", spec, Some("main@sha1:0c9d")).await;
    assert_eq!(status["lastAppliedOriginRevision"], "main@sha1:0c9d");
    let spec = json!({ "bucketName": "apps", "endpoint": "s3.example", "interval": "1h" });
    let status = applied("Bucket", "buckets", spec, None).await;
    assert_eq!(status.get("lastAppliedOriginRevision"), None);
}

/// The digests of the directories of these files.
fn directories(files: &[(&str, &str)]) -> String {
    write_tree(&tree(files), DigestAlgorithm::Sha256, std::io::sink()).unwrap().directories.to_string()
}

/// What the source tells of an artifact of these files, whose file is gone.
fn gone(files: &[(&str, &str)]) -> impl FnOnce(&mut Value) {
    let digests = directories(files);
    move |artifact| {
        artifact["metadata"] = json!({ DIRECTORY_DIGESTS_METADATA: digests });
        artifact["url"] = format!("{}.gone", artifact["url"].as_str().unwrap()).into();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_is_not_fetched_when_its_directories_tell_that_nothing_read_has_changed() {
    const REVISIONS: [&str; 4] = ["main@sha1:2", "main@sha1:3", "main@sha1:4", "main@sha1:5"];
    let edit = |object: &mut Value| object["spec"]["path"] = "./apps".into();
    let fixture = Fixture::start(MANIFESTS, edit, |_| {}).await;
    let other = "{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: prod}}";
    let mut files =
        vec![("apps/web/all.yaml", MANIFESTS), ("docs/notes.md", "one"), ("apps/more/c.yaml", other)];
    fixture.publish_as(&files, REVISIONS[0], |artifact| {
        let digests = directories(&files);
        artifact["metadata"] = json!({ DIRECTORY_DIGESTS_METADATA: digests });
    });
    fixture.until_revision_is(REVISIONS[0]).await;
    for revision in &REVISIONS[1..3] {
        files[1].1 = revision;
        fixture.api.forget_calls();
        fixture.publish_as(&files, revision, gone(&files));
        fixture.until_revision_is(revision).await;
        assert_eq!(fixture.writes(), ["PATCH status"], "{revision}");
    }
    let changed = MANIFESTS.replace("replicas: 1", "replicas: 2");
    files[0].1 = &changed;
    fixture.publish_as(&files, REVISIONS[3], gone(&files));
    let status = fixture.until_ready_is("False").await;
    assert_eq!(
        (&status["lastAppliedRevision"], &status["conditions"][0]["reason"]),
        (&json!(REVISIONS[2]), &json!("ArtifactFailed"))
    );
    fixture.stop().await;
}
