//! Names that have changed, put into the objects that refer to them.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use plumb_manifests::yaml::{Node, Text};

use crate::config::NameReference;
use crate::error::BuildError;
use crate::field::{FieldSpec, FieldTree};
use crate::identity::{Gvk, ResId};
use crate::reading::Reader;
use crate::resource::{Resource, scalar_text};
use crate::set::ResourceSet;

/// Updates every reference to an object whose name or namespace has changed.
pub(crate) fn update(
    set: &mut ResourceSet,
    references: &[NameReference],
    reader: &Reader<'_>,
) -> Result<(), BuildError> {
    let referrals = Referrals::new(set.iter().map(Facts::new).collect());
    let mut fields = Fields::new(references);
    for (position, resource) in set.iter_mut().enumerate() {
        let referrer = Referrer::new(&referrals, position, resource, reader);
        // The original kind decides, even if the object has another one now.
        let tree = fields.of_kind(&referrer.facts().original.gvk, reader)?;
        reader.spend(1, 0)?;
        let role = role_ref(resource);
        let done = tree.visit(&mut resource.value, &mut |number, field| {
            let (target, spec) = fields.all[number];
            let role = role.as_ref().filter(|_| spec.path.ends_with(ROLE_NAME));
            referrer.update(field, &Wanted { target, role })
        });
        done.map_err(|(number, error)| {
            let path = &fields.all[number].1.path;
            let id = resource.current_id();
            error
                .while_doing(format!("considering field '{path}' of object {id}"))
                .while_doing(format!("updating name reference in '{path}' field"))
        })?;
    }
    Ok(())
}

/// The fields in which each kind names others, put together once for each kind.
struct Fields<'c> {
    all: Vec<(&'c Gvk, &'c FieldSpec)>,
    by_kind: HashMap<Gvk, Rc<FieldTree>>,
}

impl<'c> Fields<'c> {
    fn new(references: &'c [NameReference]) -> Self {
        let all = references
            .iter()
            .flat_map(|reference| reference.fields.iter().map(|spec| (&reference.target, spec)));
        Self { all: all.collect(), by_kind: HashMap::new() }
    }

    fn of_kind(&mut self, gvk: &Gvk, reader: &Reader<'_>) -> Result<Rc<FieldTree>, BuildError> {
        if let Some(tree) = self.by_kind.get(gvk) {
            return Ok(Rc::clone(tree));
        }
        reader.spend(self.all.len(), 0)?;
        let mut tree = FieldTree::default();
        for (number, (_, spec)) in self.all.iter().enumerate() {
            if gvk.is_selected_by(&spec.gvk) {
                tree.add(spec, number);
            }
        }
        let tree = Rc::new(tree);
        self.by_kind.insert(gvk.clone(), Rc::clone(&tree));
        Ok(tree)
    }
}

/// The part of an object that the search needs.
struct Facts {
    previous: Vec<ResId>,
    original: ResId,
    current: ResId,
    prefixes: Vec<Text>,
    suffixes: Vec<Text>,
}

impl Facts {
    fn new(resource: &Resource) -> Self {
        Self {
            previous: resource.previous_ids().collect(),
            original: resource.original_id(),
            current: resource.current_id(),
            prefixes: resource.prefixes.clone(),
            suffixes: resource.suffixes.clone(),
        }
    }

    fn was(&self, pattern: &Gvk) -> bool {
        self.previous.iter().any(|id| id.gvk.is_selected_by(pattern))
    }
}

/// All objects, found by a former name or by their first namespace.
struct Referrals {
    facts: Vec<Facts>,
    by_former_name: HashMap<Text, Vec<usize>>,
    by_original_namespace: HashMap<Text, Vec<usize>>,
}

impl Referrals {
    fn new(facts: Vec<Facts>) -> Self {
        let mut by_former_name: HashMap<Text, Vec<usize>> = HashMap::new();
        let mut by_original_namespace: HashMap<Text, Vec<usize>> = HashMap::new();
        for (position, one) in facts.iter().enumerate() {
            let names: HashSet<&str> = one.previous.iter().map(|id| id.name.as_str()).collect();
            for name in names {
                by_former_name.entry(name.into()).or_default().push(position);
            }
            let namespace = Text::from(one.original.effective_namespace());
            by_original_namespace.entry(namespace).or_default().push(position);
        }
        Self { facts, by_former_name, by_original_namespace }
    }
}

/// Which objects a field may name.
struct Wanted<'w> {
    target: &'w Gvk,
    /// The fields next to the name in a roleRef.
    role: Option<&'w Gvk>,
}

/// Whether an object is one of those that may be meant.
type Filter = Box<dyn Fn(&Facts) -> bool>;

