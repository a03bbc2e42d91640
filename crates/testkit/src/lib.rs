//! What tests stand on: a mock API server for scenarios, a shared real control plane, a Git server, a sink, the
//! controllers as processes. Nothing here is ever linked into a controller.

pub mod scenario;
