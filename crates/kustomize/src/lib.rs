//! kustomize, natively: what `kustomize build` prints for a directory of a tree, or why it cannot.
//!
//! Pure: the tree is a value, nothing else is read, nothing is executed. What this engine does not do is refused by
//! name and never left out in silence.

mod build;
mod error;
mod limits;
mod reading;

pub use build::{Build, Built, Options, Reach, build};
pub use error::{BuildError, Refusal};
pub use limits::Limits;
pub use reading::{ReadSet, Seen};
