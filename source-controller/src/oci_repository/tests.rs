//! Scenario tests (T1) of whole attempts: a registry of our own, a real store, a mock API server for Secrets.

use std::io::Read as _;

use plumb_api::meta::DIRECTORY_DIGESTS_METADATA;
use plumb_archive::UnpackLimits;
use plumb_filetree::{DirectoryDigests, DirectoryDigestsError, RelPath};
use plumb_memory::MemoryPool;
use plumb_oci::{OciClient, OciLimits};
use plumb_status::AttemptOutcome;
use plumb_testkit::{
    archive::tar_gz,
    registry::{CHART_LAYER, FLUX_LAYER, Login, Pages, Registry, response},
    scenario::Response,
};
use plumb_transport::address::AddressPolicy;
use serde_json::{Value, json};

use super::OciSource;
use crate::fixture::{Fixture, base64, condition, emitted, ready};

const ANNOTATIONS: (&str, &str) = ("https://git.example/app", "main@sha1:0c9d");

fn source_at(registry: &Registry) -> Fixture<OciSource> {
    let spec = json!({ "url": registry.url("org/app"), "interval": "1m" });
    Fixture::new(&spec, |api, _| {
        let addresses = AddressPolicy::reject_link_local("--allow-link-local-addresses");
        let memory = MemoryPool::new(600 << 20);
        let registries = OciClient::new(addresses, memory.clone(), OciLimits::DEFAULT);
        OciSource::new(crate::cloud::none(api.client()), registries, memory, UnpackLimits::DEFAULT)
    })
}

/// A registry with one artifact under `latest`, and its digest.
fn served(files: &[(&str, &[u8], u32)]) -> (Registry, String) {
    let registry = Registry::plain().unwrap();
    let annotations = json!({
        "org.opencontainers.image.source": ANNOTATIONS.0, "org.opencontainers.image.revision": ANNOTATIONS.1,
        "org.opencontainers.image.created": "2026-01-01T00:00:00Z", DIRECTORY_DIGESTS_METADATA: "chosen by the publisher",
    });
    let digest = registry.push("latest", &[(FLUX_LAYER, &tar_gz(files))], &annotations);
    (registry, digest)
}

/// The files of a stored `tar.gz`, with their modes.
fn files(fixture: &Fixture<OciSource>) -> Vec<(String, u32)> {
    let bytes = std::fs::read(fixture.stored()).unwrap();
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(&*bytes));
    let entries = tar.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        entry.read_to_end(&mut Vec::new()).unwrap();
        (entry.path().unwrap().display().to_string(), entry.header().mode().unwrap())
    });
    entries.collect()
}

fn directories(artifact: &Value) -> Result<DirectoryDigests, DirectoryDigestsError> {
    artifact["metadata"][DIRECTORY_DIGESTS_METADATA].as_str().unwrap().parse()
}

