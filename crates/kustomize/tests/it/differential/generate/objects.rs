//! Kubernetes objects of many kinds, whose names come from a small pool so that they refer to each other.

use super::dice::Dice;
use super::node::Node;
use super::pods;
use super::words;

/// An object as it is written in its file.
#[derive(Debug, Clone)]
pub struct Object {
    pub api: String,
    pub kind: String,
    pub name: String,
    pub namespace: Option<String>,
    pub node: Node,
}

const KINDS: &[(&str, &str, usize)] = &[
    ("v1", "ConfigMap", 14),
    ("v1", "Secret", 7),
    ("apps/v1", "Deployment", 18),
    ("apps/v1", "StatefulSet", 6),
    ("apps/v1", "DaemonSet", 4),
    ("batch/v1", "CronJob", 4),
    ("batch/v1", "Job", 3),
    ("v1", "Pod", 3),
    ("v1", "Service", 10),
    ("networking.k8s.io/v1", "Ingress", 5),
    ("v1", "ServiceAccount", 5),
    ("rbac.authorization.k8s.io/v1", "Role", 3),
    ("rbac.authorization.k8s.io/v1", "ClusterRole", 3),
    ("rbac.authorization.k8s.io/v1", "RoleBinding", 3),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", 3),
    ("v1", "Namespace", 3),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition", 2),
    ("autoscaling/v2", "HorizontalPodAutoscaler", 3),
    ("policy/v1", "PodDisruptionBudget", 2),
    ("networking.k8s.io/v1", "NetworkPolicy", 3),
    ("v1", "PersistentVolumeClaim", 3),
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", 2),
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", 1),
    ("apiregistration.k8s.io/v1", "APIService", 1),
    ("example.com/v1", "Foo", 5),
    ("example.com/v1alpha1", "Bar", 2),
    ("storage.k8s.io/v1", "StorageClass", 1),
    ("v1", "PersistentVolume", 1),
    ("example.com/v1", "Namespace", 1),
    ("v1", "ReplicationController", 1),
    ("apps/v1", "ReplicaSet", 1),
];

/// An object of any kind.
pub fn throw(dice: &mut Dice) -> Object {
    let total: usize = KINDS.iter().map(|(_, _, weight)| weight).sum();
    let mut left = dice.below(total);
    for (api, kind, weight) in KINDS {
        if left < *weight {
            return of_kind(api, kind, dice);
        }
        left -= weight;
    }
    of_kind("v1", "ConfigMap", dice)
}

fn of_kind(api: &str, kind: &str, dice: &mut Dice) -> Object {
    let name = dice.pick(words::NAMES).to_owned();
    let namespace = dice.chance(25).then(|| dice.pick(words::NAMESPACES).to_owned());
    let mut entries = Vec::new();
    if !dice.once_in(150) {
        entries.push(("apiVersion".to_owned(), Node::text(api)));
    }
    entries.push(("kind".to_owned(), Node::text(kind)));
    entries.push(("metadata".to_owned(), metadata(&name, namespace.as_deref(), dice)));
    entries.extend(body(kind, dice));
    if dice.chance(5) {
        entries.push(("status".to_owned(), words::anything(dice)));
    }
    let mut node = Node::Map(entries);
    disturb(&mut node, dice, 5);
    Object { api: api.to_owned(), kind: kind.to_owned(), name, namespace, node }
}

fn metadata(name: &str, namespace: Option<&str>, dice: &mut Dice) -> Node {
    let mut entries = vec![("name".to_owned(), Node::text(name))];
    if let Some(namespace) = namespace {
        entries.push(("namespace".to_owned(), Node::text(namespace)));
    }
    if dice.chance(40) {
        entries.push(("labels".to_owned(), labels(dice)));
    }
    if dice.chance(30) {
        entries.push(("annotations".to_owned(), annotations(dice)));
    }
    if dice.chance(3) {
        entries.push(("finalizers".to_owned(), Node::texts(["a/b", "c/d"])));
    }
    if dice.chance(3) {
        let owner = Node::pairs([("kind", "Foo"), ("name", "a"), ("uid", "u-1")]);
        entries.push(("ownerReferences".to_owned(), Node::list([owner])));
    }
    if dice.chance(2) {
        entries.push(("creationTimestamp".to_owned(), Node::text("null")));
    }
    Node::Map(entries)
}

