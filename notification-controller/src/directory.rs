//! The Alerts, Providers and Receivers that there are, as the servers need them: each taken apart once, when it
//! changes. Filled by watches; until all of them have spoken, nothing can be said. Statuses are never written here.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use plumb_alerting::rule::{BadPattern, Rule};
use plumb_alerting::validate;
use plumb_api::meta::NamespacedName;
use plumb_api::notification::{Alert, Provider, ProviderSpec, Receiver};
use plumb_memory::Limit;
use plumb_status::UnsupportedFields;

use crate::budget::{Held, Share};

/// How much memory the compiled patterns of one Alert may take.
const PATTERNS: Limit = Limit { name: "compiled patterns of an Alert", bytes_max: 16 << 20 };

/// What is known.
pub struct Directory {
    known: RwLock<Known>,
    /// For compiled patterns.
    memory: Share,
}

/// A rule, and its patterns' bytes in the budget.
pub struct CompiledRule {
    rule: Rule,
    _held: Held,
}

impl Deref for CompiledRule {
    type Target = Rule;

    fn deref(&self) -> &Rule {
        &self.rule
    }
}

#[derive(Default)]
struct Known {
    rules: BTreeMap<NamespacedName, Arc<CompiledRule>>,
    /// None for a Provider that sets something that is not honoured: it is there, but sends nothing.
    providers: BTreeMap<NamespacedName, Option<Arc<ProviderSpec>>>,
    receivers: BTreeMap<NamespacedName, Arc<Receiver>>,
}

/// A Provider, as a delivery needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderLookup {
    /// It is there.
    Found(Arc<ProviderSpec>),
    /// It is there and sends nothing: suspended, or it sets something that is not honoured.
    Silent,
    /// It is not there.
    Missing,
}

impl Directory {
    /// Nothing is known. Compiled patterns are held in `memory`.
    pub fn new(memory: Share) -> Self {
        Self { known: RwLock::default(), memory }
    }

    /// Takes in an Alert as it is now, and returns what is wrong with it. Compiling its patterns can take long.
    pub fn put_alert(&self, alert: &Alert) -> Result<Vec<BadPattern>, UnsupportedFields> {
        let id = NamespacedName::of(alert);
        let mut held = self.memory.hold(&id.namespace, PATTERNS);
        let mut charge = |bytes| held.try_grow(bytes).map_err(|over| over.to_string());
        match Rule::compile(id.clone(), &alert.spec, &mut charge) {
            Ok((rule, bad)) => {
                self.write().rules.insert(id, Arc::new(CompiledRule { rule, _held: held }));
                Ok(bad)
            }
            Err(unsupported) => {
                self.write().rules.remove(&id);
                Err(unsupported)
            }
        }
    }

    /// Takes in a Provider as it is now.
    pub fn put_provider(&self, provider: &Provider) -> Result<(), UnsupportedFields> {
        let id = NamespacedName::of(provider);
        let judged = validate::provider(&provider.spec);
        let usable = judged.is_ok().then(|| Arc::new(provider.spec.clone()));
        self.write().providers.insert(id, usable);
        judged
    }

    /// Takes in a Receiver as it is now.
    pub fn put_receiver(&self, receiver: &Receiver) {
        self.write().receivers.insert(NamespacedName::of(receiver), Arc::new(receiver.clone()));
    }

    /// Forgets an Alert that is gone or cannot be read.
    pub fn drop_alert(&self, namespace: &str, name: &str) {
        self.write().rules.remove(&NamespacedName::new(namespace, name));
    }

    /// Forgets a Provider that is gone or cannot be read.
    pub fn drop_provider(&self, namespace: &str, name: &str) {
        self.write().providers.remove(&NamespacedName::new(namespace, name));
    }

    /// Forgets a Receiver that is gone or cannot be read.
    pub fn drop_receiver(&self, namespace: &str, name: &str) {
        self.write().receivers.remove(&NamespacedName::new(namespace, name));
    }

    /// All rules, by name.
    pub fn rules(&self) -> Vec<Arc<CompiledRule>> {
        self.read().rules.values().map(Arc::clone).collect()
    }

    /// The Provider with this name.
    pub fn provider(&self, namespace: &str, name: &str) -> ProviderLookup {
        let id = NamespacedName::new(namespace, name);
        match self.read().providers.get(&id) {
            Some(Some(spec)) if !spec.suspend => ProviderLookup::Found(Arc::clone(spec)),
            Some(_) => ProviderLookup::Silent,
            None => ProviderLookup::Missing,
        }
    }

    /// The Receiver that listens under this path. Every Receiver is compared, each in the same time: the path is secret.
    pub fn receiver_at(&self, path: &str) -> Option<Arc<Receiver>> {
        let known = self.read();
        let listens = |receiver: &&Arc<Receiver>| {
            let own = receiver.status.as_ref().and_then(|status| status.webhook_path.as_deref());
            own.is_some_and(|own| !own.is_empty() && plumb_alerting::receiver::is_same_path(own, path))
        };
        known.receivers.values().filter(listens).fold(None, |_, receiver| Some(Arc::clone(receiver)))
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Default for Directory {
    fn default() -> Self {
        Self::new(crate::budget::Budget::of(&plumb_memory::MemoryPool::new(1 << 30)).patterns)
    }
}

#[cfg(test)]
mod tests {
    use plumb_memory::MemoryPool;
    use serde_json::json;

    use super::*;
    use crate::budget::Budget;
    use crate::harness::alert;

    #[test]
    fn compiled_patterns_are_bounded_per_namespace_and_in_all_and_given_back() {
        let patterns = Budget::of(&MemoryPool::new(100 << 20)).patterns;
        let directory = Directory::new(patterns.clone());
        // Each takes several hundred kilobytes.
        let lists: Vec<_> = (0..200).map(|at| format!("{at}\\w{{100}}")).collect();
        let mut spec = json!({
            "providerRef": { "name": "p" }, "eventSources": [], "inclusionList": lists.clone(), "exclusionList": lists
        });
        let mut reported = Vec::new();
        for name in ["a", "b", "c"] {
            let bad = directory.put_alert(&alert(name, spec.clone())).unwrap();
            reported.extend(bad.iter().map(ToString::to_string));
        }
        assert!(
            reported.iter().any(|text| text.contains("namespace \"prod\" holds its share")),
            "{reported:?}"
        );
        assert!(patterns.held() <= 10 << 20, "{}", patterns.held());
        // Another namespace has its own share.
        let mut other =
            alert("a", json!({ "providerRef": { "name": "p" }, "eventSources": [], "inclusionList": ["x"] }));
        other.metadata.namespace = Some("dev".into());
        assert_eq!(directory.put_alert(&other), Ok(Vec::new()));
        spec["inclusionList"] = json!([]);
        spec["exclusionList"] = json!([]);
        for name in ["a", "b", "c"] {
            assert_eq!(directory.put_alert(&alert(name, spec.clone())), Ok(Vec::new()));
        }
        directory.drop_alert("dev", "a");
        assert_eq!(patterns.held(), 0);
    }
}
