//! Which objects a patch or a replacement is about: patterns of names and kinds, selectors of labels.

use std::collections::BTreeMap;

use plumb_manifests::yaml::{Map, Node};
use regex::Regex;

use crate::error::BuildError;
use crate::identity::{Gvk, ResId};
use crate::resource::Resource;
use crate::settings::SelectorEntry;

/// A compiled pattern may not take more than this.
const REGEX_BYTES_MAX: usize = 1 << 20;
/// One that takes no more than this is searched for at the cost of looking at the text.
const SMALL_REGEX_BYTES: usize = 1 << 16;

/// A pattern, and what it costs: to search for a large one can take as many steps as it has parts, at each byte.
#[derive(Debug)]
pub(crate) struct Pattern {
    regex: Regex,
    cost: usize,
}

impl Pattern {
    pub(crate) fn compile(pattern: &str) -> Result<Self, regex::Error> {
        let build = |bytes: usize| regex::RegexBuilder::new(pattern).size_limit(bytes).build();
        match build(SMALL_REGEX_BYTES) {
            Ok(regex) => Ok(Self { regex, cost: 1 }),
            Err(regex::Error::CompiledTooBig(_)) => {
                build(REGEX_BYTES_MAX).map(|regex| Self { regex, cost: LARGE_COST })
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The steps of one search in a short text.
    pub(crate) fn cost(&self) -> usize {
        self.cost
    }

    /// The steps that it took to make it.
    pub(crate) fn cost_to_compile(&self) -> usize {
        const STEPS_TO_COMPILE: usize = 200;
        self.cost * STEPS_TO_COMPILE
    }
}

/// What a search for a large pattern costs, where one for a small one costs 1.
const LARGE_COST: usize = 64;

/// A selector whose patterns are compiled.
pub(crate) struct Selector {
    group: Option<Pattern>,
    version: Option<Pattern>,
    kind: Option<Pattern>,
    name: Option<Pattern>,
    namespace: Option<Pattern>,
    labels: Vec<Requirement>,
    annotations: Vec<Requirement>,
}

impl Selector {
    pub(crate) fn new(entry: &SelectorEntry) -> Result<Self, BuildError> {
        Ok(Self {
            group: anchored(&entry.group)?,
            version: anchored(&entry.version)?,
            kind: anchored(&entry.kind)?,
            name: anchored(&entry.name)?,
            namespace: anchored(&entry.namespace)?,
            labels: requirements(&entry.label_selector)?,
            annotations: requirements(&entry.annotation_selector)?,
        })
    }

    /// Whether a patch is for this resource: its kind of today, its name and namespace of today or of the beginning.
    pub(crate) fn selects(&self, resource: &Resource) -> bool {
        let (original, current) = (resource.original_id(), resource.current_id());
        self.selects_namespace(&original, &current)
            && (fits(self.name.as_ref(), &original.name) || fits(self.name.as_ref(), &current.name))
            && self.selects_kind(&resource.gvk())
            && self.selects_metadata(resource)
    }

    /// The steps that it took to make it.
    pub(crate) fn cost_to_compile(&self) -> usize {
        self.patterns().map(Pattern::cost_to_compile).sum()
    }

    /// The steps that it takes to look at a resource.
    pub(crate) fn cost(&self, resource: &Resource) -> usize {
        const BYTES_PER_STEP: usize = 64;
        let patterns: usize = self.patterns().map(Pattern::cost).sum();
        let id = [resource.kind(), resource.name(), resource.namespace()];
        let bytes: usize = id.map(str::len).iter().sum();
        let metadata = [(&self.labels, "labels"), (&self.annotations, "annotations")];
        let texts = metadata.map(|(requirements, field)| match requirements.as_slice() {
            [] => 0,
            all => {
                let values: usize = all.iter().map(Requirement::count).sum();
                let map = resource.value.at(&["metadata", field]).and_then(Node::as_object);
                values + map.map_or(0, Map::len)
            }
        });
        1 + patterns * (bytes / BYTES_PER_STEP) + patterns / 2 + texts.iter().sum::<usize>()
    }

    fn patterns(&self) -> impl Iterator<Item = &Pattern> {
        [&self.group, &self.version, &self.kind, &self.name, &self.namespace].into_iter().flatten()
    }

    /// Whether labels and annotations fit.
    pub(crate) fn selects_metadata(&self, resource: &Resource) -> bool {
        let fits_all = |requirements: &[Requirement], field: &str| {
            requirements.is_empty() || {
                let texts = resource.texts(&["metadata", field]);
                requirements.iter().all(|requirement| requirement.is_met_by(&texts))
            }
        };
        fits_all(&self.labels, "labels") && fits_all(&self.annotations, "annotations")
    }

    fn selects_namespace(&self, original: &ResId, current: &ResId) -> bool {
        fits(self.namespace.as_ref(), original.effective_namespace())
            || fits(self.namespace.as_ref(), current.effective_namespace())
    }

    fn selects_kind(&self, gvk: &Gvk) -> bool {
        fits(self.group.as_ref(), &gvk.group)
            && fits(self.version.as_ref(), &gvk.version)
            && fits(self.kind.as_ref(), &gvk.kind)
    }
}

fn fits(pattern: Option<&Pattern>, text: &str) -> bool {
    pattern.is_none_or(|pattern| pattern.is_match(text))
}

pub(crate) fn anchored(pattern: &str) -> Result<Option<Pattern>, BuildError> {
    if pattern.is_empty() {
        return Ok(None);
    }
    compile(&format!("^(?:{pattern})$")).map(Some)
}

/// Compiles a pattern in Go's syntax, as far as it is ours too.
fn compile(pattern: &str) -> Result<Pattern, BuildError> {
    Pattern::compile(pattern).map_err(|error| match error {
        regex::Error::CompiledTooBig(limit) => {
            BuildError::over_limit(format!("pattern {pattern:?} takes more than {limit} bytes"))
        }
        _ => BuildError::invalid(format!("error parsing regexp {pattern:?}")),
    })
}

/// One condition of a label selector.
#[derive(Debug, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Missing(String),
    Greater(String, i64),
    Less(String, i64),
}

impl Requirement {
    /// How many values a text is compared with.
    fn count(&self) -> usize {
        match self {
            Self::In(_, values) | Self::NotIn(_, values) => values.len(),
            Self::Exists(_) | Self::Missing(_) | Self::Greater(..) | Self::Less(..) => 1,
        }
    }

    fn is_met_by(&self, texts: &BTreeMap<String, String>) -> bool {
        let number = |key: &str| texts.get(key).and_then(|text| text.parse::<i64>().ok());
        match self {
            Self::In(key, values) => texts.get(key).is_some_and(|text| values.contains(text)),
            Self::NotIn(key, values) => texts.get(key).is_none_or(|text| !values.contains(text)),
            Self::Exists(key) => texts.contains_key(key),
            Self::Missing(key) => !texts.contains_key(key),
            Self::Greater(key, bound) => number(key).is_some_and(|number| number > *bound),
            Self::Less(key, bound) => number(key).is_some_and(|number| number < *bound),
        }
    }
}

/// Reads a selector such as `a=b,c!=d,e in (x,y),!f`.
fn requirements(text: &str) -> Result<Vec<Requirement>, BuildError> {
    let mut rest = text.trim();
    let mut requirements = Vec::new();
    while !rest.is_empty() {
        let end = end_of_requirement(rest);
        let part = rest[..end].trim();
        let requirement = requirement(part)
            .ok_or_else(|| BuildError::invalid(format!("unable to parse selector {text:?} at {part:?}")))?;
        requirements.push(requirement);
        rest = rest[end..].strip_prefix(',').unwrap_or("").trim();
    }
    Ok(requirements)
}

/// The next comma outside of parentheses.
fn end_of_requirement(text: &str) -> usize {
    let mut inside = false;
    for (index, c) in text.char_indices() {
        match c {
            '(' => inside = true,
            ')' => inside = false,
            ',' if !inside => return index,
            _ => {}
        }
    }
    text.len()
}

fn requirement(part: &str) -> Option<Requirement> {
    if let Some(key) = part.strip_prefix('!') {
        return Some(Requirement::Missing(key_of(key)?));
    }
    for (mark, make) in [
        ("!=", Requirement::NotIn as fn(String, Vec<String>) -> Requirement),
        ("==", Requirement::In),
        ("=", Requirement::In),
    ] {
        if let Some((key, value)) = part.split_once(mark) {
            return Some(make(key_of(key)?, vec![value_of(value)?]));
        }
    }
    if let Some((key, bound)) = part.split_once('>') {
        return Some(Requirement::Greater(key_of(key)?, bound.trim().parse().ok()?));
    }
    if let Some((key, bound)) = part.split_once('<') {
        return Some(Requirement::Less(key_of(key)?, bound.trim().parse().ok()?));
    }
    let Some((head, list)) = part.split_once('(') else {
        return key_of(part).map(Requirement::Exists);
    };
    let values: Option<Vec<String>> = list.trim_end().strip_suffix(')')?.split(',').map(value_of).collect();
    let mut words = head.split_whitespace();
    match (words.next()?, words.next()?, words.next()) {
        (key, "in", None) => Some(Requirement::In(key_of(key)?, values?)),
        (key, "notin", None) => Some(Requirement::NotIn(key_of(key)?, values?)),
        _ => None,
    }
}

fn key_of(text: &str) -> Option<String> {
    let key = text.trim();
    let is_good = !key.is_empty()
        && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'));
    is_good.then(|| key.to_owned())
}

fn value_of(text: &str) -> Option<String> {
    let value = text.trim();
    (!value.contains(|c: char| c.is_whitespace() || "=!<>()".contains(c))).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(selector: &str, expect: bool) {
        let texts = BTreeMap::from([("a".to_owned(), "b".to_owned()), ("n".to_owned(), "5".to_owned())]);
        let requirements = requirements(selector).unwrap();
        assert_eq!(requirements.iter().all(|one| one.is_met_by(&texts)), expect, "{selector}");
    }

    #[test]
    fn every_operator_is_understood() {
        for (selector, expect) in [
            ("a=b", true),
            ("a == b, n", true),
            ("a!=b", false),
            ("z!=b", true),
            ("a in (x, b)", true),
            ("a notin (x,b)", false),
            ("!z", true),
            ("!a", false),
            ("n>4,n<6", true),
            ("n>5", false),
            ("", true),
        ] {
            check(selector, expect);
        }
    }

    #[test]
    fn invalid_selectors_are_rejected() {
        for selector in ["a b", "in (x)", "a=b=c", "a in x", ",a"] {
            assert!(requirements(selector).is_err(), "{selector}");
        }
    }
}
