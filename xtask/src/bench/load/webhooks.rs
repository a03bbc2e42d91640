//! Signed webhooks at a steady rate, one Receiver after the other.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use plumb_testkit::webhook;
use tokio::{task::JoinSet, time::interval};
use tokio_util::sync::CancellationToken;

use super::objects::TOKEN;

/// Webhooks that may wait for their response, at most; the rate falls behind then.
const OPEN_MAX: usize = 64;

/// The responses to the webhooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many were sent.
    pub sent: u64,
    /// How many got a status other than 200.
    pub rejected: u64,
}

impl Tally {
    fn count(&mut self, accepted: bool) {
        self.sent += 1;
        self.rejected += u64::from(!accepted);
    }
}

/// Sends until the end.
pub async fn run(to: SocketAddr, paths: Arc<Vec<String>>, rate: u32, end: CancellationToken) -> Tally {
    let (mut tally, mut open) = (Tally::default(), JoinSet::new());
    let mut ticks = interval(Duration::from_secs(1) / rate);
    for path in (0..).map(|number: usize| number % paths.len()) {
        tokio::select! { () = end.cancelled() => break, _ = ticks.tick() => {} }
        if open.len() >= OPEN_MAX {
            tally.count(open.join_next().await.is_some_and(|answered| answered.unwrap_or(false)));
        }
        let paths = paths.clone();
        open.spawn_blocking(move || {
            webhook::send(to, &paths[path], TOKEN, b"{}").is_ok_and(|answer| answer.code == 200)
        });
    }
    while let Some(answered) = open.join_next().await {
        tally.count(answered.unwrap_or(false));
    }
    tally
}
