//! The command lines of the three components, and the files that they read.

use std::{
    ffi::OsString,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{Program, certificates};

/// Records users and requests, without bodies.
const AUDIT_POLICY: &str = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": [{"level": "Metadata"}]}"#;
/// Controllers that need real machines. Those that need a cloud provider do not start without one; Kubernetes 1.37
/// does not have their names any more, and exits at an unknown name.
const CONTROLLERS: &str = "*,-node-ipam-controller,-node-lifecycle-controller";

/// How much etcd may store.
const STORE_BYTES_MAX: u64 = 2 << 30;

/// File names inside the plane's folder.
pub const TOKENS: &str = "tokens.csv";
pub const AUDIT_LOG: &str = "audit.log";
const POLICY: &str = "audit-policy.json";

/// Ports that were free a moment ago. Another process that takes one meanwhile makes the start fail, and it is retried.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub client: u16,
    pub peer: u16,
    pub server: u16,
}

impl Ports {
    pub fn free() -> Result<Self> {
        // Held together, so that they differ.
        let held: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
        let port = |at: usize| held[at].local_addr().map(|address| address.port());
        let free = || Ok::<_, std::io::Error>(Self { client: port(0)?, peer: port(1)?, server: port(2)? });
        free().context("no free port on 127.0.0.1")
    }
}

/// etcd. Without `durable` it skips fsync: right for tests, never for tests of durability.
pub fn etcd(program: &Program, folder: &Path, ports: Ports, durable: bool) -> Vec<OsString> {
    let client = format!("http://127.0.0.1:{}", ports.client);
    let peer = format!("http://127.0.0.1:{}", ports.peer);
    let mut command = Line::of(program);
    command.path("--data-dir", folder.join("etcd")).option("--log-level", "warn");
    command.option("--listen-client-urls", &client).option("--advertise-client-urls", &client);
    command.option("--listen-peer-urls", &peer).option("--initial-advertise-peer-urls", &peer);
    command.option("--initial-cluster", &format!("default={peer}"));
    // etcd's own default, but explicit: without it etcd maps 10 GB at once, which fails where address space is limited.
    command.option("--quota-backend-bytes", &STORE_BYTES_MAX.to_string());
    if !durable {
        command.0.push("--unsafe-no-fsync".into());
    }
    command.0
}

/// kube-apiserver, with our certificates and tokens.
pub fn api_server(program: &Program, folder: &Path, ports: Ports, audit: bool) -> Result<Vec<OsString>> {
    let mut command = Line::of(program);
    command.option("--etcd-servers", &format!("http://127.0.0.1:{}", ports.client));
    command.option("--bind-address", "127.0.0.1").option("--advertise-address", "127.0.0.1");
    command.option("--secure-port", &ports.server.to_string());
    command.path("--tls-cert-file", folder.join(certificates::SERVER_CERTIFICATE));
    command.path("--tls-private-key-file", folder.join(certificates::SERVER_KEY));
    command.path("--cert-dir", folder.join("certificates"));
    command.path("--service-account-key-file", folder.join(certificates::ACCOUNT_PUBLIC));
    command.path("--service-account-signing-key-file", folder.join(certificates::ACCOUNT_KEY));
    command.option("--service-account-issuer", "https://kubernetes.default.svc");
    command.path("--token-auth-file", folder.join(TOKENS)).option("--authorization-mode", "RBAC");
    // A /24 would end at 254 Services.
    command.option("--service-cluster-ip-range", "10.0.0.0/16").option("--endpoint-reconciler-type", "none");
    if audit {
        let policy = folder.join(POLICY);
        fs::write(&policy, AUDIT_POLICY).with_context(|| format!("cannot write {}", policy.display()))?;
        command.path("--audit-policy-file", policy).path("--audit-log-path", folder.join(AUDIT_LOG));
        // Without this the log rotates at 100 MB.
        command.option("--audit-log-maxsize", "0");
    }
    Ok(command.0)
}

/// kube-controller-manager, fast enough that a benchmark does not measure it.
pub fn controller_manager(program: &Program, folder: &Path, kubeconfig: &Path) -> Vec<OsString> {
    let mut command = Line::of(program);
    command.path("--kubeconfig", kubeconfig.to_owned()).option("--leader-elect", "false");
    command.option("--secure-port", "0").option("--kube-api-qps", "2000").option("--kube-api-burst", "4000");
    command.path("--service-account-private-key-file", folder.join(certificates::ACCOUNT_KEY));
    command.path("--root-ca-file", folder.join(certificates::CA)).option("--controllers", CONTROLLERS);
    command.0
}

struct Line(Vec<OsString>);

impl Line {
    fn of(program: &Program) -> Self {
        Self(program.0.clone())
    }

    fn option(&mut self, name: &str, value: &str) -> &mut Self {
        self.0.push(format!("{name}={value}").into());
        self
    }

    fn path(&mut self, name: &str, value: PathBuf) -> &mut Self {
        let mut argument = OsString::from(format!("{name}="));
        argument.push(value);
        self.0.push(argument);
        self
    }
}
