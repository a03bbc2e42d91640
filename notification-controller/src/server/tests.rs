//! Strangers against the server, over TCP.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use plumb_transport::server::HEADER_BYTES_MAX;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::local::Function;
use super::*;

const SHORT: Duration = Duration::from_millis(200);
/// Ends the test where something never comes.
const HANG: Duration = Duration::from_secs(20);

async fn echo(arrived: Arrived) -> Answer {
    answer(StatusCode::OK, &format!("{} {} {}", arrived.method, arrived.path, arrived.body.len()))
}

/// Connections whose headers and idle times are short.
const QUICK: ConnectionLimits = ConnectionLimits { header_timeout: SHORT, ..CONNECTIONS };

async fn start(limits: BodyLimits) -> (String, CancellationToken) {
    local::start_with(QUICK, limits, Arc::new(Function(echo))).await
}

async fn start_with(connections: ConnectionLimits) -> (String, CancellationToken) {
    local::start_with(connections, small(), Arc::new(Function(echo))).await
}

/// What the server says to these bytes until it closes.
async fn said(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A server that refuses early may close while we still write.
    let _ = stream.write_all(bytes).await;
    rest(stream).await
}

/// What the server still says on a connection until it closes it.
async fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    // A connection that is reset is closed as well.
    let _ = tokio::time::timeout(HANG, read).await.expect("the server closes the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

fn small() -> BodyLimits {
    BodyLimits { timeout: SHORT * 4, stall_timeout: SHORT, ..BodyLimits::of_body(100) }
}

const CLOSE: &str = "POST /a/b?c=d HTTP/1.1\r\nhost: h\r\nconnection: close\r\n";

#[tokio::test]
async fn a_request_is_handed_over_with_its_body() {
    let (address, _stop) = start(small()).await;
    let said = said(&address, format!("{CLOSE}content-length: 2\r\n\r\nhi").as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 200 OK") && said.ends_with("POST /a/b 2\n"), "{said}");
}

#[tokio::test]
async fn a_giant_body_is_refused_before_it_is_read() {
    let (address, _stop) = start(small()).await;
    let announced = said(&address, b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 101\r\n\r\n").await;
    assert!(announced.starts_with("HTTP/1.1 413"), "{announced}");
    let mut chunked = b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n65\r\n".to_vec();
    chunked.extend_from_slice(&[b'x'; 0x65]);
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    let unannounced = said(&address, &chunked).await;
    assert!(unannounced.starts_with("HTTP/1.1 413"), "{unannounced}");
}

#[tokio::test]
async fn headers_and_bodies_that_stop_coming_are_cut_off() {
    let (address, _stop) = start(small()).await;
    let headers = said(&address, b"POST / HTTP/1.1\r\nhost:").await;
    assert!(!headers.contains("200"), "{headers}");
    let body = said(&address, b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nh").await;
    assert!(body.starts_with("HTTP/1.1 408"), "{body}");
    // Nothing at all, and nothing after a first request.
    assert_eq!(said(&address, b"").await, "");
    let kept = said(&address, b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n").await;
    assert!(kept.starts_with("HTTP/1.1 200"), "{kept}");
}

#[tokio::test]
async fn a_trickle_of_headers_or_body_ends_although_it_never_stops() {
    let (address, _stop) = start(BodyLimits { bytes_max: 1 << 20, ..small() }).await;
    for head in
        ["POST / HTTP/1.1\r\nhost: h\r\nx: ", "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 100000\r\n\r\n"]
    {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let trickle = async {
            while stream.write_all(b"x").await.is_ok() {
                tokio::time::sleep(SHORT / 10).await;
            }
        };
        tokio::time::timeout(HANG, trickle).await.expect("the server closes the connection");
    }
}

#[tokio::test]
async fn headers_beyond_the_limit_are_refused() {
    let (address, _stop) = start(small()).await;
    let one = format!("POST / HTTP/1.1\r\nhost: h\r\nx: {}\r\n\r\n", "x".repeat(2 * HEADER_BYTES_MAX));
    let many = format!("POST / HTTP/1.1\r\nhost: h\r\n{}\r\n", "a: b\r\n".repeat(10_000));
    for bomb in [one, many] {
        let said = said(&address, bomb.as_bytes()).await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 431"), "{said}");
    }
}

#[tokio::test]
async fn idle_connections_beyond_the_limit_wait_and_end_so_that_others_are_served() {
    let connections = ConnectionLimits { connections_max: 20, connections_per_peer_max: 20, ..QUICK };
    let (address, _stop) = start_with(connections).await;
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(TcpStream::connect(&address).await.unwrap());
    }
    // All places are taken: this one waits until the idle ones before it are cut off.
    let said = said(&address, format!("{CLOSE}content-length: 2\r\n\r\nhi").as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 200 OK"), "{said}");
}

#[tokio::test]
async fn one_address_has_no_more_than_its_share_of_connections() {
    let connections = ConnectionLimits { connections_max: 100, connections_per_peer_max: 3, ..CONNECTIONS };
    let (address, _stop) = start_with(ConnectionLimits { header_timeout: HANG, ..connections }).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(TcpStream::connect(&address).await.unwrap());
    }
    // The server closes what is too much without a word.
    assert_eq!(said(&address, b"").await, "");
    held.pop();
    let mut tries = 0;
    loop {
        let said = said(&address, format!("{CLOSE}content-length: 2\r\n\r\nhi").as_bytes()).await;
        if said.starts_with("HTTP/1.1 200 OK") {
            break;
        }
        tries += 1;
        assert!(tries < 1000, "the place of a closed connection is free again");
    }
}

/// An endpoint whose bodies have this many bytes together.
struct Tight {
    left: Arc<AtomicU64>,
    keeps: bool,
}

struct Taken {
    left: Arc<AtomicU64>,
    bytes: u64,
    keeps: bool,
}

impl Endpoint for Tight {
    fn account(&self, _: &str, _: IpAddr) -> Box<dyn BodyAccount> {
        Box::new(Taken { left: Arc::clone(&self.left), bytes: 0, keeps: self.keeps })
    }

    async fn take(self: Arc<Self>, arrived: Arrived) -> Answer {
        let left = self.left.load(Ordering::SeqCst);
        answer(StatusCode::OK, &format!("{} bytes, {left} left", arrived.body.len()))
    }
}

impl BodyAccount for Taken {
    fn try_grow(&mut self, bytes: u64) -> bool {
        self.bytes += bytes;
        let taken =
            self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(bytes));
        if taken.is_err() {
            self.bytes -= bytes;
        }
        taken.is_ok()
    }

    fn keeps_body(&self) -> bool {
        self.keeps
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.left.fetch_add(self.bytes, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_body_is_counted_as_it_arrives_and_given_back() {
    let left = Arc::new(AtomicU64::new(50));
    let endpoint = Arc::new(Tight { left: Arc::clone(&left), keeps: true });
    let (address, _stop) = local::start(small(), endpoint).await;
    // It announces more than there is room for, and only what arrived counts.
    let mut announced = TcpStream::connect(&address).await.unwrap();
    announced.write_all(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 90\r\n\r\nabc").await.unwrap();
    let honest =
        said(&address, format!("{CLOSE}content-length: 40\r\n\r\n{}", "x".repeat(40)).as_bytes()).await;
    assert!(honest.starts_with("HTTP/1.1 200"), "{honest}");
    assert!(rest(announced).await.starts_with("HTTP/1.1 408"));
    let over =
        said(&address, format!("{CLOSE}content-length: 60\r\n\r\n{}", "x".repeat(60)).as_bytes()).await;
    assert!(over.starts_with("HTTP/1.1 503"), "{over}");
    assert_eq!(left.load(Ordering::SeqCst), 50);
}

#[tokio::test]
async fn a_body_that_is_not_kept_is_counted_all_the_same() {
    let endpoint = Arc::new(Tight { left: Arc::new(AtomicU64::new(50)), keeps: false });
    let (address, _stop) = local::start(small(), endpoint).await;
    let said =
        said(&address, format!("{CLOSE}content-length: 40\r\n\r\n{}", "x".repeat(40)).as_bytes()).await;
    assert!(said.ends_with("0 bytes, 10 left\n"), "{said}");
}

#[tokio::test]
async fn an_open_request_ends_before_the_server_does() {
    let (arrived, mut seen) = tokio::sync::mpsc::channel(1);
    let release = Arc::new(tokio::sync::Notify::new());
    let held = Arc::clone(&release);
    let slow = move |request: Arrived| {
        let (arrived, held) = (arrived.clone(), Arc::clone(&held));
        async move {
            arrived.send(()).await.unwrap();
            held.notified().await;
            echo(request).await
        }
    };
    let (server, address, stop) = local::server(CONNECTIONS).await;
    let server = tokio::spawn(serve(server, BodyLimits::of_body(100), Arc::new(Function(slow))));
    let request = tokio::spawn(async move { said(&address, b"GET / HTTP/1.1\r\nhost: h\r\n\r\n").await });
    seen.recv().await.unwrap();
    stop.cancel();
    release.notify_one();
    assert!(request.await.unwrap().starts_with("HTTP/1.1 200"));
    server.await.unwrap();
}
