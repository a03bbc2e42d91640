//! `generic-hmac`: the header `X-Signature` carries an HMAC of the body.

use super::signature::{self, Algorithm};
use super::{Expectation, Webhook, WebhookRejection};

const HEADER: &str = "X-Signature";

pub(super) fn verify(webhook: &Webhook<'_>, expectation: &Expectation<'_>) -> Result<(), WebhookRejection> {
    let given = webhook.header("x-signature").ok_or(WebhookRejection::NoSignature { header: HEADER })?;
    // Senders of every kind sign for this type, some of them with SHA-1 alone.
    signature::verify(given, webhook.body, expectation.token, Algorithm::ALL)
        .map_err(|source| WebhookRejection::Signature { header: HEADER, source })
}

#[cfg(test)]
mod tests {
    use crate::receiver::rows::verdict;

    // openssl dgst -shaN -hmac secret, over {"a":1}
    const SHA1: &str = "sha1=f8446672f033e4b2beafc5ca3a71eafcd2cafb6e";
    const SHA256: &str = "sha256=aa9e2e3575f5d7098b6caccd790888c36d5fdb63342a73bada2d6a51747a8494";
    const SHA512: &str = "sha512=42f08c0da01c9a46d4e5663d5f2140526a016507c598182c6769cca2bcf7ba43c395b719b01d288f5ad322564dce1d40ca28ef50b876fc49a33d13d6783114dd";

    #[track_caller]
    fn check(signature: &str, body: &str, expect: &str) {
        let said = verdict("generic-hmac", &[("X-Signature", signature)], body, &[]);
        let expect = if expect.is_empty() {
            String::new()
        } else {
            format!("the header X-Signature is not valid: {expect}")
        };
        assert_eq!(said, expect);
    }

    #[test]
    fn a_right_signature_is_let_in() {
        for signature in [SHA1, SHA256, SHA512] {
            check(signature, r#"{"a":1}"#, "");
        }
    }

    #[test]
    fn a_wrong_signature_is_refused() {
        check(SHA256, r#"{"a":2}"#, "the signature does not match");
        check(&SHA256.replace("sha256", "sha512"), r#"{"a":1}"#, "the signature does not match");
        check(&SHA256[..30], r#"{"a":1}"#, "the signature is not hexadecimal");
        check(&SHA256[..31], r#"{"a":1}"#, "the signature does not match");
        check("sha256=", r#"{"a":1}"#, "the signature does not match");
        check("sha256=zz", r#"{"a":1}"#, "the signature is not hexadecimal");
        check("md5=00", r#"{"a":1}"#, "the algorithm \"md5\" is not one of sha1, sha256, sha512");
        check("00", r#"{"a":1}"#, "it does not have the form algorithm=signature");
    }

    #[test]
    fn a_missing_signature_is_refused() {
        let said = verdict("generic-hmac", &[], "{}", &[]);
        assert_eq!(said, "the header X-Signature with the signature is missing");
    }
}
