//! Whole trees: layers of kustomizations over each other, each with objects and fields of its own.

use super::dice::Dice;
use super::fields::{self, Context};
use super::node::{Node, Style, write};
use super::objects::{self, Object};
use super::words;
use crate::differential::case::Case;

/// How the layers of a tree depend on each other; the last one is built.
struct Plan {
    directory: &'static str,
    bases: &'static [usize],
    components: &'static [usize],
    is_component: bool,
}

const fn layer(directory: &'static str, bases: &'static [usize], components: &'static [usize]) -> Plan {
    Plan { directory, bases, components, is_component: false }
}

const fn part(directory: &'static str) -> Plan {
    Plan { directory, bases: &[], components: &[], is_component: true }
}

const SHAPES: &[(usize, &[Plan])] = &[
    (105, &[layer("top", &[], &[])]),
    (90, &[layer("base", &[], &[]), layer("top", &[0], &[])]),
    (18, &[layer("base", &[], &[]), layer("mid", &[0], &[]), layer("top", &[1], &[])]),
    (24, &[layer("base", &[], &[]), part("part"), layer("top", &[0], &[1])]),
    (12, &[part("part"), layer("top", &[], &[0])]),
    (12, &[part("one"), part("two"), layer("top", &[], &[1, 0])]),
    (1, &[part("part"), layer("base", &[], &[0]), layer("top", &[1], &[0])]),
    (18, &[layer("one", &[], &[]), layer("two", &[], &[]), layer("top", &[0, 1], &[])]),
    (
        18,
        &[
            layer("base", &[], &[]),
            layer("left", &[0], &[]),
            layer("right", &[0], &[]),
            layer("top", &[1, 2], &[]),
        ],
    ),
    (1, &[part("part")]),
    (1, &[layer("base", &[], &[]), layer("top", &[0, 0], &[])]),
    (1, &[part("part"), layer("top", &[0], &[])]),
    (1, &[layer("base", &[], &[]), layer("top", &[], &[0])]),
];

/// What a finished layer gives to those above it.
#[derive(Clone, Default)]
struct Below {
    objects: Vec<Object>,
    config_maps: Vec<String>,
    secrets: Vec<String>,
}

/// A whole tree.
pub fn throw(dice: &mut Dice) -> Case {
    let total: usize = SHAPES.iter().map(|(weight, _)| weight).sum();
    let mut left = dice.below(total);
    let mut plans = SHAPES[0].1;
    for (weight, shape) in SHAPES {
        if left < *weight {
            plans = shape;
            break;
        }
        left -= weight;
    }
    let is_root = dice.chance(40);
    let mut case = Case::default();
    let mut finished: Vec<Below> = Vec::new();
    let mut used = Vec::new();
    for (index, plan) in plans.iter().enumerate() {
        let is_target = index + 1 == plans.len();
        let directory = if is_target && is_root { "" } else { plan.directory };
        let below = throw_layer(plans, plan, directory, &finished, &mut used, &mut case, dice);
        finished.push(below);
        if is_target {
            directory.clone_into(&mut case.target);
        }
    }
    case
}

fn throw_layer(
    plans: &[Plan],
    plan: &Plan,
    directory: &str,
    finished: &[Below],
    used: &mut Vec<String>,
    case: &mut Case,
    dice: &mut Dice,
) -> Below {
    let mut context = Context {
        directory,
        below: Vec::new(),
        config_maps: Vec::new(),
        secrets: Vec::new(),
        elsewhere: finished.iter().flat_map(|below| below.objects.iter().cloned()).collect(),
        used,
        files: &mut case.files,
    };
    for below in plan.bases.iter().chain(plan.components) {
        let below = &finished[*below];
        context.below.extend(below.objects.iter().cloned());
        context.config_maps.extend(below.config_maps.iter().cloned());
        context.secrets.extend(below.secrets.iter().cloned());
    }
    let path = |index: &usize| {
        let name = plans[*index].directory;
        if directory.is_empty() { name.to_owned() } else { format!("../{name}") }
    };
    let mut resources: Vec<Node> = Vec::new();
    let mut bases: Vec<Node> = Vec::new();
    for base in plan.bases {
        let list = if dice.chance(4) { &mut bases } else { &mut resources };
        list.push(Node::text(path(base)));
    }
    let components: Vec<Node> = plan.components.iter().map(|part| Node::text(path(part))).collect();
    let own = if plan.bases.is_empty() && plan.components.is_empty() && !plan.is_component {
        dice.between(1, 4)
    } else {
        dice.pick(&[0, 0, 1, 1, 2, 3])
    };
    let first = dice.below(resources.len() + 1);
    for (number, file) in throw_files(own, &mut context, dice).into_iter().enumerate() {
        resources.insert((first + number).min(resources.len()), Node::text(file));
    }
    let mut entries = Vec::new();
    for (field, list) in [("resources", resources), ("bases", bases), ("components", components)] {
        if !list.is_empty() || (field == "resources" && dice.chance(5)) {
            entries.push((field.to_owned(), Node::List(list)));
        }
    }
    fields::throw(&mut entries, &mut context, dice);
    if entries.is_empty() {
        entries.push(("nameSuffix".to_owned(), Node::text("-end")));
    }
    let needs_distinct_names = matches!(plan.directory, "left" | "right") && !dice.once_in(15);
    if needs_distinct_names {
        entries.retain(|(field, _)| field != "namePrefix");
        entries.push(("namePrefix".to_owned(), Node::text(format!("{}-", plan.directory))));
    }
    // In another namespace they are other maps: to merge into them by name alone is an error.
    if entries.iter().any(|(field, _)| field == "namespace") && dice.chance(90) {
        context.config_maps.clear();
        context.secrets.clear();
        context.below.retain(|object| !matches!(object.kind.as_str(), "ConfigMap" | "Secret"));
    }
    let below = Below { objects: context.below, config_maps: context.config_maps, secrets: context.secrets };
    write_kustomization(entries, plan.is_component, directory, case, dice);
    below
}

