//! Scenario tests (T1) of verification: a registry of our own with signatures of our own, a mock API server for Secrets.

mod keyless;
mod peers;

use plumb_archive::UnpackLimits;
use plumb_memory::MemoryPool;
use plumb_oci::{OciClient, OciLimits};
use plumb_status::Summary;
use plumb_testkit::{
    archive::tar_gz,
    registry::{FLUX_LAYER, Registry, response},
    scenario::Response,
    signer::{BUNDLE, PROVENANCE, SIGNATURE, Signer, attach, layer, simple_payload, store},
};
use plumb_transport::address::AddressPolicy;
use serde_json::{Value, json};

use crate::{
    fixture::{Fixture, condition, emitted, ready},
    oci_repository::OciSource,
};

/// An OCIRepository `apps/app` of this URL, with `verify`.
fn verified(url: &str, verify: &Value) -> Fixture<OciSource> {
    let spec = json!({ "url": url, "interval": "1m", "verify": verify });
    Fixture::new(&spec, |api, _| {
        let addresses = AddressPolicy::reject_link_local("--allow-link-local-addresses");
        let memory = MemoryPool::new(600 << 20);
        let registries = OciClient::new(addresses, memory.clone(), OciLimits::DEFAULT);
        OciSource::new(crate::cloud::none(api.client()), registries, memory, UnpackLimits::DEFAULT)
    })
}

fn with_keys(registry: &Registry, keys: &[&Signer]) -> Fixture<OciSource> {
    let fixture =
        verified(&registry.url("org/app"), &json!({ "provider": "cosign", "secretRef": { "name": "keys" } }));
    let keys: Vec<_> =
        keys.iter().enumerate().map(|(at, key)| (format!("{at}.pub"), key.public_key())).collect();
    let keys: Vec<_> = keys.iter().map(|(name, key)| (name.as_str(), key.as_str())).collect();
    fixture.secret("keys", &keys);
    fixture
}

fn pushed() -> (Registry, String) {
    let registry = Registry::plain().unwrap();
    let digest = registry.push("latest", &[(FLUX_LAYER, &tar_gz(&[("a.yaml", b"a", 0o644)]))], &json!({}));
    (registry, digest)
}

/// Stores signatures of an artifact.
type Prepare<'a> = Box<dyn Fn(&Registry, &str) + 'a>;

/// The text of SourceVerified.
fn message_of(summary: &Summary) -> String {
    summary.status.as_ref().unwrap().condition("SourceVerified").unwrap().message.clone()
}

