//! The Alerts, Providers and Receivers that there are, as the servers need them: each taken apart once, when it
//! changes. Filled by watches; until all of them have spoken, nothing can be said. Statuses are never written here.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use plumb_alerting::rule::{AlertId, BadPattern, Rule};
use plumb_alerting::validate::{self, Unsupported};
use plumb_api::notification::{Alert, Provider, ProviderSpec, Receiver};

use crate::dispatch::ProviderId;

/// What is known.
#[derive(Default)]
pub struct Directory(RwLock<Known>);

#[derive(Default)]
struct Known {
    rules: BTreeMap<AlertId, Arc<Rule>>,
    /// None for a Provider that sets something that is not honoured: it is there, but sends nothing.
    providers: BTreeMap<ProviderId, Option<Arc<ProviderSpec>>>,
    receivers: BTreeMap<(String, String), Arc<Receiver>>,
}

/// A Provider, as a delivery needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sought {
    /// It is there.
    Found(Arc<ProviderSpec>),
    /// It is there and sends nothing: suspended, or it sets something that is not honoured.
    Silent,
    /// It is not there.
    Missing,
}

impl Directory {
    /// Takes in an Alert as it is now. What is wrong with it is for its own reconcile to tell.
    pub fn put_alert(&self, alert: &Alert) -> Result<Vec<BadPattern>, Unsupported> {
        let id = alert_id(alert);
        match Rule::compile(id.clone(), &alert.spec) {
            Ok((rule, bad)) => {
                self.write().rules.insert(id, Arc::new(rule));
                Ok(bad)
            }
            Err(unsupported) => {
                self.write().rules.remove(&id);
                Err(unsupported)
            }
        }
    }

    /// Takes in a Provider as it is now.
    pub fn put_provider(&self, provider: &Provider) -> Result<(), Unsupported> {
        let id = ProviderId {
            namespace: provider.metadata.namespace.clone().unwrap_or_default(),
            name: provider.metadata.name.clone().unwrap_or_default(),
        };
        let judged = validate::provider(&provider.spec);
        let usable = judged.is_ok().then(|| Arc::new(provider.spec.clone()));
        self.write().providers.insert(id, usable);
        judged
    }

    /// Takes in a Receiver as it is now.
    pub fn put_receiver(&self, receiver: &Receiver) {
        let meta = &receiver.metadata;
        let key = (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
        self.write().receivers.insert(key, Arc::new(receiver.clone()));
    }

    /// Forgets an Alert that is gone or cannot be read.
    pub fn drop_alert(&self, namespace: &str, name: &str) {
        self.write().rules.remove(&AlertId { namespace: namespace.to_owned(), name: name.to_owned() });
    }

    /// Forgets a Provider that is gone or cannot be read.
    pub fn drop_provider(&self, namespace: &str, name: &str) {
        self.write().providers.remove(&ProviderId { namespace: namespace.to_owned(), name: name.to_owned() });
    }

    /// Forgets a Receiver that is gone or cannot be read.
    pub fn drop_receiver(&self, namespace: &str, name: &str) {
        self.write().receivers.remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// All rules, by name.
    pub fn rules(&self) -> Vec<Arc<Rule>> {
        self.read().rules.values().map(Arc::clone).collect()
    }

    /// The Provider with this name.
    pub fn provider(&self, namespace: &str, name: &str) -> Sought {
        let id = ProviderId { namespace: namespace.to_owned(), name: name.to_owned() };
        match self.read().providers.get(&id) {
            Some(Some(spec)) if !spec.suspend => Sought::Found(Arc::clone(spec)),
            Some(_) => Sought::Silent,
            None => Sought::Missing,
        }
    }

    /// The Receiver that listens under this path. Every Receiver is asked, each in the same time: the path is secret.
    pub fn receiver_at(&self, path: &str) -> Option<Arc<Receiver>> {
        let known = self.read();
        let listens = |receiver: &&Arc<Receiver>| {
            let own = receiver.status.as_ref().and_then(|status| status.webhook_path.as_deref());
            own.is_some_and(|own| !own.is_empty() && plumb_alerting::receiver::is_same_path(own, path))
        };
        known.receivers.values().filter(listens).fold(None, |_, receiver| Some(Arc::clone(receiver)))
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name of an Alert.
pub fn alert_id(alert: &Alert) -> AlertId {
    AlertId {
        namespace: alert.metadata.namespace.clone().unwrap_or_default(),
        name: alert.metadata.name.clone().unwrap_or_default(),
    }
}
