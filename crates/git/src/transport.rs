//! HTTP under gix's protocol, on the runtime's own client: every wait ends at the operation's deadline or when its caller is
//! dropped, a body is counted while it is read, and each address is checked before it is connected to. Git's rule for redirects holds:
//! only the handshake follows them, and credentials stay with their host. The bytes are not interpreted.

use std::{
    any::Any,
    io::{self, BufRead, Cursor, Read, Write},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use gix_transport::client::blocking_io::http::{GetResponse, Http, PostBodyDataKind, PostResponse};
use plumb_transport::{
    ConnectionError, OriginCredential, REDIRECTS_MAX, RedirectError, address::AddressPolicy, redirect_target,
    shown_url,
};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use tokio::runtime::Handle;
use url::Url;

use crate::{
    bounds::Bounds,
    exchange::{Control, Fault, Shared},
    greeting::{BYTES_MAX, Greeting, Greetings},
};

/// Bytes of a request, at most: a list of wanted and known commits.
const UPLOAD_BYTES_MAX: usize = 1 << 20;

/// The transport of one connection.
pub(crate) struct HttpTransport {
    shared: Shared,
    client: reqwest::Client,
    policy: AddressPolicy,
    credential: OriginCredential,
    greetings: Greetings,
    /// How the server is reached: offers are kept with it.
    peer: String,
    redirected: Option<String>,
    has_begun: bool,
}

impl HttpTransport {
    /// A transport over a client that follows no redirects and resolves names with the same policy.
    pub(crate) fn new(
        client: reqwest::Client,
        (runtime, greetings, peer): (Handle, Greetings, String),
        policy: AddressPolicy,
        credential: OriginCredential,
        bounds: &Bounds,
        bytes_max: u64,
    ) -> (Self, Control) {
        let (shared, control) = Shared::new(runtime, bounds, bytes_max);
        let transport =
            Self { shared, client, policy, credential, greetings, peer, redirected: None, has_begun: false };
        (transport, control)
    }

    /// The body of a handshake. An offer of version 2 is read to its end and kept for the next connection.
    fn handshake(&self, url: &str, mut response: reqwest::Response, headers: &[u8]) -> io::Result<Body> {
        let shared = self.shared.clone();
        let mut read = Vec::new();
        let chunk = loop {
            let chunk = shared.wait(response.chunk())?;
            let is_end = chunk.is_none();
            if let Some(chunk) = chunk {
                shared.spend(chunk.len())?;
                read.extend_from_slice(&chunk);
            }
            let is_kept = Greeting::is_version_2(&read) && read.len() <= BYTES_MAX;
            if is_kept && is_end && self.redirected.is_none() {
                let body = Bytes::from(read);
                self.greetings
                    .put(&self.greeting_key(url), Greeting { headers: headers.to_vec(), body: body.clone() });
                return Ok(Body { shared, source: Source::Ended, chunk: body });
            }
            if is_end || !is_kept {
                break Bytes::from(read);
            }
        };
        Ok(Body { shared, source: Source::Open(response), chunk })
    }

    /// As [`Endpoint::greeting_key`](crate::Endpoint::greeting_key) has it.
    fn greeting_key(&self, url: &str) -> String {
        format!("{} {url}", self.peer)
    }

    fn check(&self, url: &Url) -> io::Result<()> {
        let checked = self.policy.check_url(url).map_err(ConnectionError::Address);
        checked.map_err(|rejected| self.shared.fail(Fault::Connection(rejected)))
    }

    /// gix's headers, with the credential where the URL has its origin.
    fn headers<S: AsRef<str>>(&self, url: &Url, lines: impl IntoIterator<Item = S>) -> io::Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        for line in lines {
            let Some((name, value)) = line.as_ref().split_once(':') else { continue };
            let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(io::Error::other)?;
            headers.insert(name, HeaderValue::from_str(value.trim()).map_err(io::Error::other)?);
        }
        self.authorize(url, &mut headers);
        Ok(headers)
    }

    fn authorize(&self, url: &Url, headers: &mut HeaderMap) {
        match self.credential.authorization(url) {
            Some(authorization) => drop(headers.insert(AUTHORIZATION, authorization.clone())),
            None => drop(headers.remove(AUTHORIZATION)),
        }
    }

    /// A GET that follows redirects whose target ends like the request.
    fn follow(&mut self, mut url: Url, tail: &str, mut headers: HeaderMap) -> io::Result<reqwest::Response> {
        for _ in 0..=REDIRECTS_MAX {
            self.check(&url)?;
            let request = self.client.get(url.clone()).headers(headers.clone());
            let response = send(&self.shared, request)?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let target = redirect_target(&url, response.headers()).map_err(|error| self.redirect(error))?;
            if !target.as_str().ends_with(tail) {
                let target = shown_url(&target);
                return Err(self.shared.fail(Fault::OtherRepository { target }));
            }
            self.authorize(&target, &mut headers);
            self.redirected = target.as_str().strip_suffix(tail).map(str::to_owned);
            url = target;
        }
        Err(self.redirect(RedirectError::TooMany))
    }

    fn redirect(&self, error: RedirectError) -> io::Error {
        self.shared.fail(Fault::Connection(ConnectionError::Redirect(error)))
    }
}

impl Http for HttpTransport {
    type Headers = Cursor<Vec<u8>>;
    type ResponseBody = Body;
    type PostBody = Upload;

