//! Which index a repository had last: with that, an unchanged one costs a request without a body.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED},
};
use plumb_filetree::digest::Hasher;
use url::Url;

use crate::settings::part;

/// Repositories that are remembered: of more, the one that was added first is forgotten.
const SEEN_MAX: usize = 4096;
/// Bytes of a header that is remembered.
const HEADER_BYTES_MAX: usize = 1024;

/// An index that was downloaded, by what the server says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenIndex {
    /// The digest of its bytes.
    pub revision: String,
    validators: Vec<(HeaderName, HeaderValue)>,
}

impl SeenIndex {
    /// What a response says; none where nothing tells whether the index has changed.
    pub fn of(revision: &str, headers: &HeaderMap) -> Option<Self> {
        let validators: Vec<_> = [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)]
            .into_iter()
            .filter_map(|(said, asked)| Some((asked, headers.get(said)?.clone())))
            .filter(|(_, value)| value.len() <= HEADER_BYTES_MAX)
            .collect();
        (!validators.is_empty()).then(|| Self { revision: revision.to_owned(), validators })
    }

    /// The headers of a request that wants another index only.
    pub fn conditions(&self) -> &[(HeaderName, HeaderValue)] {
        &self.validators
    }
}

/// Which index each repository had last, by URL and settings: what one identity was shown says nothing of what another one is.
#[derive(Clone, Default)]
pub struct SeenIndexes(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    indexes: HashMap<String, SeenIndex>,
    order: VecDeque<String>,
}

impl SeenIndexes {
    /// The index that was seen last.
    pub fn get(&self, key: &str) -> Option<SeenIndex> {
        self.lock().indexes.get(key).cloned()
    }

    /// Remembers an index, or forgets the one before.
    pub fn set(&self, key: &str, index: Option<SeenIndex>) {
        let mut seen = self.lock();
        let Some(index) = index else {
            if seen.indexes.remove(key).is_some() {
                seen.order.retain(|known| known != key);
            }
            return;
        };
        if seen.indexes.insert(key.to_owned(), index).is_none() {
            seen.order.push_back(key.to_owned());
        }
        while seen.order.len() > SEEN_MAX {
            if let Some(oldest) = seen.order.pop_front() {
                seen.indexes.remove(&oldest);
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Under which an index is remembered.
pub fn key(namespace: &str, url: &Url, settings: &str) -> String {
    let mut hasher = Hasher::default();
    part(&mut hasher, "namespace", namespace.as_bytes());
    part(&mut hasher, "url", url.as_str().as_bytes());
    part(&mut hasher, "settings", settings.as_bytes());
    hasher.finish_hex()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(revision: &str) -> Option<SeenIndex> {
        SeenIndex::of(revision, &HeaderMap::from_iter([(ETAG, HeaderValue::from_static("\"1\""))]))
    }

    #[test]
    fn the_oldest_is_forgotten_and_what_tells_nothing_is_not_kept() {
        let indexes = SeenIndexes::default();
        for number in 0..=SEEN_MAX {
            indexes.set(&number.to_string(), seen("r"));
        }
        assert_eq!((indexes.get("0"), indexes.get("1").is_some()), (None, true));
        indexes.set("1", seen("s"));
        assert_eq!(indexes.get("1").unwrap().revision, "s");
        indexes.set("1", SeenIndex::of("t", &HeaderMap::new()));
        assert_eq!(indexes.get("1"), None);
        let long = HeaderValue::from_str(&"x".repeat(HEADER_BYTES_MAX + 1)).unwrap();
        assert_eq!(SeenIndex::of("r", &HeaderMap::from_iter([(ETAG, long)])), None);
    }

    #[test]
    fn another_identity_has_another_key() {
        let url = Url::parse("https://h/index.yaml").unwrap();
        let other = Url::parse("https://h/x/index.yaml").unwrap();
        let keys = [key("a", &url, "1"), key("b", &url, "1"), key("a", &other, "1"), key("a", &url, "2")];
        assert_eq!(keys.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
    }
}
