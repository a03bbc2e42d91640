//! Patches of both kinds, for objects that are there.

use super::dice::Dice;
use super::fields::Context;
use super::node::{Node, Style, write};
use super::objects::{Object, disturb};
use super::{pods, words};

/// An entry of `patches`.
pub fn entry(context: &mut Context<'_>, dice: &mut Dice) -> Option<Node> {
    let object = context.object(dice)?;
    let mut entries = Vec::new();
    let is_json = dice.chance(40);
    if is_json {
        patch_text(&operations(&object, dice), context, &mut entries, dice);
        if !dice.once_in(50) {
            let target = if dice.chance(75) { exact(&object) } else { selector(&object, dice) };
            entries.push(("target".to_owned(), target));
        }
    } else {
        let patch = strategic(&object, dice);
        let style = Style::throw(dice);
        let mut text = write(&patch, style, dice);
        let has_target = dice.chance(30);
        if (!has_target || dice.once_in(20)) && dice.chance(8) {
            let other = context.object(dice)?;
            text.push_str("---\n");
            text.push_str(&write(&strategic(&other, dice), style, dice));
        }
        patch_text(&text, context, &mut entries, dice);
        if has_target {
            entries.push(("target".to_owned(), selector(&object, dice)));
        }
    }
    if dice.chance(6) {
        let flags = dice.some(&["allowNameChange", "allowKindChange"], 60);
        entries.push(("options".to_owned(), Node::pairs(flags.into_iter().map(|flag| (flag, "true")))));
    }
    Some(Node::Map(entries))
}

/// An entry of `patchesStrategicMerge`.
pub fn old_strategic(context: &mut Context<'_>, dice: &mut Dice) -> Option<Node> {
    let object = context.object(dice)?;
    let text = write(&strategic(&object, dice), Style::throw(dice), dice);
    Some(if dice.chance(50) {
        Node::text(context.file("patch", "yaml", text))
    } else {
        Node::Block("|-".to_owned(), text.lines().map(str::to_owned).collect())
    })
}

/// An entry of `patchesJson6902`.
pub fn old_json(context: &mut Context<'_>, dice: &mut Dice) -> Option<Node> {
    let object = context.object(dice)?;
    let mut entries = Vec::new();
    patch_text(&operations(&object, dice), context, &mut entries, dice);
    let (group, version) = group_version(&object);
    let mut target = vec![("version", version), ("kind", object.kind.clone()), ("name", object.name.clone())];
    if !group.is_empty() {
        target.push(("group", group));
    }
    if let Some(namespace) = &object.namespace {
        target.push(("namespace", namespace.clone()));
    }
    entries.push(("target".to_owned(), Node::pairs(target)));
    Some(Node::Map(entries))
}

fn patch_text(text: &str, context: &mut Context<'_>, entries: &mut Vec<(String, Node)>, dice: &mut Dice) {
    if dice.chance(40) {
        let name = context.file("patch", dice.pick(&["yaml", "yaml", "json"]), text);
        entries.push(("path".to_owned(), Node::text(name)));
    } else {
        let lines = text.lines().map(str::to_owned).collect();
        entries.push(("patch".to_owned(), Node::Block(dice.pick(&["|", "|-", "|-"]).to_owned(), lines)));
    }
}

fn group_version(object: &Object) -> (String, String) {
    match object.api.split_once('/') {
        Some((group, version)) => (group.to_owned(), version.to_owned()),
        None => (String::new(), object.api.clone()),
    }
}

/// A selector that fits the object and hardly another.
fn exact(object: &Object) -> Node {
    Node::pairs([("kind", object.kind.as_str()), ("name", object.name.as_str())])
}

/// A selector that fits the object, mostly.
pub fn selector(object: &Object, dice: &mut Dice) -> Node {
    let (group, version) = group_version(object);
    let mut entries = Vec::new();
    if dice.chance(75) {
        let kind = if dice.chance(10) { format!("{}|Foo", object.kind) } else { object.kind.clone() };
        entries.push(("kind", kind));
    }
    if dice.chance(50) {
        let name = match dice.below(12) {
            0 => ".*".to_owned(),
            1 => format!("{}.*", object.name),
            2 => "nobody".to_owned(),
            3 => object.name[..1].to_owned(),
            _ => object.name.clone(),
        };
        entries.push(("name", name));
    }
    if dice.chance(15) && !group.is_empty() {
        entries.push(("group", group));
    }
    if dice.chance(15) {
        entries.push(("version", version));
    }
    if dice.chance(10) {
        let namespace = object.namespace.clone().unwrap_or_else(|| "default".to_owned());
        entries.push(("namespace", namespace));
    }
    let selectors = [
        "app",
        "app=web",
        "app!=web",
        "!tier",
        "\"app in (a, web)\"",
        "\"app notin (a)\"",
        "app==a",
        "\"app=a,tier\"",
        "\"a b\"",
        "env",
    ];
    let count = if dice.chance(95) { 8 } else { 10 };
    if dice.chance(10) {
        entries.push(("labelSelector", dice.pick(&selectors[..count]).to_owned()));
    }
    if dice.chance(4) {
        entries.push(("annotationSelector", dice.pick(&["note", "!note", "note=v"]).to_owned()));
    }
    Node::pairs(entries)
}

