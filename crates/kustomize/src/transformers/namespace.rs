//! The namespace of all objects, of the accounts that bindings name, and of what else holds one.

use std::collections::HashSet;

use plumb_manifests::yaml::{self, Node, Text};

use crate::error::BuildError;
use crate::field::{FieldSpec, Make, check_scalar};
use crate::identity::{Gvk, ResId};
use crate::reading::Reader;
use crate::resource::Resource;
use crate::set::ResourceSet;

/// Which of the subjects of a binding get the namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Subjects {
    /// Those named `default`. Other accounts are found by their names, once all namespaces are known.
    #[default]
    Default,
    ServiceAccounts,
    None,
}

/// Whether a namespace that is there already is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Present {
    #[default]
    Replaced,
    Kept,
}

/// A namespace, and how it is set.
pub(crate) struct Setting<'s> {
    pub namespace: &'s str,
    pub subjects: Subjects,
    pub present: Present,
}

/// A subject named `default` whose own namespace was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MovedSubject {
    pub binding: ResId,
    pub index: usize,
    /// The namespace of the manifest.
    pub before: String,
}

/// Moved subjects of one transformation that are reported.
const MOVED_MAX: usize = 100;

/// Sets a namespace wherever one belongs. Gives the subjects that were moved out of a namespace of others.
pub(crate) fn set_all(
    set: &mut ResourceSet,
    namespace: &str,
    specs: &[FieldSpec],
    reader: &Reader<'_>,
) -> Result<Vec<MovedSubject>, BuildError> {
    let setting = Setting { namespace, subjects: Subjects::default(), present: Present::default() };
    apply(set, &setting, specs, reader)
}

/// The same as a transformer with options.
pub(crate) fn apply(
    set: &mut ResourceSet,
    setting: &Setting<'_>,
    specs: &[FieldSpec],
    reader: &Reader<'_>,
) -> Result<Vec<MovedSubject>, BuildError> {
    if setting.namespace.is_empty() {
        return Ok(Vec::new());
    }
    let own = own_namespaces(set);
    let mut moved = Vec::new();
    for resource in set.iter_mut() {
        resource.record_id();
        let binding = resource.current_id();
        for (index, before) in setting.apply(resource, specs, reader)? {
            if moved.len() < MOVED_MAX && !own.contains(before.as_str()) {
                moved.push(MovedSubject { binding: binding.clone(), index, before });
            }
        }
    }
    match set.duplicate() {
        Some(id) => Err(BuildError::invalid(format!("namespace transformation produces ID conflict: {id}"))),
        None => Ok(moved),
    }
}

/// The namespaces of the objects, which all move: a subject of one of them moves along with what it belongs to. Nothing
/// where there is no binding.
fn own_namespaces(set: &ResourceSet) -> HashSet<Text> {
    if !set.iter().any(|resource| is_binding(resource.kind())) {
        return HashSet::new();
    }
    let of = |resource: &Resource| {
        let id = resource.current_id();
        if id.gvk.kind == "Namespace" { id.name } else { id.effective_namespace().into() }
    };
    set.iter().map(of).collect()
}

/// Whether an error may quote the content of the object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shows {
    Contents,
    Nothing,
}

/// No more values than this are repeated.
const SHOWN_MAX: usize = 100;

const METADATA_NAMESPACE: &str = "metadata/namespace";
const SUBJECTS: &str = "subjects";
const SUBJECT_NAMESPACE: &str = "subjects/namespace";

fn is_binding(kind: &str) -> bool {
    matches!(kind, "RoleBinding" | "ClusterRoleBinding")
}

