//! A mirror of release binaries on 127.0.0.1 that misbehaves on request: for tests.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use flate2::{Compression, write::GzEncoder};
use sha2::{Digest as _, Sha256};

use crate::download::FileDigest;
use crate::release::ETCD;

/// What the mirror does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Responds, with the whole file or the requested range.
    Serve,
    /// Supports no ranges.
    Whole,
    /// Closes the first transfer of each archive after so many bytes.
    CutFirst(usize),
    /// Sends so many bytes of an archive and then none, but keeps the connection.
    Stall(usize),
    /// Accepts connections and never responds.
    Silent,
    /// Responds to the probe only.
    SilentAfterProbe,
    /// Has no file.
    Missing,
}

/// A file, as the mirror offers it.
#[derive(Clone)]
struct Offered {
    name: String,
    content: Vec<u8>,
}

/// A request to the mirror: the path, and the range.
pub type MirrorRequest = (String, Option<String>);

/// The mirror. It serves as long as the test runs.
pub struct Mirror {
    /// Its URL.
    pub url: String,
    files: Vec<Offered>,
    requests: Arc<Mutex<Vec<MirrorRequest>>>,
}

impl Mirror {
    /// Serves an archive of etcd and one of Kubernetes for linux-amd64.
    pub fn start(manner: Manner) -> Self {
        let folder = format!("etcd-{ETCD}-linux-amd64");
        let etcd = archive(&[(&format!("{folder}/README.md"), "text"), (&format!("{folder}/etcd"), "etcd")]);
        let server = "kubernetes/server/bin";
        let kubernetes = archive(&[
            (&format!("{server}/kube-apiserver"), "kube-apiserver"),
            (&format!("{server}/kube-proxy"), "not needed"),
            (&format!("{server}/kube-controller-manager"), "kube-controller-manager"),
            (&format!("{server}/kubectl"), "kubectl"),
        ]);
        let files = vec![
            Offered { name: format!("{folder}.tar.gz"), content: etcd },
            Offered { name: "kubernetes-server-linux-amd64.tar.gz".to_owned(), content: kubernetes },
        ];
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::<Mutex<Vec<MirrorRequest>>>::default();
        let (offered, noted) = (files.clone(), Arc::clone(&requests));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (offered, noted) = (offered.clone(), Arc::clone(&noted));
                // A client that leaves in the middle is what some tests are about.
                thread::spawn(move || answer(stream, manner, &offered, &noted).ok());
            }
        });
        Self { url, files, requests }
    }

    /// Writes a file with the digests of the archives; with `wrong`, digests of nothing here.
    pub fn digests(&self, folder: &Path, wrong: bool) -> PathBuf {
        let mut lines = String::new();
        for Offered { name, content } in &self.files {
            let digest = if wrong { Sha256::digest(b"another file") } else { Sha256::digest(content) };
            let digest = FileDigest::of_bytes(&digest).to_string();
            writeln!(lines, "{}  {name}", digest.strip_prefix("sha256:").unwrap()).unwrap();
        }
        let file = folder.join("SHA256SUMS");
        std::fs::write(&file, lines).unwrap();
        file
    }

    /// The transfers since the start, without the probes.
    pub fn transfers(&self) -> Vec<MirrorRequest> {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|(_, range)| range.as_deref() != Some("bytes=0-0")).cloned().collect()
    }
}

fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::none()));
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        // Not executable: the unpacked file is, all the same.
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

fn answer(
    mut stream: TcpStream,
    manner: Manner,
    files: &[Offered],
    requests: &Mutex<Vec<MirrorRequest>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut first, mut range) = (String::new(), None);
    reader.read_line(&mut first)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("range:") {
            range = Some(value.trim().to_owned());
        }
        line.clear();
    }
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let before = requests.lock().unwrap().iter().filter(|(of, _)| *of == path).count();
    let probe = range.as_deref() == Some("bytes=0-0");
    requests.lock().unwrap().push((path.clone(), range.clone()));
    let file = files.iter().find(|file| path.ends_with(&format!("/{}", file.name)));
    let Some(file) = file.filter(|_| manner != Manner::Missing) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    if manner == Manner::Silent || (manner == Manner::SilentAfterProbe && !probe) {
        // Until the client leaves.
        return reader.read_line(&mut line).map(|_| ());
    }
    let bounds = range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let from = bounds.and_then(|(from, _)| from.parse().ok()).unwrap_or(0);
    let end = if probe { 1 } else { file.content.len() };
    let head = if manner == Manner::Whole || range.is_none() {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}", file.content.len())
    } else if from >= file.content.len() {
        "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0".to_owned()
    } else {
        let total = file.content.len();
        format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {from}-{}/{total}",
            end - from,
            end - 1
        )
    };
    stream.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let from = if manner == Manner::Whole { 0 } else { from.min(end) };
    let body = &file.content[from..end];
    match manner {
        // The probe was the first request.
        Manner::CutFirst(bytes) if !probe && before <= 1 => stream.write_all(&body[..bytes]),
        Manner::Stall(bytes) if !probe => {
            stream.write_all(&body[..bytes.min(body.len())])?;
            reader.read_line(&mut line).map(|_| ())
        }
        _ => stream.write_all(body),
    }
}
