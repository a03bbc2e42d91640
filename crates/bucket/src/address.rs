//! Where a bucket is: endpoint, bucket and region of a spec as the URL that requests go to. Pure.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::{Host, Url};

/// What stays as it is in a part of a URL: letters, digits and four more, as all three providers want it.
const UNRESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same, for a path of several parts.
const PATH: AsciiSet = UNRESERVED.remove(b'/');
/// Where the endpoint names no region.
const DEFAULT_REGION: &str = "us-east-1";
/// The endpoint of S3 for all regions. It serves those of another region by other hosts.
const GLOBAL_S3: &str = "s3.amazonaws.com";
/// Hosts whose buckets are hosts of their own.
const VIRTUAL_HOSTED: [&str; 4] =
    ["amazonaws.com", "amazonaws.com.cn", "storage.googleapis.com", "aliyuncs.com"];
/// Characters of the name of a bucket.
const BUCKET_MAX: usize = 255;

/// Where a bucket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketAddress {
    pub(crate) store: Store,
    /// Scheme, host and port of the endpoint, and of Azure its path.
    endpoint: String,
    bucket: String,
}

/// The API of an object store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// S3, in a region.
    S3 { region: String },
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure {
        /// The query of the endpoint: a shared access signature.
        query: Option<String>,
    },
}

/// An endpoint or the name of a bucket cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The endpoint.
    #[error("endpoint '{endpoint}' is not valid: {problem}")]
    Endpoint {
        /// The endpoint, without what may be a secret.
        endpoint: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The name of the bucket.
    #[error(
        "bucket name {bucket:?} is not valid: it may not be empty, contain '/' or control characters, or be longer than 255 characters"
    )]
    Bucket {
        /// The name.
        bucket: String,
    },
    /// The region.
    #[error("region {region:?} is not valid: only letters, digits, '-' and '_' are allowed")]
    Region {
        /// The region.
        region: String,
    },
}

impl BucketAddress {
    /// A bucket of an object store with the API of S3, at `host[:port]`. `insecure` means plain HTTP.
    pub fn s3(
        endpoint: &str,
        bucket: &str,
        region: Option<&str>,
        insecure: bool,
    ) -> Result<Self, AddressError> {
        if endpoint.contains("://") {
            let problem = "write it without scheme, and set spec.insecure for plain HTTP";
            return Err(invalid(endpoint, problem));
        }
        let url = parse(endpoint, &format!("{}://{endpoint}", scheme(insecure)))?;
        let region = match region {
            Some(region) if is_region(region) => region.to_owned(),
            Some(region) => return Err(AddressError::Region { region: region.to_owned() }),
            None => region_of(url.host_str().unwrap_or_default()).unwrap_or(DEFAULT_REGION).to_owned(),
        };
        Self::new(Store::S3 { region }, &url, bucket)
    }

    /// A bucket of Google Cloud Storage, at `host[:port]`, with or without scheme. `insecure` means plain HTTP.
    pub fn gcs(endpoint: &str, bucket: &str, insecure: bool) -> Result<Self, AddressError> {
        let text = match endpoint.split_once("://") {
            Some(("https" | "http", host)) => format!("{}://{host}", scheme(insecure)),
            _ => format!("{}://{endpoint}", scheme(insecure)),
        };
        Self::new(Store::Gcs, &parse(endpoint, &text)?, bucket)
    }

    /// A container of Azure Blob Storage, at the URL of a storage account. A query is taken for a shared access signature.
    pub fn azure(endpoint: &str, bucket: &str) -> Result<Self, AddressError> {
        if !endpoint.starts_with("https://") && !endpoint.starts_with("http://") {
            return Err(invalid(endpoint, "it is not the http or https URL of a storage account"));
        }
        let (start, query) =
            endpoint.split_once('?').map_or((endpoint, None), |(start, query)| (start, Some(query)));
        let url = Url::parse(start).map_err(|_| invalid(endpoint, "it is not a URL"))?;
        check(endpoint, &url)?;
        let query = query.filter(|query| !query.is_empty()).map(str::to_owned);
        Self::new(Store::Azure { query }, &url, bucket)
    }

