//! The content of a file as the body of a response, in pieces. What the system has in memory is read without a hand-over to another
//! thread, what it has not is read on a blocking thread: a slow client holds neither.

use std::{fs::File, io, os::unix::fs::FileExt as _, sync::Arc};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::stream;

/// How much of a file is in memory at a time, for each response.
pub const PIECE_BYTES: usize = 256 << 10;

/// So many bytes of a file from `start` on. A file that ends before them ends the response with an error.
pub fn file_body(file: File, start: u64, length: u64) -> Body {
    let first = Reading { file: Arc::new(file), at: start, left: length, spare: BytesMut::new() };
    Body::from_stream(stream::try_unfold(first, |mut reading| async move {
        let piece = reading.next().await?;
        Ok::<_, io::Error>(piece.map(|piece| (piece, reading)))
    }))
}

struct Reading {
    file: Arc<File>,
    at: u64,
    left: u64,
    /// The memory of the piece before, which is used again as soon as that was sent.
    spare: BytesMut,
}

impl Reading {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut buffer = std::mem::take(&mut self.spare);
        buffer.resize(usize::try_from(self.left).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES)), 0);
        let mut read = read_cached(&self.file, &mut buffer, self.at);
        if read.is_none() {
            let (file, at) = (Arc::clone(&self.file), self.at);
            let done = tokio::task::spawn_blocking(move || {
                let read = file.read_at(&mut buffer, at);
                (buffer, read)
            });
            let (returned, done) = done.await.map_err(io::Error::other)?;
            buffer = returned;
            read = Some(done?);
        }
        // A file that became shorter.
        let Some(read) = read.filter(|read| *read > 0) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let piece = buffer.split_to(read).freeze();
        self.spare = buffer;
        self.at += read as u64;
        self.left -= read as u64;
        Ok(Some(piece))
    }
}

/// What the system has in memory of a part of a file; none where it would have to wait for the disk, or cannot tell.
#[cfg(target_os = "linux")]
pub fn read_cached(file: &File, buffer: &mut [u8], at: u64) -> Option<usize> {
    use rustix::io::{ReadWriteFlags, preadv2};
    preadv2(file, &mut [io::IoSliceMut::new(buffer)], at, ReadWriteFlags::NOWAIT).ok()
}

#[cfg(not(target_os = "linux"))]
pub fn read_cached(_file: &File, _buffer: &mut [u8], _at: u64) -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    fn file(bytes: usize) -> (File, Vec<u8>) {
        let content: Vec<u8> = (0..bytes).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[2]).collect();
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        std::fs::write(&path, &content).unwrap();
        (File::open(&path).unwrap(), content)
    }

    #[tokio::test]
    async fn a_file_is_sent_from_anywhere_to_anywhere() {
        let bytes = 2 * PIECE_BYTES + 7;
        for (start, end) in
            [(0, bytes), (1, bytes), (PIECE_BYTES, bytes), (5, PIECE_BYTES + 6), (7, 7), (bytes - 1, bytes)]
        {
            let (file, content) = file(bytes);
            let body = file_body(file, start as u64, (end - start) as u64);
            assert_eq!(to_bytes(body, bytes).await.unwrap(), content[start..end], "{start}-{end}");
        }
    }

    #[tokio::test]
    async fn a_file_that_became_shorter_is_an_error_and_not_an_end() {
        let (file, _) = file(PIECE_BYTES + 5);
        let error = to_bytes(file_body(file, 0, PIECE_BYTES as u64 + 6), usize::MAX).await.unwrap_err();
        assert!(error.to_string().contains("unexpected end of file"), "{error}");
    }
}
