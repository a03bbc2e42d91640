//! What the stock `cosign` signs, copies and attests in a real registry: what `cosign verify` accepts, and what is accepted here.

use plumb_testkit::{
    archive::tar_gz,
    peers::{RegistryProcess, can_sign, cosign, notation},
    registry::{FLUX_LAYER, INDEX, MANIFEST},
    signer::{BUNDLE, SIGNATURE, SIMPLE, simple_payload},
    sigstore::Sigstore,
};
use serde_json::{Value, json};

use super::{
    keyless::{FAULTS, Fault, trusting},
    verified,
};
use crate::fixture::{condition, ready};

const PATH: &str = "org/app";

struct Stage {
    registry: RegistryProcess,
    home: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        Self { registry: RegistryProcess::start(false).unwrap(), home: tempfile::tempdir().unwrap() }
    }

    fn cosign(&self, arguments: &[&str]) -> anyhow::Result<String> {
        tokio::task::block_in_place(|| cosign(self.home.path(), arguments))
    }

    /// A key pair of cosign: `NAME.key` and `NAME.pub`, of a private key as PEM, or a new one.
    fn key_pair(&self, name: &str, private: Option<&str>) {
        let prefix = format!("--output-key-prefix={name}");
        if let Some(private) = private {
            std::fs::write(self.home.path().join("private.pem"), private).unwrap();
            self.cosign(&["import-key-pair", "--key=private.pem", &prefix]).unwrap();
        } else {
            self.cosign(&["generate-key-pair", &prefix]).unwrap();
        }
    }

    /// A new artifact; its digest.
    async fn artifact(&self, content: &str) -> String {
        let layer = tar_gz(&[("app.yaml", content.as_bytes(), 0o644)]);
        for blob in [&layer[..], b"{}"] {
            self.registry.put_blob(PATH, blob).await.unwrap();
        }
        let manifest = manifest(&[described(FLUX_LAYER, &layer, &json!({}))]);
        self.registry.put_manifest(PATH, None, &manifest).await.unwrap()
    }

    fn reference(&self, digest: &str) -> String {
        format!("{}/{PATH}@{digest}", self.registry.address())
    }

    fn sign(&self, digest: &str, key: &str, bundle: bool) {
        let (key, format) = (format!("--key={key}.key"), format!("--new-bundle-format={bundle}"));
        let reference = self.reference(digest);
        let common = ["sign", "--use-signing-config=false", "--tlog-upload=false", "-y"];
        self.cosign(&[&common[..], &[&key, &format, &reference]].concat()).unwrap();
    }

    /// Stores a bundle that refers to an artifact.
    async fn attach(&self, digest: &str, bundle: &Value) {
        let bundle = bundle.to_string();
        self.registry.put_blob(PATH, bundle.as_bytes()).await.unwrap();
        let mut referrer = manifest(&[described(BUNDLE, bundle.as_bytes(), &json!({}))]);
        referrer["artifactType"] = json!(BUNDLE);
        let referrer_digest = self.registry.put_manifest(PATH, None, &referrer).await.unwrap();
        let entry = json!({
            "mediaType": MANIFEST, "digest": referrer_digest, "size": referrer.to_string().len(),
            "artifactType": BUNDLE,
        });
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] });
        self.registry.put_manifest(PATH, Some(&tag(digest, "")), &index).await.unwrap();
    }

    /// Whether `cosign verify` accepts it with this key, and whether it is accepted here.
    async fn accepted(&self, digest: &str, key: &str) -> (bool, bool) {
        let public = format!("--key={key}.pub");
        let theirs = self.cosign(&["verify", &public, "--insecure-ignore-tlog", &self.reference(digest)]);
        let verify = json!({ "provider": "cosign", "secretRef": { "name": "keys" } });
        let mut fixture = verified(&self.registry.url(PATH), &verify);
        let public = std::fs::read_to_string(self.home.path().join(format!("{key}.pub"))).unwrap();
        fixture.secret("keys", &[("cosign.pub", &public)]);
        fixture.set("ref", json!({ "digest": digest }));
        let summary = fixture.attempt().await;
        let (status, reason, message) = ready(&summary);
        assert!(status == "True" || reason == "VerificationError", "{message}");
        (theirs.is_ok(), condition(&summary, "SourceVerified").unwrap() == "True Succeeded")
    }
}

fn described(media_type: &str, bytes: &[u8], annotations: &Value) -> Value {
    let digest = plumb_testkit::registry::digest(bytes);
    json!({ "mediaType": media_type, "digest": digest, "size": bytes.len(), "annotations": annotations })
}

fn manifest(layers: &[Value]) -> Value {
    let config = described("application/vnd.oci.image.config.v1+json", b"{}", &json!({}));
    json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers })
}

