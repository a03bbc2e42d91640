//! What references led to a short while ago: GitRepositories of one repository, with the same credentials, share the request that finds
//! it out. The request is sent anew as soon as the answer is as old as the interval, and whoever finds a new commit wakes the others: each
//! learns of it within its interval while the one that has looked goes on, and at most one interval later if that one is suspended or
//! deleted.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::ResourceExt as _;
use plumb_api::{
    meta::{RECONCILE_REQUESTED_AT, Reconciled as _},
    source::{GitProvider, GitRepository},
};
use plumb_filetree::digest::Hasher;
use plumb_git::Found;
use plumb_secrets::SecretContent;
use plumb_status::condition::{READY, find};
use tokio::time::Instant;

use crate::settings::part;

/// Answers that are kept: of more, the oldest goes first.
pub const KEPT_MAX: usize = 10_000;
/// An answer is used while it is younger than this part of the interval, in percent: a jitter of 5 % brings no object that is alone
/// to its own answer of before.
const AGE_PERCENT: u32 = 95;

/// The answers. Clones share them.
#[derive(Clone)]
pub struct RecentlyFound(Arc<Kept>);

struct Kept {
    max: usize,
    all: Mutex<BTreeMap<String, (Found, Instant)>>,
}

impl RecentlyFound {
    /// Keeps so many answers at most.
    pub fn new(max: usize) -> Self {
        Self(Arc::new(Kept { max, all: Mutex::default() }))
    }

    /// The answer under a key, if it is younger than `age_max`.
    pub fn get(&self, key: &str, age_max: Duration) -> Option<Found> {
        let all = self.0.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(key).filter(|(_, at)| at.elapsed() < age_max).map(|(found, _)| found.clone())
    }

    /// Keeps an answer.
    pub fn put(&self, key: String, found: Found) {
        let mut all = self.0.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(key, (found, Instant::now()));
        if all.len() > self.0.max {
            let oldest = all.iter().min_by_key(|(_, (_, at))| *at).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| all.remove(&oldest));
        }
    }
}

/// How old an answer may be that an object uses; none where it has to look itself: it is new, its spec has changed, its last attempt
/// failed, or somebody asks for a reconciliation.
pub fn age_max(object: &GitRepository) -> Option<Duration> {
    let requested = object.annotations().get(RECONCILE_REQUESTED_AT).map(String::as_str);
    let is_ready = find(object.conditions(), READY).is_some_and(plumb_status::Condition::is_true);
    let is_current = object.observed_generation() == object.metadata.generation;
    let is_handled = requested.is_none() || requested == object.last_handled_reconcile_at();
    if !(is_ready && is_current && is_handled) {
        return None;
    }
    Some(object.interval()?.to_std() * AGE_PERCENT / 100)
}

/// Tells objects apart whose answers may differ: by repository, reference, and everything that opens or trusts the server.
pub fn key(object: &GitRepository, contents: &[Option<&SecretContent>]) -> String {
    let mut hasher = Hasher::default();
    let reference = serde_json::to_vec(&object.spec.reference).unwrap_or_default();
    part(&mut hasher, "url", object.spec.url.as_bytes());
    part(&mut hasher, "ref", &reference);
    let provider = object.spec.effective_provider();
    if provider != GitProvider::Generic {
        // Its credentials may be those of the namespace.
        part(&mut hasher, "namespace", object.namespace().unwrap_or_default().as_bytes());
        part(&mut hasher, "provider", provider.as_str().as_bytes());
        part(
            &mut hasher,
            "account",
            object.spec.service_account_name.as_deref().unwrap_or_default().as_bytes(),
        );
    }
    for content in contents {
        part(&mut hasher, "secret", &[]);
        for (name, value) in content.iter().flat_map(|content| content.ending_with(&[""])) {
            part(&mut hasher, name, value.expose());
        }
    }
    hasher.finish_hex()
}
