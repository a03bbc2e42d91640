//! The tests that need a real control plane: `api` against the API server alone. One program, so that its tests share one plane.

mod api;
