//! A bare repository on disk that is kept per URL and credential, so that the next fetch only brings what is new. It can be thrown
//! away at any time. Its name is a keyed hash: nobody learns a credential from it. What is served to others never comes from here.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
    time::{Duration, Instant, SystemTime},
};

use gix::{ObjectId, hash::Kind};

use crate::{
    error::GitError,
    leftovers,
    reference::Found,
    session::{Conversation, has_object},
};

/// More packs than this, and the mirror is fetched anew from empty: nothing else ever joins packs.
const PACKS_MAX: usize = 64;
/// A mirror this many times as large as when it was fresh is fetched anew.
const GROWTH_MAX: u64 = 2;
/// Below this size growth is not looked at.
const GROWTH_FROM_BYTES: u64 = 4 << 20;
/// Tips that are told to the server as known.
const TIPS_MAX: usize = 16;
/// How often a lock that someone else holds is tried.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

const KEY_FILE: &str = "key";
const KEY_LENGTH: usize = 32;
const TIPS_FILE: &str = "plumb-tips";

/// The directory of all mirrors.
pub(crate) struct Mirrors {
    root: PathBuf,
    key: [u8; KEY_LENGTH],
}

/// One mirror, held by this task alone.
pub(crate) struct Mirror {
    directory: PathBuf,
    url: String,
    _lock: File,
}

impl Mirrors {
    /// Opens or makes the directory, with a key for names that is kept in it.
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

    /// Takes hold of a mirror; waits until `deadline` while someone else has it.
    pub(crate) fn hold(&self, name: &str, url: &str, deadline: Instant) -> Result<Mirror, GitError> {
        let failed = |error: io::Error| failure("lock", url, &error);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(self.root.join(format!("{name}.lock")))
            .map_err(failed)?;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_PAUSE),
                Err(TryLockError::WouldBlock) => return Err(failed(io::ErrorKind::TimedOut.into())),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
        let mirror = Mirror { directory: self.root.join(name), url: url.to_owned(), _lock: lock };
        mirror.clear_leftovers()?;
        Ok(mirror)
    }

    /// Removes mirrors that nobody fetched into for a while; how many were removed.
    pub(crate) fn sweep(&self, unused_for: Duration) -> io::Result<usize> {
        let mut removed = 0;
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(name) = name.strip_suffix(".lock") else {
                self.sweep_key(&entry, &name, unused_for)?;
                continue;
            };
            let directory = self.root.join(name);
            let tips = fs::metadata(directory.join(TIPS_FILE)).and_then(|tips| tips.modified());
            let used = tips.or_else(|_| entry.metadata().and_then(|lock| lock.modified()))?;
            if is_older(used, unused_for) && self.hold(name, "", Instant::now()).is_ok() {
                // The lock file stays: whoever waits for it must not be left holding a file that is gone.
                if directory.exists() {
                    fs::remove_dir_all(&directory)?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
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

fn is_older(than: SystemTime, age: Duration) -> bool {
    SystemTime::now().duration_since(than).is_ok_and(|passed| passed > age)
}

impl Mirror {
    /// The repository with the commit in it, fetched if it was not there. `is_fresh` tells whether it was built from empty.
    pub(crate) fn obtain(
        &self,
        conversation: &mut Conversation,
        found: &Found,
        pack_bytes_max: u64,
        interrupt: &AtomicBool,
    ) -> Result<gix::Repository, GitError> {
        if self.is_overgrown() {
            self.discard()?;
        }
        let kind = conversation.object_hash();
        let mut state = self.read_state().unwrap_or_default();
        let repository = if let Some(repository) = self.open(kind) {
            repository
        } else {
            self.discard()?;
            state = State::default();
            self.create(kind)?
        };
        if state.tips.contains(&found.commit) && has_object(&repository, found.commit) {
            return Ok(repository);
        }
        conversation.fetch(&repository, found.want, &state.tips, pack_bytes_max, interrupt)?;
        // Packs that came in after the repository was opened are found by opening it again.
        let repository =
            self.open(kind).ok_or_else(|| self.failed("open", &io::ErrorKind::InvalidData.into()))?;
        if !has_object(&repository, found.commit) {
            return Err(self.failed("find the commit in", &io::ErrorKind::NotFound.into()));
        }
        state.tips.retain(|tip| *tip != found.commit);
        state.tips.insert(0, found.commit);
        state.tips.truncate(TIPS_MAX);
        if state.fresh_bytes == 0 {
            state.fresh_bytes = self.packs().map_or(0, |(_, bytes)| bytes);
        }
        self.write_state(&state).map_err(|error| self.failed("write", &error))?;
        Ok(repository)
    }

    /// Clears what a process left that was killed while it held this mirror. The lock ended with that process, so whoever
    /// holds it now knows that every other lock and temporary file in here belongs to nobody.
    fn clear_leftovers(&self) -> Result<(), GitError> {
        if !self.directory.exists() {
            return Ok(());
        }
        if self.read_state().is_none() {
            // No fetch was ever finished: there is nothing to keep, and what is there may be half made.
            return self.discard();
        }
        leftovers::clear(&self.directory)
            .map(|cleared| {
                if cleared > 0 {
                    tracing::info!(url = %self.url, cleared, "cleared files that a killed process left in the mirror");
                }
            })
            .map_err(|error| self.failed("clear", &error))
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

    fn open(&self, kind: Kind) -> Option<gix::Repository> {
        let options = gix::open::Options::isolated().open_path_as_is(true).strict_config(false);
        let repository = gix::open_opts(&self.directory, options).ok()?;
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
        let (Ok((packs, bytes)), Some(state)) = (self.packs(), self.read_state()) else { return false };
        packs > PACKS_MAX
            || (bytes > GROWTH_FROM_BYTES && bytes > state.fresh_bytes.saturating_mul(GROWTH_MAX))
    }

    fn packs(&self) -> io::Result<(usize, u64)> {
        let (mut packs, mut bytes) = (0, 0);
        for entry in fs::read_dir(self.directory.join("objects/pack"))? {
            let entry = entry?;
            bytes += entry.metadata()?.len();
            packs += usize::from(entry.path().extension().is_some_and(|extension| extension == "pack"));
        }
        Ok((packs, bytes))
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

/// What a mirror knows about itself: its size when it was fresh, and the commits that are complete in it, newest first.
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

    #[test]
    fn a_mirror_is_held_by_one_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let mirrors = Mirrors::open(root.path()).unwrap();
        let held = mirrors.hold("a", "http://x", Instant::now()).unwrap();
        assert!(mirrors.hold("a", "http://x", Instant::now()).is_err());
        assert!(mirrors.hold("b", "http://x", Instant::now()).is_ok());
        drop(held);
        assert!(mirrors.hold("a", "http://x", Instant::now()).is_ok());
    }

    #[test]
    fn unused_mirrors_are_swept() {
        let root = tempfile::tempdir().unwrap();
        let mirrors = Mirrors::open(root.path()).unwrap();
        let mirror = mirrors.hold("a", "http://x", Instant::now()).unwrap();
        mirror.create(Kind::Sha1).unwrap();
        mirror.write_state(&State::default()).unwrap();
        assert_eq!(mirrors.sweep(Duration::ZERO).unwrap(), 0, "it is held");
        drop(mirror);
        assert_eq!(mirrors.sweep(Duration::from_hours(1)).unwrap(), 0, "it is young");
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(mirrors.sweep(Duration::ZERO).unwrap(), 1);
    }
}
