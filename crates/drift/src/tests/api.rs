//! Api: a mock API server that keeps a few objects of one kind, with a `data` map, their managers and their watch.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use plumb_testkit::scenario::{Call, Feed, Response, Scenario, ServedKind};
use serde_json::{Value, json};

const OURS: &str = "kustomize-controller";
const LABELS: [&str; 2] = ["kustomize.toolkit.fluxcd.io/name", "kustomize.toolkit.fluxcd.io/namespace"];

pub type Clock = Arc<dyn Fn() -> jiff::Timestamp + Send + Sync>;

/// A mock API server for one kind.
#[derive(Clone)]
pub struct Api {
    pub scenario: Scenario,
    kind: &'static str,
    plural: &'static str,
    /// `/api/v1`, or that of a group.
    root: String,
    state: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    objects: BTreeMap<String, Value>,
    version: u64,
    feeds: Vec<Feed>,
    delay: Duration,
    clock: Option<Clock>,
}

impl Api {
    pub fn new(plural: &'static str, kind: &'static str) -> Self {
        Self::of("", plural, kind)
    }

    /// The same for a kind of a group.
    pub fn of(group: &'static str, plural: &'static str, kind: &'static str) -> Self {
        let scenario = Scenario::new();
        let state: Arc<Mutex<Kept>> = Arc::default();
        let version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
        scenario.serve_kinds(&[ServedKind::namespaced(&version, kind, plural)]);
        let root = format!("/{}/{version}", if group.is_empty() { "api" } else { "apis" });
        let (listed, got, patched) = (state.clone(), state.clone(), state.clone());
        scenario.on(
            "GET",
            &format!("{root}/{plural}"),
            Response::with(move |call| listed.lock().unwrap().list(call)),
        );
        let one = format!("{root}/namespaces/prod/{plural}/*");
        scenario.on("GET", &one, Response::with(move |call| got.lock().unwrap().get(call)));
        scenario.on(
            "PATCH",
            &one,
            Response::with(move |call| {
                let (delay, state) = (patched.lock().unwrap().delay, patched.clone());
                let dry = call.parameter("dryRun").is_some();
                let delay = if dry { Duration::ZERO } else { delay };
                // After the delay, so that a write is seen only when it is done.
                let call = call.clone();
                let late = Response::with(move |_| state.lock().unwrap().patch(&call, kind));
                let scripted = Response::with(move |_| late.clone());
                scripted.after(delay)
            }),
        );
        Self { scenario, kind, plural, root, state }
    }

    /// From when on times are known.
    pub fn set_clock(&self, clock: Clock) {
        self.state.lock().unwrap().clock = Some(clock);
    }

    pub fn value(&self, name: &str, field: &str) -> Option<String> {
        let state = self.state.lock().unwrap();
        Some(state.objects.get(name)?["data"][field].as_str()?.to_owned())
    }

    pub fn is_labelled(&self, name: &str) -> bool {
        self.state.lock().unwrap().objects[name]["metadata"]["labels"][LABELS[0]] == "apps"
    }

    /// From now on a read of one object takes so long.
    pub fn slow_down_reads(&self, delay: Duration) {
        let state = self.state.clone();
        let one = format!("{}/namespaces/prod/{}/*", self.root, self.plural);
        let response = Response::with(move |call| state.lock().unwrap().get(call));
        self.scenario.on("GET", &one, response.after(delay));
    }

    pub fn slow_down(&self, delay: Duration) {
        self.state.lock().unwrap().delay = delay;
    }

    /// A user sets one field.
    pub fn edit(&self, name: &str, field: &str, value: &str, manager: &str) {
        let mut state = self.state.lock().unwrap();
        let time = state.time();
        let Some(object) = state.objects.get_mut(name) else { return };
        object["data"][field] = value.into();
        let own = fields_of(object, OURS);
        let held = own.is_some_and(|fields| fields["f:data"].get(format!("f:{field}")).is_some());
        if held {
            let entries = object["metadata"]["managedFields"].as_array_mut().unwrap();
            let ours = entries.iter_mut().find(|entry| entry["manager"] == OURS).unwrap();
            let fields = ours["fieldsV1"].as_object_mut().unwrap();
            let data = fields["f:data"].as_object_mut().unwrap();
            data.remove(&format!("f:{field}"));
            // As the server: an empty map would own everything under it.
            if data.is_empty() {
                fields.remove("f:data");
            }
        }
        let entries = object["metadata"]["managedFields"].as_array_mut().unwrap();
        entries.retain(|entry| entry["manager"] != manager);
        entries.push(entry(manager, "Update", &time, &json!({"f:data": {format!("f:{field}"): {}}})));
        state.emit(name, "MODIFIED");
    }

