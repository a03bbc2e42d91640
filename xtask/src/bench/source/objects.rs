//! The objects of a benchmark, and when they are what is waited for.

use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use plumb_testkit::wait::Wait;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// How many objects are created at a time.
const CREATES: usize = 8;
/// How long everything may take to be Ready, and one artifact.
const READY_MAX: Duration = Duration::from_mins(10);
/// The pause between two looks at many objects, and at one.
const POLL_ALL: Duration = Duration::from_millis(500);
const POLL_ONE: Duration = Duration::from_millis(5);

/// The objects of one kind.
pub struct Objects<'a> {
    /// The kind.
    pub api: Api<DynamicObject>,
    /// What requests are sent on.
    pub runtime: &'a Runtime,
}

impl Objects<'_> {
    /// Creates an object; the seconds until it has an artifact, and the artifact.
    pub fn create(&self, object: Value) -> Result<(f64, Value)> {
        let object: DynamicObject = serde_json::from_value(object)?;
        let name = object.metadata.name.clone().unwrap_or_default();
        let began = Instant::now();
        self.runtime.block_on(self.api.create(&PostParams::default(), &object))?;
        self.until(&name, began, |object| object.data.pointer("/status/artifact/revision").is_some())
    }

    /// Asks for a reconciliation, as number `request`; the seconds until the source has handled it and has this revision.
    pub fn reconcile(&self, name: &str, request: usize, revision: &str) -> Result<f64> {
        let request = request.to_string();
        let patch = json!({ "metadata": { "annotations": { "reconcile.fluxcd.io/requestedAt": request } } });
        let began = Instant::now();
        self.runtime.block_on(self.api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)))?;
        let done = self.until(name, began, |object| {
            let text = |pointer: &str| object.data.pointer(pointer).and_then(Value::as_str);
            text("/status/lastHandledReconcileAt") == Some(request.as_str())
                && text("/status/artifact/revision") == Some(revision)
        })?;
        Ok(done.0)
    }

    fn until(
        &self,
        name: &str,
        began: Instant,
        holds: impl Fn(&DynamicObject) -> bool,
    ) -> Result<(f64, Value)> {
        loop {
            let object = self.runtime.block_on(self.api.get(name))?;
            if holds(&object) {
                let artifact = object.data.pointer("/status/artifact").cloned().unwrap_or_default();
                return Ok((began.elapsed().as_secs_f64(), artifact));
            }
            if began.elapsed() > READY_MAX {
                bail!("{name} is not what was waited for: {:#}", object.data);
            }
            std::thread::sleep(POLL_ONE);
        }
    }

    /// Creates objects and waits until all of the kind are Ready.
    pub fn create_all(&self, objects: Vec<Value>) -> Result<()> {
        let count = objects.len();
        self.runtime.block_on(async {
            let made = stream::iter(objects).map(|object| {
                let api = self.api.clone();
                async move {
                    let object: DynamicObject = serde_json::from_value(object)?;
                    anyhow::Ok(api.create(&PostParams::default(), &object).await.map(drop)?)
                }
            });
            made.buffer_unordered(CREATES).try_collect::<Vec<()>>().await?;
            let ready = Wait::until("all objects are Ready", READY_MAX).every(POLL_ALL);
            ready
                .poll(async || {
                    let all = self.api.list(&ListParams::default()).await?.items;
                    let is_ready = |object: &&DynamicObject| {
                        object
                            .data
                            .pointer("/status/conditions/0/status")
                            .is_some_and(|status| status == "True")
                    };
                    let ready = all.iter().filter(is_ready).count();
                    Ok(if ready == count { ControlFlow::Break(()) } else { ControlFlow::Continue(ready) })
                })
                .await
        })
    }
}
