//! Artifacts in a bucket, from the flags: where it is, and what proves that this controller may write there.

mod credential;
mod flags;
#[cfg(test)]
pub mod tests;

use std::{fs, sync::Arc};

use plumb_bucket::{Access, AddressError, BucketAddress, BucketClient, BucketLimits};
use plumb_memory::MemoryPool;
use plumb_store::{AccessSource, BucketSettings, BucketStore};
use plumb_transport::{Proxy, Trust};

use self::credential::Credentials;
pub use self::flags::{BucketFlags, StorageBackend};
use crate::options::Options;

/// The endpoint of S3 without a flag.
const S3_ENDPOINT: &str = "s3.amazonaws.com";
/// The endpoint of Google without a flag.
const GCS_ENDPOINT: &str = "storage.googleapis.com";
/// What Google's signatures and tokens are for: any region.
const GCS_REGION: &str = "auto";

/// The flags do not say where artifacts are.
#[derive(Debug, thiserror::Error)]
pub enum StorageFlagError {
    /// A flag is missing.
    #[error("--storage-backend={backend} needs {flag}")]
    Missing {
        /// The back-end.
        backend: StorageBackend,
        /// The flag.
        flag: &'static str,
    },
    /// A flag of a bucket without one.
    #[error(
        "--storage-bucket has no effect with --storage-backend=disk: set --storage-backend to s3, gcs or azure"
    )]
    NotUsed,
    /// Plain HTTP.
    #[error("--storage-endpoint is a URL without TLS: use https, or set --storage-insecure")]
    Plain,
    /// The endpoint, the bucket or the region.
    #[error("--storage-endpoint, --storage-bucket or --storage-region cannot be used")]
    Address(#[source] AddressError),
    /// The account of Azure.
    #[error(
        "--storage-endpoint is not the URL of a storage account: write https://ACCOUNT.blob.core.windows.net"
    )]
    NoAccount,
    /// The CA certificates.
    #[error("--storage-ca-file cannot be used: {problem}")]
    Ca {
        /// Why.
        problem: String,
    },
    /// The credential. It never shows a value.
    #[error("the credential of --storage-backend={backend} cannot be used: {problem}")]
    Credential {
        /// The back-end.
        backend: StorageBackend,
        /// Why.
        problem: String,
    },
}

/// The store in a bucket, if the flags name one. A credential that cannot be used is found now.
pub fn open(options: &Options, memory: MemoryPool) -> Result<Option<BucketStore>, StorageFlagError> {
    let flags = &options.bucket;
    let Some(address) = address(flags)? else { return Ok(None) };
    let ca = flags.storage_ca_file.as_ref().map(fs::read).transpose();
    let ca = ca.map_err(|error| StorageFlagError::Ca { problem: error.to_string() })?;
    let trust = Trust::parse_beside_system(ca.as_deref(), None);
    let trust = trust.map_err(|error| StorageFlagError::Ca { problem: error.problem })?;
    let credentials = Credentials::new(options, address.clone());
    let access = access_source(trust, credentials, flags.storage_insecure);
    if let Err(problem) = access() {
        return Err(StorageFlagError::Credential { backend: flags.storage_backend, problem });
    }
    let client = BucketClient::new(options.addresses(), memory, BucketLimits::DEFAULT);
    let prefix = flags.storage_bucket_prefix.clone();
    Ok(Some(BucketStore::new(client, BucketSettings { address, prefix, access })))
}

fn access_source(trust: Trust, credentials: Credentials, insecure: bool) -> AccessSource {
    Arc::new(move || {
        let credential = credentials.read()?;
        let (trust, fingerprint) = (trust.clone(), "storage".to_owned());
        Ok(Access { trust, proxy: Proxy::Environment, fingerprint, insecure, credential })
    })
}

fn address(flags: &BucketFlags) -> Result<Option<BucketAddress>, StorageFlagError> {
    let BucketFlags { storage_backend: backend, storage_bucket: bucket, storage_insecure: insecure, .. } =
        flags;
    if *backend == StorageBackend::Disk {
        return if bucket.is_empty() { Ok(None) } else { Err(StorageFlagError::NotUsed) };
    }
    let missing = |flag| StorageFlagError::Missing { backend: *backend, flag };
    if bucket.is_empty() {
        return Err(missing("--storage-bucket"));
    }
    let endpoint = flags.storage_endpoint.trim().trim_end_matches('/');
    if endpoint.starts_with("http://") && !insecure {
        return Err(StorageFlagError::Plain);
    }
    let host = endpoint.trim_start_matches("http://").trim_start_matches("https://");
    let host = |default| if host.is_empty() { default } else { host };
    let region = Some(flags.storage_region.as_str()).filter(|region| !region.is_empty());
    let address = match backend {
        StorageBackend::Disk | StorageBackend::S3 => {
            BucketAddress::s3(host(S3_ENDPOINT), bucket, region, *insecure)
        }
        StorageBackend::Gcs => BucketAddress::s3(host(GCS_ENDPOINT), bucket, Some(GCS_REGION), *insecure),
        StorageBackend::Azure if endpoint.is_empty() => return Err(missing("--storage-endpoint")),
        StorageBackend::Azure => BucketAddress::azure(endpoint, bucket),
    };
    let address = address.map_err(StorageFlagError::Address)?;
    if *backend == StorageBackend::Azure && address.account().is_none() {
        return Err(StorageFlagError::NoAccount);
    }
    Ok(Some(address))
}
