//! Which artifacts were verified since the start: a poll that finds nothing new does not look for signatures again. An artifact is
//! known by its repository, its digest and the content of the policy, so that another key in the Secret leads to another look.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use plumb_filetree::digest::Hasher;
use plumb_oci::{Digest, Repository};
use plumb_oci_signature::Verdict;

use super::policy::Policy;
use crate::settings::part;

/// Artifacts that are known; of more, the one that was verified first is forgotten.
const ARTIFACTS_MAX: usize = 16_384;

/// Artifacts that were verified. Clones share it.
#[derive(Clone, Default)]
pub struct VerifiedArtifacts(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    all: HashMap<String, Verdict>,
    order: VecDeque<String>,
}

impl VerifiedArtifacts {
    /// What the artifact was found to be worth with this policy.
    pub fn get(&self, repository: &Repository, digest: &Digest, policy: &Policy) -> Option<Verdict> {
        let name = name(repository, digest, &policy.fingerprint);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).all.get(&name).copied()
    }

    /// The artifact was verified with this policy.
    pub fn note(&self, repository: &Repository, digest: &Digest, policy: &Policy, verdict: Verdict) {
        let name = name(repository, digest, &policy.fingerprint);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).note(name, verdict);
    }
}

impl Known {
    fn note(&mut self, name: String, verdict: Verdict) {
        if self.all.insert(name.clone(), verdict).is_some() {
            return;
        }
        self.order.push_back(name);
        if self.order.len() > ARTIFACTS_MAX
            && let Some(first) = self.order.pop_front()
        {
            self.all.remove(&first);
        }
    }
}

fn name(repository: &Repository, digest: &Digest, policy: &str) -> String {
    let mut hasher = Hasher::default();
    for (name, value) in
        [("repository", repository.to_string().as_str()), ("digest", digest.as_str()), ("policy", policy)]
    {
        part(&mut hasher, name, value.as_bytes());
    }
    hasher.finish_hex()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifact_is_known_by_all_of_repository_digest_and_policy() {
        let repository = |url: &str| Repository::parse(url).unwrap();
        let (one, two) = (repository("oci://h.example/one"), repository("oci://h.example/two"));
        let all = [
            name(&one, &Digest::of(b"1"), "p"),
            name(&two, &Digest::of(b"1"), "p"),
            name(&one, &Digest::of(b"2"), "p"),
            name(&one, &Digest::of(b"1"), "q"),
        ];
        assert_eq!(std::collections::HashSet::from(all).len(), 4);
    }

    #[test]
    fn the_first_is_forgotten_where_there_are_too_many() {
        let mut known = Known::default();
        for at in 0..=ARTIFACTS_MAX {
            known.note(at.to_string(), Verdict::Verified);
            known.note(at.to_string(), Verdict::Verified);
        }
        assert_eq!((known.all.len(), known.order.len()), (ARTIFACTS_MAX, ARTIFACTS_MAX));
        assert!(!known.all.contains_key("0") && known.all.contains_key("1"));
    }
}
