//! One connection to a server: handshake, list of references, one pack. Blocking; the task around it has the clock and the
//! interrupt flag. Choosing among references and keeping what was fetched are not done here.

use std::{
    cell::Cell,
    io::{self, BufRead, Read},
    num::NonZeroU32,
    path::Path,
    sync::atomic::AtomicBool,
    time::Instant,
};

use gix::{
    ObjectId,
    hash::Kind,
    objs::FindHeader,
    odb::pack,
    progress::Discard,
    protocol::{
        self, Handshake, LsRefsCommand,
        fetch::{self, Arguments, Negotiate, Response, Shallow, Tags, negotiate},
        handshake::Ref,
        ls_refs::RefPrefixes,
    },
};
use gix_transport::{
    Protocol, Service,
    client::{
        blocking_io::{Transport, http::Transport as HttpProtocol},
        git::{ConnectMode, blocking_io::Connection as ProgramProtocol},
    },
};
use plumb_memory::{Limit, MemoryReservation};
use plumb_transport::{ClientCache, ClientConfig, ConnectionError, Redirects, address::AddressPolicy};
use reqwest::StatusCode;
use tokio::runtime::Handle;

use crate::{
    bounds::Bounds,
    credential::{Access, ClientKey, Endpoint, HttpAccess},
    error::GitError,
    exchange::{Control, Fault, Shared},
    greeting::Greetings,
    reference::default_branch,
    ssh::{SshAlgorithms, SshConnector, SshFault, SshTarget, open},
    transport::HttpTransport,
};

/// How this client names itself to servers.
const AGENT: &str = concat!("plumb/", env!("CARGO_PKG_VERSION"));
/// History is not needed: one commit is fetched.
const DEPTH: NonZeroU32 = NonZeroU32::MIN;
/// Bytes of a handshake or of a list of references, as they come over the network.
pub(crate) const REFERENCES_BYTES_MAX: u64 = 16 << 20;
/// References in one list.
pub(crate) const REFERENCES_MAX: usize = 200_000;
/// What a list of references may hold in memory, and what each byte of the network takes there.
pub(crate) const REFERENCES: Limit =
    Limit { name: "references of a repository", bytes_max: REFERENCES_BYTES_MAX * REFERENCE_FACTOR };
const REFERENCE_FACTOR: u64 = 4;
/// The filter for a history of commits only.
const COMMITS_ONLY: &str = "tree:0";
/// The filter for commits and directories only.
const NO_FILES: &str = "blob:none";
/// Bytes of the protocol around a pack.
const PROTOCOL_BYTES_MAX: u64 = 16 << 20;

/// A connection to a Git server on which the handshake is done.
pub(crate) struct Connection {
    endpoint: Endpoint,
    transport: Box<dyn Transport + Send>,
    control: Control,
    handshake: Handshake,
}

/// What connections are opened with.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) policy: AddressPolicy,
    pub(crate) runtime: Handle,
    /// What servers offered; none of it where a server is to be asked.
    pub(crate) greetings: Greetings,
    /// Clients that are kept, all with the same policy of addresses.
    pub(crate) clients: Clients,
    pub(crate) ssh: SshAlgorithms,
}

/// HTTP clients, with the connections that are pooled in them.
pub(crate) type Clients = ClientCache<ClientKey, reqwest::Client>;

/// What is fetched.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    /// The commit, or the tag that leads to it, or files.
    pub(crate) wants: &'a [ObjectId],
    /// Commits that are complete here.
    pub(crate) haves: &'a [ObjectId],
    pub(crate) extent: Extent,
    /// Bytes of the pack.
    pub(crate) pack_bytes_max: u64,
    /// Bytes of one object, unpacked.
    pub(crate) object_bytes_max: u64,
}

/// How much of what leads to an object is fetched.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// One commit with its files.
    Commit,
    /// One commit with its directories, without files where the server can leave them out.
    Directories,
    /// All commits that lead to it, without files where the server can leave them out.
    History,
    /// The objects themselves: files.
    Objects,
}

impl Connection {
    /// Connects and performs the handshake.
    pub(crate) fn open(
        endpoint: &Endpoint,
        connector: &Connector,
        bounds: &Bounds,
    ) -> Result<Self, GitError> {
        let (mut transport, control) = match endpoint.access() {
            Access::Http(access) => http(endpoint, access, connector, bounds)?,
            Access::Ssh(target) => ssh(endpoint, target, connector, bounds)?,
        };
        let failed = |error: gix::Error| refine(endpoint, &control, bounds, &error);
        let handshake =
            protocol::handshake(&mut transport, Service::UploadPack, |_| Ok(None), Vec::new(), &mut Discard)
                .map_err(failed)?;
        Ok(Self { endpoint: endpoint.clone(), transport, control, handshake })
    }

