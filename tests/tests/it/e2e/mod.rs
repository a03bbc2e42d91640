//! The controllers as users run them: real programs, a real API server, a real Git server behind TLS and basic auth.
//! What one crate can show alone does not belong here.

mod control;
mod crew;
mod deletion;
mod drift_corrected;
mod drift_flagged;
mod kills;
mod main_loop;
mod notification;
mod prune;
mod refusals;
mod sample;
mod seen;
mod sources;
mod stand;
