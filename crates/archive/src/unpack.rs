//! A gzipped tar into a tree, under limits. Only regular files and directories are taken; links and special files are skipped,
//! a path that leads out of the tree rejects the whole archive. Nothing is ever written to a disk.

use std::{
    cell::Cell,
    io::{self, Read},
};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use plumb_filetree::{MemoryTree, PathError, RelPath, TreeError, TreeLimits};
use plumb_memory::{MemoryReservation, OverBudget};

/// Memory of an entry of a tree in addition to its content and its path.
const ENTRY_BYTES: u64 = 192;

/// Bytes of the headers of one entry, with those that extend them: long names, records of PAX.
const HEADERS_BYTES_MAX: u64 = 64 << 10;

/// What an archive may unpack to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnpackLimits {
    /// Bytes of the tar, unpacked.
    pub unpacked_bytes_max: u64,
    /// Unpacked bytes for each packed byte, checked once the tar is larger than `ratio_from_bytes`.
    pub ratio_max: u64,
    /// Below this many unpacked bytes the ratio is not checked.
    pub ratio_from_bytes: u64,
    /// Entries of the tar, skipped ones included.
    pub entries_max: usize,
    /// Limits of the resulting tree.
    pub tree: TreeLimits,
}

impl UnpackLimits {
    /// 640 MiB, 1:200 from 16 MiB on, 200 000 entries.
    pub const DEFAULT: Self = Self {
        unpacked_bytes_max: 640 << 20,
        ratio_max: 200,
        ratio_from_bytes: 16 << 20,
        entries_max: 200_000,
        tree: TreeLimits::DEFAULT,
    };
}

impl Default for UnpackLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why an archive was rejected.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It is not a gzipped tar, or it is cut off.
    #[error("the archive is damaged")]
    Damaged {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It unpacks to too much.
    #[error("the archive unpacks to more than {max} bytes")]
    TooLarge {
        /// The limit.
        max: u64,
    },
    /// It unpacks to too much for its own size.
    #[error("the archive unpacks to more than {max} times its size")]
    Ratio {
        /// The limit.
        max: u64,
    },
    /// It has too many entries.
    #[error("the archive has more than {max} entries")]
    TooManyEntries {
        /// The limit.
        max: usize,
    },
    /// The headers of an entry are too large.
    #[error("the archive has an entry with more than {HEADERS_BYTES_MAX} bytes of headers")]
    Headers,
    /// A path is not text.
    #[error("the archive has a path that is not UTF-8: {path:?}")]
    NotText {
        /// The path, as far as it can be shown.
        path: String,
    },
    /// A path leads out of the tree.
    #[error("the archive has a bad path")]
    Path {
        /// Which and why.
        #[source]
        source: PathError,
    },
    /// The memory budget does not allow it.
    #[error("the archive needs more memory than there is")]
    OverBudget {
        /// Which limit.
        #[source]
        source: OverBudget,
    },
    /// The tree is over its limits.
    #[error("the archive holds too much")]
    Tree {
        /// Which limit.
        #[source]
        source: TreeError,
    },
}

/// Reads a `tar.gz` into memory. Each entry is charged to `memory` before it is allocated.
pub fn unpack(
    archive: &[u8],
    limits: &UnpackLimits,
    memory: &mut MemoryReservation,
) -> Result<MemoryTree, UnpackError> {
    unpack_some(archive, limits, memory, |_| true)
}

/// Reads those files and directories of a `tar.gz` into memory that are wanted. Limits of the tree hold for them, limits of the
/// archive for all.
pub fn unpack_some(
    archive: &[u8],
    limits: &UnpackLimits,
    memory: &mut MemoryReservation,
    is_wanted: impl Fn(&RelPath) -> bool,
) -> Result<MemoryTree, UnpackError> {
    let meter = Meter::new(archive.len(), limits);
    read_entries(&meter, archive, limits, memory, is_wanted).map_err(|error| {
        match (error, meter.over.get()) {
            (UnpackError::Damaged { .. }, Some(Over::Size)) => {
                UnpackError::TooLarge { max: limits.unpacked_bytes_max }
            }
            (UnpackError::Damaged { .. }, Some(Over::Ratio)) => UnpackError::Ratio { max: limits.ratio_max },
            (UnpackError::Damaged { .. }, Some(Over::Headers)) => UnpackError::Headers,
            (other, _) => other,
        }
    })
}

