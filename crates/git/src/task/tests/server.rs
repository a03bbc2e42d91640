//! `git http-backend` behind a plain HTTP server of a few lines, with or without TLS and credentials, and a repository to serve.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What a request must contain, and the behavior of the server.
#[derive(Clone, Default)]
pub struct Rules {
    pub authorization: Option<&'static str>,
    pub tls: Option<Arc<ServerConfig>>,
    /// Requests are sent on to this base URL.
    pub redirect: Option<String>,
    /// Whether requests for packs get a 503.
    pub is_unavailable: Arc<AtomicBool>,
    /// Whether a connection takes another request.
    pub is_kept_alive: bool,
    /// A response that stops in the middle.
    pub stall: Arc<Mutex<Option<Arc<Stall>>>>,
}

/// Stops one response after a part of its body, reports it, and keeps the connection open without another byte.
pub struct Stall {
    /// Which request, from zero.
    pub request: usize,
    /// How much of the body is sent, in thousandths.
    pub thousandths: usize,
    pub reached: mpsc::SyncSender<()>,
    pub seen: AtomicUsize,
}

/// What arrived: request lines with the Authorization header of each.
pub type Seen = Mutex<Vec<(String, Option<String>)>>;

pub struct GitServer {
    pub root: PathBuf,
    pub url: String,
    pub seen: Arc<Seen>,
    /// Connections that were accepted.
    pub connections: Arc<AtomicUsize>,
    pub stall: Arc<Mutex<Option<Arc<Stall>>>>,
    _directory: tempfile::TempDir,
}

impl GitServer {
    pub fn start(rules: Rules) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let scheme = if rules.tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://localhost:{}", listener.local_addr().unwrap().port());
        let root = directory.path().to_owned();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (served, noted) = (root.clone(), Arc::clone(&seen));
        let stall = Arc::clone(&rules.stall);
        let connections = Arc::new(AtomicUsize::new(0));
        let accepted = Arc::clone(&connections);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                accepted.fetch_add(1, Ordering::Relaxed);
                let (rules, root, seen) = (rules.clone(), served.clone(), Arc::clone(&noted));
                std::thread::spawn(move || match &rules.tls {
                    None => answer(&stream, &rules, &root, &seen),
                    Some(tls) => {
                        let connection = ServerConnection::new(Arc::clone(tls)).unwrap();
                        let mut stream = StreamOwned::new(connection, stream);
                        answer(&mut stream, &rules, &root, &seen);
                        stream.conn.send_close_notify();
                        let _ = stream.flush();
                    }
                });
            }
        });
        Self { root, url, seen, connections, stall, _directory: directory }
    }

    /// From now on, stops this response in its middle, or none.
    pub fn stall(&self, stall: Option<Arc<Stall>>) {
        *self.stall.lock().unwrap() = stall;
    }

    /// A new bare repository with a work tree next to it.
    pub fn repository(&self, name: &str) -> Repository {
        self.repository_in(name, "sha1")
    }

    /// The same, in an object format.
    pub fn repository_in(&self, name: &str, format: &str) -> Repository {
        let (bare, format) = (self.root.join(name), format!("--object-format={format}"));
        git(&self.root, &["init", "-q", "--bare", &format, "-b", "main", name]);
        git(&bare, &["config", "uploadpack.allowFilter", "true"]);
        let work = self.root.join(format!("work-{name}"));
        git(&self.root, &["init", "-q", &format, "-b", "main", work.to_str().unwrap()]);
        git(&work, &["remote", "add", "origin", bare.to_str().unwrap()]);
        Repository { work, url: format!("{}/{name}", self.url) }
    }
}

pub struct Repository {
    work: PathBuf,
    pub url: String,
}

impl Repository {
    pub fn git(&self, arguments: &[&str]) -> String {
        git(&self.work, arguments)
    }

    /// The same, with a text on its standard input.
    pub fn git_with(&self, arguments: &[&str], input: &str) -> String {
        let mut child = Command::new("git")
            .args(arguments)
            .current_dir(&self.work)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "git {arguments:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.work.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Commits everything and pushes the branch; the commit's id.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["push", "-q", "--force", "origin", "HEAD"]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub fn work(&self) -> &Path {
        &self.work
    }
}

