//! How the lists of built-in kinds are merged. What is not in the tables is replaced as a whole.

mod merge_keys_table;

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::identity::Gvk;

/// A field whose content is merged in a way of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub merge: Merge,
    /// The definition of the field, or of the items of a list.
    pub definition: Option<&'static str>,
}

/// How a list is merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Merge {
    /// It is replaced.
    Whole,
    /// By the values of these fields of its items.
    Keys(Vec<&'static str>),
    /// As a set of scalars.
    Set,
}

struct Tables {
    kinds: HashMap<&'static str, &'static str>,
    definitions: HashMap<&'static str, HashMap<&'static str, Field>>,
}

/// The definition of a kind.
pub(crate) fn definition(gvk: &Gvk) -> Option<&'static str> {
    let Gvk { group, version, kind } = gvk;
    tables().kinds.get(format!("{group}/{version}/{kind}").as_str()).copied()
}

/// A field of a definition.
pub(crate) fn field(definition: Option<&str>, name: &str) -> Option<&'static Field> {
    tables().definitions.get(definition?)?.get(name)
}

fn tables() -> &'static Tables {
    static TABLES: OnceLock<Tables> = OnceLock::new();
    TABLES.get_or_init(|| Tables {
        kinds: merge_keys_table::KINDS.lines().filter_map(|row| row.split_once(' ')).collect(),
        definitions: merge_keys_table::DEFINITIONS
            .lines()
            .filter_map(|row| row.split_once(' '))
            .map(|(definition, fields)| (definition, fields.split(' ').map(parse_field).collect()))
            .collect(),
    })
}

/// `name`, `name[key,key]`, `name[]` or `name*`, then `:definition` where one matters.
fn parse_field(text: &'static str) -> (&'static str, Field) {
    let (head, definition) = match text.split_once(':') {
        Some((head, definition)) => (head, Some(definition)),
        None => (text, None),
    };
    let head = head.strip_suffix('*').unwrap_or(head);
    let (name, merge) = match head.split_once('[') {
        None => (head, Merge::Whole),
        Some((name, "]")) => (name, Merge::Set),
        Some((name, keys)) => (name, Merge::Keys(keys.trim_end_matches(']').split(',').collect())),
    };
    (name, Field { merge, definition })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_through_their_definitions() {
        let deployment = definition(&Gvk::new("apps/v1", "Deployment"));
        let spec = field(deployment, "spec").unwrap();
        let template = field(spec.definition, "template").unwrap();
        let pod = field(template.definition, "spec").unwrap();
        let containers = field(pod.definition, "containers").unwrap();
        assert_eq!(containers.merge, Merge::Keys(vec!["name"]));
        let ports = field(containers.definition, "ports").unwrap();
        assert_eq!(ports.merge, Merge::Keys(vec!["containerPort", "protocol"]));
        assert_eq!(field(Some("meta.v1.ObjectMeta"), "finalizers").unwrap().merge, Merge::Set);
        assert_eq!(field(pod.definition, "tolerations"), None);
        assert_eq!(definition(&Gvk::new("example.com/v1", "Deployment")), None);
    }
}
