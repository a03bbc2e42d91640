//! A peer that misbehaves below HTTP: silence, trickle, endless responses, wrong sizes, truncation. It replaces a Git
//! server, an artifact server or a receiver of webhooks; the test sets its responses before it misbehaves. Each connection
//! has a thread of its own, which ends when the peer disconnects or the server is dropped.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};

/// How often a thread checks whether the server was dropped.
const POLL: Duration = Duration::from_millis(20);
/// Bytes of a request that are read.
const REQUEST_BYTES_MAX: u64 = 1 << 20;

/// What the peer does with a request.
#[derive(Clone, Debug)]
pub enum Hostility {
    /// Accepts the connection and never responds.
    Silence,
    /// Sends the head, then one byte after each pause, without end: a space, or the bytes of `body` over and over.
    Trickle {
        /// The content type of the response.
        content_type: &'static str,
        /// The bytes to begin with, at once.
        body: Vec<u8>,
        /// The pause before each further byte.
        pause: Duration,
    },
    /// Sends the head and `first`, then `again` repeatedly as fast as it is read.
    Endless {
        /// The content type of the response.
        content_type: &'static str,
        /// The bytes to begin with.
        first: Vec<u8>,
        /// The bytes that follow without end.
        again: Vec<u8>,
    },
    /// Announces a body of `claimed` bytes, sends `body` and keeps the connection open.
    LyingLength {
        /// The content type of the response.
        content_type: &'static str,
        /// The size in the head.
        claimed: u64,
        /// What is sent.
        body: Vec<u8>,
    },
    /// Sends `body` in chunked encoding and hangs up without the last chunk.
    Truncation {
        /// The content type of the response.
        content_type: &'static str,
        /// What is sent.
        body: Vec<u8>,
    },
    /// Responds properly.
    Whole {
        /// The status code.
        status: u16,
        /// Header lines in addition to those of length and type, each without its end.
        headers: Vec<String>,
        /// The content type of the response.
        content_type: &'static str,
        /// The body.
        body: Vec<u8>,
    },
}

/// Which hostility a request gets: its line ("GET /x HTTP/1.1") and its body are known.
pub type Script = dyn Fn(&str, &[u8]) -> Hostility + Send + Sync;

/// A running hostile peer.
pub struct HostileServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    script: Box<Script>,
    stopped: AtomicBool,
    requests: AtomicU64,
    open: Mutex<usize>,
    closed: Condvar,
}

impl HostileServer {
    /// Starts on a free port of 127.0.0.1 and treats every request alike.
    pub fn start(hostility: Hostility) -> Result<Self> {
        Self::scripted(move |_, _| hostility.clone())
    }

