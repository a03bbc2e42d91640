//! The tests that need a real control plane: `api` against the API server alone, `e2e` with the
//! controllers as processes. One program, so that its tests share one plane.

mod api;
mod e2e;
