//! Where etcd, kube-apiserver, kube-controller-manager and kubectl come from: folders that the environment names,
//! PATH, the user's cache, the official release binaries, or a build of the Go module next to this crate.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::download::DownloadError;
use crate::process::{is_executable, on_path, program_in};
use crate::release::{self, ReleaseSource};
use crate::{PROGRESS_EVERY, gobuild};

/// The version of Kubernetes that is built where no binaries are found.
pub const VERSION: &str = "v1.36.3";

/// The versions of Kubernetes that the plane was tested with.
pub const TESTED: [&str; 2] = ["1.36", "1.37"];

/// The environment variable that chooses where the components come from.
const CHOICE: &str = "PLUMB_PLANE_BINARIES";
/// The environment variables that may name a folder with the components, the first one first.
const FOLDERS: [&str; 2] = ["PLUMB_PLANE_DIR", ASSETS];
/// The variable of controller-runtime's envtest. Its folder often lacks kube-controller-manager, which envtest does not
/// need and `setup-envtest` does not install.
const ASSETS: &str = "KUBEBUILDER_ASSETS";
const ETCD: &str = "etcd";
const API_SERVER: &str = "kube-apiserver";
const CONTROLLER_MANAGER: &str = "kube-controller-manager";
const KUBECTL: &str = "kubectl";
/// The one binary that is all of them; the component is its first argument.
const PLANE: &str = "plane";
/// How progress names what is waited for.
const PLANE_TITLE: &str = "the control plane";
/// How often a lock that another process holds is tried.
const LOCK_POLL: Duration = Duration::from_millis(200);

/// How to run one component: a program, and the arguments that come before its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program(pub Vec<OsString>);

/// The components of a control plane, and where they were found.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The store.
    pub etcd: Program,
    /// The API server.
    pub api_server: Program,
    /// The built-in controllers.
    pub controller_manager: Program,
    /// The stock command of users.
    pub kubectl: Option<Program>,
    /// Where the components come from and how to choose, as a sentence.
    pub origin: String,
}

impl Programs {
    /// Finds, downloads or builds the components. `progress` receives a line each.
    pub fn find(progress: &(dyn Fn(&str) + Sync)) -> Result<Self> {
        Search::from_env()?.find(progress)
    }

    fn in_folder(folder: &Path, origin: String) -> Option<Self> {
        let one = folder.join(PLANE);
        if is_executable(&one) {
            return Some(Self::of_one(&one, origin));
        }
        let component = |name: &str| Some(folder.join(name)).filter(|file| is_executable(file)).map(alone);
        Some(Self {
            etcd: component(ETCD)?,
            api_server: component(API_SERVER)?,
            controller_manager: component(CONTROLLER_MANAGER)?,
            kubectl: component(KUBECTL).or_else(|| on_path(KUBECTL).map(alone)),
            origin,
        })
    }

    fn of_one(binary: &Path, origin: String) -> Self {
        let component = |name: &str| Program(vec![binary.as_os_str().to_owned(), name.into()]);
        Self {
            etcd: component(ETCD),
            api_server: component(API_SERVER),
            controller_manager: component(CONTROLLER_MANAGER),
            kubectl: Some(on_path(KUBECTL).map_or_else(|| component(KUBECTL), alone)),
            origin,
        }
    }
}

/// The components that a folder lacks.
fn missing_in(folder: &Path) -> Vec<&'static str> {
    let mut names = vec![ETCD, API_SERVER, CONTROLLER_MANAGER];
    names.retain(|name| !is_executable(&folder.join(name)));
    names
}

fn alone(file: PathBuf) -> Program {
    Program(vec![file.into_os_string()])
}

/// Which ways may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    /// Whichever is there first: a named folder, PATH, the cache, a download, a build.
    Any,
    /// Only a named folder or PATH.
    Path,
    /// Only the release binaries.
    Download,
    /// Only the build from Go modules.
    Build,
}

