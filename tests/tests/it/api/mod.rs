//! Tests against the real API server (T2).

mod definitions;