    /// A user removes the owner labels: the selector does not show the object any more.
    pub fn strip(&self, name: &str) {
        let mut state = self.state.lock().unwrap();
        let Some(object) = state.objects.get_mut(name).filter(|object| has_labels(object)) else { return };
        object["metadata"].as_object_mut().unwrap().remove("labels");
        let entries = object["metadata"]["managedFields"].as_array_mut().unwrap();
        for entry in entries {
            entry["fieldsV1"].as_object_mut().unwrap().remove("f:metadata");
        }
        state.emit(name, "DELETED");
    }

    /// Another Kustomization applies it: the owner labels are that one's now.
    pub fn change_owner(&self, name: &str, owner: &str) {
        let mut state = self.state.lock().unwrap();
        let Some(object) = state.objects.get_mut(name) else { return };
        object["metadata"]["labels"] = json!({ LABELS[0]: owner, LABELS[1]: "flux-system" });
        for entry in object["metadata"]["managedFields"].as_array_mut().unwrap() {
            entry["fieldsV1"].as_object_mut().unwrap().remove("f:metadata");
        }
        state.emit(name, "MODIFIED");
    }

    /// A controller writes the status.
    pub fn write_status(&self, name: &str, fields: &Value) {
        let mut state = self.state.lock().unwrap();
        let time = state.time();
        let Some(object) = state.objects.get_mut(name) else { return };
        let mut written = entry("kube-controller-manager", "Update", &time, &json!({"f:status": fields}));
        written["subresource"] = "status".into();
        let entries = object["metadata"]["managedFields"].as_array_mut().unwrap();
        entries.retain(|entry| entry["subresource"] != "status");
        entries.push(written);
        state.emit(name, "MODIFIED");
    }

    pub fn delete(&self, name: &str) {
        let mut state = self.state.lock().unwrap();
        state.emit(name, "DELETED");
        state.objects.remove(name);
    }

    /// It is deleted without an event.
    pub fn vanish(&self, name: &str) {
        self.state.lock().unwrap().objects.remove(name);
    }

    /// All watches expire, so that the objects are listed again.
    pub fn end_watches(&self) {
        let mut state = self.state.lock().unwrap();
        let expired = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired",
            "message": "too old resource version", "code": 410, "metadata": {}});
        for feed in std::mem::take(&mut state.feeds) {
            feed.send("ERROR", &expired);
        }
    }

    /// A user creates it, labels included.
    pub fn create(&self, name: &str, value: &str) {
        let mut state = self.state.lock().unwrap();
        let (time, uid) = (state.time(), format!("uid-{}", state.version));
        let labels = json!({LABELS[0]: "apps", LABELS[1]: "flux-system"});
        let fields = json!({"f:data": {"f:a": {}}});
        let object = json!({
            "apiVersion": "v1", "kind": self.kind,
            "metadata": {
                "name": name, "namespace": "prod", "uid": uid, "labels": labels,
                "managedFields": [entry("some-tool", "Update", &time, &fields)],
            },
            "data": {"a": value},
        });
        state.objects.insert(name.to_owned(), object);
        state.emit(name, "ADDED");
    }
}

impl Kept {
    fn time(&self) -> String {
        let now = self.clock.as_ref().unwrap()();
        jiff::Timestamp::from_second(now.as_second()).unwrap().to_string()
    }

    fn emit(&mut self, name: &str, what: &str) {
        self.version += 1;
        let version = self.version.to_string();
        let Some(object) = self.objects.get_mut(name) else { return };
        object["metadata"]["resourceVersion"] = version.into();
        // An object without its labels is not in the selection.
        if what == "MODIFIED" && !has_labels(object) {
            return;
        }
        for feed in &self.feeds {
            feed.send(what, &partial(object));
        }
    }

