//! What a mock API server says that it serves, as aggregated discovery.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Response, Scenario};
use crate::kinds;

/// A kind that a mock API server serves.
#[derive(Clone, Debug)]
pub struct ServedKind {
    api_version: String,
    kind: String,
    plural: String,
    scope: &'static str,
}

impl ServedKind {
    /// A kind of [`kinds`].
    ///
    /// # Panics
    /// If there is none of this name.
    pub fn known(kind: &str) -> Self {
        let known = kinds::known(kind).expect("the kind of a fixture is known");
        let (resource, scope) = (&known.resource, if known.namespaced { "Namespaced" } else { "Cluster" });
        let (api_version, plural) = (resource.api_version.clone(), resource.plural.clone());
        Self { api_version, kind: kind.to_owned(), plural, scope }
    }

    /// A kind whose objects have a namespace.
    pub fn namespaced(api_version: &str, kind: &str, plural: &str) -> Self {
        let (api_version, kind, plural) = (api_version.to_owned(), kind.to_owned(), plural.to_owned());
        Self { api_version, kind, plural, scope: "Namespaced" }
    }

    /// A kind whose objects have none.
    pub fn cluster(api_version: &str, kind: &str, plural: &str) -> Self {
        Self { scope: "Cluster", ..Self::namespaced(api_version, kind, plural) }
    }
}

impl Scenario {
    /// Serves exactly these kinds.
    pub fn serve_kinds(&self, kinds: &[ServedKind]) {
        self.serve_kinds_with_stale(kinds, &[]);
    }

    /// The same, where the servers of these groups (`group/version`) do not respond: their kinds are not known.
    pub fn serve_kinds_with_stale(&self, kinds: &[ServedKind], stale: &[&str]) {
        let mut versions: BTreeMap<&str, Vec<&ServedKind>> = BTreeMap::new();
        for kind in kinds {
            versions.entry(&kind.api_version).or_default().push(kind);
        }
        let current = versions.iter().map(|(version, kinds)| group(version, kinds, "Current"));
        let stale = stale.iter().map(|version| group(version, &[], "Stale"));
        let all = current.chain(stale);
        let (groups, core): (Vec<Value>, Vec<Value>) =
            all.partition(|group| group["metadata"]["name"].is_string());
        self.on("GET", "/api", list(&core));
        self.on("GET", "/apis", list(&groups));
    }
}

fn group(api_version: &str, kinds: &[&ServedKind], freshness: &str) -> Value {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resources: Vec<Value> = kinds
        .iter()
        .map(|served| {
            json!({
                "resource": served.plural, "scope": served.scope, "singularResource": served.kind.to_lowercase(),
                "responseKind": {"group": group, "version": version, "kind": served.kind},
                "verbs": ["delete", "get", "list", "patch", "watch"],
            })
        })
        .collect();
    let metadata = if group.is_empty() { json!({"creationTimestamp": null}) } else { json!({"name": group}) };
    json!({
        "metadata": metadata, "versions": [{"version": version, "freshness": freshness, "resources": resources}],
    })
}

fn list(items: &[Value]) -> Response {
    Response::ok(json!({
        "apiVersion": "apidiscovery.k8s.io/v2", "kind": "APIGroupDiscoveryList", "metadata": {}, "items": items,
    }))
}
