//! From a YAML value to settings: keys in any case, unknown keys rejected, old fields moved to their successors.

use plumb_filetree::RelPath;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::fields::KUSTOMIZATION;
use super::{Blank, Role, Settings};
use crate::error::BuildError;
use crate::shape::{Misfit, Reading, fit, noun};

/// Fields of kustomize that this engine does not do.
const UNSUPPORTED: &[&str] = &["helmChartInflationGenerator", "helmCharts"];

pub(super) fn settings(
    value: Value,
    text: &str,
    file: &RelPath,
    blank: Blank,
) -> Result<Settings, BuildError> {
    let empty = || match blank {
        Blank::Refused => Err(BuildError::invalid("kustomization.yaml is empty").in_file(file)),
        Blank::Allowed => Ok(Settings::default()),
    };
    let map = match value {
        Value::Object(map) => map,
        Value::Null => return empty(),
        other => {
            let message =
                format!("invalid Kustomization: json: cannot unmarshal {} into a map", noun(&other));
            return Err(BuildError::invalid(message).in_file(file));
        }
    };
    let mut fields = Fields { map: Map::new(), text, file };
    fields.map = fit(map, KUSTOMIZATION, Reading::SETTINGS).map_err(|misfit| fields.reject(misfit))?;
    let mut settings = Settings { role: fields.role()?, ..Settings::default() };
    if fields.map.iter().all(|(name, value)| is_blank(name, value)) {
        return empty();
    }
    read_sources(&mut settings, &mut fields)?;
    read_transformations(&mut settings, &mut fields)?;
    read_generators(&mut settings, &mut fields)?;
    if fields.map.remove("helmGlobals").is_some() && !fields.map.contains_key("helmCharts") {
        settings.warnings.push("'helmGlobals' without 'helmCharts' says nothing.".to_owned());
    }
    for &name in UNSUPPORTED {
        if fields.map.remove(name).is_some_and(|value| !is_empty(&value)) {
            return Err(fields.place(BuildError::unsupported(format!("field {name:?}")), name));
        }
    }
    Ok(settings)
}

fn read_sources(settings: &mut Settings, fields: &mut Fields<'_>) -> Result<(), BuildError> {
    settings.resources = fields.take("resources")?;
    settings.components = fields.take("components")?;
    settings.configurations = fields.take("configurations")?;
    settings.crds = fields.take("crds")?;
    settings.openapi = fields.take("openapi")?;
    settings.sort_options = fields.take("sortOptions")?;
    settings.generators = fields.take("generators")?;
    settings.transformers = fields.take("transformers")?;
    settings.validators = fields.take("validators")?;
    settings.build_metadata = fields.take("buildMetadata")?;
    let bases: Vec<String> = fields.take("bases")?;
    deprecated(settings, "bases", "resources", !bases.is_empty());
    settings.resources.extend(bases);
    Ok(())
}

fn read_transformations(settings: &mut Settings, fields: &mut Fields<'_>) -> Result<(), BuildError> {
    settings.name_prefix = fields.take("namePrefix")?;
    settings.name_suffix = fields.take("nameSuffix")?;
    settings.namespace = fields.take("namespace")?;
    settings.common_labels = fields.take("commonLabels")?;
    settings.labels = fields.take("labels")?;
    settings.common_annotations = fields.take("commonAnnotations")?;
    settings.patches = fields.take("patches")?;
    settings.patches_strategic_merge = fields.take("patchesStrategicMerge")?;
    settings.patches_json6902 = fields.take("patchesJson6902")?;
    settings.images = fields.take("images")?;
    settings.replicas = fields.take("replicas")?;
    settings.replacements = fields.take("replacements")?;
    settings.vars = fields.take("vars")?;
    let image_tags: Vec<super::ImageEntry> = fields.take("imageTags")?;
    deprecated(settings, "vars", "replacements", !settings.vars.is_empty());
    deprecated(settings, "imageTags", "images", !image_tags.is_empty());
    deprecated(settings, "commonLabels", "labels", !settings.common_labels.is_empty());
    deprecated(settings, "patchesJson6902", "patches", !settings.patches_json6902.is_empty());
    deprecated(settings, "patchesStrategicMerge", "patches", !settings.patches_strategic_merge.is_empty());
    settings.images.extend(image_tags);
    Ok(())
}

fn read_generators(settings: &mut Settings, fields: &mut Fields<'_>) -> Result<(), BuildError> {
    settings.config_maps = fields.take("configMapGenerator")?;
    settings.secrets = fields.take("secretGenerator")?;
    settings.generator_options = fields.take("generatorOptions")?;
    for entry in settings.config_maps.iter_mut().chain(&mut settings.secrets) {
        if !entry.env.is_empty() {
            entry.envs.push(std::mem::take(&mut entry.env));
        }
    }
    Ok(())
}

fn deprecated(settings: &mut Settings, old: &str, new: &str, is_used: bool) {
    if is_used {
        settings.warnings.push(format!("'{old}' is deprecated. Please use '{new}' instead."));
    }
}

struct Fields<'t> {
    map: Map<String, Value>,
    text: &'t str,
    file: &'t RelPath,
}