    fn new(store: Store, url: &Url, bucket: &str) -> Result<Self, AddressError> {
        let is_valid = !bucket.is_empty()
            && bucket.len() <= BUCKET_MAX
            && !matches!(bucket, "." | "..")
            && !bucket.contains(['/', '\\'])
            && !bucket.contains(char::is_control);
        if !is_valid {
            return Err(AddressError::Bucket { bucket: bucket.to_owned() });
        }
        let endpoint = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { store, endpoint, bucket: bucket.to_owned() })
    }

    /// The name of the bucket.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Whether requests go over a connection that others can read.
    pub fn is_plain(&self) -> bool {
        self.endpoint.starts_with("http://")
    }

    /// Scheme, host and port, for errors.
    pub fn shown(&self) -> &str {
        &self.endpoint
    }

    /// The name of the storage account of Azure: the first label of the host, or the path where an emulator has it there.
    pub fn account(&self) -> Option<String> {
        let url = Url::parse(&self.endpoint).ok()?;
        let path = url.path().trim_matches('/');
        match url.host()? {
            Host::Domain(host) if host.split('.').count() > 2 => host.split('.').next().map(str::to_owned),
            _ if !path.is_empty() && !path.contains('/') => Some(path.to_owned()),
            _ => None,
        }
    }

    /// The same bucket in another region of S3.
    pub(crate) fn in_region(&self, region: &str) -> Option<Self> {
        let is_news = matches!(&self.store, Store::S3 { region: known } if known != region);
        (is_news && is_region(region))
            .then(|| Self { store: Store::S3 { region: region.to_owned() }, ..self.clone() })
    }

    /// The URL of the bucket, without a slash at its end.
    pub(crate) fn base(&self) -> String {
        let Self { store, endpoint, bucket } = self;
        let encoded = encode(bucket);
        match store {
            Store::S3 { region } => {
                let (scheme, host) = endpoint.split_once("://").unwrap_or(("https", endpoint));
                let regional = format!("s3.{region}.amazonaws.com");
                let host = if host == GLOBAL_S3 && region != DEFAULT_REGION { &regional } else { host };
                if is_virtual_hosted(host, bucket, scheme) {
                    format!("{scheme}://{bucket}.{host}")
                } else {
                    format!("{scheme}://{host}/{encoded}")
                }
            }
            Store::Gcs => format!("{endpoint}/storage/v1/b/{encoded}/o"),
            Store::Azure { .. } => format!("{endpoint}/{encoded}"),
        }
    }
}

/// A part of a path or query, encoded as all three providers want it.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, &UNRESERVED).to_string()
}

/// A path, encoded the same way.
pub(crate) fn encode_path(text: &str) -> String {
    utf8_percent_encode(text, &PATH).to_string()
}

/// A query, encoded the same way and sorted, as signatures want it.
pub(crate) fn query(pairs: &[(&str, &str)]) -> String {
    let mut encoded: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    encoded.sort();
    encoded.join("&")
}

fn scheme(insecure: bool) -> &'static str {
    if insecure { "http" } else { "https" }
}

fn invalid(endpoint: &str, problem: &'static str) -> AddressError {
    AddressError::Endpoint { endpoint: plumb_transport::shown_text(endpoint), problem }
}

/// Host and port, and nothing else.
fn parse(endpoint: &str, text: &str) -> Result<Url, AddressError> {
    let url = Url::parse(text).map_err(|_| invalid(endpoint, "it is not 'host[:port]'"))?;
    check(endpoint, &url)?;
    if url.path() != "/" || url.query().is_some() {
        return Err(invalid(endpoint, "it has a path or query: write 'host[:port]'"));
    }
    Ok(url)
}

