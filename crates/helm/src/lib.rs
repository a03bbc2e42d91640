//! Helm's formats, as Helm and Flux read and write them: the index of a repository, the archive of a chart, and a chart that is
//! packaged. Where they come from, and where they go, is not known here.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod archive;
mod chart;
mod directory;
mod entry;
mod ignore;
mod index;
mod json;
mod metadata;
mod package;
mod release;
mod text;
mod values;
mod version;

pub use archive::{ChartError, ChartMetadata, check_chart, read_metadata};
pub use chart::{Chart, ChartFile, ChartReader, MissingDependency};
pub use directory::{chart_files, directory_metadata};
pub use index::{Download, INDEX_MEMORY, Index, IndexError, convert};
pub use package::{PackageError, package};
pub use release::{Release, ReleaseError, find_release};
pub use values::{Values, ValuesError};
pub use version::{Wanted, with_build_metadata};