    /// Starts on a free port of 127.0.0.1; the script decides for each request.
    pub fn scripted(script: impl Fn(&str, &[u8]) -> Hostility + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            script: Box::new(script),
            stopped: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            open: Mutex::new(0),
            closed: Condvar::new(),
        });
        let served = Arc::clone(&shared);
        thread::Builder::new().name("hostile-server".to_owned()).spawn(move || {
            for stream in listener.incoming() {
                if served.stopped.load(Ordering::Relaxed) {
                    return;
                }
                if let Ok(stream) = stream {
                    let shared = Arc::clone(&served);
                    shared.count_open(1);
                    thread::spawn(move || {
                        // A client that hung up is what most tests wait for.
                        let _ = shared.serve_connection(&stream);
                        drop(stream);
                        shared.count_open(-1);
                    });
                }
            }
        })?;
        Ok(Self { address, shared })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL, without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests arrived so far.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Connections that are open now.
    pub fn open_connections(&self) -> usize {
        *self.shared.lock_open()
    }

    /// Waits until the clients have closed all connections; whether they have.
    pub fn wait_until_closed(&self, patience: Duration) -> bool {
        let open = self.shared.lock_open();
        let waited = self.shared.closed.wait_timeout_while(open, patience, |open| *open > 0);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl Drop for HostileServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Unblocks the thread that accepts; if that fails it has ended already.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn lock_open(&self) -> std::sync::MutexGuard<'_, usize> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count_open(&self, change: isize) {
        let mut open = self.lock_open();
        *open = open.saturating_add_signed(change);
        self.closed.notify_all();
    }

    fn serve_connection(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(POLL))?;
        stream.set_write_timeout(Some(POLL))?;
        let mut reader = BufReader::new(UntilStopped { stream, shared: self }.take(REQUEST_BYTES_MAX));
        while let Some((line, body)) = read_request(&mut reader)? {
            self.requests.fetch_add(1, Ordering::Relaxed);
            reader.get_mut().set_limit(REQUEST_BYTES_MAX);
            self.respond(&(self.script)(&line, &body), stream)?;
        }
        Ok(())
    }

    fn respond(&self, hostility: &Hostility, stream: &TcpStream) -> io::Result<()> {
        let mut out = UntilStopped { stream, shared: self };
        match hostility {
            Hostility::Silence => self.wait_for_end(stream),
            Hostility::Trickle { content_type, body, pause } => {
                head(&mut out, content_type, "transfer-encoding: chunked")?;
                chunk(&mut out, body)?;
                let bytes = if body.is_empty() { b" ".as_slice() } else { body };
                for byte in bytes.iter().cycle() {
                    thread::sleep(*pause);
                    chunk(&mut out, &[*byte])?;
                }
                Ok(())
            }
            Hostility::Endless { content_type, first, again } => {
                head(&mut out, content_type, "transfer-encoding: chunked")?;
                chunk(&mut out, first)?;
                loop {
                    chunk(&mut out, again)?;
                }
            }
            Hostility::LyingLength { content_type, claimed, body } => {
                head(&mut out, content_type, &format!("content-length: {claimed}"))?;
                out.write_all(body)?;
                self.wait_for_end(stream)
            }
            Hostility::Truncation { content_type, body } => {
                head(&mut out, content_type, "transfer-encoding: chunked")?;
                chunk(&mut out, body)?;
                Err(io::ErrorKind::ConnectionAborted.into())
            }
            Hostility::Whole { status, headers, content_type, body } => {
                let headers: String = headers.iter().flat_map(|line| [line.as_str(), "\r\n"]).collect();
                let length = body.len();
                write!(
                    out,
                    "HTTP/1.1 {status} X\r\n{headers}content-type: {content_type}\r\ncontent-length: {length}\r\n\r\n"
                )?;
                out.write_all(body)
            }
        }
    }

    /// Reads without a response until the client disconnects.
    fn wait_for_end(&self, stream: &TcpStream) -> io::Result<()> {
        io::copy(&mut UntilStopped { stream, shared: self }, &mut io::sink())?;
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}

/// A stream whose reads and writes wait until the server is dropped.
struct UntilStopped<'a> {
    stream: &'a TcpStream,
    shared: &'a Shared,
}

impl UntilStopped<'_> {
    fn retry_until_stopped<T>(&self, mut attempt: impl FnMut(&TcpStream) -> io::Result<T>) -> io::Result<T> {
        loop {
            match attempt(self.stream) {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    if self.shared.stopped.load(Ordering::Relaxed) {
                        return Err(io::ErrorKind::ConnectionAborted.into());
                    }
                }
                done => return done,
            }
        }
    }
}

impl Read for UntilStopped<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.retry_until_stopped(|mut stream| stream.read(buffer))
    }
}

impl Write for UntilStopped<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.retry_until_stopped(|mut stream| stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.retry_until_stopped(|mut stream| stream.flush())
    }
}

fn head(out: &mut impl Write, content_type: &str, length: &str) -> io::Result<()> {
    write!(out, "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\n{length}\r\n\r\n")
}

fn chunk(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    write!(out, "{:x}\r\n", bytes.len())?;
    out.write_all(bytes)?;
    out.write_all(b"\r\n")
}

/// The next request: its line and its body; none when the client is done.
fn read_request(reader: &mut impl BufRead) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let (mut length, mut is_chunked) = (0, false);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let header = header.trim_end().to_ascii_lowercase();
        match header.split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse().unwrap_or(0),
            Some(("transfer-encoding", _)) => is_chunked = true,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = Vec::new();
    if !is_chunked {
        reader.take(length).read_to_end(&mut body)?;
        return Ok(Some((line.trim_end().to_owned(), body)));
    }
    loop {
        let mut size = String::new();
        reader.read_line(&mut size)?;
        let size = u64::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
        reader.by_ref().take(size).read_to_end(&mut body)?;
        reader.read_line(&mut String::new())?;
        if size == 0 {
            return Ok(Some((line.trim_end().to_owned(), body)));
        }
    }
}