fn docker_config(registry: &Registry, user: &str) -> String {
    json!({ "auths": { registry.address().to_string(): { "auth": base64(user) } } }).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_becomes_an_artifact_and_is_stored_until_there_is_another() {
    let (registry, digest) =
        served(&[("app.yaml", b"one", 0o644), ("run.sh", b"#!", 0o755), ("x.png", b"", 0o644)]);
    let mut fixture = source_at(&registry);
    let first = fixture.attempt().await;
    let revision = format!("latest@{digest}");
    let text = format!("stored artifact for digest '{revision}'");
    assert_eq!(ready(&first), ("True".into(), "Succeeded".into(), text));
    let (source, origin) = ANNOTATIONS;
    assert_eq!(
        emitted(&first),
        [format!(
            "NewArtifact stored artifact with revision '{revision}' from '{}', origin source '{source}', origin revision '{origin}'",
            registry.url("org/app")
        )]
    );
    assert_eq!(condition(&first, "ArtifactInStorage").unwrap(), "True Succeeded");
    let path = format!("ocirepository/apps/app/{digest}.tar.gz");
    let artifact = fixture.artifact().clone();
    assert_eq!((&artifact["path"], &artifact["revision"]), (&json!(path), &json!(revision)));
    assert_eq!(artifact["url"], format!("http://source-controller.flux-system.svc./{path}"));
    assert_eq!(fixture.object["status"]["url"], artifact["url"]);
    assert_eq!(artifact["metadata"]["org.opencontainers.image.revision"], origin);
    assert_eq!(artifact["metadata"].as_object().unwrap().len(), 4);
    assert!(directories(&artifact).is_ok(), "{artifact}");
    assert_eq!(files(&fixture), [("app.yaml".to_owned(), 0o600), ("run.sh".to_owned(), 0o700)]);

    registry.take_calls();
    let before = fixture.object.clone();
    assert_eq!(emitted(&fixture.attempt().await), Vec::<String>::new());
    assert_eq!(fixture.object, before, "nothing changed, so nothing is written");
    assert_eq!(registry.take_calls(), ["HEAD /v2/org/app/manifests/latest"], "a poll is one request");

    let second =
        registry.push("latest", &[(FLUX_LAYER, &tar_gz(&[("app.yaml", b"two", 0o644)]))], &json!({}));
    fixture.now += std::time::Duration::from_mins(2);
    let changed = fixture.attempt().await;
    assert!(emitted(&changed)[0].ends_with(&format!("'latest@{second}' from '{}'", registry.url("org/app"))));
    let known = directories(fixture.artifact()).unwrap();
    assert!(!known.is_same_at(&directories(&artifact).unwrap(), &RelPath::root()));
    assert_eq!(fixture.artifact()["metadata"].as_object().unwrap().len(), 1);
    assert_eq!(fixture.api.unscripted(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_is_chosen_by_its_media_type_and_copied_as_it_is() {
    let registry = Registry::plain().unwrap();
    let chart = tar_gz(&[("app/Chart.yaml", b"name: app", 0o644), ("app/.sourceignore", b"*", 0o644)]);
    let provenance = "application/vnd.cncf.helm.chart.provenance.v1.prov";
    let annotations = json!({ DIRECTORY_DIGESTS_METADATA: "chosen by the publisher" });
    let digest = registry.push("6.5.4_b.1", &[(provenance, b"signed"), (CHART_LAYER, &chart)], &annotations);
    let mut fixture = source_at(&registry);
    fixture.set("ref", json!({ "semver": "6.x" }));
    fixture.set("layerSelector", json!({ "mediaType": CHART_LAYER, "operation": "copy" }));
    fixture.attempt().await;
    assert_eq!(std::fs::read(fixture.stored()).unwrap(), chart, "the bytes of the layer, as Helm reads them");
    assert_eq!(fixture.artifact()["revision"], format!("6.5.4_b.1@{digest}"));
    assert_eq!(fixture.artifact()["digest"], plumb_testkit::registry::digest(&chart));
    assert_eq!(fixture.artifact().get("metadata"), None, "there are no directories to tell of");
    let path = fixture.artifact()["path"].as_str().unwrap();
    assert!(
        path.starts_with(&format!("ocirepository/apps/app/{digest}")) && path.ends_with(".tar.gz"),
        "{path}"
    );
    assert_eq!(fixture.object["status"]["observedLayerSelector"], fixture.object["spec"]["layerSelector"]);

    fixture.set("ref", json!({ "tag": "6.5.4_b.1" }));
    fixture.set("layerSelector", json!({ "mediaType": "application/x" }));
    let summary = fixture.attempt().await;
    let (status, reason, message) = ready(&summary);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "OCIArtifactLayerOperationFailed"));
    assert!(
        message
            .contains("failed to find layer with media type 'application/x' in artifact; it has layers of")
    );
    assert!(message.contains("spec.layerSelector"), "{message}");
    assert_eq!(condition(&summary, "FetchFailed").unwrap(), "True OCIArtifactLayerOperationFailed");
    assert_eq!(std::fs::read(fixture.stored()).unwrap(), chart, "the last good artifact stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_form_of_a_reference_leads_to_its_artifact() {
    let (registry, first) = served(&[("app.yaml", b"one", 0o644)]);
    registry.tag("v1.0.0", &first);
    let second = registry.push("v1.10.0", &[(FLUX_LAYER, &tar_gz(&[("app.yaml", b"2", 0o644)]))], &json!({}));
    registry.push("v2.0.0-rc.1", &[(FLUX_LAYER, &tar_gz(&[("app.yaml", b"3", 0o644)]))], &json!({}));
    registry.tag("v1.9.0", &first);
    for (reference, expect) in [
        (json!({ "tag": "v1.0.0" }), format!("v1.0.0@{first}")),
        (json!({ "digest": second, "tag": "v1.0.0" }), second.clone()),
        (json!({ "semver": "1.x" }), format!("v1.10.0@{second}")),
        (json!({ "semver": "1.x", "semverFilter": "^v1\\.9" }), format!("v1.9.0@{first}")),
    ] {
        for pages in [Pages::Whole, Pages::Linked(2)] {
            registry.pages(pages);
            let mut fixture = source_at(&registry);
            fixture.set("ref", reference.clone());
            fixture.attempt().await;
            assert_eq!(fixture.artifact()["revision"], expect, "{reference}");
        }
    }
    registry.take_calls();
    let mut by_digest = source_at(&registry);
    by_digest.set("ref", json!({ "digest": second }));
    by_digest.attempt().await;
    registry.take_calls();
    by_digest.attempt().await;
    assert_eq!(registry.take_calls(), Vec::<String>::new(), "a digest leads to the same artifact for ever");
    let mut missing = source_at(&registry);
    missing.set("ref", json!({ "semver": ">=3", "semverFilter": "^v" }));
    let (_, reason, message) = ready(&missing.attempt().await);
    assert_eq!(reason, "ReadOperationFailed");
    assert!(
        message.contains("no match found for semver: >=3: none of the 5 tags is in the range and matches")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_come_from_the_secret_or_from_the_service_account() {
    let (registry, digest) = served(&[("app.yaml", b"one", 0o644)]);
    registry.login(Login::Token {
        realm: None,
        user: Some(("bot".into(), "s3cret".into())),
        expires_in: None,
    });
    let account = |secrets: Value| {
        Response::ok(json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "puller" }, "imagePullSecrets": secrets,
        }))
    };
    let anonymous = ready(&source_at(&registry).attempt().await);
    assert_eq!(anonymous.1, "OCIArtifactPullFailed");
    assert!(
        anonymous.2.contains("no credentials were sent") && anonymous.2.contains("spec.secretRef"),
        "{}",
        anonymous.2
    );
    for secret in [true, false] {
        let mut fixture = source_at(&registry);
        fixture.secret("pull", &[(".dockerconfigjson", &docker_config(&registry, "bot:s3cret"))]);
        fixture.secret("other", &[("username", "bot")]);
        if secret {
            fixture.set("secretRef", json!({ "name": "pull" }));
        } else {
            let path = "/api/v1/namespaces/apps/serviceaccounts/puller";
            fixture.api.on("GET", path, account(json!([{ "name": "other" }, { "name": "pull" }])));
            fixture.set("serviceAccountName", json!("puller"));
        }
        assert_eq!(ready(&fixture.attempt().await).0, "True");
        assert_eq!(fixture.artifact()["revision"], format!("latest@{digest}"));
    }
    let mut wrong = source_at(&registry);
    wrong.secret("pull", &[(".dockerconfigjson", &docker_config(&registry, "bot:wr0ng"))]);
    wrong.set("secretRef", json!({ "name": "pull" }));
    let (_, reason, message) = ready(&wrong.attempt().await);
    assert_eq!(reason, "OCIArtifactPullFailed");
    assert!(message.contains("the credentials are not accepted") && !message.contains("wr0ng"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_to_what_does_not_help_is_named() {
    let (registry, _) = served(&[("app.yaml", b"one", 0o644)]);
    for (field, value, secret, expect) in [
        (
            "secretRef",
            json!({ "name": "gone" }),
            None,
            "failed to get credential: failed to get secret 'apps/gone': secrets \"gone\" not found",
        ),
        (
            "secretRef",
            json!({ "name": "bad" }),
            Some((".dockerconfigjson", "s3cret")),
            "key '.dockerconfigjson' of secret 'apps/bad' cannot be used",
        ),
        ("serviceAccountName", json!("gone"), None, "serviceaccounts \"gone\" not found"),
        (
            "certSecretRef",
            json!({ "name": "bad" }),
            Some(("ca.crt", "s3cret")),
            "key 'ca.crt' of secret 'apps/bad' cannot be used",
        ),
        (
            "certSecretRef",
            json!({ "name": "bad" }),
            Some(("x", "s3cret")),
            "secret 'apps/bad' has no key 'ca.crt'",
        ),
        (
            "proxySecretRef",
            json!({ "name": "bad" }),
            Some(("address", "ftp://proxy")),
            "failed to get proxy address: key 'address'",
        ),
    ] {
        let mut fixture = source_at(&registry);
        for path in ["secrets/gone", "serviceaccounts/gone"] {
            fixture.api.on("GET", &format!("/api/v1/namespaces/apps/{path}"), Response::not_found());
        }
        if let Some((key, text)) = secret {
            fixture.secret("bad", &[(key, text)]);
        }
        fixture.set(field, value);
        let summary = fixture.attempt().await;
        let (_, reason, message) = ready(&summary);
        assert_eq!(
            (reason.as_str(), condition(&summary, "FetchFailed").as_deref()),
            ("AuthenticationFailed", Some("True AuthenticationFailed"))
        );
        assert!(message.contains(expect) && !message.contains("s3cret"), "{message}");
    }
    let mut url = source_at(&registry);
    url.set("url", json!("oci://ghcr.io/org/app:v1"));
    let summary = url.attempt().await;
    let text =
        "URL validation failed for 'oci://ghcr.io/org/app:v1': URL must not contain a tag; remove ':v1'";
    assert_eq!(ready(&summary), ("False".into(), "URLInvalid".into(), text.into()));
    assert_eq!(condition(&summary, "Stalled").unwrap(), "True URLInvalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_and_insecure_decide_which_registry_is_trusted() {
    let registry = Registry::tls().unwrap();
    registry.push("latest", &[(FLUX_LAYER, &tar_gz(&[("app.yaml", b"one", 0o644)]))], &json!({}));
    let mut fixture = source_at(&registry);
    let (_, reason, message) = ready(&fixture.attempt().await);
    assert_eq!(reason, "OCIArtifactPullFailed");
    assert!(message.contains("certificate signed by unknown authority"), "{message}");
    fixture.secret("tls", &[("ca.crt", registry.ca().unwrap())]);
    fixture.set("certSecretRef", json!({ "name": "tls" }));
    assert_eq!(ready(&fixture.attempt().await).0, "True");
    fixture.set("certSecretRef", Value::Null);
    fixture.set("insecure", json!(true));
    assert_eq!(ready(&fixture.attempt().await).0, "True");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_used_with_its_own_credentials() {
    let (registry, _) = served(&[("app.yaml", b"one", 0o644)]);
    let mut fixture = source_at(&registry);
    fixture.secret(
        "proxy",
        &[("address", &format!("http://{}", registry.address())), ("username", "me"), ("password", "pw")],
    );
    fixture.set("proxySecretRef", json!({ "name": "proxy" }));
    // The registry takes the place of the proxy: it is asked for the URL of another host.
    fixture.set("url", json!("oci://10.1.2.3:80/org/app"));
    registry.take_calls();
    fixture.attempt().await;
    let calls = registry.take_calls();
    assert!(calls.iter().any(|call| call.contains("10.1.2.3")), "{calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_layers_are_rejected_and_the_last_artifact_stays() {
    let (registry, digest) = served(&[("app.yaml", b"one", 0o644)]);
    let mut fixture = source_at(&registry);
    fixture.attempt().await;
    for (layer, expect) in [
        (tar_gz(&[("../escape", b"x", 0o644)]), "bad path"),
        (b"no archive".to_vec(), "the archive is damaged"),
        (tar_gz(&[(".sourceignore", &vec![b'a'; (1 << 20) + 1], 0o644)]), "the limit is 1048576"),
    ] {
        registry.push("latest", &[(FLUX_LAYER, &layer)], &json!({}));
        let summary = fixture.attempt().await;
        let (status, reason, message) = ready(&summary);
        assert_eq!((status.as_str(), reason.as_str()), ("False", "OCIArtifactLayerOperationFailed"));
        assert!(message.contains(expect), "{message}");
        assert_eq!(condition(&summary, "ArtifactOutdated").unwrap(), "True NewRevision");
        assert_eq!(fixture.artifact()["revision"], format!("latest@{digest}"));
        assert!(fixture.stored().exists());
    }
    registry.push("latest", &[(FLUX_LAYER, &tar_gz(&[("app.yaml", b"two", 0o644)]))], &json!({}));
    registry.answer(|call| call.target.contains("/blobs/").then(|| response(200, &[], "other bytes")));
    let (_, reason, message) = ready(&fixture.attempt().await);
    assert_eq!(reason, "OCIArtifactPullFailed");
    assert!(message.contains("failed to pull artifact from"), "{message}");
    assert_eq!(fixture.artifact()["revision"], format!("latest@{digest}"));
    registry.answer(|_| None);
    assert_eq!(ready(&fixture.attempt().await).0, "True");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_rules_make_another_file_of_the_same_artifact() {
    let (registry, digest) = served(&[("app.yaml", b"one", 0o644), ("b.yaml", b"two", 0o644)]);
    let mut fixture = source_at(&registry);
    fixture.attempt().await;
    let before = fixture.stored();
    fixture.set("ignore", json!("b.yaml"));
    fixture.attempt().await;
    assert_ne!(fixture.stored(), before);
    assert_eq!(fixture.artifact()["revision"], format!("latest@{digest}"));
    assert_eq!(files(&fixture), [("app.yaml".to_owned(), 0o600)]);
    assert_eq!(fixture.object["status"]["observedIgnore"], "b.yaml");
    assert!(matches!(fixture.teardown().await, AttemptOutcome::Gone));
    assert!(!before.exists() && !fixture.stored().exists());
}
