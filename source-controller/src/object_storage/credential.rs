//! The credential of the storage: files of a mounted Secret, read anew for each operation, or what the environment had at the start.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use plumb_api::{sealed::Sealed, source::BucketProvider};
use plumb_bucket::{BucketAddress, BucketCredential};
use plumb_filetree::digest::Hasher;
use plumb_secrets::SecretContent;

use super::flags::{BucketFlags, SecretFlag, StorageBackend};
use crate::{bucket::secret_credential, options::Options, settings::part};

/// Bytes of a file of a credential.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// Files of a directory that are read.
const FILES_MAX: usize = 64;

/// Where the credential is. What was parsed is kept as long as the files are the same.
pub struct Credentials {
    backend: StorageBackend,
    address: BucketAddress,
    place: Place,
    parsed: Mutex<Option<(String, BucketCredential)>>,
}

enum Place {
    Directory(PathBuf),
    Environment { values: Vec<(&'static str, Sealed)>, google: Option<PathBuf> },
}

impl Credentials {
    /// The directory of the flags, else the environment.
    pub fn new(options: &Options, address: BucketAddress) -> Self {
        let flags = &options.bucket;
        let place = match &flags.storage_credentials_dir {
            Some(directory) => Place::Directory(directory.clone()),
            None => Place::Environment {
                values: of_environment(options),
                google: flags.google_application_credentials.clone(),
            },
        };
        Self { backend: flags.storage_backend, address, place, parsed: Mutex::default() }
    }

    /// The credential as it is now. Errors never show a value.
    pub fn read(&self) -> Result<BucketCredential, String> {
        let data = self.data()?;
        let mut hasher = Hasher::default();
        for (name, value) in &data {
            part(&mut hasher, name, value.expose());
        }
        let fingerprint = hasher.finish_hex();
        let mut parsed = self.parsed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, credential)) = parsed.as_ref()
            && *known == fingerprint
        {
            return Ok(credential.clone());
        }
        let credential = self.parse(data)?;
        *parsed = Some((fingerprint, credential.clone()));
        Ok(credential)
    }

    fn data(&self) -> Result<Vec<(String, Sealed)>, String> {
        match &self.place {
            Place::Directory(directory) => files(directory),
            Place::Environment { values, google } => {
                let mut data: Vec<(String, Sealed)> =
                    values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
                if let Some(path) = google.as_ref().filter(|_| self.backend == StorageBackend::Gcs) {
                    data.push(("serviceaccount".to_owned(), file(path)?));
                }
                Ok(data)
            }
        }
    }

    fn parse(&self, data: Vec<(String, Sealed)>) -> Result<BucketCredential, String> {
        let (provider, remedy) = match self.backend {
            StorageBackend::Disk | StorageBackend::S3 => {
                (BucketProvider::Generic, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
            }
            StorageBackend::Gcs => (BucketProvider::Gcp, "GOOGLE_APPLICATION_CREDENTIALS"),
            StorageBackend::Azure => (
                BucketProvider::Azure,
                "AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN, or AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET",
            ),
        };
        if data.is_empty() {
            return Err(format!(
                "there is none: set --storage-credentials-dir, or the environment variables {remedy}"
            ));
        }
        let name = match &self.place {
            Place::Directory(directory) => directory.display().to_string(),
            Place::Environment { .. } => "environment".to_owned(),
        };
        let content = SecretContent::from_parts("storage", &name, data);
        let session = content.get("sessiontoken").cloned();
        let credential = secret_credential(provider, &self.address, &content);
        let credential = credential.map_err(|error| error.to_string())?;
        Ok(match credential {
            BucketCredential::AccessKey(mut key) => {
                key.session = session;
                BucketCredential::AccessKey(key)
            }
            BucketCredential::Google(key) => BucketCredential::Google(key.for_writing()),
            other => other,
        })
    }
}

/// The environment variables as the keys of a Secret. Those of Azure's identity without a secret are for other things.
fn of_environment(options: &Options) -> Vec<(&'static str, Sealed)> {
    let flags: &BucketFlags = &options.bucket;
    let secret = |value: &Option<SecretFlag>| value.as_ref().map(|SecretFlag(value)| value.clone());
    let text = |value: &Option<String>| value.as_deref().map(Sealed::from);
    let of_backend: Vec<(&'static str, Option<Sealed>)> = match flags.storage_backend {
        StorageBackend::Disk | StorageBackend::Gcs => Vec::new(),
        StorageBackend::S3 => vec![
            ("accesskey", secret(&flags.aws_access_key_id)),
            ("secretkey", secret(&flags.aws_secret_access_key)),
            ("sessiontoken", secret(&flags.aws_session_token)),
        ],
        StorageBackend::Azure => {
            let mut values = vec![
                ("accountKey", secret(&flags.azure_storage_key)),
                ("sasKey", secret(&flags.azure_storage_sas_token)),
            ];
            if let Some(value) = secret(&flags.azure_client_secret) {
                values.push(("clientSecret", Some(value)));
                values.push(("tenantId", text(&options.azure_tenant_id)));
                values.push(("clientId", text(&options.azure_client_id)));
                values.push(("authorityHost", Some(Sealed::from(options.azure_authority_host.as_str()))));
            }
            values
        }
    };
    let is_set = |value: &Sealed| !value.is_empty();
    of_backend.into_iter().filter_map(|(name, value)| Some((name, value.filter(is_set)?))).collect()
}

/// The files of a mounted Secret by their names, sorted; without the directories and links that the mount has for itself.
fn files(directory: &Path) -> Result<Vec<(String, Sealed)>, String> {
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", directory.display());
    let mut data = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)?.take(FILES_MAX) {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !name.starts_with('.') && entry.path().is_file() {
            data.push((name, file(&entry.path())?));
        }
    }
    data.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(data)
}

/// A file without line breaks at its end.
fn file(path: &Path) -> Result<Sealed, String> {
    let failed = |problem: String| format!("cannot read {}: {problem}", path.display());
    let opened = fs::File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut bytes = Vec::new();
    let read = opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |last| last + 1);
    bytes.truncate(end);
    Ok(Sealed::new(bytes))
}
