//! Which metadata an Alert sends on: four sources in order of precedence, keys without their group. Matching never
//! enters.

use std::collections::BTreeMap;
use std::fmt;

use plumb_api::event::Event;
use plumb_api::meta::EVENT_PREFIX;

const SUMMARY_KEY: &str = "summary";

/// A key that more than one source sets: the last one won.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The key, without its group.
    pub key: String,
    /// The sources that set it, the weakest first.
    pub sources: Vec<&'static str>,
}

impl fmt::Display for Conflict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.key, self.sources.join(" < "))
    }
}

/// The metadata to send: annotations of the object, then the Alert's `eventMetadata`, then its `summary`, then what
/// the controller itself said; the later ones win.
pub fn merge(
    event: &Event,
    event_metadata: &BTreeMap<String, String>,
    summary: &str,
) -> (BTreeMap<String, String>, Vec<Conflict>) {
    let mut merged = Merged::default();
    merged.add("annotations of the object", stripped(event, EVENT_PREFIX));
    merged
        .add("spec.eventMetadata of the Alert", event_metadata.iter().map(|(key, value)| (&**key, &**value)));
    let summary = (!summary.is_empty()).then_some((SUMMARY_KEY, summary));
    merged.add("spec.summary of the Alert", summary.into_iter());
    let group = format!("{}/", event.involved_object.group());
    merged.add("the controller", stripped(event, &group));
    merged.finish()
}

fn stripped<'a>(event: &'a Event, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    event.metadata.iter().filter_map(move |(key, value)| Some((key.strip_prefix(prefix)?, value.as_str())))
}

#[derive(Default)]
struct Merged(BTreeMap<String, (String, Vec<&'static str>)>);

impl Merged {
    fn add<'a>(&mut self, source: &'static str, pairs: impl Iterator<Item = (&'a str, &'a str)>) {
        for (key, value) in pairs {
            let (known, sources) = self.0.entry(key.to_owned()).or_default();
            value.clone_into(known);
            sources.push(source);
        }
    }

    fn finish(self) -> (BTreeMap<String, String>, Vec<Conflict>) {
        let mut metadata = BTreeMap::new();
        let mut conflicts = Vec::new();
        for (key, (value, sources)) in self.0 {
            if sources.len() > 1 {
                conflicts.push(Conflict { key: key.clone(), sources });
            }
            metadata.insert(key, value);
        }
        (metadata, conflicts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{event, pairs};

    #[test]
    fn keys_lose_their_group_and_the_controller_wins() {
        let mut event = event();
        event.metadata = pairs(&[
            ("event.toolkit.fluxcd.io/env", "annotation"),
            ("event.toolkit.fluxcd.io/cluster", "annotation"),
            ("event.toolkit.fluxcd.io/revision", "annotation"),
            ("kustomize.toolkit.fluxcd.io/revision", "controller"),
        ]);
        let (metadata, conflicts) = merge(&event, &pairs(&[("env", "alert"), ("summary", "alert")]), "short");
        let expect =
            [("cluster", "annotation"), ("env", "alert"), ("revision", "controller"), ("summary", "short")];
        assert_eq!(metadata, pairs(&expect));
        let told: Vec<_> = conflicts.iter().map(ToString::to_string).collect();
        let expect = [
            "env: annotations of the object < spec.eventMetadata of the Alert",
            "revision: annotations of the object < the controller",
            "summary: spec.eventMetadata of the Alert < spec.summary of the Alert",
        ];
        assert_eq!(told, expect);
    }

    #[test]
    fn without_conflict_nothing_is_reported() {
        let (metadata, conflicts) = merge(&event(), &BTreeMap::new(), "");
        assert_eq!(metadata, pairs(&[("revision", "main@sha1:1")]));
        assert_eq!(conflicts, []);
    }
}
