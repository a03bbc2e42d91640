//! Whole builds, through the crate's own door.
//!
//! `vectors` are the shared cases, `corners` our own in tables, `differential` random trees beside kustomize itself, `hostile`
//! what is built to hurt.

mod build;
mod corners;
mod differential;
mod hostile;
mod interrupt;
mod patches;
mod replacements;
mod vectors;
mod warnings;
