//! Leader election by a Lease: of several replicas one works. A replica that loses its lease ends, since another may
//! work already. What may be written until then is said by `lease`.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::PostParams;
use kube::{Api, Client};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::lease::LeaseGuard;
use plumb_cluster::{CallError, call};

/// How long giving up the lease may take when the process ends; after that it runs out by itself.
const RELEASE_MAX: Duration = Duration::from_secs(5);
/// By how much the time of a renewal is later than the one before, at least: the resolution of a Lease.
const RENEWAL_STEP: jiff::SignedDuration = jiff::SignedDuration::from_micros(1);
/// A renewal may take this part of the renew deadline: one dead connection does not cost the lease.
const ATTEMPTS_IN_DEADLINE: u32 = 2;

/// The name of a controller's lease: one per shard, as Flux names it.
pub(crate) fn lease_name(controller: &str, selector: &str) -> String {
    let name = format!("{controller}-leader-election");
    if selector.is_empty() {
        return name;
    }
    let digest = Sha256::digest(selector.as_bytes());
    let shard = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    format!("{name}-{shard:08x}")
}

/// The terms of a lease.
#[derive(Debug, Clone)]
pub(crate) struct LeaseConfig {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) holder: String,
    pub(crate) lease: Duration,
    pub(crate) renew: Duration,
    pub(crate) retry: Duration,
    pub(crate) release: bool,
}

/// The state of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leadership {
    Candidate,
    Leader,
    Lost,
}

/// The election as seen by the process that takes part in it.
pub(crate) struct Election {
    standing: watch::Receiver<Leadership>,
    ending: CancellationToken,
    task: JoinHandle<()>,
}

impl Election {
    /// Takes part from now on, until [`Election::end`]. The client must not be fenced by `guard`.
    pub(crate) fn begin(client: Client, terms: LeaseConfig, clock: Clock, guard: LeaseGuard) -> Self {
        let (sender, standing) = watch::channel(Leadership::Candidate);
        let ending = CancellationToken::new();
        let candidate = Candidate::new(client, terms, clock, guard);
        let task = tokio::spawn(candidate.run(sender, ending.clone()));
        Self { standing, ending, task }
    }

    /// Resolves when this replica leads.
    pub(crate) async fn elected(&self) {
        self.reached(Leadership::Leader).await;
    }

    /// Resolves when this replica led, and does no more.
    pub(crate) async fn lost(&self) {
        self.reached(Leadership::Lost).await;
    }

    async fn reached(&self, wanted: Leadership) {
        let reached = self.standing.clone().wait_for(|standing| *standing == wanted).await.is_ok();
        if !reached {
            // The election ended otherwise: this never happens.
            std::future::pending::<()>().await;
        }
    }

    /// Ends the writes of this process, then lets another replica begin at once.
    pub(crate) async fn end(mut self) {
        self.ending.cancel();
        if tokio::time::timeout(RELEASE_MAX, &mut self.task).await.is_err() {
            tracing::warn!("failed to release lease within {RELEASE_MAX:?}: it expires by itself");
            self.task.abort();
        }
    }
}

/// What came of one attempt to take or renew the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// It is ours.
    Held,
    /// Another replica holds it.
    Rival,
    /// Others write it at the same time; who holds it is not known.
    Contended,
}

/// Why an attempt came to nothing.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("no answer from the API server within {0:?}")]
    TimedOut(Duration),
}

/// A candidate for a lease.
struct Candidate {
    api: Api<Lease>,
    terms: LeaseConfig,
    clock: Clock,
    guard: LeaseGuard,
    /// The lease as the API server answered our last write.
    known: Option<Lease>,
    /// What was seen of another holder's lease, and since when: times of others' clocks are not compared with ours.
    seen: Option<(LeaseSpec, Instant)>,
}

impl Candidate {
    fn new(client: Client, terms: LeaseConfig, clock: Clock, guard: LeaseGuard) -> Self {
        let api = Api::namespaced(client, &terms.namespace);
        Self { api, terms, clock, guard, known: None, seen: None }
    }

    async fn run(mut self, standing: watch::Sender<Leadership>, ending: CancellationToken) {
        if self.acquire(&ending).await {
            standing.send_replace(Leadership::Leader);
            if self.keep(&ending).await {
                self.guard.close();
                standing.send_replace(Leadership::Lost);
                return;
            }
        }
        self.guard.close();
        self.guard.idle().await;
        self.release().await;
    }

    /// Waits until the lease is ours. Whether it is: false when the end came first.
    async fn acquire(&mut self, ending: &CancellationToken) -> bool {
        loop {
            let began = Instant::now();
            // Awaited also at the end: a write that is dropped may still be carried out, and nobody would release it.
            match self.attempt_within(self.terms.renew).await {
                Ok(Attempt::Held) if self.guard.is_held() => return true,
                Ok(_) => {}
                Err(error) => {
                    let error = plumb_status::chain(&error);
                    tracing::warn!(lease = self.terms.name, error, "failed to acquire lease");
                }
            }
            tokio::select! {
                () = ending.cancelled() => return false,
                () = tokio::time::sleep_until(began + self.terms.retry) => {}
            }
        }
    }

