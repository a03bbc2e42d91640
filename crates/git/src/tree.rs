//! A commit's tree into memory, from the object database: no checkout. Ignore rules are applied to names first, so that what is
//! left out is never read. Links and submodules are skipped; a name that is not a safe path refuses the commit.

use bytes::Bytes;
use gix::{
    ObjectId,
    bstr::{BStr, ByteSlice},
    objs::tree::EntryKind as Mode,
};
use plumb_filetree::{EntryKind, Ignore, MemoryTree, RelPath, TreeLimits, ignore::IGNORE_FILE};

use crate::error::GitError;

/// Entries of trees that are looked at, left out or not. A tree that contains itself many times over ends here.
const ENTRIES_VISITED_MAX: usize = 500_000;
/// An ignore file larger than this is refused.
const IGNORE_FILE_BYTES_MAX: u64 = 1 << 20;

/// What is known of a commit beside its tree.
pub(crate) struct Subject {
    /// The first line of its message.
    pub(crate) summary: String,
}

/// Reads the tree of a commit, without what is ignored.
pub(crate) fn read(
    repository: &gix::Repository,
    url: &str,
    commit: ObjectId,
    spec_ignore: Option<&str>,
    limits: TreeLimits,
) -> Result<(Subject, MemoryTree), GitError> {
    let reader = Reader { repository, url, commit, limits };
    let object = repository.find_commit(commit).map_err(|error| reader.broken(&error))?;
    let summary = object
        .message_raw_sloppy()
        .lines()
        .next()
        .map(BStr::new)
        .unwrap_or_default()
        .to_str_lossy()
        .into_owned();
    let tree = object.tree_id().map_err(|error| reader.broken(&error))?.detach();
    let entries = reader.walk(tree)?;
    let ignore = reader.ignore(&entries, spec_ignore)?;
    Ok((Subject { summary }, reader.read_kept(&entries, &ignore)?))
}

struct Reader<'a> {
    repository: &'a gix::Repository,
    url: &'a str,
    commit: ObjectId,
    limits: TreeLimits,
}

struct Entry {
    path: RelPath,
    id: ObjectId,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Dir,
    File,
    Executable,
}

impl Reader<'_> {
    fn walk(&self, root: ObjectId) -> Result<Vec<Entry>, GitError> {
        let mut entries = Vec::new();
        let mut open = vec![(RelPath::root(), root)];
        let mut visited = 0;
        while let Some((directory, id)) = open.pop() {
            let tree = self.repository.find_tree(id).map_err(|error| self.broken(&error))?;
            for entry in tree.iter() {
                let entry = entry.map_err(|error| self.broken(&error))?;
                visited += 1;
                if visited > ENTRIES_VISITED_MAX {
                    let source = plumb_filetree::TreeError::TooManyEntries { max: ENTRIES_VISITED_MAX };
                    return Err(GitError::TooLarge { commit: self.commit.to_string(), source });
                }
                let kind = match entry.mode().kind() {
                    Mode::Tree => Kind::Dir,
                    Mode::Blob => Kind::File,
                    Mode::BlobExecutable => Kind::Executable,
                    Mode::Link | Mode::Commit => continue,
                };
                let path = self.child(&directory, entry.filename())?;
                let id = entry.object_id();
                if kind == Kind::Dir {
                    if path.depth() > self.limits.depth_max {
                        let source = plumb_filetree::TreeError::TooDeep { path, max: self.limits.depth_max };
                        return Err(GitError::TooLarge { commit: self.commit.to_string(), source });
                    }
                    open.push((path.clone(), id));
                }
                entries.push(Entry { path, id, kind });
            }
        }
        Ok(entries)
    }

    fn child(&self, directory: &RelPath, name: &BStr) -> Result<RelPath, GitError> {
        let refused = |why: String| {
            let detail = format!("{:?} in {:?}: {why}", name.to_str_lossy(), directory.as_str());
            GitError::FileName { commit: self.commit.to_string(), detail }
        };
        let options = gix::validate::path::component::Options {
            protect_windows: false,
            protect_hfs: true,
            protect_ntfs: false,
        };
        gix::validate::path::component(name, None, options).map_err(|error| refused(error.to_string()))?;
        let name = name.to_str().map_err(|_| refused("it is not UTF-8".to_owned()))?;
        directory.child(name).map_err(|source| GitError::Path { commit: self.commit.to_string(), source })
    }

    fn ignore(&self, entries: &[Entry], spec: Option<&str>) -> Result<Ignore, GitError> {
        let mut builder = Ignore::builder();
        for entry in entries {
            if entry.kind == Kind::Dir || entry.path.file_name() != Some(IGNORE_FILE) {
                continue;
            }
            let size = self.size(entry.id)?;
            if size > IGNORE_FILE_BYTES_MAX {
                let source = plumb_filetree::TreeError::FileTooLarge {
                    path: entry.path.clone(),
                    bytes: size,
                    max: IGNORE_FILE_BYTES_MAX,
                };
                return Err(GitError::TooLarge { commit: self.commit.to_string(), source });
            }
            let text = String::from_utf8_lossy(&self.blob(entry.id)?).into_owned();
            builder.file(entry.path.parent().unwrap_or_default(), text);
        }
        builder.build(spec).map_err(|source| GitError::Ignore { commit: self.commit.to_string(), source })
    }

    fn read_kept(&self, entries: &[Entry], ignore: &Ignore) -> Result<MemoryTree, GitError> {
        let too_large = |source| GitError::TooLarge { commit: self.commit.to_string(), source };
        let mut builder = MemoryTree::builder(self.limits);
        for entry in entries {
            let kind = if entry.kind == Kind::Dir { EntryKind::Dir } else { EntryKind::File };
            if ignore.excludes(&entry.path, kind) {
                continue;
            }
            if kind == EntryKind::Dir {
                builder.dir(&entry.path).map_err(too_large)?;
                continue;
            }
            builder.admit(&entry.path, self.size(entry.id)?).map_err(too_large)?;
            let content = Bytes::from(self.blob(entry.id)?);
            builder.file(&entry.path, content, entry.kind == Kind::Executable).map_err(too_large)?;
        }
        Ok(builder.build())
    }

    fn size(&self, id: ObjectId) -> Result<u64, GitError> {
        self.repository.find_header(id).map(|header| header.size()).map_err(|error| self.broken(&error))
    }

    fn blob(&self, id: ObjectId) -> Result<Vec<u8>, GitError> {
        let blob = self.repository.find_blob(id).map_err(|error| self.broken(&error))?;
        Ok(blob.detach().data)
    }

    fn broken(&self, error: &gix::Error) -> GitError {
        GitError::Object {
            url: self.url.to_owned(),
            commit: self.commit.to_string(),
            detail: error.to_string(),
        }
    }
}