/// A map of labels.
pub fn labels(dice: &mut Dice) -> Node {
    let keys = dice.some(words::LABELS, 40);
    Node::map(keys.into_iter().map(|key| {
        let value = if dice.chance(5) { words::odd(dice) } else { Node::text(dice.pick(words::NAMES)) };
        (key, value)
    }))
}

/// A map of annotations.
pub fn annotations(dice: &mut Dice) -> Node {
    let keys = [
        "note",
        "example.com/a",
        "config.kubernetes.io/local-config",
        "nginx.ingress.kubernetes.io/auth-secret",
        "config.kubernetes.io/path",
        "config.kubernetes.io/origin",
        "kustomize.config.k8s.io/needs-hash",
    ];
    let weights = [60, 40, 3, 5, 1, 1, 1];
    let mut entries = Vec::new();
    for (key, weight) in keys.iter().zip(weights) {
        if dice.chance(weight) {
            let value = match *key {
                "config.kubernetes.io/local-config" => {
                    Node::text(dice.pick(&["\"true\"", "\"false\"", "true", "\"\""]))
                }
                "nginx.ingress.kubernetes.io/auth-secret" => Node::text(dice.pick(words::NAMES)),
                _ => words::value(dice),
            };
            entries.push(((*key).to_owned(), value));
        }
    }
    Node::Map(entries)
}

fn body(kind: &str, dice: &mut Dice) -> Vec<(String, Node)> {
    let entry = |key: &str, node: Node| vec![(key.to_owned(), node)];
    match kind {
        "ConfigMap" => config_map(dice),
        "Secret" => secret(dice),
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "ReplicationController" => {
            entry("spec", pods::workload(kind, dice))
        }
        "Job" => entry("spec", pods::job(dice)),
        "CronJob" => entry("spec", pods::cron_job(dice)),
        "Pod" => entry("spec", pods::spec(dice)),
        "Service" => entry("spec", service(dice)),
        "Ingress" => entry("spec", ingress(dice)),
        "ServiceAccount" => service_account(dice),
        "Role" | "ClusterRole" => entry("rules", rules(dice)),
        "RoleBinding" | "ClusterRoleBinding" => binding(dice),
        "CustomResourceDefinition" => entry("spec", definition(dice)),
        "HorizontalPodAutoscaler" => entry("spec", autoscaler(dice)),
        "PodDisruptionBudget" => {
            entry("spec", Node::map([("minAvailable", Node::text("1")), ("selector", pods::selector(dice))]))
        }
        "NetworkPolicy" => entry("spec", network_policy(dice)),
        "PersistentVolumeClaim" => entry("spec", claim(dice)),
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => {
            entry("webhooks", webhooks(dice))
        }
        "APIService" => {
            entry("spec", Node::map([("service", reference(dice)), ("group", Node::text("x.y"))]))
        }
        "StorageClass" => entry("provisioner", Node::text("x.y/z")),
        "PersistentVolume" => {
            entry("spec", Node::map([("storageClassName", name(dice)), ("claimRef", reference(dice))]))
        }
        "Foo" | "Bar" => entry("spec", custom(dice)),
        _ => Vec::new(),
    }
}

fn config_map(dice: &mut Dice) -> Vec<(String, Node)> {
    let mut entries = Vec::new();
    if dice.chance(90) {
        entries.push(("data".to_owned(), data(dice)));
    }
    if dice.chance(4) {
        entries.push(("binaryData".to_owned(), Node::pairs([("bin", "AAEC/w==")])));
    }
    if dice.chance(4) {
        entries.push(("immutable".to_owned(), Node::text("true")));
    }
    entries
}

fn data(dice: &mut Dice) -> Node {
    let mut entries: Vec<(String, Node)> = Vec::new();
    for _ in 0..dice.between(0, 4) {
        let (key, value) = (words::key(dice), words::value(dice));
        if dice.once_in(200) || entries.iter().all(|(own, _)| *own != key) {
            entries.push((key, value));
        }
    }
    Node::Map(entries)
}

fn secret(dice: &mut Dice) -> Vec<(String, Node)> {
    let mut entries = Vec::new();
    if dice.chance(60) {
        entries.push(("type".to_owned(), Node::text(dice.pick(&["Opaque", "kubernetes.io/tls"]))));
    }
    if dice.chance(50) {
        entries.push(("data".to_owned(), Node::pairs([(dice.pick(&["a", "tls.crt"]), "aGVsbG8=")])));
    } else {
        entries.push(("stringData".to_owned(), data(dice)));
    }
    entries
}

