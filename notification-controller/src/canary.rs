//! Canaries: every secret of a Provider and a Receiver is a word that must be seen nowhere. Hostile services repeat
//! everything that they are sent; whatever is reported or logged, at the most talkative level, is searched for each word as
//! it is and encoded.

use std::io;
use std::sync::{Arc, Mutex};

use http::{HeaderValue, Method, StatusCode};
use plumb_alerting::rule::{CrossNamespace, Delivery};
use plumb_api::meta::NamespacedName;
use plumb_memory::MemoryPool;
use plumb_runtime::config::LogLevel;
use plumb_testkit::scenario::{Response as ApiAnswer, Scenario};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tracing_subscriber::fmt::MakeWriter;

use crate::budget::Budget;
use crate::directory::Directory;
use crate::dispatch::Dispatcher;
use crate::harness::{alert_reporter, dispatcher, event, provider, receiver, secret, until};
use crate::hooks::{Hooks, PathShares};
use crate::server::{Arrived, Endpoint as _};

const PATH: &str = "canary-path-1";
const QUERY: &str = "canary-query-2";
const TOKEN: &str = "canary-token-3";
const HEADER: &str = "canary-header-4";
const USER: &str = "canary-user-5";
const PASSWORD: &str = "canary-pass-6";
const CANARIES: [&str; 6] = [PATH, QUERY, TOKEN, HEADER, USER, PASSWORD];

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Log {
    /// Takes in what this thread logs until the guard is dropped.
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(plumb_runtime::log_filter(LogLevel::Trace))
            .with_ansi(false)
            .with_writer(log.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// The ways in which a word could be seen. Base64 of a word inside of a longer text is looked for at its three alignments.
fn forms(word: &str) -> Vec<String> {
    let hex = data_encoding::HEXLOWER.encode(word.as_bytes());
    let percent = word.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
    let mut forms = vec![word.to_owned(), word.replace('-', "%2D"), hex.to_uppercase(), hex, percent];
    for shift in 0..3 {
        let text = format!("{}{word}", "x".repeat(shift));
        let encoded = serde_json::to_value(k8s_openapi::ByteString(text.into_bytes())).unwrap();
        // Without the characters that depend on what is before and after the word.
        let encoded = encoded.as_str().unwrap().trim_end_matches('=');
        forms.push(encoded[(shift * 8).div_ceil(6)..encoded.len() - 1].to_owned());
    }
    forms
}

#[track_caller]
fn assert_unseen(what: &str, text: &str) {
    for canary in CANARIES {
        for form in forms(canary) {
            assert!(!text.contains(&form), "{what}: {canary} is seen as {form}:\n{text}");
        }
    }
}

/// How a hostile service answers a request.
type Reply = fn(request: &str) -> String;

fn with_body(head: &str, body: &str) -> String {
    format!("{head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

fn path_of(request: &str) -> &str {
    request.split_whitespace().nth(1).unwrap_or_default()
}

/// Each repeats what it was sent, in another place.
const REPLIES: [Reply; 9] = [
    |request| with_body(&format!("HTTP/1.1 404 no route {}", path_of(request)), request),
    |request| with_body("HTTP/1.1 500 Internal Server Error", request),
    |request| with_body(&format!("HTTP/1.1 307 Moved\r\nlocation: {}", path_of(request)), ""),
    |request| with_body(&format!("HTTP/1.1 429 Slow\r\nretry-after: {}", path_of(request)), request),
    |request| with_body("HTTP/1.1 200 OK", &json!({ "ok": false, "error": request }).to_string()),
    |_| with_body("HTTP/1.1 200 OK", &json!({ "ok": false, "error": TOKEN }).to_string()),
    // Not HTTP.
    str::to_owned,
    |request| format!("HTTP/1.1 200 OK\r\n{}: broken header\r\n\r\n", path_of(request)),
    |request| format!("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n{request}"),
];

/// A service on this machine; its host and port.
async fn service(reply: Reply) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 64 << 10];
            let length = stream.read(&mut request).await.unwrap_or_default();
            let text = String::from_utf8_lossy(&request[..length]).into_owned();
            let _ = stream.write_all(reply(&text).as_bytes()).await;
        }
    });
    address
}

fn offer(dispatcher: &Dispatcher, name: &str, type_: &str) {
    let spec = json!({ "type": type_, "secretRef": { "name": name }, "timeout": "2s" });
    let delivery = Delivery {
        alert: NamespacedName::new("prod", "a"),
        provider: name.into(),
        event: event("Applied"),
        conflicts: Vec::new(),
    };
    dispatcher.offer(delivery, Arc::new(provider("p", spec).spec));
}

