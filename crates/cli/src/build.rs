//! `plumb build DIR`: what `kustomize build DIR` prints. The directory is looked at here; what the files in it mean is the
//! engine's.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use plumb_filetree::RelPath;
use plumb_kustomize::{Build, Options, Reach};

use crate::disk::DiskTree;
use crate::{flux, output};

/// Arguments of `plumb build`.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct Arguments {
    /// Directory with the kustomization file.
    #[arg(value_name = "DIR", default_value = ".")]
    directory: OsString,
    /// Output file. If it is a directory, one file per object is written.
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Load restrictor: restricts reading files outside of the directory.
    #[arg(long, value_enum, value_name = "RESTRICTOR", default_value_t)]
    load_restrictor: LoadRestrictor,
    /// Treat warnings as errors: write no objects and exit with status 1.
    #[arg(long)]
    strict: bool,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(clap::Subcommand)]
enum What {
    /// Build a Flux Kustomization from a local directory and print its objects.
    #[command(visible_alias = "ks")]
    Kustomization(flux::Arguments),
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum LoadRestrictor {
    /// Files below the directory only.
    #[default]
    #[value(name = "LoadRestrictionsRootOnly")]
    RootOnly,
    /// All files.
    #[value(name = "LoadRestrictionsNone")]
    Nothing,
}

const HELM: &str = "Plumb does not run Helm: commit what `helm template` prints";
const PLUGINS: &str = "Plumb runs no plugins and no functions: commit what they print";

/// Options of kustomize that ask for what Plumb does not do.
const UNSUPPORTED_OPTIONS: [(&str, &str); 12] = [
    ("--enable-helm", HELM),
    ("--helm-command", HELM),
    ("--helm-api-versions", HELM),
    ("--helm-kube-version", HELM),
    ("--helm-debug", HELM),
    ("--enable-alpha-plugins", PLUGINS),
    ("--enable-exec", PLUGINS),
    ("--network", PLUGINS),
    ("--network-name", PLUGINS),
    ("--mount", PLUGINS),
    ("--env", PLUGINS),
    ("--as-current-user", PLUGINS),
];

/// What to say of an option that kustomize knows and we do not.
pub fn unsupported_option(option: &str) -> Option<String> {
    let (name, why) = UNSUPPORTED_OPTIONS.iter().find(|(name, _)| *name == option)?;
    Some(format!("{name} is not supported: {why}"))
}

/// Builds and prints.
pub fn run(arguments: &Arguments) -> Result<()> {
    let Arguments { directory, output, load_restrictor, strict, what } = arguments;
    if let Some(What::Kustomization(arguments)) = what {
        return flux::run(arguments);
    }
    let reach = match load_restrictor {
        LoadRestrictor::RootOnly => Reach::OwnDirectory,
        LoadRestrictor::Nothing => Reach::Tree,
    };
    let directory = locate(Path::new(directory))?;
    let build = build(&directory, reach)?;
    output::warn(&build.warnings, *strict)?;
    output::write(&build.to_yaml(), output.as_deref())?;
    // The process ends here; taking thousands of objects apart first would only take time.
    std::mem::forget(build);
    Ok(())
}

/// Builds a directory of this machine.
pub fn build(directory: &RelPath, reach: Reach) -> Result<Build> {
    let tree = DiskTree::new(reach);
    let options = Options { reach, ..Options::default() };
    plumb_kustomize::build(&tree, directory, &options).map_err(|error| explain(error.into(), &tree.notes()))
}

/// Adds what a tree knows about the way to the error.
pub fn explain(error: anyhow::Error, notes: &[String]) -> anyhow::Error {
    if notes.is_empty() {
        return error;
    }
    anyhow::anyhow!("{error:#}\n  note: {}", notes.join("\n  note: "))
}

/// The path of a directory from the root of the filesystem, without links on the way.
pub fn locate(directory: &Path) -> Result<RelPath> {
    let shown = directory.display();
    if directory.as_os_str().is_empty() {
        bail!("must build at directory: directory path cannot be empty");
    }
    let real = match std::fs::canonicalize(directory) {
        Ok(real) => real,
        Err(_) if is_remote(directory) => {
            bail!(
                "must build at directory: '{shown}' is remote, and nothing is fetched: clone it and build the clone"
            );
        }
        Err(error) => {
            return Err(error)
                .with_context(|| format!("must build at directory: not a valid directory: '{shown}'"));
        }
    };
    if !real.is_dir() {
        bail!("must build at directory: '{shown}': file is not directory");
    }
    let text = real.to_str().with_context(|| format!("the path of '{shown}' is not UTF-8"))?;
    RelPath::parse(text.trim_start_matches('/')).with_context(|| format!("'{shown}' cannot be built"))
}

fn is_remote(directory: &Path) -> bool {
    directory.to_str().is_some_and(|text| {
        text.contains("://") || ["git::", "git@", "github.com/"].iter().any(|start| text.starts_with(start))
    })
}
