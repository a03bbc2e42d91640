//! A Sigstore bundle: a signed in-toto statement about the artifact, and what it is verified with. It is what cosign 3 stores, as a
//! referrer of the artifact. Provenance and SBOMs are stored the same way: only the type of the predicate tells them from a signature.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, de::IgnoredAny};

use crate::{claim::decode, error::Rejection, key::PublicKey};

/// The media type of a bundle: a prefix, the version follows.
pub const BUNDLE_MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle";
/// The type of the predicate of a signature.
pub const SIGNATURE_PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";
/// Media types of bundles of the version that is understood.
const VERSIONS: [&str; 2] =
    ["application/vnd.dev.sigstore.bundle.v0.3+json", "application/vnd.dev.sigstore.bundle+json;version=0.3"];
/// The type of the payload of an envelope with a statement.
const STATEMENT: &str = "application/vnd.in-toto+json";
/// Types of statements.
const STATEMENT_VERSIONS: [&str; 2] =
    ["https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"];
/// Artifacts that a statement may be about.
const SUBJECTS_MAX: usize = 1024;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    media_type: String,
    verification_material: Material,
    dsse_envelope: Option<Envelope>,
    message_signature: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    public_key: Option<IgnoredAny>,
    certificate: Option<IgnoredAny>,
    x509_certificate_chain: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Deserialize)]
struct EnvelopeSignature {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    #[serde(default)]
    subject: Vec<Subject>,
    predicate_type: String,
}

#[derive(Deserialize)]
struct Subject {
    #[serde(default)]
    digest: BTreeMap<String, String>,
}

/// The envelope of a bundle, decoded.
pub(crate) struct Signed {
    payload: Vec<u8>,
    payload_type: String,
    signature: Vec<u8>,
    pub(crate) has_key: bool,
}

/// Checks that one of the keys signed the statement of the bundle, and that the statement is a signature of the digest. Log entries and
/// timestamps of the bundle do not matter: the keys are trusted by themselves, as in Flux.
pub(crate) fn verify_bundle(bundle: &[u8], digest: &str, keys: &[PublicKey]) -> Result<(), Rejection> {
    let Signed { payload, payload_type, signature, has_key } = parse(bundle)?;
    if !has_key {
        return Err(Rejection::Material { found: "a certificate", wanted: "a key" });
    }
    // Only what a trusted key signed is parsed further.
    let message = pre_authentication_encoding(&payload_type, &payload);
    if !keys.iter().any(|key| key.verifies(&message, &signature)) {
        return Err(Rejection::Key);
    }
    check_statement(&payload_type, &payload, digest)
}

pub(crate) fn parse(bundle: &[u8]) -> Result<Signed, Rejection> {
    let malformed = |problem: &dyn ToString| Rejection::malformed("bundle", problem);
    let Raw { media_type, verification_material, dsse_envelope, message_signature } =
        serde_json::from_slice(bundle).map_err(|error| malformed(&error))?;
    if !VERSIONS.contains(&media_type.as_str()) {
        return Err(malformed(&format!("its version {media_type} is not 0.3")));
    }
    let envelope = match (dsse_envelope, message_signature) {
        (Some(envelope), None) => envelope,
        (None, Some(_)) => return Err(malformed(&"it has a signature of a message instead of a statement")),
        (Some(_), Some(_)) => return Err(malformed(&"it has both a statement and a signature of a message")),
        (None, None) => return Err(malformed(&"it has no statement")),
    };
    let Envelope { payload, payload_type, signatures } = envelope;
    let [EnvelopeSignature { sig }] = signatures.as_slice() else {
        return Err(malformed(&format!("it has {} signatures instead of one", signatures.len())));
    };
    let Material { public_key, certificate, x509_certificate_chain } = verification_material;
    let has_certificate = certificate.is_some() || x509_certificate_chain.is_some();
    if has_certificate == public_key.is_some() {
        return Err(malformed(&"it has to have either a key or a certificate"));
    }
    let payload = BASE64_STANDARD.decode(payload).map_err(|_| malformed(&"its statement is not base64"))?;
    Ok(Signed { payload, payload_type, signature: decode(sig)?, has_key: !has_certificate })
}