fn write_kustomization(
    mut entries: Vec<(String, Node)>,
    is_component: bool,
    directory: &str,
    case: &mut Case,
    dice: &mut Dice,
) {
    for index in (1..entries.len()).rev() {
        let other = dice.below(index + 1);
        entries.swap(index, other);
    }
    if is_component || dice.chance(60) {
        let (version, kind) =
            if is_component { ("v1alpha1", "Component") } else { ("v1beta1", "Kustomization") };
        let api = Node::text(format!("kustomize.config.k8s.io/{version}"));
        entries.insert(0, ("apiVersion".to_owned(), api));
        entries.insert(1, ("kind".to_owned(), Node::text(kind)));
    }
    if dice.chance(2) {
        let name = if dice.chance(90) { Node::text("called") } else { words::value(dice) };
        entries.push(("metadata".to_owned(), Node::map([("name", name)])));
    }
    if dice.once_in(60) {
        let at = dice.below(entries.len().max(1));
        if let Some((key, _)) = entries.get_mut(at) {
            *key = key.to_uppercase();
        }
    }
    let mut node = Node::Map(entries);
    if dice.chance(2) {
        let index = dice.between(0, node.count() - 1);
        if let Some(place) = node.nth(index) {
            *place = words::anything(dice);
        }
    }
    let name = dice.pick(&[
        "kustomization.yaml",
        "kustomization.yaml",
        "kustomization.yaml",
        "kustomization.yml",
        "Kustomization",
    ]);
    let text = write(&node, Style::throw(dice), dice);
    case.files.insert(join(directory, name), text.into_bytes());
}

/// Files with new objects; their names.
fn throw_files(count: usize, context: &mut Context<'_>, dice: &mut Dice) -> Vec<String> {
    let mut names = Vec::new();
    let mut left = count;
    while left > 0 {
        let here = dice.between(1, left);
        left -= here;
        let mut fresh: Vec<Object> = Vec::new();
        for _ in 0..here {
            let object = objects::throw(dice);
            let is_known = |own: &Object| own.kind == object.kind && own.name == object.name;
            if dice.once_in(200)
                || !context.below.iter().chain(&fresh).chain(&context.elsewhere).any(is_known)
            {
                fresh.push(object);
            }
        }
        if fresh.is_empty() {
            continue;
        }
        let extension = dice.pick(&["yaml", "yaml", "yml"]);
        let name = format!("{}{}.{extension}", fresh[0].kind.to_lowercase(), names.len());
        let text = file_text(&fresh, dice);
        context.files.insert(join(context.directory, &name), text.into_bytes());
        context.below.extend(fresh);
        names.push(name);
    }
    names
}

fn file_text(objects: &[Object], dice: &mut Dice) -> String {
    let style = Style::throw(dice);
    let nodes: Vec<&Node> = objects.iter().map(|object| &object.node).collect();
    let mut text = if dice.chance(6) {
        let items = Node::List(nodes.into_iter().cloned().collect());
        let list =
            Node::map([("apiVersion", Node::text("v1")), ("kind", Node::text("List")), ("items", items)]);
        write(&list, style, dice)
    } else {
        let separators = [
            "---\n",
            "---\n",
            "---\n",
            "--- # next\n",
            "---   \n",
            "---\n---\n",
            "---\n# only a comment\n---\n",
        ];
        let mut text = dice.pick(&["", "", "", "---\n", "# head\n", "# head\n---\n", "\n\n"]).to_owned();
        for (index, node) in nodes.into_iter().enumerate() {
            if index > 0 {
                let last = if dice.once_in(500) { "--- x\n" } else { dice.pick(&separators) };
                text.push_str(last);
            }
            text.push_str(&write(node, style, dice));
        }
        text.push_str(dice.pick(&["", "", "", "", "", "---\n", "...\n", "\n", "# tail\n", "---"]));
        text
    };
    if dice.chance(2) {
        text = text.replace('\n', "\r\n");
    }
    if dice.once_in(100) {
        text.insert(0, '\u{feff}');
    }
    text
}

/// A path in a directory.
pub fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}