fn check(endpoint: &str, url: &Url) -> Result<(), AddressError> {
    if url.host_str().is_none_or(str::is_empty) {
        return Err(invalid(endpoint, "it has no host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid(endpoint, "it has credentials: put them into the Secret of spec.secretRef"));
    }
    if url.fragment().is_some() {
        return Err(invalid(endpoint, "it has a fragment"));
    }
    Ok(())
}

fn is_region(region: &str) -> bool {
    !region.is_empty()
        && region.len() <= 64
        && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// The region that a host of Amazon names: `s3.eu-west-1.amazonaws.com`, `s3-eu-west-1.amazonaws.com`, and longer ones.
fn region_of(host: &str) -> Option<&str> {
    let labels = host.strip_suffix(".amazonaws.com").or_else(|| host.strip_suffix(".amazonaws.com.cn"))?;
    labels.split('.').map(|label| label.strip_prefix("s3-").unwrap_or(label)).find(|label| {
        let mut parts = label.split('-');
        parts.next().is_some_and(|part| part.len() == 2)
            && label.split('-').count() >= 3
            && label.rsplit('-').next().is_some_and(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

/// Whether the bucket is a host of its own: where the provider wants it, and its name can be one.
fn is_virtual_hosted(host: &str, bucket: &str, scheme: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    let can_be = bucket.len() <= 63
        && bucket.split('.').all(is_label)
        // The certificate is for one label.
        && (scheme == "http" || !bucket.contains('.'));
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    can_be && VIRTUAL_HOSTED.iter().any(|suffix| name == *suffix || name.ends_with(&format!(".{suffix}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(endpoint: &str, bucket: &str, region: Option<&str>, insecure: bool) -> (String, String) {
        let address = BucketAddress::s3(endpoint, bucket, region, insecure).unwrap();
        let Store::S3 { region } = &address.store else { unreachable!("it is S3") };
        (address.base(), region.clone())
    }

    #[test]
    fn s3_has_a_region_and_a_place_for_the_bucket() {
        for (endpoint, bucket, region, insecure, base, expected) in [
            ("minio.minio.svc:9000", "apps", None, true, "http://minio.minio.svc:9000/apps", "us-east-1"),
            ("minio.example", "my.apps", Some("eu"), false, "https://minio.example/my.apps", "eu"),
            ("[::1]:9000", "apps", None, true, "http://[::1]:9000/apps", "us-east-1"),
            ("s3.amazonaws.com", "apps", None, false, "https://apps.s3.amazonaws.com", "us-east-1"),
            ("s3.amazonaws.com", "my.apps", None, false, "https://s3.amazonaws.com/my.apps", "us-east-1"),
            (
                "s3.amazonaws.com",
                "apps",
                Some("eu-west-1"),
                false,
                "https://apps.s3.eu-west-1.amazonaws.com",
                "eu-west-1",
            ),
            (
                "s3.eu-central-1.amazonaws.com",
                "apps",
                None,
                false,
                "https://apps.s3.eu-central-1.amazonaws.com",
                "eu-central-1",
            ),
            (
                "s3-us-gov-west-1.amazonaws.com",
                "a_b",
                None,
                false,
                "https://s3-us-gov-west-1.amazonaws.com/a_b",
                "us-gov-west-1",
            ),
            (
                "s3.dualstack.ap-southeast-2.amazonaws.com",
                "apps",
                None,
                false,
                "https://apps.s3.dualstack.ap-southeast-2.amazonaws.com",
                "ap-southeast-2",
            ),
            (
                "storage.googleapis.com",
                "apps",
                None,
                false,
                "https://apps.storage.googleapis.com",
                "us-east-1",
            ),
            ("notamazonaws.com", "apps", None, false, "https://notamazonaws.com/apps", "us-east-1"),
        ] {
            assert_eq!(s3(endpoint, bucket, region, insecure), (base.to_owned(), expected.to_owned()));
        }
        let address = BucketAddress::s3("s3.amazonaws.com", "apps", None, false).unwrap();
        assert_eq!(address.in_region("eu-west-1").unwrap().base(), "https://apps.s3.eu-west-1.amazonaws.com");
        assert_eq!(address.in_region("us-east-1"), None, "nothing new");
        assert_eq!(address.in_region("evil.example/"), None, "no host comes from a response");
    }

    #[test]
    fn gcs_and_azure_have_urls_of_their_own() {
        for (endpoint, insecure, base) in [
            ("storage.googleapis.com", false, "https://storage.googleapis.com/storage/v1/b/my%20apps/o"),
            (
                "https://storage.googleapis.com",
                false,
                "https://storage.googleapis.com/storage/v1/b/my%20apps/o",
            ),
            ("127.0.0.1:4443", true, "http://127.0.0.1:4443/storage/v1/b/my%20apps/o"),
        ] {
            assert_eq!(BucketAddress::gcs(endpoint, "my apps", insecure).unwrap().base(), base);
        }
        for (endpoint, base, account) in [
            ("https://acme.blob.core.windows.net", "https://acme.blob.core.windows.net/apps", Some("acme")),
            ("https://acme.blob.core.windows.net/", "https://acme.blob.core.windows.net/apps", Some("acme")),
            (
                "https://acme.blob.core.windows.net?sv=1",
                "https://acme.blob.core.windows.net/apps",
                Some("acme"),
            ),
            (
                "http://127.0.0.1:10000/devstoreaccount1",
                "http://127.0.0.1:10000/devstoreaccount1/apps",
                Some("devstoreaccount1"),
            ),
            ("http://127.0.0.1:10000", "http://127.0.0.1:10000/apps", None),
        ] {
            let address = BucketAddress::azure(endpoint, "apps").unwrap();
            assert_eq!((address.base().as_str(), address.account().as_deref()), (base, account));
        }
    }

    #[test]
    fn what_cannot_be_used_is_named_without_a_secret() {
        for (endpoint, expect) in [
            ("https://minio.example", "write it without scheme"),
            ("minio.example/path", "it has a path or query"),
            ("minio.example?x=s3cret", "'minio.example' is not valid: it has a path or query"),
            ("me:s3cret@minio.example", "it has credentials"),
            ("", "it is not 'host[:port]'"),
            ("a b", "it is not 'host[:port]'"),
        ] {
            let error = BucketAddress::s3(endpoint, "apps", None, false).unwrap_err().to_string();
            assert!(error.contains(expect) && !error.contains("s3cret"), "{error}");
        }
        let error = BucketAddress::azure("acme.blob.core.windows.net", "apps").unwrap_err().to_string();
        assert!(error.contains("http or https URL of a storage account"), "{error}");
        for bucket in ["", ".", "..", "a/b", "a\nb", &"a".repeat(256)] {
            assert!(BucketAddress::s3("h", bucket, None, false).is_err(), "{bucket:?}");
        }
        assert!(BucketAddress::s3("h", "apps", Some("a/b"), false).is_err());
    }

    #[test]
    fn queries_and_paths_are_encoded_for_signatures() {
        assert_eq!(
            query(&[("prefix", "a/b c+d~é"), ("list-type", "2")]),
            "list-type=2&prefix=a%2Fb%20c%2Bd~%C3%A9"
        );
        assert_eq!(encode_path("a/b c%"), "a/b%20c%25");
    }
}
