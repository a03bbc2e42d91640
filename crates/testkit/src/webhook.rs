//! The sender of webhooks, as a Git host would be one.

use std::net::SocketAddr;

use anyhow::Result;
use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::wire::{self, MockResponse};

/// `sha256=<hex>` of a body under a token.
pub fn signature(token: &str, body: &[u8]) -> Result<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(token.as_bytes())?;
    mac.update(body);
    Ok(format!("sha256={}", HEXLOWER.encode(&mac.finalize().into_bytes())))
}

/// Posts a body to a `generic-hmac` Receiver.
pub fn send(address: SocketAddr, path: &str, token: &str, body: &[u8]) -> Result<MockResponse> {
    let headers = [("Content-Type", "application/json"), ("X-Signature", &*signature(token, body)?)];
    wire::post(address, path, &headers, body)
}