fn read_entries(
    meter: &Meter,
    archive: &[u8],
    limits: &UnpackLimits,
    memory: &mut MemoryReservation,
    is_wanted: impl Fn(&RelPath) -> bool,
) -> Result<MemoryTree, UnpackError> {
    let damaged = |source| UnpackError::Damaged { source };
    let mut tar = tar::Archive::new(Metered { inner: MultiGzDecoder::new(archive), meter });
    let mut builder = MemoryTree::builder(limits.tree);
    let mut entries = tar.entries().map_err(damaged)?;
    for index in 0.. {
        // What is read between two entries is in memory as a whole, before its size is known here.
        meter.headers.set(Some(HEADERS_BYTES_MAX));
        let Some(entry) = entries.next() else { break };
        meter.headers.set(None);
        if index >= limits.entries_max {
            return Err(UnpackError::TooManyEntries { max: limits.entries_max });
        }
        let mut entry = entry.map_err(damaged)?;
        let path = entry_path(&entry.path_bytes())?;
        if !is_wanted(&path) {
            // Otherwise it would be read as a part of the next entry's headers.
            io::copy(&mut entry, &mut io::sink()).map_err(damaged)?;
            continue;
        }
        let mut charge =
            |bytes: u64| memory.try_grow(bytes).map_err(|source| UnpackError::OverBudget { source });
        // Its path is in the tree, and in the list of its directory.
        charge(ENTRY_BYTES + 2 * path.as_str().len() as u64)?;
        let mut above = path.parent();
        while let Some(folder) = above.filter(|folder| !folder.is_root() && builder.kind(folder).is_none()) {
            charge(ENTRY_BYTES + 2 * folder.as_str().len() as u64)?;
            above = folder.parent();
        }
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            builder.dir(&path).map_err(|source| UnpackError::Tree { source })?;
        } else if kind.is_file() {
            let size = entry.size();
            builder.admit(&path, size).map_err(|source| UnpackError::Tree { source })?;
            let executable = entry.header().mode().map_err(damaged)? & 0o100 != 0;
            charge(size)?;
            let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
            entry.read_to_end(&mut content).map_err(damaged)?;
            if u64::try_from(content.len()).ok() != Some(size) {
                return Err(damaged(io::ErrorKind::UnexpectedEof.into()));
            }
            builder
                .file(&path, Bytes::from(content), executable)
                .map_err(|source| UnpackError::Tree { source })?;
        } else {
            // Otherwise it would be read as a part of the next entry's headers.
            io::copy(&mut entry, &mut io::sink()).map_err(damaged)?;
        }
    }
    meter.headers.set(None);
    // The rest of the stream is read too: a checksum that is wrong at its very end is still found.
    io::copy(&mut tar.into_inner(), &mut io::sink()).map_err(damaged)?;
    Ok(builder.build())
}

fn entry_path(bytes: &[u8]) -> Result<RelPath, UnpackError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| UnpackError::NotText { path: String::from_utf8_lossy(bytes).into_owned() })?;
    if text.split('/').any(|part| part == "..") {
        return Err(UnpackError::Path { source: PathError::Escapes { path: text.to_owned() } });
    }
    RelPath::root().resolve(text).map_err(|source| UnpackError::Path { source })
}

#[derive(Clone, Copy)]
enum Over {
    Size,
    Ratio,
    Headers,
}

/// Counts what comes out of the decompressor, so that a bomb stops at its limit and not at the end of memory.
struct Meter {
    packed: u64,
    unpacked: Cell<u64>,
    /// How much of the headers of an entry may still be read; none within the content of one.
    headers: Cell<Option<u64>>,
    over: Cell<Option<Over>>,
    limits: UnpackLimits,
}

struct Metered<'a, R> {
    inner: R,
    meter: &'a Meter,
}

