//! One request to an object store: its parts and its signature. Nothing is sent here.

use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::{HeaderName, HeaderValue, Method, header};
use jiff::Timestamp;
use plumb_api::sealed::Sealed;
use plumb_transport::{HttpRequest, shown_url};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::{
    address::{BucketAddress, Store},
    error::BucketError,
    signature::{self, AZURE_VERSION, AccessKey, SharedKey, Signed},
};

/// What is asked of an object store, before it is signed.
pub(crate) struct ObjectRequest {
    pub method: Method,
    pub url: Url,
    /// Names in lower case; all of them are signed.
    pub headers: Vec<(&'static str, String)>,
    pub body: Payload,
    /// The status of a success.
    pub expects: u16,
    /// Whether it is for the bucket, and not for one of its objects.
    pub is_listing: bool,
}

/// What is sent, and its digest.
#[derive(Clone, Default)]
pub(crate) struct Payload {
    bytes: Bytes,
    sha256: Option<String>,
}

impl Payload {
    /// Hashes the bytes. Call it on a blocking thread where they are many.
    pub fn new(bytes: Bytes) -> Self {
        let sha256 = Some(HEXLOWER.encode(&Sha256::digest(&bytes)));
        Self { bytes, sha256 }
    }
}

/// What is added to each request.
pub(crate) enum Signer {
    None,
    AccessKey(AccessKey),
    SharedKey(SharedKey),
    Signature(Sealed),
    Bearer(HeaderValue),
}

impl ObjectRequest {
    pub fn get(url: Url) -> Self {
        Self::new(Method::GET, url, 200)
    }

    pub fn new(method: Method, url: Url, expects: u16) -> Self {
        let (headers, body) = (Vec::new(), Payload::default());
        Self { method, url, headers, body, expects, is_listing: false }
    }

    pub fn with(mut self, name: &'static str, value: Option<String>) -> Self {
        self.headers.extend(value.map(|value| (name, value)));
        self
    }

    /// Method and URL, for errors.
    pub fn shown(&self) -> String {
        format!("{} {}", self.method, shown_url(&self.url))
    }

    /// The request with its signature. `url` is that of the region which is asked.
    pub fn signed(
        &self,
        address: &BucketAddress,
        signer: &Signer,
        url: &Url,
        now: Timestamp,
    ) -> Result<HttpRequest, BucketError> {
        let mut url = url.clone();
        let headers: Vec<(&str, &str)> =
            self.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let added = match (signer, &address.store) {
            (Signer::AccessKey(key), Store::S3 { region }) => {
                let digest = self.body.sha256.as_deref().unwrap_or(signature::EMPTY_BODY);
                let request = Signed { method: self.method.as_str(), url: &url, headers: &headers };
                signature::aws(key, region, &request, digest, now)
            }
            (Signer::SharedKey(key), Store::Azure { .. }) => {
                let request = Signed { method: self.method.as_str(), url: &url, headers: &headers };
                signature::azure(key, &request, self.body.bytes.len(), now)
            }
            (signer, Store::Azure { query }) => {
                let signature = match signer {
                    Signer::Signature(signature) => signature.expose_str(),
                    _ => None,
                };
                add_signature(&mut url, signature, query.as_deref());
                vec![("x-ms-version", AZURE_VERSION.to_owned())]
            }
            _ => Vec::new(),
        };
        let mut request = HttpRequest::new(self.method.clone(), url).body(self.body.bytes.clone());
        for (name, value) in self.headers.iter().chain(&added) {
            let mut value = HeaderValue::from_str(value).map_err(|_| BucketError::BadCredential {
                problem: "the credential has characters that a header cannot have",
            })?;
            value.set_sensitive(matches!(*name, "authorization" | "x-amz-security-token"));
            request = request.header(HeaderName::from_static(name), value);
        }
        if let Signer::Bearer(value) = signer {
            request = request.header(header::AUTHORIZATION, value.clone());
        }
        Ok(request)
    }
}

/// A shared access signature as part of a query. That of the Secret counts before that of the endpoint.
fn add_signature(url: &mut Url, signature: Option<&str>, of_endpoint: Option<&str>) {
    let parse = |text: Option<&str>| -> Vec<(String, String)> {
        let text = text.unwrap_or_default().trim().trim_start_matches('?');
        url::form_urlencoded::parse(text.as_bytes()).into_owned().collect()
    };
    let mut pairs = parse(signature);
    for (name, value) in parse(of_endpoint) {
        if !pairs.iter().any(|(known, _)| *known == name) {
            pairs.push((name, value));
        }
    }
    if !pairs.is_empty() {
        url.query_pairs_mut().extend_pairs(pairs);
    }
}
