//! The asynchronous API: each session runs on a blocking thread, a few at a time and a share of them for each namespace, with a
//! deadline and an interrupt that is raised when its caller is dropped. Protocol and objects are in the other
//! modules.

use std::{
    cell::Cell,
    fs::File,
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use plumb_archive::{Previous, RestartableWrite, WrittenArchive};
use plumb_filetree::{MemoryTree, TreeLimits, digest::DigestAlgorithm};
use plumb_memory::{Limit, MemoryPool, MemoryReservation};
use plumb_transport::{Slots, address::AddressPolicy};
use tokio::runtime::Handle;

use crate::{
    bounds::{Bounds, InterruptOnDrop},
    checkout::{Assembly, Finish, Operation},
    connection::{Clients, Connection, Connector, Extent, REFERENCES, has_object},
    credential::Endpoint,
    error::GitError,
    greeting::Greetings,
    mirror::{Fetching, Mirror, Mirrors},
    pressure::PressureGuard,
    reference::{Found, Reference},
    signed::{self, RawObjects, SIGNED_OBJECTS},
    ssh::SshAlgorithms,
    threads::AbandonedThreads,
    tree::{self, Reader, Subject},
};

/// Fetches at the same time: each holds a pack's index and a tree in memory.
const FETCHES_MAX: usize = 4;
/// Lists at the same time.
const LISTS_MAX: usize = 16;
/// Bytes of one object with which a pack is received first. Nearly all repositories have no larger one.
const OBJECT_BYTES_USUAL: u64 = 16 << 20;
/// Copies of an object in memory while a delta is applied: what it starts from, the instructions, what comes out.
pub(crate) const OBJECT_COPIES: u64 = 3;
/// How long an operation waits for a slot: after a restart, all repositories of a namespace wait at once.
const SLOT_WAIT_MAX: Duration = Duration::from_mins(10);
/// What is charged while a pack is received.
const PACK: Limit = Limit { name: "objects of a pack", bytes_max: u64::MAX };
/// Memory of the files and paths of a commit in addition to the limits of the tree.
const PATHS_BYTES_MAX: u64 = 128 << 20;

/// What a repository may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a pack as it comes over the network.
    pub pack_bytes_max: u64,
    /// Bytes of all mirrors on the disk: those that were not used for the longest time are removed first.
    pub mirrors_bytes_max: u64,
    /// The resulting tree.
    pub tree: TreeLimits,
    /// Submodules of a repository, those of submodules included.
    pub submodules_max: usize,
    /// How many times submodules may be nested.
    pub submodule_depth_max: usize,
    /// How long an operation waits for a slot, before its own timeout begins.
    pub slot_wait_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pack_bytes_max: 1 << 30,
            mirrors_bytes_max: MIRRORS_BYTES_DEFAULT,
            tree: TreeLimits::DEFAULT,
            submodules_max: SUBMODULES_DEFAULT,
            submodule_depth_max: SUBMODULE_DEPTH_DEFAULT,
            slot_wait_max: SLOT_WAIT_MAX,
        }
    }
}

/// Bytes of all mirrors on the disk by default. The volume of the deployment has space for a pack in addition.
pub const MIRRORS_BYTES_DEFAULT: u64 = 2 << 30;

/// Submodules of a repository, at most, by default.
pub const SUBMODULES_DEFAULT: usize = 100;
/// How many times submodules may be nested, by default. Flux ends there, too.
pub const SUBMODULE_DEPTH_DEFAULT: usize = 10;

/// What all operations share and are bounded by.
#[derive(Clone, Debug)]
pub struct Resources {
    /// What the objects, paths and files of repositories are charged to.
    pub memory: MemoryPool,
    /// Where connections may go to.
    pub addresses: AddressPolicy,
    /// The algorithms of connections over SSH.
    pub ssh: SshAlgorithms,
}

