//! Signatures of requests: version 4 of AWS for S3, the shared key of Azure. Pure: the time is an argument.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use plumb_api::sealed::Sealed;
pub use plumb_aws::AccessKey;
use plumb_aws::Scope;
pub(crate) use plumb_aws::{EMPTY_BODY, Signed};
use sha2::Sha256;

/// The version of the API of Azure.
pub(crate) const AZURE_VERSION: &str = "2021-12-02";

/// The key of a storage account of Azure.
#[derive(Clone)]
pub struct SharedKey {
    /// The name of the account.
    pub account: String,
    /// The key, decoded.
    pub key: Sealed,
}

/// The headers that sign a request for S3. `payload` is the SHA-256 of its body, in hex.
pub(crate) fn aws(
    key: &AccessKey,
    region: &str,
    request: &Signed<'_>,
    payload: &str,
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    plumb_aws::sign(key, Scope { region, service: "s3" }, request, payload, now)
}

/// The headers that sign a request for Azure.
pub(crate) fn azure(
    key: &SharedKey,
    request: &Signed<'_>,
    body_bytes: usize,
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    let Signed { method, url, headers } = request;
    let date = azure_date(now);
    let header = |wanted: &str| {
        headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value).unwrap_or_default()
    };
    let length = if body_bytes == 0 { String::new() } else { body_bytes.to_string() };
    let mut own = vec![("x-ms-date", date.as_str()), ("x-ms-version", AZURE_VERSION)];
    own.extend(headers.iter().filter(|(name, _)| name.starts_with("x-ms-")));
    own.sort_unstable();
    let own: Vec<String> = own.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let own = own.concat();
    let mut parameters: Vec<(String, String)> =
        url.query_pairs().map(|(name, value)| (name.to_lowercase(), value.into_owned())).collect();
    parameters.sort();
    let resource: Vec<String> = parameters.iter().map(|(name, value)| format!("\n{name}:{value}")).collect();
    let resource = resource.concat();
    let text = format!(
        "{method}\n\n\n{length}\n\n{}\n\n\n{}\n\n\n{}\n{own}/{}{}{resource}",
        header("content-type"),
        header("if-match"),
        header("range"),
        key.account,
        url.path(),
    );
    let signature = BASE64_STANDARD.encode(hmac(key.key.expose(), text.as_bytes()));
    vec![
        ("x-ms-date", date),
        ("x-ms-version", AZURE_VERSION.to_owned()),
        ("authorization", format!("SharedKey {}:{signature}", key.account)),
    ]
}

fn azure_date(now: Timestamp) -> String {
    httpdate::fmt_http_date(now.into())
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    /// The key of the examples in Amazon's documentation.
    fn key() -> AccessKey {
        AccessKey {
            id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret: Sealed::from("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            session: None,
        }
    }

    fn signature(url: &str, headers: &[(&str, &str)]) -> String {
        let now = "2013-05-24T00:00:00Z".parse().unwrap();
        let signed = Signed { method: "GET", url: &Url::parse(url).unwrap(), headers };
        let signed = aws(&key(), "us-east-1", &signed, EMPTY_BODY, now);
        let (_, authorization) = signed.last().unwrap();
        authorization.rsplit_once("Signature=").unwrap().1.to_owned()
    }

    #[test]
    fn requests_are_signed_as_in_the_examples_of_amazon() {
        let host = "https://examplebucket.s3.amazonaws.com";
        for (path, headers, expect) in [
            (
                "/test.txt",
                &[("range", "bytes=0-9")][..],
                "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            ),
            ("/?lifecycle=", &[], "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
            (
                "/?max-keys=2&prefix=J",
                &[],
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
        ] {
            assert_eq!(signature(&format!("{host}{path}"), headers), expect, "{path}");
        }
    }

    #[test]
    fn a_session_is_part_of_what_is_signed() {
        let url = Url::parse("http://h:9000/b/k").unwrap();
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let key = AccessKey { session: Some(Sealed::from("token")), ..key() };
        let signed = Signed { method: "GET", url: &url, headers: &[("if-match", "\"1\"")] };
        let signed = aws(&key, "eu", &signed, EMPTY_BODY, now);
        assert!(signed.contains(&("x-amz-security-token", "token".to_owned())));
        let (_, authorization) = signed.last().unwrap();
        assert!(
            authorization.contains(
                "AKIAIOSFODNN7EXAMPLE/20260101/eu/s3/aws4_request,SignedHeaders=host;if-match;x-amz-content-sha256;x-amz-date;x-amz-security-token,"
            ),
            "{authorization}"
        );
    }
}
