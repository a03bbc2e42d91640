//! Signatures with certificates of a private Sigstore instance, right and wrong in one part each; held against the stock `cosign`
//! where that can run.

use plumb_testkit::{
    registry::Registry,
    scenario::Response,
    signer::{PROVENANCE, SIGNATURE, Signer, attach, layer, simple_payload, store},
    sigstore::{Ceremony, Sigstore},
};
use serde_json::{Value, json};

use super::{pushed, verified};
use crate::{
    fixture::{Fixture, condition, ready},
    oci_repository::OciSource,
};

/// Who signs.
pub const ISSUER: &str = "https://issuer.example";
pub const SUBJECT: &str = "release@host.example";
const OTHER_DIGEST: &str = "sha256:44821ee36fa8c8c8c8cba414a62d778aae020b3f8ad97691b13c4f87ed39ed94";

/// What is wrong with a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Nothing,
    OtherCa,
    NoCertificateProof,
    OtherCertificateLog,
    OtherLog,
    TooLate,
    TooEarly,
    OtherIssuer,
    OtherSubject,
    OtherArtifact,
}

/// Every fault, and what an error says of it.
pub const FAULTS: [(Fault, &str); 10] = [
    (Fault::Nothing, ""),
    (Fault::OtherCa, "certificate chain"),
    (Fault::NoCertificateProof, "Signed Certificate Timestamp"),
    (Fault::OtherCertificateLog, "SCT"),
    (Fault::OtherLog, "log"),
    (Fault::TooLate, "it cannot be trusted"),
    (Fault::TooEarly, "it cannot be trusted"),
    (Fault::OtherIssuer, "of the issuer \"https://evil.example\", which is none of the identities"),
    (Fault::OtherSubject, "it was made by the subject \"evil@host.example\""),
    (Fault::OtherArtifact, "it is for the digest \"sha256:44821"),
];

impl Fault {
    /// How it is signed with this fault, and for which digest.
    pub fn ceremony<'a>(
        self,
        ours: &'a Sigstore,
        other: &'a Sigstore,
        digest: &'a str,
    ) -> (Ceremony<'a>, &'a str) {
        let mut ceremony = ours.ceremony(ISSUER, SUBJECT);
        match self {
            Self::Nothing => {}
            Self::OtherCa => ceremony.ca = other,
            Self::NoCertificateProof => ceremony.certificate_log = None,
            Self::OtherCertificateLog => ceremony.certificate_log = Some(other),
            Self::OtherLog => ceremony.log = other,
            Self::TooLate => ceremony.entered_after = 601,
            Self::TooEarly => ceremony.entered_after = -1,
            Self::OtherIssuer => ceremony.issuer = "https://evil.example",
            Self::OtherSubject => ceremony.subject = "evil@host.example",
            Self::OtherArtifact => return (ceremony, OTHER_DIGEST),
        }
        (ceremony, digest)
    }
}

/// An OCIRepository that trusts this instance for these identities.
pub fn trusting(url: &str, sigstore: &Sigstore, identities: &[(&str, &str)]) -> Fixture<OciSource> {
    let identities: Vec<Value> =
        identities.iter().map(|(issuer, subject)| json!({ "issuer": issuer, "subject": subject })).collect();
    let verify = json!({
        "provider": "cosign", "trustedRootSecretRef": { "name": "root" }, "matchOIDCIdentity": identities,
    });
    let fixture = verified(url, &verify);
    fixture.secret("root", &[("trusted_root.json", &sigstore.trusted_root().to_string())]);
    fixture
}

fn named(registry: &Registry, sigstore: &Sigstore) -> Fixture<OciSource> {
    trusting(
        &registry.url("org/app"),
        sigstore,
        &[("other", "other"), ("^https://issuer\\.example$", "^release@")],
    )
}