/// Reads repositories; cheap to clone.
#[derive(Clone)]
pub struct Git {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) mirrors: Mirrors,
    pub(crate) limits: Limits,
    pub(crate) resources: Resources,
    lists: Slots,
    fetches: Slots,
    abandoned: AbandonedThreads,
    greetings: Greetings,
    clients: Clients,
}

/// The commit that was found; a fetch continues with the connection to the server, if there is one.
pub struct Session {
    connection: Option<Connection>,
    endpoint: Endpoint,
    found: Found,
    reference: Reference,
    consumer: String,
}

impl Session {
    /// What was found.
    pub fn found(&self) -> &Found {
        &self.found
    }
}

/// What of a commit is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Rules of what is left out, in addition to the repository's own.
    pub ignore: Option<String>,
    /// What the paths of files begin with; all files where it is empty.
    pub sparse_checkout: Vec<String>,
    /// Whether submodules are read, and theirs.
    pub recurse_submodules: bool,
    /// Whether what rules leave out is read nevertheless: the caller applies them.
    pub with_ignored: bool,
}

impl Selection {
    /// Whether some directories are selected: then files are fetched when they are read.
    pub(crate) fn is_partial(&self) -> bool {
        !self.sparse_checkout.is_empty()
    }
}

/// The files of a commit.
#[derive(Debug)]
pub struct Checkout {
    /// The reference and the commit it leads to.
    pub found: Found,
    /// The first line of the commit's message.
    pub summary: String,
    /// Its files, without what is ignored.
    pub tree: MemoryTree,
    /// What the files are charged to. Keep it as long as they are held.
    pub memory: MemoryReservation,
}

/// The files of a commit as an archive.
#[derive(Debug)]
pub struct ArchivedCommit<O> {
    /// The reference and the commit it leads to.
    pub found: Found,
    /// The first line of the commit's message.
    pub summary: String,
    /// What the archive was written to.
    pub output: O,
    /// The archive.
    pub archive: WrittenArchive,
}

impl Git {
    /// Keeps mirrors below `root`, which is made private to this user.
    pub fn open(root: &Path, limits: Limits, resources: Resources) -> io::Result<Self> {
        let inner = Inner {
            mirrors: Mirrors::open(root)?,
            limits,
            resources,
            lists: Slots::new(LISTS_MAX),
            fetches: Slots::new(FETCHES_MAX),
            abandoned: AbandonedThreads::default(),
            greetings: Greetings::default(),
            clients: Clients::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Finds the commit that a reference leads to. A bare commit is taken as it is: only the fetch shows whether it exists.
    /// `consumer` is the namespace that it is done for: each has its share of what runs at a time.
    pub async fn find(
        &self,
        consumer: &str,
        endpoint: &Endpoint,
        reference: &Reference,
        timeout: Duration,
    ) -> Result<Session, GitError> {
        let inner = Arc::clone(&self.inner);
        let (endpoint, reference) = (endpoint.clone(), reference.clone());
        let bounds = Bounds::new("list remote for", endpoint.url().to_string(), timeout);
        let (namespace, connector) = (consumer.to_owned(), self.connector());
        let work = move |bounds: &Bounds| {
            let key = &endpoint.greeting_key();
            // Without a list, the handshake alone shows that the server is there.
            let knew = if reference.prefix().is_none() {
                inner.greetings.forget(key);
                false
            } else {
                inner.greetings.knows(key)
            };
            let find = || inner.find(namespace.clone(), &endpoint, reference.clone(), &connector, bounds);
            match find() {
                Err(_) if knew && inner.greetings.forget(key) && bounds.check().is_ok() => find(),
                result => result,
            }
        };
        self.run(&self.inner.lists, consumer, bounds, work).await
    }

    /// A session for a commit that another session found for the same reference, without a request.
    pub fn session(
        &self,
        consumer: &str,
        endpoint: &Endpoint,
        reference: &Reference,
        found: Found,
    ) -> Session {
        let (endpoint, reference) = (endpoint.clone(), reference.clone());
        Session { connection: None, endpoint, found, reference, consumer: consumer.to_owned() }
    }

    /// The commit that a session found and the tags on the way to it, as Git hashes them. They are fetched if the mirror lacks them.
    pub fn signed_objects<'a>(
        &'a self,
        session: &Session,
        selection: &Selection,
        timeout: Duration,
    ) -> impl Future<Output = Result<RawObjects, GitError>> + Send + use<'a> {
        let inner = Arc::clone(&self.inner);
        let endpoint = session.endpoint.clone();
        let (found, consumer) = (session.found.clone(), session.consumer.clone());
        let is_partial = selection.is_partial();
        let key = endpoint.greeting_key();
        async move {
            let bounds = Bounds::new("fetch from", endpoint.url().to_string(), timeout);
            let (namespace, connector) = (consumer.clone(), self.connector());
            let work = move |bounds: &Bounds| {
                let mirror = inner.mirrors.hold(&inner.mirrors.name(&endpoint, is_partial), bounds)?;
                let extent = if is_partial { Extent::Directories } else { Extent::Commit };
                let wanted = (&found, extent, found.commit.kind());
                inner.signed_objects(wanted, &mirror, &namespace, &endpoint, &connector, bounds)
            };
            self.run_after_list(&consumer, bounds, &key, work).await
        }
    }

