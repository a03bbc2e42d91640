//! Git over SSH: host keys that known_hosts lists, one private key, `git-upload-pack` on the server. No program is started here, no
//! agent is asked, no configuration of the host is read. What the program says is up to gix.

mod algorithms;
mod channel;
mod fault;
mod identity;
mod known_hosts;
mod session;

use std::{fmt, sync::Arc};

pub use algorithms::{HostKeyAlgorithms, KexAlgorithms, SshAlgorithms, UnknownAlgorithm};
pub use fault::SshFault;
pub use identity::{Identity, IdentityError};
pub use known_hosts::{HostKeyError, KnownHosts, KnownHostsError};

pub(crate) use session::{SshConnector, open};

/// What a client shows to servers over SSH, and which servers it accepts.
#[derive(Clone)]
pub struct SshCredential {
    identity: Arc<Identity>,
    known_hosts: Arc<KnownHosts>,
}

impl SshCredential {
    /// A private key for the servers of known_hosts.
    pub fn new(identity: Identity, known_hosts: KnownHosts) -> Self {
        Self { identity: Arc::new(identity), known_hosts: Arc::new(known_hosts) }
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn known_hosts(&self) -> &Arc<KnownHosts> {
        &self.known_hosts
    }
}

impl fmt::Debug for SshCredential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SshCredential").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// The server of a repository, and what to run there.
#[derive(Clone, Debug)]
pub(crate) struct SshTarget {
    pub(crate) user: String,
    /// Without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The path of the repository, as the server's shell gets it.
    pub(crate) path: String,
    pub(crate) credential: SshCredential,
}
