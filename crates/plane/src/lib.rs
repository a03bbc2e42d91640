//! A real control plane (etcd, kube-apiserver, kube-controller-manager) on this machine, for tests, the demo and
//! benchmarks: found, downloaded or built from Go modules once, started on free ports, and ended with the process that started it.
//!
//! Nothing here depends on Plumb's own kinds, and nothing here is ever linked into a controller.

mod certificates;
mod components;
mod download;
mod gobuild;
mod kubeconfig;
#[cfg(test)]
mod mirror;
pub mod node;
pub mod peers;
mod plane;
pub mod process;
mod programs;
mod reaper;
mod release;
pub mod stores;

pub use kubeconfig::client;
pub use plane::{Plane, PlaneOptions, User};
pub use programs::{Program, Programs, VERSION, cache_folder};
pub use reaper::Reaper;

/// Time between two lines of progress.
const PROGRESS_EVERY: std::time::Duration = std::time::Duration::from_secs(5);

/// The environment variable that passes a running plane to another process: the path of its description.
pub const HANDOVER: &str = "PLUMB_PLANE_STATE";

/// The users of every plane in addition to its admin: one per controller, so that the audit log distinguishes them.
pub const CONTROLLERS: [&str; 3] = ["source-controller", "kustomize-controller", "notification-controller"];

/// The user that everything else acts as.
pub const ADMIN: &str = "admin";