impl Choice {
    fn parse(text: &str) -> Result<Self> {
        match text {
            "" => Ok(Self::Any),
            "path" => Ok(Self::Path),
            "download" => Ok(Self::Download),
            "build" => Ok(Self::Build),
            other => bail!("{CHOICE} is {other:?}; it takes path, download or build, or is unset"),
        }
    }
}

/// The components in the environment.
struct Search {
    choice: Choice,
    /// A folder, and the variable that names it.
    folder: Option<(&'static str, PathBuf)>,
    path: Option<OsString>,
    /// `$XDG_CACHE_HOME/plumb/plane`, if there is a place for it.
    cache: Option<PathBuf>,
    release: ReleaseSource,
}

impl Search {
    fn from_env() -> Result<Self> {
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let text = |name: &str| set(name).map(|value| value.to_string_lossy().into_owned());
        Ok(Self {
            choice: Choice::parse(&text(CHOICE).unwrap_or_default())?,
            folder: FOLDERS.into_iter().find_map(|name| Some((name, set(name)?.into()))),
            path: env::var_os("PATH"),
            cache: cache_folder().ok().map(|folder| folder.join("plane")),
            release: ReleaseSource::of(text),
        })
    }

    fn find(&self, progress: &(dyn Fn(&str) + Sync)) -> Result<Programs> {
        match self.choice {
            Choice::Path => self.provided(progress)?.with_context(|| {
                format!(
                    "{CHOICE} is path, but {ETCD}, {API_SERVER} and {CONTROLLER_MANAGER} are not in PATH, and \
                     {} names no folder with them",
                    FOLDERS.join(" or ")
                )
            }),
            Choice::Download => self.downloaded(progress).map_err(|error| or_build(&error)),
            Choice::Build => self.built(progress),
            Choice::Any => match self.provided(progress)? {
                Some(found) => Ok(found),
                None => self.cached_or_made(progress),
            },
        }
    }

    /// What the user provides: a folder that a variable names, or PATH.
    fn provided(&self, progress: &dyn Fn(&str)) -> Result<Option<Programs>> {
        if let Some((variable, folder)) = &self.folder {
            if let Some(found) = Programs::in_folder(folder, origin(&format!("those of {variable}"))) {
                return Ok(Some(found));
            }
            let lacks = format!("{variable} names a folder without {}", missing_in(folder).join(", "));
            if *variable != ASSETS || self.choice == Choice::Path {
                bail!("{lacks}");
            }
            // It was set for something else.
            progress(&format!("{lacks}; looking elsewhere"));
        }
        let (Some(etcd), Some(server), Some(manager)) =
            (self.on_path(ETCD), self.on_path(API_SERVER), self.on_path(CONTROLLER_MANAGER))
        else {
            return Ok(None);
        };
        Ok(Some(Programs {
            etcd: alone(etcd),
            api_server: alone(server),
            controller_manager: alone(manager),
            kubectl: self.on_path(KUBECTL).map(alone),
            origin: origin("those of PATH"),
        }))
    }

    fn on_path(&self, program: &str) -> Option<PathBuf> {
        program_in(self.path.as_deref()?, program)
    }

    /// What an earlier run left in the cache, else a download, else a build.
    fn cached_or_made(&self, progress: &(dyn Fn(&str) + Sync)) -> Result<Programs> {
        let built = self.build_folder()?.join(PLANE);
        if is_executable(&built) {
            return Ok(of_build(&built));
        }
        match self.downloaded(progress) {
            Ok(found) => Ok(found),
            Err(error @ DownloadError::Unavailable { .. }) => {
                progress(&format!("{error}"));
                progress(&format!(
                    "no release binaries, so Kubernetes {VERSION} is built from Go modules ({CHOICE}=download or \
                     build chooses; {} and {} name mirrors)",
                    release::KUBERNETES_URL,
                    release::ETCD_URL,
                ));
                self.built(progress).with_context(|| format!("no release binaries ({error})"))
            }
            Err(error) => Err(or_build(&error)),
        }
    }