    /// The references that start with a prefix, or all. `memory` is charged while they arrive.
    pub(crate) fn list(
        &mut self,
        prefix: Option<&str>,
        bounds: &Bounds,
        memory: MemoryReservation,
    ) -> Result<Vec<Ref>, GitError> {
        self.control.begin(bounds, REFERENCES_BYTES_MAX);
        self.control.charge(memory, REFERENCE_FACTOR);
        let refs = if let Some(refs) = &self.handshake.refs {
            refs.clone()
        } else {
            let prefixes = prefix.map(|prefix| {
                let mut prefixes = RefPrefixes::new();
                prefixes.extend([prefix.into()]);
                prefixes
            });
            LsRefsCommand::new(prefixes, &self.handshake.capabilities, agent())
                .invoke_blocking(&mut self.transport, &mut Discard, false)
                .map_err(|error| refine(&self.endpoint, &self.control, bounds, &error))?
        };
        if refs.len() > REFERENCES_MAX {
            let (url, max) = (self.endpoint.url().to_string(), REFERENCES_MAX as u64);
            return Err(GitError::TooManyReferences { url, max, unit: "references" });
        }
        Ok(refs)
    }

    /// An error for a missing reference, with what else the repository has: nothing at all, or another default branch. `listed` is
    /// what was listed for the reference.
    pub(crate) fn explain(
        &mut self,
        missing: GitError,
        listed: &[Ref],
        bounds: &Bounds,
        memory: impl Fn() -> MemoryReservation,
    ) -> GitError {
        // Where nothing was listed, only the whole list shows whether the repository is empty.
        let prefix = if listed.is_empty() { None } else { Some("HEAD") };
        match self.list(prefix, bounds, memory()) {
            Ok(all) if listed.is_empty() && all.iter().all(|listed| matches!(listed, Ref::Unborn { .. })) => {
                GitError::Empty { url: self.endpoint.url().to_string() }
            }
            Ok(all) => match missing {
                GitError::ReferenceNotFound { url, reference, field, default_branch: _ } => {
                    let default_branch = default_branch(&all);
                    GitError::ReferenceNotFound { url, reference, field, default_branch }
                }
                other => other,
            },
            Err(GitError::TooManyReferences { .. }) => missing,
            Err(error) => error,
        }
    }

    /// Gives back what [`Self::list`] was charged: its references are no longer held.
    pub(crate) fn discharge(&self) {
        self.control.discharge();
    }

    /// How the repository names its objects.
    pub(crate) fn object_hash(&self) -> Kind {
        let format = self.handshake.capabilities.capability("object-format");
        let is_sha256 =
            format.and_then(|format| format.value().map(|value| value == "sha256")).unwrap_or(false);
        if is_sha256 { Kind::Sha256 } else { Kind::Sha1 }
    }

    fn can_filter(&self) -> bool {
        let fetch = self.handshake.capabilities.capability("fetch");
        fetch.is_some_and(|fetch| fetch.supports("filter").unwrap_or(false))
    }

    /// Whether the server can leave out history.
    fn can_be_shallow(&self) -> bool {
        let capabilities = &self.handshake.capabilities;
        match capabilities.capability("fetch") {
            Some(fetch) => fetch.supports("shallow").unwrap_or(false),
            None => capabilities.contains("shallow"),
        }
    }

