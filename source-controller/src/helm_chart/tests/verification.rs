//! Charts of a registry whose signature is verified.

use plumb_testkit::{
    registry::{CHART_LAYER, Registry},
    signer::{SIGNATURE, Signer, attach, store},
};
use serde_json::{Value, json};

use super::{Charts, chart, index};
use crate::{
    fixture::{condition, ready},
    helm_repository::HelmLimits,
};

fn verified(registry: &Registry, signer: &Signer) -> Charts {
    let mut charts = Charts::new(HelmLimits::DEFAULT);
    charts.put(&json!({ "type": "oci", "url": registry.url("org") }), &json!({}));
    charts.fixture.secret("keys", &[("cosign.pub", &signer.public_key())]);
    charts.fixture.set("verify", json!({ "provider": "cosign", "secretRef": { "name": "keys" } }));
    charts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_is_pulled_only_with_a_signature_that_counts() {
    let (signer, other) = (Signer::new().unwrap(), Signer::new().unwrap());
    for is_bundle in [false, true] {
        let registry = Registry::plain().unwrap();
        let digest = registry.push("1.0.0_b.1", &[(CHART_LAYER, &chart("app", "1.0.0+b.1"))], &json!({}));
        let sign = |signer: &Signer| {
            if is_bundle {
                attach(&registry, &digest, &signer.bundle(SIGNATURE, &digest).unwrap(), &json!({}));
            } else {
                store(&registry, &digest, &[signer.simple(&registry, &digest).unwrap()]);
            }
        };
        sign(&other);
        let mut charts = verified(&registry, &signer);
        let summary = charts.fixture.attempt().await;
        let (status, reason, message) = ready(&summary);
        assert_eq!((status.as_str(), reason.as_str()), ("False", "VerificationError"), "{message}");
        assert!(
            message.starts_with(
                "chart verification error: failed to verify the signature using provider 'cosign'"
            )
        );
        assert!(message.contains("no matching signatures were found for"), "{message}");
        assert_eq!(condition(&summary, "SourceVerified").unwrap(), "False VerificationError");
        assert_eq!(condition(&summary, "FetchFailed"), None);
        assert_eq!(charts.fixture.artifact(), &Value::Null);

        sign(&signer);
        let summary = charts.fixture.attempt().await;
        assert_eq!(ready(&summary).0, "True", "{}", ready(&summary).2);
        assert_eq!(condition(&summary, "SourceVerified").unwrap(), "True Succeeded");
        let message = summary.status.as_ref().unwrap().condition("SourceVerified").unwrap().message.clone();
        assert_eq!(message, "verified signature of version 1.0.0+b.1");

        // The same version with other bytes is another chart.
        registry.push("1.0.0_b.1", &[(CHART_LAYER, &chart("app", "1.0.0+b.1")), ("x", b"y")], &json!({}));
        let artifact = charts.fixture.artifact().clone();
        let summary = charts.fixture.attempt().await;
        assert_eq!(condition(&summary, "SourceVerified").unwrap(), "False VerificationError");
        assert_eq!(charts.fixture.artifact(), &artifact);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_signed_anew_is_pulled_anew() {
    let (lost, signer) = (Signer::new().unwrap(), Signer::new().unwrap());
    let registry = Registry::plain().unwrap();
    let push = |signer: &Signer, extra: &[u8]| {
        let layers = [(CHART_LAYER, &*chart("app", "1.0.0")), ("x", extra)];
        let digest = registry.push("1.0.0", &layers, &json!({}));
        store(&registry, &digest, &[signer.simple(&registry, &digest).unwrap()]);
        digest
    };
    let first = push(&lost, b"bad");
    let mut charts = verified(&registry, &lost);
    assert_eq!(ready(&charts.fixture.attempt().await).0, "True");
    let noted = |charts: &Charts| {
        charts.fixture.artifact()["metadata"]["source.toolkit.fluxcd.io/verified-digest"].clone()
    };
    assert_eq!(noted(&charts), json!(first));
    // The key is lost: another one counts, and the version has other content.
    let second = push(&signer, b"good");
    charts.fixture.secret("keys", &[("cosign.pub", &signer.public_key())]);
    registry.take_calls();
    let summary = charts.fixture.attempt().await;
    assert_eq!(condition(&summary, "SourceVerified").unwrap(), "True Succeeded");
    assert_eq!(noted(&charts), json!(second));
    let pulled = format!("/manifests/{second}");
    let calls = registry.take_calls();
    assert!(calls.iter().any(|call| call.starts_with("GET") && call.ends_with(&pulled)), "{calls:?}");
    charts.fixture.attempt().await;
    assert!(!registry.take_calls().iter().any(|call| call.starts_with("GET") && call.ends_with(&pulled)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pulled_is_what_was_verified() {
    let signer = Signer::new().unwrap();
    let registry = Registry::plain().unwrap();
    let digest = registry.push("1.0.0", &[(CHART_LAYER, &chart("app", "1.0.0"))], &json!({}));
    store(&registry, &digest, &[signer.simple(&registry, &digest).unwrap()]);
    let mut charts = verified(&registry, &signer);
    charts.fixture.attempt().await;
    let calls = registry.take_calls();
    let heads =
        calls.iter().filter(|call| call.starts_with("HEAD") && call.ends_with("/manifests/1.0.0")).count();
    assert_eq!(heads, 1, "the tag is looked up once: {calls:?}");
    charts.fixture.attempt().await;
    let calls = registry.take_calls();
    assert_eq!(calls.iter().filter(|call| call.contains(".sig")).count(), 0, "{calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_of_an_index_has_no_signature() {
    let mut charts = Charts::new(HelmLimits::DEFAULT);
    charts.repository(&json!({ "url": "http://127.0.0.1:1/charts" }), &index(&[("1.0.0", "app-1.0.0.tgz")]));
    charts.fixture.set("verify", json!({ "provider": "cosign", "secretRef": { "name": "keys" } }));
    let summary = charts.fixture.attempt().await;
    assert!(ready(&summary).2.contains("is not of the type 'oci'"), "{}", ready(&summary).2);
    assert_eq!(condition(&summary, "SourceVerified").unwrap(), "False VerificationError");
}