fn name(dice: &mut Dice) -> Node {
    Node::text(dice.pick(words::NAMES))
}

/// A name with a namespace, or only the name.
fn reference(dice: &mut Dice) -> Node {
    let mut entries = vec![("name".to_owned(), name(dice))];
    if dice.chance(70) {
        entries.push(("namespace".to_owned(), Node::text(dice.pick(words::NAMESPACES))));
    }
    Node::Map(entries)
}

fn service(dice: &mut Dice) -> Node {
    let mut entries = Vec::new();
    if dice.chance(85) {
        entries.push(("selector".to_owned(), labels(dice)));
    }
    let ports = (0..dice.between(0, 2)).map(|_| pods::port("port", dice)).collect();
    entries.push(("ports".to_owned(), Node::List(ports)));
    if dice.chance(20) {
        entries.push(("type".to_owned(), Node::text("ClusterIP")));
    }
    Node::Map(entries)
}

fn ingress(dice: &mut Dice) -> Node {
    let port = Node::map([("number", Node::text("80"))]);
    let backend = Node::map([("service", Node::map([("name", name(dice)), ("port", port)]))]);
    let path = Node::map([
        ("path", Node::text("/")),
        ("pathType", Node::text("Prefix")),
        ("backend", backend.clone()),
    ]);
    let http = Node::map([("paths", Node::list([path]))]);
    let rule = Node::map([("host", Node::text("x.example.com")), ("http", http)]);
    let mut entries = vec![("rules".to_owned(), Node::list([rule]))];
    if dice.chance(40) {
        let tls = Node::map([("hosts", Node::texts(["x.example.com"])), ("secretName", name(dice))]);
        entries.push(("tls".to_owned(), Node::list([tls])));
    }
    if dice.chance(20) {
        entries.push(("defaultBackend".to_owned(), backend));
    }
    if dice.chance(20) {
        entries.push(("ingressClassName".to_owned(), name(dice)));
    }
    Node::Map(entries)
}

fn service_account(dice: &mut Dice) -> Vec<(String, Node)> {
    let mut entries = Vec::new();
    for field in ["secrets", "imagePullSecrets"] {
        if dice.chance(40) {
            let names = (0..dice.between(1, 2)).map(|_| Node::map([("name", name(dice))])).collect();
            entries.push((field.to_owned(), Node::List(names)));
        }
    }
    entries
}

fn rules(dice: &mut Dice) -> Node {
    let resource = dice.pick(&["configmaps", "secrets", "pods"]);
    let mut rule = vec![
        ("apiGroups".to_owned(), Node::texts(["\"\""])),
        ("resources".to_owned(), Node::texts([resource])),
        ("verbs".to_owned(), Node::texts(["get", "'*'"])),
    ];
    if dice.chance(60) {
        let names = dice.some(words::NAMES, 40);
        rule.push(("resourceNames".to_owned(), Node::texts(names)));
    }
    Node::list([Node::Map(rule)])
}

fn binding(dice: &mut Dice) -> Vec<(String, Node)> {
    let kind = dice.pick(&["Role", "ClusterRole"]);
    let role = Node::map([
        ("apiGroup", Node::text("rbac.authorization.k8s.io")),
        ("kind", Node::text(kind)),
        ("name", name(dice)),
    ]);
    let subjects = (0..dice.between(0, 3)).map(|_| {
        let mut subject =
            vec![("kind".to_owned(), Node::text(dice.pick(&["ServiceAccount", "ServiceAccount", "User"])))];
        let called = if dice.chance(40) { Node::text("default") } else { name(dice) };
        subject.push(("name".to_owned(), called));
        if dice.chance(60) {
            subject.push(("namespace".to_owned(), Node::text(dice.pick(words::NAMESPACES))));
        }
        Node::Map(subject)
    });
    let subjects = Node::List(subjects.collect());
    vec![("roleRef".to_owned(), role), ("subjects".to_owned(), subjects)]
}

fn definition(dice: &mut Dice) -> Node {
    let mut entries = vec![
        ("group".to_owned(), Node::text("example.com")),
        ("names".to_owned(), Node::pairs([("kind", "Foo"), ("plural", "foos")])),
        ("scope".to_owned(), Node::text("Namespaced")),
        ("versions".to_owned(), Node::list([Node::pairs([("name", "v1"), ("served", "true")])])),
    ];
    if dice.chance(30) {
        let client = Node::map([("clientConfig", Node::map([("service", reference(dice))]))]);
        entries.push(("conversion".to_owned(), Node::map([("webhook", client)])));
    }
    Node::Map(entries)
}