impl Fields<'_> {
    fn take<T: DeserializeOwned + Default>(&mut self, name: &str) -> Result<T, BuildError> {
        let Some(value) = self.map.remove(name).filter(|value| !value.is_null()) else {
            return Ok(T::default());
        };
        serde_json::from_value(value).map_err(|error| {
            let error = BuildError::invalid(format!("invalid Kustomization: field {name:?}: {error}"));
            self.place(error, name)
        })
    }

    /// Names the wrong value and its position. A field for a secret may contain the secret.
    fn reject(&self, misfit: Misfit) -> BuildError {
        let (place, misfit) = match misfit {
            Misfit::Unknown { field, inside } if inside.is_empty() => {
                (field.clone(), Misfit::Unknown { field, inside })
            }
            Misfit::Unknown { field, inside } => {
                let is_shown = field.bytes().all(|byte| byte.is_ascii_alphabetic());
                let is_secret = inside.starts_with("secretGenerator") && !is_shown;
                let field = if is_secret { "…".to_owned() } else { field };
                (inside.clone(), Misfit::Unknown { field, inside })
            }
            Misfit::Type { found, field, expected } => {
                (field.clone(), Misfit::Type { found, field, expected })
            }
        };
        let top = place.split(['.', '[']).next().unwrap_or_default();
        self.place(BuildError::invalid(format!("invalid Kustomization: {misfit}")), top)
    }

    /// Names the file, and the line where the field begins.
    fn place(&self, error: BuildError, name: &str) -> BuildError {
        let is_start = |line: &str| {
            line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
                && line[name.len()..].starts_with(':')
        };
        match self.text.lines().position(is_start) {
            Some(index) => error.at_line(self.file, index + 1),
            None => error.in_file(self.file),
        }
    }

    fn role(&mut self) -> Result<Role, BuildError> {
        const KUSTOMIZATION_API: &str = "kustomize.config.k8s.io/v1beta1";
        const COMPONENT_API: &str = "kustomize.config.k8s.io/v1alpha1";
        let kind: String = self.take("kind")?;
        let api_version: String = self.take("apiVersion")?;
        let reject = |message: String| Err(BuildError::invalid(message).in_file(self.file));
        let (role, expected) = match kind.as_str() {
            "" | "Kustomization" => (Role::Kustomization, KUSTOMIZATION_API),
            "Component" => (Role::Component, COMPONENT_API),
            _ => return reject("kind should be Kustomization or Component".to_owned()),
        };
        if !api_version.is_empty() && api_version != expected {
            let kind = if role == Role::Component { "Component" } else { "Kustomization" };
            return reject(format!("apiVersion for {kind} should be {expected}"));
        }
        Ok(role)
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether a field is unset for kustomize: an empty list is a setting, unless it is moved to another one.
fn is_blank(name: &str, value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Array(items) => {
            items.is_empty() && matches!(name, "bases" | "imageTags" | "helmChartInflationGenerator")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, BuildError> {
        let value =
            plumb_manifests::yaml::parse_settings(text, &plumb_manifests::yaml::Limits::default()).unwrap();
        settings(value, text, &RelPath::parse("kustomization.yaml").unwrap(), Blank::Refused)
    }

    #[track_caller]
    fn reject(text: &str, expect: &str) {
        assert_eq!(read(text).unwrap_err().to_string(), expect);
    }

    #[test]
    fn keys_are_taken_in_any_case() {
        let settings =
            read("NAMEPREFIX: a-\nConfigmapgenerator:\n- NAME: x\n  options: {Labels: {Name: z}}\n");
        let settings = settings.unwrap();
        assert_eq!(settings.name_prefix, "a-");
        assert_eq!(settings.config_maps[0].name, "x");
        assert_eq!(settings.config_maps[0].options.as_ref().unwrap().labels["Name"], "z");
    }

    #[test]
    fn unknown_and_unsupported_fields_are_rejected_with_file_and_line() {
        reject("a: 1\n", "/kustomization.yaml:1:1: invalid Kustomization: json: unknown field \"a\"");
        reject(
            "namespace: x\nhelmCharts:\n- name: y\n",
            "/kustomization.yaml:2:1: field \"helmCharts\" is not supported",
        );
        reject(
            "namespace: x\npatches:\n- target: {foo: null}\n",
            "/kustomization.yaml:2:1: invalid Kustomization: json: unknown field \"foo\" in patches[0].target",
        );
        reject(
            "configMapGenerator:\n- type: a\n",
            "/kustomization.yaml:1:1: invalid Kustomization: json: unknown field \"type\" in configMapGenerator[0]",
        );
    }

    #[test]
    fn wrong_types_are_rejected() {
        for text in [
            "namePrefix: 1\n",
            "commonLabels: {on: yes}\n",
            "images:\n- newTag: 1.10\n",
            "metadata: {name: 75}\n",
            "generatorOptions: []\n",
            "[]\n",
            "replicas: [{name: a, count: 1.5}]\n",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_secret_in_the_wrong_place_is_not_repeated() {
        for text in ["- literals: hidden=1\n", "- {name: a, hidden=1}\n", "- hidden=1\n"] {
            let error = read(&format!("secretGenerator:\n{text}")).unwrap_err().to_string();
            assert!(!error.contains("hidden"), "{error}");
        }
    }

    #[test]
    fn an_empty_list_is_a_setting() {
        for text in ["patches: []\n", "metadata: {}\n", "commonLabels: {}\n", "helmCharts: []\n"] {
            assert!(read(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn an_empty_file_is_rejected() {
        for text in ["resources:\n", "namePrefix: \"\"\n", "bases: []\nimageTags: []\n"] {
            reject(text, "/kustomization.yaml: kustomization.yaml is empty");
        }
        reject("", "/kustomization.yaml: kustomization.yaml is empty");
        reject("kind: Kustomization\n", "/kustomization.yaml: kustomization.yaml is empty");
        reject("kind: Foo\n", "/kustomization.yaml: kind should be Kustomization or Component");
    }
}