struct Referrer<'r> {
    referrals: &'r Referrals,
    position: usize,
    /// Namespaces of the accounts that a RoleBinding names.
    account_namespaces: HashSet<Text>,
    /// Whether the namespace of one of them is no text.
    has_blank_account: bool,
    reader: &'r Reader<'r>,
}

impl<'r> Referrer<'r> {
    fn new(referrals: &'r Referrals, position: usize, resource: &Resource, reader: &'r Reader<'r>) -> Self {
        let subjects = (resource.kind() == "RoleBinding")
            .then(|| resource.value.get("subjects").and_then(Node::as_array))
            .flatten();
        let accounts = subjects
            .into_iter()
            .flatten()
            .filter(|subject| subject.get("kind").and_then(Node::as_str) == Some("ServiceAccount"));
        let namespaces: Vec<&Node> = accounts.filter_map(|subject| subject.get("namespace")).collect();
        let has_blank_account = namespaces.iter().any(|namespace| !namespace.is_string());
        let account_namespaces = namespaces.into_iter().filter_map(Node::as_str).map(Text::from).collect();
        Self { referrals, position, account_namespaces, has_blank_account, reader }
    }

    fn facts(&self) -> &'r Facts {
        &self.referrals.facts[self.position]
    }

    fn update(&self, field: &mut Node, wanted: &Wanted<'_>) -> Result<(), BuildError> {
        match field {
            Node::Null(_) => Ok(()),
            Node::Object(_) => self.update_map(field, wanted),
            Node::Array(items) => items.iter_mut().try_for_each(|item| match item {
                Node::Object(_) => self.update_map(item, wanted),
                Node::Null(_) => Ok(()),
                Node::Array(_) => Err(BuildError::invalid(
                    "a list in a list is expected to be either a string or a map of string",
                )),
                _ => self.update_scalar(item, wanted),
            }),
            _ => self.update_scalar(field, wanted),
        }
    }

    fn update_scalar(&self, field: &mut Node, wanted: &Wanted<'_>) -> Result<(), BuildError> {
        let old = scalar_text(field);
        let is_same = |one: &Facts, other: &Facts| one.current.name == other.current.name;
        if let Some(referral) = self.select(&old, None, wanted, &is_same)?
            && referral.current.name != old
        {
            self.reader.spend(1, referral.current.name.len())?;
            *field = referral.current.name.clone().into();
        }
        Ok(())
    }

    /// A map names an object by `name` and perhaps `namespace`.
    fn update_map(&self, field: &mut Node, wanted: &Wanted<'_>) -> Result<(), BuildError> {
        let Some(old) = field.get("name").map(scalar_text) else {
            return Err(BuildError::invalid("path config error; no 'name' field in node"));
        };
        let namespace = field.get("namespace").map(scalar_text);
        let is_same = |one: &Facts, other: &Facts| {
            one.current.name == other.current.name && one.current.namespace == other.current.namespace
        };
        let Some(referral) = self.select(&old, namespace.as_deref(), wanted, &is_same)? else {
            return Ok(());
        };
        let ResId { name, namespace, .. } = &referral.current;
        self.reader.spend(1, name.len() + namespace.len())?;
        let map = field.make_object();
        if *name != old || !namespace.is_empty() {
            map.insert("name", name.clone());
        }
        if !namespace.is_empty() {
            map.insert("namespace", namespace.clone());
        }
        Ok(())
    }

    /// The object that a name means, if it is one whose name has changed.
    fn select(
        &self,
        old: &str,
        namespace: Option<&str>,
        wanted: &Wanted<'_>,
        is_same: &dyn Fn(&Facts, &Facts) -> bool,
    ) -> Result<Option<&'r Facts>, BuildError> {
        if self.has_blank_account {
            let message =
                "namespace is blank: the namespace of an account in subjects is no text; put it in quotes";
            return Err(BuildError::invalid(message));
        }
        let Some(positions) = self.referrals.by_former_name.get(old) else {
            return Ok(None);
        };
        self.reader.spend(positions.len(), 0)?;
        let in_namespace = self.namespace_filter(namespace)?;
        let own = self.facts();
        let mut candidates: Vec<&Facts> = positions
            .iter()
            .map(|&position| &self.referrals.facts[position])
            .filter(|one| self.is_reachable(one) && in_namespace(one))
            .filter(|one| one.was(wanted.target))
            .filter(|one| wanted.role.is_none_or(|role| one.was(role)))
            .filter(|one| self.is_near(one))
            .collect();
        if let [only] = candidates[..] {
            return Ok(Some(only));
        }
        candidates.retain(|one| is_compatible(one, own, Empty::Fits));
        if candidates.len() > 1 {
            candidates.retain(|one| is_compatible(one, own, Empty::FitsEmpty));
        }
        match candidates[..] {
            [] => Ok(None),
            [first, ref rest @ ..] if rest.iter().all(|one| is_same(first, one)) => Ok(Some(first)),
            _ => {
                let ids: Vec<String> = candidates.iter().map(|one| one.current.to_string()).collect();
                let message = format!("found multiple possible referrals: {}", ids.join(", "));
                Err(BuildError::invalid(format!("{message}, for {old:?} in {}", own.current)))
            }
        }
    }

    /// A namespace next to a name means the original namespace of the object, else the current one.
    fn namespace_filter(&self, namespace: Option<&str>) -> Result<Filter, BuildError> {
        let Some(namespace) = namespace.map(str::to_owned) else {
            return Ok(Box::new(|_| true));
        };
        let first = self.referrals.by_original_namespace.get(namespace.as_str());
        let reachable = first.and_then(|positions| {
            positions.iter().position(|&position| self.is_reachable(&self.referrals.facts[position]))
        });
        let is_first = reachable.is_some();
        self.reader.spend(reachable.unwrap_or_else(|| first.map_or(0, Vec::len)), 0)?;
        Ok(Box::new(move |one| {
            let id = if is_first { &one.original } else { &one.current };
            id.effective_namespace() == namespace
        }))
    }

    fn is_reachable(&self, one: &Facts) -> bool {
        let own = &self.facts().current;
        own.gvk.is_certainly_cluster_scoped()
            || one.current.gvk.is_certainly_cluster_scoped()
            || one.current.effective_namespace() == own.effective_namespace()
            || self.account_namespaces.contains(&one.current.namespace)
    }

    /// In the same namespace; service accounts are named across namespaces.
    fn is_near(&self, one: &Facts) -> bool {
        let own = &self.facts().current;
        own.gvk.is_certainly_cluster_scoped()
            || one.current.gvk.is_certainly_cluster_scoped()
            || one.current.gvk.kind == "ServiceAccount"
            || one.current.effective_namespace() == own.effective_namespace()
    }
}

