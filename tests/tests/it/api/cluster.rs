//! Fixture of the tests of the apply crate: a real API server, a namespace of their own, plans made from text.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DynamicObject, PostParams};
use kube::core::ObjectMeta;
use kube::{Api, Client};
use plumb_apply::{Applied, ApplyOptions, execute};
use plumb_cluster::{Budget, Cluster};
use plumb_manifests::{Object, ObjectId};
use plumb_plane::Plane;
use plumb_planning::fingerprint::HashKey;
use plumb_planning::inventory::Inventory;
use plumb_planning::ownership::Owner;
use plumb_planning::plan::{self, Plan, Request, Selection};
use plumb_planning::record::Record;
use plumb_planning::takeover::Takeover;
use serde_json::Value;

/// The plane of this test run.
pub async fn plane() -> &'static Plane {
    tokio::task::spawn_blocking(plumb_testkit::plane).await.unwrap()
}

/// One namespace of a real cluster.
pub struct Fixture {
    pub cluster: Cluster,
    pub client: Client,
    pub namespace: String,
    pub owner: Owner,
}

impl Fixture {
    pub async fn new(test: &str) -> Self {
        let client = plane().await.client().await.unwrap();
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let wanted = ObjectMeta { generate_name: Some(format!("{test}-")), ..ObjectMeta::default() };
        let wanted = Namespace { metadata: wanted, ..Namespace::default() };
        let made = namespaces.create(&PostParams::default(), &wanted).await.unwrap();
        let namespace = made.metadata.name.unwrap();
        let cluster = Cluster::new(client.clone(), Arc::new(jiff::Timestamp::now));
        let owner = Owner { name: "apps".to_owned(), namespace: namespace.clone() };
        Self { cluster, client, namespace, owner }
    }

    /// Objects written as JSON; `NS` is replaced by the namespace of the test.
    pub fn objects(&self, manifests: &[Value]) -> Vec<Object> {
        let text = |value: &Value| value.to_string().replace("NS", &self.namespace);
        manifests
            .iter()
            .map(|value| Object::new(serde_json::from_str(&text(value)).unwrap()).unwrap())
            .collect()
    }

    /// The plan that applies these objects, with nothing known.
    pub fn plan(&self, manifests: &[Value]) -> Plan {
        let key = HashKey::new([7; 32]);
        let desired = plan::prepare(self.objects(manifests), &self.owner, &key).unwrap();
        let before = Inventory::default();
        plan::plan(Request {
            desired: &desired,
            before: &before,
            selection: Selection::Everything,
            prunes: true,
        })
    }

    pub fn order() -> ApplyOptions {
        ApplyOptions {
            concurrency: 4,
            takeover: Takeover::default(),
            known: BTreeMap::new(),
            budget: Budget::lasting(Duration::from_secs(90)),
        }
    }

    pub async fn apply(&self, manifests: &[Value]) -> Applied {
        execute(&self.cluster, &self.plan(manifests).waves, &Self::order()).await
    }

    pub async fn apply_knowing(&self, manifests: &[Value], known: BTreeMap<ObjectId, Record>) -> Applied {
        execute(&self.cluster, &self.plan(manifests).waves, &ApplyOptions { known, ..Self::order() }).await
    }

    /// A live object of the namespace, or a cluster-scoped one.
    pub async fn live(&self, inventory_id: &str, version: &str) -> Option<Object> {
        let id = self.id(inventory_id);
        let budget = Budget::lasting(Duration::from_secs(20));
        plumb_apply::observe::live(&self.cluster, &id, version, &budget).await.unwrap()
    }

    pub fn id(&self, inventory_id: &str) -> ObjectId {
        ObjectId::parse_inventory(&inventory_id.replace("NS", &self.namespace)).unwrap()
    }

    /// Creates an object as another client would.
    pub async fn create(&self, manifest: &Value) -> DynamicObject {
        let object = self.objects(std::slice::from_ref(manifest)).remove(0);
        let kind = plumb_apply::observe::kind_of(&object);
        let resource = kube::discovery::pinned_kind(&self.client, &kind).await.unwrap().0;
        let api: Api<DynamicObject> = match object.namespace() {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        api.create(&PostParams::default(), &serde_json::from_value(object.into_value()).unwrap())
            .await
            .unwrap()
    }

    /// Runs the stock kubectl in the namespace and gives what it printed.
    pub async fn kubectl(&self, arguments: &[&str], input: Option<&Value>) -> String {
        let plane = plane().await;
        let program = plane.kubectl();
        let mut command = Command::new(&program[0]);
        command.args(&program[1..]).arg("--kubeconfig").arg(plane.kubeconfig(plumb_plane::ADMIN));
        command.args(["--namespace", &self.namespace]).args(arguments);
        let text =
            input.map(|value| self.objects(std::slice::from_ref(value)).remove(0).into_value().to_string());
        let run = move || {
            use std::io::Write as _;
            use std::process::Stdio;
            let mut child =
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(text.unwrap_or_default().as_bytes()).unwrap();
            child.wait_with_output().unwrap()
        };
        let output = tokio::task::spawn_blocking(run).await.unwrap();
        assert!(
            output.status.success(),
            "kubectl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
