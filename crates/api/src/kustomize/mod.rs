//! Kustomization: manifests of a source, built and applied, and what stands of them. Building and applying never
//! enter.

mod build;
mod drift;
mod spec;
mod status;

pub use build::*;
pub use drift::*;
pub use spec::*;
pub use status::*;
