//! A tree as a `tar.gz` that is the same, byte for byte, whenever the tree is the same: sorted, no times, no owners. It is hashed
//! while it is written. Where it is written to is the caller's.

use std::io::{self, Write};

use flate2::{Compression, GzBuilder};
use plumb_filetree::{
    MemoryTree, RelPath,
    digest::{DigestAlgorithm, FileDigest, Hasher},
};

/// The middle between speed and size.
const COMPRESSION: Compression = Compression::new(4);
const MODE_FILE: u32 = 0o600;
const MODE_EXECUTABLE: u32 = 0o700;
const MODE_DIRECTORY: u32 = 0o750;

/// The archive could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path:?} into the archive")]
pub struct ArchiveError {
    /// The entry.
    pub path: String,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Writes the archive; its digest and its size.
pub(crate) fn write(
    tree: &MemoryTree,
    algorithm: DigestAlgorithm,
    out: impl Write,
) -> Result<(FileDigest, u64), ArchiveError> {
    let failed = |path: &str, source| ArchiveError { path: path.to_owned(), source };
    let metered = Metered { inner: out, hasher: Hasher::new(algorithm), bytes: 0 };
    // No name and no time in the header.
    let gzip = GzBuilder::new().mtime(0).operating_system(255).write(metered, COMPRESSION);
    let mut tar = tar::Builder::new(gzip);
    for (path, file) in tree.iter() {
        let (kind, mode, content) = match file {
            None => (tar::EntryType::Directory, MODE_DIRECTORY, &[][..]),
            Some(file) if file.executable => {
                (tar::EntryType::Regular, MODE_EXECUTABLE, file.content.as_ref())
            }
            Some(file) => (tar::EntryType::Regular, MODE_FILE, file.content.as_ref()),
        };
        append(&mut tar, path, kind, mode, content).map_err(|source| failed(path.as_str(), source))?;
    }
    let gzip = tar.into_inner().map_err(|source| failed("", source))?;
    let mut metered = gzip.finish().map_err(|source| failed("", source))?;
    metered.inner.flush().map_err(|source| failed("", source))?;
    Ok((metered.hasher.finish(), metered.bytes))
}

/// Writes bytes as they are; their digest and their size.
pub(crate) fn copy(
    bytes: &[u8],
    algorithm: DigestAlgorithm,
    out: impl Write,
) -> io::Result<(FileDigest, u64)> {
    let mut metered = Metered { inner: out, hasher: Hasher::new(algorithm), bytes: 0 };
    metered.write_all(bytes)?;
    metered.flush()?;
    Ok((metered.hasher.finish(), metered.bytes))
}

fn append<W: Write>(
    tar: &mut tar::Builder<W>,
    path: &RelPath,
    kind: tar::EntryType,
    mode: u32,
    content: &[u8],
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(u64::try_from(content.len()).map_err(io::Error::other)?);
    let name = if kind.is_dir() { format!("{path}/") } else { path.as_str().to_owned() };
    tar.append_data(&mut header, name, content)
}

struct Metered<W> {
    inner: W,
    hasher: Hasher,
    bytes: u64,
}

impl<W: Write> Write for Metered<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.hasher.update(&buffer[..written]);
        self.bytes += u64::try_from(written).unwrap_or(0);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use bytes::Bytes;
    use plumb_filetree::TreeLimits;

    use super::*;

    fn tree(order: &[usize]) -> MemoryTree {
        let long = format!("{}/x.yaml", "long-name".repeat(14));
        let files = [("b/run.sh", "run", true), ("a.yaml", "a", false), (long.as_str(), "x", false)];
        let mut builder = MemoryTree::builder(TreeLimits::DEFAULT);
        for &index in order {
            let (path, content, executable) = files[index];
            let content = Bytes::copy_from_slice(content.as_bytes());
            builder.file(&RelPath::parse(path).unwrap(), content, executable).unwrap();
        }
        builder.build()
    }

    #[test]
    fn the_same_tree_gives_the_same_bytes() {
        let (mut one, mut two) = (Vec::new(), Vec::new());
        let (digest, size) = write(&tree(&[0, 1, 2]), DigestAlgorithm::Sha256, &mut one).unwrap();
        write(&tree(&[2, 1, 0]), DigestAlgorithm::Sha256, &mut two).unwrap();
        assert_eq!(one, two);
        assert_eq!(digest, FileDigest::of(DigestAlgorithm::Sha256, &one));
        assert_eq!(size, one.len() as u64);
    }

    #[test]
    fn entries_carry_modes_but_no_owner_and_no_time() {
        let mut bytes = Vec::new();
        write(&tree(&[0, 1, 2]), DigestAlgorithm::Sha256, &mut bytes).unwrap();
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_slice()));
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
}
