//! What servers offer, as they said it in an earlier handshake over HTTP: a poll that knows it is one request instead of two. Only
//! offers of protocol version 2 are kept, which name no references.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;

/// Bytes of an offer, at most: a longer one is not kept.
pub(crate) const BYTES_MAX: usize = 4 << 10;
/// Offers that are kept: of more, the oldest goes first.
const KEPT_MAX: usize = 10_000;
/// After this time a server is asked again.
const AGE_MAX: Duration = Duration::from_hours(1);
/// What an offer of version 2 begins with, after the line that names the service, which not every server sends.
const VERSION_2: &[u8] = b"000eversion 2\n";
const SERVICE: &[u8] = b"001e# service=git-upload-pack\n0000";

/// An offer: the head of the response, as lines, and its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Greeting {
    pub(crate) headers: Vec<u8>,
    pub(crate) body: Bytes,
}

impl Greeting {
    /// Whether it is one of version 2 as far as it was read.
    pub(crate) fn is_version_2(body: &[u8]) -> bool {
        body.strip_prefix(SERVICE).unwrap_or(body).starts_with(VERSION_2)
    }
}

/// The offers, by the URL that was asked. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Greetings(Arc<Mutex<BTreeMap<String, (Greeting, Instant)>>>);

impl Greetings {
    /// The offer of a server that was asked a short while ago.
    pub(crate) fn get(&self, url: &str) -> Option<Greeting> {
        let all = self.all();
        all.get(url).filter(|(_, at)| at.elapsed() < AGE_MAX).map(|(greeting, _)| greeting.clone())
    }

    /// Whether an offer of a repository is kept.
    pub(crate) fn knows(&self, repository: &str) -> bool {
        let asked = asked(repository);
        self.all().range(asked.clone()..).next().is_some_and(|(url, _)| url.starts_with(&asked))
    }

    /// Keeps an offer.
    pub(crate) fn put(&self, url: &str, greeting: Greeting) {
        let mut all = self.all();
        all.insert(url.to_owned(), (greeting, Instant::now()));
        if all.len() > KEPT_MAX {
            let oldest = all.iter().min_by_key(|(_, (_, at))| *at).map(|(url, _)| url.clone());
            oldest.and_then(|oldest| all.remove(&oldest));
        }
    }

    /// Drops the offers of a repository: something failed that went by one. Whether there was one.
    pub(crate) fn forget(&self, repository: &str) -> bool {
        let mut all = self.all();
        let asked = asked(repository);
        let of_repository = all.range(asked.clone()..).map(|(url, _)| url);
        let known: Vec<String> = of_repository.take_while(|url| url.starts_with(&asked)).cloned().collect();
        for url in &known {
            all.remove(url);
        }
        !known.is_empty()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, (Greeting, Instant)>> {
        // Each change of the map is whole before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the URLs that are asked for the offers of a repository begin with.
fn asked(repository: &str) -> String {
    format!("{}/info/refs", repository.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_offer_of_version_2_is_one() {
        for (body, expect) in [
            (&b"000eversion 2\n0015agent=git/2.39.5\n0000"[..], true),
            (b"001e# service=git-upload-pack\n0000000eversion 2\n", true),
            (b"001e# service=git-upload-pack\n00000155", false),
            (b"000eversion 1\n", false),
            (b"", false),
        ] {
            assert_eq!(Greeting::is_version_2(body), expect);
        }
    }

    #[test]
    fn the_offers_of_one_repository_are_dropped() {
        let greetings = Greetings::default();
        let greeting = Greeting { headers: Vec::new(), body: Bytes::from_static(b"x") };
        let (one, other) = ("http://h/a.git/info/refs?service=git-upload-pack", "http://h/a.git2/info/refs");
        greetings.put(one, greeting.clone());
        greetings.put(other, greeting.clone());
        assert!(greetings.forget("http://h/a.git") && !greetings.forget("http://h/a.git"));
        assert_eq!((greetings.get(one), greetings.get(other)), (None, Some(greeting)));
    }
}