pub fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn answer<S: Read + Write>(stream: S, rules: &Rules, root: &Path, seen: &Seen) {
    let mut stream = BufReader::new(stream);
    while answer_one(&mut stream, rules, root, seen) {}
}

/// Whether the connection takes another request.
fn answer_one<S: Read + Write>(stream: &mut BufReader<S>, rules: &Rules, root: &Path, seen: &Seen) -> bool {
    let Some((line, headers)) = read_head(stream) else { return false };
    let header = |name: &str| headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let authorization = header("authorization");
    seen.lock().unwrap().push((line.clone(), authorization.clone()));
    let mut parts = line.split(' ');
    let (method, target) =
        (parts.next().unwrap_or_default().to_owned(), parts.next().unwrap_or_default().to_owned());
    let body = read_body(stream, &header);
    let out = stream.get_mut();
    if let Some(base) = &rules.redirect {
        let _ = write!(
            out,
            "HTTP/1.1 302 Found\r\nlocation: {base}{target}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        return false;
    }
    if rules.authorization.is_some() && rules.authorization != authorization.as_deref() {
        let _ = write!(
            out,
            "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic realm=\"git\"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        return false;
    }
    let is_fetch = body.windows(13).any(|window| window == b"command=fetch");
    if is_fetch && rules.is_unavailable.load(Ordering::Relaxed) {
        let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let _ = out.write_all(head.as_bytes());
        return false;
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", method)
        .env("CONTENT_TYPE", header("content-type").unwrap_or_default())
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("GIT_PROTOCOL", header("git-protocol").unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(&body);
    let output = child.wait_with_output().unwrap().stdout;
    let split = output.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&output[..split]).into_owned();
    let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
    let body = &output[split + 4..];
    let end = if rules.is_kept_alive {
        format!("content-length: {}", body.len())
    } else {
        "connection: close".to_owned()
    };
    let _ = write!(out, "HTTP/1.1 {status}\r\n{end}\r\n{head}\r\n\r\n");
    let stall = rules.stall.lock().unwrap().clone();
    let stall = stall.filter(|stall| stall.seen.fetch_add(1, Ordering::Relaxed) == stall.request);
    let sent = stall.as_ref().map_or(body.len(), |stall| body.len() * stall.thousandths / 1000);
    let _ = out.write_all(&body[..sent]);
    let _ = out.flush();
    if let Some(stall) = stall {
        let _ = stall.reached.send(());
        if sent < body.len() {
            // Until the client disconnects.
            let _ = stream.read(&mut [0]);
        }
    }
    rules.is_kept_alive
}

fn read_head(stream: &mut impl BufRead) -> Option<(String, Vec<(String, String)>)> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).ok()?;
        match header.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
            None => return Some((line.trim_end().to_owned(), headers)),
        }
    }
}

fn read_body(stream: &mut impl BufRead, header: &impl Fn(&str) -> Option<String>) -> Vec<u8> {
    let mut body = Vec::new();
    if header("transfer-encoding").is_some() {
        loop {
            let mut size = String::new();
            stream.read_line(&mut size).unwrap();
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk).unwrap();
            if size == 0 {
                return body;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }
    let length = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    body.resize(length, 0);
    stream.read_exact(&mut body).unwrap();
    body
}

/// A certificate for localhost that signs itself, as PEM, and a server that uses it.
pub fn self_signed(calls_itself_ca: bool, name: &str) -> (Vec<u8>, Arc<ServerConfig>) {
    certified(calls_itself_ca, name, None)
}

/// The same, for a server that accepts clients with this certificate only.
pub fn mutual(client: &rcgen::Certificate) -> (Vec<u8>, Arc<ServerConfig>) {
    certified(false, "localhost", Some(client))
}

fn certified(
    calls_itself_ca: bool,
    name: &str,
    client: Option<&rcgen::Certificate>,
) -> (Vec<u8>, Arc<ServerConfig>) {
    let mut parameters = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
    if calls_itself_ca {
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    }
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let pem = certificate.pem().into_bytes();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = match client {
        None => config.with_no_client_auth(),
        Some(client) => {
            let mut clients = rustls::RootCertStore::empty();
            clients.add(client.der().clone()).unwrap();
            let verifier =
                rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(clients), provider);
            config.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let config = config.with_single_cert(vec![certificate.der().clone()], key).unwrap();
    (pem, Arc::new(config))
}
