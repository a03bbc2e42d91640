//! What a bucket lists: its objects, over pages, under limits. How a page looks is up to the provider.

use std::collections::HashSet;

use jiff::Timestamp;
use plumb_memory::{Limit, MemoryReservation};

use crate::error::{BucketError, ResponseError};

/// Memory of an object of a listing beside its texts.
const OBJECT_BYTES: u64 = 160;

/// What one bucket may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketLimits {
    /// Objects that a bucket lists, those that are left out included.
    pub objects_max: usize,
    /// Bytes of all objects that are fetched.
    pub bytes_max: u64,
    /// Pages of a listing.
    pub pages_max: usize,
    /// Bytes of one page.
    pub page_bytes_max: u64,
}

impl BucketLimits {
    /// 100 000 objects in 2000 pages of 16 MiB at most, and 512 MiB to fetch.
    pub const DEFAULT: Self =
        Self { objects_max: 100_000, bytes_max: 512 << 20, pages_max: 2000, page_bytes_max: 16 << 20 };
}

/// An object of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Its ETag, as Flux writes it: with quotes for Azure, without for others.
    pub etag: String,
    /// Its size in bytes; none where the provider sends other bytes than it stores.
    pub size: Option<u64>,
    /// The generation of Google Cloud Storage.
    pub generation: Option<String>,
    /// When it was written, where the listing has it: to the second.
    pub modified: Option<Timestamp>,
}

/// The objects of a bucket that are kept, and what they are charged to.
#[derive(Debug)]
pub struct Listing {
    /// In the order of their keys, each once.
    pub objects: Vec<Object>,
    _memory: MemoryReservation,
}

/// One page of a listing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    pub objects: Vec<Object>,
    /// What asks for the next page; none at the end.
    pub next: Option<String>,
}

/// Collects the pages of a listing.
pub(crate) struct Pages {
    limits: BucketLimits,
    memory: MemoryReservation,
    objects: Vec<Object>,
    listed: usize,
    added: usize,
    tokens: HashSet<String>,
}

/// The memory that a listing may take.
pub(crate) fn memory_limit(limits: &BucketLimits) -> Limit {
    // A key has 1 KiB at most with the providers; a long list of long keys is over the limit.
    Limit { name: "objects of a bucket listing", bytes_max: limits.objects_max as u64 * 512 }
}

impl Pages {
    pub(crate) fn new(limits: BucketLimits, memory: MemoryReservation) -> Self {
        Self { limits, memory, objects: Vec::new(), listed: 0, added: 0, tokens: HashSet::new() }
    }

    /// Takes the objects of a page that are kept. What asks for the next page; none at the end.
    pub(crate) fn add(
        &mut self,
        page: Page,
        keeps: &mut dyn FnMut(&Object) -> bool,
    ) -> Result<Option<String>, BucketError> {
        let BucketLimits { objects_max, pages_max, .. } = self.limits;
        self.added += 1;
        self.listed += page.objects.len();
        if self.listed > objects_max {
            return Err(BucketError::TooMany { what: "objects", max: objects_max });
        }
        for object in page.objects {
            if keeps(&object) {
                let texts = object.key.len() + object.etag.len();
                self.memory.try_grow(OBJECT_BYTES + texts as u64).map_err(BucketError::OverBudget)?;
                self.objects.push(object);
            }
        }
        let Some(next) = page.next else { return Ok(None) };
        if self.added == pages_max {
            return Err(BucketError::TooMany { what: "pages", max: pages_max });
        }
        // A server that repeats itself would do so until a limit.
        if !self.tokens.insert(next.clone()) {
            return Err(BucketError::listing(ResponseError::RepeatedPage));
        }
        Ok(Some(next))
    }

    /// The objects, in the order of their keys. An object may be on two pages where it was written in between, as long as it is
    /// the same.
    pub(crate) fn finish(self) -> Result<Listing, BucketError> {
        let Self { mut objects, memory, .. } = self;
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        objects
            .dedup_by(|next, kept| next.key == kept.key && next.etag == kept.etag && next.size == kept.size);
        if let Some(pair) = objects.windows(2).find(|pair| pair[0].key == pair[1].key) {
            return Err(BucketError::listing(ResponseError::TwoVersions { key: pair[0].key.clone() }));
        }
        Ok(Listing { objects, _memory: memory })
    }
}

#[cfg(test)]
mod tests {
    use plumb_memory::MemoryPool;

    use super::*;

    fn pages(limits: BucketLimits) -> Pages {
        Pages::new(limits, MemoryPool::new(1 << 30).reservation("apps", memory_limit(&limits)))
    }

    fn page(keys: &[(&str, &str)], next: Option<&str>) -> Page {
        let object = |(key, etag): &(&str, &str)| Object {
            key: (*key).to_owned(),
            etag: (*etag).to_owned(),
            size: Some(1),
            generation: None,
            modified: None,
        };
        Page { objects: keys.iter().map(object).collect(), next: next.map(str::to_owned) }
    }

    #[test]
    fn pages_become_one_sorted_listing_without_repetitions() {
        let mut pages = pages(BucketLimits::DEFAULT);
        let keeps = &mut |object: &Object| object.key != "x";
        assert_eq!(
            pages.add(page(&[("b", "1"), ("x", "1")], Some("t")), keeps).unwrap().as_deref(),
            Some("t")
        );
        assert_eq!(pages.add(page(&[("b", "1"), ("B", "1"), ("a", "1")], None), keeps).unwrap(), None);
        let keys: Vec<String> =
            pages.finish().unwrap().objects.into_iter().map(|object| object.key).collect();
        assert_eq!(keys, ["B", "a", "b"]);
    }

    #[test]
    fn a_listing_has_an_end() {
        let limits = BucketLimits { objects_max: 3, pages_max: 2, ..BucketLimits::DEFAULT };
        let keeps = &mut |_: &Object| false;
        let mut many = pages(limits);
        let error = many.add(page(&[("a", "1"); 4], None), keeps).unwrap_err();
        assert_eq!(error.to_string(), "the bucket lists more than 3 objects");
        let mut endless = pages(limits);
        assert!(endless.add(page(&[], Some("1")), keeps).is_ok());
        let error = endless.add(page(&[], Some("2")), keeps).unwrap_err();
        assert_eq!(error.to_string(), "the bucket lists more than 2 pages");
        let mut same = pages(BucketLimits::DEFAULT);
        assert!(same.add(page(&[], Some("1")), keeps).is_ok());
        assert!(same.add(page(&[], Some("2")), keeps).is_ok());
        let error = same.add(page(&[], Some("1")), keeps).unwrap_err();
        assert!(plumb_status::chain(&error).contains("leads to a page that was listed before"), "{error:?}");
    }

    #[test]
    fn one_key_has_one_version() {
        let mut pages = pages(BucketLimits::DEFAULT);
        let keeps = &mut |_: &Object| true;
        pages.add(page(&[("a", "1"), ("a", "2")], None), keeps).unwrap();
        let error = pages.finish().unwrap_err();
        assert!(
            plumb_status::chain(&error).contains("object \"a\" is listed with two ETags or sizes"),
            "{error:?}"
        );
    }

    #[test]
    fn a_listing_is_charged_to_the_budget() {
        let memory = MemoryPool::new(1000).reservation("apps", memory_limit(&BucketLimits::DEFAULT));
        let mut pages = Pages::new(BucketLimits::DEFAULT, memory);
        let long = "x".repeat(1000);
        let error = pages.add(page(&[(&long, "1")], None), &mut |_| true).unwrap_err();
        assert!(matches!(error, BucketError::OverBudget(_)), "{error:?}");
    }
}
