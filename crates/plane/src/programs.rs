//! Where etcd, kube-apiserver, kube-controller-manager and kubectl come from: folders that the environment names,
//! the user's cache, or a build of the Go module beside this crate.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    gobuild,
    process::{is_executable, on_path},
};

/// The version of Kubernetes that is built when none is found.
pub const VERSION: &str = "v1.36.3";

/// The versions of Kubernetes that the plane was tested with.
pub const TESTED: [&str; 1] = ["1.36"];

/// The environment variables that may name a folder with the components.
const FOLDERS: [&str; 2] = ["PLUMB_PLANE_DIR", "KUBEBUILDER_ASSETS"];
const ETCD: &str = "etcd";
const API_SERVER: &str = "kube-apiserver";
const CONTROLLER_MANAGER: &str = "kube-controller-manager";
const KUBECTL: &str = "kubectl";
/// The one binary that is all of them; the component is its first argument.
const PLANE: &str = "plane";

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
    /// Which way was taken, as a sentence for people.
    pub origin: String,
}

impl Programs {
    /// Finds the components, or builds them. `tell` receives progress, a line each.
    pub fn find(tell: &dyn Fn(&str)) -> Result<Self> {
        for variable in FOLDERS {
            let Some(folder) = env::var_os(variable).filter(|value| !value.is_empty()) else { continue };
            let found = Self::in_folder(Path::new(&folder), variable);
            return found.with_context(|| {
                format!("{variable} names a folder without {ETCD}, {API_SERVER} and {CONTROLLER_MANAGER}")
            });
        }
        if let (Some(etcd), Some(server), Some(manager)) =
            (on_path(ETCD), on_path(API_SERVER), on_path(CONTROLLER_MANAGER))
        {
            return Ok(Self {
                etcd: alone(etcd),
                api_server: alone(server),
                controller_manager: alone(manager),
                kubectl: on_path(KUBECTL).map(alone),
                origin: "the control plane's components are those of PATH".to_owned(),
            });
        }
        let binary = cached(tell)?;
        let origin = format!("the control plane's components are {}", binary.display());
        Ok(Self::of_one(&binary, origin))
    }

    fn in_folder(folder: &Path, variable: &str) -> Option<Self> {
        let origin = format!("the control plane's components are those of {variable}");
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

fn alone(file: PathBuf) -> Program {
    Program(vec![file.into_os_string()])
}

/// The user's cache of built planes: `$XDG_CACHE_HOME/plumb/plane/<version>/plane`.
fn cached(tell: &dyn Fn(&str)) -> Result<PathBuf> {
    let folder = cache_folder()?.join("plane").join(VERSION);
    let binary = folder.join(PLANE);
    if is_executable(&binary) {
        return Ok(binary);
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let lock_file = folder.join("lock");
    let lock = File::create(&lock_file).with_context(|| format!("cannot write {}", lock_file.display()))?;
    if lock.try_lock().is_err() {
        tell("another process builds the control plane; waiting for it");
        lock.lock().context("cannot lock the cache of control planes")?;
    }
    // Whoever held the lock before us may have built it.
    if !is_executable(&binary) {
        gobuild::build(&folder, &binary, tell)?;
    }
    Ok(binary)
}

/// The folder of everything that Plumb's tools keep between runs.
pub fn cache_folder() -> Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    match set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache"))) {
        Some(folder) => Ok(folder.join("plumb")),
        None => bail!("neither XDG_CACHE_HOME nor HOME is set: there is no place to keep a control plane"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn executable(folder: &Path, name: &str) {
        let file = folder.join(name);
        fs::write(&file, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_folder_needs_all_three_components() {
        let folder = tempfile::tempdir().unwrap();
        executable(folder.path(), ETCD);
        executable(folder.path(), API_SERVER);
        assert!(Programs::in_folder(folder.path(), "X").is_none());
        executable(folder.path(), CONTROLLER_MANAGER);
        let found = Programs::in_folder(folder.path(), "X").unwrap();
        assert_eq!(found.etcd, alone(folder.path().join(ETCD)));
    }

    #[test]
    fn one_binary_is_called_with_the_component_first() {
        let folder = tempfile::tempdir().unwrap();
        executable(folder.path(), PLANE);
        let found = Programs::in_folder(folder.path(), "X").unwrap();
        assert_eq!(found.api_server.0[1], API_SERVER);
    }
}
