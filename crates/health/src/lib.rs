//! Health: whether a live object is in the state that its spec requires, from the object alone.
//!
//! Pure: the object and the time are arguments. The rules are kstatus's, as Flux uses them (a Job counts once it is done, not
//! once it runs). Waiting, watching and timeouts never enter; they belong to the adapter that reads the cluster.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod builtin;
pub mod kstatus;
mod reading;
pub mod verdict;

pub use kstatus::assess;
pub use verdict::{Status, Verdict, list};