impl Meter {
    fn new(packed: usize, limits: &UnpackLimits) -> Self {
        let packed = u64::try_from(packed).unwrap_or(u64::MAX);
        Self {
            packed,
            unpacked: Cell::new(0),
            headers: Cell::new(None),
            over: Cell::new(None),
            limits: *limits,
        }
    }

    fn count(&self, read: usize) -> io::Result<()> {
        let unpacked = self.unpacked.get().saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        self.unpacked.set(unpacked);
        if let Some(left) = self.headers.get() {
            let left = left.checked_sub(u64::try_from(read).unwrap_or(u64::MAX));
            self.headers.set(Some(left.unwrap_or_default()));
            if left.is_none() {
                self.over.set(Some(Over::Headers));
            }
        }
        if unpacked > self.limits.unpacked_bytes_max {
            self.over.set(Some(Over::Size));
        } else if unpacked > self.limits.ratio_from_bytes
            && unpacked / self.packed.max(1) > self.limits.ratio_max
        {
            self.over.set(Some(Over::Ratio));
        }
        match self.over.get() {
            Some(_) => Err(io::Error::other("over a limit")),
            None => Ok(()),
        }
    }
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.meter.count(read)?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::{error::Error as _, io::Write};

    use plumb_filetree::{EntryKind, FileTree};
    use plumb_memory::{Limit, MemoryPool};

    use super::*;

    /// A tar.gz of (path, content, mode).
    fn archive(files: &[(&str, &[u8], u32)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, content, mode) in files {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_size(content.len() as u64);
            header.set_mode(*mode);
            header.set_entry_type(tar::EntryType::Regular);
            header.set_cksum();
            tar.append(&header, *content).unwrap();
        }
        gzip(&tar.into_inner().unwrap())
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn unpack(archive: &[u8], limits: &UnpackLimits) -> Result<MemoryTree, UnpackError> {
        super::unpack(archive, limits, &mut reservation(1 << 30))
    }

    fn reservation(bytes_max: u64) -> MemoryReservation {
        MemoryPool::new(4 << 30).reservation("team-a", Limit { name: "files of an artifact", bytes_max })
    }

    #[test]
    fn only_what_is_wanted_is_unpacked_and_charged() {
        let zeros = vec![0u8; 1 << 20];
        let all = archive(&[("a/x", b"x", 0o600), ("b/large", &zeros, 0o600), ("a/y/z", b"z", 0o700)]);
        let below = RelPath::parse("a").unwrap();
        let mut memory = reservation(8 << 10);
        let is_wanted = |path: &RelPath| path.starts_with(&below);
        let tree = unpack_some(&all, &UnpackLimits::DEFAULT, &mut memory, is_wanted).unwrap();
        let paths: Vec<_> = tree.files().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["a/x", "a/y/z"]);
        // Limits of the archive hold for what is skipped, too.
        let limits = UnpackLimits { unpacked_bytes_max: 1 << 19, ..UnpackLimits::DEFAULT };
        let error = unpack_some(&all, &limits, &mut memory, |_| false).unwrap_err();
        assert!(matches!(error, UnpackError::TooLarge { .. }), "{error}");
    }

    #[test]
    fn files_are_charged_before_they_are_unpacked() {
        let zeros = vec![0u8; 4 << 20];
        let two = archive(&[("a", &zeros, 0o600), ("b", &zeros, 0o600)]);
        let mut memory = reservation(6 << 20);
        let error = super::unpack(&two, &UnpackLimits::DEFAULT, &mut memory).unwrap_err();
        assert!(matches!(error, UnpackError::OverBudget { .. }), "{error:?}");
        assert_eq!(
            error.source().unwrap().to_string(),
            "files of an artifact exceed the limit of 6291456 bytes"
        );
        let many: Vec<(String, &[u8], u32)> =
            (0..100).map(|index| (format!("{index}"), &b""[..], 0o600)).collect();
        let many: Vec<_> =
            many.iter().map(|(path, content, mode)| (path.as_str(), *content, *mode)).collect();
        let mut memory = reservation(10_000);
        let error = super::unpack(&archive(&many), &UnpackLimits::DEFAULT, &mut memory).unwrap_err();
        assert!(matches!(error, UnpackError::OverBudget { .. }), "empty files count too: {error:?}");
    }

