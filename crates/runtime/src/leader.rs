//! Leader election by a Lease: of several replicas one works. Who loses its lease must end the process, since another
//! may work already.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::PostParams;
use kube::{Api, Client};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::background::BoxError;
use crate::client::{CallError, call};
use crate::clock::Clock;

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
pub(crate) struct Terms {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) holder: String,
    pub(crate) lease: Duration,
    pub(crate) renew: Duration,
    pub(crate) retry: Duration,
    pub(crate) release: bool,
}

/// A candidate for a lease.
pub(crate) struct Candidate {
    api: Api<Lease>,
    terms: Terms,
    clock: Clock,
    /// What was seen of another holder's lease, and since when: times of others' clocks are not compared with ours.
    seen: Option<(LeaseSpec, Instant)>,
}

impl Candidate {
    pub(crate) fn new(client: Client, terms: Terms, clock: Clock) -> Self {
        Self { api: Api::namespaced(client, &terms.namespace), terms, clock, seen: None }
    }

    /// Waits until the lease is ours.
    pub(crate) async fn acquire(&mut self) {
        loop {
            match self.attempt().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    let error = plumb_status::chain(&error);
                    tracing::warn!(lease = self.terms.name, error, "the lease cannot be asked for");
                }
            }
            tokio::time::sleep(self.terms.retry).await;
        }
    }

    /// Keeps the lease until it is lost, or `ended`; then gives it up. Whether it was lost.
    pub(crate) async fn keep(mut self, ended: &CancellationToken) -> bool {
        let mut renewed = Instant::now();
        loop {
            tokio::select! {
                () = ended.cancelled() => break,
                () = tokio::time::sleep(self.terms.retry) => {}
            }
            match tokio::time::timeout_at(renewed + self.terms.renew, self.attempt()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => return true,
                Ok(Err(error)) => {
                    let error = plumb_status::chain(&error);
                    tracing::warn!(lease = self.terms.name, error, "the lease was not renewed");
                }
                Err(_) => {}
            }
            if renewed.elapsed() >= self.terms.renew {
                return true;
            }
        }
        self.release().await;
        false
    }

    /// Lets another replica begin at once.
    async fn release(&self) {
        let terms = &self.terms;
        if !terms.release {
            return;
        }
        let Ok(Some(mut lease)) = call(self.api.get_opt(&terms.name)).await else { return };
        let held = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
        if held != Some(terms.holder.as_str()) {
            return;
        }
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        if let Err(error) = call(self.api.replace(&terms.name, &PostParams::default(), &lease)).await {
            tracing::warn!(
                lease = terms.name,
                error = plumb_status::chain(&error),
                "the lease was not given up"
            );
        }
    }

    /// Takes or renews the lease, if that is allowed now.
    async fn attempt(&mut self) -> Result<bool, CallError> {
        let now = self.clock.now();
        let Some(mut lease) = call(self.api.get_opt(&self.terms.name)).await? else {
            let mut lease = Lease::default();
            lease.metadata.name = Some(self.terms.name.clone());
            lease.spec = Some(self.spec(None, now));
            return taken(call(self.api.create(&PostParams::default(), &lease)).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        if !holder.is_empty() && holder != self.terms.holder && !self.expired(&spec) {
            return Ok(false);
        }
        lease.spec = Some(self.spec(Some(&spec), now));
        taken(call(self.api.replace(&self.terms.name, &PostParams::default(), &lease)).await)
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

    fn spec(&self, before: Option<&LeaseSpec>, now: Timestamp) -> LeaseSpec {
        let ours =
            before.is_some_and(|spec| spec.holder_identity.as_deref() == Some(self.terms.holder.as_str()));
        let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.terms.holder.clone()),
            lease_duration_seconds: i32::try_from(self.terms.lease.as_secs()).ok(),
            acquire_time: before
                .filter(|_| ours)
                .and_then(|spec| spec.acquire_time.clone())
                .or(Some(MicroTime(now))),
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(if ours || before.is_none() {
                transitions
            } else {
                transitions.saturating_add(1)
            }),
            ..LeaseSpec::default()
        }
    }
}

/// Waits for the lease. None if the end was asked for first.
pub(crate) async fn lead(
    client: Client,
    terms: Terms,
    clock: Clock,
    shutdown: &CancellationToken,
) -> Option<Candidate> {
    let mut candidate = Candidate::new(client, terms, clock);
    tokio::select! {
        () = shutdown.cancelled() => None,
        () = candidate.acquire() => Some(candidate),
    }
}

/// Works while the lease is ours. Losing it is an error, and ends the process at once.
pub(crate) async fn work_and_keep(
    candidate: Candidate,
    drivers: impl Future<Output = ()>,
    shutdown: &CancellationToken,
) -> Result<(), BoxError> {
    let ended = CancellationToken::new();
    let keeping = candidate.keep(&ended);
    let working = async {
        drivers.await;
        ended.cancel();
    };
    let ((), lost) = tokio::join!(
        async {
            tokio::select! {
                () = working => {}
                () = ended.cancelled() => {}
            }
        },
        async {
            let lost = keeping.await;
            ended.cancel();
            lost
        }
    );
    if lost && !shutdown.is_cancelled() { Err("the lease was lost".into()) } else { Ok(()) }
}

/// Another replica that was quicker is not an error.
fn taken<T>(answer: Result<T, CallError>) -> Result<bool, CallError> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some(409) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
