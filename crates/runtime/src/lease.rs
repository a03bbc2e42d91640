//! The fence in front of a leader's writes. Which lease is held, and how it is renewed, is said by `leader`.
//!
//! A renewal is dated before its request is sent. A rival counts the lease duration from a later moment, when it has
//! seen the renewal, and acquires at `dated + lease` at the earliest. So, with the defaults of 35 s and 30 s:
//!
//! - until `dated + renew` (30 s) a write may be sent;
//! - until `dated + lease - DRIFT_MAX` (34.75 s) a write that was sent may be answered; then its connection is closed,
//!   at which the API server abandons it. A write is thus in flight for `lease - renew - DRIFT_MAX` (4.75 s) after
//!   the end of the lease at most;
//! - from `dated + lease` (35 s) on a rival may write.
//!
//! The check is made at each write, again at each poll of a write in flight, and once more by the task that writes to
//! the socket ([`LeaseGuard::may_send`]), so a process that was stopped (SIGSTOP) or a machine that was suspended writes
//! nothing after it goes on. A lease is not a lock: between the last check and the network card nothing can be fenced.
//! Preconditions on each destructive request cover that rest.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use plumb_cluster::MaySend;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::background::BoxError;

/// How far the clocks of two replicas may drift apart during one lease duration.
const DRIFT_MAX: Duration = Duration::from_millis(250);

/// Why a write was not sent, or was abandoned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fenced {
    /// The lease is not held.
    #[error("write rejected: this replica does not hold the leader election lease")]
    NotHeld,
    /// The lease ran out before the answer.
    #[error("write abandoned: the leader election lease ran out before the API server answered")]
    RanOut,
}

/// Says whether this process may write. Clones share it; a check costs one clock reading.
#[derive(Clone)]
pub(crate) struct LeaseGuard(Arc<Inner>);

struct Inner {
    /// How long after a renewal a write may be sent.
    renew: Duration,
    /// How long after a renewal a write may be in flight.
    fence: Duration,
    /// When the last renewal was sent, in nanoseconds of `clock`.
    dated: AtomicU64,
    held: AtomicBool,
    in_flight: watch::Sender<usize>,
    clock: SteadyClock,
}

/// Time since some moment. It never goes back.
type SteadyClock = Box<dyn Fn() -> Duration + Send + Sync>;

impl LeaseGuard {
    /// A guard whose lease is not held yet.
    pub(crate) fn new(lease: Duration, renew: Duration) -> Self {
        Self::with_clock(lease, renew, steady_clock())
    }

    pub(crate) fn with_clock(lease: Duration, renew: Duration, clock: SteadyClock) -> Self {
        let fence = lease.saturating_sub(DRIFT_MAX).max(renew);
        Self(Arc::new(Inner {
            renew,
            fence,
            dated: AtomicU64::new(0),
            held: AtomicBool::new(false),
            in_flight: watch::Sender::new(0),
            clock,
        }))
    }

    /// The time by which renewals are dated.
    pub(crate) fn now(&self) -> Duration {
        (self.0.clock)()
    }

    /// The lease is held; its last renewal was sent at `dated`, by [`LeaseGuard::now`]. Whether that is still worth
    /// anything: an answer may come too late.
    pub(crate) fn renewed(&self, dated: Duration) -> bool {
        let nanoseconds = u64::try_from(dated.as_nanos()).unwrap_or(u64::MAX);
        self.0.dated.fetch_max(nanoseconds, Ordering::SeqCst);
        self.0.held.store(true, Ordering::SeqCst);
        self.is_held()
    }

    /// How long writes may be sent from now on, without a further renewal.
    pub(crate) fn left(&self) -> Duration {
        if self.0.held.load(Ordering::SeqCst) { self.until(self.0.renew) } else { Duration::ZERO }
    }

    /// Resolves when writes may be sent no more.
    pub(crate) async fn expired(&self) {
        loop {
            let left = self.left();
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }

    /// Whether a write may be sent now.
    pub(crate) fn is_held(&self) -> bool {
        !self.left().is_zero()
    }

    /// No write is sent from now on.
    pub(crate) fn close(&self) {
        self.0.held.store(false, Ordering::SeqCst);
    }

    /// Resolves when no write is in flight.
    pub(crate) async fn idle(&self) {
        let mut in_flight = self.0.in_flight.subscribe();
        // The sender lives in the guard itself, so it cannot be gone.
        let _ = in_flight.wait_for(|count| *count == 0).await;
    }

    /// A client whose writes are fenced. Reads and dry runs pass.
    pub(crate) fn fence(&self, client: Client) -> Client {
        let namespace = client.default_namespace().to_owned();
        let guard = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (client, guard) = (client.clone(), guard.clone());
            async move {
                if is_write(&request) {
                    guard.write(async move { client.send(request).await }).await
                } else {
                    client.send(request).await.map_err(BoxError::from)
                }
            }
        });
        Client::new(service, namespace)
    }

    /// For the connections of [`LeaseGuard::fence`]: they may send until a write in flight is abandoned. A replica that
    /// has not held the lease yet may, too: it only reads.
    pub(crate) fn may_send(&self) -> MaySend {
        let guard = self.clone();
        Arc::new(move || guard.0.dated.load(Ordering::SeqCst) == 0 || !guard.until(guard.0.fence).is_zero())
    }

    /// One write, from its check to its answer.
    async fn write(
        &self,
        sending: impl Future<Output = Result<Response<Body>, kube::Error>>,
    ) -> Result<Response<Body>, BoxError> {
        if !self.is_held() {
            return Err(Fenced::NotHeld.into());
        }
        let _counted = Counted::new(&self.0.in_flight);
        let mut sending = pin!(sending);
        let mut ran_out = pin!(self.ran_out());
        std::future::poll_fn(|context| {
            // Asked before the write is polled: no timer has fired yet when a stopped process goes on.
            if self.until(self.0.fence).is_zero() {
                return Poll::Ready(Err(Fenced::RanOut.into()));
            }
            if let Poll::Ready(answer) = sending.as_mut().poll(context) {
                return Poll::Ready(answer.map_err(BoxError::from));
            }
            match ran_out.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Err(Fenced::RanOut.into())),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Resolves when writes in flight are to be abandoned.
    async fn ran_out(&self) {
        loop {
            let left = self.until(self.0.fence);
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }

    /// Whether a write that was sent may still be carried out.
    #[cfg(test)]
    pub(crate) fn may_be_in_flight(&self) -> bool {
        self.0.dated.load(Ordering::SeqCst) > 0 && !self.until(self.0.fence).is_zero()
    }

    /// What is left of a time after the last renewal.
    fn until(&self, limit: Duration) -> Duration {
        let dated = Duration::from_nanos(self.0.dated.load(Ordering::SeqCst));
        (dated + limit).saturating_sub(self.now())
    }
}

/// A write in flight.
struct Counted<'a>(&'a watch::Sender<usize>);

impl<'a> Counted<'a> {
    fn new(in_flight: &'a watch::Sender<usize>) -> Self {
        in_flight.send_modify(|count| *count += 1);
        Self(in_flight)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// Whether a request may change something.
fn is_write(request: &Request<Body>) -> bool {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let dry = request.uri().query().unwrap_or_default().split('&').any(|pair| pair == "dryRun=All");
    !reads && !dry
}

/// The clock of tokio, and the one that goes on while the machine is suspended: what is longer counts.
fn steady_clock() -> SteadyClock {
    let (since, boot) = (Instant::now(), boot_time());
    Box::new(move || since.elapsed().max(boot_time().saturating_sub(boot)))
}

fn boot_time() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    // Neither part is ever negative on this clock.
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests;
