//! How the lists of kinds are merged: for built-in kinds from the tables, for others from a document that `openapi`
//! names. What is in neither is replaced as a whole.

mod document;
mod merge_keys_table;
pub(crate) mod newer;

use std::collections::HashMap;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::OnceLock;

use plumb_manifests::yaml::Text;

use crate::identity::Gvk;

pub(crate) use document::read;

/// A field whose content is merged in a way of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub merge: Merge,
    /// The definition of the field, or of the items of a list.
    pub definition: Option<Text>,
}

/// How a list is merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Merge {
    /// It is replaced.
    Whole,
    /// By the values of these fields of its items.
    Keys(Vec<String>),
    /// As a set of scalars.
    Set,
}

/// Where a merge is: how the value there is merged, and what it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spot<'s> {
    pub merge: &'s Merge,
    pub definition: Option<&'s str>,
}

static WHOLE: Merge = Merge::Whole;

impl<'s> Spot<'s> {
    /// A value of a definition that is no list.
    pub(crate) fn of(definition: Option<&'s str>) -> Self {
        Self { merge: &WHOLE, definition }
    }
}

/// What is known of kinds and their fields.
#[derive(Debug, Default)]
pub(crate) struct Schema {
    /// `group/version/kind` to definition.
    kinds: HashMap<Text, Text>,
    definitions: HashMap<Text, HashMap<Text, Field>>,
    /// Whether the built-in kinds are known too.
    is_over_builtin: bool,
}

impl Schema {
    /// The built-in schema of kustomize.
    pub(crate) fn builtin() -> &'static Self {
        static BUILTIN: OnceLock<Schema> = OnceLock::new();
        BUILTIN.get_or_init(|| Self {
            kinds: merge_keys_table::KINDS
                .lines()
                .filter_map(|row| row.split_once(' '))
                .map(|(kind, definition)| (kind.into(), definition.into()))
                .collect(),
            definitions: merge_keys_table::DEFINITIONS
                .lines()
                .filter_map(|row| row.split_once(' '))
                .map(|(definition, fields)| (definition.into(), fields.split(' ').map(parse_field).collect()))
                .collect(),
            is_over_builtin: false,
        })
    }

    fn below(&self) -> Option<&'static Self> {
        self.is_over_builtin.then(Self::builtin)
    }

    /// What an object of a kind is.
    pub(crate) fn of_kind(&self, gvk: &Gvk) -> Spot<'_> {
        let Gvk { group, version, kind } = gvk;
        let row = compact_str::format_compact!("{group}/{version}/{kind}");
        let own = self.kinds.get(&row).map(Text::as_str);
        Spot::of(own.or_else(|| self.below()?.kinds.get(&row).map(Text::as_str)))
    }

    /// What a field of a value is.
    pub(crate) fn field(&self, of: Spot<'_>, name: &str) -> Option<Spot<'_>> {
        let definition = of.definition?;
        let own = self.definitions.get(definition);
        let fields = own.or_else(|| self.below()?.definitions.get(definition))?;
        fields.get(name).map(|Field { merge, definition }| Spot { merge, definition: definition.as_deref() })
    }
}

/// The schema that holds at a moment of a build.
#[derive(Debug, Clone)]
pub(crate) enum Known {
    Builtin,
    Own(Rc<Schema>),
}

impl Deref for Known {
    type Target = Schema;

    fn deref(&self) -> &Schema {
        match self {
            Self::Builtin => Schema::builtin(),
            Self::Own(schema) => schema,
        }
    }
}

/// `name`, `name[key,key]`, `name[]` or `name*`, then `:definition` where one matters.
fn parse_field(text: &str) -> (Text, Field) {
    let (head, definition) = match text.split_once(':') {
        Some((head, definition)) => (head, Some(definition.into())),
        None => (text, None),
    };
    let head = head.strip_suffix('*').unwrap_or(head);
    let (name, merge) = match head.split_once('[') {
        None => (head, Merge::Whole),
        Some((name, "]")) => (name, Merge::Set),
        Some((name, keys)) => {
            (name, Merge::Keys(keys.trim_end_matches(']').split(',').map(str::to_owned).collect()))
        }
    };
    (name.into(), Field { merge, definition })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_through_their_definitions() {
        let schema = Schema::builtin();
        let field = |of: Spot<'static>, path: &[&str]| {
            path.iter().try_fold(of, |of, name| schema.field(of, name)).map(|spot| spot.merge.clone())
        };
        let keys = |keys: &[&str]| Some(Merge::Keys(keys.iter().map(|&key| key.to_owned()).collect()));
        let deployment = schema.of_kind(&Gvk::new("apps/v1", "Deployment"));
        assert_eq!(field(deployment, &["spec", "template", "spec", "containers"]), keys(&["name"]));
        let ports = ["spec", "template", "spec", "containers", "ports"];
        assert_eq!(field(deployment, &ports), keys(&["containerPort", "protocol"]));
        assert_eq!(field(deployment, &["metadata", "finalizers"]), Some(Merge::Set));
        assert_eq!(field(deployment, &["spec", "template", "spec", "tolerations"]), None);
        assert_eq!(schema.of_kind(&Gvk::new("example.com/v1", "Deployment")).definition, None);
    }
}