/// A strategic merge patch for an object.
pub fn strategic(object: &Object, dice: &mut Dice) -> Node {
    let mut metadata = vec![("name".to_owned(), Node::text(&*object.name))];
    if let Some(namespace) = &object.namespace {
        metadata.push(("namespace".to_owned(), Node::text(namespace.as_str())));
    }
    for field in ["labels", "annotations"] {
        if dice.chance(15) {
            metadata.push((field.to_owned(), super::objects::labels(dice)));
        }
    }
    let mut entries = vec![
        ("apiVersion".to_owned(), Node::text(&*object.api)),
        ("kind".to_owned(), Node::text(&*object.kind)),
        ("metadata".to_owned(), Node::Map(metadata)),
    ];
    if dice.chance(4) {
        let directive = dice.pick(&["delete", "delete", "delete", "replace", "merge"]);
        entries.push(("$patch".to_owned(), Node::text(directive)));
    }
    if let Node::Map(own) = &object.node {
        for (key, value) in own {
            if !matches!(key.as_str(), "apiVersion" | "kind" | "metadata") && dice.chance(85) {
                entries.push((key.clone(), piece(value, key, dice)));
            }
        }
    }
    if dice.chance(5) {
        entries.push((words::key(dice), words::value(dice)));
    }
    let mut node = Node::Map(entries);
    disturb(&mut node, dice, 3);
    node
}

/// A patch for a value: parts of it changed, removed, added.
fn piece(value: &Node, key: &str, dice: &mut Dice) -> Node {
    if dice.once_in(40) {
        return Node::text("null");
    }
    match value {
        Node::Text(text) if text.starts_with(['&', '*']) || text.contains('&') => Node::text("x"),
        Node::Text(_) | Node::Block(..) => match dice.below(4) {
            0 => value.clone(),
            1 if matches!(key, "image" | "name" | "kind") => Node::text("other"),
            _ => words::value(dice),
        },
        Node::Map(entries) => map_piece(entries, dice),
        Node::List(items) => list_piece(items, key, dice),
    }
}

fn map_piece(entries: &[(String, Node)], dice: &mut Dice) -> Node {
    let mut patch: Vec<(String, Node)> = Vec::new();
    for (key, value) in entries {
        if key != "<<" && dice.chance(45) {
            patch.push((key.clone(), piece(value, key, dice)));
        }
    }
    if dice.chance(15) {
        let key = words::key(dice);
        if patch.iter().all(|(own, _)| *own != key) {
            let value = if dice.chance(15) { words::anything(dice) } else { words::value(dice) };
            patch.push((key, value));
        }
    }
    if dice.once_in(40) {
        let directive = dice.pick(&["delete", "replace", "merge"]);
        patch.insert(dice.below(patch.len() + 1), ("$patch".to_owned(), Node::text(directive)));
    }
    Node::Map(patch)
}

const KEYS: &[&str] = &[
    "name",
    "containerPort",
    "port",
    "protocol",
    "mountPath",
    "ip",
    "uid",
    "topologyKey",
    "whenUnsatisfiable",
];

fn list_piece(items: &[Node], key: &str, dice: &mut Dice) -> Node {
    let mut patch = Vec::new();
    for item in items {
        if !dice.chance(60) {
            continue;
        }
        let Node::Map(entries) = item else {
            patch.push(piece(item, "", dice));
            continue;
        };
        let keys = entries.iter().filter(|(key, _)| KEYS.contains(&key.as_str()));
        let mut new: Vec<(String, Node)> = keys.filter(|_| !dice.once_in(25)).cloned().collect();
        if let Node::Map(changed) = map_piece(entries, dice) {
            new.extend(changed.into_iter().filter(|(key, _)| !KEYS.contains(&key.as_str())));
        }
        if dice.once_in(15) {
            new.push(("$patch".to_owned(), Node::text(dice.pick(&["delete", "delete", "replace", "merge"]))));
        }
        patch.push(Node::Map(new));
    }
    if dice.chance(30) {
        let fresh = match key {
            "containers" | "initContainers" => pods::container("fresh", dice),
            "env" => Node::map([("name", Node::text("FRESH")), ("value", words::value(dice))]),
            "ports" => pods::port(dice.pick(&["containerPort", "port"]), dice),
            "args" | "command" | "finalizers" => words::value(dice),
            _ => Node::map([("name", Node::text("fresh"))]),
        };
        patch.insert(dice.below(patch.len() + 1), fresh);
    }
    if dice.once_in(30) {
        patch.insert(
            dice.below(patch.len() + 1),
            Node::pairs([("$patch", dice.pick(&["replace", "delete", "merge"]))]),
        );
    }
    Node::List(patch)
}