#[tokio::test]
async fn no_secret_of_a_provider_is_seen_whatever_its_service_answers() {
    let (log, _guard) = Log::start();
    let api = Scenario::new();
    let (report, reported) = alert_reporter();
    let (dispatcher, _) = dispatcher(&api, report);
    let headers =
        format!("Authorization: Bearer {HEADER}\nX-Basic: Basic {}", "Y2FuYXJ5LXVzZXItNTpjYW5hcnktcGFzcy02");
    let mut hosts = Vec::new();
    for reply in REPLIES {
        hosts.push(service(reply).await);
    }
    // Nobody listens at port 1, and nobody resolves the last one.
    hosts.extend(["127.0.0.1:1".to_owned(), "nowhere.invalid".to_owned()]);
    let mut sent = 0;
    for (at, host) in hosts.iter().enumerate() {
        for type_ in ["generic", "generic-hmac", "slack"] {
            for scheme in ["http", "https"] {
                let name = format!("s{at}-{type_}-{scheme}");
                let address = format!("{scheme}://{USER}:{PASSWORD}@{host}/hook/{PATH}?key={QUERY}#x");
                secret(&api, &name, &[("address", &address), ("token", TOKEN), ("headers", &headers)]);
                offer(&dispatcher, &name, type_);
                sent += 1;
            }
        }
    }
    // Secrets that cannot be used.
    let whole = format!("ftp://{USER}:{PASSWORD}@h/{PATH}");
    let line_break = format!("{TOKEN}\n{HEADER}");
    let odd_name = format!("Bearer {HEADER}: x");
    let odd_yaml = format!("[{HEADER}");
    for (name, data) in [
        ("address", vec![("address", &*whole), ("token", TOKEN)]),
        ("no-address", vec![("address", PATH), ("token", TOKEN)]),
        ("token", vec![("address", "http://h/"), ("token", &line_break)]),
        ("header", vec![("address", "http://h/"), ("headers", &odd_name)]),
        ("yaml", vec![("address", "http://h/"), ("headers", &odd_yaml)]),
        ("proxy", vec![("address", "http://h/"), ("proxy", &whole)]),
    ] {
        secret(&api, name, &data);
        offer(&dispatcher, name, "slack");
        offer(&dispatcher, name, "generic");
        sent += 2;
    }
    until(|| dispatcher.left() == 0).await;
    let reported = reported.lock().unwrap();
    assert!(reported.len() > sent / 2, "{} of {sent} failed", reported.len());
    for (_, _, text) in reported.iter() {
        assert_unseen("event", text);
    }
    let logged = log.text();
    assert!(logged.contains("failed to send notification"), "{logged}");
    assert_unseen("log", &logged);
}

#[tokio::test]
async fn no_secret_of_a_receiver_is_seen_whatever_a_webhook_says() {
    let (log, _guard) = Log::start();
    let api = Scenario::new();
    secret(&api, "s", &[("token", TOKEN)]);
    let directory = Arc::new(Directory::default());
    let path = format!("/hook/{PATH}");
    let hooks = Arc::new(Hooks {
        cluster: api.client(),
        directory: Arc::clone(&directory),
        cross_namespace: CrossNamespace::Allowed,
        is_filled: Arc::new(|| true),
        now: Arc::new(jiff::Timestamp::now),
        memory: Budget::of(&MemoryPool::new(256 << 20)).bodies,
        shares: PathShares::default(),
        coalescer: crate::hooks::Coalescer::default(),
        events_at: ":9090".to_owned(),
    });
    let mut answers = Vec::new();
    for (type_, secret_name) in
        [("generic", "s"), ("generic-hmac", "s"), ("github", "s"), ("gitlab", "s"), ("generic", "none")]
    {
        api.on("GET", "/api/v1/namespaces/prod/secrets/none", ApiAnswer::forbidden(TOKEN));
        let resources =
            json!([{ "kind": "Bucket", "name": "*" }, { "kind": "Bucket", "name": "a", "namespace": "x/y" }]);
        let spec = json!({ "type": type_, "secretRef": { "name": secret_name }, "resources": resources });
        directory.put_receiver(&receiver("hook", &path, spec));
        for signature in ["", "sha256=00", TOKEN, "sha1=zz"] {
            let mut arrived = Arrived::of(Method::POST, &path, TOKEN);
            for header in ["x-signature", "x-hub-signature-256", "x-gitlab-token", "content-type"] {
                arrived.headers.insert(header, HeaderValue::from_static(signature));
            }
            let answer = Arc::clone(&hooks).take(arrived).await;
            answers.push(answer.status());
            let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
            assert_unseen("answer", &String::from_utf8_lossy(&body));
        }
    }
    assert!(answers.contains(&StatusCode::NOT_FOUND) && answers.contains(&StatusCode::INTERNAL_SERVER_ERROR));
    let logged = log.text();
    assert!(logged.contains("unable to validate payload"), "{logged}");
    assert_unseen("log", &logged);
}
