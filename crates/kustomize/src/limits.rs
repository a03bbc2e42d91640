//! The limits of a build. Each is named in its error.

use plumb_manifests::yaml;

use crate::interrupt::{Charge, Interrupt};

/// Bounds of one build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Files read, each reading counted.
    pub files_max: usize,
    /// Bytes of one file.
    pub file_bytes_max: usize,
    /// Bytes of all files read.
    pub read_bytes_max: usize,
    /// Values (maps, lists, scalars) in all objects read.
    pub values_max: usize,
    /// Objects alive at any moment.
    pub objects_max: usize,
    /// Kustomizations inside each other.
    pub depth_max: usize,
    /// Bytes of the texts in all finished objects.
    pub output_bytes_max: usize,
    /// Steps of all transformers and patches: each look at an object is one, and so is every eighth byte written.
    pub steps_max: usize,
    /// Bounds of each YAML text.
    pub yaml: yaml::Limits,
    /// Ends the build from outside.
    pub interrupt: Interrupt,
    /// Is charged for the bytes of the objects before they are stored.
    pub charge: Charge,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            files_max: 50_000,
            file_bytes_max: 16 << 20,
            read_bytes_max: 64 << 20,
            values_max: 4_000_000,
            objects_max: 100_000,
            depth_max: 64,
            output_bytes_max: 128 << 20,
            steps_max: 50_000_000,
            yaml: yaml::Limits { nodes_max: 2_000_000, ..yaml::Limits::default() },
            interrupt: Interrupt::default(),
            charge: Charge::default(),
        }
    }
}
