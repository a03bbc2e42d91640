//! The controllers as users run them: real programs, a real API server, a real Git server behind TLS and basic auth.
//! What one crate can show alone does not belong here.

mod admission;
mod bucket;
mod control;
mod deletion;
mod drift_corrected;
mod drift_flagged;
pub(crate) mod environment;
mod generator;
mod guides;
mod helm;
mod kills;
mod main_loop;
mod moves;
mod notification;
mod object_storage;
mod oci;
mod prune;
mod refusals;
pub(crate) mod sample;
pub(crate) mod seen;
mod sources;
