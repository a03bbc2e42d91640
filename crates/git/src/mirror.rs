//! A bare repository on disk, cached per URL and credential, so that the next fetch transfers only new objects. It can be deleted
//! at any time. Its name is a keyed hash: it does not reveal a credential. Artifacts are never served from here.

use std::{
    cell::Cell,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use gix::{ObjectId, hash::Kind, odb::pack::cache::lru::MemoryCappedHashmap};

use plumb_memory::MemoryReservation;

use crate::{
    bounds::Bounds,
    connection::{Connection, Extent, Request, has_object},
    credential::Endpoint,
    error::GitError,
    leftovers,
    pressure::PressureGuard,
    reference::Found,
};

/// With more packs than this the mirror is fetched again from empty: packs are never merged otherwise.
const PACKS_MAX: usize = 64;
/// A mirror this many times as large as when it was fresh is fetched again.
const GROWTH_MAX: u64 = 2;
/// Below this size growth is not checked.
const GROWTH_FROM_BYTES: u64 = 4 << 20;
/// Tips that are sent to the server as known.
const TIPS_MAX: usize = 16;
/// How often a lock that another operation holds is tried.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Cached bytes of delta bases between reads of a mirror, at most.
const BASE_CACHE_BYTES_MAX: usize = 8 << 20;
/// The repository for reading a branch's history, next to the mirror.
const HISTORY_SUFFIX: &str = ".history";
/// The suffix of mirrors without all files.
const PARTIAL_SUFFIX: &str = ".partial";
const LOCK_SUFFIX: &str = ".lock";

const KEY_FILE: &str = "key";
const KEY_LENGTH: usize = 32;
const TIPS_FILE: &str = "plumb-tips";

/// The directory of all mirrors.
pub(crate) struct Mirrors {
    root: PathBuf,
    key: [u8; KEY_LENGTH],
}

/// What a fetch into a mirror needs, and what bounds it.
pub(crate) struct Fetching<'a> {
    pub(crate) connection: &'a mut Connection,
    pub(crate) bounds: &'a Bounds,
    /// Bytes of the pack.
    pub(crate) pack_bytes_max: u64,
    /// Bytes of one object, unpacked.
    pub(crate) object_bytes_max: u64,
    /// What objects in memory are charged to, until the pack is stored.
    pub(crate) memory: MemoryReservation,
    /// What ends the fetch when the process holds more than is charged.
    pub(crate) guard: PressureGuard,
}

impl Fetching<'_> {
    fn fetch(
        self,
        repository: &gix::Repository,
        wants: &[ObjectId],
        haves: &[ObjectId],
        extent: Extent,
    ) -> Result<(), GitError> {
        let Fetching { connection, bounds, pack_bytes_max, object_bytes_max, memory, guard } = self;
        let request = Request { wants, haves, extent, pack_bytes_max, object_bytes_max };
        let fetched = connection.fetch(repository, request, bounds);
        drop(memory);
        match guard.verdict() {
            Some(source) if fetched.is_err() => {
                Err(GitError::OverBudget { action: bounds.action, url: bounds.url.clone(), source })
            }
            _ => fetched,
        }
    }
}

/// One mirror, held by this task alone.
pub(crate) struct Mirror {
    directory: PathBuf,
    url: String,
    lock: File,
    /// Whether its size was looked at since it is held: what is in use is not discarded.
    is_checked: Cell<bool>,
}

impl Drop for Mirror {
    fn drop(&mut self) {
        // Closing the file is not enough where a process is started at this moment: it has a copy of the file until it runs.
        if let Err(error) = self.lock.unlock() {
            tracing::debug!(url = %self.url, %error, "failed to unlock the mirror");
        }
    }
}

