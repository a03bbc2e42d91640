//! Artifacts of 17 MB and of 4 KB, downloaded by 100 clients at a time; next to nginx with the same files, where it is on the PATH.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use plumb_plane::{Plane, PlaneOptions};
use plumb_testkit::{
    controllers::{Controllers, ControllersOptions, NAMESPACE, SOURCE, free_port},
    kinds,
    registry::{CHART_LAYER, Registry},
    sink::Sink,
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::Runtime,
};

use super::{Section, median, objects::Objects};
use crate::bench::load;

/// Clients at a time.
const CLIENTS: usize = 100;
/// The files: a name, bytes, and how often it is downloaded in one round.
const FILES: [(&str, usize, usize); 2] = [("large", 17 << 20, 200), ("small", 4 << 10, 20_000)];
/// Rounds of each server, in turns.
const ROUNDS: usize = 5;
/// Target: times nginx's time.
const RATIO_MAX: f64 = 1.1;
const START_MAX: Duration = Duration::from_secs(10);
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Times of one file, in seconds.
struct Measured {
    name: &'static str,
    bytes: usize,
    downloads: usize,
    ours: f64,
    nginx: Option<f64>,
}

/// Measures.
pub fn run(binaries: &Path) -> Result<Section> {
    let plane = Plane::start(&PlaneOptions::default())?;
    let (registry, sink) = (Registry::plain()?, Sink::start()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let client = runtime.block_on(plane.client())?;
    runtime.block_on(load::prepare(&client))?;
    let options = ControllersOptions {
        names: vec![SOURCE],
        namespace: None,
        ..ControllersOptions::with_sink(sink.address())
    };
    let controllers = Controllers::start(&plane, binaries, &options)?;
    let sources = Objects { api: kinds::namespaced(&client, "OCIRepository", NAMESPACE)?, runtime: &runtime };
    let folder = tempfile::tempdir()?;
    let nginx = Nginx::start(folder.path())?;
    let mut all = Vec::new();
    for (name, bytes, downloads) in FILES {
        let content = noise(bytes);
        fs::write(folder.path().join(name), &content)?;
        registry.push(name, &[(CHART_LAYER, &content)], &json!({}));
        let (_, artifact) = sources
            .create(json!({
                "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository", "metadata": { "name": name },
                "spec": {
                    "interval": "1h", "url": registry.url("org/app"), "ref": { "tag": name },
                    "layerSelector": { "mediaType": CHART_LAYER, "operation": "copy" },
                },
            }))
            .with_context(|| controllers.last_lines())?;
        let url = artifact["url"].as_str().context("the artifact has no URL")?;
        let (host, path) =
            url.trim_start_matches("http://").split_once('/').context("the URL has no path")?;
        let ours = Target { address: host.parse()?, path: format!("/{path}"), bytes };
        let theirs =
            nginx.as_ref().map(|nginx| Target { address: nginx.address, path: format!("/{name}"), bytes });
        let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            our_times.push(download(&runtime, &ours, downloads)?);
            if let Some(theirs) = &theirs {
                their_times.push(download(&runtime, theirs, downloads)?);
            }
        }
        let nginx = theirs.is_some().then(|| median(their_times));
        all.push(Measured { name, bytes, downloads, ours: median(our_times), nginx });
    }
    Ok(Section { table: table(&all), missed: misses(&all) })
}

/// Bytes that do not compress.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut content = Vec::with_capacity(bytes + 8);
    while content.len() < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        content.extend_from_slice(&state.to_be_bytes());
    }
    content.truncate(bytes);
    content
}

/// What is downloaded.
struct Target {
    address: SocketAddr,
    path: String,
    bytes: usize,
}