    /// Keeps the lease until it is lost, or the end comes. Whether it was lost. A conflict or an error alone never
    /// loses it: only another holder does, or the renew deadline.
    async fn keep(&mut self, ending: &CancellationToken) -> bool {
        let mut began = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = ending.cancelled() => return false,
                () = self.guard.expired() => {
                    tracing::error!(lease = self.terms.name, "failed to renew lease before the renew deadline");
                    return true;
                }
                () = tokio::time::sleep_until(began + self.terms.retry) => {}
            }
            began = Instant::now();
            let limit = (self.terms.renew / ATTEMPTS_IN_DEADLINE).min(self.guard.left());
            match self.attempt_within(limit).await {
                Ok(Attempt::Held) => {}
                Ok(Attempt::Rival) => {
                    tracing::error!(lease = self.terms.name, "another replica holds the lease");
                    return true;
                }
                Ok(Attempt::Contended) => {
                    tracing::warn!(lease = self.terms.name, "failed to renew lease: conflict");
                }
                Err(error) => {
                    let error = plumb_status::chain(&error);
                    tracing::warn!(lease = self.terms.name, error, "failed to renew lease");
                }
            }
        }
    }

    async fn attempt_within(&mut self, limit: Duration) -> Result<Attempt, AttemptError> {
        match tokio::time::timeout(limit, self.attempt()).await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(AttemptError::TimedOut(limit)),
        }
    }

    /// Takes or renews the lease, if that is allowed now: by one request while nobody else writes it.
    async fn attempt(&mut self) -> Result<Attempt, CallError> {
        if let Some(known) = self.known.clone()
            && self.put(known).await?
        {
            return Ok(Attempt::Held);
        }
        let Some(lease) = call(self.api.get_opt(&self.terms.name)).await? else {
            return self.create().await;
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        if !holder.is_empty() && holder != self.terms.holder && !self.expired(&spec) {
            return Ok(Attempt::Rival);
        }
        Ok(if self.put(lease).await? { Attempt::Held } else { Attempt::Contended })
    }

    async fn create(&mut self) -> Result<Attempt, CallError> {
        let mut lease = Lease::default();
        lease.metadata.name = Some(self.terms.name.clone());
        lease.spec = Some(self.spec(None));
        let dated = self.guard.now();
        let answer = taken(call(self.api.create(&PostParams::default(), &lease)).await)?;
        Ok(if self.take(answer, dated) { Attempt::Held } else { Attempt::Contended })
    }

    /// Writes the lease over exactly the version that is known. False when that was overtaken.
    async fn put(&mut self, mut lease: Lease) -> Result<bool, CallError> {
        lease.spec = Some(self.spec(lease.spec.as_ref()));
        // Before the request: a rival counts from a later moment, whenever the answer comes.
        let dated = self.guard.now();
        let answer = taken(call(self.api.replace(&self.terms.name, &PostParams::default(), &lease)).await)?;
        Ok(self.take(answer, dated))
    }

    fn take(&mut self, answer: Option<Lease>, dated: Duration) -> bool {
        self.known = answer;
        if self.known.is_some() {
            self.guard.renewed(dated);
        }
        self.known.is_some()
    }

    /// Lets another replica begin at once.
    async fn release(&self) {
        let terms = &self.terms;
        if !terms.release {
            return;
        }
        let lease = match call(self.api.get_opt(&terms.name)).await {
            Ok(lease) => lease,
            Err(error) => return self.not_released(&error),
        };
        let Some(mut lease) = lease else { return };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_ref() != Some(&terms.holder) {
            return;
        }
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        if let Err(error) = call(self.api.replace(&terms.name, &PostParams::default(), &lease)).await {
            self.not_released(&error);
        }
    }

    fn not_released(&self, error: &CallError) {
        let error = plumb_status::chain(error);
        tracing::warn!(lease = self.terms.name, error, "failed to release lease: it expires by itself");
    }

    fn expired(&mut self, spec: &LeaseSpec) -> bool {
        match &self.seen {
            Some((seen, since)) if seen == spec => {
                let seconds =
                    u64::try_from(spec.lease_duration_seconds.unwrap_or_default()).unwrap_or_default();
                since.elapsed() >= Duration::from_secs(seconds)
            }
            _ => {
                self.seen = Some((spec.clone(), Instant::now()));
                false
            }
        }
    }

    fn spec(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = self.clock.now();
        // A rival takes what does not change for expired, so a wall clock that stands or goes back must not show.
        let renewed = before
            .and_then(|spec| spec.renew_time.as_ref()?.0.checked_add(RENEWAL_STEP).ok())
            .map_or(now, |next| now.max(next));
        let ours =
            before.is_some_and(|spec| spec.holder_identity.as_deref() == Some(self.terms.holder.as_str()));
        let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.terms.holder.clone()),
            lease_duration_seconds: Some(whole_seconds(self.terms.lease)),
            acquire_time: before
                .filter(|_| ours)
                .and_then(|spec| spec.acquire_time.clone())
                .or(Some(MicroTime(now))),
            renew_time: Some(MicroTime(renewed)),
            lease_transitions: Some(if ours || before.is_none() {
                transitions
            } else {
                transitions.saturating_add(1)
            }),
            ..LeaseSpec::default()
        }
    }
}

/// A lease duration as a Lease holds it: never shorter than the one that the guard of this replica counts with.
fn whole_seconds(lease: Duration) -> i32 {
    let seconds = lease.as_secs().saturating_add(u64::from(lease.subsec_nanos() > 0));
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

/// None where another writer was quicker, or the lease is gone: that is not an error.
fn taken(answer: Result<Lease, CallError>) -> Result<Option<Lease>, CallError> {
    match answer {
        Ok(lease) => Ok(Some(lease)),
        Err(error) if matches!(error.code(), Some(404 | 409)) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
