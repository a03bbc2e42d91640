//! An object store in memory with one bucket, behind all three APIs: S3, Google Cloud Storage, Azure Blob Storage. It responds as a
//! test wants it: pages, logins, tokens, and lies. It takes a login by what is sent, and checks no signature: real servers do that.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use anyhow::Result;
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, header},
    response::Response,
};
use bytes::Bytes;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    registry::{Call, response},
    server::{Identity, Server},
    stores::httpdate,
};

/// The bucket.
pub const BUCKET: &str = "apps";
/// The account of Azure, which is in the path, as an emulator has it.
pub const ACCOUNT: &str = "devaccount";
/// The token that the token server gives.
pub const TOKEN: &str = "t0ken-of-a-test";
/// Bytes of a request that are read.
const BODY_MAX: usize = 16 << 20;

/// A response that takes the place of the store's own.
type Answer = Arc<dyn Fn(&Call) -> Option<Response> + Send + Sync>;

#[derive(Default)]
struct Content {
    objects: BTreeMap<String, Object>,
    page_max: usize,
    login: Option<String>,
    region: Option<String>,
    calls: Vec<Call>,
    answer: Option<Answer>,
    written: u64,
}

#[derive(Clone)]
struct Object {
    etag: String,
    generation: u64,
    bytes: Bytes,
    /// The header with the digest that it was written with, and its value.
    digest: Option<(&'static str, String)>,
    written: SystemTime,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Content>>);

/// A running object store. It stops when dropped.
pub struct ObjectStore {
    server: Server,
    shared: Shared,
    ca: Option<String>,
}

impl ObjectStore {
    /// Starts without TLS.
    pub fn plain() -> Result<Self> {
        let shared = Shared::default();
        shared.content().page_max = 1000;
        Ok(Self { server: Server::start(router(shared.clone()), None)?, shared, ca: None })
    }

    /// Starts with TLS and a CA of its own.
    pub fn tls() -> Result<Self> {
        let (shared, identity) = (Shared::default(), Identity::new()?);
        shared.content().page_max = 1000;
        let server = Server::start(router(shared.clone()), Some(&identity))?;
        Ok(Self { server, shared, ca: Some(identity.ca) })
    }

    /// Where it listens: the endpoint of S3 and Google.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The endpoint of Azure, with the account as path.
    pub fn azure(&self) -> String {
        format!("{}/{ACCOUNT}", self.url())
    }

    /// Its URL. Tokens are at `/token`, temporary keys at `/sts`.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.ca.is_some() { "https" } else { "http" }, self.address())
    }

    /// The certificate of its CA (PEM), with TLS.
    pub fn ca(&self) -> Option<&str> {
        self.ca.as_deref()
    }

    /// Writes an object, as somebody else does; its ETag without quotes.
    pub fn put(&self, key: &str, bytes: &[u8]) -> String {
        self.shared.content().write(key, Bytes::copy_from_slice(bytes), None)
    }

    /// Changes the bytes of an object, and nothing else of it but its ETag.
    ///
    /// # Panics
    /// If there is no such object.
    pub fn corrupt(&self, key: &str, bytes: &[u8]) {
        let mut content = self.shared.content();
        let digest = content.objects[key].digest.clone();
        content.write(key, Bytes::copy_from_slice(bytes), digest);
    }

    /// Changes when an object was written.
    ///
    /// # Panics
    /// If there is no such object.
    pub fn written_at(&self, key: &str, written: SystemTime) {
        self.shared.content().objects.get_mut(key).expect("the test has written it").written = written;
    }

    /// The keys of all objects, sorted.
    pub fn keys(&self) -> Vec<String> {
        self.shared.content().objects.keys().cloned().collect()
    }

    /// The ETag of an object, without quotes.
    pub fn etag(&self, key: &str) -> Option<String> {
        self.shared.content().objects.get(key).map(|object| object.etag.clone())
    }

    /// The bytes of an object.
    pub fn bytes(&self, key: &str) -> Option<Bytes> {
        self.shared.content().objects.get(key).map(|object| object.bytes.clone())
    }

    /// Removes an object.
    pub fn delete(&self, key: &str) {
        self.shared.content().objects.remove(key);
    }

    /// How many objects a page has.
    pub fn pages(&self, objects_max: usize) {
        self.shared.content().page_max = objects_max;
    }

