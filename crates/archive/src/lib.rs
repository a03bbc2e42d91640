//! `tar.gz` archives: unpacked into a tree under limits, and written so that the same files give the same bytes, and unchanged parts of
//! an earlier archive are taken over. Where the bytes come from, and where they go, never enters.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod digests;
mod gzip;
mod index;
mod listing;
mod unpack;
mod write;

pub use index::ArchiveIndex;
pub use listing::{Content, Entry, EntryContent, Listing};
pub use unpack::{UnpackError, UnpackLimits, unpack, unpack_some};
pub use write::{ArchiveOptions, Previous, RestartableWrite, WriteError, WrittenArchive, write, write_tree};
