//! Object stores of others at work, which check signatures: moto for S3, azurite for Azure.

use std::{
    net::{SocketAddr, TcpStream},
    ops::ControlFlow,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use plumb_plane::{
    process::{Process, Start},
    stores::{AZURITE, MOTO, ObjectServer},
};
use reqwest::Method;
use sha2::Sha256;

use crate::{controllers::free_port, wait::Wait};

/// How long a server may take to listen.
const READY_MAX: Duration = Duration::from_mins(1);
/// The account of azurite.
pub const ACCOUNT: &str = "devaccount";
/// Its key, in Base64.
pub const ACCOUNT_KEY: &str = "YSBrZXkgb2YgYSB0ZXN0";
/// The version of the API that is spoken here.
const AZURE_VERSION: &str = "2021-12-02";
/// What the user of moto may do.
const POLICY: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;

/// A server of S3 with one bucket and one user, who alone is let in. It ends when dropped.
pub struct MotoProcess {
    /// Where it listens.
    pub address: SocketAddr,
    /// The ID of the user's key.
    pub key_id: String,
    /// Its secret.
    pub secret: String,
    _folder: tempfile::TempDir,
    _process: Process,
}

/// A server of Azure Blob Storage. It ends when dropped.
pub struct AzuriteProcess {
    address: SocketAddr,
    _folder: tempfile::TempDir,
    _process: Process,
}

/// Whether a server can run; otherwise the running test is counted as skipped, and returns after it.
pub fn is_there(server: ObjectServer) -> bool {
    let is_there = server.is_obtainable();
    if !is_there {
        crate::skip(&format!("there is nothing to install {} {} with", server.name, server.version));
    }
    is_there
}

impl MotoProcess {
    /// Starts on a free port of 127.0.0.1 with the objects in a bucket.
    pub async fn start(bucket: &str, objects: &[(&str, &[u8])]) -> Result<Self> {
        // Until then, nobody is asked who it is.
        let open = (objects.len() + 4).to_string();
        let (address, folder, process) =
            tokio::task::block_in_place(|| started(MOTO, &[], &[("INITIAL_NO_AUTH_ACTION_COUNT", &open)]))?;
        let iam = async |action: &str| -> Result<String> {
            let scope = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0";
            let request = reqwest::Client::new().post(format!("http://{address}/"));
            let body = format!("{action}&UserName=me&Version=2010-05-08");
            let form = request.header("content-type", "application/x-www-form-urlencoded");
            let sent = form.header("authorization", scope).body(body).send().await?;
            Ok(sent.error_for_status()?.text().await?)
        };
        iam("Action=CreateUser").await?;
        let keys = iam("Action=CreateAccessKey").await?;
        let policy = encoded(POLICY);
        iam(&format!("Action=PutUserPolicy&PolicyName=all&PolicyDocument={policy}")).await?;
        put(&format!("http://{address}/{bucket}"), b"").await?;
        for (key, bytes) in objects {
            put(&format!("http://{address}/{bucket}/{}", encoded(key)), bytes).await?;
        }
        let text = |name: &str| -> Result<String> {
            let rest = keys.split_once(&format!("<{name}>")).context("the key has no such part")?.1;
            Ok(rest.split('<').next().unwrap_or_default().to_owned())
        };
        let (key_id, secret) = (text("AccessKeyId")?, text("SecretAccessKey")?);
        Ok(Self { address, key_id, secret, _folder: folder, _process: process })
    }
}

impl AzuriteProcess {
    /// Starts on a free port of 127.0.0.1 with a container.
    pub async fn start(container: &str) -> Result<Self> {
        let accounts = format!("{ACCOUNT}:{ACCOUNT_KEY}");
        let (address, folder, process) = tokio::task::block_in_place(|| {
            started(
                AZURITE,
                &["--silent", "--inMemoryPersistence", "--disableTelemetry"],
                &[("AZURITE_ACCOUNTS", &accounts)],
            )
        })?;
        let started = Self { address, _folder: folder, _process: process };
        started.send(&format!("/{ACCOUNT}/{container}"), "restype:container", b"").await?;
        Ok(started)
    }

    /// The endpoint, as a spec has it.
    pub fn endpoint(&self) -> String {
        format!("http://{}/{ACCOUNT}", self.address)
    }

    /// Writes an object.
    pub async fn put(&self, container: &str, key: &str, bytes: &[u8]) -> Result<()> {
        self.send(&format!("/{ACCOUNT}/{container}/{}", encoded(key)), "", bytes).await
    }

    /// A signed PUT. `parameter` is the only one of the query.
    async fn send(&self, path: &str, parameter: &str, bytes: &[u8]) -> Result<()> {
        let date = httpdate(SystemTime::now());
        let length = if bytes.is_empty() { String::new() } else { bytes.len().to_string() };
        let kind = if parameter.is_empty() { "x-ms-blob-type:BlockBlob\n" } else { "" };
        let resource = if parameter.is_empty() { String::new() } else { format!("\n{parameter}") };
        let text = format!(
            "PUT\n\n\n{length}\n\n\n\n\n\n\n\n\n{kind}x-ms-date:{date}\nx-ms-version:{AZURE_VERSION}\n/{ACCOUNT}{path}{resource}"
        );
        let mut mac = Hmac::<Sha256>::new_from_slice(&BASE64_STANDARD.decode(ACCOUNT_KEY)?)?;
        mac.update(text.as_bytes());
        let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
        let query =
            if parameter.is_empty() { String::new() } else { format!("?{}", parameter.replace(':', "=")) };
        let url = format!("http://{}{path}{query}", self.address);
        let mut request = reqwest::Client::new().request(Method::PUT, url);
        if parameter.is_empty() {
            request = request.header("x-ms-blob-type", "BlockBlob");
        }
        let sent = request
            .header("x-ms-date", date)
            .header("content-length", bytes.len())
            .header("x-ms-version", AZURE_VERSION)
            .header("authorization", format!("SharedKey {ACCOUNT}:{signature}"))
            .body(bytes.to_vec())
            .send()
            .await?;
        let status = sent.status();
        ensure!(status.is_success(), "azurite responded with {status}: {}", sent.text().await?);
        Ok(())
    }
}

fn started(
    server: ObjectServer,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Result<(SocketAddr, tempfile::TempDir, Process)> {
    // `cargo xtask test` has installed it before, and has shown what it does.
    let program = server.provide(&|_| ())?;
    let address = free_port()?;
    let folder = tempfile::Builder::new().prefix("plumb-store-").tempdir()?;
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let listen =
        if server == MOTO { ["-H", &host, "-p", &port] } else { ["--blobHost", &host, "--blobPort", &port] };
    let argv = listen.iter().chain(arguments).map(|word| (*word).into());
    let mut environment: Vec<_> =
        environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let home = folder.path().as_os_str().to_owned();
    environment.push(("HOME".into(), home));
    let process = Process::start(Start {
        name: server.name,
        argv: std::iter::once(program.into()).chain(argv).collect(),
        environment,
        log: folder.path().join("log"),
    })?;
    Wait::until("the object store listens", READY_MAX).poll_blocking(|| {
        let connected = TcpStream::connect(address);
        Ok(connected.map_or_else(|error| ControlFlow::Continue(error.kind()), |_| ControlFlow::Break(())))
    })?;
    Ok((address, folder, process))
}

async fn put(url: &str, bytes: &[u8]) -> Result<()> {
    let sent = reqwest::Client::new().put(url).body(bytes.to_vec()).send().await?;
    sent.error_for_status().with_context(|| format!("PUT {url}"))?;
    Ok(())
}

fn encoded(key: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let encode =
        |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    key.bytes().map(encode).collect()
}

/// The time as HTTP writes it.
pub(crate) fn httpdate(time: SystemTime) -> String {
    k8s_openapi::jiff::fmt::rfc2822::DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&time.try_into().unwrap_or_default())
        .unwrap_or_default()
}