    /// What the header `Authorization`, or the query of Azure, has to contain from now on.
    pub fn login(&self, contains: &str) {
        self.shared.content().login = Some(contains.to_owned());
    }

    /// The region that signatures have to be for.
    pub fn region(&self, region: &str) {
        self.shared.content().region = Some(region.to_owned());
    }

    /// Responds by itself again.
    pub fn answer_itself(&self) {
        self.shared.content().answer = None;
    }

    /// Responds by `answer` where that gives a response.
    pub fn answer(&self, answer: impl Fn(&Call) -> Option<Response> + Send + Sync + 'static) {
        self.shared.content().answer = Some(Arc::new(answer));
    }

    /// Requests so far.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.content().calls.clone()
    }

    /// Requests so far, as method and path; they are forgotten then.
    pub fn take_calls(&self) -> Vec<String> {
        let calls = std::mem::take(&mut self.shared.content().calls);
        let path = |target: &str| target.split('?').next().unwrap_or_default().to_owned();
        calls.into_iter().map(|call| format!("{} {}", call.method, path(&call.target))).collect()
    }
}

impl Shared {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An ETag: a digest of the content, as the stores have it.
fn etag(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(16).fold(String::new(), |mut text, byte| {
        // A String takes every write.
        let _ = write!(text, "{byte:02X}");
        text.make_ascii_lowercase();
        text
    })
}

fn router(shared: Shared) -> Router {
    Router::new().fallback(serve).with_state(shared)
}

async fn serve(State(shared): State<Shared>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, BODY_MAX).await.unwrap_or_default();
    let authorization = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let call = Call {
        method: head.method.to_string(),
        target: head.uri.to_string(),
        authorization: authorization.map(str::to_owned),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let answer = {
        let mut content = shared.content();
        content.calls.push(call.clone());
        content.answer.clone()
    };
    if let Some(response) = answer.and_then(|answer| answer(&call)) {
        return response;
    }
    let mut content = shared.content();
    let query: HashMap<String, String> = head.uri.query().map(parse_query).unwrap_or_default();
    let path = decode(head.uri.path());
    match path.as_str() {
        "/token" | "/tenant/oauth2/v2.0/token" => token(),
        "/sts" => keys(&call.body),
        _ if path.starts_with("/storage/v1/b/") => content.google(head.uri.path(), &query, &call),
        _ if path.starts_with(&format!("/{ACCOUNT}/")) => {
            content.azure(&path, &query, &call, &head.headers, body)
        }
        _ => content.s3(&path, &query, &call, &head.headers, body),
    }
}

fn token() -> Response {
    response(
        200,
        &[("content-type", "application/json")],
        json!({ "access_token": TOKEN, "expires_in": 3600 }).to_string(),
    )
}

fn keys(body: &str) -> Response {
    if !body.contains("LDAPPassword=pass-word") {
        return response(403, &[], "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>");
    }
    let keys = "<AccessKeyId>temporary</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>session</SessionToken><Expiration>2999-01-01T00:00:00Z</Expiration>";
    response(
        200,
        &[],
        format!(
            "<AssumeRoleWithLDAPIdentityResponse><AssumeRoleWithLDAPIdentityResult><Credentials>{keys}</Credentials></AssumeRoleWithLDAPIdentityResult></AssumeRoleWithLDAPIdentityResponse>"
        ),
    )
}

/// The headers that the three providers have for the digest of an artifact.
const DIGEST_HEADERS: [&str; 3] =
    ["x-amz-meta-plumb-digest", "x-goog-meta-plumb-digest", "x-ms-meta-plumb_digest"];

impl Object {
    /// The response to a GET, perhaps of a range, or to a HEAD.
    fn sent(&self, etag: &str, call: &Call, headers: &HeaderMap) -> Response {
        let (size, written) = (self.bytes.len(), httpdate(self.written));
        let size_text = size.to_string();
        let mut sent = vec![("etag", etag), ("last-modified", written.as_str())];
        sent.extend(self.digest.as_ref().map(|(name, value)| (*name, value.as_str())));
        if call.method == "HEAD" {
            sent.push(("content-length", &size_text));
            return response(200, &sent, Body::empty());
        }
        let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
        let bounds = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        let bounds =
            bounds.and_then(|(first, last)| Some((first.parse().ok()?, last.parse::<usize>().ok()?)));
        match bounds {
            Some((first, last)) if first < size => {
                response(206, &sent, Body::from(self.bytes.slice(first..(last + 1).min(size))))
            }
            Some(_) => response(416, &[], ""),
            None => response(200, &sent, Body::from(self.bytes.clone())),
        }
    }
}

impl Content {
    fn write(&mut self, key: &str, bytes: Bytes, digest: Option<(&'static str, String)>) -> String {
        self.written += 1;
        let etag = etag(&bytes);
        let (generation, written) = (self.written, SystemTime::now());
        let object = Object { etag: etag.clone(), generation, bytes, digest, written };
        self.objects.insert(key.to_owned(), object);
        etag
    }

    /// The response to a PUT or a DELETE of an object.
    fn changed(&mut self, call: &Call, key: &str, headers: &HeaderMap, body: Bytes) -> Option<Response> {
        let is_azure = headers.contains_key("x-ms-version");
        match call.method.as_str() {
            "PUT" => {
                let digest = DIGEST_HEADERS.iter().find_map(|name| {
                    headers.get(*name)?.to_str().ok().map(|value| (*name, value.to_owned()))
                });
                let etag = self.write(key, body, digest);
                Some(response(if is_azure { 201 } else { 200 }, &[("etag", &format!("\"{etag}\""))], ""))
            }
            "DELETE" if self.objects.remove(key).is_none() && is_azure => {
                Some(response(404, &[("x-ms-error-code", "BlobNotFound")], ""))
            }
            "DELETE" => Some(response(if is_azure { 202 } else { 204 }, &[], "")),
            _ => None,
        }
    }

    /// The objects of a page, and what asks for the next one.
    fn page(&self, prefix: &str, after: Option<&String>) -> (Vec<(&String, &Object)>, Option<String>) {
        let mut rest = self
            .objects
            .iter()
            .filter(|(key, _)| key.starts_with(prefix) && after.is_none_or(|after| *key > after));
        let page: Vec<_> = rest.by_ref().take(self.page_max).collect();
        let next = rest.next().and(page.last()).map(|(key, _)| (*key).clone());
        (page, next)
    }

    fn s3(
        &mut self,
        path: &str,
        query: &HashMap<String, String>,
        call: &Call,
        headers: &HeaderMap,
        sent_body: Bytes,
    ) -> Response {
        let region = self.region.clone().unwrap_or_default();
        let error = |status, code: &str| {
            let body =
                format!("<Error><Code>{code}</Code><Message>m</Message><Region>{region}</Region></Error>");
            response(status, &[("content-type", "application/xml")], body)
        };
        let sent = call.authorization.as_deref().unwrap_or_default();
        if self.login.as_ref().is_some_and(|login| !sent.contains(login)) {
            return error(403, if sent.is_empty() { "AccessDenied" } else { "InvalidAccessKeyId" });
        }
        if self.region.as_ref().is_some_and(|region| !sent.contains(&format!("/{region}/s3/"))) {
            return error(400, "AuthorizationHeaderMalformed");
        }
        let Some(key) = path.strip_prefix(&format!("/{BUCKET}")) else { return error(404, "NoSuchBucket") };
        if query.contains_key("list-type") {
            let prefix = query.get("prefix").map_or("", String::as_str);
            let (page, next) = self.page(prefix, query.get("continuation-token"));
            let mut body = "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><EncodingType>url</EncodingType>".to_owned();
            for (key, object) in page {
                let key: String = form(key);
                let _ = write!(
                    body,
                    "<Contents><Key>{key}</Key><LastModified>{}</LastModified><ETag>&quot;{}&quot;</ETag><Size>{}</Size></Contents>",
                    Timestamp::try_from(object.written).unwrap_or_default(),
                    object.etag,
                    object.bytes.len()
                );
            }
            let _ = write!(body, "<IsTruncated>{}</IsTruncated>", next.is_some());
            if let Some(next) = next {
                let _ = write!(body, "<NextContinuationToken>{}</NextContinuationToken>", escape(&next));
            }
            return response(200, &[], body + "</ListBucketResult>");
        }
        let key = key.strip_prefix('/').unwrap_or(key);
        if let Some(response) = self.changed(call, key, headers, sent_body) {
            return response;
        }
        let Some(object) = self.objects.get(key) else { return error(404, "NoSuchKey") };
        let etag = format!("\"{}\"", object.etag);
        let wanted = headers.get(header::IF_MATCH).and_then(|value| value.to_str().ok());
        if wanted.is_some_and(|wanted| wanted != etag) {
            return error(412, "PreconditionFailed");
        }
        object.sent(&etag, call, headers)
    }

    fn google(&self, path: &str, query: &HashMap<String, String>, call: &Call) -> Response {
        let error = |code: u16, reason: &str| {
            response(
                code,
                &[],
                json!({ "error": { "code": code, "errors": [{ "reason": reason }] } }).to_string(),
            )
        };
        let sent = call.authorization.as_deref().unwrap_or_default();
        if self.login.as_ref().is_some_and(|login| !sent.contains(login)) {
            return error(401, "required");
        }
        let Some(rest) = path.strip_prefix(&format!("/storage/v1/b/{BUCKET}/o")) else {
            return error(404, "notFound");
        };
        if rest.is_empty() {
            let prefix = query.get("prefix").map_or("", String::as_str);
            let (page, next) = self.page(prefix, query.get("pageToken"));
            let items: Vec<Value> = page
                .into_iter()
                .map(|(key, object)| json!({
                    "name": key, "etag": object.etag, "size": object.bytes.len().to_string(), "generation": object.generation.to_string(),
                }))
                .collect();
            return response(
                200,
                &[],
                json!({ "items": items, "nextPageToken": next })
                    .to_string()
                    .replace(",\"nextPageToken\":null", ""),
            );
        }
        let Some(object) = self.objects.get(&decode(rest.strip_prefix('/').unwrap_or(rest))) else {
            return error(404, "notFound");
        };
        if query.get("ifGenerationMatch").is_some_and(|wanted| *wanted != object.generation.to_string()) {
            return error(412, "conditionNotMet");
        }
        response(200, &[], Body::from(object.bytes.clone()))
    }

    fn azure(
        &mut self,
        path: &str,
        query: &HashMap<String, String>,
        call: &Call,
        headers: &HeaderMap,
        sent_body: Bytes,
    ) -> Response {
        let error = |status, code: &str| response(status, &[("x-ms-error-code", code)], "");
        let sent = format!("{} {}", call.authorization.as_deref().unwrap_or_default(), call.target);
        if self.login.as_ref().is_some_and(|login| !sent.contains(login)) {
            return error(403, "AuthenticationFailed");
        }
        let Some(key) = path.strip_prefix(&format!("/{ACCOUNT}/{BUCKET}")) else {
            return error(404, "ContainerNotFound");
        };
        if query.get("comp").is_some_and(|comp| comp == "list") {
            let prefix = query.get("prefix").map_or("", String::as_str);
            let (page, next) = self.page(prefix, query.get("marker"));
            let mut body = "<?xml version=\"1.0\"?><EnumerationResults><Blobs>".to_owned();
            for (key, object) in page {
                let _ = write!(
                    body,
                    "<Blob><Name>{}</Name><Properties><Last-Modified>{}</Last-Modified><Etag>0x{}</Etag><Content-Length>{}</Content-Length></Properties></Blob>",
                    escape(key),
                    httpdate(object.written),
                    object.etag,
                    object.bytes.len()
                );
            }
            let _ = write!(
                body,
                "</Blobs><NextMarker>{}</NextMarker></EnumerationResults>",
                escape(&next.unwrap_or_default())
            );
            return response(200, &[], body);
        }
        let key = key.strip_prefix('/').unwrap_or(key);
        if let Some(response) = self.changed(call, key, headers, sent_body) {
            return response;
        }
        let Some(object) = self.objects.get(key) else {
            return error(404, "BlobNotFound");
        };
        let etag = format!("\"0x{}\"", object.etag);
        let wanted = headers.get(header::IF_MATCH).and_then(|value| value.to_str().ok());
        if wanted.is_some_and(|wanted| wanted != etag) {
            return error(412, "ConditionNotMet");
        }
        object.sent(&etag, call, headers)
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = (*first == b'%').then(|| after.get(..2)).flatten();
        let byte = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The encoding of forms.
fn form(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

fn parse_query(query: &str) -> HashMap<String, String> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decode(name), decode(&value.replace('+', " "))))
        .collect()
}