/// Downloads a file so often, by all clients together; the seconds that it takes.
fn download(runtime: &Runtime, target: &Target, downloads: usize) -> Result<f64> {
    let left = Arc::new(AtomicUsize::new(downloads));
    let request = format!("GET {} HTTP/1.1\r\nhost: {}\r\n\r\n", target.path, target.address);
    let began = Instant::now();
    runtime.block_on(async {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (left, request, bytes, address) =
                    (Arc::clone(&left), request.clone(), target.bytes, target.address);
                tokio::spawn(async move {
                    let mut stream = TcpStream::connect(address).await?;
                    stream.set_nodelay(true)?;
                    while left
                        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                        .is_ok()
                    {
                        stream.write_all(request.as_bytes()).await?;
                        receive(&mut stream, bytes).await?;
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        for client in clients {
            client.await.context("a client panicked")??;
        }
        anyhow::Ok(())
    })?;
    Ok(began.elapsed().as_secs_f64())
}

/// Reads one response, whose body has so many bytes.
async fn receive(stream: &mut TcpStream, bytes: usize) -> Result<()> {
    let mut buffer = vec![0; 256 << 10];
    let mut filled = 0;
    let head = loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        filled += read;
        if let Some(end) = buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if read == 0 || filled > HEAD_BYTES_MAX {
            bail!("the server sent no response");
        }
    };
    if !buffer.starts_with(b"HTTP/1.1 200") {
        bail!("the server answered {}", String::from_utf8_lossy(&buffer[..head]));
    }
    let mut body = filled - head;
    while body < bytes {
        match stream.read(&mut buffer).await? {
            0 => bail!("the body ended after {body} bytes"),
            read => body += read,
        }
    }
    Ok(())
}

/// nginx as a file server. It ends with this value.
struct Nginx {
    address: SocketAddr,
    process: Child,
}

impl Nginx {
    /// Serves a folder; none where there is no nginx.
    fn start(root: &Path) -> Result<Option<Self>> {
        let address = free_port()?;
        let root = root.display();
        let configuration = format!(
            "daemon off; pid {root}/nginx.pid; worker_processes 2; error_log {root}/error.log;\n\
             events {{ worker_connections 1024; }}\n\
             http {{ access_log off; sendfile on; tcp_nopush on; client_body_temp_path {root}/t1; proxy_temp_path {root}/t2;\n\
             fastcgi_temp_path {root}/t3; uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5; keepalive_requests 1000000;\n\
             server {{ listen {address}; root {root}; }} }}\n"
        );
        let file = format!("{root}/nginx.conf");
        fs::write(&file, configuration)?;
        let mut command = Command::new("nginx");
        command.args(["-c", &file, "-p", &root.to_string()]).stdin(Stdio::null()).stderr(Stdio::null());
        let Ok(process) = command.spawn() else {
            eprintln!("there is no nginx on the PATH: measured without it");
            return Ok(None);
        };
        let nginx = Self { address, process };
        let began = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            if began.elapsed() > START_MAX {
                bail!("nginx does not listen on {address}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Some(nginx))
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // SIGTERM: the first process ends the workers.
        if let Some(id) = i32::try_from(self.process.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        }
        let _ = self.process.wait();
    }
}

fn misses(all: &[Measured]) -> Vec<String> {
    let slow = |measured: &&Measured| measured.nginx.is_some_and(|nginx| measured.ours > nginx * RATIO_MAX);
    let text = |measured: &Measured| {
        let ratio = measured.ours / measured.nginx.unwrap_or(f64::NAN);
        format!("artifacts of {} bytes take {ratio:.2} × nginx's time, at most {RATIO_MAX}", measured.bytes)
    };
    all.iter().filter(slow).map(text).collect()
}

fn table(all: &[Measured]) -> String {
    let mut text = format!(
        "Artifacts for {CLIENTS} clients, median of {ROUNDS} rounds\n\n\
         | file | downloads | Plumb | nginx | ratio | target |\n|---|---|---|---|---|---|"
    );
    for Measured { name, bytes, downloads, ours, nginx } in all {
        let (shown, ratio) = match nginx {
            Some(nginx) => (format!("{nginx:.2} s"), format!("{:.2}", ours / nginx)),
            None => ("–".to_owned(), "–".to_owned()),
        };
        let line = format!("{name}, {bytes} B | {downloads} | {ours:.2} s | {shown} | {ratio}");
        let _ = write!(text, "\n| {line} | ≤ {RATIO_MAX} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_takes_longer_than_with_nginx_is_named() {
        let measured = |ours, nginx| Measured { name: "small", bytes: 4096, downloads: 1, ours, nginx };
        assert_eq!(misses(&[measured(1.0, Some(1.0)), measured(9.0, None)]), Vec::<String>::new());
        assert_eq!(misses(&[measured(2.0, Some(1.0))]).len(), 1);
    }
}
