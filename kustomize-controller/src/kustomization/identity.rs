//! Identity: desired objects and the inventory under the ids by which the cluster knows them. Asks discovery for the scope of
//! kinds that are not built in; what follows from it is decided in `plumb_planning::identity`.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use plumb_cluster::{Budget, GroupVersionKind};
use plumb_planning::identity::{self, Scopes, VersionedKind};
use plumb_planning::inventory::Inventory;
use plumb_planning::plan::Planned;
use tokio::time::Instant;

use super::Context;
use super::error::KustomizationError;

/// How long asking for the scopes of all kinds may take.
const SCOPES_MAX: Duration = Duration::from_secs(30);

/// What is desired and what was recorded, object by object under one id.
pub struct Identified<'b> {
    /// The desired objects, ready to be applied.
    pub planned: Cow<'b, [Arc<Planned>]>,
    /// The inventory.
    pub before: Inventory,
}

/// Gives each object its id. No request where every kind is built in or known already.
pub async fn identify<'b>(
    planned: &'b [Arc<Planned>],
    before: Inventory,
    context: &Context,
) -> Result<Identified<'b>, KustomizationError> {
    let budget = Budget::new(Instant::now() + SCOPES_MAX, context.shutdown.clone());
    let mut scopes = Scopes::default();
    for VersionedKind { group, version, kind } in identity::open_kinds(planned, &before) {
        let asked = GroupVersionKind::gvk(&group, &version, &kind);
        let scope = context.cluster.mapper().scope(&asked, &budget).await.map_err(|error| {
            KustomizationError::Scope {
                kind: format!("{kind} ({})", asked.api_version()),
                problem: error.to_string(),
            }
        })?;
        if let Some(scope) = scope {
            scopes.note(&group, &kind, scope);
        }
    }
    let scopes = scopes.completed(planned, &before);
    let planned = identity::desired(planned, &scopes, &context.hash_key)?;
    Ok(Identified { planned, before: identity::recorded(before, &scopes) })
}