    fn path(text: &str) -> RelPath {
        RelPath::parse(text).unwrap()
    }

    #[test]
    fn files_and_executable_bits_are_preserved() {
        let tree =
            unpack(&archive(&[("./a/b.yaml", b"x", 0o600), ("run.sh", b"y", 0o700)]), &UnpackLimits::DEFAULT)
                .unwrap();
        assert_eq!(tree.read(&path("a/b.yaml")).unwrap(), Bytes::from_static(b"x"));
        assert!(!tree.file(&path("a/b.yaml")).unwrap().executable);
        assert!(tree.file(&path("run.sh")).unwrap().executable);
    }

    #[test]
    fn a_path_that_leads_out_rejects_the_archive() {
        for bad in ["../x", "a/../../x", "/etc/passwd", "a/../b"] {
            let error = unpack(&archive(&[(bad, b"x", 0o600)]), &UnpackLimits::DEFAULT).unwrap_err();
            assert!(matches!(error, UnpackError::Path { .. }), "{bad}: {error:?}");
        }
    }

    #[test]
    fn links_and_devices_are_skipped() {
        let mut tar = tar::Builder::new(Vec::new());
        for kind in
            [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Char, tar::EntryType::Fifo]
        {
            let mut header = tar::Header::new_gnu();
            header.set_size(0);
            header.set_entry_type(kind);
            header.set_mode(0o777);
            tar.append_link(&mut header, "link", "/etc/passwd").unwrap();
        }
        let tree = unpack(&gzip(&tar.into_inner().unwrap()), &UnpackLimits::DEFAULT).unwrap();
        assert!(tree.is_empty());
        assert_eq!(tree.kind(&RelPath::root()), Some(EntryKind::Dir));
    }

    /// A raw entry of a tar: its header, unchecked, and its bytes padded to whole blocks.
    fn raw(name: &str, kind: tar::EntryType, said_size: u64, content: &[u8]) -> Vec<u8> {
        let mut header = tar::Header::new_ustar();
        header.as_ustar_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(said_size);
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }

    fn names(parts: &[Vec<u8>]) -> Result<Vec<String>, UnpackError> {
        let mut bytes = parts.concat();
        bytes.resize(bytes.len() + 1024, 0);
        let tree = unpack(&gzip(&bytes), &UnpackLimits::DEFAULT)?;
        Ok(tree.files().map(|(path, _)| path.as_str().to_owned()).collect())
    }

    #[test]
    fn a_name_in_an_extension_cannot_lead_out_either() {
        let file = || raw("a", tar::EntryType::Regular, 1, b"x");
        for bad in ["../../x", "/etc/x", "a/../../x"] {
            let long = format!("{bad}\0");
            let size = u64::try_from(long.len()).unwrap();
            let gnu = raw("long", tar::EntryType::GNULongName, size, long.as_bytes());
            assert!(matches!(names(&[gnu, file()]), Err(UnpackError::Path { .. })), "{bad}");
            let record = format!("{} path={bad}\n", bad.len() + 9);
            let size = u64::try_from(record.len()).unwrap();
            let pax = raw("pax", tar::EntryType::XHeader, size, record.as_bytes());
            assert!(matches!(names(&[pax, file()]), Err(UnpackError::Path { .. })), "{bad}");
        }
    }

    #[test]
    fn content_is_never_read_as_an_entry_when_sizes_disagree() {
        // The extension has 512 bytes, the header none: a reader of the header takes the content for an entry.
        let inner = raw("smuggled", tar::EntryType::Regular, 0, b"");
        let record = b"12 size=512\n";
        let pax = raw("pax", tar::EntryType::XHeader, 12, record);
        let outer = raw("outer", tar::EntryType::Regular, 0, &inner);
        assert_eq!(names(&[pax, outer]).unwrap(), ["outer"]);
    }

