//! One SSH connection: host key, authentication by the one private key, the program on the server. It ends when its streams are
//! dropped, whatever the server does.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use plumb_transport::{address::AddressPolicy, tcp};
use russh::{
    Channel, ChannelReadHalf, ChannelWriteHalf, SshId, client,
    client::{AuthResult, ChannelOpenHandle, Msg},
    keys::{HashAlg, PrivateKeyWithHashAlg, PublicKeyOrCertificate},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};

use super::{
    SshTarget,
    algorithms::SshAlgorithms,
    channel::{Input, Output},
    fault::SshFault,
    known_hosts::{HostName, KnownHosts},
};
use crate::exchange::{Fault, Shared};

/// How this client names itself to servers.
const CLIENT_ID: &str = concat!("SSH-2.0-plumb_", env!("CARGO_PKG_VERSION"));
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// After this silence of an authenticated server it is asked whether it is there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// Questions without a response after which the connection ends.
const KEEPALIVE_MAX: usize = 3;
/// Bytes that the server may send before they are read: what one connection holds in memory.
const WINDOW_BYTES: u32 = 1 << 20;
/// Messages of a channel that wait to be read, each at most [`PACKET_BYTES_MAX`].
const CHANNEL_MESSAGES_MAX: usize = 32;
/// Bytes of one message.
const PACKET_BYTES_MAX: u32 = 32 << 10;

/// An authenticated connection.
pub(super) struct Session {
    _handle: client::Handle<Server>,
    _end: DropGuard,
}

/// What a connection is opened with.
pub(crate) struct SshConnector<'a> {
    pub(crate) policy: AddressPolicy,
    pub(crate) algorithms: &'a SshAlgorithms,
}

/// Runs `git-upload-pack` on the server and hands out its streams.
pub(crate) fn open(
    target: &SshTarget,
    connector: &SshConnector<'_>,
    shared: &Shared,
) -> io::Result<(Output, Input)> {
    let (session, half, input) = shared.wait(start(target, connector))?;
    let session = Arc::new(session);
    let output = Output {
        shared: shared.clone(),
        half,
        chunk: Bytes::new(),
        stderr: Vec::new(),
        status: None,
        has_ended: false,
        _session: Arc::clone(&session),
    };
    Ok((output, Input { shared: shared.clone(), half: input, _session: session }))
}

async fn start(
    target: &SshTarget,
    connector: &SshConnector<'_>,
) -> Result<(Session, ChannelReadHalf, ChannelWriteHalf<Msg>), Fault> {
    let stream = tcp::connect(&connector.policy, &target.host, target.port, CONNECT_TIMEOUT).await;
    let stream = stream.map_err(Fault::Connection)?;
    let known = Arc::clone(target.credential.known_hosts());
    let name = HostName::new(&target.host, target.port);
    let config = client::Config {
        client_id: SshId::Standard(CLIENT_ID.into()),
        preferred: connector.algorithms.preferred(&known.types(&name), known.has_authority(&name)),
        keepalive_interval: Some(KEEPALIVE_INTERVAL),
        keepalive_max: KEEPALIVE_MAX,
        window_size: WINDOW_BYTES,
        maximum_packet_size: PACKET_BYTES_MAX,
        channel_buffer_size: CHANNEL_MESSAGES_MAX,
        nodelay: true,
        ..client::Config::default()
    };
    let token = CancellationToken::new();
    let end = token.clone().drop_guard();
    let stream = EndableStream { stream, ended: Box::pin(token.cancelled_owned()) };
    let mut handle = client::connect_stream(Arc::new(config), stream, Server { known, name }).await?;
    authenticate(&mut handle, target).await?;
    let channel = handle.channel_open_session().await?;
    let (half, input) = channel.split();
    // Servers that do not take it speak the old version of the protocol.
    input.set_env(false, "GIT_PROTOCOL", "version=2").await?;
    input.exec(true, format!("git-upload-pack {}", quoted(&target.path))).await?;
    Ok((Session { _handle: handle, _end: end }, half, input))
}

async fn authenticate(handle: &mut client::Handle<Server>, target: &SshTarget) -> Result<(), Fault> {
    let key = target.credential.identity().key();
    let hashes = if key.algorithm().is_rsa() {
        match handle.best_supported_rsa_hash().await? {
            Some(Some(hash)) => vec![Some(hash)],
            Some(None) => return Err(Fault::Ssh(SshFault::WeakSignature)),
            // The server does not list them.
            None => vec![Some(HashAlg::Sha512), Some(HashAlg::Sha256)],
        }
    } else {
        vec![None]
    };
    for hash in hashes {
        let key = PrivateKeyWithHashAlg::new(Arc::clone(key), hash);
        if let AuthResult::Success = handle.authenticate_publickey(&target.user, key).await? {
            return Ok(());
        }
    }
    let (user, key) = (target.user.clone(), target.credential.identity().shown());
    Err(Fault::Ssh(SshFault::Rejected { user, key }))
}

/// A path for the shell of the server, as Git quotes it.
fn quoted(path: &str) -> String {
    format!("'{}'", path.replace('\'', r"'\''").replace('!', r"'\!'"))
}

/// What the server may do: have a host key that is known, and nothing else.
struct Server {
    known: Arc<KnownHosts>,
    name: HostName,
}

impl client::Handler for Server {
    type Error = Fault;

    async fn check_server_key(&mut self, offered: &PublicKeyOrCertificate) -> Result<bool, Fault> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let checked = self.known.check(&self.name, offered, now);
        checked.map(|()| true).map_err(|error| Fault::Ssh(SshFault::HostKey(error)))
    }

    // A server opens no channels to a client that forwards nothing: an open request that is dropped is rejected.

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _channel: Channel<Msg>,
        _connected_address: &str,
        _connected_port: u32,
        _originator_address: &str,
        _originator_port: u32,
        _reply: ChannelOpenHandle,
        _session: &mut client::Session,
    ) -> Result<(), Fault> {
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _channel: Channel<Msg>,
        _socket_path: &str,
        _reply: ChannelOpenHandle,
        _session: &mut client::Session,
    ) -> Result<(), Fault> {
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _channel: Channel<Msg>,
        _reply: ChannelOpenHandle,
        _session: &mut client::Session,
    ) -> Result<(), Fault> {
        Ok(())
    }

    async fn server_channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        _reply: ChannelOpenHandle,
        _session: &mut client::Session,
    ) -> Result<(), Fault> {
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _channel: Channel<Msg>,
        _host_to_connect: &str,
        _port_to_connect: u32,
        _originator_address: &str,
        _originator_port: u32,
        _reply: ChannelOpenHandle,
        _session: &mut client::Session,
    ) -> Result<(), Fault> {
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _channel: Channel<Msg>,
        _socket_path: &str,
        _reply: ChannelOpenHandle,
        _session: &mut client::Session,
    ) -> Result<(), Fault> {
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _channel: Channel<Msg>,
        _originator_address: &str,
        _originator_port: u32,
        _reply: ChannelOpenHandle,
        _session: &mut client::Session,
    ) -> Result<(), Fault> {
        Ok(())
    }
}

/// A socket that fails as soon as its session is dropped: the task that serves the connection may be waiting for a server that is
/// silent or does not read.
struct EndableStream {
    stream: TcpStream,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl EndableStream {
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.ended.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for EndableStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for EndableStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_of_the_server_s_shell() {
        assert_eq!(quoted("/org/app.git"), "'/org/app.git'");
        assert_eq!(quoted("/a'; rm -rf $HOME #!"), r"'/a'\''; rm -rf $HOME #'\!''");
    }
}