/// Operations of a JSON patch: paths that are there, mostly.
pub fn operations(object: &Object, dice: &mut Dice) -> String {
    let mut paths = Vec::new();
    collect(&object.node, "", &mut paths);
    let mut all = Vec::new();
    for _ in 0..dice.pick(&[1, 1, 1, 2, 3]) {
        all.push(operation(&paths, dice));
    }
    if dice.chance(20) {
        return json(&all);
    }
    write(&Node::List(all), Style::throw(dice), dice)
}

fn operation(paths: &[String], dice: &mut Dice) -> Node {
    let path = paths.get(dice.below(paths.len())).cloned().unwrap_or_default();
    let kind = dice.mostly(
        97,
        12,
        &[
            "replace", "replace", "replace", "replace", "add", "add", "add", "add", "remove", "remove",
            "copy", "move", "test", "odd",
        ],
    );
    let mut entries = vec![("op".to_owned(), Node::text(kind))];
    let path = match kind {
        "add" => added(&path, dice),
        _ if dice.once_in(25) => format!("{path}/missing"),
        _ if dice.once_in(60) => {
            dice.pick(&["", "/", "metadata/name", "/spec/~2", "/metadata/labels/-1"]).to_owned()
        }
        _ => path,
    };
    entries.push(("path".to_owned(), Node::text(text_of(&path))));
    if matches!(kind, "copy" | "move") {
        let from = paths.get(dice.below(paths.len())).cloned().unwrap_or_default();
        entries.push(("from".to_owned(), Node::text(text_of(&from))));
    }
    if matches!(kind, "add" | "replace" | "test") && !dice.once_in(50) {
        let value = match dice.below(10) {
            0 => Node::map([("k", words::value(dice)), ("n", Node::text("null"))]),
            1 => Node::list([words::value(dice), Node::text("null")]),
            2 => Node::text("null"),
            3 => words::odd(dice),
            _ => Node::text(dice.pick(&[
                "x",
                "1",
                "\"1\"",
                "true",
                "1.0",
                "1.5",
                "new value",
                "\"yes\"",
                "on",
                "2020-01-02",
            ])),
        };
        entries.push(("value".to_owned(), value));
    }
    Node::Map(entries)
}

/// Where a new field can be added next to `path`.
fn added(path: &str, dice: &mut Dice) -> String {
    let (parent, last) = path.rsplit_once('/').unwrap_or(("", path));
    if last.parse::<usize>().is_ok() {
        let place = dice.mostly(90, 2, &["-", "0", "-1", last, "9"]);
        return format!("{parent}/{place}");
    }
    match dice.below(4) {
        0 => path.to_owned(),
        _ => format!("{parent}/{}", dice.pick(&["new", "a~1b", "a~0b", "k.e", "new"])),
    }
}

fn text_of(path: &str) -> String {
    if path.is_empty() || path.contains(['"', '#', ' ', '\'']) {
        format!("{path:?}")
    } else {
        path.to_owned()
    }
}

fn collect(node: &Node, at: &str, paths: &mut Vec<String>) {
    if !at.is_empty() && !matches!(at, "/kind" | "/apiVersion" | "/metadata" | "/metadata/name") {
        paths.push(at.to_owned());
    }
    match node {
        Node::Text(_) | Node::Block(..) => {}
        Node::Map(entries) => {
            for (key, value) in entries {
                let key = key.trim_matches(['"', '\'']).replace('~', "~0").replace('/', "~1");
                collect(value, &format!("{at}/{key}"), paths);
            }
        }
        Node::List(items) => {
            for (index, value) in items.iter().enumerate() {
                collect(value, &format!("{at}/{index}"), paths);
            }
        }
    }
}

/// The same as JSON. Texts that are no JSON are quoted.
fn json(nodes: &[Node]) -> String {
    fn one(node: &Node) -> String {
        match node {
            Node::Text(text)
                if text.parse::<i64>().is_ok()
                    || matches!(text.as_str(), "true" | "false" | "null" | "1.0" | "1.5") =>
            {
                text.clone()
            }
            Node::Text(text) if text.starts_with('"') && !text.contains('\\') => text.clone(),
            Node::Text(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
            Node::Block(_, lines) => format!("{:?}", lines.join("\n")).replace("\\u{", "\\u"),
            Node::Map(entries) => {
                let entries: Vec<String> =
                    entries.iter().map(|(key, value)| format!("\"{key}\": {}", one(value))).collect();
                format!("{{{}}}", entries.join(", "))
            }
            Node::List(items) => format!("[{}]", items.iter().map(one).collect::<Vec<_>>().join(", ")),
        }
    }
    format!("[\n{}\n]\n", nodes.iter().map(one).collect::<Vec<_>>().join(",\n"))
}