#[track_caller]
fn assert_rejected(summary: &Summary, expect: &str) {
    let (status, reason, message) = ready(summary);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "VerificationError"), "{message}");
    let begin = "failed to verify the signature using provider 'cosign'";
    assert!(message.starts_with(begin) && message.contains(expect), "{expect}: {message}");
    assert_eq!(condition(summary, "SourceVerified").unwrap(), "False VerificationError");
    assert_eq!(condition(summary, "FetchFailed"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_of_either_form_counts_and_is_looked_for_once() {
    let (signer, other) = (Signer::new().unwrap(), Signer::new().unwrap());
    for form in ["tag", "referrer", "referrer under a tag"] {
        let (registry, digest) = pushed();
        registry.lists_referrers(form == "referrer");
        if form == "tag" {
            store(&registry, &digest, &[signer.simple(&registry, &digest).unwrap()]);
        } else {
            let bundle = signer.bundle(SIGNATURE, &digest).unwrap();
            attach(&registry, &digest, &bundle, &json!({ "dev.sigstore.bundle.predicateType": SIGNATURE }));
        }
        let mut fixture = with_keys(&registry, &[&other, &signer]);
        let first = fixture.attempt().await;
        let revision = format!("latest@{digest}");
        assert_eq!(condition(&first, "SourceVerified").unwrap(), "True Succeeded", "{form}");
        assert_eq!(message_of(&first), format!("verified signature of revision {revision}"));
        assert_eq!(ready(&first).0, "True");
        assert_eq!(fixture.artifact()["revision"], revision);

        registry.take_calls();
        let before = fixture.object.clone();
        assert_eq!(emitted(&fixture.attempt().await), Vec::<String>::new());
        assert_eq!(fixture.object, before);
        assert_eq!(registry.take_calls(), ["HEAD /v2/org/app/manifests/latest"], "a poll is one request");

        fixture.object["spec"].as_object_mut().unwrap().remove("verify");
        assert_eq!(condition(&fixture.attempt().await, "SourceVerified"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_without_a_signature_that_counts_is_not_pulled() {
    let (signer, other) = (Signer::new().unwrap(), Signer::new().unwrap());
    let bundle = |predicate: &str, digest: &str| signer.bundle(predicate, digest).unwrap();
    let foreign = "sha256:44821ee36fa8c8c8c8cba414a62d778aae020b3f8ad97691b13c4f87ed39ed94";
    let rows: Vec<(&str, Prepare<'_>)> = vec![
        ("it has no signature", Box::new(|_, _| {})),
        (
            "signature 1: it was not made with one of the public keys",
            Box::new(|registry, digest| {
                store(registry, digest, &[other.simple(registry, digest).unwrap()]);
            }),
        ),
        (
            "signature 1: it is for the digest \"sha256:44821",
            Box::new(|registry, digest| {
                store(registry, digest, &[signer.simple(registry, foreign).unwrap()]);
            }),
        ),
        (
            "signature 1: it was not made with one of the public keys",
            Box::new(|registry, digest| {
                let signature = signer.sign(simple_payload(foreign).as_bytes()).unwrap();
                store(registry, digest, &[layer(registry, simple_payload(digest).as_bytes(), &signature)]);
            }),
        ),
        (
            "signature 1: the signature is not base64",
            Box::new(|registry, digest| {
                store(registry, digest, &[layer(registry, simple_payload(digest).as_bytes(), "%%")]);
            }),
        ),
        (
            "it is an attestation of the type \"https://slsa.dev/provenance/v1\", not a signature",
            Box::new(|registry, digest| {
                attach(registry, digest, &bundle(PROVENANCE, digest), &json!({}));
            }),
        ),
        (
            "it is an attestation of the type \"https://slsa.dev/provenance/v1\", not a signature",
            Box::new(|registry, digest| {
                let annotations = json!({ "dev.sigstore.bundle.predicateType": PROVENANCE });
                attach(registry, digest, &bundle(SIGNATURE, digest), &annotations);
            }),
        ),
        (
            "it is for the digest \"sha256:44821",
            Box::new(|registry, digest| {
                attach(registry, digest, &bundle(SIGNATURE, foreign), &json!({}));
            }),
        ),
        (
            "it was not made with one of the public keys",
            Box::new(|registry, digest| {
                attach(registry, digest, &other.bundle(SIGNATURE, digest).unwrap(), &json!({}));
            }),
        ),
    ];
    for (expect, prepare) in rows {
        let (registry, digest) = pushed();
        prepare(&registry, &digest);
        let mut fixture = with_keys(&registry, &[&signer]);
        let summary = fixture.attempt().await;
        assert_rejected(&summary, expect);
        assert_eq!(fixture.artifact(), &Value::Null, "{expect}");
        let pulled = format!("GET /v2/org/app/manifests/{digest}");
        assert!(!registry.take_calls().contains(&pulled), "{expect}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_good_signature_among_bad_ones_is_enough() {
    let (signer, other) = (Signer::new().unwrap(), Signer::new().unwrap());
    let (registry, digest) = pushed();
    let bad = other.simple(&registry, &digest).unwrap();
    let gone = json!({ "mediaType": "x", "digest": format!("sha256:{}", "0".repeat(64)), "size": 3, "annotations": { "dev.cosignproject.cosign/signature": "QQ==" } });
    store(&registry, &digest, &[bad, gone, signer.simple(&registry, &digest).unwrap()]);
    // A bundle of somebody else, and what only looks like one.
    attach(&registry, &digest, &other.bundle(SIGNATURE, &digest).unwrap(), &json!({}));
    let two = registry.described(BUNDLE, b"{}", &json!({}));
    registry.attach(&digest, BUNDLE, &[two.clone(), two], &json!({}));
    registry.attach(&digest, BUNDLE, &[registry.described("text/plain", b"{}", &json!({}))], &json!({}));
    let mut fixture = with_keys(&registry, &[&signer]);
    assert_eq!(condition(&fixture.attempt().await, "SourceVerified").unwrap(), "True Succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_in_the_secret_leads_to_another_look_and_the_artifact_stays() {
    let (signer, other) = (Signer::new().unwrap(), Signer::new().unwrap());
    let (registry, digest) = pushed();
    store(&registry, &digest, &[signer.simple(&registry, &digest).unwrap()]);
    let mut fixture = with_keys(&registry, &[&signer]);
    fixture.attempt().await;
    let artifact = fixture.artifact().clone();
    assert_eq!(artifact["revision"], format!("latest@{digest}"));
    fixture.secret("keys", &[("cosign.pub", &other.public_key())]);
    assert_rejected(&fixture.attempt().await, "it was not made with one of the public keys");
    assert_eq!(fixture.artifact(), &artifact, "the last good artifact stays");
    fixture.secret("keys", &[("cosign.pub", &signer.public_key())]);
    let recovered = fixture.attempt().await;
    assert_eq!(condition(&recovered, "SourceVerified").unwrap(), "True Succeeded");
    assert_eq!(ready(&recovered).0, "True");

    // A new revision has to be signed itself, also where the reference is a digest.
    let second = registry.push("latest", &[(FLUX_LAYER, &tar_gz(&[("a.yaml", b"b", 0o644)]))], &json!({}));
    assert_rejected(&fixture.attempt().await, "it has no signature");
    assert_eq!(fixture.artifact(), &artifact);
    fixture.set("ref", json!({ "digest": second }));
    assert_rejected(&fixture.attempt().await, &format!("/org/app@{second}': it has no signature"));
    fixture.set("ref", json!({ "digest": digest }));
    let pinned = fixture.attempt().await;
    assert_eq!(message_of(&pinned), format!("verified signature of revision {digest}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_does_not_help_is_named_with_its_key() {
    let (registry, _) = pushed();
    let long = "x".repeat(70 << 10);
    let many: Vec<String> = (0..=100).map(|at| format!("{at}.pub")).collect();
    let key = Signer::new().unwrap().public_key();
    let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), key.as_str())).collect();
    for (data, expect) in [
        (&[("cosign.key", "x")][..], "secret 'apps/keys' has no key that ends with '.pub'"),
        (
            &[("a.pub", "s3cret")],
            "key 'a.pub' of secret 'apps/keys' cannot be used: it has no PEM block of the type PUBLIC KEY",
        ),
        (&[("a.pub", &long)], "key 'a.pub' of secret 'apps/keys' cannot be used: it has more than 64 KiB"),
        (&many, "secret 'apps/keys' has more than 100 keys that end with '.pub'"),
    ] {
        let mut fixture = with_keys(&registry, &[]);
        fixture.secret("keys", data);
        let summary = fixture.attempt().await;
        assert_rejected(&summary, expect);
        assert!(ready(&summary).2.contains("spec.verify.secretRef") && !ready(&summary).2.contains("s3cret"));
    }
    let mut fixture = with_keys(&registry, &[]);
    fixture.api.on("GET", "/api/v1/namespaces/apps/secrets/keys", Response::not_found());
    assert_rejected(&fixture.attempt().await, "secrets \"keys\" not found");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_signatures_are_bounded() {
    let signer = Signer::new().unwrap();
    let (registry, digest) = pushed();
    let payload = "x".repeat(65 << 10);
    let layers: Vec<Value> =
        (0..1001).map(|at| layer(&registry, format!("{at}").as_bytes(), "QQ==")).collect();
    let huge = json!({ "x": "y".repeat(1 << 20) });
    for (layers, expect) in [
        (&layers[..], "it has more than 1000 layers"),
        (&layers[..1000], "and 997 more"),
        (&[layer(&registry, payload.as_bytes(), "QQ==")], "has 66560 bytes, the limit is 65536"),
    ] {
        store(&registry, &digest, layers);
        assert_rejected(&with_keys(&registry, &[&signer]).attempt().await, expect);
    }
    store(&registry, &digest, &[]);
    attach(&registry, &digest, &huge, &json!({}));
    assert_rejected(&with_keys(&registry, &[&signer]).attempt().await, "bytes, the limit is 1048576");
    for at in 0..200 {
        attach(&registry, &digest, &json!({ "at": at }), &json!({}));
    }
    registry.lists_referrers(true);
    assert_rejected(&with_keys(&registry, &[&signer]).attempt().await, "more than 200 referrers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_fails_is_not_a_registry_without_signatures() {
    let signer = Signer::new().unwrap();
    let (registry, digest) = pushed();
    registry.answer(|call| {
        let fails = call.target.contains("/manifests/sha256-") || call.target.contains("/referrers/");
        fails.then(|| response(503, &[], "s3cret"))
    });
    let summary = with_keys(&registry, &[&signer]).attempt().await;
    assert_rejected(&summary, "/referrers/");
    let message = ready(&summary).2;
    assert!(
        message.contains("status 503") && message.contains(".sig: ") && !message.contains("s3cret"),
        "{message}"
    );
    // What can be read still counts.
    registry.answer(|call| call.target.contains("/referrers/").then(|| response(503, &[], "")));
    store(&registry, &digest, &[signer.simple(&registry, &digest).unwrap()]);
    assert_eq!(ready(&with_keys(&registry, &[&signer]).attempt().await).0, "True");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trust_policy_says_whether_a_signature_is_wanted() {
    let (registry, digest) = pushed();
    let policy = |level: &str| {
        json!({
            "version": "1.0",
            "trustPolicies": [{
                "name": "default", "registryScopes": ["*"], "signatureVerification": { "level": level },
                "trustStores": ["ca:x"], "trustedIdentities": ["*"],
            }],
        })
        .to_string()
    };
    let certificate = rcgen::generate_simple_self_signed(vec!["x".to_owned()]).unwrap().cert.pem();
    let with = |data: &[(&str, &str)]| {
        let verify = json!({ "provider": "notation", "secretRef": { "name": "notation" } });
        let fixture = verified(&registry.url("org/app"), &verify);
        fixture.secret("notation", data);
        fixture
    };
    let mut skipping = with(&[("trustpolicy.json", &policy("skip")), ("ca.crt", &certificate)]);
    let summary = skipping.attempt().await;
    assert_eq!((ready(&summary).0.as_str(), condition(&summary, "SourceVerified")), ("True", None));
    let cose = registry.described("application/cose", b"x", &json!({}));
    registry.attach(&digest, "application/vnd.cncf.notary.signature", &[cose], &json!({}));
    let broken = registry.described("application/jose+json", b"{}", &json!({}));
    registry.attach(&digest, "application/vnd.cncf.notary.signature", &[broken], &json!({}));
    let strict = policy("strict");
    for (data, expect) in [
        (&[("ca.crt", certificate.as_str())][..], "'trustpolicy.json' not found in secret 'apps/notation'"),
        (
            &[("trustpolicy.json", "{")],
            "error occurred while parsing 'trustpolicy.json' of secret 'apps/notation'",
        ),
        (
            &[("trustpolicy.json", &strict)],
            "secret 'apps/notation' has no key that ends with '.crt' or '.pem'",
        ),
        (
            &[("trustpolicy.json", &strict), ("a.pem", "s3cret")],
            "key 'a.pem' of secret 'apps/notation' cannot be used",
        ),
        (
            &[("trustpolicy.json", &strict), ("ca.crt", &certificate)],
            "its envelope is \"application/cose\", not JWS",
        ),
        (
            &[("trustpolicy.json", &strict), ("ca.crt", &certificate)],
            "the envelope of the signature cannot be read",
        ),
    ] {
        let mut fixture = with(data);
        let summary = fixture.attempt().await;
        let (status, reason, message) = ready(&summary);
        assert_eq!((status.as_str(), reason.as_str()), ("False", "VerificationError"), "{message}");
        let begin = "failed to verify the signature using provider 'notation'";
        assert!(message.starts_with(begin) && message.contains(expect), "{expect}: {message}");
        assert!(!message.contains("s3cret") && fixture.artifact() == &Value::Null);
    }
}
