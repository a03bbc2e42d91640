//! The standard streams of the program on the server, as gix reads and writes them: blocking, each wait within the bounds of the
//! operation, each byte counted.

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use bytes::{Buf, Bytes};
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, client::Msg};

use super::{fault::SshFault, session::Session};
use crate::exchange::{Fault, Shared};

/// Bytes of standard error that are kept for an error text.
const STDERR_BYTES_MAX: usize = 4 << 10;
/// SSH's number of standard error.
const STDERR: u32 = 1;

/// The program's standard output.
pub(crate) struct Output {
    pub(super) shared: Shared,
    pub(super) half: ChannelReadHalf,
    pub(super) chunk: Bytes,
    pub(super) stderr: Vec<u8>,
    pub(super) status: Option<u32>,
    pub(super) has_ended: bool,
    /// The connection ends when both streams are dropped.
    pub(super) _session: Arc<Session>,
}

/// The program's standard input.
pub(crate) struct Input {
    pub(super) shared: Shared,
    pub(super) half: ChannelWriteHalf<Msg>,
    pub(super) _session: Arc<Session>,
}

impl Output {
    /// Reads on until there is output or the program has ended.
    fn fill(&mut self) -> io::Result<()> {
        while self.chunk.is_empty() && !self.has_ended {
            let half = &mut self.half;
            let message = self.shared.wait(async { Ok::<_, Fault>(half.wait().await) })?;
            match message {
                Some(ChannelMsg::Data { data }) => {
                    self.shared.spend(data.len())?;
                    self.chunk = data;
                }
                Some(ChannelMsg::ExtendedData { data, ext }) => {
                    self.shared.spend(data.len())?;
                    if ext == STDERR {
                        let left = STDERR_BYTES_MAX.saturating_sub(self.stderr.len()).min(data.len());
                        self.stderr.extend_from_slice(&data[..left]);
                    }
                }
                Some(ChannelMsg::ExitStatus { exit_status }) => self.status = Some(exit_status),
                Some(ChannelMsg::Failure) => {
                    let problem = "the server does not run git-upload-pack".to_owned();
                    return Err(self.shared.fail(Fault::Ssh(SshFault::Handshake { problem })));
                }
                // The status comes after the end of the output.
                Some(ChannelMsg::Close) | None => self.has_ended = true,
                Some(_) => {}
            }
        }
        Ok(())
    }
}

impl Read for Output {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.fill()?;
        if self.chunk.is_empty() && self.status != Some(0) {
            let fault = SshFault::of_command(self.status, &self.stderr);
            return Err(self.shared.fail(Fault::Ssh(fault)));
        }
        let read = self.chunk.len().min(buffer.len());
        self.chunk.copy_to_slice(&mut buffer[..read]);
        Ok(read)
    }
}

impl Write for Input {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.half.data_bytes(Bytes::copy_from_slice(bytes));
        self.shared.wait(sent)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
