//! The order in which objects are printed.

use std::cmp::Ordering;
use std::collections::HashMap;

use crate::error::BuildError;
use crate::identity::{Gvk, ResId};
use crate::resource::Resource;
use crate::settings::{LegacySortOptions, SortOptions};

/// Kinds that others need come first.
const FIRST: [&str; 22] = [
    "Namespace",
    "ResourceQuota",
    "StorageClass",
    "CustomResourceDefinition",
    "ServiceAccount",
    "PodSecurityPolicy",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ConfigMap",
    "Secret",
    "Endpoints",
    "Service",
    "LimitRange",
    "PriorityClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
];
const LAST: [&str; 2] = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

/// Sorts as the kustomization configures, by kind by default.
pub(crate) fn sort(resources: &mut [Resource], options: Option<&SortOptions>) -> Result<(), BuildError> {
    let legacy = match options.map(|options| (options.order.as_str(), &options.legacy_sort_options)) {
        None | Some(("legacy", None)) => None,
        Some(("legacy", Some(legacy))) => Some(legacy),
        Some(("fifo", None)) => return Ok(()),
        Some(("fifo", Some(_))) => {
            return Err(BuildError::invalid(
                "the field 'sortOptions.legacySortOptions' is set but the selected sort order is 'fifo', not \
                 'legacy'",
            ));
        }
        Some((_, _)) => {
            let message = "the field 'sortOptions.order' must be one of [fifo, legacy]";
            return Err(BuildError::invalid(message));
        }
    };
    let ranks = ranks(legacy);
    resources.sort_by_cached_key(|resource| Key::new(resource.current_id(), &ranks));
    Ok(())
}

type Ranks = HashMap<String, isize>;

fn ranks(legacy: Option<&LegacySortOptions>) -> Ranks {
    let own = |kinds: &[&str]| kinds.iter().map(|&kind| kind.to_owned()).collect::<Vec<_>>();
    let (first, last) = match legacy {
        Some(LegacySortOptions { order_first, order_last }) => (order_first.clone(), order_last.clone()),
        None => (own(&FIRST), own(&LAST)),
    };
    // Kinds that are not listed rank as 0.
    let before = (1..).map(|rank: isize| -rank).zip(first.into_iter().rev());
    let after = (1..).zip(last);
    before.chain(after).map(|(rank, kind)| (kind, rank)).collect()
}

#[derive(PartialEq, Eq)]
struct Key {
    rank: isize,
    /// Whether this is a Namespace of another group, which comes after the core ones.
    is_other_namespace: bool,
    id: ResId,
}

impl Key {
    fn new(id: ResId, ranks: &Ranks) -> Self {
        let Gvk { group, kind, .. } = &id.gvk;
        Self {
            rank: ranks.get(kind.as_str()).copied().unwrap_or_default(),
            is_other_namespace: kind == "Namespace" && !group.is_empty(),
            id,
        }
    }

    /// `group_version_kind`, with signs where there is nothing: kustomize compares it as one text.
    fn kind(&self) -> impl Iterator<Item = u8> {
        let Gvk { group, version, kind } = &self.id.gvk;
        joined([or(group, "~G"), "_", or(version, "~V"), "_", or(kind, "~K")])
    }

    /// `group_version_kind|namespace|name`.
    fn whole(&self) -> impl Iterator<Item = u8> {
        let ResId { namespace, name, .. } = &self.id;
        self.kind().chain(joined(["|", or(namespace, "~X"), "|", or(name, "~N")]))
    }
}

fn or<'t>(text: &'t str, stand_in: &'static str) -> &'t str {
    if text.is_empty() { stand_in } else { text }
}

fn joined<const N: usize>(parts: [&str; N]) -> impl Iterator<Item = u8> {
    parts.into_iter().flat_map(str::bytes)
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        let kinds = || {
            if self.id.gvk == other.id.gvk { Ordering::Equal } else { self.kind().cmp(other.kind()) }
        };
        self.rank
            .cmp(&other.rank)
            .then(self.is_other_namespace.cmp(&other.is_other_namespace))
            .then_with(kinds)
            .then_with(|| self.whole().cmp(other.whole()))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(order: Option<&str>, objects: &[(&str, &str, &str)], expect: &str) {
        let mut resources: Vec<Resource> = objects
            .iter()
            .map(|(api_version, kind, name)| {
                Resource::new(
                    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}}),
                    "",
                )
            })
            .collect();
        let options = order.map(|order| SortOptions { order: order.to_owned(), legacy_sort_options: None });
        sort(&mut resources, options.as_ref()).unwrap();
        let names: Vec<&str> = resources.iter().map(Resource::name).collect();
        assert_eq!(names.join(" "), expect);
    }

    #[test]
    fn kinds_that_others_need_come_first_and_webhooks_last() {
        let objects = [
            ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "hook"),
            ("example.com/v1", "Foo", "foo"),
            ("apps/v1", "Deployment", "web"),
            ("v1", "ConfigMap", "b"),
            ("v1", "ConfigMap", "a"),
            ("example.com/v1", "Namespace", "other"),
            ("v1", "Namespace", "ns"),
        ];
        check(None, &objects, "ns other a b web foo hook");
        check(Some("legacy"), &objects, "ns other a b web foo hook");
        check(Some("fifo"), &objects, "hook foo web b a other ns");
    }

    #[test]
    fn an_unknown_order_is_rejected() {
        let options = SortOptions { order: "random".to_owned(), legacy_sort_options: None };
        assert!(sort(&mut [], Some(&options)).is_err());
    }
}
