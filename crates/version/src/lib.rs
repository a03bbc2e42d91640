//! Versions of tags and charts, and ranges of them, as Flux reads them. Which versions exist is not known here.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod constraint;
mod number;

pub use constraint::{Constraint, ConstraintError};
pub use number::{compare, parse_loose, parse_tag};
pub use semver::{BuildMetadata, Version};
