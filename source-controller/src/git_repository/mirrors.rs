//! Unused mirrors of repositories are removed.

use std::time::Duration;

use plumb_git::Git;

/// Interval of the check of mirrors.
const SWEEP_INTERVAL: Duration = Duration::from_hours(1);
/// A mirror that was not fetched into for so long is removed.
const UNUSED_MAX: Duration = Duration::from_hours(24);

/// Removes unused mirrors periodically.
pub async fn sweep(git: Git) {
    loop {
        let swept = git.clone();
        match tokio::task::spawn_blocking(move || swept.sweep(UNUSED_MAX)).await {
            Ok(Ok(0)) | Err(_) => {}
            Ok(Ok(removed)) => tracing::info!(removed, "expired mirrors removed"),
            Ok(Err(error)) => tracing::warn!(%error, "failed to remove expired mirrors"),
        }
        tokio::time::sleep(SWEEP_INTERVAL).await;
    }
}
