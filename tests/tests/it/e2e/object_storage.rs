//! Two replicas of source-controller: with artifacts in a bucket both serve, on disk the leader alone.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    ops::ControlFlow,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use plumb_plane::stores::MOTO;
use plumb_testkit::{
    controllers::{Controllers, ControllersOptions, SOURCE, free_port},
    sink::Sink,
    stores::{MotoProcess, is_there},
    wait::Wait,
    wire,
};
use serde_json::Value;
use tokio::task::block_in_place;

use super::{
    environment::Environment,
    sample::SETTINGS,
    seen::{is_ready, text},
};

/// A lease that expires quickly.
const ELECTION: [&str; 4] = [
    "--enable-leader-election=true",
    "--leader-election-lease-duration=4s",
    "--leader-election-renew-deadline=3s",
    "--leader-election-retry-period=500ms",
];
/// How long a probe must not be responded to.
const QUIET: Duration = Duration::from_secs(1);
/// How long a replica may take to lead.
const LEADS_MAX: Duration = Duration::from_secs(30);

fn options(events: SocketAddr, flags: &[String]) -> ControllersOptions {
    let flags: Vec<String> =
        ELECTION.iter().map(|flag| (*flag).to_owned()).chain(flags.iter().cloned()).collect();
    ControllersOptions { flags: BTreeMap::from([(SOURCE, flags)]), ..ControllersOptions::with_sink(events) }
}

/// Another source-controller for the same namespace.
fn standby(environment: &Environment, flags: &[String]) -> Result<Controllers> {
    let options = ControllersOptions {
        names: vec![SOURCE],
        namespace: Some(environment.namespace.clone()),
        ..options(environment.sink.address(), flags)
    };
    Controllers::begin(plumb_testkit::plane(), &Controllers::binaries()?, &options)
}

/// What a server responds for the artifact of a source, if that has not changed: 304 where it has the digest of the status.
fn served(address: SocketAddr, source: &Value) -> Result<u16> {
    let path = format!("/{}", text(source, "/status/artifact/path"));
    let tag = format!("\"{}\"", text(source, "/status/artifact/digest"));
    Ok(block_in_place(|| wire::request(address, "GET", &path, &[("If-None-Match", &tag)], b""))?.code)
}

/// Whether a server responds to the probe of the Service.
fn is_probed(address: SocketAddr) -> Result<bool> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(QUIET))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    Ok(stream.read(&mut [0; 16]).is_ok_and(|read| read > 0))
}

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_in_a_bucket_are_served_by_the_replica_that_does_not_lead() -> Result<()> {
    if !is_there(MOTO) {
        return Ok(());
    }
    let moto = MotoProcess::start("artifacts", &[]).await?;
    let credentials = tempfile::tempdir()?;
    fs::write(credentials.path().join("accesskey"), &moto.key_id)?;
    fs::write(credentials.path().join("secretkey"), &moto.secret)?;
    // What the Service leads to: the replica that does not lead.
    let service = free_port()?;
    let mut flags = vec![
        "--storage-backend=s3".to_owned(),
        format!("--storage-endpoint={}", moto.address),
        "--storage-insecure".to_owned(),
        "--storage-bucket=artifacts".to_owned(),
        "--storage-bucket-prefix=clusters/test".to_owned(),
        format!("--storage-credentials-dir={}", credentials.path().display()),
        format!("--storage-adv-addr={service}"),
    ];
    let mut environment =
        Environment::started("bucket-replicas", Sink::start()?, |events| options(events, &flags)).await?;
    flags.push(format!("--storage-addr={service}"));
    let mut second = block_in_place(|| standby(&environment, &flags))?;
    block_in_place(|| second.until_ready(SOURCE)).context("a replica that does not lead is ready")?;

    let app = environment.app("enabled").await?;
    let source = environment.get("GitRepository", "app").await?;
    ensure!(text(&source, "/status/artifact/url").starts_with(&format!("http://{service}/")), "{source:#}");
    ensure!(served(service, &source)? == 304);

    // The leader is gone: what it stored is served all the time, and nothing is built again.
    environment.controllers.kill(SOURCE);
    ensure!(served(service, &source)? == 304);
    app.repository.replace(SETTINGS, "hello", "hola")?;
    let revision = environment.commit(&app.repository, "after the leader").await?;
    environment.applied("app", &revision).await.with_context(|| second.last_lines())?;
    let after = environment.get("GitRepository", "app").await?;
    ensure!(is_ready(&after) && after["status"]["artifact"]["revision"] == revision.as_str(), "{after:#}");
    ensure!(served(service, &source)? == 304, "the artifact before is retained for a while");
    environment.delete("GitRepository", "app").await?;
    environment.gone("GitRepository", "app").await?;
    ensure!(served(service, &after)? == 404, "nothing stays of a source that was deleted");
    environment.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn on_disk_only_the_leader_is_ready_and_serves() -> Result<()> {
    let mut environment =
        Environment::started("disk-replicas", Sink::start()?, |events| options(events, &[])).await?;
    environment.app("enabled").await?;
    let address = free_port()?;
    let flags = [format!("--storage-addr={address}"), format!("--storage-adv-addr={address}")];
    let mut second = block_in_place(|| standby(&environment, &flags))?;
    // All that keeps it from being ready is the storage.
    let waits = Wait::until("the second replica waits for the lease", LEADS_MAX);
    let waits = waits.poll(async || {
        let probed = block_in_place(|| second.probed(SOURCE)).map_err(|error| format!("{error:#}"));
        Ok(if probed.as_deref() == Ok("not ready: storage") {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(probed)
        })
    });
    waits.await?;
    ensure!(!block_in_place(|| is_probed(address))?, "only the leader is ready on the Service");
    environment.controllers.kill(SOURCE);
    block_in_place(|| second.until_ready(SOURCE))?;
    ensure!(block_in_place(|| is_probed(address))?);
    // Its disk is empty: the artifact is built again, and announced at its own address.
    let url = format!("http://{address}/");
    environment
        .until("GitRepository", "app", "has an artifact of the second replica", |seen| {
            is_ready(seen)
                && text(seen, "/status/artifact/url").starts_with(&url)
                && served(address, seen).is_ok_and(|code| code == 200)
        })
        .await
        .with_context(|| second.last_lines())?;
    environment.close().await
}
