//! The bytes of an archive are a function of its files alone, whether parts of it were taken over or not.

use std::{cell::Cell, collections::BTreeMap, convert::Infallible, io::Cursor};

use plumb_memory::{Limit, MemoryPool};

use super::*;
use crate::{UnpackLimits, unpack};

/// Path, content and whether it may be executed.
type Files = BTreeMap<String, (String, bool)>;

/// A content whose id is itself.
#[derive(Clone, Debug)]
struct Text(String);

impl Content for Text {
    fn id(&self) -> Option<&[u8]> {
        Some(self.0.as_bytes())
    }
}

fn path(text: &str) -> RelPath {
    RelPath::parse(text).unwrap()
}

fn listing(files: &Files) -> Listing<Text> {
    let file = |(at, (text, executable)): (&String, &(String, bool))| Entry {
        path: path(at),
        content: EntryContent::File { executable: *executable, content: Text(text.clone()) },
    };
    Listing::new(files.iter().map(file).collect(), TreeLimits::DEFAULT).unwrap()
}

const OPTIONS: ArchiveOptions =
    ArchiveOptions { algorithm: DigestAlgorithm::Sha256, limits: TreeLimits::DEFAULT };

struct Archived {
    bytes: Vec<u8>,
    written: WrittenArchive,
    /// Files that were read.
    reads: usize,
}

impl Archived {
    fn of(files: &Files, previous: Option<&Self>) -> Self {
        let mut previous = previous.and_then(|previous| {
            let WrittenArchive { digest, index, .. } = &previous.written;
            let index = ArchiveIndex::decode(index.as_ref()?, digest.as_str())?;
            Some(Previous { index, archive: Cursor::new(previous.bytes.clone()) })
        });
        let reads = Cell::new(0);
        let read = |_: &RelPath, content: &Text, buffer: &mut Vec<u8>| {
            assert!(buffer.is_empty());
            reads.set(reads.get() + 1);
            buffer.extend_from_slice(content.0.as_bytes());
            Ok::<_, Infallible>(())
        };
        let mut bytes = Vec::new();
        let written = write(&listing(files), OPTIONS, previous.as_mut(), read, &mut bytes).unwrap();
        assert_eq!(written.digest, FileDigest::of(DigestAlgorithm::Sha256, &bytes));
        assert_eq!(written.size, bytes.len() as u64);
        Self { bytes, written, reads: reads.get() }
    }

    fn unpacked(&self) -> Files {
        let pool = MemoryPool::new(1 << 30);
        let limit = Limit { name: "x", bytes_max: u64::MAX };
        let mut memory = pool.reservation("x", limit);
        let tree = unpack(&self.bytes, &UnpackLimits::DEFAULT, &mut memory).unwrap();
        let text = |content: &Bytes| String::from_utf8(content.to_vec()).unwrap();
        tree.files().map(|(at, file)| (at.to_string(), (text(&file.content), file.executable))).collect()
    }
}

fn files(all: &[(&str, &str)]) -> Files {
    all.iter().map(|(at, text)| ((*at).to_owned(), ((*text).to_owned(), false))).collect()
}

/// 30 directories of 50 files, and one of 1000.
fn large() -> Files {
    let small = (0..1500).map(|at| format!("apps/{:02}/deep/{at}.yaml", at % 30));
    let flat = (0..1000).map(|at| format!("flat/{at}.yaml"));
    small.chain(flat).map(|at| (at.clone(), (format!("of: {at}\n"), false))).collect()
}

/// The sequence that is the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

