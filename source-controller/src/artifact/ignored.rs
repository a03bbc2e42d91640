//! What of the files of a source is left out of its artifact. Pure.

use plumb_filetree::{
    EntryKind, FileTree as _, Ignore, MemoryTree, TreeError, TreeLimits,
    ignore::{IGNORE_FILE, TooManyPatterns},
};

/// An ignore file larger than this is rejected.
const IGNORE_FILE_BYTES_MAX: usize = 1 << 20;

/// The ignore rules cannot be used, or what they leave is too much.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreError {
    /// The rules.
    #[error(transparent)]
    Rules(TooManyPatterns),
    /// There is no time to look at all files.
    #[error("the operation was interrupted")]
    Interrupted,
    /// A file, or all of them.
    #[error(transparent)]
    Tree(TreeError),
}

/// The tree without what its `.sourceignore` files and `spec.ignore` leave out.
pub fn without_ignored(
    tree: &MemoryTree,
    spec: Option<&str>,
    limits: TreeLimits,
    is_over: &dyn Fn() -> bool,
) -> Result<MemoryTree, IgnoreError> {
    let mut rules = Ignore::builder();
    for (path, file) in tree.files().filter(|(path, _)| path.file_name() == Some(IGNORE_FILE)) {
        if file.content.len() > IGNORE_FILE_BYTES_MAX {
            let bytes = file.content.len() as u64;
            let max = IGNORE_FILE_BYTES_MAX as u64;
            return Err(IgnoreError::Tree(TreeError::FileTooLarge { path: path.clone(), bytes, max }));
        }
        rules.file(path.parent().unwrap_or_default(), String::from_utf8_lossy(&file.content));
    }
    let rules = rules.build(spec).map_err(IgnoreError::Rules)?;
    let mut included = MemoryTree::builder(limits);
    for (path, file) in tree.iter() {
        // Comparing one entry costs as much as there are rules.
        if is_over() {
            return Err(IgnoreError::Interrupted);
        }
        let kind = tree.kind(path).unwrap_or(EntryKind::File);
        if rules.excludes(path, kind) {
            continue;
        }
        match file {
            Some(file) => included.file(path, file.content.clone(), file.executable),
            None => included.dir(path),
        }
        .map_err(IgnoreError::Tree)?;
    }
    Ok(included.build())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use plumb_filetree::RelPath;

    use super::*;

    fn paths(files: &[(&str, &str)], spec: Option<&str>) -> Vec<String> {
        let mut builder = MemoryTree::builder(TreeLimits::DEFAULT);
        for (path, content) in files {
            let content = Bytes::copy_from_slice(content.as_bytes());
            builder.file(&RelPath::parse(path).unwrap(), content, false).unwrap();
        }
        let tree = without_ignored(&builder.build(), spec, TreeLimits::DEFAULT, &|| false).unwrap();
        tree.files().map(|(path, _)| path.to_string()).collect()
    }

    #[test]
    fn it_ends_when_there_is_no_time() {
        let mut builder = MemoryTree::builder(TreeLimits::DEFAULT);
        builder.file(&RelPath::parse("a").unwrap(), Bytes::new(), false).unwrap();
        let ended = without_ignored(&builder.build(), None, TreeLimits::DEFAULT, &|| true);
        assert_eq!(ended, Err(IgnoreError::Interrupted));
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