    /// The files of the commit that a session found, as far as they are selected, less what the repository's own rules leave out.
    pub async fn checkout(
        &self,
        session: Session,
        selection: &Selection,
        timeout: Duration,
    ) -> Result<Checkout, GitError> {
        self.run_checkout(session, selection, timeout, move |inner, session, selection, connector, bounds| {
            let finish =
                &mut |reader: Reader<'_>, repositories: &[&gix::Repository]| reader.finish(repositories);
            let (found, subject, (tree, memory)) =
                inner.checkout(session, selection, connector, bounds, finish)?;
            Ok(Checkout { found, summary: subject.summary, tree, memory })
        })
        .await
    }

    /// The same files as an archive. Members of an earlier archive are taken over where files, modes and paths are the same: then those
    /// files are not read.
    pub async fn archive<O: RestartableWrite + Send + 'static>(
        &self,
        session: Session,
        selection: &Selection,
        timeout: Duration,
        algorithm: DigestAlgorithm,
        previous: Option<Previous<File>>,
        mut output: O,
    ) -> Result<ArchivedCommit<O>, GitError> {
        self.run_checkout(session, selection, timeout, move |inner, session, selection, connector, bounds| {
            let mut previous = previous;
            let finish = &mut |reader: Reader<'_>, repositories: &[&gix::Repository]| {
                // One that cannot be read is not tried twice.
                let mut previous = previous.take();
                reader.archive(repositories, algorithm, previous.as_mut(), &mut output)
            };
            let (found, subject, archive) = inner.checkout(session, selection, connector, bounds, finish)?;
            Ok(ArchivedCommit { found, summary: subject.summary, output, archive })
        })
        .await
    }

    async fn run_checkout<T: Send + 'static>(
        &self,
        session: Session,
        selection: &Selection,
        timeout: Duration,
        work: impl FnOnce(&Inner, Session, &Selection, &Connector, &Bounds) -> Result<T, GitError>
        + Send
        + 'static,
    ) -> Result<T, GitError> {
        let inner = Arc::clone(&self.inner);
        let selection = selection.clone();
        let bounds = Bounds::new("fetch from", session.endpoint.url().to_string(), timeout);
        let (consumer, connector) = (session.consumer.clone(), self.connector());
        let key = session.endpoint.greeting_key();
        let work = move |bounds: &Bounds| work(&inner, session, &selection, &connector, bounds);
        self.run_after_list(&consumer, bounds, &key, work).await
    }

    /// Runs a fetch. One that fails may have gone by an old offer of the server: the next attempt asks anew.
    async fn run_after_list<T: Send + 'static>(
        &self,
        consumer: &str,
        bounds: Bounds,
        greeting_key: &str,
        work: impl FnOnce(&Bounds) -> Result<T, GitError> + Send + 'static,
    ) -> Result<T, GitError> {
        let result = self.run(&self.inner.fetches, consumer, bounds, work).await;
        if result.is_err() {
            self.inner.greetings.forget(greeting_key);
        }
        result
    }

    /// Removes mirrors that were not fetched into for a while, and those over the limit of all; how many were removed. HTTP
    /// clients that nobody used for ten minutes go, too.
    /// Blocking.
    pub fn sweep(&self, unused_for: Duration) -> io::Result<usize> {
        self.inner.clients.sweep(Instant::now());
        Ok(self.inner.mirrors.sweep(unused_for)?
            + self.inner.mirrors.evict(self.inner.limits.mirrors_bytes_max)?)
    }

    /// Number of threads whose caller was dropped and that have not ended yet. Each keeps its slot.
    pub fn abandoned_threads(&self) -> usize {
        self.inner.abandoned.count()
    }

    fn connector(&self) -> Connector {
        let Resources { addresses: policy, ssh, .. } = self.inner.resources.clone();
        let Inner { greetings, clients, .. } = &*self.inner;
        let (greetings, clients) = (greetings.clone(), clients.clone());
        Connector { policy, runtime: Handle::current(), greetings, clients, ssh }
    }

    /// Runs work on a blocking thread. The thread owns the slot and frees it when the thread ends, not when its caller
    /// is dropped. The timeout of the work begins when it has its slot: other operations cannot use it up.
    async fn run<T: Send + 'static>(
        &self,
        slots: &Slots,
        consumer: &str,
        bounds: Bounds,
        work: impl FnOnce(&Bounds) -> Result<T, GitError> + Send + 'static,
    ) -> Result<T, GitError> {
        let wait_max = self.inner.limits.slot_wait_max;
        let Ok(slot) = tokio::time::timeout(wait_max, slots.acquire(consumer)).await else {
            return Err(GitError::NoSlot {
                action: bounds.action,
                url: bounds.url,
                consumer: consumer.to_owned(),
                consumer_max: slots.consumer_max(),
                max: slots.max(),
                seconds: wait_max.as_secs(),
            });
        };
        let bounds = bounds.restarted();
        let (waiting, running) = self.inner.abandoned.watch();
        let _interrupt = InterruptOnDrop(bounds.interrupt.clone());
        let seen = bounds.clone();
        let thread = tokio::task::spawn_blocking(move || {
            let _held = (slot, running);
            work(&seen)
        });
        let ended = tokio::time::timeout_at(bounds.deadline.into(), thread).await;
        drop(waiting);
        match ended {
            Ok(result) => result.map_err(|_| bounds.interrupted())?,
            Err(_) => Err(bounds.timed_out()),
        }
    }
}