impl Mirrors {
    /// Opens or creates the directory, with a stored key for names.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        make_directory(root)?;
        let path = root.join(KEY_FILE);
        let key = match read_key(&path) {
            // Cut off when the disk was full or the machine stopped: mirrors under the old names are swept later.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                fs::remove_file(&path)?;
                make_key(root)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_key(root),
            read => read,
        }?;
        Ok(Self { root: root.to_owned(), key })
    }

    pub(crate) fn key(&self) -> &[u8; KEY_LENGTH] {
        &self.key
    }

    /// The name of the mirror of a repository: of the one with whole commits, or of the one with those files that were read.
    pub(crate) fn name(&self, endpoint: &Endpoint, is_partial: bool) -> String {
        let suffix = if is_partial { PARTIAL_SUFFIX } else { "" };
        format!("{}{suffix}", endpoint.keyed_name(&self.key))
    }

    /// Locks a mirror; waits within the bounds while another operation holds it.
    pub(crate) fn hold(&self, name: &str, bounds: &Bounds) -> Result<Mirror, GitError> {
        loop {
            if let Some(mirror) = self.try_hold(name, &bounds.url)? {
                mirror.clear_leftovers()?;
                return Ok(mirror);
            }
            bounds.check()?;
            std::thread::sleep(LOCK_PAUSE);
        }
    }

    /// Locks a mirror unless another operation holds it.
    fn try_hold(&self, name: &str, url: &str) -> Result<Option<Mirror>, GitError> {
        let failed = |error: io::Error| failure("lock", url, &error);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(self.root.join(format!("{name}{LOCK_SUFFIX}")))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // Whoever held it before may have removed the file: then this lock is of a file without a name, and holds nobody off.
        let named = fs::metadata(self.root.join(format!("{name}{LOCK_SUFFIX}")));
        let inode = lock.metadata().map_err(failed)?.ino();
        if !named.is_ok_and(|named| named.ino() == inode) {
            return Ok(None);
        }
        let (directory, url) = (self.root.join(name), url.to_owned());
        Ok(Some(Mirror { directory, url, lock, is_checked: Cell::new(false) }))
    }

    /// Whether a commit is part of what leads to a tip. The history is fetched to a place of its own and removed again: in the
    /// mirror, which is shallow, its commits would be taken for known ones.
    pub(crate) fn history_holds(
        &self,
        name: &str,
        tip: ObjectId,
        commit: ObjectId,
        fetching: Fetching<'_>,
    ) -> Result<bool, GitError> {
        let mirror = self.hold(&format!("{name}{HISTORY_SUFFIX}"), fetching.bounds)?;
        mirror.discard()?;
        let (kind, object_bytes_max) = (fetching.connection.object_hash(), fetching.object_bytes_max);
        let repository = mirror.create(kind)?;
        fetching.fetch(&repository, &[tip], &[], Extent::History)?;
        let repository = mirror
            .open(kind, object_bytes_max)
            .ok_or_else(|| mirror.failed("open", &io::ErrorKind::InvalidData.into()))?;
        let is_held = has_object(&repository, commit);
        drop(repository);
        mirror.discard()?;
        Ok(is_held)
    }

    /// Removes mirrors that were not used for a while; returns their number.
    pub(crate) fn sweep(&self, unused_for: Duration) -> io::Result<usize> {
        let mut removed = 0;
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            match name.strip_suffix(LOCK_SUFFIX) {
                Some(name) if is_older(entry.metadata()?.modified()?, unused_for) => {
                    removed += usize::from(self.remove(name)?);
                }
                Some(_) => {}
                None => self.sweep_key(&entry, &name, unused_for)?,
            }
        }
        Ok(removed)
    }

    /// Removes mirrors until all together have no more than so many bytes: those first that were not used for the longest time.
    /// One that is in use stays. How many were removed.
    pub(crate) fn evict(&self, bytes_max: u64) -> io::Result<usize> {
        let mut mirrors = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(name) = name.strip_suffix(LOCK_SUFFIX) {
                let bytes = packs(&self.root.join(name)).map_or(0, |(_, bytes)| bytes);
                mirrors.push((entry.metadata()?.modified()?, name.to_owned(), bytes));
            }
        }
        mirrors.sort();
        let mut total: u64 = mirrors.iter().map(|(_, _, bytes)| bytes).sum();
        let mut removed = 0;
        for (_, name, bytes) in mirrors.iter().filter(|(_, _, bytes)| *bytes > 0) {
            if total > bytes_max && self.remove(name)? {
                total -= bytes;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Removes a mirror that is not locked, and its lock; returns whether there was one.
    fn remove(&self, name: &str) -> io::Result<bool> {
        let Some(mirror) = self.try_hold(name, "").map_err(io::Error::other)? else { return Ok(false) };
        let is_there = mirror.directory.exists();
        if is_there {
            fs::remove_dir_all(&mirror.directory)?;
        }
        // While it is held: a waiter sees that its file has no name any more, and makes another one.
        fs::remove_file(self.root.join(format!("{name}{LOCK_SUFFIX}")))?;
        Ok(is_there)
    }

    /// Removes the temporary file of a key whose process was killed before it was renamed.
    fn sweep_key(&self, entry: &fs::DirEntry, name: &str, unused_for: Duration) -> io::Result<()> {
        let is_temporary = name.strip_prefix(KEY_FILE).is_some_and(|rest| rest.starts_with('.'));
        if is_temporary && is_older(entry.metadata()?.modified()?, unused_for) {
            fs::remove_file(self.root.join(name))?;
        }
        Ok(())
    }
}

/// How many packs a mirror has, and how many bytes its objects.
fn packs(directory: &Path) -> io::Result<(usize, u64)> {
    let (mut packs, mut bytes) = (0, 0);
    for entry in fs::read_dir(directory.join("objects/pack"))? {
        let entry = entry?;
        bytes += entry.metadata()?.len();
        packs += usize::from(entry.path().extension().is_some_and(|extension| extension == "pack"));
    }
    Ok((packs, bytes))
}

fn is_older(than: SystemTime, age: Duration) -> bool {
    SystemTime::now().duration_since(than).is_ok_and(|passed| passed > age)
}

impl Mirror {
    /// Notes that it is used now: those that were not used for the longest time are evicted first.
    pub(crate) fn touch(&self) -> Result<(), GitError> {
        self.lock.set_modified(SystemTime::now()).map_err(|error| self.failed("write", &error))
    }

    /// The repository with the commit in it, fetched if it was not there: with its files or, in a mirror for that, with its
    /// directories only.
    pub(crate) fn obtain(
        &self,
        found: &Found,
        extent: Extent,
        fetching: Fetching<'_>,
    ) -> Result<gix::Repository, GitError> {
        self.touch()?;
        if !self.is_checked.replace(true) && self.is_overgrown() {
            self.discard()?;
        }
        let kind = fetching.connection.object_hash();
        let object_bytes_max = fetching.object_bytes_max;
        let mut state = self.read_state().unwrap_or_default();
        let repository = if let Some(repository) = self.open(kind, object_bytes_max) {
            repository
        } else {
            self.discard()?;
            state = State::default();
            self.create(kind)?
        };
        let has_all = [found.commit, found.want].into_iter().all(|id| has_object(&repository, id));
        if state.tips.contains(&found.commit) && has_all {
            return Ok(repository);
        }
        fetching.fetch(&repository, &[found.want], &state.tips, extent)?;
        // Packs that were added after the repository was opened are found by opening it again.
        let repository = self
            .open(kind, object_bytes_max)
            .ok_or_else(|| self.failed("open", &io::ErrorKind::InvalidData.into()))?;
        if !has_object(&repository, found.commit) {
            return Err(self.failed("find the commit in", &io::ErrorKind::NotFound.into()));
        }
        state.tips.retain(|tip| *tip != found.commit);
        state.tips.insert(0, found.commit);
        state.tips.truncate(TIPS_MAX);
        if state.fresh_bytes == 0 {
            state.fresh_bytes = packs(&self.directory).map_or(0, |(_, bytes)| bytes);
        }
        self.write_state(&state).map_err(|error| self.failed("write", &error))?;
        Ok(repository)
    }

    /// The repository with further objects in it.
    pub(crate) fn add(
        &self,
        repository: &gix::Repository,
        wants: &[ObjectId],
        fetching: Fetching<'_>,
    ) -> Result<gix::Repository, GitError> {
        let (kind, object_bytes_max) = (repository.object_hash(), fetching.object_bytes_max);
        // Nothing is said to be known: the commits that are here lack files.
        fetching.fetch(repository, wants, &[], Extent::Objects)?;
        self.open(kind, object_bytes_max)
            .ok_or_else(|| self.failed("open", &io::ErrorKind::InvalidData.into()))
    }

    /// The repository, if it has the commit already. Nothing is fetched.
    pub(crate) fn holding(
        &self,
        commit: ObjectId,
        kind: Kind,
        object_bytes_max: u64,
    ) -> Option<gix::Repository> {
        let is_complete = self.read_state()?.tips.contains(&commit);
        let repository = self.open(kind, object_bytes_max).filter(|_| is_complete)?;
        has_object(&repository, commit).then_some(repository)
    }

    /// Deletes the leftovers of a process that was killed while it held this mirror. The lock ended with that process, so
    /// every other lock and temporary file in here is stale.
    fn clear_leftovers(&self) -> Result<(), GitError> {
        if !self.directory.exists() {
            return Ok(());
        }
        if self.read_state().is_none() {
            // No fetch was ever finished: there is nothing to keep, and what is there may be half made.
            return self.discard();
        }
        match leftovers::clear(&self.directory) {
            Ok(0) => Ok(()),
            Ok(cleared) => {
                tracing::info!(url = %self.url, cleared, "cleared files that a killed process left in the mirror");
                Ok(())
            }
            Err(error) => {
                tracing::warn!(url = %self.url, %error, "failed to clear the mirror, discarding it");
                self.discard()
            }
        }
    }

    /// Throws the mirror away; the next use starts from empty.
    pub(crate) fn discard(&self) -> Result<(), GitError> {
        match fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed("remove", &error)),
            _ => Ok(()),
        }
    }

    pub(crate) fn exists(&self) -> bool {
        self.directory.join(TIPS_FILE).exists()
    }

    /// Opens the repository. No object over the limit is read from it, and its object cache is small.
    fn open(&self, kind: Kind, object_bytes_max: u64) -> Option<gix::Repository> {
        let options = gix::open::Options::isolated()
            .open_path_as_is(true)
            .strict_config(false)
            .config_overrides([format!("gitoxide.objects.allocLimit={object_bytes_max}")]);
        let mut repository = gix::open_opts(&self.directory, options).ok()?;
        // gix heeds core.deltaBaseCacheLimit only with its feature max-performance, which starts threads.
        repository.objects.set_pack_cache(|| Box::new(MemoryCappedHashmap::new(BASE_CACHE_BYTES_MAX)));
        (repository.object_hash() == kind).then_some(repository)
    }

    fn create(&self, kind: Kind) -> Result<gix::Repository, GitError> {
        make_directory(&self.directory).map_err(|error| self.failed("create", &error))?;
        let create = gix::create::Options { object_hash: Some(kind), ..gix::create::Options::default() };
        gix::ThreadSafeRepository::init_opts(
            &self.directory,
            gix::create::Kind::Bare,
            create,
            gix::open::Options::isolated(),
        )
        .map(|repository| repository.to_thread_local())
        .map_err(|error| GitError::Mirror {
            action: "create",
            url: self.url.clone(),
            detail: error.to_string(),
        })
    }

    fn is_overgrown(&self) -> bool {
        let (Ok((packs, bytes)), Some(state)) = (packs(&self.directory), self.read_state()) else {
            return false;
        };
        packs > PACKS_MAX
            || (bytes > GROWTH_FROM_BYTES && bytes > state.fresh_bytes.saturating_mul(GROWTH_MAX))
    }

    fn read_state(&self) -> Option<State> {
        let text = fs::read_to_string(self.directory.join(TIPS_FILE)).ok()?;
        let (first, rest) = text.split_once('\n')?;
        let tips = rest.lines().filter_map(|line| ObjectId::from_hex(line.as_bytes()).ok()).collect();
        Some(State { fresh_bytes: first.parse().ok()?, tips })
    }

    fn write_state(&self, state: &State) -> io::Result<()> {
        let lines =
            std::iter::once(state.fresh_bytes.to_string()).chain(state.tips.iter().map(ToString::to_string));
        let text: String = lines.map(|line| line + "\n").collect();
        let temporary = self.directory.join(format!("{TIPS_FILE}.new"));
        fs::write(&temporary, text)?;
        fs::rename(temporary, self.directory.join(TIPS_FILE))
    }

    fn failed(&self, action: &'static str, error: &io::Error) -> GitError {
        failure(action, &self.url, error)
    }
}

