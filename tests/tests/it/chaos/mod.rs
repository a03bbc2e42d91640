//! The controllers with faults between them and the API server: kills, lost responses, rejections, hangs, damaged watches.
//!
//! `cargo xtask test` runs a fixed sample of each sweep; `cargo xtask test --chaos` runs all of it. The oracle is
//! always the same: when the fault is over, the end equals that of a run without faults, and no object was recreated.

mod crash;
mod fixture;
mod matrix;
mod midflight;
mod moves;
mod outage;
mod replicas;

/// The environment variable that enables whole sweeps; `cargo xtask test --chaos` sets it to `all`.
const CHAOS: &str = "PLUMB_CHAOS";

/// Whether whole sweeps are enabled.
fn is_whole() -> bool {
    std::env::var_os(CHAOS).is_some_and(|value| value == "all")
}
