//! What goes on beside the attempts: artifacts are served, their URLs renewed at the start, mirrors that nobody uses removed.

use std::time::Duration;

use plumb_cluster::NamespacedName;
use plumb_git::Git;
use plumb_runtime::{Handle, ReadinessGate};
use plumb_transport::server::Limits;

use crate::kind::GitRepositories;

/// How often mirrors are looked at.
const SWEEP_EVERY: Duration = Duration::from_hours(1);
/// A mirror that was not fetched into for so long is removed.
const MIRROR_UNUSED_FOR: Duration = Duration::from_hours(24);

/// The renewal of what statuses say about where artifacts are.
pub struct Announcement {
    /// The sources.
    pub handle: Handle<GitRepositories>,
    /// Opened when all is told.
    pub gate: ReadinessGate,
}

impl Announcement {
    /// Writes the URLs that hold today into every status that has another one; then this process is ready.
    pub async fn renew(self) {
        self.handle.store.synced().await;
        for repository in self.handle.store.all() {
            if repository.artifact().is_some() {
                self.handle.amend(&NamespacedName::of(repository.as_ref())).await;
            }
        }
        self.gate.open();
    }
}

/// What the clients of the artifact server may hold: a replica of the consumers holds a few connections.
pub const LIMITS: Limits =
    Limits { connections_per_peer_max: 256, header_bytes_max: 16 << 10, ..Limits::of_connections(1024) };

/// Removes mirrors that nobody uses, again and again.
pub async fn sweep_mirrors(git: Git) {
    loop {
        let swept = git.clone();
        match tokio::task::spawn_blocking(move || swept.sweep(MIRROR_UNUSED_FOR)).await {
            Ok(Ok(0)) | Err(_) => {}
            Ok(Ok(removed)) => tracing::info!(removed, "expired mirrors removed"),
            Ok(Err(error)) => tracing::warn!(%error, "failed to remove expired mirrors"),
        }
        tokio::time::sleep(SWEEP_EVERY).await;
    }
}
