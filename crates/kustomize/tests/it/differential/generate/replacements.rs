//! Replacements and vars: values that are carried from one object to others.

use super::dice::Dice;
use super::fields::Context;
use super::node::Node;
use super::objects::Object;
use super::patches;

/// An entry of `replacements`.
pub fn entry(context: &mut Context<'_>, dice: &mut Dice) -> Option<Node> {
    let inline = replacement(context, dice)?;
    if dice.chance(15) {
        let node = if dice.chance(50) { inline } else { Node::list([inline]) };
        return Some(Node::pairs([("path", context.yaml("replacement", &node, dice))]));
    }
    Some(inline)
}

/// A replacement itself.
pub fn replacement(context: &mut Context<'_>, dice: &mut Dice) -> Option<Node> {
    let mut entries = Vec::new();
    if dice.chance(12) {
        entries.push((
            "sourceValue".to_owned(),
            Node::text(dice.pick(&["static", "\"1\"", "\"a: b\"", "\"\"", "x.y"])),
        ));
    }
    if entries.is_empty() || dice.once_in(30) {
        let source = context.object(dice)?;
        let mut map = exact(&source, dice);
        if dice.chance(75) {
            map.push(("fieldPath".to_owned(), Node::text(path(&source, dice, true))));
        }
        if dice.chance(12) {
            map.push(("options".to_owned(), options(dice, false)));
        }
        entries.push(("source".to_owned(), Node::Map(map)));
    }
    let targets: Vec<Node> = (0..dice.between(1, 2)).filter_map(|_| target(context, dice)).collect();
    entries.push(("targets".to_owned(), Node::List(targets)));
    Some(Node::Map(entries))
}

fn exact(object: &Object, dice: &mut Dice) -> Vec<(String, Node)> {
    let mut entries =
        vec![("kind".to_owned(), Node::text(&*object.kind)), ("name".to_owned(), Node::text(&*object.name))];
    if dice.once_in(30) {
        entries.remove(dice.below(2));
    }
    if let (Some(namespace), true) = (&object.namespace, dice.chance(30)) {
        entries.push(("namespace".to_owned(), Node::text(namespace.as_str())));
    }
    if dice.chance(10) {
        let version = object.api.rsplit('/').next().unwrap_or_default();
        entries.push(("version".to_owned(), Node::text(version)));
    }
    entries
}

fn target(context: &mut Context<'_>, dice: &mut Dice) -> Option<Node> {
    let object = context.object(dice)?;
    let select =
        if dice.chance(60) { Node::Map(exact(&object, dice)) } else { patches::selector(&object, dice) };
    let mut entries = vec![("select".to_owned(), select)];
    if dice.chance(12) {
        let other = context.object(dice)?;
        let reject =
            if dice.chance(50) { Node::Map(exact(&other, dice)) } else { patches::selector(&other, dice) };
        entries.push(("reject".to_owned(), Node::list([reject])));
    }
    let mut is_invented = false;
    if dice.chance(90) {
        let paths: Vec<String> = (0..dice.between(1, 2)).map(|_| path(&object, dice, false)).collect();
        is_invented = paths.iter().any(|path| INVENTED.contains(&path.trim_matches('\'')));
        entries.push(("fieldPaths".to_owned(), Node::texts(paths)));
    }
    if is_invented && dice.chance(80) {
        entries.push(("options".to_owned(), Node::pairs([("create", "true")])));
    } else if dice.chance(30) {
        entries.push(("options".to_owned(), options(dice, true)));
    }
    Some(Node::Map(entries))
}

fn options(dice: &mut Dice, is_target: bool) -> Node {
    let mut entries = Vec::new();
    if dice.chance(50) {
        entries.push(("delimiter", dice.pick(&["\":\"", "\"/\"", "\"-\"", "\".\"", "\"\""])));
        if dice.chance(70) {
            entries.push(("index", if is_target { dice.pick(&["0", "1", "2", "-1", "5"]) } else { "0" }));
        }
    }
    if is_target && dice.chance(65) {
        entries.push(("create", "true"));
    }
    if dice.once_in(30) {
        entries.push(("encoding", "base64"));
    }
    Node::pairs(entries)
}

/// Paths that most objects do not have.
const INVENTED: &[&str] = &[
    "metadata.labels.new",
    "metadata.annotations.new\\.key/x",
    "spec.new.deep",
    "data.new",
    "spec.template.spec.containers.*.image",
    "spec.template.spec.containers.[name=main].env.[name=A].value",
    "spec.template.spec.containers.0.args.1",
    "spec.list.-",
];

/// A field path of the object, in quotes where YAML needs them.
fn path(object: &Object, dice: &mut Dice, is_source: bool) -> String {
    let mut paths = Vec::new();
    collect(&object.node, "", dice, &mut paths);
    if is_source && !dice.once_in(40) {
        paths.retain(|path| !path.contains('*'));
    }
    if dice.is_calm && !is_source {
        paths.retain(|path| !matches!(path.as_str(), "kind" | "apiVersion" | "metadata.name"));
    }
    let mut path = paths.get(dice.below(paths.len())).cloned().unwrap_or_else(|| "metadata.name".to_owned());
    if dice.chance(if is_source { 1 } else { 8 }) {
        dice.pick(INVENTED).clone_into(&mut path);
    }
    let needs_quotes =
        path.contains(['[', '*', '#', '"', '\'', '{', '&', ':']) || path.parse::<f64>().is_ok();
    if needs_quotes { format!("'{}'", path.replace('\'', "''")) } else { path }
}

fn collect(node: &Node, at: &str, dice: &mut Dice, paths: &mut Vec<String>) {
    // Most replacements are of texts by texts.
    let is_leaf = matches!(node, Node::Text(_) | Node::Block(..));
    if !at.is_empty() && (is_leaf || dice.once_in(12)) {
        paths.push(at.to_owned());
    }
    let prefix = if at.is_empty() { String::new() } else { format!("{at}.") };
    match node {
        Node::Text(_) | Node::Block(..) => {}
        Node::Map(entries) => {
            for (key, value) in entries {
                let key = key.trim_matches(['"', '\'']).replace('.', "\\.");
                collect(value, &format!("{prefix}{key}"), dice, paths);
            }
        }
        Node::List(items) => {
            for (index, value) in items.iter().enumerate() {
                let element = match (value.get("name"), dice.below(4)) {
                    (Some(Node::Text(name)), 0 | 1) => format!("[name={name}]"),
                    (_, 2) => "*".to_owned(),
                    _ => index.to_string(),
                };
                collect(value, &format!("{prefix}{element}"), dice, paths);
            }
        }
    }
}

/// An entry of `vars`; something in the objects may use `$(VAR)`, `$(A)` and `$(B)`.
pub fn variable(context: &mut Context<'_>, dice: &mut Dice) -> Option<Node> {
    let object = context.object(dice)?;
    let mut reference = vec![("kind", object.kind.clone()), ("name", object.name.clone())];
    if dice.chance(90) {
        reference.push(("apiVersion", object.api.clone()));
    }
    if let (Some(namespace), true) = (&object.namespace, dice.chance(70)) {
        reference.push(("namespace", namespace.clone()));
    }
    let mut entries = vec![
        ("name".to_owned(), Node::text(dice.pick(&["VAR", "A", "B", "OTHER"]))),
        ("objref".to_owned(), Node::pairs(reference)),
    ];
    if dice.chance(60) {
        let path = if dice.chance(50) { "metadata.name".to_owned() } else { path(&object, dice, true) };
        entries.push(("fieldref".to_owned(), Node::pairs([("fieldpath", path)])));
    }
    Some(Node::Map(entries))
}
