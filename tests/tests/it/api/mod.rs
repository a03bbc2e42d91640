//! Tests against the real API server (T2).

#![expect(
    clippy::unwrap_used,
    reason = "what a fixture's own functions unwrap fails the test that called them"
)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "rows are written as literals: `json!(…)`, not `&json!(…)`"
)]

mod apply;
mod cluster;
mod definitions;
mod health;
mod ownership;
mod prune;
mod takeover;
mod watchers;