fn assert_rejected(summary: &plumb_status::Summary, expect: &str) {
    let (status, reason, message) = ready(summary);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "VerificationError"), "{message}");
    let begin = "failed to verify the signature using provider 'cosign keyless'";
    assert!(message.starts_with(begin) && message.contains(expect), "{expect}: {message}");
    assert_eq!(condition(summary, "SourceVerified").unwrap(), "False VerificationError");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_counts_only_where_every_part_is_right() {
    let (ours, other) = (Sigstore::new().unwrap(), Sigstore::new().unwrap());
    for (fault, expect) in FAULTS {
        for is_bundle in [false, true] {
            let (registry, digest) = pushed();
            let (ceremony, claimed) = fault.ceremony(&ours, &other, &digest);
            if is_bundle {
                attach(&registry, &digest, &ceremony.bundle(SIGNATURE, claimed).unwrap(), &json!({}));
            } else {
                store(&registry, &digest, &[ceremony.simple(&registry, claimed).unwrap()]);
            }
            let mut fixture = named(&registry, &ours);
            let summary = fixture.attempt().await;
            if fault == Fault::Nothing {
                assert_eq!(ready(&summary).0, "True", "bundle {is_bundle}: {}", ready(&summary).2);
                assert_eq!(condition(&summary, "SourceVerified").unwrap(), "True Succeeded");
            } else {
                assert_rejected(&summary, expect);
                assert_eq!(fixture.artifact(), &Value::Null, "{fault:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_or_is_missing_does_not_count() {
    let ours = Sigstore::new().unwrap();
    let (_, digest) = pushed();
    let ceremony = ours.ceremony(ISSUER, SUBJECT);
    let good = ceremony.bundle(SIGNATURE, &digest).unwrap();
    let second = ceremony.bundle(SIGNATURE, &digest).unwrap();
    let set = |path: &str, value: Value| {
        let mut changed = good.clone();
        *changed.pointer_mut(path).unwrap() = value;
        changed
    };
    let entry = "/verificationMaterial/tlogEntries/0";
    let take = |path: &str| second.pointer(path).unwrap().clone();
    let key = Signer::new().unwrap().bundle(SIGNATURE, &digest).unwrap();
    for (bundle, expect) in [
        // The entry of another signature of the same signer.
        (set(entry, take(entry)), "it cannot be trusted"),
        (set("/dsseEnvelope/signatures", take("/dsseEnvelope/signatures")), "it cannot be trusted"),
        (
            set("/verificationMaterial/certificate", take("/verificationMaterial/certificate")),
            "it cannot be trusted",
        ),
        (set("/verificationMaterial/tlogEntries", json!([])), "it cannot be trusted"),
        (set(&format!("{entry}/integratedTime"), json!("1748736061")), "it cannot be trusted"),
        (
            set(&format!("{entry}/inclusionPromise"), take(&format!("{entry}/inclusionPromise"))),
            "it cannot be trusted",
        ),
        (
            set(&format!("{entry}/inclusionProof"), take(&format!("{entry}/inclusionProof"))),
            "it cannot be trusted",
        ),
        (set(&format!("{entry}/inclusionProof/treeSize"), json!("9")), "it cannot be trusted"),
        (set(&format!("{entry}/canonicalizedBody"), json!("e30=")), "it cannot be trusted"),
        (set("/mediaType", json!("application/vnd.dev.sigstore.bundle+json;version=0.1")), "is not 0.3"),
        (ceremony.bundle(PROVENANCE, &digest).unwrap(), "it is an attestation"),
        (key, "it was signed with a key, and a certificate is wanted"),
    ] {
        let (registry, digest) = pushed();
        attach(&registry, &digest, &bundle, &json!({}));
        assert_rejected(&named(&registry, &ours).attempt().await, expect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_annotation_that_was_changed_or_is_missing_does_not_count() {
    let (ours, other) = (Sigstore::new().unwrap(), Sigstore::new().unwrap());
    let (registry, digest) = pushed();
    let ceremony = ours.ceremony(ISSUER, SUBJECT);
    let payload = simple_payload(&digest);
    let annotations = ceremony.annotations(&payload).unwrap();
    let second = ceremony.annotations(&payload).unwrap();
    let with = |name: &str, value: Option<Value>| {
        let mut changed = annotations.clone();
        match value {
            Some(value) => changed[name] = value,
            None => drop(changed.as_object_mut().unwrap().remove(name)),
        }
        registry.described("x", payload.as_bytes(), &changed)
    };
    let (certificate, log) = ("dev.sigstore.cosign/certificate", "dev.sigstore.cosign/bundle");
    let foreign = other.ceremony(ISSUER, SUBJECT).annotations(&payload).unwrap();
    for (layer, expect) in [
        (with(log, None), "it has no entry of the transparency log with it"),
        (with(log, Some(json!("{}"))), "the log entry of the signature cannot be read"),
        (with(log, Some(second[log].clone())), "it cannot be trusted"),
        (with(log, Some(foreign[log].clone())), "it cannot be trusted"),
        (with(certificate, None), "it was signed with a key, and a certificate is wanted"),
        (with(certificate, Some(json!("nonsense"))), "it cannot be trusted"),
        (with(certificate, Some(second[certificate].clone())), "it cannot be trusted"),
        (with("dev.cosignproject.cosign/signature", Some(json!("QQ=="))), "it cannot be trusted"),
        (
            with("dev.sigstore.cosign/rfc3161timestamp", Some(json!("{}"))),
            "the timestamp of the signature cannot",
        ),
        (
            layer(&registry, payload.as_bytes(), "QQ=="),
            "it was signed with a key, and a certificate is wanted",
        ),
    ] {
        store(&registry, &digest, &[layer]);
        assert_rejected(&named(&registry, &ours).attempt().await, expect);
    }
    // The chain of the annotation helps, but nothing depends on it.
    store(&registry, &digest, &[with("dev.sigstore.cosign/chain", None)]);
    assert_eq!(ready(&named(&registry, &ours).attempt().await).0, "True");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_needs_an_identity_and_a_layer_under_a_tag_does_not() {
    // As with Flux.
    let ours = Sigstore::new().unwrap();
    let (registry, digest) = pushed();
    let ceremony = ours.ceremony(ISSUER, SUBJECT);
    attach(&registry, &digest, &ceremony.bundle(SIGNATURE, &digest).unwrap(), &json!({}));
    let anybody = || trusting(&registry.url("org/app"), &ours, &[]);
    assert_rejected(&anybody().attempt().await, "set matchOIDCIdentity");
    store(&registry, &digest, &[ceremony.simple(&registry, &digest).unwrap()]);
    assert_eq!(ready(&anybody().attempt().await).0, "True");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_root_that_does_not_help_is_named() {
    let (ours, other) = (Sigstore::new().unwrap(), Sigstore::new().unwrap());
    let (registry, digest) = pushed();
    store(&registry, &digest, &[ours.ceremony(ISSUER, SUBJECT).simple(&registry, &digest).unwrap()]);
    let without = |field: &str| {
        let mut root = ours.trusted_root();
        root[field] = json!([]);
        root.to_string()
    };
    for (root, expect) in [
        ("nonsense".to_owned(), "key 'trusted_root.json' cannot be used: the trusted root cannot be used: "),
        (without("tlogs"), "it needs certificateAuthorities, tlogs and ctlogs"),
        (without("ctlogs"), "it needs certificateAuthorities, tlogs and ctlogs"),
        (without("certificateAuthorities"), "it needs certificateAuthorities, tlogs and ctlogs"),
        (other.trusted_root().to_string(), "it cannot be trusted"),
    ] {
        let mut fixture = named(&registry, &ours);
        fixture.secret("root", &[("trusted_root.json", &root)]);
        assert_rejected(&fixture.attempt().await, expect);
    }
    let mut fixture = named(&registry, &ours);
    fixture.secret("root", &[("root.json", "{}")]);
    let expect = "failed to read trusted root from secret 'apps/root': secret 'apps/root' has no key 'trusted_root.json'";
    assert_rejected(&fixture.attempt().await, expect);
    fixture.api.on("GET", "/api/v1/namespaces/apps/secrets/root", Response::not_found());
    assert_rejected(&fixture.attempt().await, "secrets \"root\" not found");
    // Without a Secret, the public instance is trusted: it knows nothing of ours.
    fixture.object["spec"]["verify"].as_object_mut().unwrap().remove("trustedRootSecretRef");
    assert_rejected(&fixture.attempt().await, "signature 1: it cannot be trusted");

    // The roots of one object change: what was verified is verified again.
    let mut fixture = named(&registry, &ours);
    assert_eq!(ready(&fixture.attempt().await).0, "True");
    fixture.secret("root", &[("trusted_root.json", &other.trusted_root().to_string())]);
    assert_rejected(&fixture.attempt().await, "it cannot be trusted");
}
