//! Typed form: an object of a built-in kind with exactly the fields that Flux would send for it.
//!
//! Flux reads each object of a built-in kind into its Go type and writes it out again before it applies it. That adds the
//! structs that Go always writes (`template.metadata: {}`, `resources: {}`, `strategy: {}`), and drops empty values of
//! optional fields (`hostNetwork: false`, `args: []`). The managed fields of Flux's entry follow from that. An apply without
//! those structs gives up fields that the entry owns: the server then removes them with all that is in them, and rejects it
//! where they cannot change (the pod template of a Job). So the same is done here. Unlike in Flux, fields that the type does
//! not know are preserved: the server decides about them.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use plumb_manifests::Object;
use serde_json::{Map, Value};

use crate::stage;

/// The fields of the built-in types that do not stay as they are. First a line for each kind, `apiVersion kind type`; then a
/// line for each type, `number field=rule…`. A rule is a letter, `!` where the field is written even when it is empty, and
/// the number of the type inside. Written by `tests/oracle/flux-ssa` from the types that Flux is built with.
const TABLE: &str = include_str!("typed_form/table.txt");

/// How deep a value is followed; the deepest built-in type (a StatefulSet's probes) has 12 levels.
const DEPTH_MAX: usize = 64;

/// Kinds that Flux leaves as they are written.
const UNTYPED: [&str; 2] = ["rbac.authorization.k8s.io/v1 Role", "rbac.authorization.k8s.io/v1 ClusterRole"];

/// What becomes of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// A flag, number or text: dropped when it has this value, or written with it when `required`.
    Scalar { zero: Zero, required: bool },
    /// A list: dropped when empty, unless `required`; its items have a type.
    List { required: bool, inner: Option<usize> },
    /// A map from names to values of a type: dropped when empty, unless `required`.
    Map { required: bool, inner: Option<usize> },
    /// A value behind a pointer: stored as written, or null where it is `required`.
    Pointer { required: bool, inner: Option<usize> },
    /// A struct that is always written.
    Struct { inner: Option<usize> },
    /// A struct that is dropped when nothing is in it.
    OptionalStruct { inner: Option<usize> },
}

/// The empty value of a scalar type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Zero {
    False,
    Number,
    Text,
    Quantity,
}

impl Zero {
    fn value(self) -> Value {
        match self {
            Self::False => Value::Bool(false),
            Self::Number => Value::from(0),
            Self::Text => Value::from(""),
            Self::Quantity => Value::from("0"),
        }
    }

    fn is(self, value: &Value) -> bool {
        match self {
            Self::False => value == &Value::Bool(false),
            Self::Number => value.as_f64() == Some(0.0),
            Self::Text => value.as_str() == Some(""),
            // Written regardless of its value.
            Self::Quantity => false,
        }
    }
}

type Fields = Vec<(&'static str, Rule)>;

struct Table {
    kinds: BTreeMap<&'static str, usize>,
    types: BTreeMap<usize, Fields>,
}

impl Table {
    fn get() -> &'static Self {
        static TABLE_READ: OnceLock<Table> = OnceLock::new();
        TABLE_READ.get_or_init(|| Self::read(TABLE))
    }

    fn read(text: &'static str) -> Self {
        let mut table = Self { kinds: BTreeMap::new(), types: BTreeMap::new() };
        for line in text.lines() {
            let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
            if let Ok(number) = first.parse() {
                table.types.insert(number, rest.split(' ').filter_map(field).collect());
            } else if let Some((kind, number)) = line.rsplit_once(' ')
                && let Ok(number) = number.parse()
            {
                table.kinds.insert(kind, number);
            }
        }
        table
    }
}