impl Inner {
    fn find(
        &self,
        consumer: String,
        endpoint: &Endpoint,
        reference: Reference,
        connector: &Connector,
        bounds: &Bounds,
    ) -> Result<Session, GitError> {
        let url = endpoint.url().as_str();
        let memory = || self.resources.memory.reservation(&consumer, REFERENCES);
        let mut connection = Connection::open(endpoint, connector, bounds)?;
        let refs = match reference.prefix() {
            Some(prefix) => connection.list(Some(&prefix), bounds, memory())?,
            None => Vec::new(),
        };
        match reference.choose(url, &refs) {
            Ok(found) => {
                connection.discharge();
                let equal = reference.equal_versions(&refs);
                let found = if equal.is_empty() {
                    found
                } else {
                    let hash = connection.object_hash();
                    self.newest(equal, hash, &consumer, endpoint, connector, bounds)?
                };
                let endpoint = connection.endpoint().clone();
                Ok(Session { connection: Some(connection), endpoint, found, reference, consumer })
            }
            Err(missing) => Err(connection.explain(missing, &refs, bounds, memory)),
        }
    }

    /// Of several tags of one version, the one whose commit is the newest; of commits of one second, the last one given. Commits
    /// that the mirror does not have are fetched.
    fn newest(
        &self,
        equal: Vec<Found>,
        hash: gix::hash::Kind,
        consumer: &str,
        endpoint: &Endpoint,
        connector: &Connector,
        bounds: &Bounds,
    ) -> Result<Found, GitError> {
        let mirror = self.mirrors.hold(&endpoint.keyed_name(self.mirrors.key()), bounds)?;
        let time = |found: &Found| {
            self.with_object_limit(|object_bytes| {
                if let Some(repository) = mirror.holding(found.commit, hash, object_bytes) {
                    return tree::committed_at(&repository, found.commit, bounds);
                }
                let mut open = Connection::open(endpoint, connector, bounds)?;
                let fetching = self.fetching(consumer, object_bytes, &mut open, connector, bounds)?;
                let repository = mirror.obtain(found, Extent::Commit, fetching)?;
                tree::committed_at(&repository, found.commit, bounds)
            })
        };
        let mut newest: Option<(i64, Found)> = None;
        for found in equal {
            let time = match time(&found) {
                Err(error) if error.blames_mirror() && mirror.exists() && bounds.check().is_ok() => {
                    mirror.discard()?;
                    time(&found)
                }
                time => time,
            };
            let time = time.map_err(|error| not_handed_out(error, &found))?;
            if newest.as_ref().is_none_or(|(newest, _)| time >= *newest) {
                newest = Some((time, found));
            }
        }
        let (_, found) = newest.ok_or_else(|| bounds.interrupted())?;
        Ok(found)
    }

