//! Programs of others that tests run against: a container registry, the stock `flux`, `helm`, `cosign` and `notation` commands. Each is built once per
//! machine from its Go module, at exact versions, and kept.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::gobuild::{self, Compilation};
use crate::process::{is_executable, on_path};
use crate::programs::{cache_folder, locked};

/// The environment variable that may name a folder with the programs.
const FOLDER: &str = "PLUMB_PEERS_DIR";

/// A program of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The name of the program.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    package: &'static str,
    module: &'static str,
    sums: &'static str,
    link: &'static str,
    /// About how many packages are compiled: only for the progress line.
    packages: usize,
    /// A folder of the package that is embedded and that the module does not hold.
    embeds: Option<&'static str>,
}

/// The registry of the CNCF project distribution.
pub const REGISTRY: Peer = Peer {
    name: "registry",
    version: "v3.1.2",
    package: "github.com/distribution/distribution/v3/cmd/registry",
    module: include_str!("../peers/registry/go.mod"),
    sums: include_str!("../peers/registry/go.sum"),
    link: "-s -w",
    packages: 770,
    embeds: None,
};

/// The `flux` command.
pub const FLUX: Peer = Peer {
    name: "flux",
    version: "v2.9.5",
    package: "github.com/fluxcd/flux2/v2/cmd/flux",
    module: include_str!("../peers/flux/go.mod"),
    sums: include_str!("../peers/flux/go.sum"),
    link: "-s -w -X main.VERSION=2.9.5",
    packages: 1700,
    // What `flux install` writes: no test needs it.
    embeds: Some("manifests"),
};

/// The `helm` command.
pub const HELM: Peer = Peer {
    name: "helm",
    version: "v3.22.0",
    package: "helm.sh/helm/v3/cmd/helm",
    module: include_str!("../peers/helm/go.mod"),
    sums: include_str!("../peers/helm/go.sum"),
    link: "-s -w -X helm.sh/helm/v3/internal/version.version=v3.22.0",
    packages: 1200,
    embeds: None,
};

/// The `cosign` command.
pub const COSIGN: Peer = Peer {
    name: "cosign",
    version: "v3.1.3",
    package: "github.com/sigstore/cosign/v3/cmd/cosign",
    module: include_str!("../peers/cosign/go.mod"),
    sums: include_str!("../peers/cosign/go.sum"),
    link: "-s -w -X sigs.k8s.io/release-utils/version.gitVersion=v3.1.3",
    packages: 1290,
    embeds: None,
};

/// The `notation` command.
pub const NOTATION: Peer = Peer {
    name: "notation",
    version: "v1.3.2",
    package: "github.com/notaryproject/notation/cmd/notation",
    module: include_str!("../peers/notation/go.mod"),
    sums: include_str!("../peers/notation/go.sum"),
    link: "-s -w",
    packages: 200,
    embeds: None,
};

/// Flux's source-controller: benchmarks measure it beside ours.
pub const FLUX_SOURCE_CONTROLLER: Peer = Peer {
    name: "source-controller",
    version: "v1.9.3",
    package: "github.com/fluxcd/source-controller",
    module: include_str!("../peers/flux-source-controller/go.mod"),
    sums: include_str!("../peers/flux-source-controller/go.sum"),
    link: "-s -w",
    packages: 2000,
    embeds: None,
};

/// Those that tests run against.
pub const ALL: [Peer; 5] = [REGISTRY, FLUX, HELM, COSIGN, NOTATION];

impl Peer {
    /// Whether the program is there, or there is a Go to build it with.
    pub fn is_obtainable(&self) -> bool {
        on_path("go").is_some()
            || self.provided().is_some()
            || self.cached().is_ok_and(|file| is_executable(&file))
    }

    /// The program of the folder that the environment names.
    fn provided(&self) -> Option<PathBuf> {
        let folder = std::env::var_os(FOLDER).filter(|folder| !folder.is_empty())?;
        Some(Path::new(&folder).join(self.name)).filter(|file| is_executable(file))
    }