/// Which list of prefixes an empty one fits to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Empty {
    Fits,
    FitsEmpty,
}

fn is_compatible(one: &Facts, other: &Facts, empty: Empty) -> bool {
    let fits = |a: &[Text], b: &[Text]| match (a.is_empty(), b.is_empty()) {
        (true, true) => true,
        (true, false) | (false, true) => empty == Empty::Fits,
        (false, false) => a.ends_with(b) || b.ends_with(a),
    };
    fits(&one.prefixes, &other.prefixes) && fits(&one.suffixes, &other.suffixes)
}

const ROLE_NAME: &str = "roleRef/name";

/// The kind next to the name in a `roleRef`.
fn role_ref(resource: &Resource) -> Option<Gvk> {
    let role = resource.value.get("roleRef")?;
    let field = |name: &str| role.get(name).map(scalar_text);
    Some(Gvk { group: field("apiGroup")?.into(), version: Text::default(), kind: field("kind")?.into() })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::Config;
    use crate::limits::Limits;
    use crate::transformers::names::{self, Affix};

    /// Two ConfigMaps named `c` in namespaces `a` and `b`, renamed to `p-c`, and a pod that refers to `c`.
    fn updated(pod_namespace: &str) -> Value {
        let mut set = ResourceSet::default();
        for namespace in ["a", "b"] {
            let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": namespace}});
            set.append(Resource::new(value, "")).unwrap();
        }
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": pod_namespace},
            "spec": {"volumes": [{"configMap": {"name": "c"}}, {"configMap": {"name": "other"}}]}});
        set.append(Resource::new(pod, "")).unwrap();
        let tree = plumb_filetree::MemoryTree::builder(plumb_filetree::TreeLimits::DEFAULT).build();
        let limits = Limits::default();
        let reader = Reader::new(&tree, &limits);
        names::add(&mut set, Affix::Prefix, "p-", &Config::builtin().name_prefix, &reader).unwrap();
        update(&mut set, &Config::builtin().name_references, &reader).unwrap();
        set.into_vec().remove(2).value["spec"]["volumes"].to_json()
    }

    #[test]
    fn a_name_refers_to_the_object_in_the_same_namespace() {
        let expect = json!([{"configMap": {"name": "p-c"}}, {"configMap": {"name": "other"}}]);
        assert_eq!(updated("a"), expect);
    }

    #[test]
    fn a_name_that_refers_to_nothing_in_its_namespace_is_unchanged() {
        let expect = json!([{"configMap": {"name": "c"}}, {"configMap": {"name": "other"}}]);
        assert_eq!(updated("elsewhere"), expect);
    }
}
