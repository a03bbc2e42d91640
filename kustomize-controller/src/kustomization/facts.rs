//! What is the case: the source and what must come first, as the watches know them. Reads memory only.

use std::collections::{BTreeMap, VecDeque};

use plumb_api::kustomize::Kustomization;
use plumb_api::meta::Reconciled as _;
use plumb_cluster::{NamespacedName, ObjectCache};
use plumb_status::Condition;
use plumb_status::condition::{READY, find};

use super::validate::Valid;
use crate::source_ref::SourceRef;
use crate::sources::{Source, Sources};

/// What is known of a Kustomization that must come first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DependencyState {
    /// It is not there.
    Missing,
    /// It is there.
    There {
        /// Whether it is Ready, as of its newest generation.
        ready: bool,
        /// Its source.
        source: SourceRef,
        /// The revision that it applied last.
        revision: Option<String>,
    },
}

/// What an attempt goes by.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// The source.
    pub source: Source,
    /// What must come first, in the order of the spec.
    pub dependencies: Vec<(NamespacedName, DependencyState)>,
    /// A way along `dependsOn` from this Kustomization to itself, both ends included.
    pub cycle: Option<Vec<NamespacedName>>,
}

/// Looks around.
pub fn gather(
    own: &NamespacedName,
    valid: &Valid,
    sources: &Sources,
    others: &ObjectCache<Kustomization>,
) -> Facts {
    let dependencies = valid
        .depends_on
        .iter()
        .map(|key| (key.clone(), others.get(key).as_deref().map_or(DependencyState::Missing, standing)));
    let next =
        |key: &NamespacedName| others.get(key).map(|object| dependencies_of(&object)).unwrap_or_default();
    let cycle = cycle(own, &valid.depends_on, next);
    Facts { source: sources.get(&valid.source), dependencies: dependencies.collect(), cycle }
}

fn dependencies_of(object: &Kustomization) -> Vec<NamespacedName> {
    let own = object.metadata.namespace.as_deref().unwrap_or_default();
    let references = object.spec.depends_on.iter();
    references.map(|reference| NamespacedName::new(reference.namespace_in(own), &reference.name)).collect()
}

/// The shortest way from a Kustomization to itself. Each one is looked at once, so the search ends.
fn cycle(
    own: &NamespacedName,
    first: &[NamespacedName],
    next: impl Fn(&NamespacedName) -> Vec<NamespacedName>,
) -> Option<Vec<NamespacedName>> {
    let mut came_from: BTreeMap<NamespacedName, NamespacedName> = BTreeMap::new();
    let mut open: VecDeque<(NamespacedName, NamespacedName)> =
        first.iter().map(|key| (own.clone(), key.clone())).collect();
    while let Some((from, key)) = open.pop_front() {
        if key == *own {
            let mut way = vec![key];
            let mut at = Some(&from);
            while let Some(step) = at {
                way.push(step.clone());
                at = came_from.get(step);
            }
            way.reverse();
            return Some(way);
        }
        if came_from.contains_key(&key) {
            continue;
        }
        open.extend(next(&key).into_iter().map(|next| (key.clone(), next)));
        came_from.insert(key, from);
    }
    None
}

fn standing(object: &Kustomization) -> DependencyState {
    DependencyState::There {
        ready: is_ready(object),
        source: SourceRef::of(object),
        revision: object.status.as_ref().and_then(|status| status.last_applied_revision.clone()),
    }
}

/// Whether a Kustomization is Ready, as of its newest generation.
pub fn is_ready(object: &Kustomization) -> bool {
    object.observed_generation() == object.metadata.generation
        && find(object.conditions(), READY).is_some_and(Condition::is_true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cycle through `a` in a graph of `from: to to`.
    fn found(graph: &[(&str, &[&str])]) -> Option<String> {
        let key = |name: &str| NamespacedName::new("ns", name);
        let next = |of: &NamespacedName| {
            let edges = graph.iter().find(|(name, _)| *name == of.name).map_or(&[][..], |(_, to)| to);
            edges.iter().map(|name| key(name)).collect::<Vec<_>>()
        };
        let way = cycle(&key("a"), &next(&key("a")), next)?;
        Some(way.iter().map(|key| key.name.as_str()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_cycle_of_dependencies_is_found_with_its_way() {
        assert_eq!(found(&[("a", &["a"])]).as_deref(), Some("a a"));
        assert_eq!(found(&[("a", &["b"]), ("b", &["a"])]).as_deref(), Some("a b a"));
        assert_eq!(
            found(&[("a", &["x", "b"]), ("b", &["c"]), ("c", &["d", "a"]), ("x", &["c"])]).as_deref(),
            Some("a x c a")
        );
    }

    #[test]
    fn a_chain_and_a_cycle_of_others_are_none() {
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &["missing"])]), None);
        assert_eq!(found(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])]), None);
    }
}