/// Reads `field=rule`.
fn field(word: &'static str) -> Option<(&'static str, Rule)> {
    let (name, code) = word.split_once('=')?;
    let letter = code.get(..1)?;
    let rest = &code[1..];
    let (required, inner) = match rest.strip_prefix('!') {
        Some(inner) => (true, inner),
        None => (false, rest),
    };
    let inner = inner.parse().ok();
    let scalar = |zero, required| Rule::Scalar { zero, required };
    let rule = match letter {
        "b" => scalar(Zero::False, required),
        "n" => scalar(Zero::Number, required),
        "s" => scalar(Zero::Text, required),
        "q" => scalar(Zero::Quantity, true),
        "i" => scalar(Zero::Number, true),
        "l" => Rule::List { required, inner },
        "m" => Rule::Map { required, inner },
        "*" => Rule::Pointer { required, inner },
        "S" => Rule::Struct { inner },
        "o" => Rule::OptionalStruct { inner },
        _ => return None,
    };
    Some((name, rule))
}

/// Brings an object into its typed form.
pub fn complete(object: &mut Object) {
    let kind = format!("{} {}", object.api_version(), object.kind());
    let keeps_status = stage::is_definition(&object.id());
    let Some(root) = object.value_mut().as_object_mut() else { return };
    let table = Table::get();
    if let Some(number) = table.kinds.get(kind.as_str())
        && !UNTYPED.contains(&kind.as_str())
    {
        table.fill(root, *number, 0);
        set_protocols(&kind, root);
    }
    if !keeps_status {
        root.remove("status");
    }
}

impl Table {
    fn fill(&self, map: &mut Map<String, Value>, number: usize, depth: usize) {
        if depth >= DEPTH_MAX {
            return;
        }
        for (name, rule) in self.types.get(&number).into_iter().flatten() {
            if map.get(*name).is_some_and(Value::is_null) {
                map.remove(*name);
            }
            let Some(value) = map.get_mut(*name) else {
                if let Some(mut value) = rule.absent() {
                    self.visit(&mut value, *rule, depth + 1);
                    map.insert((*name).to_owned(), value);
                }
                continue;
            };
            let keeps = self.visit(value, *rule, depth + 1);
            if !keeps {
                map.remove(*name);
            }
        }
    }

    /// Fills a value; false where Go would not write it.
    fn visit(&self, value: &mut Value, rule: Rule, depth: usize) -> bool {
        match (rule, value) {
            (Rule::Scalar { zero, required }, value) => required || !zero.is(value),
            (Rule::List { required, inner }, Value::Array(items)) => {
                for item in items.iter_mut().filter_map(Value::as_object_mut) {
                    self.fill_inner(item, inner, depth);
                }
                required || !items.is_empty()
            }
            (Rule::Map { required, inner }, Value::Object(map)) => {
                for item in map.values_mut().filter_map(Value::as_object_mut) {
                    self.fill_inner(item, inner, depth);
                }
                required || !map.is_empty()
            }
            (Rule::Pointer { inner, .. } | Rule::Struct { inner }, Value::Object(map)) => {
                self.fill_inner(map, inner, depth);
                true
            }
            (Rule::OptionalStruct { inner }, Value::Object(map)) => {
                self.fill_inner(map, inner, depth);
                !map.is_empty()
            }
            // Of another form than the type: the server reports what is wrong with it.
            (_, _) => true,
        }
    }

    fn fill_inner(&self, map: &mut Map<String, Value>, inner: Option<usize>, depth: usize) {
        if let Some(number) = inner {
            self.fill(map, number, depth);
        }
    }
}

impl Rule {
    /// The default that is written where the field is missing.
    fn absent(self) -> Option<Value> {
        match self {
            Self::Scalar { zero, required: true } => Some(zero.value()),
            Self::Struct { .. } => Some(Value::Object(Map::new())),
            Self::List { required: true, .. }
            | Self::Map { required: true, .. }
            | Self::Pointer { required: true, .. } => Some(Value::Null),
            Self::Scalar { required: false, .. }
            | Self::List { required: false, .. }
            | Self::Map { required: false, .. }
            | Self::Pointer { required: false, .. }
            | Self::OptionalStruct { .. } => None,
        }
    }
}

