//! How many Kustomizations keep objects of each kind: what one of them changes is counted without a look at the others.

use std::collections::{BTreeMap, BTreeSet};

use super::book::Kind;

/// Kinds with the number of Kustomizations that keep objects of them.
#[derive(Debug, Default)]
pub(super) struct KindCounts(BTreeMap<Kind, usize>);

impl KindCounts {
    /// One Kustomization keeps objects of these kinds instead of those. Whether a kind came or went altogether.
    pub(super) fn replace(&mut self, before: &BTreeSet<Kind>, after: &BTreeSet<Kind>) -> bool {
        let mut moved = false;
        for kind in after.difference(before) {
            let count = self.0.entry(kind.clone()).or_default();
            *count += 1;
            moved |= *count == 1;
        }
        for kind in before.difference(after) {
            let Some(count) = self.0.get_mut(kind) else { continue };
            *count -= 1;
            if *count == 0 {
                self.0.remove(kind);
                moved = true;
            }
        }
        moved
    }

    /// All kinds.
    pub(super) fn kinds(&self) -> BTreeSet<Kind> {
        self.0.keys().cloned().collect()
    }

    /// Whether any Kustomization keeps objects of a kind.
    pub(super) fn contains(&self, kind: &Kind) -> bool {
        self.0.contains_key(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(names: &str) -> BTreeSet<Kind> {
        names.split_whitespace().map(|name| (String::new(), "v1".to_owned(), name.to_owned())).collect()
    }

    #[test]
    fn a_kind_stays_until_the_last_one_that_keeps_it_is_gone() {
        let mut counts = KindCounts::default();
        for (before, after, moved, all) in [
            ("", "ConfigMap Secret", true, "ConfigMap Secret"),
            ("", "ConfigMap", false, "ConfigMap Secret"),
            ("ConfigMap", "ConfigMap", false, "ConfigMap Secret"),
            ("ConfigMap Secret", "Service", true, "ConfigMap Service"),
            ("ConfigMap", "", true, "Service"),
            ("Service", "", true, ""),
        ] {
            assert_eq!(counts.replace(&kinds(before), &kinds(after)), moved, "{before} -> {after}");
            assert_eq!(counts.kinds(), kinds(all), "{before} -> {after}");
        }
    }
}
