//! The objects that a webhook may ask to reconcile. What a Receiver says becomes a path of the API server, so it is parsed
//! here, once: group, version, kind, namespace, names and labels, each in the form that Kubernetes gives it. Requests never
//! enter.

use std::collections::BTreeMap;

use plumb_api::ApiResource;
use plumb_api::notification::{ANY_NAME, ObjectKind, ReceiverResource};

use crate::rule::CrossNamespace;

/// The longest DNS label, and the longest name or value of a label, in bytes.
const LABEL_BYTES_MAX: usize = 63;
/// The longest DNS subdomain, in bytes.
const SUBDOMAIN_BYTES_MAX: usize = 253;

/// Objects of one kind in one namespace. Every part is safe in a path or a selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The kind.
    pub kind: ObjectKind,
    /// The API version.
    pub version: String,
    /// The namespace.
    pub namespace: String,
    /// Which of them.
    pub objects: Objects,
}

/// Which objects of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Objects {
    /// The one with this name.
    Named(String),
    /// All that carry these labels; there is at least one label.
    Labelled(BTreeMap<String, String>),
}

/// Why a resource of a Receiver leads to no object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// A field has a form that Kubernetes does not have.
    #[error("{field} {value:?} is not valid: expected {expected}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// Its value, cut.
        value: String,
        /// The form.
        expected: &'static str,
    },
    /// The API version is of another group than the kind.
    #[error("apiVersion of kind {kind} must be of the group {group}")]
    Group {
        /// The kind.
        kind: &'static str,
        /// Its group.
        group: String,
    },
    /// All objects of a kind are meant, but nothing chooses among them.
    #[error(
        "matchLabels field not set when using wildcard '*' as name of {kind}: set matchLabels, or name one object"
    )]
    NoLabels {
        /// The kind.
        kind: &'static str,
    },
    /// The objects are in another namespace.
    #[error("'{object}' is in another namespace, cross-namespace references have been blocked")]
    Blocked {
        /// Which.
        object: String,
    },
}

impl Target {
    /// Resolves a resource of a Receiver in the namespace `home`.
    pub fn resolve(
        resource: &ReceiverResource,
        home: &str,
        cross_namespace: CrossNamespace,
    ) -> Result<Self, TargetError> {
        let ReceiverResource { api_version, filter: _, kind, match_labels, name, namespace } = resource;
        let namespace = namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or(home);
        valid("namespace", namespace, is_label, "a DNS label")?;
        let version = version(*kind, api_version.as_deref().unwrap_or_default())?;
        if name != ANY_NAME {
            valid("name", name, is_subdomain, "a DNS subdomain or *")?;
        }
        if cross_namespace == CrossNamespace::Blocked && namespace != home {
            return Err(TargetError::Blocked { object: format!("{kind}/{namespace}/{name}") });
        }
        let objects = if name == ANY_NAME {
            Objects::Labelled(labels(*kind, match_labels)?)
        } else {
            Objects::Named(name.clone())
        };
        Ok(Self { kind: *kind, version, namespace: namespace.to_owned(), objects })
    }

    /// Where the API server serves the objects, in the version of the target.
    pub fn resource(&self) -> ApiResource {
        let usual = self.kind.resource();
        let api_version = format!("{}/{}", usual.group, self.version);
        ApiResource { version: self.version.clone(), api_version, ..usual }
    }
}

/// The version of `group/version`, or the usual one where nothing is said.
fn version(kind: ObjectKind, api_version: &str) -> Result<String, TargetError> {
    let usual = kind.resource();
    if api_version.is_empty() {
        return Ok(usual.version);
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if group != usual.group {
        return Err(TargetError::Group { kind: kind.as_str(), group: usual.group });
    }
    valid("apiVersion", version, is_label, "group/version, the version a DNS label")?;
    Ok(version.to_owned())
}

fn labels(
    kind: ObjectKind,
    labels: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, TargetError> {
    if labels.is_empty() {
        return Err(TargetError::NoLabels { kind: kind.as_str() });
    }
    for (key, value) in labels {
        valid("matchLabels key", key, is_label_key, "[DNS subdomain/]name")?;
        valid("matchLabels value", value, |value| value.is_empty() || is_label_word(value), "a label value")?;
    }
    Ok(labels.clone())
}

fn valid(
    field: &'static str,
    value: &str,
    is_valid: impl Fn(&str) -> bool,
    expected: &'static str,
) -> Result<(), TargetError> {
    if is_valid(value) {
        return Ok(());
    }
    let value = value.chars().take(LABEL_BYTES_MAX).collect();
    Err(TargetError::Invalid { field, value, expected })
}

fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.len() <= LABEL_BYTES_MAX
        && text.bytes().all(inner)
        && !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= SUBDOMAIN_BYTES_MAX && text.split('.').all(is_label)
}

fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_label_word(name),
        None => is_label_word(text),
    }
}

