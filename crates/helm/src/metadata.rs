//! `Chart.yaml` and the lock file of a chart: read as Helm reads them, checked as Helm checks them, and written as Helm writes them
//! when it packages a chart.

use plumb_manifests::yaml::{Limits, json_to_string, parse_settings};
use plumb_version::parse_loose;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    entry::{Dependency, Maintainer, Time},
    text::{Flag, List, Table, Text, is_unset},
};

/// The version of the format whose dependencies are in a file of their own.
pub const V1: &str = "v1";
/// Maps and lists inside each other in a file of a chart.
const DEPTH_MAX: usize = 200;
/// Values in one file of a chart, keys among them.
const NODES_MAX: usize = 1_000_000;

/// What a chart says of itself, in full.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Metadata {
    #[serde(skip_serializing_if = "Text::is_empty")]
    pub name: Text,
    #[serde(skip_serializing_if = "Text::is_empty")]
    home: Text,
    #[serde(skip_serializing_if = "List::is_empty")]
    sources: List<Text>,
    #[serde(skip_serializing_if = "Text::is_empty")]
    pub version: Text,
    #[serde(skip_serializing_if = "Text::is_empty")]
    description: Text,
    #[serde(skip_serializing_if = "List::is_empty")]
    keywords: List<Text>,
    #[serde(skip_serializing_if = "List::is_empty")]
    maintainers: List<Option<Maintainer>>,
    #[serde(skip_serializing_if = "Text::is_empty")]
    icon: Text,
    #[serde(skip_serializing_if = "Text::is_empty")]
    pub api_version: Text,
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
    pub dependencies: List<Option<Dependency<Value>>>,
    #[serde(rename = "type", skip_serializing_if = "Text::is_empty")]
    type_: Text,
}

/// What `requirements.yaml` adds.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Requirements {
    dependencies: Option<List<Option<Dependency<Value>>>>,
}

/// The lock file of a chart.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Lock {
    generated: Time,
    digest: Text,
    pub dependencies: Option<List<Option<Dependency<Value>>>>,
}

/// Limits of the YAML of a chart.
pub fn yaml_limits(bytes: usize) -> Limits {
    Limits { bytes_max: bytes, depth_max: DEPTH_MAX, nodes_max: NODES_MAX, ..Limits::default() }
}

/// Reads the first document of a text; the default where it is empty.
pub fn read<T: DeserializeOwned + Default>(text: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())?;
    let value = parse_settings(text, &yaml_limits(text.len())).map_err(|error| error.to_string())?;
    let read: Option<T> = serde_json::from_value(value).map_err(|error| error.to_string())?;
    Ok(read.unwrap_or_default())
}

/// Writes a value as Helm does.
pub fn write(value: &impl Serialize) -> String {
    // All of them are texts, lists and maps with texts as keys.
    json_to_string(&serde_json::to_value(value).unwrap_or_default())
}

