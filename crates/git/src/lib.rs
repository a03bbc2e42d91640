//! Git over HTTP and SSH: list references, fetch a commit into a cached bare repository, read its tree from the object database.
//! No working tree is ever written, no program is ever started, no configuration of user or system is read. The use of the
//! files is up to the caller.

mod bounds;
mod checkout;
mod connection;
mod credential;
mod error;
mod exchange;
mod greeting;
mod leftovers;
mod mirror;
mod pressure;
mod reference;
mod remedy;
mod signed;
mod sparse;
mod ssh;
mod submodule;
mod task;
mod threads;
mod transport;
mod tree;

pub use credential::{CredentialOrigin, Endpoint, EndpointError};
pub use error::GitError;
pub use reference::{Found, Reference};
pub use signed::{RawObject, RawObjects};
pub use ssh::{
    HostKeyAlgorithms, HostKeyError, Identity, IdentityError, KexAlgorithms, KnownHosts, KnownHostsError,
    SshAlgorithms, SshCredential, SshFault, UnknownAlgorithm,
};
pub use submodule::SubmoduleError;
pub use task::{
    ArchivedCommit, Checkout, Git, Limits, MIRRORS_BYTES_DEFAULT, Resources, SUBMODULE_DEPTH_DEFAULT,
    SUBMODULES_DEFAULT, Selection, Session,
};