    fn signed_objects(
        &self,
        (found, extent, hash): (&Found, Extent, gix::hash::Kind),
        mirror: &Mirror,
        consumer: &str,
        endpoint: &Endpoint,
        connector: &Connector,
        bounds: &Bounds,
    ) -> Result<RawObjects, GitError> {
        let had_content = mirror.exists();
        let attempt = || {
            self.with_object_limit(|object_bytes| {
                let memory = self.resources.memory.reservation(consumer, SIGNED_OBJECTS);
                let held = mirror.holding(found.commit, hash, object_bytes);
                if let Some(repository) = held.filter(|repository| has_object(repository, found.want)) {
                    return signed::read(&repository, found, memory, bounds);
                }
                let mut open = Connection::open(endpoint, connector, bounds)?;
                let fetching = self.fetching(consumer, object_bytes, &mut open, connector, bounds)?;
                let repository = mirror.obtain(found, extent, fetching)?;
                signed::read(&repository, found, memory, bounds)
            })
        };
        let result = match attempt() {
            Err(error) if error.blames_mirror() && had_content && bounds.check().is_ok() => {
                mirror.discard()?;
                attempt()
            }
            result => result,
        };
        result.map_err(|error| not_handed_out(error, found))
    }

    fn checkout<T>(
        &self,
        session: Session,
        selection: &Selection,
        connector: &Connector,
        bounds: &Bounds,
        finish: &mut Finish<'_, T>,
    ) -> Result<(Found, Subject, T), GitError> {
        let Session { connection, endpoint, found, reference, consumer } = session;
        // A fetch that failed leaves the rest of a response unread: the next one opens a new session.
        let mut first = connection;
        let name = endpoint.keyed_name(self.mirrors.key());
        if let Some((branch, tip)) = reference.must_hold(&found) {
            let is_held = self.with_object_limit(|object_bytes| {
                let mut open = match first.take() {
                    Some(open) => open,
                    None => Connection::open(&endpoint, connector, bounds)?,
                };
                let fetching = self.fetching(&consumer, object_bytes, &mut open, connector, bounds)?;
                self.mirrors.history_holds(&name, tip, found.commit, fetching)
            })?;
            if !is_held {
                let (url, commit) = (bounds.url.clone(), found.commit_hex());
                return Err(GitError::NotOnBranch { url, commit, branch: branch.to_owned() });
            }
        }
        let had_content = Cell::new(false);
        let mut attempt = |discard: bool| {
            self.with_object_limit(|object_bytes_max| {
                let operation =
                    Operation { git: self, consumer: &consumer, connector, bounds, object_bytes_max };
                let assembly = Assembly::new(operation, &endpoint, selection, discard, &had_content);
                assembly.assemble(&found, first.take(), selection, finish)
            })
        };
        let result = match attempt(false) {
            Err(GitError::Previous { commit, source }) if bounds.check().is_ok() => {
                tracing::warn!(url = %bounds.url, commit, error = %source, "cannot read the last archive, writing the next one without it");
                attempt(false)
            }
            Err(error) if error.blames_mirror() && had_content.get() && bounds.check().is_ok() => {
                tracing::warn!(url = %bounds.url, error = %plumb_status::chain(&error), "discarding the mirror and fetching again");
                attempt(true)
            }
            result => result,
        };
        if let Err(error) = self.mirrors.evict(self.limits.mirrors_bytes_max) {
            tracing::warn!(%error, "failed to evict mirrors");
        }
        let (subject, made) = result.map_err(|error| not_handed_out(error, &found))?;
        Ok((found, subject, made))
    }

