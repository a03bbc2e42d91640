//! A body in memory, bounded while it is read: by its own limit and by the memory of the process.

use plumb_memory::{Limit, MemoryReservation, OverBudget};
use reqwest::Response;

use crate::connection::ConnectionError;

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
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
    /// The connection failed.
    #[error(transparent)]
    Connection(ConnectionError),
}

/// Reads a body of at most `limit`. `memory` grows with the buffers and keeps what the body takes. `observe` is given each piece,
/// for a digest of the whole.
pub async fn read_body(
    mut response: Response,
    limit: Limit,
    memory: &mut MemoryReservation,
    mut observe: impl FnMut(&[u8]),
) -> Result<Vec<u8>, BodyError> {
    let Limit { name, bytes_max: max } = limit;
    if response.content_length().is_some_and(|length| length > max) {
        return Err(BodyError::TooLarge { name, max });
    }
    // Nothing is allocated for an announced length.
    let mut body = Vec::new();
    loop {
        let piece =
            response.chunk().await.map_err(|error| BodyError::Connection(ConnectionError::of(&error)))?;
        let Some(piece) = piece else { return Ok(body) };
        let length = (body.len() + piece.len()) as u64;
        if length > max {
            return Err(BodyError::TooLarge { name, max });
        }
        // A buffer that grows is copied into one of twice its size.
        let buffers = length.saturating_mul(2).min(max);
        memory.try_grow(buffers.saturating_sub(memory.bytes())).map_err(BodyError::OverBudget)?;
        observe(&piece);
        body.extend_from_slice(&piece);
    }
}
