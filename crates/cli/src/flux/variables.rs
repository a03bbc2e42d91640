//! The variables that a build has found: which have a value, where it is from, and what is missing. Values never show.

use std::collections::BTreeSet;

use plumb_rendering::{Substituted, Usage};

use super::cluster::Gathered;

/// Objects that one warning names.
const OBJECTS_MAX: usize = 5;

/// One for each variable that was replaced by nothing, and one if nothing was substituted for want of variables.
pub fn warnings(substituted: &Substituted, gathered: &Gathered) -> Vec<String> {
    let unread = |start: &str| -> String {
        let notes: Vec<&str> = gathered.unread.iter().map(String::as_str).collect();
        if notes.is_empty() { String::new() } else { format!("{start}{}", notes.join(", ")) }
    };
    let missed = substituted.variables.iter().filter(|(_, usage)| !usage.missed_in.is_empty());
    let mut all: Vec<String> = missed
        .map(|(name, usage)| {
            format!(
                "variable {name:?} has no value and no default, and is replaced by nothing in {}{}: set it in \
                 spec.postBuild.substitute, or write a default as in ${{{name}:=default}}, or $${{{name}}} where the text is meant",
                objects(&usage.missed_in),
                unread("; "),
            )
        })
        .collect();
    let inline = gathered.kustomization.spec.post_build.as_ref().map(|post_build| &post_build.substitute);
    let has_none = gathered.variables.is_empty() && inline.is_some_and(std::collections::BTreeMap::is_empty);
    if has_none && substituted.variables.is_empty() && !gathered.unread.is_empty() {
        all.push(format!("no variable has a value, so none is substituted{}", unread(": ")));
    }
    all
}

fn objects(objects: &[String]) -> String {
    let named: Vec<&str> = objects.iter().take(OBJECTS_MAX).map(String::as_str).collect();
    let more = if objects.len() > OBJECTS_MAX { " and others" } else { "" };
    format!("{}{more}", named.join(", "))
}

/// A table of all variables: those of the manifests, and those that nothing uses.
pub fn table(substituted: &Substituted, gathered: &Gathered) -> String {
    let inline = gathered.kustomization.spec.post_build.as_ref().map(|post_build| &post_build.substitute);
    let is_inline = |name: &str| inline.is_some_and(|inline| inline.contains_key(name));
    let known = inline.into_iter().flatten().map(|(name, _)| name).chain(gathered.variables.keys());
    let names: BTreeSet<&String> = substituted.variables.keys().chain(known).collect();
    let mut rows = vec![["NAME".to_owned(), "VALUE FROM".to_owned(), "OBJECTS".to_owned()]];
    for name in names {
        let usage = substituted.variables.get(name);
        let from = match gathered.origins.get(name) {
            _ if is_inline(name) => "spec.postBuild.substitute",
            Some(reference) => reference,
            None if usage.is_some_and(|usage| usage.missed_in.is_empty()) => "default",
            None => "not set",
        };
        let users = usage.map_or_else(|| "-".to_owned(), |Usage { objects, .. }| objects.join(", "));
        rows.push([name.clone(), from.to_owned(), users]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let (first, second) = (width(0), width(1));
    let lines = rows.iter().map(|[name, from, users]| format!("{name:first$}  {from:second$}  {users}\n"));
    lines.collect()
}