impl Metadata {
    /// Reads `Chart.yaml`.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let mut metadata: Self = read(text)?;
        if metadata.api_version.is_empty() {
            metadata.api_version = Text(V1.to_owned());
        }
        Ok(metadata)
    }

    /// Adds the dependencies of `requirements.yaml`, which count instead of those of `Chart.yaml`.
    pub fn add_requirements(&mut self, text: &[u8]) -> Result<(), String> {
        if let Some(dependencies) = read::<Requirements>(text)?.dependencies {
            self.dependencies = dependencies;
        }
        Ok(())
    }

    /// Checks it as Helm does, after making its texts fit to be shown.
    pub fn validate(&mut self) -> Result<(), String> {
        self.sanitize();
        let name = self.name.0.as_str();
        if name.is_empty() {
            return Err("chart.metadata.name is required".to_owned());
        }
        if matches!(name, "." | "..") {
            return Err(format!("chart.metadata.name {name:?} is not allowed"));
        }
        if name.contains('/') {
            return Err(format!("chart.metadata.name {name:?} is invalid"));
        }
        if self.version.is_empty() {
            return Err("chart.metadata.version is required".to_owned());
        }
        if parse_loose(&self.version.0).is_none() {
            return Err(format!("chart.metadata.version {:?} is invalid", self.version.0));
        }
        if !matches!(self.type_.0.as_str(), "" | "application" | "library") {
            return Err("chart.metadata.type must be application or library".to_owned());
        }
        if self.maintainers.0.iter().any(Option::is_none) {
            return Err("maintainers must not contain empty or null nodes".to_owned());
        }
        self.validate_dependencies()
    }

    fn validate_dependencies(&self) -> Result<(), String> {
        let mut keys = std::collections::BTreeSet::new();
        for dependency in &self.dependencies.0 {
            let Some(dependency) = dependency else {
                return Err("dependencies must not contain empty or null nodes".to_owned());
            };
            if !dependency.is_valid() {
                return Err(format!(
                    "dependency {:?} has disallowed characters in the alias",
                    dependency.name.0
                ));
            }
            let key = dependency.key();
            if !keys.insert(key) {
                return Err(format!("more than one dependency with name or alias {key:?}"));
            }
        }
        Ok(())
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

    /// `Chart.yaml` as it is packaged.
    pub fn to_yaml(&self) -> String {
        if self.api_version.0 != V1 {
            return write(self);
        }
        // They are in `requirements.yaml`, which is kept.
        write(&Self { dependencies: List::default(), ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Metadata, String> {
        let mut metadata = Metadata::parse(text.as_bytes())?;
        metadata.validate()?;
        Ok(metadata)
    }

    #[test]
    fn it_is_written_with_sorted_keys_and_known_fields_only() {
        let text = "version: 1.2.0\nunknown: [x]\nname: app\nappVersion: 1.10\ndescription: \"a\\tb\"\ndependencies:\n- name: db\n  version: ~1\n  repository: https://h\n  import-values: [data, {child: a, parent: b}]\napiVersion: v2\ntype: application\n";
        let expect = "apiVersion: v2\nappVersion: \"1.1\"\ndependencies:\n- import-values:\n  - data\n  - child: a\n    parent: b\n  name: db\n  repository: https://h\n  version: ~1\ndescription: a b\nname: app\ntype: application\nversion: 1.2.0\n";
        assert_eq!(parsed(text).unwrap().to_yaml(), expect);
        let old = parsed("name: app\nversion: 1.2.0\ndependencies: [{name: db}]\n").unwrap();
        assert_eq!(old.to_yaml(), "apiVersion: v1\nname: app\nversion: 1.2.0\n");
    }

    #[test]
    fn what_helm_rejects_is_rejected() {
        for (text, expect) in [
            ("", "chart.metadata.name is required"),
            ("name: ..\nversion: 1.0.0", "chart.metadata.name \"..\" is not allowed"),
            ("name: a/b\nversion: 1.0.0", "chart.metadata.name \"a/b\" is invalid"),
            ("name: a", "chart.metadata.version is required"),
            ("name: a\nversion: x", "chart.metadata.version \"x\" is invalid"),
            ("name: a\nversion: 1.0.0\ntype: x", "chart.metadata.type must be"),
            ("name: a\nversion: 1.0.0\nmaintainers: [~]", "maintainers must not contain"),
            ("name: a\nversion: 1.0.0\ndependencies: [~]", "dependencies must not contain"),
            (
                "name: a\nversion: 1.0.0\ndependencies: [{name: b, alias: b/c}]",
                "dependency \"b\" has disallowed characters in the alias",
            ),
            (
                "name: a\nversion: 1.0.0\ndependencies: [{name: b}, {name: c, alias: b}]",
                "more than one dependency with name or alias \"b\"",
            ),
            ("name: [a]", "invalid type"),
            ("a: b: c", "1:"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.starts_with(expect), "{text}: {error}");
        }
    }

    #[test]
    fn requirements_replace_the_dependencies() {
        let mut metadata = parsed("name: a\nversion: 1.0.0\ndependencies: [{name: b}]").unwrap();
        metadata.add_requirements(b"# nothing\n").unwrap();
        assert_eq!(metadata.dependencies.0.len(), 1);
        metadata.add_requirements(b"dependencies: [{name: c}, {name: d}]").unwrap();
        assert_eq!(metadata.dependencies.0.len(), 2);
    }

    #[test]
    fn a_lock_is_written_with_all_its_fields() {
        let lock: Lock = read(b"generated: \"2024-01-02T03:04:05.5Z\"\ndependencies: [{name: a, version: 1.0.0}]\ndigest: sha256:0\n").unwrap();
        assert_eq!(
            write(&lock),
            "dependencies:\n- name: a\n  repository: \"\"\n  version: 1.0.0\ndigest: sha256:0\ngenerated: \"2024-01-02T03:04:05.5Z\"\n"
        );
    }
}
