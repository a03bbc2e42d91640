//! Flux's layer over kustomize: what a Kustomization's spec adds to the files in Git.
//!
//! Pure, in two phases: [`prepare`] builds and lists the encrypted objects, the caller reads what comes from outside (variables,
//! keys), and [`Prepared::render`] puts it in.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod error;
mod generate;
mod merge;
mod path;
mod spec;
mod substitute;

use std::collections::{BTreeMap, BTreeSet};

use plumb_filetree::{FileTree, RelPath, digest};
use plumb_kustomize::{BuildError, Order, build_with};
pub use plumb_kustomize::{ReadSet, Warning, WarningKind};
use plumb_manifests::{Object, yaml};

pub use error::{Refused, RenderError};
pub use spec::{MissingComponents, RenderSpec, Unset, When};
pub use substitute::{Retyped, Substituted, Usage};

/// How rendering is done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// How kustomize builds.
    pub build: plumb_kustomize::Options,
    /// Strict substitution is the default, as in Flux.
    pub unset: Unset,
}

/// One desired object of a Kustomization.
#[derive(Debug, Clone, PartialEq)]
pub struct Built {
    /// The object.
    pub object: Object,
    /// The file that it was read from, or whose generator made it; with a leading slash.
    pub origin: String,
}

/// The desired objects of a Kustomization.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// In the order of the build.
    pub objects: Vec<Built>,
    /// SHA-256 of the final YAML: `sha256:` and hexadecimal digits. As in Flux, commonMetadata is not part of it.
    pub digest: String,
    /// What of the tree the result depends on.
    pub reads: ReadSet,
    /// Accepted input that the author should check.
    pub warnings: Vec<Warning>,
    /// What became of the variables.
    pub substituted: Substituted,
}

/// The build of the tree, before anything from outside is put in.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    objects: Vec<Built>,
    reads: ReadSet,
    warnings: Vec<Warning>,
}

/// Builds the spec's directory of the tree, with the spec's own fields applied: the first phase.
pub fn prepare(tree: &dyn FileTree, spec: &RenderSpec, options: &Options) -> Result<Prepared, RenderError> {
    let directory = path::directory(tree, &spec.path)?;
    let mut reads = ReadSet::default();
    let generated = generate::resources(tree, &directory, &mut reads, &options.build.limits.interrupt)?;
    let additions = merge::additions(tree, &directory, spec, generated, &mut reads);
    let how = plumb_kustomize::Options { order: Order::AsRead, ..options.build.clone() };
    let build = build_with(tree, &directory, &additions, &how)
        .map_err(|error| rejected(error, &directory, additions.generated.as_deref()))?;
    reads.extend(build.reads);
    let objects = build.objects.into_iter().map(object).collect::<Result<_, _>>()?;
    Ok(Prepared { objects, reads, warnings: build.warnings })
}

impl Prepared {
    /// The Secrets that SOPS has encrypted. A cluster would take them with the wrong content.
    pub fn encrypted(&self) -> impl Iterator<Item = &Built> {
        self.objects.iter().filter(|Built { object, .. }| {
            object.kind() == "Secret" && object.group().is_empty() && object.at(&["sops"]).is_some()
        })
    }

    /// Rejects encrypted Secrets, where no key can decrypt them.
    pub fn reject_encrypted(&self) -> Result<(), RenderError> {
        match self.encrypted().next() {
            None => Ok(()),
            Some(Built { object, origin }) => Err(RenderError::Object {
                object: object.id().to_string(),
                file: origin.clone(),
                message: "it is SOPS encrypted, configuring decryption is required for this secret to be reconciled"
                    .to_owned(),
            }),
        }
    }

    /// Puts variables in: the second phase. `variables` are those of `substituteFrom`, already read, the later reference winning.
    pub fn render(
        self,
        spec: &RenderSpec,
        variables: &BTreeMap<String, String>,
        options: &Options,
    ) -> Result<Rendered, RenderError> {
        let Self { objects, reads, warnings } = self;
        let (mut objects, substituted) = substitute::all(objects, spec, variables, options)?;
        objects.retain(|built| !is_kustomization(built));
        check_complete(&objects)?;
        let digest = digest(&objects);
        for built in &mut objects {
            for (key, text) in &spec.common_metadata.labels {
                built.object.set_label(key, text);
            }
            for (key, text) in &spec.common_metadata.annotations {
                built.object.set_annotation(key, text);
            }
        }
        Ok(Rendered { objects, digest, reads, warnings, substituted })
    }
}

/// A file that is not listed is rejected as one that the scan found.
fn rejected(error: BuildError, directory: &RelPath, generated: Option<&[String]>) -> RenderError {
    let is_scanned = error.file().is_some_and(|file| {
        let mut scanned = generated.into_iter().flatten();
        scanned.any(|reference| directory.resolve(reference).is_ok_and(|path| &path == file))
    });
    if is_scanned { RenderError::Scan(error) } else { RenderError::Build(error) }
}

/// kustomize lets pass what no cluster takes.
fn object(built: plumb_kustomize::Built) -> Result<Built, RenderError> {
    let object = built.to_object().map_err(|error| RenderError::Object {
        object: built.node["kind"].as_str().unwrap_or("object").to_owned(),
        file: built.origin.clone(),
        message: error.to_string(),
    })?;
    Ok(Built { object, origin: built.origin })
}

/// kustomization files are read by kustomize and never applied.
fn is_kustomization(built: &Built) -> bool {
    built.object.group() == "kustomize.config.k8s.io"
}

/// No cluster takes an object without an API version, and none takes two of the same name.
fn check_complete(objects: &[Built]) -> Result<(), RenderError> {
    let mut seen = BTreeSet::new();
    for Built { object, origin } in objects {
        let reject = |message: &str| RenderError::Object {
            object: object.id().to_string(),
            file: origin.clone(),
            message: message.to_owned(),
        };
        if object.api_version().is_empty() {
            return Err(reject("apiVersion is missing"));
        }
        let id = object.versioned_id();
        if !seen.insert((id.id, id.version)) {
            return Err(reject("another object has the same name after substitution"));
        }
    }
    Ok(())
}

fn digest(objects: &[Built]) -> String {
    let mut hasher = digest::Hasher::default();
    for (index, built) in objects.iter().enumerate() {
        if index > 0 {
            hasher.update(b"---\n");
        }
        hasher.update(yaml::json_to_string(built.object.value()).as_bytes());
    }
    format!("sha256:{}", hasher.finish_hex())
}

#[cfg(test)]
mod tests;
