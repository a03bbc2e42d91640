//! Helm's formats, as Helm and Flux read them: the index of a repository. Where an index comes from, and where it goes, is not known
//! here.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod entry;
mod index;
mod json;
mod text;

pub use index::{Download, INDEX_MEMORY, Index, IndexError, convert};
