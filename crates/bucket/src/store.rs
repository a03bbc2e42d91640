//! The three APIs: how objects are listed and requested, and what responses look like. Pure.

mod azure;
mod gcs;
mod s3;

use http::HeaderMap;
use url::Url;

use crate::{
    address::{BucketAddress, Store, encode, encode_path, query},
    error::{BucketError, ResponseError, code},
    listing::{Object, Page},
};

/// Objects of a page that are asked for: the most that S3 and Google give.
const PAGE_OBJECTS: &str = "1000";

impl BucketAddress {
    /// The URL of a page of the listing. `next` is what the page before says.
    pub(crate) fn list_url(&self, prefix: &str, next: Option<&str>) -> Result<Url, BucketError> {
        let pairs = match &self.store {
            Store::S3 { .. } => s3::list_query(prefix, next),
            Store::Gcs => gcs::list_query(prefix, next),
            Store::Azure { .. } => azure::list_query(prefix, next),
        };
        // S3 signs the slash of a bucket that is a host of its own.
        let slash = if matches!(self.store, Store::S3 { .. }) { "/" } else { "" };
        let base = self.base();
        let text = format!("{base}{slash}?{}", query(&pairs));
        Url::parse(&text).map_err(|_| malformed(base, "a URL"))
    }

    /// The URL of an object. For Google it names the generation, too.
    pub(crate) fn object_url(&self, key: &str, generation: Option<&str>) -> Result<Url, BucketError> {
        let bad_key = || BucketError::Key { key: key.to_owned() };
        let base = self.base();
        let (text, path) = match &self.store {
            Store::S3 { .. } | Store::Azure { .. } => {
                let path = encode_path(key);
                (format!("{base}/{path}"), path)
            }
            Store::Gcs => {
                let path = encode(key);
                let mut pairs = vec![("alt", "media")];
                pairs.extend(generation.map(|generation| ("ifGenerationMatch", generation)));
                (format!("{base}/{path}?{}", query(&pairs)), path)
            }
        };
        let url = Url::parse(&text).map_err(|_| bad_key())?;
        // Components '.' and '..' are worked out by every parser of URLs: another object would be requested.
        if key.is_empty() || !url.path().ends_with(&format!("/{path}")) {
            return Err(bad_key());
        }
        Ok(url)
    }

    /// Reads a page of the listing.
    pub(crate) fn parse_page(&self, body: &[u8]) -> Result<Page, ResponseError> {
        match &self.store {
            Store::S3 { .. } => s3::parse_page(body),
            Store::Gcs => gcs::parse_page(body),
            Store::Azure { .. } => azure::parse_page(body),
        }
    }

    /// An ETag as a revision has it, from the header of a response.
    pub(crate) fn etag(&self, header: &str) -> String {
        match &self.store {
            Store::S3 { .. } => s3::unquoted(header).to_owned(),
            Store::Gcs => header.to_owned(),
            Store::Azure { .. } => azure::quoted(header),
        }
    }

    /// The header that asks for exactly the object of the listing. Google is asked by its generation.
    pub(crate) fn if_match(&self, object: &Object) -> Option<String> {
        match &self.store {
            Store::S3 { .. } => Some(format!("\"{}\"", object.etag)),
            Store::Gcs => None,
            Store::Azure { .. } => Some(object.etag.clone()),
        }
    }

    /// Whether a code says that there is no such bucket.
    pub(crate) fn is_no_bucket(&self, status: u16, code: Option<&str>, is_listing: bool) -> bool {
        status == 404
            && match &self.store {
                Store::S3 { .. } => code == Some("NoSuchBucket"),
                Store::Azure { .. } => code == Some("ContainerNotFound"),
                // Google says the same for an object that is not there.
                Store::Gcs => is_listing,
            }
    }

    /// The code of an error response, and the region that it names.
    pub(crate) fn error_code(&self, headers: &HeaderMap, excerpt: &[u8]) -> (Option<String>, Option<String>) {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        match &self.store {
            Store::S3 { .. } => {
                let (found, region) = s3::parse_error(excerpt);
                (found.as_deref().and_then(code), header("x-amz-bucket-region").or(region))
            }
            Store::Gcs => (gcs::parse_error(excerpt).as_deref().and_then(code), None),
            Store::Azure { .. } => (header("x-ms-error-code").as_deref().and_then(code), None),
        }
    }
}

fn malformed(request: String, what: &'static str) -> BucketError {
    BucketError::Response { request, source: ResponseError::Malformed { what } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_encoded_and_never_lead_to_another_object() {
        let s3 = BucketAddress::s3("h:9000", "b", None, true).unwrap();
        let gcs = BucketAddress::gcs("h", "b", true).unwrap();
        for (key, expect, expect_gcs) in [
            ("a/b.yaml", "http://h:9000/b/a/b.yaml", "a%2Fb.yaml"),
            ("a b+?#%2e", "http://h:9000/b/a%20b%2B%3F%23%252e", "a%20b%2B%3F%23%252e"),
            ("/abs//x", "http://h:9000/b//abs//x", "%2Fabs%2F%2Fx"),
            ("a\\..\\b", "http://h:9000/b/a%5C..%5Cb", "a%5C..%5Cb"),
            ("..a", "http://h:9000/b/..a", "..a"),
        ] {
            assert_eq!(s3.object_url(key, None).unwrap().as_str(), expect);
            let url = gcs.object_url(key, Some("7")).unwrap();
            assert_eq!(
                url.as_str(),
                format!("http://h/storage/v1/b/b/o/{expect_gcs}?alt=media&ifGenerationMatch=7")
            );
        }
        for key in ["", ".", "..", "../x", "a/../b", "a/.", "./a", "a/./b", "../../c/secret"] {
            assert!(s3.object_url(key, None).is_err(), "{key}");
        }
        for key in ["", ".", ".."] {
            assert!(gcs.object_url(key, None).is_err(), "{key}");
        }
    }

    #[test]
    fn a_listing_is_asked_for_page_by_page() {
        let s3 = BucketAddress::s3("s3.amazonaws.com", "apps", None, false).unwrap();
        assert_eq!(
            s3.list_url("a/b", Some("x=")).unwrap().as_str(),
            "https://apps.s3.amazonaws.com/?continuation-token=x%3D&encoding-type=url&list-type=2&max-keys=1000&prefix=a%2Fb"
        );
        let azure = BucketAddress::azure("https://acme.blob.core.windows.net", "apps").unwrap();
        assert_eq!(
            azure.list_url("", None).unwrap().as_str(),
            "https://acme.blob.core.windows.net/apps?comp=list&maxresults=1000&restype=container"
        );
    }
}
