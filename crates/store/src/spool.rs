//! An artifact that is being written: a temporary file in the directory of its object, which its own name is given at the end. Blocking.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

use plumb_archive::{ArchiveIndex, Previous, RestartableWrite};
use tempfile::NamedTempFile;

use crate::{abandoned, layout::TEMPORARY_SUFFIX};

/// Bytes of an index that are read, at most.
const INDEX_BYTES_MAX: u64 = 16 << 20;

/// A temporary file of the storage. It is removed if it is dropped.
#[derive(Debug)]
pub struct Spool {
    file: NamedTempFile,
}

impl Spool {
    pub(crate) fn new(directory: &Path) -> io::Result<Self> {
        let file = tempfile::Builder::new().prefix(".").suffix(TEMPORARY_SUFFIX).tempfile_in(directory)?;
        // Until the rename: the lock shows the collection that the file has a writer.
        abandoned::mark(file.as_file())?;
        Ok(Self { file })
    }

    pub(crate) fn into_file(self) -> NamedTempFile {
        self.file
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_file_mut().flush()
    }
}

impl RestartableWrite for Spool {
    fn restart(&mut self) -> io::Result<()> {
        self.file.as_file().set_len(0)?;
        self.file.as_file_mut().seek(SeekFrom::Start(0)).map(|_| ())
    }
}

/// An archive with its index; none where either is missing, or the index is not of the archive with this digest.
pub(crate) fn previous(archive: &Path, index: &Path, digest: &str) -> io::Result<Option<Previous<File>>> {
    let open = |path: &Path| match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        file => file.map(Some),
    };
    let (Some(index), Some(archive)) = (open(index)?, open(archive)?) else { return Ok(None) };
    let mut bytes = Vec::new();
    index.take(INDEX_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(ArchiveIndex::decode(&bytes, digest).map(|index| Previous { index, archive }))
}
