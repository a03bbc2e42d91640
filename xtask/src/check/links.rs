//! The links of the documents to files of the repository. Outside addresses are not requested.

use std::path::{Path, PathBuf};

use anyhow::Result;

/// Every broken link, with its file.
pub fn broken(root: &Path) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    for file in &documents(root)? {
        let text = std::fs::read_to_string(file)?;
        let folder = file.parent().unwrap_or(root);
        let shown = file.strip_prefix(root).unwrap_or(file).display();
        let dead = targets(&text).into_iter().filter(|target| !folder.join(target).exists());
        broken.extend(dead.map(|target| format!("{shown}: the link to {target} leads nowhere")));
    }
    Ok(broken)
}

/// The documents in the workspace's folder and all those below `docs`, sorted.
pub fn documents(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    collect(root, &mut files, Depth::Top)?;
    collect(&root.join("docs"), &mut files, Depth::All)?;
    files.sort();
    Ok(files)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Top,
    All,
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>, depth: Depth) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() && depth == Depth::All {
            collect(&path, into, depth)?;
        } else if path.extension().is_some_and(|extension| extension == "md") {
            into.push(path);
        }
    }
    Ok(())
}

/// The relative targets of `[text](target)`, without their anchors.
fn targets(text: &str) -> Vec<&str> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            let ends = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
            found.extend(ends.map(|(target, _)| target.split('#').next().unwrap_or_default()));
        }
    }
    found.retain(|target| !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:"));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_files_without_anchors() {
        let text = "[a](b.md) and [c](../d.md#part), [e](https://f), [g](#h)\n```\n[not](code.md)\n```\n";
        assert_eq!(targets(text), ["b.md", "../d.md"]);
    }

    #[test]
    fn a_link_to_a_missing_file_is_reported() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("docs")).unwrap();
        std::fs::write(root.path().join("README.md"), "[a](docs/a.md) [b](docs/b.md)").unwrap();
        std::fs::write(root.path().join("docs/a.md"), "[up](../README.md)").unwrap();
        assert_eq!(broken(root.path()).unwrap(), ["README.md: the link to docs/b.md leads nowhere"]);
    }
}
