//! What can go wrong with a repository. Texts of servers and libraries arrive scrubbed; no error carries a credential.

use std::io;

use plumb_filetree::{PathError, RelPath, TreeError, ignore::TooManyPatterns};
use plumb_memory::OverBudget;
use plumb_status::{Classify, Consequence, Reason};
use plumb_transport::{ClientError, ConnectionError, address::RejectedAddress};
use plumb_version::ConstraintError;

use crate::{
    credential::{CredentialOrigin, EndpointError},
    ssh::SshFault,
    submodule::SubmoduleError,
};

/// What can go wrong with a repository.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The URL is not one that can be read.
    #[error("{source}")]
    Endpoint {
        /// Why.
        source: EndpointError,
    },
    /// The HTTP client cannot be set up.
    #[error("unable to connect to '{url}'")]
    Client {
        /// The repository.
        url: String,
        /// Why.
        #[source]
        source: ClientError,
    },
    /// The semver range does not parse.
    #[error("{source}")]
    Range {
        /// Why.
        source: ConstraintError,
    },
    /// The commit is not a whole hash.
    #[error("commit {commit:?} is not a full hexadecimal id")]
    CommitId {
        /// As given.
        commit: String,
    },
    /// The server requires other credentials, or some.
    #[error(
        "unable to list remote for '{url}': authentication required: {}",
        match sent {
            CredentialOrigin::None => "no credentials were sent",
            CredentialOrigin::Url | CredentialOrigin::Given => "the server rejected the credentials",
        }
    )]
    Unauthenticated {
        /// The repository.
        url: String,
        /// Which credentials were sent.
        sent: CredentialOrigin,
    },
    /// The server does not let these credentials, or a request without any, read the repository.
    #[error("unable to list remote for '{url}': authorization failed")]
    Forbidden {
        /// The repository.
        url: String,
        /// Which credentials were sent.
        sent: CredentialOrigin,
    },
    /// There is no such repository, or none that is visible with these credentials.
    #[error("unable to list remote for '{url}': repository not found")]
    RepositoryNotFound {
        /// The repository.
        url: String,
        /// Which credentials were sent.
        sent: CredentialOrigin,
    },
    /// The repository has no commit.
    #[error("git repository at '{url}' is empty")]
    Empty {
        /// The repository.
        url: String,
    },
    /// The reference does not exist.
    #[error("couldn't find remote ref \"{reference}\" in '{url}'")]
    ReferenceNotFound {
        /// The repository.
        url: String,
        /// What was looked for.
        reference: String,
        /// The field that names it; none where it is the default.
        field: Option<&'static str>,
        /// The branch that the repository has as its default, where the server lists it.
        default_branch: Option<String>,
    },
    /// No tag meets the range.
    #[error("no match found for semver: {range}")]
    NoVersion {
        /// The range.
        range: String,
        /// The tag with the highest version, if any tag is a version.
        highest: Option<String>,
    },
    /// The commit does not exist, or the server does not serve it.
    #[error("object not found: commit {commit} in '{url}'")]
    CommitNotFound {
        /// The repository.
        url: String,
        /// The commit.
        commit: String,
    },
    /// The server lists too much.
    #[error("unable to list remote for '{url}': the server lists more than {max} {unit}")]
    TooManyReferences {
        /// The repository.
        url: String,
        /// The limit.
        max: u64,
        /// What is limited.
        unit: &'static str,
    },
    /// The server is at an address that sources may not be at.
    #[error("unable to connect to '{url}'")]
    Address {
        /// The repository.
        url: String,
        /// Which address, and the flag that allows it.
        #[source]
        source: RejectedAddress,
    },
    /// All slots are in use.
    #[error(
        "unable to {action} '{url}': no slot became free in {seconds} s: namespace {consumer:?} may use {consumer_max} of the maximum of {max} concurrent operations"
    )]
    NoSlot {
        /// What was attempted.
        action: &'static str,
        /// The repository.
        url: String,
        /// The namespace.
        consumer: String,
        /// How many slots it may hold.
        consumer_max: usize,
        /// How many there are.
        max: usize,
        /// How long it was waited.
        seconds: u64,
    },
    /// The process has no memory left for it, or the repository needs more than any may.
    #[error("unable to {action} '{url}'")]
    OverBudget {
        /// What was attempted.
        action: &'static str,
        /// The repository.
        url: String,
        /// Which limit.
        #[source]
        source: OverBudget,
    },
    /// An object needs more memory than any may.
    #[error(
        "unable to fetch from '{url}': it has an object of more than {max} bytes, which is the limit for one object"
    )]
    ObjectTooLarge {
        /// The repository.
        url: String,
        /// The limit, in bytes.
        max: u64,
    },
    /// The server sends more than a pack may have.
    #[error(
        "unable to fetch from '{url}': the pack is larger than {max} bytes, which is the limit for a pack"
    )]
    PackTooLarge {
        /// The repository.
        url: String,
        /// The limit, in bytes.
        max: u64,
    },
    /// The commit is not part of the branch's history.
    #[error("commit {commit} is not on branch {branch:?} of '{url}'")]
    NotOnBranch {
        /// The repository.
        url: String,
        /// The commit.
        commit: String,
        /// The branch.
        branch: String,
    },
    /// The reference leads to something else than a commit.
    #[error("reference {reference:?} of '{url}' leads to a {kind}, not to a commit")]
    NotACommit {
        /// The repository.
        url: String,
        /// The reference.
        reference: String,
        /// What it leads to.
        kind: String,
    },
    /// The server lists another commit for a tag than the tag leads to.
    #[error(
        "the server of '{url}' lists commit {listed} for {reference:?}, but the tag leads to commit {actual}"
    )]
    OtherCommit {
        /// The repository.
        url: String,
        /// The tag.
        reference: String,
        /// The commit that the server lists.
        listed: String,
        /// The commit that the tag leads to.
        actual: String,
    },
    /// The connection failed.
    #[error("unable to {action} '{url}': {source}")]
    Connection {
        /// What was attempted.
        action: &'static str,
        /// The repository.
        url: String,
        /// Why.
        source: ConnectionError,
    },
    /// The exchange over SSH failed.
    #[error("unable to {action} '{url}': {source}")]
    Ssh {
        /// What was attempted.
        action: &'static str,
        /// The repository.
        url: String,
        /// Why.
        source: SshFault,
    },
    /// The server redirects to something else.
    #[error(
        "unable to list remote for '{url}': the server redirects to {target}, which is not the same repository"
    )]
    OtherRepository {
        /// The repository.
        url: String,
        /// Where to, as far as it may be shown.
        target: String,
    },
    /// The server responds with something else than Git's protocol.
    #[error("unable to list remote for '{url}': the response is not one of a Git server")]
    NotGit {
        /// The repository.
        url: String,
    },
    /// The server cannot leave out history.
    #[error("unable to fetch from '{url}': the server does not offer shallow fetches")]
    NoShallow {
        /// The repository.
        url: String,
    },
    /// The exchange with the server failed.
    #[error("unable to {action} '{url}': {detail}")]
    Transport {
        /// What was attempted.
        action: &'static str,
        /// The repository.
        url: String,
        /// Why, scrubbed.
        detail: String,
    },
    /// The server responded with an error status.
    #[error("unable to {action} '{url}': the server responded with status {status}")]
    Status {
        /// What was attempted.
        action: &'static str,
        /// The repository.
        url: String,
        /// The status code.
        status: u16,
    },
    /// It took too long.
    #[error("unable to {action} '{url}': timed out after {seconds} s")]
    TimedOut {
        /// What was attempted.
        action: &'static str,
        /// The repository.
        url: String,
        /// The limit.
        seconds: u64,
    },
    /// The mirror on disk cannot be used.
    #[error("unable to {action} the mirror of '{url}': {detail}")]
    Mirror {
        /// What was attempted.
        action: &'static str,
        /// The repository.
        url: String,
        /// Why.
        detail: String,
    },
    /// An object of the commit cannot be read.
    #[error("commit {commit} of '{url}' cannot be read: {detail}")]
    Object {
        /// The repository.
        url: String,
        /// The commit.
        commit: String,
        /// Why.
        detail: String,
    },
    /// A file name of the commit is not a safe path.
    #[error("commit {commit} has a file name that cannot be used: {detail}")]
    FileName {
        /// The commit.
        commit: String,
        /// Which and why.
        detail: String,
    },
    /// A path of the commit is over a limit.
    #[error("commit {commit} has a path that cannot be used")]
    Path {
        /// The commit.
        commit: String,
        /// Why.
        #[source]
        source: PathError,
    },
    /// The commit holds too much.
    #[error("commit {commit} holds too much")]
    TooLarge {
        /// The commit.
        commit: String,
        /// Which limit.
        #[source]
        source: TreeError,
    },
    /// The archive cannot be written.
    #[error("failed to write the archive of commit {commit}")]
    Output {
        /// The commit.
        commit: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The earlier archive cannot be read.
    #[error("failed to read the archive before that of commit {commit}")]
    Previous {
        /// The commit.
        commit: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The ignore rules are over a limit.
    #[error("the ignore rules of commit {commit} cannot be used")]
    Ignore {
        /// The commit.
        commit: String,
        /// Why.
        #[source]
        source: TooManyPatterns,
    },
    /// A directory that is to be checked out does not exist.
    #[error("sparse checkout dir '{directory}' does not exist in repository")]
    SparseCheckout {
        /// The directory, as given.
        directory: String,
    },
    /// A submodule cannot be read.
    #[error("failed to read submodule '{path}'")]
    Submodule {
        /// Its path.
        path: RelPath,
        /// Why.
        #[source]
        source: SubmoduleError,
    },
    /// The blocking task ended early.
    #[error("unable to {action} '{url}': the task was interrupted")]
    Interrupted {
        /// What was attempted.
        action: &'static str,
        /// The repository.
        url: String,
    },
}

impl GitError {
    /// Whether throwing the mirror away may help.
    pub(crate) fn blames_mirror(&self) -> bool {
        match self {
            Self::Mirror { .. } | Self::Object { .. } | Self::Transport { .. } => true,
            Self::Submodule { source: SubmoduleError::Git(source), .. } => source.blames_mirror(),
            Self::Endpoint { .. }
            | Self::Client { .. }
            | Self::Connection { .. }
            | Self::Ssh { .. }
            | Self::OtherRepository { .. }
            | Self::NotGit { .. }
            | Self::NoShallow { .. }
            | Self::Range { .. }
            | Self::CommitId { .. }
            | Self::Unauthenticated { .. }
            | Self::Forbidden { .. }
            | Self::RepositoryNotFound { .. }
            | Self::Empty { .. }
            | Self::ReferenceNotFound { .. }
            | Self::NoVersion { .. }
            | Self::CommitNotFound { .. }
            | Self::TooManyReferences { .. }
            | Self::Address { .. }
            | Self::NoSlot { .. }
            | Self::OverBudget { .. }
            | Self::ObjectTooLarge { .. }
            | Self::PackTooLarge { .. }
            | Self::NotOnBranch { .. }
            | Self::NotACommit { .. }
            | Self::OtherCommit { .. }
            | Self::Status { .. }
            | Self::TimedOut { .. }
            | Self::FileName { .. }
            | Self::Path { .. }
            | Self::TooLarge { .. }
            | Self::Output { .. }
            | Self::Previous { .. }
            | Self::Ignore { .. }
            | Self::SparseCheckout { .. }
            | Self::Submodule { .. }
            | Self::Interrupted { .. } => false,
        }
    }
}

impl GitError {
    /// Whether an object is over the limit that the operation began with.
    pub(crate) fn needs_larger_objects(&self) -> bool {
        match self {
            Self::ObjectTooLarge { .. } => true,
            Self::Submodule { source: SubmoduleError::Git(source), .. } => source.needs_larger_objects(),
            _ => false,
        }
    }
}

impl Classify for GitError {
    fn reason(&self) -> Reason {
        match self {
            Self::Endpoint { .. } => Reason::UrlInvalid,
            Self::Empty { .. } => Reason::EmptyGitRepository,
            Self::Output { .. } | Self::Previous { .. } => Reason::ArchiveOperationFailed,
            Self::FileName { .. } | Self::Path { .. } => Reason::InvalidPath,
            Self::Ignore { .. } => Reason::SourceIgnoreError,
            Self::Mirror { .. } => Reason::CacheOperationFailed,
            Self::Client { .. }
            | Self::Connection { .. }
            | Self::Ssh { .. }
            | Self::OtherRepository { .. }
            | Self::NotGit { .. }
            | Self::NoShallow { .. }
            | Self::Range { .. }
            | Self::CommitId { .. }
            | Self::Unauthenticated { .. }
            | Self::Forbidden { .. }
            | Self::RepositoryNotFound { .. }
            | Self::ReferenceNotFound { .. }
            | Self::NoVersion { .. }
            | Self::CommitNotFound { .. }
            | Self::TooManyReferences { .. }
            | Self::Address { .. }
            | Self::NoSlot { .. }
            | Self::OverBudget { .. }
            | Self::ObjectTooLarge { .. }
            | Self::PackTooLarge { .. }
            | Self::NotOnBranch { .. }
            | Self::NotACommit { .. }
            | Self::OtherCommit { .. }
            | Self::Transport { .. }
            | Self::Status { .. }
            | Self::TimedOut { .. }
            | Self::Object { .. }
            | Self::TooLarge { .. }
            | Self::SparseCheckout { .. }
            | Self::Submodule { .. }
            | Self::Interrupted { .. } => Reason::GitOperationFailed,
        }
    }

    fn consequence(&self) -> Consequence {
        match self {
            // Only another spec helps.
            Self::Endpoint { .. } | Self::CommitId { .. } => Consequence::Stall,
            Self::Client { .. }
            | Self::Connection { .. }
            | Self::Ssh { .. }
            | Self::OtherRepository { .. }
            | Self::NotGit { .. }
            | Self::NoShallow { .. }
            | Self::Range { .. }
            | Self::Unauthenticated { .. }
            | Self::Forbidden { .. }
            | Self::RepositoryNotFound { .. }
            | Self::Empty { .. }
            | Self::ReferenceNotFound { .. }
            | Self::NoVersion { .. }
            | Self::CommitNotFound { .. }
            // The repository may change, an address may lead elsewhere, memory and slots become free: all of these are tried again.
            | Self::TooManyReferences { .. }
            | Self::Address { .. }
            | Self::NoSlot { .. }
            | Self::OverBudget { .. }
            | Self::ObjectTooLarge { .. }
            | Self::PackTooLarge { .. }
            | Self::NotOnBranch { .. }
            | Self::NotACommit { .. }
            | Self::OtherCommit { .. }
            | Self::Transport { .. }
            | Self::Status { .. }
            | Self::TimedOut { .. }
            | Self::Mirror { .. }
            | Self::Object { .. }
            | Self::FileName { .. }
            | Self::Path { .. }
            | Self::TooLarge { .. }
            | Self::Output { .. }
            | Self::Previous { .. }
            | Self::Ignore { .. }
            | Self::SparseCheckout { .. }
            | Self::Submodule { .. }
            | Self::Interrupted { .. } => Consequence::Retry,
        }
    }

    fn hint(&self) -> Option<String> {
        crate::remedy::of(self)
    }
}