    pub(crate) fn fetching<'a>(
        &self,
        consumer: &str,
        object_bytes_max: u64,
        connection: &'a mut Connection,
        connector: &Connector,
        bounds: &'a Bounds,
    ) -> Result<Fetching<'a>, GitError> {
        let mut memory = self.resources.memory.reservation(consumer, PACK);
        memory.try_grow(object_bytes_max.saturating_mul(OBJECT_COPIES)).map_err(|source| {
            GitError::OverBudget { action: bounds.action, url: bounds.url.clone(), source }
        })?;
        let guard =
            PressureGuard::start(&connector.runtime, &self.resources.memory, bounds.interrupt.clone());
        let pack_bytes_max = self.limits.pack_bytes_max;
        Ok(Fetching { connection, bounds, pack_bytes_max, object_bytes_max, memory, guard })
    }

    /// Tries with the usual limit of one object, and once more with the largest one where an object needs it: the memory for it is
    /// reserved only then.
    fn with_object_limit<T>(
        &self,
        mut attempt: impl FnMut(u64) -> Result<T, GitError>,
    ) -> Result<T, GitError> {
        let max = self.object_bytes_max();
        let usual = OBJECT_BYTES_USUAL.min(max);
        match attempt(usual) {
            Err(error) if error.needs_larger_objects() && usual < max => attempt(max),
            result => result,
        }
    }

    /// The largest object that is read: no larger than a file may be, and than a namespace has memory for.
    fn object_bytes_max(&self) -> u64 {
        let share = self.resources.memory.consumer_bytes_max() / (OBJECT_COPIES + 1);
        self.limits.tree.file_bytes_max.max(OBJECT_BYTES_USUAL).min(share)
    }

    pub(crate) fn files_limit(&self) -> Limit {
        let bytes_max = self.limits.tree.bytes_max.saturating_add(PATHS_BYTES_MAX);
        Limit { name: "files and paths of a commit", bytes_max }
    }
}

/// A server without the commit reports that in a line of its own.
pub(crate) fn not_handed_out(error: GitError, found: &Found) -> GitError {
    match error {
        GitError::Transport { url, detail, .. } if detail.contains("not our ref") => {
            GitError::CommitNotFound { url, commit: found.commit_hex() }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests;
