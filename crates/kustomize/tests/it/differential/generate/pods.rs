//! Pods and what makes them.

use super::dice::Dice;
use super::node::Node;
use super::{objects, words};

/// A label selector.
pub fn selector(dice: &mut Dice) -> Node {
    if dice.chance(10) {
        return Node::Map(Vec::new());
    }
    Node::map([("matchLabels", objects::labels(dice))])
}

fn template(dice: &mut Dice) -> Node {
    let mut entries = Vec::new();
    if dice.chance(85) {
        let mut metadata = vec![("labels".to_owned(), objects::labels(dice))];
        if dice.chance(20) {
            metadata.push(("annotations".to_owned(), objects::annotations(dice)));
        }
        entries.push(("metadata".to_owned(), Node::Map(metadata)));
    }
    entries.push(("spec".to_owned(), spec(dice)));
    Node::Map(entries)
}

/// The spec of a workload with a template.
pub fn workload(kind: &str, dice: &mut Dice) -> Node {
    let mut entries = Vec::new();
    if dice.chance(70) && kind != "DaemonSet" {
        entries.push(("replicas".to_owned(), Node::text(dice.below(4).to_string())));
    }
    if kind == "ReplicationController" {
        entries.push(("selector".to_owned(), objects::labels(dice)));
    } else if dice.chance(90) {
        entries.push(("selector".to_owned(), selector(dice)));
    }
    if kind == "Deployment" && dice.chance(20) {
        let rolling = Node::pairs([("maxSurge", "25%"), ("maxUnavailable", "1")]);
        entries.push((
            "strategy".to_owned(),
            Node::map([("type", Node::text("RollingUpdate")), ("rollingUpdate", rolling)]),
        ));
    }
    entries.push(("template".to_owned(), template(dice)));
    if kind == "StatefulSet" {
        entries.push(("serviceName".to_owned(), Node::text(dice.pick(words::NAMES))));
        if dice.chance(50) {
            let claim =
                Node::map([("metadata", Node::pairs([("name", "data")])), ("spec", objects::claim(dice))]);
            entries.push(("volumeClaimTemplates".to_owned(), Node::list([claim])));
        }
    }
    Node::Map(entries)
}

pub fn job(dice: &mut Dice) -> Node {
    let mut entries = vec![("template".to_owned(), template(dice))];
    if dice.chance(20) {
        entries.push(("selector".to_owned(), selector(dice)));
    }
    Node::Map(entries)
}

pub fn cron_job(dice: &mut Dice) -> Node {
    let mut inner = vec![("spec".to_owned(), job(dice))];
    if dice.chance(20) {
        inner.push(("metadata".to_owned(), Node::map([("labels", objects::labels(dice))])));
    }
    Node::map([("schedule", Node::text("\"*/5 * * * *\"")), ("jobTemplate", Node::Map(inner))])
}

/// The spec of a pod.
pub fn spec(dice: &mut Dice) -> Node {
    let mut entries = Vec::new();
    let names = ["main", "side", "third"];
    let count = dice.between(1, 2);
    let containers = names.iter().take(count).map(|name| container(name, dice)).collect();
    entries.push(("containers".to_owned(), Node::List(containers)));
    if dice.chance(20) {
        entries.push(("initContainers".to_owned(), Node::list([container("init", dice)])));
    }
    if dice.chance(30) {
        entries.push(("serviceAccountName".to_owned(), Node::text(dice.pick(words::NAMES))));
    }
    if dice.chance(20) {
        entries.push((
            "imagePullSecrets".to_owned(),
            Node::list([Node::pairs([("name", dice.pick(words::NAMES))])]),
        ));
    }
    if dice.chance(45) {
        let volumes = (0..dice.between(1, 3)).map(|index| volume(index, dice)).collect();
        entries.push(("volumes".to_owned(), Node::List(volumes)));
    }
    if dice.chance(10) {
        entries.push((
            "tolerations".to_owned(),
            Node::list([Node::pairs([("key", "k"), ("operator", "Exists")])]),
        ));
    }
    if dice.chance(10) {
        let term = Node::map([("labelSelector", selector(dice)), ("topologyKey", Node::text("zone"))]);
        let required = Node::map([("requiredDuringSchedulingIgnoredDuringExecution", Node::list([term]))]);
        entries.push(("affinity".to_owned(), Node::map([("podAntiAffinity", required)])));
    }
    if dice.chance(8) {
        let spread = Node::map([
            ("maxSkew", Node::text("1")),
            ("topologyKey", Node::text("zone")),
            ("whenUnsatisfiable", Node::text("DoNotSchedule")),
            ("labelSelector", selector(dice)),
        ]);
        entries.push(("topologySpreadConstraints".to_owned(), Node::list([spread])));
    }
    if dice.chance(5) {
        let alias = Node::map([("ip", Node::text("1.2.3.4")), ("hostnames", Node::texts(["h"]))]);
        entries.push(("hostAliases".to_owned(), Node::list([alias])));
    }
    if dice.chance(5) {
        entries.push(("priorityClassName".to_owned(), Node::text(dice.pick(words::NAMES))));
    }
    Node::Map(entries)
}