    /// Fetches a commit, or what leads to it, into a repository.
    pub(crate) fn fetch(
        &mut self,
        repository: &gix::Repository,
        request: Request<'_>,
        bounds: &Bounds,
    ) -> Result<(), GitError> {
        self.control.begin(bounds, request.pack_bytes_max.saturating_add(PROTOCOL_BYTES_MAX));
        let pack_directory = repository.objects.store_ref().path().join("pack");
        let filter = match request.extent {
            Extent::History => Some(COMMITS_ONLY),
            Extent::Directories => Some(NO_FILES),
            Extent::Commit | Extent::Objects => None,
        };
        let filter = filter.filter(|_| self.can_filter());
        let can_be_shallow = self.can_be_shallow();
        let mut wanted = Wanted { wants: request.wants, haves: request.haves, filter };
        let is_over = Cell::new(false);
        let receive =
            |reader: &mut dyn BufRead, progress: &mut dyn gix::DynNestedProgress, interrupt: &AtomicBool| {
                let mut bounded = Bounded { inner: reader, left: request.pack_bytes_max, is_over: &is_over };
                receive_pack(&mut bounded, progress, interrupt, &pack_directory, repository, request)
            };
        let context = fetch::Context {
            handshake: &mut self.handshake,
            transport: &mut self.transport,
            user_agent: agent(),
            trace_packetlines: false,
        };
        let shallow = match request.extent {
            Extent::Commit | Extent::Directories => Shallow::DepthAtRemote(DEPTH),
            Extent::History | Extent::Objects => Shallow::NoChange,
        };
        // gix would leave the depth out without a word, and fetch all history.
        if matches!(shallow, Shallow::DepthAtRemote(_)) && !can_be_shallow {
            return Err(GitError::NoShallow { url: self.endpoint.url().to_string() });
        }
        let options = fetch::Options {
            shallow_file: repository.git_dir().join("shallow"),
            shallow: &shallow,
            tags: Tags::None,
            reject_shallow_remote: false,
        };
        protocol::fetch(&mut wanted, receive, Discard, bounds.interrupt.flag(), context, options)
            .map(|_| ())
            .map_err(|error| match refine(&self.endpoint, &self.control, bounds, &error) {
                GitError::Transport { url, .. } if is_over.get() => {
                    GitError::PackTooLarge { url, max: request.pack_bytes_max }
                }
                GitError::Transport { url, .. } if error.is_resource_exhausted() => {
                    GitError::ObjectTooLarge { url, max: request.object_bytes_max }
                }
                refined => refined,
            })
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

fn agent() -> protocol::command::Feature {
    ("agent", Some(AGENT.to_owned()))
}

type Opened = (Box<dyn Transport + Send>, Control);

fn http(
    endpoint: &Endpoint,
    access: &HttpAccess,
    connector: &Connector,
    bounds: &Bounds,
) -> Result<Opened, GitError> {
    // Redirects are followed by the transport, by Git's rule; its waits have the deadline of the operation.
    let build = || {
        let config = ClientConfig {
            trust: access.trust.clone(),
            proxy: access.proxy.clone(),
            addresses: Some(connector.policy),
            redirects: Redirects::None,
            ..ClientConfig::default()
        };
        config.build()
    };
    let client = connector.clients.get_or_build(access.client_key(), Instant::now(), build);
    let client = client.map_err(|source| GitError::Client { url: endpoint.url().to_string(), source })?;
    let (runtime, greetings) = (connector.runtime.clone(), connector.greetings.clone());
    let kept = (runtime, greetings, access.peer_digest());
    let (policy, credential) = (connector.policy, access.bound.clone());
    let (http, control) = HttpTransport::new(client, kept, policy, credential, bounds, REFERENCES_BYTES_MAX);
    let url = gix::url::parse(endpoint.url().as_str())
        .map_err(|error| refine(endpoint, &control, bounds, &error))?;
    Ok((Box::new(HttpProtocol::new_http(http, url, Protocol::V2, false)), control))
}

fn ssh(
    endpoint: &Endpoint,
    target: &SshTarget,
    connector: &Connector,
    bounds: &Bounds,
) -> Result<Opened, GitError> {
    let (shared, control) = Shared::new(connector.runtime.clone(), bounds, REFERENCES_BYTES_MAX);
    let ssh = SshConnector { policy: connector.policy, algorithms: &connector.ssh };
    let (output, input) = open(target, &ssh, &shared)
        .map_err(|error| refine(endpoint, &control, bounds, &gix::Error::from_error(error)))?;
    let (path, no_host) = (target.path.as_str(), None::<(&str, Option<u16>)>);
    let protocol =
        ProgramProtocol::new(output, input, Protocol::V2, path, no_host, ConnectMode::Process, false);
    Ok((Box::new(protocol.custom_url(Some(endpoint.url().as_str().into()))), control))
}

fn receive_pack(
    reader: &mut Bounded<'_>,
    progress: &mut dyn gix::DynNestedProgress,
    interrupt: &AtomicBool,
    directory: &Path,
    repository: &gix::Repository,
    request: Request<'_>,
) -> gix::Result<bool> {
    let options = pack::bundle::write::Options {
        // One fetch does not take all cores: several run at the same time.
        thread_limit: Some(1),
        alloc_limit_bytes: usize::try_from(request.object_bytes_max).ok(),
        ..pack::bundle::write::Options::default()
    };
    let outcome = pack::Bundle::write_to_directory(
        reader,
        Some(directory),
        progress,
        interrupt,
        Some(repository.objects.clone()),
        repository.object_hash(),
        options,
    )?;
    if let Some(keep) = outcome.keep_path {
        // Garbage is never collected here, so the marker against that is not needed; leaving it is harmless.
        let _ = std::fs::remove_file(keep);
    }
    Ok(true)
}

/// The negotiation for known objects: one round, with all known tips.
struct Wanted<'a> {
    wants: &'a [ObjectId],
    haves: &'a [ObjectId],
    filter: Option<&'static str>,
}

impl Negotiate for Wanted<'_> {
    fn mark_complete_and_common_ref(&mut self) -> gix::Result<negotiate::Action> {
        Ok(negotiate::Action::MustNegotiate { remote_ref_target_known: vec![false] })
    }

