//! Whole builds, through the crate's public API.
//!
//! `vectors` are the shared cases, `corners` our own in tables, `differential` random trees compared with kustomize itself,
//! `hostile` hostile input.

mod build;
mod corners;
mod differential;
mod hostile;
mod interrupt;
mod patches;
mod replacements;
mod vectors;
mod warnings;