    #[test]
    fn the_target_of_a_link_is_a_file_of_the_tree() {
        let link = raw("d", tar::EntryType::Symlink, 0, b"");
        let below = raw("d/x", tar::EntryType::Regular, 1, b"x");
        assert_eq!(names(&[link, below]).unwrap(), ["d/x"]);
    }

    #[test]
    fn of_equal_names_the_later_wins_and_a_file_is_no_directory() {
        let one = raw("a", tar::EntryType::Regular, 1, b"1");
        let two = raw("a", tar::EntryType::Regular, 1, b"2");
        assert_eq!(names(&[one, two]).unwrap(), ["a"]);
        let file = raw("a", tar::EntryType::Regular, 1, b"1");
        let below = raw("a/b", tar::EntryType::Regular, 1, b"2");
        assert!(matches!(names(&[file, below]), Err(UnpackError::Tree { .. })));
    }

    /// A tar whose only entry has an extension header of this kind and size before it.
    fn with_headers(kind: tar::EntryType, bytes: usize) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes as u64);
        header.set_entry_type(kind);
        header.set_path("x").unwrap();
        header.set_cksum();
        tar.append(&header, vec![b'a'; bytes].as_slice()).unwrap();
        gzip(&tar.into_inner().unwrap())
    }

    #[test]
    fn headers_are_not_read_beyond_their_limit() {
        for kind in [tar::EntryType::GNULongName, tar::EntryType::GNULongLink, tar::EntryType::XHeader] {
            let mut memory = reservation(1 << 30);
            let error = super::unpack(&with_headers(kind, 1 << 20), &UnpackLimits::DEFAULT, &mut memory);
            assert!(matches!(error, Err(UnpackError::Headers)), "{kind:?}");
        }
        // The content of an entry that is skipped is no header.
        let skipped = with_headers(tar::EntryType::Char, 1 << 20);
        assert!(unpack(&skipped, &UnpackLimits::DEFAULT).unwrap().is_empty());
    }

    #[test]
    fn folders_that_only_a_path_names_are_charged() {
        let deep = format!("{}/f", ["d"; 40].join("/"));
        let mut memory = reservation(1 << 30);
        super::unpack(&archive(&[(&deep, b"", 0o644)]), &UnpackLimits::DEFAULT, &mut memory).unwrap();
        assert!(memory.bytes() > 40 * ENTRY_BYTES, "{}", memory.bytes());
    }

    #[test]
    fn each_limit_is_enforced() {
        let zeros = vec![0u8; 4 << 20];
        let bomb = archive(&[("zeros", &zeros, 0o600)]);
        let base = UnpackLimits::DEFAULT;
        let error = |limits: UnpackLimits, bytes: &[u8]| unpack(bytes, &limits).unwrap_err();
        assert!(matches!(
            error(UnpackLimits { unpacked_bytes_max: 1 << 20, ..base }, &bomb),
            UnpackError::TooLarge { max: 1_048_576 }
        ));
        assert!(matches!(
            error(UnpackLimits { ratio_from_bytes: 1 << 20, ..base }, &bomb),
            UnpackError::Ratio { .. }
        ));
        let two = archive(&[("a", b"", 0o600), ("b", b"", 0o600)]);
        assert!(matches!(
            error(UnpackLimits { entries_max: 1, ..base }, &two),
            UnpackError::TooManyEntries { max: 1 }
        ));
        let tree = TreeLimits { file_bytes_max: 10, ..TreeLimits::DEFAULT };
        assert!(matches!(error(UnpackLimits { tree, ..base }, &bomb), UnpackError::Tree { .. }));
    }

    #[test]
    fn a_damaged_archive_is_rejected_wherever_the_damage_is() {
        let whole = archive(&[("a", &[7u8; 5000], 0o600)]);
        for length in [0, 1, 10, whole.len() / 2, whole.len() - 1] {
            assert!(unpack(&whole[..length], &UnpackLimits::DEFAULT).is_err(), "{length}");
        }
        assert!(unpack(b"not an archive", &UnpackLimits::DEFAULT).is_err());
    }
}
