//! The CustomResourceDefinitions as files, one for each kind, and a kustomization of them all. The content of a definition
//! is decided in `crates/api`.

use anyhow::{Context as _, Result};

use super::{Files, kustomization, yaml};

const FOLDER: &str = "config/crd";
const ORIGIN: &str = "crates/api";

/// The files of `config/crd`.
pub fn files() -> Result<Files> {
    let mut files = Files::new();
    let mut names = Vec::new();
    for (name, definition) in plumb_api::crd::all() {
        let text = yaml(ORIGIN, &[definition]).with_context(|| format!("{name} cannot be written"))?;
        files.insert(format!("{FOLDER}/{name}"), text);
        names.push(name);
    }
    files.insert(format!("{FOLDER}/kustomization.yaml"), kustomization(ORIGIN, &names)?);
    Ok(files)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_definition_reads_back_as_it_was() {
        let files = files().unwrap();
        let all = plumb_api::crd::all();
        assert_eq!((all.len(), files.len()), (11, 12));
        for (name, definition) in all {
            let read: Value = serde_saphyr::from_str(&files[&format!("{FOLDER}/{name}")]).unwrap();
            assert_eq!(read, definition, "{name}");
        }
    }
}
