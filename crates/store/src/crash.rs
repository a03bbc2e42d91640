//! A process that is killed in the middle of a write, at seeded moments: what was announced matches its digest, and nothing of
//! the killed process stays.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use bytes::Bytes;
use plumb_filetree::{MemoryTree, RelPath, TreeLimits};

use crate::{ArtifactStore, Integrity, Location};

/// Set for the child: the root of its store.
const CHILD_ROOT: &str = "PLUMB_STORE_CRASH_ROOT";
/// How many moments are tried, when it is not the sample below.
const KILLS: &str = "PLUMB_KILLS";
const KILLS_SAMPLED: u64 = 24;
/// The longest time from an announcement to the kill: some writes.
const DELAY_MICROSECONDS: u64 = 20_000;
/// Writes until the child stops by itself.
const WRITES_MAX: u64 = 100_000;

fn location() -> Location {
    Location::new("GitRepository", "default", "podinfo").unwrap()
}

/// A tree whose archive takes some milliseconds to write.
fn tree(write: u64) -> MemoryTree {
    let lines = (0..20_000).map(|line: u64| format!("{:x}\n", line.wrapping_mul(write + 1)));
    let text = lines.collect::<Vec<_>>().concat();
    let mut builder = MemoryTree::builder(TreeLimits::DEFAULT);
    builder.file(&RelPath::parse("a.yaml").unwrap(), Bytes::from(text), false).unwrap();
    builder.build()
}

/// The process that is killed: it announces each artifact after it was written.
#[test]
fn child() {
    let Ok(root) = std::env::var(CHILD_ROOT) else { return };
    let store = ArtifactStore::open(Path::new(&root)).unwrap();
    let mut out = std::io::stdout();
    for write in 0..WRITES_MAX {
        // Three names, so that files are written over as well.
        let (written, _) =
            store.put(&location(), &format!("{}.tar.gz", write % 3), &tree(write % 3)).unwrap();
        writeln!(out, "\nADVERTISED {} {}", written.path, written.digest).unwrap();
        out.flush().unwrap();
    }
}

fn advertised_until_killed(root: &Path, delay: Duration) -> Vec<(String, String)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--nocapture"])
        .env(CHILD_ROOT, root)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut advertised = Vec::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || loop {
        let line = lines.next()?.ok()?;
        if let Some((path, digest)) = line.strip_prefix("ADVERTISED ").and_then(|rest| rest.split_once(' ')) {
            return Some((path.to_owned(), digest.to_owned()));
        }
    };
    advertised.extend(next());
    std::thread::sleep(delay);
    child.kill().unwrap();
    child.wait().unwrap();
    advertised.extend(std::iter::from_fn(next));
    advertised
}

#[test]
fn what_is_advertised_matches_its_digest_after_a_kill_at_any_moment() {
    let kills = std::env::var(KILLS).ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS_SAMPLED);
    let root = tempfile::tempdir().unwrap();
    let mut seed: u64 = 0x2545_f491_4f6c_dd1d;
    for kill in 0..kills {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let delay = Duration::from_micros(seed % DELAY_MICROSECONDS);
        let advertised = advertised_until_killed(root.path(), delay);
        assert!(!advertised.is_empty(), "kill {kill}: the child wrote nothing");
        let store = ArtifactStore::open(root.path()).unwrap();
        for (path, digest) in &advertised {
            let integrity = store.verify(&location(), path, digest).unwrap();
            assert_eq!(integrity, Integrity::Intact, "kill {kill} after {delay:?}: {path}");
        }
        let folder = root.path().join("gitrepository/default/podinfo");
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = names.filter(|name| !name.to_string_lossy().ends_with(".tar.gz")).collect();
        assert!(left.is_empty(), "kill {kill} after {delay:?}: {left:?}");
    }
}