/// A line of Git's protocol: its length in four hexadecimal digits, then its content.
pub fn packet(content: &str) -> Vec<u8> {
    format!("{:04x}{content}", content.len() + 4).into_bytes()
}

/// The response of a Git server of protocol version 2 to a handshake (`info/refs`): its capabilities.
pub fn git_handshake() -> Hostility {
    let lines = [
        "version 2\n",
        "agent=hostile/1\n",
        "ls-refs=unborn\n",
        "fetch=shallow filter\n",
        "object-format=sha1\n",
    ];
    let mut body = packet("# service=git-upload-pack\n");
    body.extend_from_slice(b"0000");
    body.extend(lines.iter().flat_map(|line| packet(line)));
    body.extend_from_slice(b"0000");
    let content_type = "application/x-git-upload-pack-advertisement";
    Hostility::Whole { status: 200, headers: Vec::new(), content_type, body }
}

/// The content type of a Git server's responses to a command.
pub const GIT_RESULT: &str = "application/x-git-upload-pack-result";

/// A Git server that completes the handshake and then treats each command with this hostility.
pub fn git_server(after_handshake: Hostility) -> Result<HostileServer> {
    HostileServer::scripted(
        move |line, _| {
            if line.starts_with("GET ") { git_handshake() } else { after_handshake.clone() }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::Wait;

    /// How long nothing must come to count as silence, and how long anything else may take.
    const SILENCE: Duration = Duration::from_millis(200);
    const TIMEOUT: Duration = Duration::from_secs(20);

    fn requested(server: &HostileServer) -> TcpStream {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.write_all(b"GET /x HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        stream
    }

    /// The response up to this text, which must arrive.
    fn answered(server: &HostileServer, text: &str) -> String {
        let (mut stream, mut response, mut byte) = (requested(server), Vec::new(), [0; 1]);
        while !response.ends_with(text.as_bytes()) {
            let count = stream.read(&mut byte).unwrap_or_default();
            assert!(count > 0 && response.len() < 10_000, "{}", String::from_utf8_lossy(&response));
            response.extend_from_slice(&byte);
        }
        String::from_utf8_lossy(&response).into_owned()
    }

    fn is_silent(stream: &mut TcpStream) -> bool {
        stream.set_read_timeout(Some(SILENCE)).unwrap();
        stream.read(&mut [0; 1]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }

    #[test]
    fn each_hostility_behaves_as_configured() {
        let content_type = "text/plain";
        let started = |hostility| HostileServer::start(hostility).unwrap();
        let silent = started(Hostility::Silence);
        let mut stream = requested(&silent);
        let arrives = Wait::until("the request arrives", TIMEOUT).every(Duration::from_millis(1));
        arrives.holds_blocking(|| silent.requests() > 0).unwrap();
        assert!(is_silent(&mut stream));
        drop(stream);
        assert!(silent.wait_until_closed(TIMEOUT));
        assert_eq!((silent.requests(), silent.open_connections()), (1, 0));
        let endless =
            started(Hostility::Endless { content_type, first: b"a".to_vec(), again: b"b".to_vec() });
        answered(&endless, &"\r\n1\r\nb".repeat(500));
        let lying = started(Hostility::LyingLength { content_type, claimed: 1 << 40, body: b"x".to_vec() });
        answered(&lying, "content-length: 1099511627776\r\n\r\nx");
        let cut = started(Hostility::Truncation { content_type, body: b"half".to_vec() });
        let mut stream = requested(&cut);
        let mut response = String::new();
        // A connection that is reset is closed as well.
        let _ = stream.read_to_string(&mut response);
        assert!(response.ends_with("\r\n\r\n4\r\nhalf\r\n"), "{response}");
        let pause = Duration::from_millis(1);
        let trickle = started(Hostility::Trickle { content_type, body: Vec::new(), pause });
        answered(&trickle, "1\r\n \r\n1\r\n \r\n");
        let git = git_server(Hostility::Silence).unwrap();
        answered(&git, "000eversion 2\n");
    }
}
