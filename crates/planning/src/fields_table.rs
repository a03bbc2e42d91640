//! Fields table: merge keys of the lists of Kubernetes' own kinds, for where the server's word is missing.
//!
//! Used only to guess what an apply will own; what counts is decided by the server's own `fieldsV1`.

use serde_json::Value;

/// A list by its field name, with the key fields of its items.
const KEYED: [(&str, &[&str]); 20] = [
    ("containers", &["name"]),
    ("initContainers", &["name"]),
    ("ephemeralContainers", &["name"]),
    ("env", &["name"]),
    ("volumes", &["name"]),
    ("volumeMounts", &["mountPath"]),
    ("volumeDevices", &["devicePath"]),
    ("imagePullSecrets", &["name"]),
    ("hostAliases", &["ip"]),
    ("topologySpreadConstraints", &["topologyKey", "whenUnsatisfiable"]),
    ("resourceClaims", &["name"]),
    ("schedulingGates", &["name"]),
    ("readinessGates", &["conditionType"]),
    ("ports", &["containerPort", "protocol"]),
    ("ports", &["port", "protocol"]),
    ("ownerReferences", &["uid"]),
    ("conditions", &["type"]),
    ("secrets", &["name"]),
    ("versions", &["name"]),
    ("webhooks", &["name"]),
];

/// Maps that the server owns as a whole.
const ATOMIC: [&str; 4] = ["selector", "nodeSelector", "matchLabels", "fieldRef"];

/// The key fields of a list with this name, where all its items carry the first of them.
pub fn merge_keys(name: &str, items: &[Value]) -> Option<&'static [&'static str]> {
    KEYED
        .iter()
        .filter(|(list, _)| *list == name)
        .map(|(_, keys)| *keys)
        .find(|keys| items.iter().all(|item| item.get(keys[0]).is_some()))
}

/// The value that the server puts for an absent key field.
pub fn key_default(key: &str) -> Option<Value> {
    (key == "protocol").then(|| Value::from("TCP"))
}

/// Whether a map of this name is owned as a whole.
pub fn is_atomic(name: &str) -> bool {
    ATOMIC.contains(&name)
}