    fn get(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix::Result<GetResponse<Self::Headers, Self::ResponseBody>> {
        if self.has_begun {
            // A second handshake begins at the URL of the first one.
            self.redirected = None;
        } else if let Some(Greeting { headers, body }) = self.greetings.get(&self.greeting_key(url)) {
            self.has_begun = true;
            let body = Body { shared: self.shared.clone(), source: Source::Ended, chunk: body };
            return Ok(GetResponse { headers: Cursor::new(headers), body });
        }
        self.has_begun = true;
        let asked = url;
        let tail = url.strip_prefix(base_url).unwrap_or_default();
        let url = Url::parse(url).map_err(gix::Error::from_error)?;
        let headers = self.headers(&url, headers).map_err(gix::Error::from_error)?;
        let response = self.follow(url, tail, headers).map_err(gix::Error::from_error)?;
        let response = successful(&self.shared, response).map_err(gix::Error::from_error)?;
        let headers = header_text(response.headers());
        let body = self.handshake(asked, response, &headers).map_err(gix::Error::from_error)?;
        Ok(GetResponse { headers: Cursor::new(headers), body })
    }

    fn post(
        &mut self,
        url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _body: PostBodyDataKind,
    ) -> gix::Result<PostResponse<Self::Headers, Self::ResponseBody, Self::PostBody>> {
        let url = Url::parse(url).map_err(gix::Error::from_error)?;
        self.check(&url).map_err(gix::Error::from_error)?;
        let headers = self.headers(&url, headers).map_err(gix::Error::from_error)?;
        let expected = headers.get(reqwest::header::ACCEPT).cloned();
        let request = self.client.post(url).headers(headers);
        let upload = Upload::default();
        let source = Source::Pending { request: Some(request), upload: upload.clone(), expected };
        let body = Body { shared: self.shared.clone(), source, chunk: Bytes::new() };
        // The response's head is not known before the request is sent, which the first read of the body does; its content type is
        // checked there. gix looks for it here.
        let headers = Cursor::new(b"content-type:application/x-git-upload-pack-result\n".to_vec());
        Ok(PostResponse { post_body: upload, headers, body })
    }

    fn configure(&mut self, _config: &dyn Any) -> gix::Result {
        Ok(())
    }

    fn redirected_base_url(&self) -> Option<String> {
        self.redirected.clone()
    }
}

fn header_text(headers: &HeaderMap) -> Vec<u8> {
    let mut text = Vec::new();
    for (name, value) in headers {
        text.extend_from_slice(name.as_str().as_bytes());
        text.push(b':');
        text.extend_from_slice(value.as_bytes());
        text.push(b'\n');
    }
    text
}

impl From<reqwest::Error> for Fault {
    fn from(error: reqwest::Error) -> Self {
        Self::Connection(ConnectionError::of(&error))
    }
}

fn send(shared: &Shared, request: reqwest::RequestBuilder) -> io::Result<reqwest::Response> {
    shared.wait(request.send())
}

fn successful(shared: &Shared, response: reqwest::Response) -> io::Result<reqwest::Response> {
    let status = response.status();
    if status.is_success() { Ok(response) } else { Err(shared.fail(Fault::Status(status))) }
}

/// The body of a request, collected before it is sent.
#[derive(Clone, Default)]
pub(crate) struct Upload(Arc<Mutex<Vec<u8>>>);

impl Upload {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut collected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if collected.len() + bytes.len() > UPLOAD_BYTES_MAX {
            return Err(io::Error::other(format!("the request is larger than {UPLOAD_BYTES_MAX} bytes")));
        }
        collected.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The body of a response, read as it arrives.
pub(crate) struct Body {
    shared: Shared,
    source: Source,
    chunk: Bytes,
}

enum Source {
    /// The request is sent by the first read: until then its body is written.
    Pending {
        request: Option<reqwest::RequestBuilder>,
        upload: Upload,
        expected: Option<HeaderValue>,
    },
    Open(reqwest::Response),
    Ended,
}

impl Body {
    fn open(&mut self) -> io::Result<()> {
        let Source::Pending { request, upload, expected } = &mut self.source else { return Ok(()) };
        let Some(request) = request.take() else { return Err(io::ErrorKind::BrokenPipe.into()) };
        let (body, expected) = (upload.take(), expected.take());
        let response = send(&self.shared, request.body(body))?;
        let response = successful(&self.shared, response)?;
        let found = response.headers().get(reqwest::header::CONTENT_TYPE);
        if expected.is_some() && found != expected.as_ref() {
            return Err(self.shared.fail(Fault::NotGit));
        }
        self.source = Source::Open(response);
        Ok(())
    }
}

impl BufRead for Body {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.open()?;
        while self.chunk.is_empty() {
            let Source::Open(response) = &mut self.source else { break };
            match self.shared.wait(response.chunk())? {
                Some(chunk) => {
                    self.shared.spend(chunk.len())?;
                    self.chunk = chunk;
                }
                None => self.source = Source::Ended,
            }
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, amount: usize) {
        let _ = self.chunk.split_to(amount.min(self.chunk.len()));
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let read = available.len().min(buffer.len());
        buffer[..read].copy_from_slice(&available[..read]);
        self.consume(read);
        Ok(read)
    }
}
