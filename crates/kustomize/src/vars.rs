//! Vars: `$(NAME)` in some fields, replaced by the value of a field. An old feature; replacements came after it.

use std::collections::{BTreeMap, BTreeSet};

use plumb_manifests::yaml::{Node, Plain, PlainKind, Text};
use serde::Deserialize;
use serde_json::Value;

use crate::accumulate::Assembly;
use crate::error::BuildError;
use crate::field::{FieldSpec, Make};
use crate::identity::{Gvk, ResId};
use crate::reading::Reader;
use crate::set::ResourceSet;

/// One var as it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct VarEntry {
    name: String,
    objref: ObjectEntry,
    fieldref: FieldEntry,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct ObjectEntry {
    api_version: String,
    group: String,
    version: String,
    kind: String,
    name: String,
    namespace: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct FieldEntry {
    field_path: String,
}

/// The vars of a build, by name. They flow from the bases up.
#[derive(Debug, Default)]
pub(crate) struct Vars {
    by_name: BTreeMap<String, Var>,
}

#[derive(Debug)]
struct Var {
    id: ResId,
    path: String,
}

impl std::fmt::Display for Var {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {{{}}}", self.id.gvk, self.path)
    }
}

impl Vars {
    /// Adds the vars of a base, whose objects have their references already.
    pub(crate) fn merge(&mut self, other: Self) -> Result<(), BuildError> {
        other.by_name.into_iter().try_for_each(|(name, var)| self.insert(name, var))
    }

    fn insert(&mut self, name: String, var: Var) -> Result<(), BuildError> {
        if self.by_name.contains_key(&name) {
            return Err(BuildError::invalid(format!("var '{name}' already encountered")));
        }
        self.by_name.insert(name, var);
        Ok(())
    }

    /// Adds the vars of a kustomization, and records in the current objects which of them refer to them.
    pub(crate) fn add(
        &mut self,
        entries: &[VarEntry],
        set: &mut ResourceSet,
        reader: &Reader<'_>,
    ) -> Result<(), BuildError> {
        if entries.is_empty() {
            return Ok(());
        }
        reader.spend(set.len(), 0)?;
        let mut by_name: BTreeMap<Text, Vec<usize>> = BTreeMap::new();
        for (position, resource) in set.iter().enumerate() {
            let names: BTreeSet<Text> = resource.all_ids().map(|id| id.name).collect();
            for name in names {
                by_name.entry(name).or_default().push(position);
            }
        }
        for entry in entries {
            let VarEntry { name, objref, fieldref } = entry;
            let path = match fieldref.field_path.as_str() {
                "" => "metadata.name",
                path => path,
            };
            let var = Var { id: objref.id(), path: path.to_owned() };
            let candidates = by_name.get(&var.id.name).map_or(&[][..], Vec::as_slice);
            reader.spend(1 + candidates.len(), 0)?;
            let is_meant = |position: &&usize| {
                set.get(**position).is_some_and(|resource| resource.all_ids().any(|id| var.means(&id)))
            };
            let meant: Vec<usize> = candidates.iter().filter(is_meant).copied().collect();
            match meant[..] {
                [] => {}
                [position] => set.change(position, |resource| resource.vars.push(name.into())),
                _ => {
                    let count = meant.len();
                    return Err(BuildError::invalid(format!(
                        "found {count} resId matches for var {{{name} {var}}} (unable to disambiguate)"
                    )));
                }
            }
            self.insert(name.clone(), var)?;
        }
        Ok(())
    }

    /// Puts the values of all vars in the places of their names.
    pub(crate) fn resolve(
        &self,
        set: &mut ResourceSet,
        specs: &[FieldSpec],
        assembly: &Assembly<'_>,
    ) -> Result<(), BuildError> {
        if self.by_name.is_empty() {
            return Ok(());
        }
        let reader = assembly.reader;
        let values = self.values(set, reader)?;
        let mut used = BTreeSet::new();
        for resource in set.iter_mut() {
            let kind = resource.gvk();
            reader.spend(specs.len(), 0)?;
            reader.spend_walks(&resource.value, specs.len())?;
            for spec in specs.iter().filter(|spec| kind.is_selected_by(&spec.gvk)) {
                spec.visit_resource(resource, Make::Nothing, &mut |field| {
                    expand_field(field, &values, &mut used, reader)
                })?;
            }
        }
        let unused: Vec<&str> =
            self.by_name.keys().map(String::as_str).filter(|name| !used.contains(*name)).collect();
        if !unused.is_empty() {
            assembly
                .warnings
                .notice(format!("well-defined vars that were never replaced: {}", unused.join(",")));
        }
        Ok(())
    }

