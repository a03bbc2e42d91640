//! kustomize, natively: what `kustomize build` prints for a directory of a tree, or why it cannot.
//!
//! Pure: the tree is a value, nothing else is read, nothing is executed. What this engine does not do is refused by
//! name and never left out in silence.

mod accumulate;
mod build;
mod config;
mod error;
mod field;
mod generators;
mod identity;
mod limits;
mod load;
mod order;
mod passage;
mod patches;
mod plugins;
mod provenance;
mod reading;
mod references;
mod replacements;
mod resource;
mod schema;
mod selector;
mod set;
mod settings;
mod shape;
mod shares;
mod transformers;
mod vars;

pub use build::{Additions, Build, Built, Options, Order, Reach, build, build_with};
pub use error::{BuildError, Refusal};
pub use limits::Limits;
pub use provenance::Transformation;
pub use reading::{ReadSet, Seen};
pub use settings::{Blank, FILE_NAMES, ImageEntry as Image, PatchEntry as Patch, SelectorEntry as Selector};
