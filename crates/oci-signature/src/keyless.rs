//! Signatures without a key of the signer: with a certificate that a CA of Sigstore (Fulcio) issued for minutes to an identity, and
//! an entry of a transparency log (Rekor) that says when it signed. Whom to trust for both says a trusted root, which is given.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};
use sigstore_verify::{
    SubjectAltName, VerificationPolicy, VerificationResult, Verifier,
    trust_root::{SIGSTORE_PRODUCTION_TRUSTED_ROOT, TrustedRoot},
    types::{Artifact, Bundle, Sha256Hash, SignatureContent},
};

use crate::{
    bundle::{check_statement, parse},
    claim::{SimpleSignature, check_claim, decode},
    error::{Rejection, shortened},
    identity::Identity,
    pem::blocks,
};

/// Annotations of a layer with a simple signature: the certificate, those that issued it, the entry of the log, a timestamp.
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const CHAIN: &str = "dev.sigstore.cosign/chain";
const LOG_ENTRY: &str = "dev.sigstore.cosign/bundle";
const TIMESTAMP: &str = "dev.sigstore.cosign/rfc3161timestamp";
/// Certificates of a chain.
const CHAIN_MAX: usize = 10;
/// The first version of bundles, in which an entry of the log may have a promise instead of a proof.
const FIRST_VERSION: &str = "application/vnd.dev.sigstore.bundle+json;version=0.1";

/// Whom to trust for certificates and log entries, and whose signatures count.
pub struct Keyless {
    verifier: Verifier,
    identities: Vec<Identity>,
}

/// A trusted root cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the trusted root cannot be used: {problem}")]
pub struct TrustedRootError {
    problem: String,
}

impl Keyless {
    /// A trusted root in the JSON of Sigstore (`trusted_root.json`).
    pub fn with_root(json: &str, identities: Vec<Identity>) -> Result<Self, TrustedRootError> {
        let failed = |error: &dyn ToString| TrustedRootError { problem: shortened(&error.to_string()) };
        let root = TrustedRoot::from_json(json).map_err(|error| failed(&error))?;
        let verifier = Verifier::new(&root).map_err(|error| failed(&error))?;
        if root.certificate_authorities.is_empty() || root.tlogs.is_empty() || root.ctlogs.is_empty() {
            return Err(failed(&"it needs certificateAuthorities, tlogs and ctlogs"));
        }
        Ok(Self { verifier, identities })
    }

    /// The trusted root of the public Sigstore instance, as it was when this version was made.
    pub fn with_public_root(identities: Vec<Identity>) -> Result<Self, TrustedRootError> {
        Self::with_root(SIGSTORE_PRODUCTION_TRUSTED_ROOT, identities)
    }

    pub(crate) fn verify_bundle(&self, bundle: &[u8], digest: &str) -> Result<(), Rejection> {
        let malformed = |error: &dyn ToString| Rejection::malformed("bundle", error);
        // cosign has no default for a bundle: somebody has to be named.
        if self.identities.is_empty() {
            return Err(Rejection::NoIdentities);
        }
        if parse(bundle)?.has_key {
            return Err(Rejection::Material { found: "a key", wanted: "a certificate" });
        }
        let text = str::from_utf8(bundle).map_err(|error| malformed(&error))?;
        let bundle = Bundle::from_json(text).map_err(|error| malformed(&error))?;
        let SignatureContent::DsseEnvelope(envelope) = &bundle.content else {
            return Err(malformed(&"it has no statement"));
        };
        let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
        let hash = Sha256Hash::from_hex(hex).map_err(|error| malformed(&error))?;
        // What the statement says comes first: an attestation is reported as such.
        check_statement(&envelope.payload_type, envelope.payload.as_bytes(), digest)?;
        self.verify(hash, &bundle)
    }

    pub(crate) fn verify_simple(
        &self,
        signature: SimpleSignature<'_>,
        digest: &str,
    ) -> Result<(), Rejection> {
        let SimpleSignature { payload, annotations } = signature;
        let bundle = as_bundle(payload, annotations)?;
        let bundle = serde_json::from_value::<Bundle>(bundle);
        let bundle = bundle.map_err(|error| Rejection::malformed("signature", &error))?;
        self.verify(payload, &bundle)?;
        check_claim(payload, digest)
    }

