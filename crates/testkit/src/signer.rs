//! A signer of OCI artifacts: what cosign stores in a registry for a key, also where it is wrong.

use anyhow::Result;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use rcgen::SigningKey as _;
use serde_json::{Value, json};

use crate::registry::{MANIFEST, Registry};

/// The media type of the payload of a simple signature.
pub const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The media type of a bundle.
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The predicate of a signature.
pub const SIGNATURE: &str = "https://sigstore.dev/cosign/sign/v1";
/// The predicate of provenance.
pub const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
/// The type of a statement.
pub(crate) const STATEMENT: &str = "application/vnd.in-toto+json";

/// A signer with an ECDSA P-256 key.
pub struct Signer(rcgen::KeyPair);

impl Signer {
    /// One with a new key.
    pub fn new() -> Result<Self> {
        Ok(Self(rcgen::KeyPair::generate()?))
    }

    /// Its public key, as `cosign.pub` has it.
    pub fn public_key(&self) -> String {
        self.0.public_key_pem()
    }

    /// A signature in base64.
    pub fn sign(&self, message: &[u8]) -> Result<String> {
        Ok(BASE64_STANDARD.encode(self.0.sign(message)?))
    }

    /// A layer of a signature manifest, which claims a digest.
    pub fn simple(&self, registry: &Registry, claimed: &str) -> Result<Value> {
        let payload = simple_payload(claimed);
        let signature = self.sign(payload.as_bytes())?;
        Ok(layer(registry, payload.as_bytes(), &signature))
    }

    /// A bundle with a statement about a digest.
    pub fn bundle(&self, predicate: &str, claimed: &str) -> Result<Value> {
        let statement = statement(predicate, claimed);
        Ok(json!({
            "mediaType": BUNDLE,
            "verificationMaterial": { "publicKey": { "hint": "" } },
            "dsseEnvelope": {
                "payload": BASE64_STANDARD.encode(&statement), "payloadType": STATEMENT,
                "signatures": [{ "sig": self.sign(&envelope_message(&statement))? }],
            },
        }))
    }
}

/// A statement about a digest.
pub(crate) fn statement(predicate: &str, claimed: &str) -> String {
    let hex = claimed.trim_start_matches("sha256:");
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1", "predicateType": predicate, "predicate": {},
        "subject": [{ "digest": { "sha256": hex } }],
    });
    statement.to_string()
}

/// What is signed of an envelope with a statement.
pub(crate) fn envelope_message(statement: &str) -> Vec<u8> {
    format!("DSSEv1 {} {STATEMENT} {} {statement}", STATEMENT.len(), statement.len()).into_bytes()
}

/// The payload of a simple signature.
pub fn simple_payload(claimed: &str) -> String {
    let critical = json!({
        "identity": { "docker-reference": "registry.example/org/app" },
        "image": { "docker-manifest-digest": claimed },
        "type": "cosign container image signature",
    });
    json!({ "critical": critical, "optional": null }).to_string()
}

/// A layer with a payload and the signature that it is said to have.
pub fn layer(registry: &Registry, payload: &[u8], signature: &str) -> Value {
    registry.described(SIMPLE, payload, &json!({ "dev.cosignproject.cosign/signature": signature }))
}

/// Stores simple signatures of an artifact.
pub fn store(registry: &Registry, digest: &str, layers: &[Value]) {
    let config = json!({ "mediaType": "application/vnd.oci.image.config.v1+json", "digest": registry.blob(b"{}"), "size": 2 });
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
    let manifest = registry.manifest(MANIFEST, &manifest);
    registry.tag(&format!("{}.sig", digest.replace(':', "-")), &manifest);
}

/// Stores a bundle as a referrer of an artifact.
pub fn attach(registry: &Registry, digest: &str, bundle: &Value, annotations: &Value) {
    let layer = registry.described(BUNDLE, bundle.to_string().as_bytes(), &json!({}));
    registry.attach(digest, BUNDLE, &[layer], annotations);
}
