//! One chart of a stored index, without reading the others.

use std::fmt;

use plumb_memory::{MemoryReservation, OverBudget};
use plumb_version::ConstraintError;
use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::{
    text::{List, Text},
    version::Wanted,
};

/// A version of a chart, and where its archive is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The name of the chart.
    pub name: String,
    /// The version, as the index has it.
    pub version: String,
    /// The URL of its archive, which may be relative to the repository.
    pub url: String,
}

/// Why an index has no release for a chart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// It has no such chart.
    #[error("no chart name found")]
    NoChart,
    /// It has the chart, without a version.
    #[error("no chart version found")]
    NoVersion,
    /// None is in the range.
    #[error("no '{chart}' chart with version matching '{version}' found")]
    NoMatch {
        /// The chart.
        chart: String,
        /// What was asked for.
        version: String,
    },
    /// What was asked for is neither a version nor a range.
    #[error(transparent)]
    Range(#[from] ConstraintError),
    /// The release has no archive.
    #[error("chart '{chart}' has no downloadable URLs")]
    NoUrl {
        /// The chart.
        chart: String,
    },
    /// The memory budget does not allow it.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    /// The stored index cannot be read.
    #[error("the stored index cannot be read: {problem}")]
    Damaged {
        /// Why.
        problem: String,
    },
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Candidate {
    name: Text,
    version: Text,
    created: Text,
    urls: Option<List<Text>>,
}

/// Finds a release in an index that was stored. The versions of the chart are charged to `memory`.
pub fn find_release(
    json: &[u8],
    chart: &str,
    wanted: &Wanted,
    memory: &mut MemoryReservation,
) -> Result<Release, ReleaseError> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let mut over = None;
    let then = Candidates { memory, over: &mut over };
    let found = Field { name: "entries", then: Field { name: chart, then } }.deserialize(&mut reader);
    let found = match (found, over) {
        (Err(_), Some(over)) => return Err(ReleaseError::OverBudget(over)),
        (found, _) => found.map_err(|error| ReleaseError::Damaged { problem: error.to_string() })?,
    };
    let candidates = found.flatten().ok_or(ReleaseError::NoChart)?;
    if candidates.is_empty() {
        return Err(ReleaseError::NoVersion);
    }
    let chosen =
        wanted.choose(&candidates, |one| one.version.0.as_str(), |one| one.created.0.parse().ok())?;
    let Candidate { name, version, created: _, urls } = chosen.ok_or_else(|| ReleaseError::NoMatch {
        chart: chart.to_owned(),
        version: wanted.as_str().to_owned(),
    })?;
    let url = urls.as_ref().and_then(|urls| urls.0.first()).filter(|url| !url.is_empty());
    let url = url.ok_or_else(|| ReleaseError::NoUrl { chart: chart.to_owned() })?;
    Ok(Release { name: name.0.clone(), version: version.0.clone(), url: url.0.clone() })
}

/// A field of a map; all others are skipped.
struct Field<'a, S> {
    name: &'a str,
    then: S,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Field<'_, S> {
    type Value = Option<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for Field<'_, S> {
    type Value = Option<S::Value>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a map")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let (mut then, mut found) = (Some(self.then), None);
        while let Some(Text(key)) = access.next_key()? {
            if key != self.name {
                access.next_value::<IgnoredAny>()?;
                continue;
            }
            let seed = then.take().ok_or_else(|| A::Error::custom("a field is there twice"))?;
            found = Some(access.next_value_seed(seed)?);
        }
        Ok(found)
    }
}

/// All versions of a chart.
struct Candidates<'m> {
    memory: &'m mut MemoryReservation,
    over: &'m mut Option<OverBudget>,
}

impl<'de> DeserializeSeed<'de> for Candidates<'_> {
    type Value = Vec<Candidate>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Candidates<'_> {
    type Value = Vec<Candidate>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a list of versions of a chart")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut candidates: Vec<Candidate> = Vec::new();
        while let Some(candidate) = access.next_element::<Candidate>()? {
            if let Err(over) = self.memory.try_grow(candidate.bytes()) {
                let text = over.to_string();
                *self.over = Some(over);
                return Err(A::Error::custom(text));
            }
            candidates.push(candidate);
        }
        Ok(candidates)
    }
}

impl Candidate {
    /// What it takes in a list that grows by doubling.
    fn bytes(&self) -> u64 {
        let urls = self.urls.as_ref().map_or(&[][..], |urls| &urls.0);
        let texts = [&self.name, &self.version, &self.created].into_iter().chain(urls);
        let texts: usize = texts.map(|text| text.0.len() + size_of::<Text>()).sum();
        (2 * size_of::<Self>() + texts) as u64
    }
}

#[cfg(test)]
mod tests {
    use plumb_memory::{Limit, MemoryPool};

    use super::*;

    const INDEX: &str = r#"{"apiVersion": "v1", "entries": {
        "other": [{"name": "other", "version": "9.0.0", "urls": ["o.tgz"]}],
        "app": [
            {"name": "app", "version": "2.0.0-rc.1", "urls": ["https://cdn.example/app-2.tgz"]},
            {"name": "app", "version": "1.1.0", "urls": ["app-1.1.0.tgz", "second"], "created": "2024-01-01T00:00:00Z"},
            {"name": "app", "version": "1.0.0", "urls": null}
        ],
        "empty": []
    }, "annotations": {"app": "no chart"}}"#;

    fn memory(bytes_max: u64) -> MemoryReservation {
        MemoryPool::new(1 << 30).reservation("apps", Limit { name: "versions of a chart", bytes_max })
    }

    fn find_in(json: &[u8], chart: &str, version: &str) -> Result<Release, ReleaseError> {
        find_release(json, chart, &Wanted::new(version), &mut memory(1 << 20))
    }

    #[test]
    fn the_versions_of_a_chart_are_charged() {
        let error = find_release(INDEX.as_bytes(), "app", &Wanted::new("*"), &mut memory(300)).unwrap_err();
        assert!(error.to_string().contains("versions of a chart"), "{error}");
        assert!(matches!(error, ReleaseError::OverBudget(_)));
        assert!(find_release(INDEX.as_bytes(), "empty", &Wanted::new("*"), &mut memory(0)).is_err());
    }

    fn found(chart: &str, version: &str) -> Result<(String, String), String> {
        let release = find_in(INDEX.as_bytes(), chart, version);
        release.map(|release| (release.version, release.url)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_release_is_found_by_version_and_range() {
        let pair = |version: &str, url: &str| Ok((version.to_owned(), url.to_owned()));
        assert_eq!(found("app", "*"), pair("1.1.0", "app-1.1.0.tgz"));
        assert_eq!(found("app", ">=1.0.0-0"), pair("2.0.0-rc.1", "https://cdn.example/app-2.tgz"));
        assert_eq!(found("other", ""), pair("9.0.0", "o.tgz"));
        for (chart, version, expect) in [
            ("missing", "*", "no chart name found"),
            ("empty", "*", "no chart version found"),
            ("app", ">3", "no 'app' chart with version matching '>3' found"),
            ("app", "1.0.0", "chart 'app' has no downloadable URLs"),
            ("app", "not a range", "semver range \"not a range\" is not valid"),
        ] {
            let error = found(chart, version).unwrap_err();
            assert!(error.starts_with(expect), "{error}");
        }
        let broken = find_in(b"{\"entries\": {", "app", "*").unwrap_err();
        assert!(matches!(broken, ReleaseError::Damaged { .. }));
        let none = find_in(b"{\"entries\": null}", "app", "*");
        assert_eq!(none, Err(ReleaseError::NoChart));
    }
}
