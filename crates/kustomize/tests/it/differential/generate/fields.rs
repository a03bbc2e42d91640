//! The fields of a kustomization file.

use std::collections::BTreeMap;

use super::dice::Dice;
use super::layers::join;
use super::node::{Node, Style, write};
use super::objects::Object;
use super::{configurations, maps, patches, plugins, replacements, words};

/// The objects and files that a kustomization can name.
pub struct Context<'c> {
    /// Its directory.
    pub directory: &'c str,
    /// All objects that it has.
    pub below: Vec<Object>,
    /// Names of generated maps.
    pub config_maps: Vec<String>,
    /// Names of generated secrets.
    pub secrets: Vec<String>,
    /// All objects of the layers that were made before, whether they are below or not.
    pub elsewhere: Vec<Object>,
    /// Maps that any generator has made, as `Kind/name`.
    pub used: &'c mut Vec<String>,
    /// All files of the tree.
    pub files: &'c mut BTreeMap<String, Vec<u8>>,
}

impl Context<'_> {
    /// Any object, if there is one.
    pub fn object(&self, dice: &mut Dice) -> Option<Object> {
        (!self.below.is_empty()).then(|| self.below[dice.below(self.below.len())].clone())
    }

    /// Writes a file next to the kustomization; returns its name there.
    pub fn file(&mut self, stem: &str, extension: &str, content: impl Into<Vec<u8>>) -> String {
        let free = (0..).map(|number| format!("{stem}{number}.{extension}"));
        let mut free = free.map(|name| (join(self.directory, &name), name));
        match free.find(|(path, _)| !self.files.contains_key(path)) {
            Some((path, name)) => {
                self.files.insert(path, content.into());
                name
            }
            None => String::new(),
        }
    }

    /// The same for YAML.
    pub fn yaml(&mut self, stem: &str, node: &Node, dice: &mut Dice) -> String {
        let text = write(node, Style::throw(dice), dice);
        self.file(stem, "yaml", text)
    }
}

type Entries = Vec<(String, Node)>;

/// Adds random fields.
pub fn throw(entries: &mut Entries, context: &mut Context<'_>, dice: &mut Dice) {
    let mut add = |field: &str, node: Node| entries.push((field.to_owned(), node));
    if dice.field("configMapGenerator", 22) {
        add("configMapGenerator", maps::config_maps(context, dice));
    }
    if dice.field("secretGenerator", 10) {
        add("secretGenerator", maps::secrets(context, dice));
    }
    if dice.field("generatorOptions", 6) {
        add("generatorOptions", maps::options(dice));
    }
    throw_names(entries, context, dice);
    throw_patches(entries, context, dice);
    throw_rest(entries, context, dice);
}

fn throw_names(entries: &mut Entries, context: &mut Context<'_>, dice: &mut Dice) {
    let mut add = |field: &str, node: Node| entries.push((field.to_owned(), node));
    if dice.field("namespace", 22) {
        let namespace = dice.pick(words::NAMESPACES).to_owned();
        add("namespace", Node::text(if dice.chance(3) { "\"12\"".to_owned() } else { namespace }));
    }
    if dice.field("namePrefix", 16) {
        add("namePrefix", Node::text(dice.pick(&["p-", "pre-", "\"1\"", "\"\"", "a.b-", "x"])));
    }
    if dice.field("nameSuffix", 10) {
        add("nameSuffix", Node::text(dice.pick(&["-s", "-v2", "\"1\"", "-x.y"])));
    }
    if dice.field("labels", 16) {
        let items = (0..dice.between(1, 2)).map(|_| label_entry(dice)).collect();
        add("labels", Node::List(items));
    }
    if dice.field("commonLabels", 8) {
        add("commonLabels", texts(words::LABELS, dice));
    }
    if dice.field("commonAnnotations", 10) {
        let keys = ["note", "example.com/a", "config.kubernetes.io/local-config", "z"];
        let keys = if dice.chance(90) { &keys[..2] } else { &keys[..] };
        add("commonAnnotations", texts(keys, dice));
    }
    if dice.field("images", 14) {
        let items = (0..dice.between(1, 2)).map(|_| image(dice)).collect();
        add(if dice.chance(4) { "imageTags" } else { "images" }, Node::List(items));
    }
    if dice.field("replicas", 6) {
        let scaled =
            |object: &&Object| matches!(object.kind.as_str(), "Deployment" | "StatefulSet" | "ReplicaSet");
        let names: Vec<String> =
            context.below.iter().filter(scaled).map(|object| object.name.clone()).collect();
        if !names.is_empty() || dice.chance(4) {
            let name = if names.is_empty() { "nobody".to_owned() } else { dice.pick(&names) };
            let count = dice.mostly(95, 5, &["0", "3", "5", "3", "7", "1.0", "2.5", "\"4\"", "-1"]);
            add("replicas", Node::list([Node::pairs([("name", name.as_str()), ("count", count)])]));
        }
    }
}

fn throw_patches(entries: &mut Entries, context: &mut Context<'_>, dice: &mut Dice) {
    let mut add = |field: &str, node: Node| entries.push((field.to_owned(), node));
    if dice.field("patches", 34) {
        let items: Vec<Node> =
            (0..dice.between(1, 3)).filter_map(|_| patches::entry(context, dice)).collect();
        add("patches", Node::List(items));
    }
    if dice.field("patchesStrategicMerge", 8) {
        let items: Vec<Node> =
            (0..dice.between(1, 2)).filter_map(|_| patches::old_strategic(context, dice)).collect();
        add("patchesStrategicMerge", Node::List(items));
    }
    if dice.field("patchesJson6902", 6) {
        let items: Vec<Node> = patches::old_json(context, dice).into_iter().collect();
        add("patchesJson6902", Node::List(items));
    }
    if dice.field("replacements", 16) {
        let items: Vec<Node> =
            (0..dice.between(1, 2)).filter_map(|_| replacements::entry(context, dice)).collect();
        add("replacements", Node::List(items));
    }
    if dice.field("vars", 6) {
        let items: Vec<Node> = replacements::variable(context, dice).into_iter().collect();
        add("vars", Node::List(items));
    }
}

