//! The flags of the storage of artifacts in a bucket.

use std::{convert::Infallible, fmt, path::PathBuf, str::FromStr};

use clap::{Args, ValueEnum};
use plumb_api::sealed::Sealed;
use plumb_store::KeyPrefix;

/// Storage of artifacts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum StorageBackend {
    /// In the directory of `--storage-path`.
    #[default]
    Disk,
    /// In a bucket of Amazon S3 or of an object store with its API.
    S3,
    /// In a bucket of Google Cloud Storage.
    Gcs,
    /// In a container of Azure Blob Storage.
    Azure,
}

impl fmt::Display for StorageBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disk => "disk",
            Self::S3 => "s3",
            Self::Gcs => "gcs",
            Self::Azure => "azure",
        })
    }
}

/// A value that is never printed.
#[derive(Clone)]
pub struct SecretFlag(pub Sealed);

impl FromStr for SecretFlag {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(Sealed::from(text)))
    }
}

impl fmt::Debug for SecretFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Flags of the storage of artifacts. Credentials have no flags: they are read from a directory or from the environment.
#[derive(Debug, Clone, Args)]
pub struct BucketFlags {
    /// Storage of artifacts: disk, s3, gcs or azure. With an object store every replica serves artifacts; with the disk only the
    /// leader does.
    #[arg(
        long = "storage-backend",
        env = "STORAGE_BACKEND",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub storage_backend: StorageBackend,
    /// Bucket or container in which artifacts are stored.
    #[arg(long = "storage-bucket", env = "STORAGE_BUCKET", default_value = "")]
    pub storage_bucket: String,
    /// Prefix of the keys of all artifacts. Controllers that share a bucket need one each.
    #[arg(long = "storage-bucket-prefix", env = "STORAGE_BUCKET_PREFIX", default_value = "")]
    pub storage_bucket_prefix: KeyPrefix,
    /// Endpoint of the object store, `HOST[:PORT]`; of azure, the URL of the storage account. Empty: that of Amazon S3 or Google.
    #[arg(long = "storage-endpoint", env = "STORAGE_ENDPOINT", default_value = "")]
    pub storage_endpoint: String,
    /// Region of the bucket, of s3. Empty: the region that the endpoint names, or us-east-1.
    #[arg(long = "storage-region", env = "AWS_REGION", default_value = "")]
    pub storage_region: String,
    /// Connect to the object store over plain HTTP.
    #[arg(long = "storage-insecure")]
    pub storage_insecure: bool,
    /// File with CA certificates (PEM) that are trusted for the object store beside those of the system. It is read at the start.
    #[arg(long = "storage-ca-file", env = "STORAGE_CA_FILE")]
    pub storage_ca_file: Option<PathBuf>,
    /// Directory with the credential of the object store, a file for each key of a Bucket's Secret: accesskey, secretkey and
    /// sessiontoken; serviceaccount; accountKey, sasKey, or tenantId, clientId and clientSecret. It is read for each operation.
    /// Empty: environment variables of the clouds' own tools.
    #[arg(long = "storage-credentials-dir", env = "STORAGE_CREDENTIALS_DIR")]
    pub storage_credentials_dir: Option<PathBuf>,
    /// ID of the access key of s3.
    #[arg(
        long = "storage-aws-access-key-id",
        env = "AWS_ACCESS_KEY_ID",
        hide = true,
        hide_env_values = true
    )]
    pub aws_access_key_id: Option<SecretFlag>,
    /// Secret of the access key of s3.
    #[arg(
        long = "storage-aws-secret-access-key",
        env = "AWS_SECRET_ACCESS_KEY",
        hide = true,
        hide_env_values = true
    )]
    pub aws_secret_access_key: Option<SecretFlag>,
    /// Token of temporary credentials of s3.
    #[arg(
        long = "storage-aws-session-token",
        env = "AWS_SESSION_TOKEN",
        hide = true,
        hide_env_values = true
    )]
    pub aws_session_token: Option<SecretFlag>,
    /// File with the key of a service account of gcs.
    #[arg(
        long = "storage-google-application-credentials",
        env = "GOOGLE_APPLICATION_CREDENTIALS",
        hide = true
    )]
    pub google_application_credentials: Option<PathBuf>,
    /// Key of the storage account of azure.
    #[arg(
        long = "storage-azure-storage-key",
        env = "AZURE_STORAGE_KEY",
        hide = true,
        hide_env_values = true
    )]
    pub azure_storage_key: Option<SecretFlag>,
    /// Shared access signature of azure.
    #[arg(
        long = "storage-azure-sas-token",
        env = "AZURE_STORAGE_SAS_TOKEN",
        hide = true,
        hide_env_values = true
    )]
    pub azure_storage_sas_token: Option<SecretFlag>,
    /// Secret of the application of azure that `AZURE_TENANT_ID` and `AZURE_CLIENT_ID` name.
    #[arg(
        long = "storage-azure-client-secret",
        env = "AZURE_CLIENT_SECRET",
        hide = true,
        hide_env_values = true
    )]
    pub azure_client_secret: Option<SecretFlag>,
}