/// The metadata of a mirror: its size when it was fresh, and the commits that are complete in it, newest first.
#[derive(Default)]
struct State {
    fresh_bytes: u64,
    tips: Vec<ObjectId>,
}

fn failure(action: &'static str, url: &str, error: &io::Error) -> GitError {
    GitError::Mirror { action, url: url.to_owned(), detail: error.to_string() }
}

fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn read_key(path: &Path) -> io::Result<[u8; KEY_LENGTH]> {
    let mut key = [0; KEY_LENGTH];
    File::open(path)?.read_exact(&mut key)?;
    Ok(key)
}

/// Makes the key; where another process was quicker, its key counts.
fn make_key(root: &Path) -> io::Result<[u8; KEY_LENGTH]> {
    let mut key = [0; KEY_LENGTH];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    let temporary = root.join(format!("{KEY_FILE}.{}", std::process::id()));
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
    file.write_all(&key)?;
    let linked = fs::hard_link(&temporary, root.join(KEY_FILE));
    fs::remove_file(&temporary)?;
    match linked {
        Ok(()) => Ok(key),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read_key(&root.join(KEY_FILE)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_directory_is_private_and_its_key_stays() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("plumb-git");
        let first = *Mirrors::open(&path).unwrap().key();
        assert_eq!(first, *Mirrors::open(&path).unwrap().key());
        assert_ne!(first, [0; KEY_LENGTH]);
        fs::write(path.join(KEY_FILE), "cut off").unwrap();
        assert_ne!(first, *Mirrors::open(&path).unwrap().key());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(path.join(KEY_FILE)).unwrap().permissions().mode() & 0o777, 0o600);
    }

    fn held(mirrors: &Mirrors, name: &str) -> Result<Mirror, GitError> {
        mirrors.hold(name, &Bounds::new("fetch from", "http://x".into(), Duration::ZERO))
    }

    #[test]
    fn a_mirror_is_held_by_one_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let mirrors = Mirrors::open(root.path()).unwrap();
        let first = held(&mirrors, "a").unwrap();
        assert!(matches!(held(&mirrors, "a"), Err(GitError::TimedOut { .. })));
        assert!(held(&mirrors, "b").is_ok());
        drop(first);
        assert!(held(&mirrors, "a").is_ok());
    }

    #[test]
    fn a_waiter_for_a_mirror_leaves_the_queue_when_its_caller_is_dropped() {
        let root = tempfile::tempdir().unwrap();
        let mirrors = Mirrors::open(root.path()).unwrap();
        let _first = held(&mirrors, "a").unwrap();
        let bounds = Bounds::new("fetch from", "http://x".into(), Duration::from_hours(1));
        bounds.interrupt.raise();
        assert!(matches!(mirrors.hold("a", &bounds), Err(GitError::Interrupted { .. })));
    }

    #[test]
    fn unused_mirrors_are_swept() {
        let root = tempfile::tempdir().unwrap();
        let mirrors = Mirrors::open(root.path()).unwrap();
        let mirror = held(&mirrors, "a").unwrap();
        mirror.create(Kind::Sha1).unwrap();
        mirror.lock.set_modified(SystemTime::now() - Duration::from_mins(30)).unwrap();
        assert_eq!(mirrors.sweep(Duration::ZERO).unwrap(), 0, "it is held");
        drop(mirror);
        assert_eq!(mirrors.sweep(Duration::from_hours(1)).unwrap(), 0, "it is young");
        assert_eq!(mirrors.sweep(Duration::from_mins(10)).unwrap(), 1);
        assert_eq!(mirrors.sweep(Duration::from_mins(10)).unwrap(), 0);
    }

    #[test]
    fn a_lock_goes_with_its_mirror_and_a_waiter_makes_another_one() {
        let root = tempfile::tempdir().unwrap();
        let mirrors = Mirrors::open(root.path()).unwrap();
        let locks = || {
            let names = fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name());
            names.filter(|name| name.to_string_lossy().ends_with(LOCK_SUFFIX)).count()
        };
        for name in ["with-mirror", "without"] {
            let mirror = held(&mirrors, name).unwrap();
            if name == "with-mirror" {
                mirror.create(Kind::Sha1).unwrap();
            }
            mirror.lock.set_modified(SystemTime::now() - Duration::from_mins(30)).unwrap();
        }
        assert_eq!((mirrors.sweep(Duration::from_mins(10)).unwrap(), locks()), (1, 0));
        // A waiter that opened the file before it was removed.
        let first = held(&mirrors, "a").unwrap();
        let waiter = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let bounds = Bounds::new("fetch from", "http://x".into(), Duration::from_mins(1));
                mirrors.hold("a", &bounds).map(|mirror| mirror.lock.metadata().unwrap().ino())
            });
            fs::remove_file(root.path().join(format!("a{LOCK_SUFFIX}"))).unwrap();
            drop(first);
            waiting.join().unwrap().unwrap()
        });
        assert_eq!(fs::metadata(root.path().join(format!("a{LOCK_SUFFIX}"))).unwrap().ino(), waiter);
    }

    #[test]
    fn over_the_total_the_least_recently_used_mirrors_are_deleted_first() {
        let root = tempfile::tempdir().unwrap();
        let mirrors = Mirrors::open(root.path()).unwrap();
        let make = |name: &str, unused_minutes| {
            let mirror = held(&mirrors, name).unwrap();
            mirror.create(Kind::Sha1).unwrap();
            fs::write(mirror.directory.join("objects/pack/pack-1.pack"), [0; 1000]).unwrap();
            mirror.lock.set_modified(SystemTime::now() - Duration::from_mins(unused_minutes)).unwrap();
            mirror
        };
        let oldest_in_use = make("in-use", 90);
        for (name, minutes) in [("young", 1), ("old", 60), ("older", 80)] {
            drop(make(name, minutes));
        }
        let left = || -> Vec<bool> {
            ["in-use", "older", "old", "young"].iter().map(|name| root.path().join(name).exists()).collect()
        };
        assert_eq!((mirrors.evict(4000).unwrap(), left()), (0, vec![true; 4]));
        assert_eq!((mirrors.evict(2500).unwrap(), left()), (2, vec![true, false, false, true]));
        drop(oldest_in_use);
        assert_eq!((mirrors.evict(1000).unwrap(), left()), (1, vec![false, false, false, true]));
    }
}
