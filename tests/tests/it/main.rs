//! The tests that need a real control plane: `api` against the API server alone, `e2e` with the
//! controllers as processes, `chaos` with faults between them and the API server. One program, so that its tests share one plane.

mod api;
mod chaos;
mod e2e;
