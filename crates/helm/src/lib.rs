//! Helm's formats, as Helm and Flux read them: the index of a repository, and the archive of a chart. Where they come from, and where
//! they go, is not known here.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod archive;
mod entry;
mod index;
mod json;
mod release;
mod text;
mod version;

pub use archive::{ChartError, ChartMetadata, check_chart, read_metadata};
pub use index::{Download, INDEX_MEMORY, Index, IndexError, convert};
pub use release::{Release, ReleaseError, find_release};
pub use version::Wanted;