    fn values(&self, set: &ResourceSet, reader: &Reader<'_>) -> Result<BTreeMap<String, Node>, BuildError> {
        let mut values = BTreeMap::new();
        for resource in set.iter() {
            for name in &resource.vars {
                let Some(var) = self.by_name.get(name.as_str()) else {
                    continue;
                };
                let Some(value) = find(&resource.value, &var.path) else {
                    return Err(BuildError::invalid(format!(
                        "field specified in var '{{{name} {var}}}' not found in corresponding resource"
                    )));
                };
                reader.spend_copies(1, value)?;
                values.insert(name.to_string(), typed(value));
            }
        }
        match self.by_name.iter().find(|(name, _)| !values.contains_key(*name)) {
            Some((name, var)) => Err(BuildError::invalid(format!(
                "var '{{{name} {var}}}' cannot be mapped to a field in the set of known resources"
            ))),
            None => Ok(values),
        }
    }
}

impl ObjectEntry {
    fn id(&self) -> ResId {
        let Self { api_version, group, version, kind, name, namespace } = self;
        let mut gvk = Gvk::new(api_version, kind);
        if !group.is_empty() {
            gvk.group = group.into();
        }
        if !version.is_empty() {
            gvk.version = version.into();
        }
        ResId { gvk, name: name.into(), namespace: namespace.into() }
    }
}

impl Var {
    fn means(&self, id: &ResId) -> bool {
        // A namespace that is written is compared as it is, even with the mark of kinds that have none.
        let namespace = self.id.namespace.as_str();
        self.id.gvk == id.gvk
            && self.id.name == id.name
            && (namespace.is_empty() || namespace == id.effective_namespace())
    }
}

/// The value at a path such as `data.a\.b` or `spec.ports[0].port`.
fn find<'n>(node: &'n Node, path: &str) -> Option<&'n Node> {
    let mut at = node;
    let mut name = String::new();
    // Items are found by a field only behind a point: `ports.[name=http]`.
    let mut is_joined = false;
    let mut is_inside = false;
    let mut characters = path.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '.' if is_inside => name.push('.'),
            '=' if is_joined => return None,
            '\\' if characters.peek() == Some(&'.') => {
                name.push('.');
                characters.next();
            }
            '.' | '[' => {
                is_joined = c == '[' && !name.is_empty();
                is_inside = c == '[';
                at = child(at, &std::mem::take(&mut name))?;
            }
            ']' => (is_joined, is_inside) = (false, false),
            c => name.push(c),
        }
    }
    child(at, &name)
}

fn child<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    match node {
        node if name.is_empty() => Some(node),
        Node::Object(map) => map.get(name),
        Node::Array(items) => match name.split_once('=') {
            Some((key, value)) => {
                items.iter().find(|item| item.get(key).and_then(Node::scalar) == Some(value))
            }
            None => items.get(name.parse::<usize>().ok()?),
        },
        Node::Null(_) | Node::Plain(_) | Node::String(_) => None,
    }
}

/// The value as Go prints it: numbers are formatted again, dates are texts.
fn typed(value: &Node) -> Node {
    let Node::Plain(plain) = value else {
        return match value {
            Node::Null(_) => Node::text("null"),
            other => other.clone(),
        };
    };
    match (plain.kind, plain.to_json()) {
        (PlainKind::Time, _) => Node::text(plain.text.clone()),
        (PlainKind::Bool, Value::Bool(flag)) => Node::from(flag),
        (PlainKind::Float, Value::Number(number)) => {
            // Display has no exponents.
            let text = number.as_f64().map_or_else(|| number.to_string(), |float| float.to_string());
            Node::Plain(Plain::new(PlainKind::Float, text))
        }
        (PlainKind::Integer, _) => Node::Plain(Plain::new(PlainKind::Integer, decimal(&plain.text))),
        (PlainKind::Bool | PlainKind::Float, _) => value.clone(),
    }
}

/// A number whose leading zeros are ignored, as kustomize reads it here.
fn decimal(text: &str) -> Text {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.into();
    }
    let digits = match digits.trim_start_matches('0') {
        "" => "0",
        rest => rest,
    };
    plumb_manifests::yaml::Text::from(format!("{sign}{digits}"))
}

type Values = BTreeMap<String, Node>;

fn expand_field(
    field: &mut Node,
    values: &Values,
    used: &mut BTreeSet<String>,
    reader: &Reader<'_>,
) -> Result<(), BuildError> {
    match field {
        Node::String(_) => expand(field, values, used, reader),
        Node::Array(items) => items.iter_mut().try_for_each(|item| {
            if !item.is_string() {
                let noun = item.noun();
                return Err(BuildError::invalid(format!("invalid value type expect a string, not {noun}")));
            }
            expand(item, values, used, reader)
        }),
        Node::Object(map) => map.values_mut().try_for_each(|value| expand(value, values, used, reader)),
        Node::Null(_) | Node::Plain(_) => Ok(()),
    }
}

fn expand(
    node: &mut Node,
    values: &Values,
    used: &mut BTreeSet<String>,
    reader: &Reader<'_>,
) -> Result<(), BuildError> {
    let Node::String(text) = node else {
        return Ok(());
    };
    reader.spend(1, text.len())?;
    // It is rewritten without a style of its own.
    text.is_folded = false;
    if !text.contains('$') {
        return Ok(());
    }
    let whole = text.strip_prefix("$(").and_then(|rest| rest.strip_suffix(')'));
    if let Some(name) = whole
        && let Some(value) = values.get(name).filter(|value| value.is_scalar())
    {
        used.insert(name.to_owned());
        reader.spend(1, value.scalar().map_or(0, str::len))?;
        *node = value.clone();
        return Ok(());
    }
    let expanded = expanded(text, values, used, reader)?;
    *node = Node::text(expanded);
    Ok(())
}

