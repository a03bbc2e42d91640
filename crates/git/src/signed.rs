//! The objects that a reference leads to, byte for byte as Git hashes them, for the verification of their signatures. Whether a
//! signature is valid is not known here; that the tag leads to the commit, which the server only claims, is checked.

use gix::{ObjectId, bstr::ByteSlice as _, hash::Kind};
use plumb_memory::{Limit, MemoryReservation};

use crate::{bounds::Bounds, error::GitError, reference::Found};

/// Bytes of one commit or tag, at most.
const OBJECT_BYTES_MAX: u64 = 4 << 20;
/// Tags between a reference and its commit, at most.
const TAGS_MAX: usize = 8;
/// What the objects are charged to.
pub(crate) const SIGNED_OBJECTS: Limit = Limit {
    name: "commits and tags whose signatures are verified",
    bytes_max: OBJECT_BYTES_MAX * (TAGS_MAX as u64 + 1),
};

/// An object, as Git hashes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawObject {
    /// Its hexadecimal id.
    pub id: String,
    /// Its content, without the header that the object database adds.
    pub bytes: Vec<u8>,
}

/// What a reference leads to.
#[derive(Debug)]
pub struct RawObjects {
    /// The commit.
    pub commit: RawObject,
    /// The tag object that the reference names; none for a branch or a lightweight tag.
    pub tag: Option<RawObject>,
    /// Whether ids are SHA-256, not SHA-1.
    pub is_sha256: bool,
    /// What the objects are charged to. Keep it as long as they are held.
    pub memory: MemoryReservation,
}

/// Reads the commit that was found, and the tags on the way to it.
pub(crate) fn read(
    repository: &gix::Repository,
    found: &Found,
    memory: MemoryReservation,
    bounds: &Bounds,
) -> Result<RawObjects, GitError> {
    let mut reader = Reader { repository, found, memory, bounds };
    let (mut tag, mut id) = (None, found.want);
    for _ in 0..=TAGS_MAX {
        let (object, kind) = reader.object(id)?;
        match kind {
            gix::objs::Kind::Commit if id == found.commit => {
                let is_sha256 = id.kind() != Kind::Sha1;
                return Ok(RawObjects { commit: object, tag, is_sha256, memory: reader.memory });
            }
            gix::objs::Kind::Commit => return Err(reader.other_commit(id)),
            gix::objs::Kind::Tag => {
                id = target(&object.bytes).ok_or_else(|| reader.broken("it is a tag without an object"))?;
                tag.get_or_insert(object);
            }
            gix::objs::Kind::Tree | gix::objs::Kind::Blob => {
                return Err(GitError::NotACommit {
                    url: bounds.url.clone(),
                    reference: reader.reference(),
                    kind: kind.to_string(),
                });
            }
        }
    }
    Err(reader.broken(&format!("more than {TAGS_MAX} tags lead to it, which is the limit")))
}

struct Reader<'a> {
    repository: &'a gix::Repository,
    found: &'a Found,
    memory: MemoryReservation,
    bounds: &'a Bounds,
}

impl Reader<'_> {
    fn object(&mut self, id: ObjectId) -> Result<(RawObject, gix::objs::Kind), GitError> {
        self.bounds.check()?;
        let header = self.repository.find_header(id).map_err(|error| self.broken(&error.to_string()))?;
        if header.size() > OBJECT_BYTES_MAX {
            let text = format!("object {id} has more than {OBJECT_BYTES_MAX} bytes, which is the limit");
            return Err(self.broken(&text));
        }
        self.memory.try_grow(header.size()).map_err(|source| GitError::OverBudget {
            action: self.bounds.action,
            url: self.bounds.url.clone(),
            source,
        })?;
        let object = self.repository.find_object(id).map_err(|error| self.broken(&error.to_string()))?;
        let (kind, bytes) = (object.kind, object.detach().data);
        Ok((RawObject { id: id.to_string(), bytes }, kind))
    }

    /// The server lists a commit for the tag that the tag does not lead to.
    fn other_commit(&self, actual: ObjectId) -> GitError {
        GitError::OtherCommit {
            url: self.bounds.url.clone(),
            reference: self.reference(),
            listed: self.found.commit_hex(),
            actual: actual.to_string(),
        }
    }

    fn reference(&self) -> String {
        self.found.name.clone().unwrap_or_else(|| self.found.commit_hex())
    }

    fn broken(&self, detail: &str) -> GitError {
        GitError::Object {
            url: self.bounds.url.clone(),
            commit: self.found.commit_hex(),
            detail: detail.to_owned(),
        }
    }
}

/// The object that a tag names in its first line.
fn target(tag: &[u8]) -> Option<ObjectId> {
    let line = tag.lines().next()?.strip_prefix(b"object ")?;
    ObjectId::from_hex(line).ok()
}
