//! `tar.gz` archives in memory: unpacked into a tree under limits. Where the bytes come from never enters.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod unpack;

pub use unpack::{UnpackError, UnpackLimits, unpack, unpack_some};
