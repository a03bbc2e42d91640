//! Discovery: what an API server serves, read from its aggregated discovery documents. One snapshot is one truth.

use std::collections::{BTreeMap, BTreeSet};

use kube::Client;
use kube::core::discovery::v2::APIGroupDiscoveryList;
use kube::discovery::ApiResource;

use crate::cause::cause;
use crate::error::{ApiRejection, RequestError};
use crate::mapper::Mapping;
use crate::repeatable::repeatable;

/// The kinds of one API server at one time.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// By group, kind and version; versions of a kind in the server's order of preference.
    kinds: BTreeMap<(String, String), Vec<std::sync::Arc<Mapping>>>,
    /// Group versions whose own server did not respond.
    stale: BTreeSet<(String, String)>,
}

impl Snapshot {
    /// Reads them from the server: two requests, however many groups there are.
    pub async fn read(client: &Client) -> Result<Self, RequestError> {
        let core = client.list_core_api_versions_aggregated();
        let groups = client.list_api_groups_aggregated();
        let (core, groups) = futures_util::future::try_join(core, groups).await.map_err(failed)?;
        let mut snapshot = Self::default();
        snapshot.add(core);
        snapshot.add(groups);
        Ok(snapshot)
    }

    fn add(&mut self, list: APIGroupDiscoveryList) {
        for group in list.items {
            let name = group.metadata.and_then(|metadata| metadata.name).unwrap_or_default();
            for version in group.versions {
                let number = version.version.unwrap_or_default();
                if version.freshness.as_deref() == Some("Stale") {
                    self.stale.insert((name.clone(), number.clone()));
                }
                for resource in version.resources {
                    let (Some(plural), Some(kind)) = (resource.resource, resource.response_kind) else {
                        continue;
                    };
                    let kind = kind.kind.unwrap_or_default();
                    let gvk = kube::core::GroupVersionKind::gvk(&name, &number, &kind);
                    let mapping = Mapping {
                        resource: ApiResource::from_gvk_with_plural(&gvk, &plural),
                        namespaced: resource.scope.as_deref() == Some("Namespaced"),
                    };
                    self.kinds.entry((name.clone(), kind)).or_default().push(mapping.into());
                }
            }
        }
    }

    /// A kind in one version.
    pub fn exact(&self, group: &str, version: &str, kind: &str) -> Option<&std::sync::Arc<Mapping>> {
        self.versions(group, kind).iter().find(|mapping| mapping.resource.version == version)
    }

    /// A kind in all its versions, the preferred one first.
    pub fn versions(&self, group: &str, kind: &str) -> &[std::sync::Arc<Mapping>] {
        self.kinds.get(&(group.to_owned(), kind.to_owned())).map_or(&[], Vec::as_slice)
    }

    /// `apiVersion` of every group that serves a kind of this name, in its preferred version.
    pub fn api_versions_of(&self, kind: &str) -> Vec<String> {
        let named = self.kinds.iter().filter(|((_, name), _)| name == kind);
        named.filter_map(|(_, versions)| Some(versions.first()?.resource.api_version.clone())).collect()
    }

    /// Whether the server of a group did not respond, so that absence proves nothing.
    pub fn is_stale(&self, group: &str, version: &str) -> bool {
        self.stale.contains(&(group.to_owned(), version.to_owned()))
    }

    /// The same for any version of a group.
    pub fn has_stale(&self, group: &str) -> bool {
        self.stale.iter().any(|(stale, _)| stale == group)
    }
}

fn failed(error: kube::Error) -> RequestError {
    match error {
        kube::Error::Api(status) => {
            let code =
                http::StatusCode::from_u16(status.code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
            let body =
                serde_json::json!({"kind": "Status", "reason": status.reason, "message": status.message});
            RequestError::Rejected(Box::new(ApiRejection::read(code, body.to_string().as_bytes(), false)))
        }
        other => RequestError::Unreachable { cause: repeatable(cause(&other)) },
    }
}
