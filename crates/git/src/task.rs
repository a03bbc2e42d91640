//! The asynchronous face: each conversation runs on a blocking thread, a few at a time, with a deadline and an interrupt flag that
//! is raised when nobody waits for it any more. Protocol and objects are the business of the other rooms.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use plumb_filetree::{MemoryTree, TreeLimits};
use tokio::sync::Semaphore;

use crate::{
    credential::Endpoint,
    error::GitError,
    mirror::Mirrors,
    reference::{Found, Reference},
    session::Conversation,
    tree,
};

/// Fetches at the same time: each holds a pack's index and a tree in memory.
const FETCHES_MAX: usize = 4;
/// Lists at the same time.
const LISTS_MAX: usize = 16;

/// What a repository may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a pack as it comes over the network.
    pub pack_bytes_max: u64,
    /// The resulting tree.
    pub tree: TreeLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self { pack_bytes_max: 1 << 30, tree: TreeLimits::DEFAULT }
    }
}

/// Reads repositories; cheap to clone.
#[derive(Clone)]
pub struct Git {
    inner: Arc<Inner>,
}

struct Inner {
    mirrors: Mirrors,
    limits: Limits,
    lists: Semaphore,
    fetches: Semaphore,
}

/// An open conversation with a server that found the commit; a fetch goes on with it.
pub struct Session {
    conversation: Conversation,
    found: Found,
}

impl Session {
    /// What was found.
    pub fn found(&self) -> &Found {
        &self.found
    }
}

/// The files of a commit.
#[derive(Clone, Debug)]
pub struct Checkout {
    /// What was asked for and where it leads.
    pub found: Found,
    /// The first line of the commit's message.
    pub summary: String,
    /// Its files, without what is ignored.
    pub tree: MemoryTree,
}

impl Git {
    /// Keeps mirrors below `root`, which is made private to this user.
    pub fn open(root: &Path, limits: Limits) -> io::Result<Self> {
        let inner = Inner {
            mirrors: Mirrors::open(root)?,
            limits,
            lists: Semaphore::new(LISTS_MAX),
            fetches: Semaphore::new(FETCHES_MAX),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Finds the commit that a reference leads to. A bare commit is taken as it is: only the fetch shows whether it exists.
    pub async fn find(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        timeout: Duration,
    ) -> Result<Session, GitError> {
        let (endpoint, reference) = (endpoint.clone(), reference.clone());
        let url = endpoint.url().to_string();
        run("list remote for", url, &self.inner.lists, timeout, move |deadline, _| {
            find(&endpoint, &reference, remaining(deadline))
        })
        .await
    }

    /// The files of the commit that a session found, less what `spec_ignore` and the repository's own rules leave out.
    pub async fn checkout(
        &self,
        session: Session,
        spec_ignore: Option<&str>,
        timeout: Duration,
    ) -> Result<Checkout, GitError> {
        let inner = Arc::clone(&self.inner);
        let ignore = spec_ignore.map(str::to_owned);
        let url = session.conversation.endpoint().url().to_string();
        run("fetch from", url, &self.inner.fetches, timeout, move |deadline, interrupt| {
            inner.checkout(session, ignore.as_deref(), deadline, interrupt)
        })
        .await
    }

    /// Removes mirrors that were not fetched into for a while; how many were removed. Blocking.
    pub fn sweep(&self, unused_for: Duration) -> io::Result<usize> {
        self.inner.mirrors.sweep(unused_for)
    }
}

fn find(endpoint: &Endpoint, reference: &Reference, timeout: Duration) -> Result<Session, GitError> {
    let url = endpoint.url().as_str();
    let mut conversation = Conversation::open(endpoint, timeout)?;
    let refs = match reference.prefix() {
        Some(prefix) => conversation.list(Some(&prefix))?,
        None => Vec::new(),
    };
    match reference.choose(url, &refs) {
        Ok(found) => Ok(Session { conversation, found }),
        // A repository without any reference is empty: that is said rather than that one of them is missing.
        Err(_) if refs.is_empty() && is_empty(&mut conversation)? => {
            Err(GitError::Empty { url: url.to_owned() })
        }
        Err(error) => Err(error),
    }
}

fn is_empty(conversation: &mut Conversation) -> Result<bool, GitError> {
    use gix::protocol::handshake::Ref;
    Ok(conversation.list(None)?.iter().all(|listed| matches!(listed, Ref::Unborn { .. })))
}

impl Inner {
    fn checkout(
        &self,
        session: Session,
        ignore: Option<&str>,
        deadline: Instant,
        interrupt: &AtomicBool,
    ) -> Result<Checkout, GitError> {
        let Session { mut conversation, found } = session;
        let endpoint = conversation.endpoint().clone();
        let url = endpoint.url().to_string();
        let mirror = self.mirrors.hold(&endpoint.keyed_name(self.mirrors.key()), &url, deadline)?;
        let had_content = mirror.exists();
        let attempt = |conversation: &mut Conversation| {
            let repository = mirror.obtain(conversation, &found, self.limits.pack_bytes_max, interrupt)?;
            tree::read(&repository, &url, found.commit, ignore, self.limits.tree)
        };
        let (subject, tree) = match attempt(&mut conversation) {
            Err(error) if error.blames_mirror() && had_content && !interrupt.load(Ordering::Relaxed) => {
                tracing::warn!(%url, error = %plumb_status::chain(&error), "the mirror is thrown away and fetched anew");
                mirror.discard()?;
                attempt(&mut Conversation::open(&endpoint, remaining(deadline))?)
            }
            result => result,
        }
        .map_err(|error| not_handed_out(error, &found))?;
        Ok(Checkout { found, summary: subject.summary, tree })
    }
}

/// A server that does not have a commit says so in a line of its own.
fn not_handed_out(error: GitError, found: &Found) -> GitError {
    match error {
        GitError::Transport { url, detail, .. } if detail.contains("not our ref") => {
            GitError::CommitNotFound { url, commit: found.commit_hex() }
        }
        other => other,
    }
}

fn remaining(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

/// Raises the flag when it is dropped, so that a task nobody waits for ends.
struct Interrupt(Arc<AtomicBool>);

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

async fn run<T: Send + 'static>(
    action: &'static str,
    url: String,
    slots: &Semaphore,
    timeout: Duration,
    work: impl FnOnce(Instant, &AtomicBool) -> Result<T, GitError> + Send + 'static,
) -> Result<T, GitError> {
    let deadline = Instant::now() + timeout;
    let flag = Interrupt(Arc::new(AtomicBool::new(false)));
    let seen = Arc::clone(&flag.0);
    let interrupted = || GitError::Interrupted { action, url: url.clone() };
    let attempt = async {
        let _slot = slots.acquire().await.map_err(|_| interrupted())?;
        tokio::task::spawn_blocking(move || work(deadline, &seen)).await.map_err(|_| interrupted())?
    };
    match tokio::time::timeout(timeout, attempt).await {
        Ok(result) => result,
        Err(_) => Err(GitError::TimedOut { action, url: url.clone(), seconds: timeout.as_secs() }),
    }
}

#[cfg(test)]
mod tests;
