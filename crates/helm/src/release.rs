//! One chart of a stored index, without reading the others.

use std::fmt;

use plumb_version::ConstraintError;
use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor},
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

/// Finds a release in an index that was stored.
pub fn find_release(json: &[u8], chart: &str, wanted: &Wanted) -> Result<Release, ReleaseError> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let found = Field { name: "entries", then: Field { name: chart, then: Candidates } };
    let found = found
        .deserialize(&mut reader)
        .map_err(|error| ReleaseError::Damaged { problem: error.to_string() })?;
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

struct Candidates;

impl<'de> DeserializeSeed<'de> for Candidates {
    type Value = Vec<Candidate>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        Vec::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
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

    fn found(chart: &str, version: &str) -> Result<(String, String), String> {
        let release = find_release(INDEX.as_bytes(), chart, &Wanted::new(version));
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
        let broken = find_release(b"{\"entries\": {", "app", &Wanted::new("*")).unwrap_err();
        assert!(matches!(broken, ReleaseError::Damaged { .. }));
        let none = find_release(b"{\"entries\": null}", "app", &Wanted::new("*"));
        assert_eq!(none, Err(ReleaseError::NoChart));
    }
}
