//! A Git server over HTTP(S): `git http-backend`, the stock program, behind a server of ours, with basic auth.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, State},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::{HeaderMap, Method, Response, StatusCode, Uri, header};
use plumb_plane::Reaper;
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::{
    repository::Repository,
    server::{Identity, Server},
};

/// The largest pack that a test may push.
const BODY_MAX: usize = 256 << 20;

/// Access control.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user.
    pub username: String,
    /// The password.
    pub password: String,
}

/// How the server is to be.
#[derive(Clone, Debug, Default)]
pub struct GitServerOptions {
    /// Use TLS, with a certificate of a CA of its own.
    pub tls: bool,
    /// Require these credentials; without, every client may read and push.
    pub credentials: Option<Credentials>,
}

/// A running Git server. It stops, and its repositories are removed, when it is dropped or this process ends.
pub struct GitServer {
    server: Server,
    shared: Arc<Shared>,
    identity: Option<Identity>,
    folder: PathBuf,
    _reaper: Reaper,
}

struct Shared {
    root: PathBuf,
    credentials: Option<Credentials>,
    fault: Mutex<Fault>,
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// What the server does wrong on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Every response has this status code.
    Respond(u16),
    /// Every response is delayed by this.
    Delay(Duration),
}

impl GitServer {
    /// Starts on a free port of 127.0.0.1.
    pub fn start(options: &GitServerOptions) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("plumb-git-server-").tempdir()?.keep();
        let reaper = Reaper::of(&folder)?;
        let identity = if options.tls { Some(Identity::new()?) } else { None };
        if let Some(identity) = &identity {
            std::fs::write(folder.join("ca.crt"), &identity.ca)?;
        }
        let root = folder.join("served");
        std::fs::create_dir(&root)?;
        let credentials = options.credentials.clone();
        let shared = Arc::new(Shared {
            root,
            credentials,
            fault: Mutex::default(),
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        });
        let router =
            Router::new().fallback(serve).layer(DefaultBodyLimit::max(BODY_MAX)).with_state(shared.clone());
        let server = Server::start(router, identity.as_ref())?;
        Ok(Self { server, shared, identity, folder, _reaper: reaper })
    }

    /// The URL of a repository, as a GitRepository names it: without credentials.
    pub fn url(&self, name: &str) -> String {
        let scheme = if self.identity.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/{name}.git", self.server.address())
    }

    /// The CA of the server's certificate, if it uses TLS.
    pub fn ca(&self) -> Option<&str> {
        self.identity.as_ref().map(|identity| identity.ca.as_str())
    }

    /// A new, empty repository, and a working tree to commit from.
    pub fn repository(&self, name: &str) -> Result<Repository> {
        let bare = self.folder(name);
        let work = self.folder.join("work").join(name);
        let ca = self.identity.is_some().then(|| self.folder.join("ca.crt"));
        Repository::create(&bare, &work, &self.push_url(name), ca)
    }

    /// The folder of a bare repository, as it is served.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.shared.root.join(format!("{name}.git"))
    }

    /// From now on, does this wrong.
    pub fn fault(&self, fault: Fault) {
        *self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// How many requests arrived so far.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// How many bytes the bodies of responses had so far.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    fn push_url(&self, name: &str) -> String {
        let url = self.url(name);
        match &self.shared.credentials {
            Some(who) => url.replacen("://", &format!("://{}:{}@", who.username, who.password), 1),
            None => url,
        }
    }
}