fn tag(digest: &str, suffix: &str) -> String {
    format!("{}{suffix}", digest.replace(':', "-"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cosign_accepts_with_a_key_is_accepted_and_nothing_else() {
    if !can_sign() {
        return;
    }
    let stage = Stage::new();
    stage.key_pair("ours", None);
    stage.key_pair("other", None);
    let signed: [String; 2] = [stage.artifact("tag").await, stage.artifact("bundle").await];
    stage.sign(&signed[0], "ours", false);
    stage.sign(&signed[1], "ours", true);
    for digest in &signed {
        assert_eq!(stage.accepted(digest, "ours").await, (true, true), "{digest}");
        assert_eq!(stage.accepted(digest, "other").await, (false, false), "{digest}");
    }

    let unsigned = stage.artifact("unsigned").await;
    assert_eq!(stage.accepted(&unsigned, "ours").await, (false, false), "no signature");

    let two = stage.artifact("two").await;
    stage.sign(&two, "other", false);
    assert_eq!(stage.accepted(&two, "ours").await, (false, false), "a foreign signature");
    stage.sign(&two, "ours", false);
    assert_eq!(stage.accepted(&two, "ours").await, (true, true), "two signatures, one good");
    let two = stage.artifact("two bundles").await;
    stage.sign(&two, "other", true);
    stage.sign(&two, "ours", true);
    assert_eq!(stage.accepted(&two, "ours").await, (true, true), "two bundles, one good");

    let registry = &stage.registry;
    let copied = stage.artifact("copied").await;
    let simple = registry.get_manifest(PATH, &tag(&signed[0], ".sig")).await.unwrap();
    registry.put_manifest(PATH, Some(&tag(&copied, ".sig")), &simple).await.unwrap();
    assert_eq!(stage.accepted(&copied, "ours").await, (false, false), "the signature of another artifact");

    let copied = stage.artifact("copied bundle").await;
    let index = registry.get_manifest(PATH, &tag(&signed[1], "")).await.unwrap();
    registry.put_manifest(PATH, Some(&tag(&copied, "")), &index).await.unwrap();
    assert_eq!(stage.accepted(&copied, "ours").await, (false, false), "the bundle of another artifact");

    let changed = stage.artifact("changed").await;
    let payload = simple_payload(&changed);
    registry.put_blob(PATH, payload.as_bytes()).await.unwrap();
    let layer = &simple["layers"][0];
    let media_type = layer["mediaType"].as_str().unwrap();
    let forged = manifest(&[described(media_type, payload.as_bytes(), &layer["annotations"])]);
    registry.put_manifest(PATH, Some(&tag(&changed, ".sig")), &forged).await.unwrap();
    assert_eq!(stage.accepted(&changed, "ours").await, (false, false), "another payload, the same signature");

    // cosign takes any statement about the artifact for a signature: a deviation.
    let attested = stage.artifact("attested").await;
    std::fs::write(stage.home.path().join("predicate.json"), "{}").unwrap();
    let common = ["attest", "--key=ours.key", "--use-signing-config=false", "--tlog-upload=false", "-y"];
    let what = ["--predicate=predicate.json", "--type=slsaprovenance1"];
    let reference = stage.reference(&attested);
    stage.cosign(&[&common[..], &what, &[&reference]].concat()).unwrap();
    assert_eq!(stage.accepted(&attested, "ours").await, (true, false), "provenance alone");
    stage.sign(&attested, "ours", true);
    assert_eq!(stage.accepted(&attested, "ours").await, (true, true), "provenance and a signature");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cosign_accepts_of_a_private_instance_is_accepted_and_nothing_else() {
    if !can_sign() {
        return;
    }
    let stage = Stage::new();
    let (ours, other) = (Sigstore::new().unwrap(), Sigstore::new().unwrap());
    let root = stage.home.path().join("root.json");
    std::fs::write(&root, ours.trusted_root().to_string()).unwrap();
    for (fault, _) in FAULTS {
        for is_bundle in [false, true] {
            let digest = stage.artifact(&format!("{fault:?} {is_bundle}")).await;
            let (ceremony, claimed) = fault.ceremony(&ours, &other, &digest);
            if is_bundle {
                stage.attach(&digest, &ceremony.bundle(SIGNATURE, claimed).unwrap()).await;
            } else {
                let payload = simple_payload(claimed);
                stage.registry.put_blob(PATH, payload.as_bytes()).await.unwrap();
                let layer = described(SIMPLE, payload.as_bytes(), &ceremony.annotations(&payload).unwrap());
                let tag = tag(&digest, ".sig");
                stage.registry.put_manifest(PATH, Some(&tag), &manifest(&[layer])).await.unwrap();
            }
            let arguments = [
                "verify",
                "--trusted-root=root.json",
                "--certificate-identity-regexp=^release@",
                "--certificate-oidc-issuer-regexp=^https://issuer",
                &stage.reference(&digest),
            ];
            let theirs = stage.cosign(&arguments);
            let url = stage.registry.url(PATH);
            let mut fixture = trusting(&url, &ours, &[("^https://issuer", "^release@")]);
            fixture.set("ref", json!({ "digest": digest }));
            let summary = fixture.attempt().await;
            let is_accepted = condition(&summary, "SourceVerified").unwrap() == "True Succeeded";
            let expect = fault == Fault::Nothing;
            assert_eq!(
                (theirs.is_ok(), is_accepted),
                (expect, expect),
                "{fault:?}, bundle: {is_bundle}: {theirs:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cosign_signs_with_each_kind_of_key_is_accepted() {
    if !can_sign() {
        return;
    }
    let stage = Stage::new();
    let generated = |algorithm| rcgen::KeyPair::generate_for(algorithm).unwrap().serialize_pem();
    let rsa = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    // cosign signs with the digest that fits the curve, and verifies with SHA-256 unless told otherwise, as Flux does. It signs
    // with Ed25519ph, and verifies with Ed25519: what it made itself is rejected.
    for (name, private, tag, bundle) in [
        ("p384", generated(&rcgen::PKCS_ECDSA_P384_SHA384), (false, true), (false, true)),
        ("p521", generated(&rcgen::PKCS_ECDSA_P521_SHA512), (false, true), (false, true)),
        ("ed25519", generated(&rcgen::PKCS_ED25519), (false, false), (false, false)),
        ("rsa", rsa.serialize_pem(), (true, true), (true, true)),
    ] {
        stage.key_pair(name, Some(&private));
        for (is_bundle, expect) in [(false, tag), (true, bundle)] {
            let digest = stage.artifact(&format!("{name} {is_bundle}")).await;
            stage.sign(&digest, name, is_bundle);
            assert_eq!(stage.accepted(&digest, name).await, expect, "{name}, bundle: {is_bundle}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_notation_signs_and_accepts_is_accepted_and_nothing_else() {
    if !can_sign() {
        return;
    }
    let stage = Stage::new();
    let run = |arguments: &[&str]| tokio::task::block_in_place(|| notation(stage.home.path(), arguments));
    for name in ["ours.example", "other.example"] {
        run(&["cert", "generate-test", name]).unwrap();
    }
    let policy = json!({
        "version": "1.0",
        "trustPolicies": [{
            "name": "default", "registryScopes": ["*"], "signatureVerification": { "level": "strict" },
            "trustStores": ["ca:ours.example"], "trustedIdentities": ["x509.subject: C=US, ST=WA, O=Notary"],
        }],
    });
    std::fs::write(stage.home.path().join("policy.json"), policy.to_string()).unwrap();
    run(&["policy", "import", "policy.json"]).unwrap();
    let certificate = stage.home.path().join(".config/notation/localkeys/ours.example.crt");
    let certificate = std::fs::read_to_string(certificate).unwrap();
    let sign = |digest: &str, name: &str, format: &str| {
        let (key, format) = (format!("--key={name}.example"), format!("--signature-format={format}"));
        run(&["sign", "--insecure-registry", &key, &format, &stage.reference(digest)]).unwrap();
    };
    let signed = stage.artifact("signed").await;
    sign(&signed, "ours", "jws");
    let two = stage.artifact("two").await;
    sign(&two, "other", "jws");
    sign(&two, "ours", "jws");
    let foreign = stage.artifact("foreign").await;
    sign(&foreign, "other", "jws");
    let unsigned = stage.artifact("unsigned").await;
    let copied = stage.artifact("copied").await;
    let index = stage.registry.get_manifest(PATH, &tag(&signed, "")).await.unwrap();
    stage.registry.put_manifest(PATH, Some(&tag(&copied, "")), &index).await.unwrap();
    let binary = stage.artifact("binary").await;
    sign(&binary, "ours", "cose");
    for (what, digest, theirs, ours) in [
        ("signed", &signed, true, true),
        ("two signatures, one good", &two, true, true),
        ("a foreign signature", &foreign, false, false),
        ("no signature", &unsigned, false, false),
        ("the signature of another artifact", &copied, false, false),
        // A deviation.
        ("COSE", &binary, true, false),
    ] {
        let accepted = run(&["verify", "--insecure-registry", &stage.reference(digest)]);
        let verify = json!({ "provider": "notation", "secretRef": { "name": "notation" } });
        let mut fixture = verified(&stage.registry.url(PATH), &verify);
        fixture.secret("notation", &[("trustpolicy.json", &policy.to_string()), ("ca.crt", &certificate)]);
        fixture.set("ref", json!({ "digest": digest }));
        let summary = fixture.attempt().await;
        let is_accepted = condition(&summary, "SourceVerified").unwrap() == "True Succeeded";
        assert_eq!(
            (accepted.is_ok(), is_accepted),
            (theirs, ours),
            "{what}: {accepted:?} {}",
            ready(&summary).2
        );
    }
}
