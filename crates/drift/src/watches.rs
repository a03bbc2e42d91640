//! Passes on what the watches show. No object is read here.

use std::sync::Arc;

use plumb_cluster::{GroupVersionKind, WatchChange, WatchEvent};
use plumb_manifests::ObjectId;
use plumb_planning::record::Seen;
use serde_json::Value;
use tokio::sync::mpsc::Receiver;

use crate::drift_loop::Shared;
use crate::state::{Input, Kind};

/// Passes on events of the watches until the loop ends.
pub(crate) async fn listen(shared: Arc<Shared>, mut events: Receiver<WatchEvent>) {
    let shutdown = shared.deps.shutdown.clone();
    while let Some(Some(event)) = shutdown.run_until_cancelled(events.recv()).await {
        if let Some(input) = input(&shared, event) {
            shared.step(input);
        }
    }
}

fn input(shared: &Shared, event: WatchEvent) -> Option<Input> {
    let WatchEvent { kind, change } = event;
    let names = names(&kind);
    Some(match change {
        WatchChange::Seen { metadata, listed } => {
            let id = id_of(&kind, &metadata);
            // Outside the step: hashing the managers' entries takes time.
            let owner = shared.lock().owner_of(&id)?.labels();
            let seen = Seen::of(&metadata, &owner, &shared.deps.takeover, listed);
            Input::Seen(names, id, Box::new(seen))
        }
        WatchChange::Deleted { metadata } => Input::Missed(names, id_of(&kind, &metadata), metadata),
        WatchChange::Relisted { present } => Input::Listed(names, present),
        WatchChange::Denied { message } => Input::Denied(names, message),
        WatchChange::Gone => Input::Unserved(names),
    })
}

fn names(kind: &GroupVersionKind) -> Kind {
    (kind.group.clone(), kind.version.clone(), kind.kind.clone())
}

fn id_of(kind: &GroupVersionKind, metadata: &Value) -> ObjectId {
    let text = |key: &str| metadata.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    ObjectId {
        namespace: text("namespace"),
        name: text("name"),
        group: kind.group.clone(),
        kind: kind.kind.clone(),
    }
}