async fn serve(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    shared.requests.fetch_add(1, Ordering::Relaxed);
    let fault = *shared.fault.lock().unwrap_or_else(PoisonError::into_inner);
    match fault {
        Fault::None => {}
        Fault::Respond(code) => {
            return rejection(StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_GATEWAY));
        }
        Fault::Delay(delay) => tokio::time::sleep(delay).await,
    }
    if !is_known(&shared, &headers) {
        let mut response = rejection(StatusCode::UNAUTHORIZED);
        let ask = http::HeaderValue::from_static("Basic realm=\"git\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, ask);
        return response;
    }
    match backend(&shared.root, &method, &uri, &headers, &body).await {
        Ok(response) => {
            let bytes = axum::body::HttpBody::size_hint(response.body()).lower();
            shared.bytes.fetch_add(bytes, Ordering::Relaxed);
            response
        }
        Err(error) => {
            eprintln!("git server: {error:#}");
            rejection(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

fn is_known(shared: &Shared, headers: &HeaderMap) -> bool {
    let Some(Credentials { username, password }) = &shared.credentials else { return true };
    let expected = format!("Basic {}", BASE64.encode(format!("{username}:{password}")));
    headers.get(header::AUTHORIZATION).is_some_and(|value| value.as_bytes() == expected.as_bytes())
}

fn rejection(code: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::from(code.to_string()));
    *response.status_mut() = code;
    response
}

/// Runs `git http-backend` for one request, as CGI specifies.
async fn backend(
    root: &Path,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response<Body>> {
    let text =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let mut command = Command::new("git");
    command.arg("http-backend").kill_on_drop(true);
    command.env("GIT_PROJECT_ROOT", root).env("GIT_HTTP_EXPORT_ALL", "1").env("REMOTE_USER", "tester");
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    command.env("REQUEST_METHOD", method.as_str()).env("PATH_INFO", uri.path());
    command
        .env("QUERY_STRING", uri.query().unwrap_or_default())
        .env("CONTENT_LENGTH", body.len().to_string());
    command.env("CONTENT_TYPE", text("content-type")).env("GIT_PROTOCOL", text("git-protocol"));
    command.env("HTTP_CONTENT_ENCODING", text("content-encoding")).env("REMOTE_ADDR", "127.0.0.1");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().context("cannot start git http-backend")?;
    let mut stdin = child.stdin.take().context("git http-backend has no stdin")?;
    let input = async {
        // It may respond with an error before it has read everything.
        let _ = stdin.write_all(body).await;
        drop(stdin);
    };
    let ((), output) = tokio::join!(input, child.wait_with_output());
    parse(&output.context("git http-backend cannot be read")?.stdout)
}

/// A CGI response: header lines, an empty line, the body. `Status:` is the status.
fn parse(output: &[u8]) -> Result<Response<Body>> {
    let end = output.windows(4).position(|window| window == b"\r\n\r\n");
    let Some(end) = end else { bail!("git http-backend sent no response") };
    let head =
        std::str::from_utf8(&output[..end]).context("git http-backend sent a response that is no text")?;
    let mut response = Response::builder();
    for line in head.split("\r\n") {
        let (name, value) = line.split_once(':').context("a header line has a colon")?;
        if name.eq_ignore_ascii_case("status") {
            let code: u16 = value.trim().split(' ').next().unwrap_or_default().parse()?;
            response = response.status(code);
        } else {
            response = response.header(name, value.trim());
        }
    }
    Ok(response.body(Body::from(output[end + 4..].to_vec()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed() -> GitServerOptions {
        let credentials = Credentials { username: "bot".to_owned(), password: "pass".to_owned() };
        GitServerOptions { tls: true, credentials: Some(credentials) }
    }

    #[test]
    fn a_commit_is_pushed_and_cloned_over_tls_with_basic_auth() {
        let server = GitServer::start(&closed()).unwrap();
        let repository = server.repository("app").unwrap();
        repository.write("a/b.txt", "hello\n").unwrap();
        let pushed = repository.push("first").unwrap();
        assert_eq!(pushed.len(), 40);
        let seen = repository.git(&["ls-remote", "origin", "refs/heads/main"]).unwrap();
        assert!(seen.starts_with(&pushed));
        assert!(server.requests() > 0);
    }

    #[test]
    fn without_the_password_nothing_is_served() {
        let server = GitServer::start(&closed()).unwrap();
        let repository = server.repository("app").unwrap();
        let url = server.url("app");
        let rejected = repository.git(&["-c", "credential.helper=", "ls-remote", &url]).unwrap_err();
        assert!(format!("{rejected:#}").contains("could not read Username"), "{rejected:#}");
    }

    #[test]
    fn what_was_pushed_is_reverted_by_git() {
        let server = GitServer::start(&GitServerOptions::default()).unwrap();
        let repository = server.repository("app").unwrap();
        repository.write("value", "1\n").unwrap();
        repository.push("one").unwrap();
        repository.write("value", "2\n").unwrap();
        repository.push("two").unwrap();
        repository.revert().unwrap();
        assert_eq!(repository.read("value").unwrap(), "1\n");
    }
}
