//! Sources of the other kinds, which come and are applied as a GitRepository is.

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