#[test]
fn a_change_of_one_file_reads_only_the_files_beside_it() {
    let mut files = large();
    let first = Archived::of(&files, None);
    assert_eq!(first.reads, files.len());
    assert_eq!(first.unpacked(), files);
    let same = Archived::of(&files, Some(&first));
    assert_eq!((same.reads, &same.bytes), (0, &first.bytes));
    assert_eq!(same.written.index, first.written.index);
    for (at, reads_max) in [("apps/07/deep/7.yaml", 50), ("flat/77.yaml", 400)] {
        files.insert(at.to_owned(), ("changed".to_owned(), false));
        let next = Archived::of(&files, Some(&first));
        let whole = Archived::of(&files, None);
        assert!(next.reads <= reads_max, "{at}: {} files were read", next.reads);
        assert_eq!(next.bytes, whole.bytes, "{at}");
        assert_eq!(next.written.directories, whole.written.directories, "{at}");
        assert_eq!(next.written.index, whole.written.index, "{at}");
        files = large();
    }
}

/// Paths on which directories cross the size of a member in both directions.
fn any_path(random: &mut Random) -> String {
    let depth = random.below(4);
    let directories = (0..depth).map(|_| ["a", "b", "a-b", "c"][random.below(4)]);
    let mut parts: Vec<String> = directories.map(str::to_owned).collect();
    parts.push(format!("file-{}", random.below(300)));
    parts.join("/")
}

#[test]
fn after_any_changes_the_archive_is_the_one_that_is_written_from_the_start() {
    let mut random = Random(1);
    let mut files = Files::new();
    let mut last: Option<Archived> = None;
    let mut taken_over = 0;
    for step in 0..120 {
        for _ in 0..[1, 5, 200][random.below(3)] {
            let at = any_path(&mut random);
            let (removed, flipped) = (random.below(3) == 0, random.below(5) == 0);
            if removed {
                files.remove(&at);
            } else if let (Some((_, executable)), true) = (files.get_mut(&at), flipped) {
                *executable = !*executable;
            } else {
                files.insert(at, (random.below(1000).to_string(), random.below(9) == 0));
            }
        }
        if step % 40 == 39 {
            files.retain(|at, _| at.len() < 10);
        }
        let (whole, next) = (Archived::of(&files, None), Archived::of(&files, last.as_ref()));
        assert_eq!(next.bytes, whole.bytes, "step {step}");
        assert_eq!(next.written.directories, whole.written.directories, "step {step}");
        assert_eq!(next.written.index, whole.written.index, "step {step}");
        taken_over += whole.reads - next.reads;
        if step % 10 == 0 {
            assert_eq!(next.unpacked(), files, "step {step}");
        }
        last = Some(next);
    }
    assert!(taken_over > 10_000, "{taken_over} files were not read");
}

#[test]
fn an_index_that_is_damaged_or_of_another_archive_is_ignored() {
    let first = Archived::of(&large(), None);
    let WrittenArchive { digest, index, .. } = &first.written;
    let index = index.clone().unwrap();
    assert!(ArchiveIndex::decode(&index, digest.as_str()).is_some());
    assert!(ArchiveIndex::decode(&index, &format!("sha256:{}", "0".repeat(64))).is_none());
    for at in [0, 70, index.len() / 2, index.len() - 1] {
        let mut damaged = index.clone();
        damaged[at] ^= 1;
        assert!(ArchiveIndex::decode(&damaged, digest.as_str()).is_none(), "byte {at}");
        assert!(ArchiveIndex::decode(&index[..at], digest.as_str()).is_none(), "cut off at {at}");
    }
}

#[test]
fn an_earlier_archive_that_is_cut_off_is_an_error_of_its_own() {
    let first = Archived::of(&large(), None);
    let index = ArchiveIndex::decode(&first.written.index.unwrap(), first.written.digest.as_str()).unwrap();
    let mut previous = Previous { index, archive: Cursor::new(first.bytes[..1000].to_vec()) };
    let read = |_: &RelPath, _: &Text, _: &mut Vec<u8>| Ok::<_, Infallible>(());
    let error = write(&listing(&large()), OPTIONS, Some(&mut previous), read, Vec::new()).unwrap_err();
    assert!(matches!(error, WriteError::Previous { .. }), "{error}");
}