    /// Checks signature, certificate, its chain and its own log, the entry of the transparency log, the time, and the identity.
    fn verify<'a>(&self, artifact: impl Into<Artifact<'a>>, bundle: &Bundle) -> Result<(), Rejection> {
        let policy = VerificationPolicy::any_identity();
        let result = self.verifier.verify(artifact, bundle, &policy);
        let result =
            result.map_err(|error| Rejection::Untrusted { problem: shortened(&error.to_string()) })?;
        if !(result.certificate_verified() && result.sct_verified() && result.tlog_verified()) {
            return Err(Rejection::Untrusted { problem: "it was not verified in full".to_owned() });
        }
        self.check_identity(&result)
    }

    fn check_identity(&self, result: &VerificationResult) -> Result<(), Rejection> {
        let issuer = result.issuer().unwrap_or_default();
        let subject = result.identity().map(SubjectAltName::as_str).unwrap_or_default();
        let matches = |identity: &Identity| identity.matches(issuer, subject);
        if self.identities.is_empty() || self.identities.iter().any(matches) {
            return Ok(());
        }
        Err(Rejection::Identity { issuer: issuer.to_owned(), subject: subject.to_owned() })
    }
}

/// The entry of the log as cosign stores it.
#[derive(Deserialize)]
struct LogEntry {
    #[serde(rename = "SignedEntryTimestamp")]
    promise: String,
    #[serde(rename = "Payload")]
    payload: LogPayload,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogPayload {
    body: String,
    integrated_time: i64,
    log_index: i64,
    #[serde(rename = "logID")]
    log_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogBody {
    kind: String,
    api_version: String,
}

#[derive(Deserialize)]
struct Timestamp {
    #[serde(rename = "SignedRFC3161Timestamp")]
    token: String,
}

/// A simple signature in the form of a bundle.
fn as_bundle(payload: &[u8], annotations: &BTreeMap<String, String>) -> Result<Value, Rejection> {
    let get = |name: &str| annotations.get(name).map(String::as_str).filter(|text| !text.is_empty());
    let signature = decode(get(crate::claim::SIGNATURE).unwrap_or_default())?;
    let certificate =
        get(CERTIFICATE).ok_or(Rejection::Material { found: "a key", wanted: "a certificate" })?;
    let chain = [certificate, get(CHAIN).unwrap_or_default()];
    let chain = chain.iter().flat_map(|text| blocks(text.as_bytes())).take(CHAIN_MAX);
    let chain: Vec<Value> =
        chain.map(|block| json!({ "rawBytes": BASE64_STANDARD.encode(block.der) })).collect();
    let timestamps = match get(TIMESTAMP) {
        None => Vec::new(),
        Some(text) => {
            let Timestamp { token } = serde_json::from_str(text)
                .map_err(|error| Rejection::malformed("timestamp of the signature", &error))?;
            vec![json!({ "signedTimestamp": token })]
        }
    };
    let entry = log_entry(get(LOG_ENTRY).ok_or(Rejection::NotLogged)?)?;
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, payload);
    Ok(json!({
        "mediaType": FIRST_VERSION,
        "verificationMaterial": {
            "x509CertificateChain": { "certificates": chain },
            "tlogEntries": [entry],
            "timestampVerificationData": { "rfc3161Timestamps": timestamps },
        },
        "messageSignature": {
            "messageDigest": { "algorithm": "SHA2_256", "digest": BASE64_STANDARD.encode(hash.as_ref()) },
            "signature": BASE64_STANDARD.encode(signature),
        },
    }))
}

/// An entry of the log in the form that bundles have.
fn log_entry(text: &str) -> Result<Value, Rejection> {
    let malformed = |error: &dyn ToString| Rejection::malformed("log entry of the signature", error);
    let LogEntry { promise, payload } = serde_json::from_str(text).map_err(|error| malformed(&error))?;
    let LogPayload { body, integrated_time, log_index, log_id } = payload;
    let decoded = BASE64_STANDARD.decode(&body).map_err(|error| malformed(&error))?;
    let LogBody { kind, api_version } =
        serde_json::from_slice(&decoded).map_err(|error| malformed(&error))?;
    let log_id = Sha256Hash::from_hex(&log_id).map_err(|error| malformed(&error))?;
    Ok(json!({
        "logIndex": log_index.to_string(),
        "logId": { "keyId": log_id.to_base64() },
        "kindVersion": { "kind": kind, "version": api_version },
        "integratedTime": integrated_time.to_string(),
        "inclusionPromise": { "signedEntryTimestamp": promise },
        "canonicalizedBody": body,
    }))
}
