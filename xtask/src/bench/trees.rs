//! Kustomization folders of any size: mixed ones that the peer builds too, and those that grow in one respect.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Objects of one file.
const OBJECTS_PER_FILE: usize = 40;
/// The same where there are few objects: as people write them.
const OBJECTS_PER_SMALL_FILE: usize = 3;
const HEAD: &str = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n";

/// What grows with the number of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// A patch for every tenth object.
    Patches,
    /// Images in every object, and eight rules.
    Images,
    /// Every second object names the one before it, and all are renamed.
    NameReferences,
    /// Eight values that are copied into every object.
    Replacements,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Patches, Self::Images, Self::NameReferences, Self::Replacements];

    /// As a row of the table names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Patches => "patches",
            Self::Images => "images",
            Self::NameReferences => "name references",
            Self::Replacements => "replacements",
        }
    }

    fn object(self, index: usize) -> String {
        match self {
            Self::NameReferences if index.is_multiple_of(2) => config_map(index),
            Self::NameReferences => {
                deployment(index, &format!("[{{configMapRef: {{name: a{}}}}}]", index - 1))
            }
            Self::Patches | Self::Images | Self::Replacements => deployment(index, "[]"),
        }
    }

    fn fields(self, objects: usize) -> String {
        match self {
            Self::Patches => {
                (0..objects).step_by(10).fold("patches:\n".to_owned(), |text, index| text + &patch(index))
            }
            Self::Images => (0..8).fold("images:\n".to_owned(), |text, index| {
                text + &format!("- {{name: ghcr.io/example/app{index}, newTag: \"2.{index}\"}}\n")
            }),
            Self::NameReferences => "namePrefix: p-\n".to_owned(),
            Self::Replacements => (0..8).fold("replacements:\n".to_owned(), |text, index| {
                text + &format!(
                    "- source: {{kind: Deployment, name: a0, fieldPath: spec.replicas}}\n  targets:\n  - select: \
                     {{kind: Deployment}}\n    fieldPaths: [metadata.annotations.r{index}]\n    options: {{create: \
                     true}}\n"
                )
            }),
        }
    }
}

/// A folder that grows in one respect.
pub fn write_family(folder: &Path, family: Family, objects: usize) -> Result<()> {
    let texts: Vec<String> = (0..objects).map(|index| family.object(index)).collect();
    write(folder, &texts, OBJECTS_PER_FILE, &family.fields(objects))
}

/// A third each of Deployments, Services and ConfigMaps, some twenty patches, a name prefix and a label.
pub fn write_mixed(folder: &Path, objects: usize) -> Result<()> {
    let texts: Vec<String> = (0..objects)
        .map(|index| match index % 3 {
            0 => deployment(index / 3, "[]"),
            1 => service(index / 3),
            _ => config_map(index / 3),
        })
        .collect();
    let per_file = if objects < 1000 { OBJECTS_PER_SMALL_FILE } else { OBJECTS_PER_FILE };
    let deployments = objects / 3;
    let patches = (0..deployments).step_by((deployments / 20).max(1));
    let head =
        "namePrefix: p-\nlabels:\n- {pairs: {team: t}, includeSelectors: false}\npatches:\n".to_owned();
    write(folder, &texts, per_file, &patches.fold(head, |text, index| text + &patch(index)))
}

fn write(folder: &Path, objects: &[String], per_file: usize, fields: &str) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut kustomization = format!("{HEAD}resources:\n");
    for (index, objects) in objects.chunks(per_file).enumerate() {
        let name = format!("r{index}.yaml");
        fs::write(folder.join(&name), objects.join("---\n"))?;
        writeln!(kustomization, "- {name}")?;
    }
    fs::write(folder.join("kustomization.yaml"), kustomization + fields)?;
    Ok(())
}

fn deployment(index: usize, env_from: &str) -> String {
    let image = index % 10;
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: a{index}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: a{index}}}}}
  template:
    metadata: {{labels: {{app: a{index}}}}}
    spec:
      containers:
      - name: c
        image: ghcr.io/example/app{image}:1.{image}.0
        ports: [{{name: http, containerPort: 8080}}]
        env: [{{name: A, value: \"{index}\"}}, {{name: B, value: b}}]
        envFrom: {env_from}
        resources: {{requests: {{cpu: 10m, memory: 16Mi}}, limits: {{memory: 64Mi}}}}
"
    )
}

fn service(index: usize) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: a{index}}}\nspec:\n  selector: {{app: a{index}}}\n  ports:\n  \
         - {{name: http, port: 80, targetPort: http}}\n"
    )
}

fn config_map(index: usize) -> String {
    let text = "x".repeat(380);
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a{index}}}\ndata:\n  key: \"{index}\"\n  text: {text}\n"
    )
}

fn patch(index: usize) -> String {
    format!(
        "- patch: |-
    apiVersion: apps/v1
    kind: Deployment
    metadata: {{name: a{index}}}
    spec: {{replicas: 3, template: {{spec: {{containers: [{{name: c, env: [{{name: C, value: c}}]}}]}}}}}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_has_the_requested_number_of_objects() {
        let folder = tempfile::tempdir().unwrap();
        let count = |name: &str| -> usize {
            let files = fs::read_dir(folder.path().join(name)).unwrap();
            let texts = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
            texts.map(|text| text.lines().filter(|line| line.starts_with("metadata: ")).count()).sum()
        };
        write_mixed(&folder.path().join("mixed"), 99).unwrap();
        assert_eq!(count("mixed"), 99);
        for family in Family::ALL {
            write_family(&folder.path().join(family.name()), family, 100).unwrap();
            assert_eq!(count(family.name()), 100, "{}", family.name());
        }
    }
}
