//! Transformers, generators and validators that are built in, each as a document of its own.

use super::dice::Dice;
use super::fields::{self, Context};
use super::node::{Node, Style, write};
use super::{configurations, maps, objects, patches, replacements, words};

/// An entry of `transformers`, `generators` or `validators`: a file, or the document itself.
pub fn entry(field: &str, context: &mut Context<'_>, dice: &mut Dice) -> Option<Node> {
    let kind = match field {
        "generators" => dice.pick(&["ConfigMapGenerator", "SecretGenerator"]),
        "validators" => dice.pick(&["LabelTransformer", "AnnotationsTransformer"]),
        _ => dice.pick(&[
            "AnnotationsTransformer",
            "ImageTagTransformer",
            "LabelTransformer",
            "NamespaceTransformer",
            "PatchJson6902Transformer",
            "PatchStrategicMergeTransformer",
            "PatchTransformer",
            "PrefixTransformer",
            "SuffixTransformer",
            "PrefixSuffixTransformer",
            "ReplacementTransformer",
            "ReplicaCountTransformer",
            "HashTransformer",
        ]),
    };
    let node = document(kind, context, dice)?;
    if dice.chance(50) {
        return Some(Node::text(context.yaml("plugin", &node, dice)));
    }
    let text = write(&node, Style { flow: 0, comments: 0, indents_lists: false }, dice);
    Some(Node::Block("|-".to_owned(), text.lines().map(str::to_owned).collect()))
}

fn document(kind: &str, context: &mut Context<'_>, dice: &mut Dice) -> Option<Node> {
    let number = if dice.once_in(40) { 0 } else { dice.below(1000) };
    let mut metadata = vec![("name".to_owned(), Node::text(format!("plugin{number}")))];
    let mut entries =
        vec![("apiVersion".to_owned(), Node::text("builtin")), ("kind".to_owned(), Node::text(kind))];
    if kind == "NamespaceTransformer" {
        metadata.push(("namespace".to_owned(), Node::text(dice.pick(words::NAMESPACES))));
    }
    let own = match simple(kind, dice) {
        Some(own) => own,
        None => of_context(kind, context, dice)?,
    };
    if dice.once_in(30) {
        metadata.push(("annotations".to_owned(), objects::annotations(dice)));
    }
    // A generator's own name is that of what it makes.
    let (names, own): (Vec<_>, Vec<_>) = own
        .into_iter()
        .partition(|(key, _)| kind.ends_with("Generator") && matches!(key.as_str(), "name" | "namespace"));
    metadata.retain(|(key, _)| !names.iter().any(|(own, _)| own == key));
    metadata.extend(names);
    entries.push(("metadata".to_owned(), Node::Map(metadata)));
    entries.extend(own);
    Some(Node::Map(entries))
}

/// The fields of a transformer that names no object.
fn simple(kind: &str, dice: &mut Dice) -> Option<Vec<(String, Node)>> {
    let mut own: Vec<(String, Node)> = Vec::new();
    let specs = |dice: &mut Dice, usual: &str| {
        let mut list = vec![Node::pairs([("path", usual), ("create", "true")])];
        if dice.chance(40) {
            list.push(configurations::field_spec(dice));
        }
        Node::List(list)
    };
    match kind {
        "AnnotationsTransformer" => {
            own.push(("annotations".to_owned(), fields::texts(words::LABELS, dice)));
            own.push(("fieldSpecs".to_owned(), specs(dice, "metadata/annotations")));
        }
        "LabelTransformer" => {
            own.push(("labels".to_owned(), fields::texts(words::LABELS, dice)));
            own.push(("fieldSpecs".to_owned(), specs(dice, "metadata/labels")));
        }
        "ImageTagTransformer" => {
            own.push(("imageTag".to_owned(), fields::image(dice)));
            if dice.chance(50) {
                own.push((
                    "fieldSpecs".to_owned(),
                    Node::list([Node::pairs([("path", "spec/template/spec/containers[]/image")])]),
                ));
            }
        }
        "NamespaceTransformer" => {
            if dice.chance(30) {
                own.push(("unsetOnly".to_owned(), Node::text("true")));
            }
            if dice.chance(30) {
                let mode = dice.pick(&["none", "defaultOnly", "allServiceAccounts"]);
                own.push(("setRoleBindingSubjects".to_owned(), Node::text(mode)));
            }
        }
        "PrefixTransformer" | "SuffixTransformer" | "PrefixSuffixTransformer" => {
            own.push((dice.pick(&["prefix", "suffix"]).to_owned(), Node::text(dice.pick(&["z-", "-z"]))));
            own.push(("fieldSpecs".to_owned(), Node::list([Node::pairs([("path", "metadata/name")])])));
        }
        _ => return None,
    }
    Some(own)
}

/// The fields of those that name objects or files.
fn of_context(kind: &str, context: &mut Context<'_>, dice: &mut Dice) -> Option<Vec<(String, Node)>> {
    let mut own: Vec<(String, Node)> = Vec::new();
    match kind {
        "PatchTransformer" => {
            if let Node::Map(patch) = patches::entry(context, dice)? {
                own.extend(patch);
            }
        }
        "PatchStrategicMergeTransformer" => {
            own.push(("paths".to_owned(), Node::list([patches::old_strategic(context, dice)?])));
        }
        "PatchJson6902Transformer" => {
            if let Node::Map(patch) = patches::old_json(context, dice)? {
                own.extend(
                    patch
                        .into_iter()
                        .map(|(key, value)| (if key == "patch" { "jsonOp".to_owned() } else { key }, value)),
                );
            }
        }
        "ReplacementTransformer" => {
            own.push(("replacements".to_owned(), Node::list([replacements::entry(context, dice)?])));
        }
        "ReplicaCountTransformer" => {
            let object = context.object(dice)?;
            own.push(("replica".to_owned(), Node::pairs([("name", object.name.as_str()), ("count", "4")])));
            own.push((
                "fieldSpecs".to_owned(),
                Node::list([Node::pairs([("path", "spec/replicas"), ("create", "true")])]),
            ));
        }
        "ConfigMapGenerator" | "SecretGenerator" => {
            if let Node::Map(map) = maps::entry(kind == "SecretGenerator", context, dice) {
                own.extend(map);
            }
        }
        _ => {}
    }
    Some(own)
}