/// What is signed of an envelope: the specification of DSSE calls it PAE.
fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// Checks that the statement is a signature, and of this digest.
pub(crate) fn check_statement(payload_type: &str, payload: &[u8], digest: &str) -> Result<(), Rejection> {
    let malformed = |problem: &dyn ToString| Rejection::malformed("statement of the bundle", problem);
    if payload_type != STATEMENT {
        return Err(malformed(&format!("its type is {payload_type}")));
    }
    let Statement { kind, subject, predicate_type } =
        serde_json::from_slice(payload).map_err(|error| malformed(&error))?;
    if !STATEMENT_VERSIONS.contains(&kind.as_str()) {
        return Err(malformed(&format!("its type is {kind}")));
    }
    if predicate_type != SIGNATURE_PREDICATE {
        return Err(Rejection::Attestation { predicate: predicate_type });
    }
    if subject.len() > SUBJECTS_MAX {
        return Err(malformed(&format!("it is about more than {SUBJECTS_MAX} artifacts")));
    }
    let claimed = subject
        .into_iter()
        .filter_map(|subject| subject.digest.get("sha256").map(|hex| format!("sha256:{hex}")));
    let claimed: Vec<String> = claimed.collect();
    if claimed.iter().any(|claimed| claimed == digest) {
        return Ok(());
    }
    Err(Rejection::Claim { claimed: claimed.into_iter().next().unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fixture::Signer;

    const HEX: &str = "44821ee36fa8c8c8c8cba414a62d778aae020b3f8ad97691b13c4f87ed39ed94";

    fn statement(predicate: &str, hex: &str) -> Value {
        json!({
            "_type": STATEMENT_VERSIONS[0], "predicateType": predicate, "predicate": {},
            "subject": [{ "digest": { "sha256": hex } }],
        })
    }

    fn bundle(signer: &Signer, statement: &str) -> Value {
        let message = pre_authentication_encoding(STATEMENT, statement.as_bytes());
        json!({
            "mediaType": VERSIONS[0],
            "verificationMaterial": { "publicKey": { "hint": "x" } },
            "dsseEnvelope": {
                "payload": BASE64_STANDARD.encode(statement), "payloadType": STATEMENT,
                "signatures": [{ "sig": signer.sign(&message) }],
            },
        })
    }

    fn verify(bundle: &Value, keys: &[PublicKey]) -> Result<(), Rejection> {
        verify_bundle(bundle.to_string().as_bytes(), &format!("sha256:{HEX}"), keys)
    }

    #[test]
    fn a_bundle_counts_with_one_of_the_keys_and_the_digest_in_its_statement() {
        let (signer, other) = (Signer::new(), Signer::new());
        let good = bundle(&signer, &statement(SIGNATURE_PREDICATE, HEX).to_string());
        assert_eq!(verify(&good, &[other.public(), signer.public()]), Ok(()));
        assert_eq!(verify(&good, &[other.public()]), Err(Rejection::Key));
        let mut several = statement(SIGNATURE_PREDICATE, HEX);
        several["subject"] = json!([{ "digest": { "sha512": HEX } }, {}, { "digest": { "sha256": HEX } }]);
        assert_eq!(verify(&bundle(&signer, &several.to_string()), &[signer.public()]), Ok(()));
        let another = HEX.replace('4', "5");
        let foreign = bundle(&signer, &statement(SIGNATURE_PREDICATE, &another).to_string());
        let expect = Err(Rejection::Claim { claimed: format!("sha256:{another}") });
        assert_eq!(verify(&foreign, &[signer.public()]), expect);
    }

    #[test]
    fn an_attestation_is_no_signature() {
        let signer = Signer::new();
        for predicate in ["https://slsa.dev/provenance/v1", "https://spdx.dev/Document", ""] {
            let attestation = bundle(&signer, &statement(predicate, HEX).to_string());
            let expect = Err(Rejection::Attestation { predicate: predicate.to_owned() });
            assert_eq!(verify(&attestation, &[signer.public()]), expect);
        }
    }

    #[test]
    fn what_was_changed_does_not_count() {
        let signer = Signer::new();
        let good = bundle(&signer, &statement(SIGNATURE_PREDICATE, HEX).to_string());
        let mut other_statement = good.clone();
        let changed = statement(SIGNATURE_PREDICATE, &HEX.replace('4', "5")).to_string();
        other_statement["dsseEnvelope"]["payload"] = json!(BASE64_STANDARD.encode(changed));
        assert_eq!(verify(&other_statement, &[signer.public()]), Err(Rejection::Key));
        let mut other_type = good.clone();
        other_type["dsseEnvelope"]["payloadType"] = json!("text/plain");
        assert_eq!(verify(&other_type, &[signer.public()]), Err(Rejection::Key));
        // Signed as it is, without the encoding that binds the type.
        let bare = statement(SIGNATURE_PREDICATE, HEX).to_string();
        let mut unbound = good;
        unbound["dsseEnvelope"]["signatures"][0]["sig"] = json!(signer.sign(bare.as_bytes()));
        assert_eq!(verify(&unbound, &[signer.public()]), Err(Rejection::Key));
    }

    #[test]
    fn what_is_no_bundle_is_rejected_and_bounded() {
        let signer = Signer::new();
        let good = bundle(&signer, &statement(SIGNATURE_PREDICATE, HEX).to_string());
        let set = |path: &str, value: Value| {
            let mut changed = good.clone();
            *changed.pointer_mut(path).unwrap() = value;
            changed
        };
        let signature = good.pointer("/dsseEnvelope/signatures/0").unwrap().clone();
        let mut message = good.clone();
        message.as_object_mut().unwrap().remove("dsseEnvelope");
        let nothing = message.clone();
        message["messageSignature"] = json!({});
        let mut both = good.clone();
        both["messageSignature"] = json!({});
        let many = vec![json!({ "digest": { "sha256": "1" } }); SUBJECTS_MAX + 1];
        let mut crowded = statement(SIGNATURE_PREDICATE, HEX);
        crowded["subject"] = json!(many);
        for (bundle, expect) in [
            (json!([]), "the bundle cannot be read"),
            (set("/mediaType", json!("application/vnd.dev.sigstore.bundle+json;version=0.1")), "is not 0.3"),
            (set("/verificationMaterial", json!({})), "either a key or a certificate"),
            (
                set("/verificationMaterial", json!({ "certificate": {}, "publicKey": {} })),
                "either a key or a",
            ),
            (
                set("/verificationMaterial", json!({ "certificate": {} })),
                "was signed with a certificate, and a key",
            ),
            (set("/dsseEnvelope/signatures", json!([])), "0 signatures instead of one"),
            (set("/dsseEnvelope/signatures", json!([signature, signature])), "2 signatures instead of one"),
            (set("/dsseEnvelope/payload", json!("%")), "not base64"),
            (set("/dsseEnvelope/signatures/0/sig", json!("%")), "not base64"),
            (message, "a signature of a message instead of"),
            (both, "both a statement and"),
            (nothing, "it has no statement"),
            (bundle(&signer, "{}"), "missing field"),
            (
                bundle(&signer, &statement(SIGNATURE_PREDICATE, HEX).to_string().replace("Statement", "X")),
                "its type is",
            ),
            (bundle(&signer, &crowded.to_string()), "more than 1024 artifacts"),
        ] {
            let error = verify(&bundle, &[signer.public()]).unwrap_err().to_string();
            assert!(error.contains(expect) && error.len() < 400, "{expect}: {error}");
        }
        let deep = format!("{{\"mediaType\":{}", "[".repeat(500_000));
        assert!(verify_bundle(deep.as_bytes(), HEX, &[signer.public()]).is_err());
    }
}