impl Setting<'_> {
    fn apply(
        &self,
        resource: &mut Resource,
        specs: &[FieldSpec],
        reader: &Reader<'_>,
    ) -> Result<Vec<(usize, String)>, BuildError> {
        let gvk = resource.gvk();
        let shows = if gvk.kind == "Secret" { Shows::Nothing } else { Shows::Contents };
        if !gvk.is_certainly_cluster_scoped() {
            let own = FieldSpec::new(Gvk::default(), METADATA_NAMESPACE, true);
            own.visit_resource(resource, Make::Scalar, &mut |field| self.set(shows, field))?;
        }
        let is_binding = is_binding(&gvk.kind);
        let moved = if is_binding { self.apply_to_subjects(resource, reader)? } else { Vec::new() };
        for spec in specs {
            let is_done = spec.path == METADATA_NAMESPACE || (is_binding && spec.path == SUBJECT_NAMESPACE);
            let is_other_namespace_kind = spec.path == "metadata/name"
                && gvk.kind == "Namespace"
                && !(gvk.group.is_empty() && gvk.version == "v1");
            if is_done || is_other_namespace_kind {
                continue;
            }
            let set = &mut |field: &mut Node| {
                reader.spend(1, self.namespace.len())?;
                self.set(shows, field)
            };
            spec.visit_resource(resource, Make::Scalar, set)
                .map_err(|error| error.while_doing("namespace field specs must target scalar nodes"))?;
        }
        Ok(moved)
    }

    /// Gives the service accounts named `default` that had another namespace.
    fn apply_to_subjects(
        &self,
        resource: &mut Resource,
        reader: &Reader<'_>,
    ) -> Result<Vec<(usize, String)>, BuildError> {
        let mut moved = Vec::new();
        let subjects = match resource.value.get_mut(SUBJECTS) {
            None | Some(Node::Null(_)) => return Ok(moved),
            Some(Node::Array(subjects)) => subjects,
            Some(other) => {
                let message =
                    format!("subjects: wrong node kind: expected SequenceNode but got {}", other.noun());
                return Err(BuildError::invalid(message));
            }
        };
        for (index, subject) in subjects.iter_mut().enumerate() {
            let doing = |error: BuildError| error.while_doing(format!("name of subject {index}"));
            let Node::Object(subject) = subject else {
                let message = format!(
                    "subject {index}: wrong node kind: expected MappingNode but got {}",
                    subject.noun()
                );
                return Err(BuildError::invalid(message));
            };
            subject.get("name").map_or(Ok(()), check_scalar).map_err(doing)?;
            let is = |field: &str, text: &str| subject.get(field).and_then(Node::as_str) == Some(text);
            let is_meant = match self.subjects {
                Subjects::Default => is("name", "default"),
                Subjects::ServiceAccounts => is("kind", "ServiceAccount"),
                Subjects::None => false,
            };
            if is_meant {
                reader.spend(1, self.namespace.len())?;
                let is_default = is("kind", "ServiceAccount") && is("name", "default");
                let field = subject.entry_or("namespace", || Node::text(""));
                let before = field.scalar().unwrap_or_default().to_owned();
                self.set(Shows::Contents, field)?;
                let is_moved = !before.is_empty() && field.scalar() != Some(&before);
                if is_moved && is_default && self.subjects == Subjects::Default {
                    moved.push((index, before));
                }
            }
        }
        Ok(moved)
    }

    fn set(&self, shows: Shows, field: &mut Node) -> Result<(), BuildError> {
        if field.is_array() || field.is_object() {
            let noun = if field.is_array() { "SequenceNode" } else { "MappingNode" };
            let mut message = format!("wrong node kind: expected ScalarNode but got {noun}");
            if shows == Shows::Contents && field.count() <= SHOWN_MAX {
                message = format!("{message}: node contents:\n{}", yaml::to_string_with_quotes(field));
            }
            return Err(BuildError::invalid(message));
        }
        // kustomize takes a null that is written for a namespace.
        let is_unset = field.as_str() == Some("");
        if is_unset || self.present == Present::Replaced {
            *field = if field.is_quoted() { Node::quoted(self.namespace) } else { self.namespace.into() };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::Config;

    #[track_caller]
    fn check(value: Value, expect: &Value) {
        let mut set = ResourceSet::default();
        set.append(Resource::new(value, "")).unwrap();
        let tree = plumb_filetree::MemoryTree::builder(plumb_filetree::TreeLimits::DEFAULT).build();
        let limits = crate::limits::Limits::default();
        let reader = Reader::new(&tree, &limits);
        set_all(&mut set, "ns", &Config::builtin().namespace, &reader).unwrap();
        assert_eq!(set.into_vec()[0].value, *expect);
    }

    #[test]
    fn every_kind_gets_the_namespace_where_it_holds_one() {
        check(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "old"}}),
            &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "ns"}}),
        );
        check(
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}),
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ns"}}),
        );
        check(
            json!({"apiVersion": "example.com/v1", "kind": "Namespace", "metadata": {"name": "a"}}),
            &json!({"apiVersion": "example.com/v1", "kind": "Namespace", "metadata": {"name": "a", "namespace": "ns"}}),
        );
    }

    #[test]
    fn of_the_subjects_of_a_binding_only_the_default_account_moves() {
        let binding = |subjects: Value| {
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
                "metadata": {"name": "a"}, "subjects": subjects})
        };
        check(
            binding(json!([{"name": "default"}, {"name": "other", "namespace": "x"}])),
            &binding(json!([{"name": "default", "namespace": "ns"}, {"name": "other", "namespace": "x"}])),
        );
    }

    #[test]
    fn two_objects_that_become_one_are_rejected() {
        let mut set = ResourceSet::default();
        for namespace in ["a", "b"] {
            let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "n", "namespace": namespace}});
            set.append(Resource::new(value, "")).unwrap();
        }
        let tree = plumb_filetree::MemoryTree::builder(plumb_filetree::TreeLimits::DEFAULT).build();
        let limits = crate::limits::Limits::default();
        let reader = Reader::new(&tree, &limits);
        let error = set_all(&mut set, "ns", &[], &reader).unwrap_err().to_string();
        assert_eq!(error, "namespace transformation produces ID conflict: ConfigMap.v1.[noGrp]/n.ns");
    }
}
