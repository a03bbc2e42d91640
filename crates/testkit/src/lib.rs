//! Test fixtures: a mock API server for scenarios, a shared real control plane, a Git server, a sink, the
//! controllers as processes. Nothing here is ever linked into a controller.

pub mod archive;
pub mod bucket;
pub mod cluster;
pub mod controllers;
pub mod gitserver;
pub mod helm;
pub mod hostile;
pub mod kinds;
pub mod oracle;
pub mod peers;
pub mod proxy;
pub mod registry;
pub mod repository;
pub mod scenario;
mod server;
pub mod signer;
pub mod sigstore;
pub mod sink;
pub mod skip;
pub mod sshd;
pub mod stores;
pub mod wait;
pub mod webhook;
pub mod wire;

pub use cluster::{install_crds, namespace, plane};
pub use skip::skip;
