//! Tasks that go on beside the work: how they begin, how their faults end the process, how long its end waits for them.

use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long background tasks may take to finish when the process ends.
const DRAIN: Duration = Duration::from_secs(8);

/// An error at the start or of a background task.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub(crate) type Task = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

/// How a background task may end.
pub trait Outcome {
    /// Its error, if it is one.
    fn into_result(self) -> Result<(), BoxError>;
}

impl Outcome for () {
    fn into_result(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl Outcome for io::Result<()> {
    fn into_result(self) -> Result<(), BoxError> {
        self.map_err(Into::into)
    }
}

/// Tasks that go on beside the work. The first that fails is heard of.
pub(crate) struct Background {
    tracker: TaskTracker,
    failed: mpsc::Sender<BoxError>,
    shutdown: CancellationToken,
}

impl Background {
    pub(crate) fn new(shutdown: CancellationToken) -> (Self, mpsc::Receiver<BoxError>) {
        let (failed, failure) = mpsc::channel(1);
        (Self { tracker: TaskTracker::new(), failed, shutdown }, failure)
    }

    /// A task that is dropped at the end.
    pub(crate) fn begin(&self, name: &'static str, task: Task) {
        let shutdown = self.shutdown.clone();
        self.begin_draining(
            name,
            Box::pin(async move {
                tokio::select! {
                    () = shutdown.cancelled() => Ok(()),
                    ended = task => ended,
                }
            }),
        );
    }

    /// A task that ends by itself at the end.
    pub(crate) fn begin_draining(&self, name: &'static str, task: Task) {
        let failed = self.failed.clone();
        self.tracker.spawn(async move {
            let ended = AssertUnwindSafe(task).catch_unwind().await;
            if let Err(error) = ended.unwrap_or_else(|_| Err("panicked".into())) {
                // One is enough to end the process.
                let _ = failed.try_send(format!("{name}: {error}").into());
            }
        });
    }

    pub(crate) async fn end(&self) {
        self.tracker.close();
        if tokio::time::timeout(DRAIN, self.tracker.wait()).await.is_err() {
            tracing::warn!(open = self.tracker.len(), "shutdown timed out, background tasks aborted");
        }
    }
}
