//! A gzip file of several members (RFC 1952, section 2.2): each is compressed by itself, so that a member can be taken over from one
//! file to another as it is. The file is hashed and counted while it is written.

use std::io::{self, Read, Write};

use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use plumb_filetree::digest::{DigestAlgorithm, FileDigest, Hasher};

/// The middle between speed and size.
const COMPRESSION: Compression = Compression::new(4);
/// No name, no time, no system, and nothing about how it was compressed.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// Compressed bytes in memory.
const OUTPUT_BYTES: usize = 32 << 10;
/// Bytes that are taken over at a time.
const COPY_BYTES: usize = 128 << 10;

/// Where a member is in its file, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// Writes members. What is written through [`Write`] goes into the open one.
pub(crate) struct GzipMembers<W> {
    out: Metered<W>,
    compress: Compress,
    crc: Crc,
    output: Vec<u8>,
    copied: Vec<u8>,
    began: u64,
}

impl<W: Write> GzipMembers<W> {
    /// Nothing is written yet.
    pub(crate) fn new(out: W, algorithm: DigestAlgorithm) -> Self {
        Self {
            out: Metered { inner: out, hasher: Hasher::new(algorithm), bytes: 0 },
            compress: Compress::new(COMPRESSION, false),
            crc: Crc::new(),
            output: vec![0; OUTPUT_BYTES],
            copied: Vec::new(),
            began: 0,
        }
    }

    /// Starts a member.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        self.began = self.out.bytes;
        self.compress.reset();
        self.crc.reset();
        self.out.write_all(&HEADER)
    }

    /// Ends the member that was started; where it is.
    pub(crate) fn end(&mut self) -> io::Result<Extent> {
        loop {
            let status = self.compress(&[], FlushCompress::Finish)?.1;
            if status == Status::StreamEnd {
                break;
            }
        }
        self.out.write_all(&self.crc.sum().to_le_bytes())?;
        self.out.write_all(&self.crc.amount().to_le_bytes())?;
        Ok(Extent { offset: self.began, length: self.out.bytes - self.began })
    }

    /// Takes over a member of another file, which is read from its first byte on; where it is here. The outer error is one of writing.
    pub(crate) fn copy(&mut self, from: &mut dyn Read, length: u64) -> io::Result<io::Result<Extent>> {
        let offset = self.out.bytes;
        let mut copied = std::mem::take(&mut self.copied);
        copied.resize(COPY_BYTES, 0);
        let mut left = length;
        while left > 0 {
            let piece = usize::try_from(left).unwrap_or(COPY_BYTES).min(COPY_BYTES);
            if let Err(error) = from.read_exact(&mut copied[..piece]) {
                return Ok(Err(error));
            }
            self.out.write_all(&copied[..piece])?;
            left -= piece as u64;
        }
        self.copied = copied;
        Ok(Ok(Extent { offset, length }))
    }

    /// The digest and the size of the file.
    pub(crate) fn finish(mut self) -> io::Result<(FileDigest, u64)> {
        self.out.flush()?;
        Ok((self.out.hasher.finish(), self.out.bytes))
    }

    /// How many of the bytes were taken, and whether the member is complete.
    fn compress(&mut self, input: &[u8], flush: FlushCompress) -> io::Result<(usize, Status)> {
        let (before_in, before_out) = (self.compress.total_in(), self.compress.total_out());
        let status = self.compress.compress(input, &mut self.output, flush).map_err(io::Error::other)?;
        let made = usize::try_from(self.compress.total_out() - before_out).map_err(io::Error::other)?;
        self.out.write_all(self.output.get(..made).unwrap_or_default())?;
        let taken = usize::try_from(self.compress.total_in() - before_in).map_err(io::Error::other)?;
        Ok((taken, status))
    }
}

impl<W: Write> Write for GzipMembers<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut left = bytes;
        while !left.is_empty() {
            let (taken, _) = self.compress(left, FlushCompress::None)?;
            left = left.get(taken..).unwrap_or_default();
        }
        self.crc.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Hashes and counts what is written.
struct Metered<W> {
    inner: W,
    hasher: Hasher,
    bytes: u64,
}

impl<W: Write> Write for Metered<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.hasher.update(&buffer[..written]);
        self.bytes += u64::try_from(written).unwrap_or(0);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
