//! Which layer of an artifact, and what of its files is left out. Pure.

use plumb_filetree::{
    EntryKind, FileTree as _, Ignore, MemoryTree, TreeError, TreeLimits, ignore::IGNORE_FILE,
};
use plumb_oci::{Descriptor, Manifest};

use super::{error::LayerError, validate::LayerSelector};

/// An ignore file larger than this is rejected.
const IGNORE_FILE_BYTES_MAX: usize = 1 << 20;

/// The layer of the selector: the first one of its media type, or the first one.
pub fn select<'a>(manifest: &'a Manifest, selector: &LayerSelector) -> Result<&'a Descriptor, LayerError> {
    let first = manifest.layers.first().ok_or(LayerError::None)?;
    let Some(media_type) = &selector.media_type else { return Ok(first) };
    manifest.layers.iter().find(|layer| layer.media_type == *media_type).ok_or_else(|| LayerError::Missing {
        media_type: media_type.clone(),
        found: manifest.layers.iter().map(|layer| layer.media_type.clone()).collect(),
    })
}

/// The tree without what its `.sourceignore` files and `spec.ignore` leave out.
pub fn without_ignored(
    tree: &MemoryTree,
    spec: Option<&str>,
    limits: TreeLimits,
) -> Result<MemoryTree, LayerError> {
    let mut rules = Ignore::builder();
    for (path, file) in tree.files().filter(|(path, _)| path.file_name() == Some(IGNORE_FILE)) {
        if file.content.len() > IGNORE_FILE_BYTES_MAX {
            let bytes = file.content.len() as u64;
            let max = IGNORE_FILE_BYTES_MAX as u64;
            return Err(LayerError::Tree(TreeError::FileTooLarge { path: path.clone(), bytes, max }));
        }
        rules.file(path.parent().unwrap_or_default(), String::from_utf8_lossy(&file.content));
    }
    let rules = rules.build(spec).map_err(LayerError::Ignore)?;
    let mut included = MemoryTree::builder(limits);
    for (path, file) in tree.iter() {
        let kind = tree.kind(path).unwrap_or(EntryKind::File);
        if rules.excludes(path, kind) {
            continue;
        }
        match file {
            Some(file) => included.file(path, file.content.clone(), file.executable),
            None => included.dir(path),
        }
        .map_err(LayerError::Tree)?;
    }
    Ok(included.build())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use plumb_filetree::RelPath;
    use plumb_oci::Digest;

    use super::*;

    fn manifest(media_types: &[&str]) -> Manifest {
        let layer = |media_type: &&str| Descriptor {
            media_type: (*media_type).to_owned(),
            digest: Digest::of(media_type.as_bytes()),
            size: 1,
        };
        Manifest { layers: media_types.iter().map(layer).collect(), annotations: [].into() }
    }

    #[test]
    fn the_first_layer_of_the_media_type_is_taken() {
        let selector = |media_type: Option<&str>| LayerSelector {
            media_type: media_type.map(str::to_owned),
            copies: false,
        };
        let two = manifest(&["a", "b"]);
        assert_eq!(select(&two, &selector(None)).unwrap().media_type, "a");
        assert_eq!(select(&two, &selector(Some("b"))).unwrap().media_type, "b");
        let error = select(&two, &selector(Some("c"))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to find layer with media type 'c' in artifact; it has layers of \"a\", \"b\""
        );
        let error = select(&manifest(&[]), &selector(None)).unwrap_err();
        assert_eq!(error.to_string(), "no layers found in artifact");
    }

    fn paths(files: &[(&str, &str)], spec: Option<&str>) -> Vec<String> {
        let mut builder = MemoryTree::builder(TreeLimits::DEFAULT);
        for (path, content) in files {
            let content = Bytes::copy_from_slice(content.as_bytes());
            builder.file(&RelPath::parse(path).unwrap(), content, false).unwrap();
        }
        let tree = without_ignored(&builder.build(), spec, TreeLimits::DEFAULT).unwrap();
        tree.files().map(|(path, _)| path.to_string()).collect()
    }

    #[test]
    fn files_are_left_out_as_in_a_repository() {
        let files = [("a.yaml", ""), ("b.png", ""), ("deep/.gitignore", ""), ("deep/c.yaml", "")];
        assert_eq!(paths(&files, None), ["a.yaml", "deep/c.yaml"]);
        assert_eq!(paths(&files, Some("a.yaml")), ["b.png", "deep/c.yaml"]);
        let own =
            [("a.yaml", ""), ("deep/.sourceignore", "c.yaml\n"), ("deep/c.yaml", ""), ("deep/d.yaml", "")];
        assert_eq!(paths(&own, None), ["a.yaml", "deep/.sourceignore", "deep/d.yaml"]);
        assert_eq!(paths(&own, Some("!c.yaml\nd.yaml")), ["a.yaml", "deep/.sourceignore", "deep/c.yaml"]);
    }
}