#[test]
fn limits_hold_for_what_is_read_and_for_what_is_taken_over() {
    let files = large();
    let first = Archived::of(&files, None);
    let bytes: u64 = files.values().map(|(text, _)| text.len() as u64).sum();
    let attempt = |bytes_max, file_bytes_max, with_previous: bool| {
        let index =
            ArchiveIndex::decode(first.written.index.as_ref().unwrap(), first.written.digest.as_str())
                .unwrap();
        let mut previous = Previous { index, archive: Cursor::new(first.bytes.clone()) };
        let limits = TreeLimits { bytes_max, file_bytes_max, ..TreeLimits::DEFAULT };
        let read = |_: &RelPath, content: &Text, buffer: &mut Vec<u8>| {
            buffer.extend_from_slice(content.0.as_bytes());
            Ok::<_, Infallible>(())
        };
        let previous = with_previous.then_some(&mut previous);
        write(&listing(&files), ArchiveOptions { limits, ..OPTIONS }, previous, read, Vec::new())
    };
    for with_previous in [true, false] {
        attempt(bytes, 100, with_previous).unwrap();
        let error = attempt(bytes - 1, 100, with_previous).unwrap_err();
        assert!(matches!(error, WriteError::Limit(TreeError::TooManyBytes { .. })), "{error}");
    }
    let error = attempt(bytes, 10, false).unwrap_err();
    assert!(error.to_string().starts_with("file apps/00/deep/"), "{error}");
}

#[test]
fn files_of_a_tree_in_memory_give_the_same_bytes() {
    let mut files = large();
    files.insert("flat/run.sh".to_owned(), ("#!".to_owned(), true));
    let mut tree = MemoryTree::builder(TreeLimits::DEFAULT);
    for (at, (text, executable)) in &files {
        tree.file(&path(at), Bytes::from(text.clone()), *executable).unwrap();
    }
    let mut bytes = Vec::new();
    let written = write_tree(&tree.build(), DigestAlgorithm::Sha256, &mut bytes).unwrap();
    let other = Archived::of(&files, None);
    assert_eq!(bytes, other.bytes);
    assert_eq!(written.directories, other.written.directories);
    assert_eq!(written.index, None, "contents in memory have no ids");
}

#[test]
fn entries_carry_modes_but_no_owner_and_no_time() {
    let long = format!("{}/x.yaml", "long-name".repeat(14));
    let mut all = files(&[("a.yaml", "a"), (&long, "x")]);
    all.insert("b/run.sh".to_owned(), ("run".to_owned(), true));
    let archived = Archived::of(&all, None);
    let mut tar = tar::Archive::new(flate2::read::MultiGzDecoder::new(archived.bytes.as_slice()));
    let mut seen = Vec::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header().clone();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 0));
        assert_eq!(header.username().unwrap(), Some(""));
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        seen.push((entry.path().unwrap().display().to_string(), header.mode().unwrap(), content));
    }
    assert_eq!(seen[0], ("a.yaml".into(), 0o600, "a".into()));
    assert_eq!(seen[1], ("b/".into(), 0o750, String::new()));
    assert_eq!(seen[2], ("b/run.sh".into(), 0o700, "run".into()));
    assert_eq!(seen[4].2, "x");
}

#[test]
fn entries_come_in_one_order_with_the_directories_above_them() {
    let file = |at: &str| Entry {
        path: path(at),
        content: EntryContent::File { executable: false, content: Text(at.to_owned()) },
    };
    let all = vec![
        file("b/c/x"),
        Entry::directory(path("e/mpty")),
        file("a-b"),
        file("a/z"),
        file("a/b/y"),
        file("a/z"),
    ];
    let listing = Listing::new(all, TreeLimits::DEFAULT).unwrap();
    let paths: Vec<&str> = listing.entries().map(|entry| entry.path.as_str()).collect();
    assert_eq!(paths, ["a", "a/b", "a/b/y", "a/z", "a-b", "b", "b/c", "b/c/x", "e", "e/mpty"]);
    for conflict in
        [vec![file("a"), file("a/b")], vec![file("a"), Entry::directory(path("a"))], vec![file("")]]
    {
        let error = Listing::new(conflict, TreeLimits::DEFAULT).unwrap_err();
        assert!(matches!(error, TreeError::Conflict { .. }), "{error}");
    }
    let limits = TreeLimits { entries_max: 4, depth_max: 2, ..TreeLimits::DEFAULT };
    assert!(Listing::new(vec![file("a/b"), file("c")], limits).is_ok());
    let error = Listing::new(vec![file("a/b"), file("c/d")], limits).unwrap_err();
    assert!(matches!(error, TreeError::TooManyEntries { max: 4 }), "{error}");
    let error = Listing::new(vec![file("a/b/c")], limits).unwrap_err();
    assert!(matches!(error, TreeError::TooDeep { .. }), "{error}");
}

