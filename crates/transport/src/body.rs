//! A response whose body is read within a limit only: into memory that is charged to the budget of the process, into an async
//! writer, or by a blocking reader.

use std::{
    error::Error,
    io::{self, Read},
};

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, StatusCode};
use plumb_memory::{Limit, MemoryReservation, OverBudget};
use reqwest::Response;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    runtime::Handle,
};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::connection::ConnectionError;

/// Bytes of an excerpt, at most. It is for texts of errors.
const EXCERPT_BYTES_MAX: usize = 64 << 10;

/// Why a body could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is larger than its limit.
    #[error("the response is larger than {max} bytes, which is the limit for the {name}")]
    TooLarge {
        /// What is limited.
        name: &'static str,
        /// The limit, in bytes.
        max: u64,
    },
    /// The memory budget does not allow it.
    #[error(transparent)]
    OverBudget(OverBudget),
    /// The connection failed, or the timeout of the request has passed.
    #[error(transparent)]
    Connection(ConnectionError),
    /// The caller raised the interrupt.
    #[error("interrupted")]
    Interrupted,
    /// The writer failed: the disk is full, as an example.
    #[error("cannot write the response: {problem}")]
    Write {
        /// The writer's error.
        problem: String,
    },
}

/// A response: its head, and a body that is still to be read. The methods that read take it, so that none reads twice.
#[derive(Debug)]
pub struct BoundedResponse {
    url: Url,
    inner: Response,
}

impl BoundedResponse {
    pub(crate) fn new(url: Url, inner: Response) -> Self {
        Self { url, inner }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.inner.status()
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// The URL that responded: the target of the last redirect.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The size of the body as the server announces it, in bytes.
    pub fn announced_bytes(&self) -> Option<u64> {
        self.inner.content_length()
    }

    /// The body, of at most `limit`. `memory` grows with the buffers and keeps what the body takes; after an error, nothing. `observe` is given each piece,
    /// for a digest of the whole.
    pub async fn collect(
        self,
        limit: Limit,
        memory: &mut MemoryReservation,
        mut observe: impl FnMut(&[u8]),
    ) -> Result<Vec<u8>, BodyError> {
        let pieces = Pieces::new(self, limit)?;
        let before = memory.bytes();
        let collected = pieces.collect(memory, &mut observe).await;
        if collected.is_err() {
            memory.shrink(memory.bytes() - before);
        }
        collected
    }

    /// Writes the body, of at most `limit`, as it arrives; how many bytes it had. Raising the interrupt ends the wait for the server
    /// and for the writer, as dropping the future does. After an error the writer holds a part of the body.
    pub async fn copy_to(
        self,
        writer: &mut (impl AsyncWrite + Unpin),
        limit: Limit,
        interrupt: &CancellationToken,
    ) -> Result<u64, BodyError> {
        let mut pieces = Pieces::new(self, limit)?;
        let failed = |error: io::Error| BodyError::Write { problem: error.to_string() };
        let copy = async {
            while let Some(piece) = pieces.next().await? {
                writer.write_all(&piece).await.map_err(failed)?;
            }
            writer.flush().await.map_err(failed)?;
            Ok(pieces.read)
        };
        interrupt.run_until_cancelled(copy).await.unwrap_or(Err(BodyError::Interrupted))
    }

    /// A reader of the body, of at most `limit`, for decoders on a blocking thread. It ends with the interrupt, which whoever waits
    /// for that thread raises when it is dropped. Call it within the runtime.
    pub fn into_reader(self, limit: Limit, interrupt: CancellationToken) -> Result<BodyReader, BodyError> {
        let pieces = Pieces::new(self, limit)?;
        Ok(BodyReader { pieces, piece: Bytes::new(), runtime: Handle::current(), interrupt })
    }

    /// The pieces of the body, of at most `limit`, as they arrive. They are not charged: the piece at hand only.
    pub fn into_pieces(self, limit: Limit) -> Result<BodyPieces, BodyError> {
        Pieces::new(self, limit).map(BodyPieces)
    }

    /// The first bytes of the body, for the text of an error: at most `bytes_max`, and never more than 64 KiB.
    pub async fn excerpt(mut self, bytes_max: usize) -> Result<Vec<u8>, ConnectionError> {
        let bytes_max = bytes_max.min(EXCERPT_BYTES_MAX);
        let mut excerpt = Vec::new();
        while excerpt.len() < bytes_max {
            let piece = self.inner.chunk().await.map_err(|error| ConnectionError::of(&error))?;
            let Some(piece) = piece else { break };
            let room = bytes_max - excerpt.len();
            excerpt.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        Ok(excerpt)
    }
}

/// A body that is read piece by piece. Dropping it closes the connection.
#[derive(Debug)]
pub struct BodyPieces(Pieces);

impl BodyPieces {
    /// Waits for the next piece; none at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        self.0.next().await
    }
}

/// The pieces of a body within its limit.
#[derive(Debug)]
struct Pieces {
    response: Response,
    limit: Limit,
    read: u64,
}

impl Pieces {
    fn new(response: BoundedResponse, limit: Limit) -> Result<Self, BodyError> {
        let pieces = Self { response: response.inner, limit, read: 0 };
        match pieces.response.content_length() {
            Some(length) if length > limit.bytes_max => Err(pieces.too_large()),
            _ => Ok(pieces),
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        let piece = self.response.chunk().await;
        let piece = piece.map_err(|error| BodyError::Connection(ConnectionError::of(&error)))?;
        self.read += piece.as_ref().map_or(0, Bytes::len) as u64;
        if self.read > self.limit.bytes_max { Err(self.too_large()) } else { Ok(piece) }
    }

    async fn collect(
        mut self,
        memory: &mut MemoryReservation,
        observe: &mut impl FnMut(&[u8]),
    ) -> Result<Vec<u8>, BodyError> {
        // Nothing is allocated for an announced length.
        let (mut body, mut charged) = (Vec::new(), 0);
        while let Some(piece) = self.next().await? {
            // A buffer that grows is copied into one of twice its size.
            let buffers = self.read.saturating_mul(2).min(self.limit.bytes_max);
            memory.try_grow(buffers - charged).map_err(BodyError::OverBudget)?;
            charged = buffers;
            observe(&piece);
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    fn too_large(&self) -> BodyError {
        let Limit { name, bytes_max: max } = self.limit;
        BodyError::TooLarge { name, max }
    }
}

/// A body on a blocking thread. It panics where it is read within async code. Its errors are those of [`BodyError`], inside of
/// [`io::Error`]: [`BodyError::of`] finds them under what a decoder makes of them.
#[derive(Debug)]
pub struct BodyReader {
    pieces: Pieces,
    piece: Bytes,
    runtime: Handle,
    interrupt: CancellationToken,
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            let next = self.interrupt.run_until_cancelled(self.pieces.next());
            let next = self.runtime.block_on(next).unwrap_or(Err(BodyError::Interrupted));
            match next.map_err(io::Error::other)? {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let read = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..read]);
        Ok(read)
    }
}

impl BodyError {
    /// The error of a [`BodyReader`] among the causes of another error.
    pub fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(part) = next {
            if let Some(found) = part.downcast_ref::<Self>() {
                return Some(found.clone());
            }
            // The source of an I/O error is the source of what is in it, so that itself is looked into here.
            next = match part.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                Some(inner) => Some(inner),
                None => part.source(),
            };
        }
        None
    }
}
