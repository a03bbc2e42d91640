//! Which members an archive has, and what each was made of. It is stored beside the archive, and is only ever a hint: one that is damaged,
//! or is of another archive, is ignored.

use std::collections::HashMap;

use plumb_filetree::digest::sha256_hex;
use serde::{Deserialize, Serialize};

use crate::digests::DirectoryDigest;

/// Changes whenever the bytes of a member would be others, or the digest of a directory.
const FORMAT: u32 = 1;
/// An index larger than this is neither written nor read.
pub const INDEX_BYTES_MAX: usize = 16 << 20;

/// The index of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveIndex {
    members: HashMap<String, Member>,
}

/// A member of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// Of what it was made: the digest of paths, modes and ids of contents.
    pub(crate) version: String,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    /// Bytes of the files in it.
    pub(crate) content_bytes: u64,
    /// Of its directory, or of its run of files.
    pub(crate) digest: String,
    /// Of the directories in it.
    pub(crate) directories: Vec<DirectoryDigest>,
}

#[derive(Serialize, Deserialize)]
struct Document<M> {
    format: u32,
    /// The digest of the archive.
    archive: String,
    members: M,
}

impl ArchiveIndex {
    /// The member that was made of this.
    pub(crate) fn member(&self, version: &str) -> Option<&Member> {
        self.members.get(version)
    }

    /// Reads the index of the archive with this digest; none where it is of another one, damaged or too large.
    pub fn decode(bytes: &[u8], archive: &str) -> Option<Self> {
        if bytes.len() > INDEX_BYTES_MAX {
            return None;
        }
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let (digest, document) = (bytes.get(..end)?, bytes.get(end + 1..)?);
        if digest != sha256_hex(document).as_bytes() {
            return None;
        }
        let document: Document<Vec<Member>> = serde_json::from_slice(document).ok()?;
        if document.format != FORMAT || document.archive != archive {
            return None;
        }
        let members = document.members.into_iter().map(|member| (member.version.clone(), member)).collect();
        Some(Self { members })
    }
}

/// The text of an index: the digest of what follows in a line of its own, and a JSON document. None where it would be too large.
pub(crate) fn encode(members: &[Member], archive: &str) -> Option<Vec<u8>> {
    let document = Document { format: FORMAT, archive: archive.to_owned(), members };
    let document = serde_json::to_string(&document).ok()?;
    let text = format!("{}\n{document}", sha256_hex(document.as_bytes()));
    (text.len() <= INDEX_BYTES_MAX).then(|| text.into_bytes())
}
