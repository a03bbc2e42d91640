//! The finalizer: how an object is kept until what was made for it is taken down. Each change tests the version of the
//! object, so that nobody else's finalizer is ever lost.

use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use plumb_api::meta::FINALIZER;
use serde_json::json;

use crate::kind::Object;
use plumb_cluster::{CallError, call};

/// How often the same change is tried against newer versions.
const TRIES: u32 = 5;

/// Whether the object has our finalizer.
pub(crate) fn is_set<O: Object>(object: &O) -> bool {
    object.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

/// Adds our finalizer. None if the object is gone.
pub(crate) async fn add<O: Object>(api: &Api<O>, object: O, manager: &str) -> Result<Option<O>, CallError> {
    change(api, object, manager, |finalizers| {
        if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
            finalizers.push(FINALIZER.to_owned());
        }
    })
    .await
}

/// Removes our finalizer. None if the object is gone.
pub(crate) async fn remove<O: Object>(
    api: &Api<O>,
    object: O,
    manager: &str,
) -> Result<Option<O>, CallError> {
    change(api, object, manager, |finalizers| finalizers.retain(|finalizer| finalizer != FINALIZER)).await
}

async fn change<O: Object>(
    api: &Api<O>,
    mut object: O,
    manager: &str,
    edit: impl Fn(&mut Vec<String>),
) -> Result<Option<O>, CallError> {
    let uid = object.uid();
    let name = object.name_any();
    let mut tries = 0;
    loop {
        let mut finalizers = object.finalizers().to_vec();
        edit(&mut finalizers);
        if finalizers == object.finalizers() {
            return Ok(Some(object));
        }
        let patch =
            json!({ "metadata": { "resourceVersion": object.resource_version(), "finalizers": finalizers } });
        let params = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
        let refused = match call(api.patch(&name, &params, &Patch::Merge(&patch))).await {
            Ok(changed) => return Ok(Some(changed)),
            Err(error) => error,
        };
        tries += 1;
        match refused.code() {
            Some(404) => return Ok(None),
            Some(409) if tries < TRIES => match call(api.get_opt(&name)).await? {
                Some(newer) if newer.uid() == uid => object = newer,
                _ => return Ok(None),
            },
            _ => return Err(refused),
        }
    }
}