fn autoscaler(dice: &mut Dice) -> Node {
    let kind = dice.pick(&["Deployment", "StatefulSet"]);
    let target =
        Node::map([("apiVersion", Node::text("apps/v1")), ("kind", Node::text(kind)), ("name", name(dice))]);
    Node::map([
        ("scaleTargetRef", target),
        ("minReplicas", Node::text("1")),
        ("maxReplicas", Node::text("3")),
    ])
}

fn network_policy(dice: &mut Dice) -> Node {
    let peer = Node::map([("podSelector", pods::selector(dice))]);
    let mut entries = vec![("podSelector".to_owned(), pods::selector(dice))];
    if dice.chance(50) {
        entries.push(("ingress".to_owned(), Node::list([Node::map([("from", Node::list([peer.clone()]))])])));
    }
    if dice.chance(50) {
        entries.push(("egress".to_owned(), Node::list([Node::map([("to", Node::list([peer]))])])));
    }
    Node::Map(entries)
}

/// The spec of a claim.
pub fn claim(dice: &mut Dice) -> Node {
    let requests = Node::map([("requests", Node::pairs([("storage", "1Gi")]))]);
    let mut entries =
        vec![("accessModes".to_owned(), Node::texts(["ReadWriteOnce"])), ("resources".to_owned(), requests)];
    if dice.chance(30) {
        entries.push(("storageClassName".to_owned(), name(dice)));
    }
    if dice.chance(20) {
        entries.push(("volumeName".to_owned(), name(dice)));
    }
    Node::Map(entries)
}

fn webhooks(dice: &mut Dice) -> Node {
    let hooks = (0..dice.between(1, 2)).map(|index| {
        let client = Node::map([("service", reference(dice))]);
        Node::map([("name", Node::text(format!("h{index}.x.y"))), ("clientConfig", client)])
    });
    Node::List(hooks.collect())
}

fn custom(dice: &mut Dice) -> Node {
    let mut entries = Vec::new();
    for key in ["size", "mode", "config", "items", "ref"] {
        if dice.chance(50) {
            let value = match key {
                "config" => Node::map([
                    ("deep", Node::map([("value", words::value(dice))])),
                    ("list", Node::list([words::value(dice), words::value(dice)])),
                ]),
                "items" => Node::list([
                    Node::map([("name", name(dice)), ("value", words::value(dice))]),
                    Node::map([("name", Node::text("z"))]),
                ]),
                "ref" => Node::map([("name", name(dice))]),
                _ => words::value(dice),
            };
            entries.push((key.to_owned(), value));
        }
    }
    if dice.chance(20) {
        entries.push(("template".to_owned(), Node::map([("spec", pods::spec(dice))])));
    }
    if dice.chance(8) {
        let shared = Node::text("&shared {a: 1, b: two}");
        entries.insert(0, ("anchor".to_owned(), shared));
        entries.push(("alias".to_owned(), Node::text("*shared")));
        entries.push((
            "merged".to_owned(),
            Node::map([("<<", Node::text("*shared")), ("b", Node::text("three"))]),
        ));
    }
    Node::Map(entries)
}

/// Puts something odd somewhere, so many times of a hundred.
pub fn disturb(node: &mut Node, dice: &mut Dice, percent: usize) {
    if !dice.chance(percent) {
        return;
    }
    // The first values are the object itself, its kind and its name: without them it is no object.
    let count = node.count();
    let first = if count > 6 && !dice.once_in(10) { 5 } else { 1 };
    let index = dice.between(first.min(count - 1), count - 1);
    let new = words::anything(dice);
    let choice = dice.below(5);
    let Some(place) = node.nth(index) else { return };
    match place {
        Node::Map(entries) if choice == 0 && !entries.is_empty() => {
            let at = dice.below(entries.len());
            entries.remove(at);
        }
        Node::Map(entries) if choice < 3 => entries.push((words::key(dice), new)),
        Node::List(items) if choice == 0 && !items.is_empty() => {
            let copy = items[dice.below(items.len())].clone();
            items.push(copy);
        }
        Node::List(items) if choice < 3 => items.insert(0, new),
        place => *place = new,
    }
}
