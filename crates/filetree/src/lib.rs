//! A tree of files held in memory, and the rules for what belongs into one: paths that cannot escape, limits, ignore files,
//! digests. Sources are read into a tree, builds read from it. No filesystem, no network and no clock ever enter here.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod digest;
mod directories;
pub mod ignore;
mod path;
mod pattern;
mod tree;

pub use directories::{DirectoryDigests, DirectoryDigestsError};
pub use ignore::{Ignore, IgnoreBuilder};
pub use path::{COMPONENTS_MAX, PATH_BYTES_MAX, PathError, RelPath};
pub use pattern::name_matches;
pub use tree::{EntryKind, File, FileTree, MemoryTree, ReadError, TreeBuilder, TreeError, TreeLimits};