    fn list(&mut self, call: &Call) -> Response {
        if call.parameter("watch").is_some() {
            let (feed, response) = Response::feed();
            self.feeds.push(feed);
            return response;
        }
        let items: Vec<Value> =
            self.objects.values().filter(|object| has_labels(object)).map(partial).collect();
        Response::ok(json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
            "metadata": {"resourceVersion": self.version.to_string()}, "items": items,
        }))
    }

    fn get(&mut self, call: &Call) -> Response {
        let name = call.path.rsplit('/').next().unwrap();
        match self.objects.get(name) {
            Some(object) => Response::ok(object.clone()),
            None => Response::json(
                404,
                json!({
                    "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404,
                    "message": "not found", "details": {"name": name, "kind": "configmaps"},
                }),
            ),
        }
    }

    /// Server-side apply with force of `data` and labels; a JSON patch is the takeover of managers.
    fn patch(&mut self, call: &Call, kind: &str) -> Response {
        let name = call.path.rsplit('/').next().unwrap().to_owned();
        let before = self.objects.get(&name).cloned();
        if call.body.is_array() {
            return self.json_patch(&name, call);
        }
        let bound = call.body["metadata"]["resourceVersion"].as_str();
        let version = before.as_ref().and_then(|object| object["metadata"]["resourceVersion"].as_str());
        if bound.is_some() && bound != version {
            return Response::conflict("the object has been modified");
        }
        let mut object = before.clone().unwrap_or_else(|| {
            json!({
                "apiVersion": "v1", "kind": kind,
                "metadata": {"name": name, "namespace": "prod", "uid": format!("uid-{}", self.version), "managedFields": []},
            })
        });
        self.merge(&mut object, &call.body);
        let code = if before.is_none() { 201 } else { 200 };
        if call.parameter("dryRun").is_some() {
            return Response::json(code, object);
        }
        if before.as_ref() != Some(&object) {
            let what = if before.is_none() { "ADDED" } else { "MODIFIED" };
            self.objects.insert(name.clone(), object);
            self.emit(&name, what);
        }
        Response::json(code, self.objects[&name].clone())
    }

    fn merge(&self, object: &mut Value, desired: &Value) {
        let wanted = desired["data"].as_object().cloned().unwrap_or_default();
        let mut fields = serde_json::Map::new();
        if let Some(before) = fields_of(object, OURS).and_then(|fields| fields["f:data"].as_object().cloned())
        {
            for gone in before.keys().filter_map(|key| key.strip_prefix("f:")) {
                if !wanted.contains_key(gone) && !held_by_others(object, gone) {
                    object["data"].as_object_mut().unwrap().remove(gone);
                }
            }
        }
        let mut forced = false;
        for (field, value) in &wanted {
            forced |= object["data"].get(field) != Some(value);
            object["data"][field] = value.clone();
            fields.insert(format!("f:{field}"), json!({}));
        }
        object["metadata"]["labels"] = desired["metadata"]["labels"].clone();
        let labels = json!({format!("f:{}", LABELS[0]): {}, format!("f:{}", LABELS[1]): {}});
        let own = json!({"f:metadata": {"f:labels": labels}, "f:data": fields});
        let same = fields_of(object, OURS) == Some(own.clone());
        let time = self.time();
        let entries = object["metadata"]["managedFields"].as_array_mut().unwrap();
        for entry in entries.iter_mut().filter(|entry| entry["manager"] != OURS && forced) {
            if let Some(data) = entry["fieldsV1"]["f:data"].as_object_mut() {
                data.retain(|field, _| !wanted.contains_key(field.trim_start_matches("f:")));
            }
        }
        entries.retain(|entry| entry["manager"] == OURS || entry["fieldsV1"]["f:data"] != json!({}));
        if forced || !same {
            entries.retain(|entry| entry["manager"] != OURS);
            entries.insert(0, entry(OURS, "Apply", &time, &own));
        }
    }

    fn json_patch(&mut self, name: &str, call: &Call) -> Response {
        let Some(object) = self.objects.get_mut(name) else { return Response::not_found() };
        for operation in call.body.as_array().unwrap() {
            if operation["op"] == "replace" && operation["path"] == "/metadata/managedFields" {
                object["metadata"]["managedFields"] = operation["value"].clone();
            }
        }
        self.emit(name, "MODIFIED");
        Response::ok(self.objects[name].clone())
    }
}

fn entry(manager: &str, operation: &str, time: &str, fields: &Value) -> Value {
    json!({
        "manager": manager, "operation": operation, "apiVersion": "v1", "time": time,
        "fieldsType": "FieldsV1", "fieldsV1": fields,
    })
}

fn fields_of(object: &Value, manager: &str) -> Option<Value> {
    let entries = object["metadata"]["managedFields"].as_array()?;
    Some(entries.iter().find(|entry| entry["manager"] == manager)?["fieldsV1"].clone())
}

fn held_by_others(object: &Value, field: &str) -> bool {
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let key = format!("f:{field}");
    entries.iter().any(|entry| entry["manager"] != OURS && entry["fieldsV1"]["f:data"].get(&key).is_some())
}

fn has_labels(object: &Value) -> bool {
    LABELS.iter().all(|label| object["metadata"]["labels"].get(label).is_some())
}

fn partial(object: &Value) -> Value {
    json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"]})
}