    fn add_wants(&mut self, arguments: &mut Arguments, _known: &[bool]) -> bool {
        for want in self.wants {
            arguments.want(want);
        }
        if let Some(filter) = self.filter {
            arguments.filter(filter);
        }
        true
    }

    fn one_round(
        &mut self,
        state: &mut negotiate::one_round::State,
        arguments: &mut Arguments,
        _previous: Option<&Response>,
    ) -> gix::Result<(negotiate::Round, bool)> {
        for have in self.haves {
            arguments.have(have);
        }
        let round = negotiate::Round {
            haves_sent: self.haves.len(),
            in_vain: 0,
            haves_to_send: state.haves_to_send,
            previous_response_had_at_least_one_in_common: false,
        };
        Ok((round, true))
    }
}

/// A reader that ends with an error at its limit, and notes that it did: gix carries errors as text.
struct Bounded<'a> {
    inner: &'a mut dyn BufRead,
    left: u64,
    is_over: &'a Cell<bool>,
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.spend(read)?;
        Ok(read)
    }
}

impl BufRead for Bounded<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Err(self.over());
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.left = self.left.saturating_sub(amount as u64);
        self.inner.consume(amount);
    }
}

impl Bounded<'_> {
    fn spend(&mut self, read: usize) -> io::Result<()> {
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| self.over())?;
        Ok(())
    }

    fn over(&self) -> io::Error {
        self.is_over.set(true);
        io::Error::other("the pack is over its limit")
    }
}

/// Whether an object of any kind is there.
pub(crate) fn has_object(repository: &gix::Repository, id: ObjectId) -> bool {
    repository.objects.try_header(&id).is_ok_and(|header| header.is_some())
}

/// The typed error of the transport: its recorded cause, else gix's own text.
fn refine(endpoint: &Endpoint, control: &Control, bounds: &Bounds, error: &gix::Error) -> GitError {
    let (action, url) = (bounds.action, endpoint.url().to_string());
    let sent = endpoint.credential_origin();
    match control.take_fault() {
        Some(Fault::Interrupted) => return bounds.interrupted(),
        Some(Fault::TimedOut) => return bounds.timed_out(),
        Some(Fault::Connection(ConnectionError::Address(source))) => {
            return GitError::Address { url, source };
        }
        Some(Fault::Connection(source)) => return GitError::Connection { action, url, source },
        Some(Fault::OverBudget(source)) => return GitError::OverBudget { action, url, source },
        Some(Fault::TooLarge { bytes_max }) if bytes_max == REFERENCES_BYTES_MAX => {
            return GitError::TooManyReferences { url, max: bytes_max, unit: "bytes of references" };
        }
        Some(Fault::Status(StatusCode::UNAUTHORIZED)) => return GitError::Unauthenticated { url, sent },
        Some(Fault::Status(StatusCode::FORBIDDEN)) => return GitError::Forbidden { url, sent },
        Some(Fault::Status(StatusCode::NOT_FOUND | StatusCode::GONE)) => {
            return GitError::RepositoryNotFound { url, sent };
        }
        Some(Fault::Status(status)) => return GitError::Status { action, url, status: status.as_u16() },
        Some(Fault::OtherRepository { target }) => return GitError::OtherRepository { url, target },
        Some(Fault::NotGit) => return GitError::NotGit { url },
        Some(Fault::Ssh(SshFault::RepositoryNotFound)) => return GitError::RepositoryNotFound { url, sent },
        Some(Fault::Ssh(source)) => return GitError::Ssh { action, url, source },
        Some(Fault::TooLarge { .. }) | None => {}
    }
    if let Err(over) = bounds.check() {
        return over;
    }
    GitError::Transport { action, url, detail: endpoint.scrub(&innermost(error)) }
}

/// The innermost cause that has a text: those around it only name the layer that met it.
fn innermost(error: &gix::Error) -> String {
    let parts = error.iter_errors().flat_map(successors).map(ToString::to_string);
    parts.filter(|text| !text.is_empty()).last().unwrap_or_else(|| error.to_string())
}

fn successors<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn std::error::Error + 'static)| (*error).source())
}