/// Ports without protocol get the default, which is a part of the key of their lists. As in Flux, init containers do not.
fn set_protocols(kind: &str, root: &mut Map<String, Value>) {
    let template = "/template/spec/containers";
    let pointer = match kind {
        "v1 Service" => return set_protocol(root.get_mut("spec").and_then(|spec| spec.get_mut("ports"))),
        "v1 Pod" => "/containers".to_owned(),
        "apps/v1 Deployment"
        | "apps/v1 StatefulSet"
        | "apps/v1 DaemonSet"
        | "apps/v1 ReplicaSet"
        | "batch/v1 Job" => template.to_owned(),
        "batch/v1 CronJob" => format!("/jobTemplate/spec{template}"),
        _ => return,
    };
    let containers = root.get_mut("spec").and_then(|spec| spec.pointer_mut(&pointer));
    for container in containers.and_then(Value::as_array_mut).into_iter().flatten() {
        set_protocol(container.get_mut("ports"));
    }
}

fn set_protocol(ports: Option<&mut Value>) {
    for port in ports.and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(port) = port.as_object_mut() {
            port.entry("protocol").or_insert_with(|| "TCP".into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan;

    /// Objects as Git has them, and what Flux's own library sends for each: `tests/oracle/flux-ssa normalise`.
    const INPUTS: &str = include_str!("typed_form/manifests.jsonl");
    const OUTPUTS: &str = include_str!("typed_form/flux.jsonl");

    fn object(text: &str) -> Object {
        Object::new(serde_json::from_str(text).unwrap()).unwrap()
    }

    #[test]
    fn every_object_has_the_fields_that_flux_sends() {
        assert_eq!(INPUTS.lines().count(), OUTPUTS.lines().count());
        for (input, output) in INPUTS.lines().zip(OUTPUTS.lines()) {
            let (mut ours, mut theirs) = (object(input), object(output));
            plan::normalise(&mut ours);
            // The server drops it, and every entry with it.
            theirs.value_mut()["metadata"].as_object_mut().unwrap().remove("creationTimestamp");
            assert_eq!(ours.value(), theirs.value(), "{input}");
        }
    }

    #[test]
    fn a_complete_object_is_unchanged() {
        for input in INPUTS.lines() {
            let mut once = object(input);
            complete(&mut once);
            let mut twice = once.clone();
            complete(&mut twice);
            assert_eq!(once, twice);
        }
    }

    #[test]
    fn a_field_unknown_to_the_types_is_preserved() {
        let mut pod = object(
            r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"new": false, "hostNetwork": false}}"#,
        );
        complete(&mut pod);
        assert_eq!(pod.at(&["spec", "new"]), Some(&Value::Bool(false)));
        assert_eq!(pod.at(&["spec", "hostNetwork"]), None);
    }

    #[test]
    fn a_custom_object_loses_its_status_alone_and_a_definition_keeps_it() {
        let mut gate = object(
            r#"{"apiVersion": "net.test/v1", "kind": "Gate", "metadata": {"name": "g"}, "spec": {"a": []}, "status": {}}"#,
        );
        complete(&mut gate);
        assert_eq!((gate.at(&["status"]), gate.at(&["spec", "a"]).is_some()), (None, true));
        let mut definition = object(
            r#"{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "d"}, "status": {}}"#,
        );
        complete(&mut definition);
        assert!(definition.at(&["status"]).is_some());
    }

    #[test]
    fn every_line_of_the_table_is_read() {
        let table = Table::get();
        assert_eq!(table.kinds.len() + table.types.len(), TABLE.lines().count());
        let words: usize =
            TABLE.lines().flat_map(|line| line.split(' ')).filter(|word| word.contains('=')).count();
        assert_eq!(table.types.values().map(Vec::len).sum::<usize>(), words);
        let inner = |rule: &Rule| match *rule {
            Rule::List { inner, .. }
            | Rule::Map { inner, .. }
            | Rule::Pointer { inner, .. }
            | Rule::Struct { inner }
            | Rule::OptionalStruct { inner } => inner,
            Rule::Scalar { .. } => None,
        };
        let mut named = table.types.values().flatten().filter_map(|(_, rule)| inner(rule));
        assert!(named.all(|number| table.types.contains_key(&number)));
    }
}