    /// The release binaries: from the cache, or downloaded into it.
    fn downloaded(&self, progress: &(dyn Fn(&str) + Sync)) -> Result<Programs, DownloadError> {
        let cache = self.cache().map_err(DownloadError::Local)?;
        let folder = cache.join(self.release.folder_name());
        let found = || {
            let origin = format!("the release binaries of Kubernetes and etcd in {}", folder.display());
            Programs::in_folder(&folder, self::origin(&origin))
        };
        if let Some(found) = found() {
            return Ok(found);
        }
        let lock = sibling(&folder, "lock");
        let _lock = locked(&lock, PLANE_TITLE, progress).map_err(DownloadError::Local)?;
        // The previous holder of the lock may have downloaded them.
        if found().is_none() {
            self.release.install(&folder, progress)?;
        }
        let incomplete = || DownloadError::Local(anyhow::anyhow!("{} lacks a component", folder.display()));
        found().ok_or_else(incomplete)
    }

    /// The build from Go modules: from the cache, or built into it.
    fn built(&self, progress: &dyn Fn(&str)) -> Result<Programs> {
        let folder = self.build_folder()?;
        let binary = folder.join(PLANE);
        if !is_executable(&binary) {
            fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
            let _lock = locked(&folder.join("lock"), PLANE_TITLE, progress)?;
            // The previous holder of the lock may have built it.
            if !is_executable(&binary) {
                let go = self.on_path("go").with_context(|| {
                    format!(
                        "no control plane was found, and no Go to build one. Install Go 1.26 or newer, or provide \
                         {ETCD}, {API_SERVER} and {CONTROLLER_MANAGER} in PATH, {}",
                        FOLDERS.join(" or ")
                    )
                })?;
                gobuild::build(&go, &folder, &binary, progress)?;
            }
        }
        Ok(of_build(&binary))
    }

    fn build_folder(&self) -> Result<PathBuf> {
        Ok(self.cache()?.join(VERSION))
    }

    fn cache(&self) -> Result<&Path> {
        self.cache.as_deref().context(NO_CACHE)
    }
}

/// The error of a download, and what may be done instead.
fn or_build(error: &DownloadError) -> anyhow::Error {
    anyhow::anyhow!("{error}. {CHOICE}=build builds the control plane from Go modules instead")
}

fn of_build(binary: &Path) -> Programs {
    Programs::of_one(binary, origin(&format!("those built from Go modules, {}", binary.display())))
}

fn origin(what: &str) -> String {
    format!("the control plane's components are {what} ({CHOICE}=path, download or build chooses)")
}

/// A file next to a folder, named after it.
pub fn sibling(folder: &Path, name: &str) -> PathBuf {
    let of = folder.file_name().unwrap_or_default().to_string_lossy();
    folder.with_file_name(format!("{of}-{name}"))
}

/// Waits until no other process holds the lock, and reports that now and then. It is free again when the file is dropped.
pub(crate) fn locked(file: &Path, what: &str, progress: &dyn Fn(&str)) -> Result<File> {
    let parent = file.parent().context("a lock needs a folder")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let lock = File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
    let (started, mut reported) = (Instant::now(), None::<Instant>);
    while let Err(error) = lock.try_lock() {
        if let fs::TryLockError::Error(error) = error {
            return Err(error).with_context(|| format!("cannot lock {}", file.display()));
        }
        if reported.is_none_or(|reported| reported.elapsed() >= PROGRESS_EVERY) {
            reported = Some(Instant::now());
            let seconds = started.elapsed().as_secs();
            progress(&format!("waiting for another process that provides {what}, {seconds} s"));
        }
        thread::sleep(LOCK_POLL);
    }
    Ok(lock)
}

const NO_CACHE: &str = "neither XDG_CACHE_HOME nor HOME is set: there is no place to keep a control plane";

/// The folder of everything that Plumb's tools keep between runs.
pub fn cache_folder() -> Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    Ok(folder.context(NO_CACHE)?.join("plumb"))
}

#[cfg(test)]
mod tests;
