//! The environment of the demo: a control plane, a Git server with the sample, a sink, the three controllers as processes.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use plumb_plane::{ADMIN, Plane, PlaneOptions};
use plumb_testkit::controllers::{Controllers, ControllersOptions, NAMES};
use plumb_testkit::gitserver::{Credentials, GitServer, GitServerOptions};
use plumb_testkit::repository::Repository;
use plumb_testkit::sink::Sink;
use plumb_testkit::webhook;

use super::cluster::{Cluster, outline};
use super::sample;
use super::{print_line, seconds_text};
use crate::check::workspace_root;

/// The path of an object of the toolkit.
pub const REPOSITORY: &str = "/apis/source.toolkit.fluxcd.io/v1/namespaces/flux-system/gitrepositories/demo";
/// The Kustomization that heals.
pub const SHOP: &str = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/flux-system/kustomizations/shop";
/// The Kustomization that warns.
pub const OFFICE: &str = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/flux-system/kustomizations/office";
/// The Receiver.
pub const RECEIVER: &str =
    "/apis/notification.toolkit.fluxcd.io/v1/namespaces/flux-system/receivers/git-host";

/// Everything that runs. Fields are dropped in this order: users of something before it.
pub struct Stage {
    pub controllers: Controllers,
    pub repository: Repository,
    pub sink: Sink,
    pub cluster: Cluster,
    _git: GitServer,
    plane: Plane,
}

impl Stage {
    /// Builds and starts everything, and applies the objects.
    pub fn up() -> Result<Self> {
        let began = Instant::now();
        let progress = |line: &str| print_line(&format!("[{:>6}] {line}", seconds_text(began.elapsed())));
        let binaries = controllers()?;
        progress("starting a control plane");
        let plane = Plane::start(&PlaneOptions {
            progress: |line| print_line(&format!("         {line}")),
            ..PlaneOptions::default()
        })?;
        progress(&format!("{}; ready in {}", plane.origin(), seconds_text(plane.started_in())));
        let cluster = Cluster::of(&plane)?;
        let definitions = workspace_root()?.join("config/crd");
        let definitions = definitions.to_str().context("the path of the workspace is not UTF-8")?;
        cluster.kubectl(&["apply", "--server-side", "-k", definitions], "")?;
        cluster.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"], "")?;
        cluster.kubectl(&["create", "namespace", "flux-system"], "")?;
        let credentials =
            Credentials { username: sample::GIT_USER.to_owned(), password: sample::GIT_PASSWORD.to_owned() };
        let git = GitServer::start(&GitServerOptions { tls: false, credentials: Some(credentials) })?;
        let repository = git.repository("demo")?;
        sample::write(&repository)?;
        let commit = repository.push("The shop, and the office")?;
        progress(&format!("a Git server at {} holds commit {}", git.url("demo"), short(&commit)));
        let sink = Sink::start()?;
        let controllers = Controllers::start(&plane, &binaries, &ControllersOptions::whole_cluster())?;
        for name in NAMES {
            progress(&format!("{name} is ready, process {}", controllers.id(name).unwrap_or_default()));
        }
        cluster.kubectl(
            &["apply", "--server-side", "-f", "-"],
            &sample::objects(&git.url("demo"), &sink.url()),
        )?;
        Ok(Self { controllers, repository, sink, cluster, _git: git, plane })
    }

    /// Sends the Receiver a push event, as the Git host would.
    pub fn webhook(&self) -> Result<()> {
        let receiver = self.cluster.read(RECEIVER)?;
        let path = receiver["status"]["webhookPath"].as_str().context("the Receiver has no path yet")?;
        let response = webhook::send(
            self.controllers.receiver(),
            path,
            sample::WEBHOOK_TOKEN,
            b"{\"ref\":\"refs/heads/main\"}",
        )?;
        if response.code != 200 {
            bail!("the Receiver answered {}: {}", response.code, response.body);
        }
        Ok(())
    }

    /// The running parts, for the diagnosis of a fault.
    pub fn report(&self) -> String {
        let object = |path: &str| match self.cluster.get(path) {
            Ok(Some(object)) => outline(&object),
            Ok(None) => "not there".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        let name = |path: &str| path.rsplit('/').take(2).collect::<Vec<_>>().join(" of ");
        let objects: Vec<String> = [REPOSITORY, SHOP, OFFICE, RECEIVER]
            .iter()
            .map(|path| format!("{}: {}", name(path), object(path)))
            .collect();
        format!("{}\n\n{}", objects.join("\n"), self.controllers.last_lines())
    }

    /// How to look around.
    pub fn invitation(&self) -> String {
        format!(
            "\nEverything stays up until Ctrl-C. In another terminal:\n\n  \
             export KUBECONFIG={}\n  \
             kubectl -n flux-system get gitrepositories,kustomizations\n  \
             kubectl -n shop scale deployment/web --replicas=8; kubectl -n shop get deployment/web --watch\n  \
             kubectl -n flux-system get events --field-selector reason=DriftCorrected\n  \
             kubectl -n flux-system get kustomization/office -o yaml\n\n\
             The working tree of the repository: {}",
            self.plane.kubeconfig(ADMIN).display(),
            self.repository.folder().display(),
        )
    }
}

/// The first characters of a commit's id.
pub fn short(commit: &str) -> &str {
    commit.get(..8).unwrap_or(commit)
}

/// The folder of the controllers: that of this program, which is built together with them.
fn controllers() -> Result<PathBuf> {
    let own = std::env::current_exe().context("this program has no path")?;
    let folder = own.parent().context("this program lies in no folder")?.to_path_buf();
    for name in NAMES {
        if !folder.join(name).is_file() {
            bail!("{name} is not built: start the demo with `cargo xtask demo`");
        }
    }
    Ok(folder)
}