/// `$(NAME)` is replaced if the name is known, `$$` is a dollar sign, and everything else is literal.
fn expanded(
    text: &str,
    values: &Values,
    used: &mut BTreeSet<String>,
    reader: &Reader<'_>,
) -> Result<String, BuildError> {
    let text_max = reader.limits().file_bytes_max;
    let mut out = String::new();
    let mut rest = text;
    // Without an end in what is left, nothing is a name.
    let mut may_end = true;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let Some(inner) = rest.strip_prefix('(') else {
            out.push('$');
            continue;
        };
        let ended = if may_end { inner.split_once(')') } else { None };
        let Some((name, after)) = ended else {
            may_end = false;
            out.push_str("$(");
            rest = inner;
            continue;
        };
        if let Some(value) = values.get(name).and_then(Node::scalar) {
            used.insert(name.to_owned());
            reader.spend(1, value.len())?;
            out.push_str(&shown(values.get(name), value));
        } else {
            out.push_str("$(");
            out.push_str(name);
            out.push(')');
        }
        if out.len() > text_max {
            return Err(BuildError::over_limit(format!("a text would have more than {text_max} bytes")));
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// A value inside a text: large and small numbers have exponents.
fn shown(value: Option<&Node>, text: &str) -> String {
    let float = match value {
        Some(Node::Plain(plain)) if plain.kind == PlainKind::Float => text.parse::<f64>().ok(),
        _ => None,
    };
    let Some(float) = float.filter(|float| *float != 0.0) else {
        return text.to_owned();
    };
    if (1e-4..1e21).contains(&float.abs()) {
        return text.to_owned();
    }
    let scientific = format!("{float:e}");
    match scientific.split_once('e') {
        Some((mantissa, exponent)) => {
            let (sign, digits) = match exponent.strip_prefix('-') {
                Some(digits) => ('-', digits),
                None => ('+', exponent),
            };
            format!("{mantissa}e{sign}{digits:0>2}")
        }
        None => scientific,
    }
}

#[cfg(test)]
mod tests {
    use plumb_filetree::{MemoryTree, TreeLimits};
    use serde_json::json;

    use super::*;
    use crate::limits::Limits;

    #[track_caller]
    fn check(text: &str, expect: &Value) {
        let values = BTreeMap::from([
            ("V".to_owned(), Node::from("value")),
            ("N".to_owned(), Node::from(7)),
            ("M".to_owned(), Node::object()),
        ]);
        let tree = MemoryTree::builder(TreeLimits::DEFAULT).build();
        let limits = Limits::default();
        let mut node = Node::from(text);
        expand_field(&mut node, &values, &mut BTreeSet::new(), &Reader::new(&tree, &limits)).unwrap();
        assert_eq!(node.to_json(), *expect, "{text}");
    }

    #[test]
    fn a_var_alone_keeps_its_type_and_becomes_text_among_text() {
        check("$(N)", &json!(7));
        check("x$(N)y", &json!("x7y"));
        check("$(V)$(N)", &json!("value7"));
    }

    #[test]
    fn dollars_are_escaped_by_dollars_and_unknown_variables_are_unchanged() {
        check("$$(V)", &json!("$(V)"));
        check("$$$(V) $$ $", &json!("$value $ $"));
        check("$(U) $(V $V $()", &json!("$(U) $(V $V $()"));
        check("$(M)", &json!("$(M)"));
        check("a$(", &json!("a$("));
        let many = "$(".repeat(500_000);
        check(&many, &json!(many.clone()));
    }

    #[test]
    fn values_are_found_by_names_indexes_and_escaped_dots() {
        let node = Node::from(json!({"a": {"b.c": 1, "l": [2, 3]}}));
        for (path, expect) in [("a.b\\.c", 1), ("a.l[1]", 3), (".a.l.0.", 2), ("a..l[0]", 2)] {
            assert_eq!(find(&node, path).unwrap().to_json(), json!(expect), "{path}");
        }
        for path in ["a.l[2]", "a.l[x]", "a.b", "a.b\\.c.d"] {
            assert_eq!(find(&node, path), None, "{path}");
        }
    }

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        let typed = |text: &str, kind: PlainKind| {
            let node = typed(&Node::Plain(Plain::new(kind, text)));
            let spelled = node.scalar().unwrap().to_owned();
            (shown(Some(&node), &spelled), spelled)
        };
        let own = |shown: &str, spelled: &str| (shown.to_owned(), spelled.to_owned());
        assert_eq!(typed("017", PlainKind::Integer), own("17", "17"));
        assert_eq!(typed("1.50", PlainKind::Float), own("1.5", "1.5"));
        assert_eq!(typed("1e21", PlainKind::Float), own("1e+21", "1000000000000000000000"));
        assert_eq!(typed("2020-01-02", PlainKind::Time), own("2020-01-02", "2020-01-02"));
    }
}