const BEFORE: &[(&str, &str)] = &[
    ("README.md", "one"),
    ("apps/a/k.yaml", "a"),
    ("apps/b/k.yaml", "b"),
    ("apps-of-others/k.yaml", "c"),
    ("base/deep/er/and/deeper/k.yaml", "d"),
];

/// The paths that are certainly the same after a change.
fn same_after(change: impl Fn(&mut Vec<(&str, &str)>), paths: &[&str]) -> Vec<String> {
    let mut changed = BEFORE.to_vec();
    change(&mut changed);
    let digests = |all: &[(&str, &str)]| Archived::of(&files(all), None).written.directories;
    let (before, after) = (digests(BEFORE), digests(&changed));
    let same = |at: &&&str| before.is_same_at(&after, &path(at));
    paths.iter().filter(same).map(|at| (*at).to_owned()).collect()
}

#[test]
fn only_the_directories_above_a_change_have_other_digests() {
    let paths =
        ["", "README.md", "apps", "apps/a", "apps/a/k.yaml", "apps/b/k.yaml", "apps/none", "base/deep"];
    assert_eq!(same_after(|_| (), &paths), paths, "the same files");
    assert_eq!(same_after(|all| all[1].1 = "new", &paths), ["apps/b/k.yaml", "base/deep"], "a content");
    assert_eq!(
        same_after(|all| all[0].1 = "new", &paths),
        ["apps", "apps/a", "apps/a/k.yaml", "apps/b/k.yaml", "apps/none", "base/deep"],
        "a file of the root"
    );
    assert_eq!(
        same_after(|all| all.push(("apps/none", "x")), &["apps/a/k.yaml", "apps/none"]),
        ["apps/a/k.yaml"],
        "a file that comes"
    );
    assert_eq!(
        same_after(|all| all[4].1 = "new", &["base/deep/er/and/deeper/k.yaml", "base/deep", "apps"]),
        ["apps"],
        "below the last directory that has a digest"
    );
}

#[test]
fn modes_moves_and_empty_directories_count() {
    let digests = |entries| {
        let listing = Listing::new(entries, TreeLimits::DEFAULT).unwrap();
        let read = |_: &RelPath, content: &Text, buffer: &mut Vec<u8>| {
            buffer.extend_from_slice(content.0.as_bytes());
            Ok::<_, Infallible>(())
        };
        write(&listing, OPTIONS, None::<&mut Previous<io::Empty>>, read, Vec::new()).unwrap().directories
    };
    let file = |at: &str, text: &str, executable| Entry {
        path: path(at),
        content: EntryContent::File { executable, content: Text(text.to_owned()) },
    };
    let plain = digests(vec![file("a/x", "x", false)]);
    assert!(!digests(vec![file("a/x", "x", true)]).is_same_at(&plain, &path("a")));
    let with_directory = digests(vec![file("a/x", "x", false), Entry::directory(path("a/empty"))]);
    assert!(!with_directory.is_same_at(&plain, &path("a")));
    let moved = digests(vec![file("a/y/x", "1", false), file("a/z", "2", false)]);
    let other = digests(vec![file("a/y/z", "2", false), file("a/x", "1", false)]);
    assert!(!moved.is_same_at(&other, &path("a")));
    let renamed = digests(vec![file("a/w/x", "1", false), file("a/z", "2", false)]);
    assert!(!moved.is_same_at(&renamed, &path("a")));
}
