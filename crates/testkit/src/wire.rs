//! A minimal HTTP client: one request over plain TCP, one response. For probes and webhooks of tests.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a response that are read, at most.
const RESPONSE_BYTES_MAX: u64 = 16 << 20;

/// A response: its status and its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MockResponse {
    /// The status code.
    pub code: u16,
    /// The body, as text.
    pub body: String,
}

/// Requests a path.
pub fn get(address: SocketAddr, path: &str) -> Result<MockResponse> {
    request(address, "GET", path, &[], b"")
}

/// Sends a body to a path.
pub fn post(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<MockResponse> {
    request(address, "POST", path, headers, body)
}

/// One request, on a connection of its own.
pub fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<MockResponse> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)
        .with_context(|| format!("no response from {address}"))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut head =
        format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.push_str("Connection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    // A server that rejects a body may close before it has read all of it; its response counts.
    let sent = stream.write_all(body);
    let mut response = Vec::new();
    let read = stream.take(RESPONSE_BYTES_MAX).read_to_end(&mut response);
    let text = String::from_utf8_lossy(&response);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        sent?;
        read?;
        anyhow::bail!("{address} closed the connection without a response");
    };
    let code =
        head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("a response without a status")?;
    Ok(MockResponse { code, body: body.to_owned() })
}