/// A container.
pub fn container(name: &str, dice: &mut Dice) -> Node {
    let mut entries = vec![("name".to_owned(), Node::text(name))];
    if dice.chance(92) {
        let image = dice.pick(words::IMAGES);
        let image = if image.contains('{') { format!("{image:?}") } else { image.to_owned() };
        entries.push(("image".to_owned(), Node::text(image)));
    }
    if dice.chance(30) {
        let args = (0..dice.between(1, 3)).map(|_| words::value(dice)).collect();
        entries.push((dice.pick(&["args", "command"]).to_owned(), Node::List(args)));
    }
    if dice.chance(45) {
        let names = dice.some(&["A", "B", "C", "LONG_NAME"], 50);
        entries.push(("env".to_owned(), Node::List(names.iter().map(|name| variable(name, dice)).collect())));
    }
    if dice.chance(20) {
        let kind = dice.pick(&["configMapRef", "secretRef"]);
        let from = Node::map([(kind, Node::pairs([("name", dice.pick(words::NAMES))]))]);
        entries.push(("envFrom".to_owned(), Node::list([from])));
    }
    if dice.chance(40) {
        let ports = (0..dice.between(1, 2)).map(|_| port("containerPort", dice)).collect();
        entries.push(("ports".to_owned(), Node::List(ports)));
    }
    if dice.chance(25) {
        let mounts = (0..dice.between(1, 2)).map(|index| {
            Node::pairs([("name", format!("v{index}")), ("mountPath", format!("/mnt/{index}"))])
        });
        entries.push(("volumeMounts".to_owned(), Node::List(mounts.collect())));
    }
    if dice.chance(25) {
        let limits = Node::pairs([("cpu", dice.pick(&["1", "100m", "0.5", "\"2\""])), ("memory", "64Mi")]);
        entries.push(("resources".to_owned(), Node::map([("limits", limits)])));
    }
    if dice.chance(5) {
        entries.push(("securityContext".to_owned(), Node::Map(Vec::new())));
    }
    Node::Map(entries)
}

fn variable(name: &str, dice: &mut Dice) -> Node {
    let mut entries = vec![("name".to_owned(), Node::text(name))];
    if dice.chance(60) {
        entries.push(("value".to_owned(), words::value(dice)));
    } else {
        let kind = dice.pick(&["configMapKeyRef", "secretKeyRef"]);
        let from = Node::pairs([("name", dice.pick(words::NAMES)), ("key", "a")]);
        entries.push(("valueFrom".to_owned(), Node::map([(kind, from)])));
    }
    Node::Map(entries)
}

/// A port of a container or of a service.
pub fn port(key: &str, dice: &mut Dice) -> Node {
    let mut entries = vec![(key.to_owned(), Node::text(dice.pick(&["80", "443", "8080"])))];
    if dice.chance(40) {
        entries.push(("protocol".to_owned(), Node::text(dice.pick(&["TCP", "UDP"]))));
    }
    if dice.chance(60) {
        entries.push(("name".to_owned(), Node::text(dice.pick(&["http", "https", "p"]))));
    }
    if key == "port" && dice.chance(40) {
        entries.push(("targetPort".to_owned(), Node::text(dice.pick(&["http", "8080"]))));
    }
    Node::Map(entries)
}

fn volume(index: usize, dice: &mut Dice) -> Node {
    let called = Node::text(dice.pick(words::NAMES));
    let source = match dice.below(6) {
        0 => ("emptyDir", Node::Map(Vec::new())),
        1 => ("configMap", Node::map([("name", called)])),
        2 => ("secret", Node::map([("secretName", called)])),
        3 => ("persistentVolumeClaim", Node::map([("claimName", called)])),
        4 => {
            let sources = [("configMap", called.clone()), ("secret", called)];
            let sources = sources.map(|(kind, name)| Node::map([(kind, Node::map([("name", name)]))]));
            ("projected", Node::map([("sources", Node::list(sources))]))
        }
        _ => ("image", Node::map([("reference", Node::text(dice.pick(&["nginx:1", "nginx"])))])),
    };
    let mut entries = vec![("name".to_owned(), Node::text(format!("v{index}")))];
    if dice.once_in(40) {
        entries.clear();
    }
    entries.push((source.0.to_owned(), source.1));
    Node::Map(entries)
}