    /// Where the cache has it, or will have it.
    fn cached(&self) -> Result<PathBuf> {
        Ok(cache_folder()?.join("peers").join(format!("{}-{}", self.name, self.version)).join(self.name))
    }

    /// The program: of the folder that the environment names, of the cache, or built into it. `progress` receives a line each.
    pub fn provide(&self, progress: &dyn Fn(&str)) -> Result<PathBuf> {
        if let Some(file) = self.provided() {
            return Ok(file);
        }
        let binary = self.cached()?;
        let folder = binary.parent().context("the program has no folder")?;
        if is_executable(&binary) {
            return Ok(binary);
        }
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let _lock = locked(&folder.join("lock"), self.name, progress)?;
        // The previous holder of the lock may have built it.
        if !is_executable(&binary) {
            let go = on_path("go").with_context(|| {
                format!("no Go to build {} {}: install Go 1.26, or set {FOLDER}", self.name, self.version)
            })?;
            self.build(&go, folder, &binary, progress)?;
        }
        Ok(binary)
    }

    fn build(&self, go: &Path, folder: &Path, binary: &Path, progress: &dyn Fn(&str)) -> Result<()> {
        let source = tempfile::Builder::new()
            .prefix("source-")
            .tempdir_in(folder)
            .context("cannot create a folder")?;
        let write = |name: &str, content: &str| {
            fs::write(source.path().join(name), content).with_context(|| format!("cannot write {name}"))
        };
        write("go.mod", self.module)?;
        write("go.sum", self.sums)?;
        progress(&format!("building {} {} from its Go module: once per machine", self.name, self.version));
        let mut arguments: Vec<OsString> = vec!["build".into(), "-v".into()];
        if let Some(embedded) = self.embeds {
            arguments.extend(self.overlay(go, source.path(), embedded, &write)?);
        }
        let output = source.path().join(self.name);
        for argument in ["-trimpath", "-buildvcs=false", "-ldflags", self.link, "-o"] {
            arguments.push(argument.into());
        }
        arguments.extend([output.clone().into(), self.package.into()]);
        let mut command = command(go, source.path());
        command.args(arguments);
        let what = Compilation { title: format!("{} {}", self.name, self.version), packages: self.packages };
        gobuild::run(command, &what, progress)?;
        // Renamed only when complete: another process finds all of it, or nothing.
        fs::rename(&output, binary).with_context(|| format!("cannot rename to {}", binary.display()))
    }

    /// Arguments that give the package the folder that it embeds. The module cache cannot be overlaid, so the modules are copied
    /// beside it.
    fn overlay(
        &self,
        go: &Path,
        source: &Path,
        embedded: &str,
        write: &dyn Fn(&str, &str) -> Result<()>,
    ) -> Result<[OsString; 3]> {
        let copied = command(go, source).args(["mod", "vendor", "-e"]).output().context("cannot start go")?;
        if !copied.status.success() {
            anyhow::bail!("go mod vendor failed: {}", String::from_utf8_lossy(&copied.stderr));
        }
        write("empty.yaml", "apiVersion: v1\nkind: List\nitems: []\n")?;
        let place = source.join("vendor").join(self.package).join(embedded).join("empty.yaml");
        let overlay =
            serde_json::json!({ "Replace": { place.display().to_string(): source.join("empty.yaml") } });
        write("overlay.json", &overlay.to_string())?;
        Ok(["-mod=vendor".into(), "-overlay".into(), source.join("overlay.json").into()])
    }
}

fn command(go: &Path, folder: &Path) -> Command {
    let mut command = Command::new(go);
    let set = [("GOTOOLCHAIN", "local"), ("GOFLAGS", ""), ("GOWORK", "off"), ("CGO_ENABLED", "0")];
    command.current_dir(folder).envs(set);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_module_names_the_version_and_the_package() {
        for Peer { name, version, package, module, .. } in ALL.into_iter().chain([FLUX_SOURCE_CONTROLLER]) {
            let path = package.rsplit_once("/cmd/").map_or(package, |(module, _)| module);
            assert!(module.contains(&format!("{path} {version}")), "{name}");
            assert!(module.contains(&format!("tool {package}")), "{name}: without it go forgets the package");
        }
    }
}
