//! Signatures of requests, version 4. Pure: the time is an argument.

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{Timestamp, tz::TimeZone};
use plumb_api::sealed::Sealed;
use sha2::{Digest as _, Sha256};
use url::Url;

/// The digest of an empty body.
pub const EMPTY_BODY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// An access key, permanent or temporary.
#[derive(Clone)]
pub struct AccessKey {
    /// Its ID.
    pub id: String,
    /// Its secret.
    pub secret: Sealed,
    /// The session token of temporary credentials.
    pub session: Option<Sealed>,
}

/// What is signed of a request.
pub struct Signed<'a> {
    /// Its method.
    pub method: &'a str,
    /// Path and query as they are sent, encoded and sorted.
    pub url: &'a Url,
    /// Names in lower case.
    pub headers: &'a [(&'a str, &'a str)],
}

/// Where a signature is valid.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// The region.
    pub region: &'a str,
    /// The service: `s3`, `ecr`.
    pub service: &'a str,
}

/// The headers that sign a request. `payload` is the SHA-256 of its body, in hex.
pub fn sign(
    key: &AccessKey,
    scope: Scope<'_>,
    request: &Signed<'_>,
    payload: &str,
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    let Signed { method, url, headers } = request;
    let Scope { region, service } = scope;
    let zoned = now.to_zoned(TimeZone::UTC);
    let (time, day) = (zoned.strftime("%Y%m%dT%H%M%SZ").to_string(), zoned.strftime("%Y%m%d").to_string());
    let mut added = vec![("x-amz-content-sha256", payload.to_owned()), ("x-amz-date", time.clone())];
    if let Some(session) = key.session.as_ref().and_then(Sealed::expose_str) {
        added.push(("x-amz-security-token", session.to_owned()));
    }
    let host = host(url);
    let mut signed: Vec<(&str, &str)> = added.iter().map(|(name, value)| (*name, value.as_str())).collect();
    signed.push(("host", &host));
    signed.extend(*headers);
    signed.sort_unstable();
    let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let lines: Vec<String> =
        signed.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let lines = lines.concat();
    let canonical =
        format!("{method}\n{}\n{}\n{lines}\n{names}\n{payload}", url.path(), url.query().unwrap_or_default());
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let digest = HEXLOWER.encode(&Sha256::digest(canonical.as_bytes()));
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{digest}");
    let first = [b"AWS4", key.secret.expose()].concat();
    let derived = [day.as_str(), region, service, "aws4_request", &text]
        .iter()
        .fold(first, |derived, part| hmac(&derived, part.as_bytes()));
    let signature = HEXLOWER.encode(&derived);
    let credential = format!("{}/{scope}", key.id);
    let authorization =
        format!("AWS4-HMAC-SHA256 Credential={credential},SignedHeaders={names},Signature={signature}");
    added.push(("authorization", authorization));
    added
}

fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}
