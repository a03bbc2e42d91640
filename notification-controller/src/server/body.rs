//! Bodies of requests: read within a time, counted as their bytes arrive, refused by what they announce.

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};

use super::{Answer, BodyLimits, answer};

/// What the bytes of one body are counted in. They return when it is dropped.
pub trait BodyAccount: Send + Sync {
    /// Counts bytes that arrived; false where there is no room for them.
    fn try_grow(&mut self, bytes: u64) -> bool;

    /// Whether the body is kept. Else it is counted and thrown away as it arrives.
    fn keeps_body(&self) -> bool {
        true
    }
}

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// It has more bytes than it may.
    TooLarge,
    /// It took longer than it may.
    TooSlow,
    /// Its account is full.
    Crowded,
    /// The connection broke off, or it is not HTTP.
    Broken,
}

impl Unread {
    /// The response to the sender.
    pub fn answer(self, limits: BodyLimits) -> Answer {
        let mut answer = match self {
            Self::TooLarge => {
                let text = format!("the body has more than {} bytes", limits.bytes_max);
                answer(StatusCode::PAYLOAD_TOO_LARGE, &text)
            }
            Self::TooSlow => answer(StatusCode::REQUEST_TIMEOUT, "the body took too long"),
            Self::Crowded => answer(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once"),
            Self::Broken => answer(StatusCode::BAD_REQUEST, "the body cannot be read"),
        };
        // What was not read must not be taken for the next request.
        answer.headers_mut().insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
        answer
    }
}

/// Reads a body to its end.
pub async fn read(
    body: Incoming,
    limits: BodyLimits,
    account: Box<dyn BodyAccount>,
) -> Result<(Bytes, Box<dyn BodyAccount>), Unread> {
    let read = read_frames(body, limits, account);
    tokio::time::timeout(limits.timeout, read).await.unwrap_or(Err(Unread::TooSlow))
}

async fn read_frames(
    mut body: Incoming,
    limits: BodyLimits,
    mut account: Box<dyn BodyAccount>,
) -> Result<(Bytes, Box<dyn BodyAccount>), Unread> {
    let max = u64::try_from(limits.bytes_max).unwrap_or(u64::MAX);
    if body.size_hint().lower() > max {
        return Err(Unread::TooLarge);
    }
    let (mut kept, mut count) = (BytesMut::new(), 0);
    loop {
        let next = tokio::time::timeout(limits.stall_timeout, body.frame());
        let Some(frame) = next.await.map_err(|_| Unread::TooSlow)? else {
            return Ok((kept.freeze(), account));
        };
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        let bytes = u64::try_from(data.len()).map_err(|_| Unread::TooLarge)?;
        count += bytes;
        if count > max {
            return Err(Unread::TooLarge);
        }
        if !account.try_grow(bytes) {
            return Err(Unread::Crowded);
        }
        if account.keeps_body() {
            kept.extend_from_slice(&data);
        }
    }
}
