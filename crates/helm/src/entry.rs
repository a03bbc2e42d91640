//! One version of a chart in an index: its fields in the order in which Helm writes them, and the checks that decide whether Helm
//! reads it.

use jiff::Timestamp;
use plumb_version::{Version, parse_loose};
use serde::{Deserialize, Serialize, de::IgnoredAny};

use crate::text::{Flag, List, Table, Text, is_unset};

/// What Go writes for a time that is not set.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// A version of a chart.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Entry {
    #[serde(skip_serializing_if = "Text::is_empty")]
    name: Text,
    #[serde(skip_serializing_if = "Text::is_empty")]
    home: Text,
    #[serde(skip_serializing_if = "List::is_empty")]
    sources: List<Text>,
    #[serde(skip_serializing_if = "Text::is_empty")]
    version: Text,
    #[serde(skip_serializing_if = "Text::is_empty")]
    description: Text,
    #[serde(skip_serializing_if = "List::is_empty")]
    keywords: List<Text>,
    #[serde(skip_serializing_if = "List::is_empty")]
    maintainers: List<Option<Maintainer>>,
    #[serde(skip_serializing_if = "Text::is_empty")]
    icon: Text,
    #[serde(skip_serializing_if = "Text::is_empty")]
    api_version: Text,
    #[serde(skip_serializing_if = "Text::is_empty")]
    condition: Text,
    #[serde(skip_serializing_if = "Text::is_empty")]
    tags: Text,
    #[serde(skip_serializing_if = "Text::is_empty")]
    app_version: Text,
    #[serde(skip_serializing_if = "is_unset")]
    deprecated: Flag,
    #[serde(skip_serializing_if = "Table::is_empty")]
    annotations: Table,
    #[serde(skip_serializing_if = "Text::is_empty")]
    kube_version: Text,
    #[serde(skip_serializing_if = "List::is_empty")]
    dependencies: List<Option<Dependency<ImportValue>>>,
    #[serde(rename = "type", skip_serializing_if = "Text::is_empty")]
    type_: Text,
    urls: Option<List<Text>>,
    created: Time,
    #[serde(skip_serializing_if = "is_unset")]
    removed: Flag,
    #[serde(skip_serializing_if = "Text::is_empty")]
    digest: Text,
    #[serde(skip_serializing_if = "Text::is_empty")]
    checksum: Text,
    #[serde(skip_serializing_if = "Text::is_empty")]
    engine: Text,
    #[serde(skip_serializing_if = "Text::is_empty")]
    tiller_version: Text,
    #[serde(skip_serializing_if = "Text::is_empty")]
    url: Text,
}

/// Whom to ask about a chart.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Maintainer {
    #[serde(skip_serializing_if = "Text::is_empty")]
    name: Text,
    #[serde(skip_serializing_if = "Text::is_empty")]
    email: Text,
    #[serde(skip_serializing_if = "Text::is_empty")]
    url: Text,
}

/// A chart that another one needs. `I` is what is kept of its imported values.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Dependency<I> {
    pub name: Text,
    #[serde(skip_serializing_if = "Text::is_empty")]
    pub version: Text,
    pub repository: Text,
    #[serde(skip_serializing_if = "Text::is_empty")]
    condition: Text,
    #[serde(skip_serializing_if = "List::is_empty")]
    tags: List<Text>,
    #[serde(skip_serializing_if = "is_unset")]
    enabled: Flag,
    #[serde(rename = "import-values", skip_serializing_if = "List::is_empty")]
    import_values: List<I>,
    #[serde(skip_serializing_if = "Text::is_empty")]
    pub alias: Text,
}

/// Helm gives meaning to a path, and to a map of two.
#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
enum ImportValue {
    Path(String),
    Paths(Table),
    Other(Ignored),
}

impl Default for ImportValue {
    fn default() -> Self {
        Self::Other(Ignored)
    }
}

/// Anything; it is written as null.
#[derive(Debug)]
struct Ignored;

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

impl Serialize for Ignored {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

/// A time in RFC 3339, as it was written.
#[derive(Clone, Debug)]
pub struct Time(String);

impl Default for Time {
    fn default() -> Self {
        Self(NO_TIME.to_owned())
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        if text.is_empty() || text == NO_TIME {
            return Ok(Self::default());
        }
        match text.parse::<Timestamp>() {
            Ok(_) => Ok(Self(text)),
            Err(_) => Err(serde::de::Error::custom(format_args!("{text:?} is not a time in RFC 3339"))),
        }
    }
}

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl Entry {
    /// Completes the entry as Helm does when it reads an index; none where Helm leaves it out.
    pub fn checked(mut self) -> Option<(Self, Version)> {
        self.sanitize();
        if self.api_version.is_empty() {
            self.api_version = Text("v1".to_owned());
        }
        let name = self.name.0.as_str();
        let is_named = !matches!(name, "" | "." | "..") && !name.contains('/');
        let is_typed = matches!(self.type_.0.as_str(), "" | "application" | "library");
        let has_people = self.maintainers.0.iter().all(Option::is_some);
        let has_parts =
            self.dependencies.0.iter().all(|part| part.as_ref().is_some_and(Dependency::is_valid));
        let version = parse_loose(&self.version.0)?;
        (is_named && is_typed && has_people && has_parts).then_some((self, version))
    }

    /// Name and version, of an entry that is the `Chart.yaml` of a chart; or what Helm finds wrong with it.
    pub fn identity(self) -> Result<(String, String), &'static str> {
        if self.name.is_empty() {
            return Err("chart.metadata.name is required");
        }
        if self.version.is_empty() {
            return Err("chart.metadata.version is required");
        }
        if parse_loose(&self.version.0).is_none() {
            return Err("chart.metadata.version is invalid");
        }
        let (entry, _) = self.checked().ok_or("its name, type, maintainers or dependencies are invalid")?;
        Ok((entry.name.0, entry.version.0))
    }

    fn sanitize(&mut self) {
        let Self { name, description, home, icon, condition, tags, app_version, kube_version, .. } = self;
        for text in [name, description, home, icon, condition, tags, app_version, kube_version] {
            text.sanitize();
        }
        self.sources.0.iter_mut().chain(&mut self.keywords.0).for_each(Text::sanitize);
        self.maintainers.0.iter_mut().flatten().for_each(Maintainer::sanitize);
        self.dependencies.0.iter_mut().flatten().for_each(Dependency::sanitize);
    }
}

impl Maintainer {
    /// Makes its texts fit to be shown.
    pub fn sanitize(&mut self) {
        let Self { name, email, url } = self;
        [name, email, url].into_iter().for_each(Text::sanitize);
    }
}

impl<I> Dependency<I> {
    /// Makes its texts fit to be shown.
    pub fn sanitize(&mut self) {
        let Self { name, version, repository, condition, tags, .. } = self;
        [name, version, repository, condition].into_iter().for_each(Text::sanitize);
        tags.0.iter_mut().for_each(Text::sanitize);
    }

    /// Its alias; its name where it has none.
    pub fn key(&self) -> &str {
        if self.alias.is_empty() { &self.name.0 } else { &self.alias.0 }
    }

    /// An alias is the name of a directory.
    pub fn is_valid(&self) -> bool {
        self.alias.0.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    }
}