/// The name of a label, or its value: it begins and ends with a letter or digit.
fn is_label_word(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let ends = |at: Option<u8>| at.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.len() <= LABEL_BYTES_MAX
        && text.bytes().all(inner)
        && ends(text.bytes().next())
        && ends(text.bytes().last())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn resolve(resource: Value, cross_namespace: CrossNamespace) -> Result<Target, TargetError> {
        let resource = serde_json::from_value(resource).unwrap();
        Target::resolve(&resource, "prod", cross_namespace)
    }

    #[track_caller]
    fn path(resource: Value) -> String {
        let target = resolve(resource, CrossNamespace::Allowed).unwrap();
        let ApiResource { api_version, plural, .. } = target.resource();
        format!("{api_version} {}/{plural} {:?}", target.namespace, target.objects)
    }

    #[track_caller]
    fn refused(resource: &Value, why: &str) {
        let error = resolve(resource.clone(), CrossNamespace::Allowed).expect_err("it is not valid");
        assert!(error.to_string().contains(why), "{resource}: {error}");
    }

    #[test]
    fn a_resource_is_taken_apart_with_the_usual_version_and_the_own_namespace() {
        assert_eq!(
            path(json!({ "kind": "GitRepository", "name": "a" })),
            r#"source.toolkit.fluxcd.io/v1 prod/gitrepositories Named("a")"#
        );
        let named = json!({
            "kind": "HelmRelease", "apiVersion": "helm.toolkit.fluxcd.io/v2beta2", "namespace": "dev", "name": "a.b"
        });
        assert_eq!(path(named), r#"helm.toolkit.fluxcd.io/v2beta2 dev/helmreleases Named("a.b")"#);
        let empty = json!({ "kind": "Bucket", "apiVersion": "", "namespace": "", "name": "a" });
        assert_eq!(path(empty), r#"source.toolkit.fluxcd.io/v1 prod/buckets Named("a")"#);
        let labelled =
            json!({ "kind": "Bucket", "name": "*", "matchLabels": { "example.com/a": "b", "c": "" } });
        assert_eq!(
            path(labelled),
            r#"source.toolkit.fluxcd.io/v1 prod/buckets Labelled({"c": "", "example.com/a": "b"})"#
        );
    }

    #[test]
    fn labels_beside_a_name_choose_nothing() {
        for labels in [json!({ "team": "a" }), json!({ "a,b!=c": "-" })] {
            assert_eq!(
                path(json!({ "kind": "Bucket", "name": "a", "matchLabels": labels })),
                r#"source.toolkit.fluxcd.io/v1 prod/buckets Named("a")"#
            );
        }
    }

    #[test]
    fn nothing_that_leaves_its_place_in_a_path_or_selector_is_let_in() {
        for name in ["../../x", "a/b", "a?b", "a#b", "a%2fb", "..", ".", "", "A", "a b", "a\n", "**", "a."] {
            refused(&json!({ "kind": "Bucket", "name": name }), "name");
        }
        for namespace in ["other/secrets/x?", "a.b", "..", "A", "-a"] {
            refused(&json!({ "kind": "Bucket", "name": "a", "namespace": namespace }), "namespace");
        }
        for version in ["v1/namespaces/kube-system", "v1?x", "..", "V1", ""] {
            let api_version = format!("source.toolkit.fluxcd.io/{version}");
            refused(&json!({ "kind": "Bucket", "name": "a", "apiVersion": api_version }), "apiVersion");
        }
        for group in ["v1", "apps/v1", "../v1", "source.toolkit.fluxcd.io.example.com/v1"] {
            refused(&json!({ "kind": "Bucket", "name": "a", "apiVersion": group }), "must be of the group");
        }
        for (key, value) in
            [("a,b!=c", ""), ("a", "b,c"), ("a=b", "c"), ("x/y/z", "c"), ("", "a"), ("a", "-")]
        {
            let labels = json!({ key: value });
            refused(&json!({ "kind": "Bucket", "name": "*", "matchLabels": labels }), "matchLabels");
        }
        refused(&json!({ "kind": "Bucket", "name": "*" }), "matchLabels field not set");
    }

    #[test]
    fn another_namespace_is_blocked_by_the_flag() {
        for name in ["a", "*"] {
            let resource =
                json!({ "kind": "Bucket", "name": name, "namespace": "dev", "matchLabels": { "a": "b" } });
            let blocked = TargetError::Blocked { object: format!("Bucket/dev/{name}") };
            assert_eq!(resolve(resource.clone(), CrossNamespace::Blocked), Err(blocked));
            assert!(resolve(resource, CrossNamespace::Allowed).is_ok());
        }
        let home = json!({ "kind": "Bucket", "name": "a", "namespace": "prod" });
        assert!(resolve(home, CrossNamespace::Blocked).is_ok());
    }
}
