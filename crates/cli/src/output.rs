//! Where the result of a build goes: standard output, a file, or a directory with a file for each object.

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use plumb_manifests::{Object, scope, yaml};

/// Stands between the documents of a stream.
const SEPARATOR: &str = "---\n";

/// Prints warnings on standard error. With `strict` any of them is an error.
pub fn warn(warnings: &[impl std::fmt::Display], strict: bool) -> Result<()> {
    for warning in warnings {
        eprintln!("# Warning: {warning}");
    }
    if strict && !warnings.is_empty() {
        bail!("warnings: {}, which --strict treats as errors; no objects are written", warnings.len());
    }
    Ok(())
}

/// Writes the documents where they are wanted.
pub fn write(text: &str, output: Option<&Path>) -> Result<()> {
    match output {
        None => print(text),
        Some(path) if path.is_dir() => write_each(text, path),
        Some(path) => fs::write(path, text).with_context(|| format!("cannot write '{}'", path.display())),
    }
}

fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // Who reads only the beginning, as `head` does, wants no more; the status says that it was not all.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(1),
        done => done.context("cannot write to standard output"),
    }
}

/// One file for each object, named as kustomize names them.
fn write_each(text: &str, folder: &Path) -> Result<()> {
    let documents: Vec<(&str, Object)> =
        documents(text).map(|document| Ok((document, object(document)?))).collect::<Result<_>>()?;
    let homes: BTreeSet<&str> = documents.iter().filter_map(|(_, object)| home(object)).collect();
    let mut written = BTreeSet::new();
    for (document, object) in &documents {
        let name = file_name(object, homes.len() > 1);
        if name.contains('/') {
            bail!("{}: no file can have this name; leave out --output, or name a file", object.id());
        }
        let path = folder.join(&name);
        fs::write(&path, document).with_context(|| format!("cannot write '{}'", path.display()))?;
        if !written.insert(name.clone()) {
            warn(&[format!("{}: overwrote the file of another object, {name}", object.id())], false)?;
        }
    }
    Ok(())
}

/// The documents of a stream that our emitter wrote: in it, no line of an object starts with dashes alone.
fn documents(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.find("\n---\n").map_or(rest.len(), |at| at + 1);
        let (document, after) = rest.split_at(end);
        rest = after.strip_prefix(SEPARATOR).unwrap_or(after);
        Some(document)
    })
}

fn object(document: &str) -> Result<Object> {
    let mut parsed = yaml::parse(document, &yaml::Limits::default())
        .map_err(|error| anyhow!("an object of the build cannot be read back: {error}"))?;
    let value = parsed.pop().map(|document| document.node.to_json()).unwrap_or_default();
    Ok(Object::new(value)?)
}

/// The namespace of an object that is in one.
fn home(object: &Object) -> Option<&str> {
    let is_outside = scope::is_certainly_cluster_scoped(object.group(), object.version(), object.kind());
    (!is_outside).then(|| object.namespace().unwrap_or("default"))
}

fn file_name(object: &Object, has_namespace: bool) -> String {
    let namespace = home(object).filter(|_| has_namespace);
    let api_version = object.api_version().replace('/', "_");
    let parts = [namespace.unwrap_or_default(), &api_version, object.kind(), object.name()];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("{}.yaml", parts.join("_")).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        write(text, Some(folder.path())).unwrap();
        let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let names: BTreeSet<String> = names.map(|name| name.into_string().unwrap()).collect();
        assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn files_name_their_namespace_only_where_there_are_several() {
        let first = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: A.b\n";
        let other = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: d\n  namespace: X\n";
        let outside = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: n\n";
        check(&format!("{first}---\n{outside}"), &["v1_configmap_a.b.yaml", "v1_namespace_n.yaml"]);
        check(
            &format!("{first}---\n{outside}---\n{other}"),
            &["default_v1_configmap_a.b.yaml", "v1_namespace_n.yaml", "x_apps_v1_deployment_d.yaml"],
        );
        check("", &[]);
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let text = "kind: A\nmetadata:\n  name: ../../a\n";
        let error = write(text, Some(folder.path())).unwrap_err().to_string();
        assert!(error.contains("no file can have this name"), "{error}");
    }

    #[test]
    fn a_stream_is_split_at_its_separators() {
        let text = "a: |\n  x\n  ---\n---\nb: 1\n";
        assert_eq!(documents(text).collect::<Vec<_>>(), ["a: |\n  x\n  ---\n", "b: 1\n"]);
    }
}
