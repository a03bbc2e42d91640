//! A simple signature: a JSON payload that names the digest, and a signature over its bytes. It is what cosign stores under the tag
//! `sha256-….sig`.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;

use crate::{error::Rejection, key::PublicKey};

/// The annotation of a layer with the signature of its content.
pub const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// Characters of a signature in base64.
const SIGNATURE_CHARS_MAX: usize = 16 << 10;

/// A layer of a signature manifest: its content and its annotations.
#[derive(Clone, Copy, Debug)]
pub struct SimpleSignature<'a> {
    /// The content.
    pub payload: &'a [u8],
    /// The annotations.
    pub annotations: &'a BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// Checks that one of the keys signed the payload, and that the payload names the digest. Whether a transparency log has it does not
/// matter: the keys are trusted by themselves, as in Flux.
pub(crate) fn verify_simple(
    signature: SimpleSignature<'_>,
    digest: &str,
    keys: &[PublicKey],
) -> Result<(), Rejection> {
    let SimpleSignature { payload, annotations } = signature;
    let signature = decode(annotations.get(SIGNATURE).map(String::as_str).unwrap_or_default())?;
    // Only what a trusted key signed is parsed.
    if !keys.iter().any(|key| key.verifies(payload, &signature)) {
        return Err(Rejection::Key);
    }
    check_claim(payload, digest)
}

/// Checks which digest the payload names.
pub(crate) fn check_claim(payload: &[u8], digest: &str) -> Result<(), Rejection> {
    let Payload { critical: Critical { image: Image { digest: claimed } } } = serde_json::from_slice(payload)
        .map_err(|error| Rejection::malformed("payload of the signature", &error))?;
    if claimed == digest { Ok(()) } else { Err(Rejection::Claim { claimed }) }
}

/// The bytes of a signature.
pub(crate) fn decode(signature: &str) -> Result<Vec<u8>, Rejection> {
    if signature.is_empty() || signature.len() > SIGNATURE_CHARS_MAX {
        return Err(Rejection::Encoding);
    }
    BASE64_STANDARD.decode(signature).map_err(|_| Rejection::Encoding)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fixture::Signer;

    const DIGEST: &str = "sha256:44821ee36fa8c8c8c8cba414a62d778aae020b3f8ad97691b13c4f87ed39ed94";

    fn payload(digest: &str) -> Value {
        json!({
            "critical": {
                "identity": { "docker-reference": "host/org/app" },
                "image": { "docker-manifest-digest": digest },
                "type": "cosign container image signature",
            },
            "optional": null,
        })
    }

    fn check(payload: &[u8], signature: &str, keys: &[PublicKey]) -> Result<(), Rejection> {
        let annotations = BTreeMap::from([(SIGNATURE.to_owned(), signature.to_owned())]);
        verify_simple(SimpleSignature { payload, annotations: &annotations }, DIGEST, keys)
    }

    fn verify(signer: &Signer, payload: &str, keys: &[PublicKey]) -> Result<(), Rejection> {
        let signature = signer.sign(payload.as_bytes());
        check(payload.as_bytes(), &signature, keys)
    }

    #[test]
    fn a_signature_counts_with_one_of_the_keys_and_the_digest_in_its_payload() {
        let (signer, other) = (Signer::new(), Signer::new());
        let text = payload(DIGEST).to_string();
        assert_eq!(verify(&signer, &text, &[other.public(), signer.public()]), Ok(()));
        assert_eq!(verify(&signer, &text, &[other.public()]), Err(Rejection::Key));
        assert_eq!(verify(&signer, &text, &[]), Err(Rejection::Key));
        let another = DIGEST.replace('4', "5");
        let expect = Err(Rejection::Claim { claimed: another.clone() });
        assert_eq!(verify(&signer, &payload(&another).to_string(), &[signer.public()]), expect);
    }

    #[test]
    fn a_payload_that_was_changed_does_not_count() {
        let signer = Signer::new();
        let text = payload(DIGEST).to_string();
        let signature = signer.sign(text.replace("host", "h0st").as_bytes());
        assert_eq!(check(text.as_bytes(), &signature, &[signer.public()]), Err(Rejection::Key));
    }

    #[test]
    fn what_cannot_be_read_is_rejected_and_bounded() {
        let signer = Signer::new();
        let long = "A".repeat(SIGNATURE_CHARS_MAX + 4);
        for signature in ["", "not base64!", "AAA", &long] {
            assert_eq!(check(b"{}", signature, &[signer.public()]), Err(Rejection::Encoding));
        }
        let deep = format!("{}1{}", "[".repeat(40_000), "]".repeat(40_000));
        let twice = r#"{"critical":{"image":{"docker-manifest-digest":"a","docker-manifest-digest":"b"}}}"#;
        for (payload, expect) in [
            ("", "EOF"),
            ("{}", "missing field `critical`"),
            (r#"{"critical":{"image":{}}}"#, "missing field `docker-manifest-digest`"),
            (twice, "duplicate field"),
            (&format!(r#"{{"optional":{deep},"critical":{{}}}}"#), "missing field `image`"),
        ] {
            let error = verify(&signer, payload, &[signer.public()]).unwrap_err().to_string();
            assert!(error.contains(expect) && error.len() < 400, "{error}");
        }
        let claimed = "x".repeat(10_000);
        let error = verify(&signer, &payload(&claimed).to_string(), &[signer.public()]).unwrap_err();
        assert!(error.to_string().len() < 400, "{error}");
    }
}