fn throw_rest(entries: &mut Entries, context: &mut Context<'_>, dice: &mut Dice) {
    let mut add = |field: &str, node: Node| entries.push((field.to_owned(), node));
    if dice.field("configurations", 6) {
        let node = configurations::configuration(dice);
        let name = context.yaml("config", &node, dice);
        add("configurations", Node::texts([name]));
    }
    if dice.field("crds", 2) {
        let file = context.file("crd", "json", configurations::CRD);
        add("crds", Node::texts([file]));
    }
    if dice.field("openapi", 2) {
        let node = if dice.chance(30) {
            Node::pairs([("version", "v1.21.2")])
        } else {
            let file = context.file("schema", "json", configurations::SCHEMA);
            Node::pairs([("path", file)])
        };
        add("openapi", node);
    }
    if dice.field("sortOptions", 8) {
        add("sortOptions", sort_options(dice));
    }
    if dice.field("buildMetadata", 5) {
        let all = ["originAnnotations", "transformerAnnotations", "managedByLabel"];
        add("buildMetadata", Node::texts(dice.some(&all, 50)));
    }
    for (field, percent) in [("transformers", 8), ("generators", 4), ("validators", 2)] {
        if dice.field(field, percent) {
            let items: Vec<Node> =
                (0..dice.between(1, 2)).filter_map(|_| plugins::entry(field, context, dice)).collect();
            add(field, Node::List(items));
        }
    }
    if dice.once_in(500) {
        add(dice.pick(&["unknown", "name", "spec"]), Node::text("x"));
    }
    if dice.once_in(500) {
        add("resources", Node::texts(["missing.yaml"]));
    }
}

/// A map of texts with keys out of a list.
pub fn texts(keys: &[&str], dice: &mut Dice) -> Node {
    let mut keys = dice.some(keys, 45);
    if dice.chance(2) {
        keys.push(dice.pick(&["yes", "\"yes\"", "\"1\"", "\"true\"", "é", "\"n\"", "1.5", "a/b/c"]));
    }
    Node::map(keys.into_iter().map(|key| {
        let harmless = [
            "v",
            "\"1\"",
            "\"true\"",
            "x y",
            "\"\"",
            "a",
            "\"a: b\"",
            "web",
            "\"1.10\"",
            "null",
            "2020-01-02",
        ];
        let value = if dice.once_in(100) { words::odd(dice) } else { Node::text(dice.pick(&harmless)) };
        (key, value)
    }))
}

fn label_entry(dice: &mut Dice) -> Node {
    let mut entries = vec![("pairs".to_owned(), texts(words::LABELS, dice))];
    for flag in ["includeSelectors", "includeTemplates"] {
        if dice.chance(30) {
            entries.push((flag.to_owned(), Node::text(dice.pick(&["true", "true", "false"]))));
        }
    }
    if dice.chance(15) {
        entries.push(("fields".to_owned(), Node::list([configurations::field_spec(dice)])));
    }
    Node::Map(entries)
}

/// An entry of `images`.
pub fn image(dice: &mut Dice) -> Node {
    let names = [
        "nginx",
        "nginx",
        "redis",
        "docker.io/library/redis",
        "registry.io:5000/team/app",
        "my-app_1.x",
        "app",
        "a/b/c",
        "ngin.",
        ".*",
        "nginx|redis",
        "NGINX",
        "\"\"",
        "nginx:1.25",
        "n[a-z]+x",
    ];
    let names = if dice.chance(75) { &names[..8] } else { &names[..] };
    let mut entries = vec![("name".to_owned(), Node::text(dice.pick(names)))];
    if dice.chance(50) {
        let tag = dice.mostly(97, 6, &["v2", "\"1.10\"", "latest", "\"\"", "1.2.3", "v1.0-rc.1", "1.10"]);
        entries.push(("newTag".to_owned(), Node::text(tag)));
    }
    if dice.chance(40) {
        let name = dice.pick(&["other", "reg.io/other", "localhost:5000/x", "nginx", "nginx2"]);
        entries.push(("newName".to_owned(), Node::text(name)));
    }
    if dice.chance(15) {
        entries.push((
            "digest".to_owned(),
            Node::text("sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
        ));
    }
    if dice.chance(12) {
        entries.push(("tagSuffix".to_owned(), Node::text(dice.pick(&["-x", "-alpine"]))));
    }
    Node::Map(entries)
}

fn sort_options(dice: &mut Dice) -> Node {
    let order = dice.mostly(96, 4, &["legacy", "legacy", "fifo", "fifo", "other"]);
    let mut entries = vec![("order".to_owned(), Node::text(order))];
    if order == "legacy" && dice.chance(40) {
        let kinds = ["Service", "Deployment", "ConfigMap", "Foo", "Namespace"];
        let mut lists = Vec::new();
        for list in ["orderFirst", "orderLast"] {
            if dice.chance(70) {
                lists.push((list.to_owned(), Node::texts(dice.some(&kinds, 40))));
            }
        }
        entries.push(("legacySortOptions".to_owned(), Node::Map(lists)));
    }
    Node::Map(entries)
}
