//! Clients that connect often, send nothing, or take nothing, over TCP.

use std::sync::Mutex;

use bytes::Bytes;
use http_body_util::Full;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::sync::Notify;

use super::*;

const USUAL: Limits = Limits::of_connections(64);

/// More than the buffers of both sides hold.
const LARGE_BYTES: usize = 64 << 20;

/// A server that counts its rejections.
struct Fixture {
    address: std::net::SocketAddr,
    rejected: Arc<Mutex<Vec<Refused>>>,
    stop: CancellationToken,
    /// A request to `/waits` has come.
    arrived: Arc<Notify>,
    /// It is to be responded.
    go_on: Arc<Notify>,
}

async fn start(limits: Limits) -> Fixture {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, rejected) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let (counted, stop) = (Arc::clone(&rejected), CancellationToken::new());
    let on_refused: OnRefused = Arc::new(move |rejected| counted.lock().unwrap().push(rejected));
    let server = Server { listener, limits, on_refused, stop: stop.clone() };
    let (arrived, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let waits = (Arc::clone(&arrived), Arc::clone(&go_on));
    tokio::spawn(server.serve(move |request: Request<Incoming>, _| {
        let (arrived, go_on) = waits.clone();
        async move {
            let body = match request.uri().path() {
                "/large" => Bytes::from(vec![0u8; LARGE_BYTES]),
                "/waits" => {
                    arrived.notify_one();
                    go_on.notified().await;
                    Bytes::from_static(b"artifact")
                }
                _ => Bytes::from_static(b"artifact"),
            };
            Response::new(Full::new(body))
        }
    }));
    Fixture { address, rejected, stop, arrived, go_on }
}

impl Fixture {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// The rejections, once there are that many.
    async fn rejected(&self, count: usize) -> Vec<Refused> {
        for _ in 0..1_000 {
            let rejected = self.rejected.lock().unwrap().clone();
            if rejected.len() >= count {
                return rejected;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{count} rejections did not arrive: {:?}", self.rejected.lock().unwrap());
    }
}

async fn request(stream: &mut TcpStream, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
}

async fn responded(mut stream: TcpStream) -> String {
    request(&mut stream, "/small").await;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

async fn ended(mut stream: TcpStream) -> bool {
    let mut byte = [0];
    matches!(stream.read(&mut byte).await, Ok(0) | Err(_))
}

#[tokio::test]
async fn clients_that_send_no_request_are_cut_off_and_the_next_is_served() {
    let limits = Limits { connections_max: 3, header_timeout: Duration::from_millis(50), ..USUAL };
    let server = start(limits).await;
    let silent = server.connect().await;
    let mut slow = server.connect().await;
    slow.write_all(b"GET /small HT").await.unwrap();
    let mut idle = server.connect().await;
    idle.write_all(b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let waits = server.connect().await;
    assert!(responded(waits).await.ends_with("artifact"));
    assert!(ended(silent).await && ended(slow).await);
    let mut text = String::new();
    idle.read_to_string(&mut text).await.unwrap();
    assert!(text.ends_with("artifact"), "{text}");
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut_off_and_the_next_is_served() {
    let limits = Limits { connections_max: 1, send_stall_timeout: Duration::from_millis(50), ..USUAL };
    let server = start(limits).await;
    let mut greedy = server.connect().await;
    request(&mut greedy, "/large").await;
    let waits = server.connect().await;
    assert!(responded(waits).await.ends_with("artifact"));
    let mut whole = Vec::new();
    let _ = greedy.read_to_end(&mut whole).await;
    assert!(whole.len() < LARGE_BYTES, "{}", whole.len());
    assert_eq!(server.rejected(1).await, [Refused::Stalled]);
}

#[tokio::test]
async fn one_address_holds_no_more_than_its_share() {
    let server = start(Limits { connections_per_peer_max: 1, ..USUAL }).await;
    let mut first = server.connect().await;
    first.write_all(b"GET /small HT").await.unwrap();
    assert!(ended(server.connect().await).await);
    assert_eq!(server.rejected(1).await, [Refused::Connections]);
    let other = TcpSocket::new_v4().unwrap();
    other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    assert!(responded(other.connect(server.address).await.unwrap()).await.ends_with("artifact"));
    first.write_all(b"TP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    first.read_to_string(&mut text).await.unwrap();
    assert!(text.ends_with("artifact"), "{text}");
}

#[tokio::test]
async fn an_invalid_request_is_rejected_and_a_client_that_disconnects_is_not() {
    let server = start(USUAL).await;
    drop(server.connect().await);
    let mut garbled = server.connect().await;
    garbled.write_all(b"\0\0\0\0\r\n\r\n").await.unwrap();
    assert!(ended_after_a_response(garbled).await.starts_with("HTTP/1.1 400"));
    assert_eq!(server.rejected(1).await, [Refused::Headers]);
}

async fn ended_after_a_response(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn requests_that_are_open_at_the_end_get_a_response() {
    let server = start(USUAL).await;
    let mut open = server.connect().await;
    request(&mut open, "/waits").await;
    server.arrived.notified().await;
    server.stop.cancel();
    server.go_on.notify_one();
    assert!(ended_after_a_response(open).await.ends_with("artifact"));
}

#[tokio::test]
async fn a_router_responds() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (on_refused, stop): (OnRefused, _) = (Arc::new(|_| {}), CancellationToken::new());
    let router = Router::new().route("/small", axum::routing::get(async || "routed"));
    tokio::spawn(Server { listener, limits: USUAL, on_refused, stop }.serve_router(router));
    assert!(responded(TcpStream::connect(address).await.unwrap()).await.ends_with("routed"));
}

#[tokio::test]
async fn a_router_knows_where_a_request_came_from() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let server = Server { listener, limits: USUAL, on_refused: Arc::new(|_| ()), stop };
    let respond = |request: axum::extract::Request| async move {
        request.extensions().get::<PeerAddress>().map(|peer| peer.0.to_string()).unwrap_or_default()
    };
    tokio::spawn(server.serve_router(Router::new().fallback(respond)));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    assert!(response.ends_with("\r\n\r\n127.0.0.1"), "{response}");
}
