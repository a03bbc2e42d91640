//! A directory with a chart: its files as Helm loads them, without those that `.helmignore` leaves out, in the order in which Helm
//! walks a directory. A tree has no links, so nothing outside the directory can be meant.

use plumb_filetree::{MemoryTree, RelPath};

use crate::{
    archive::{ChartError, ChartMetadata},
    chart::ChartFile,
    ignore::{IGNORE_FILE, Rules},
    metadata::Metadata,
};

/// The files of the chart in a directory of a tree.
pub fn chart_files(tree: &MemoryTree, directory: &RelPath) -> Result<Vec<ChartFile>, ChartError> {
    let bad = |problem| ChartError::IgnoreRules { problem };
    let rules = match file(tree, directory, IGNORE_FILE) {
        Some(content) => String::from_utf8_lossy(content).into_owned(),
        None => String::new(),
    };
    let rules = Rules::parse(&rules).map_err(bad)?;
    let prefix = if directory.is_root() { 0 } else { directory.as_str().len() + 1 };
    let mut files: Vec<ChartFile> = tree
        .files()
        .filter(|(path, _)| *path != directory && path.starts_with(directory))
        .filter_map(|(path, file)| {
            let path = path.as_str().get(prefix..)?;
            let content = file.content.clone();
            (!is_excluded(&rules, path)).then(|| ChartFile { path: path.to_owned(), content, modified: 0 })
        })
        .collect();
    files.sort_by(|a, b| a.path.split('/').cmp(b.path.split('/')));
    Ok(files)
}

/// What the chart in a directory says of itself, without its other files.
pub fn directory_metadata(tree: &MemoryTree, directory: &RelPath) -> Result<ChartMetadata, ChartError> {
    let bad = |file: &str| {
        let file = file.to_owned();
        |problem: String| ChartError::ChartFile { file, problem: crate::index::excerpt(&problem) }
    };
    let text = file(tree, directory, "Chart.yaml").ok_or(ChartError::NoChartFile)?;
    let mut metadata = Metadata::parse(text).map_err(bad("Chart.yaml"))?;
    if let Some(text) = file(tree, directory, "requirements.yaml") {
        metadata.add_requirements(text).map_err(bad("requirements.yaml"))?;
    }
    metadata.validate().map_err(|problem| ChartError::Invalid { problem })?;
    Ok(ChartMetadata { name: metadata.name.0, version: metadata.version.0 })
}

fn file<'a>(tree: &'a MemoryTree, directory: &RelPath, name: &str) -> Option<&'a [u8]> {
    let path = directory.child(name).ok()?;
    tree.file(&path).map(|file| &*file.content)
}

/// Whether a file, or a directory above it, is left out.
fn is_excluded(rules: &Rules, path: &str) -> bool {
    path.match_indices('/').any(|(end, _)| rules.excludes(&path[..end], true)) || rules.excludes(path, false)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use plumb_filetree::TreeLimits;

    use super::*;

    fn tree(files: &[(&str, &str)]) -> MemoryTree {
        let mut tree = MemoryTree::builder(TreeLimits::DEFAULT);
        for (path, content) in files {
            tree.file(&RelPath::parse(path).unwrap(), Bytes::from((*content).to_owned()), false).unwrap();
        }
        tree.build()
    }

    fn paths(tree: &MemoryTree, directory: &str) -> Vec<String> {
        let files = chart_files(tree, &RelPath::parse(directory).unwrap()).unwrap();
        files.into_iter().map(|file| file.path).collect()
    }

    #[test]
    fn files_are_those_below_the_directory_in_the_order_of_a_walk() {
        let tree = tree(&[
            ("charts/app/Chart.yaml", "name: app"),
            ("charts/app/.helmignore", "*.txt\n/docs/\n"),
            ("charts/app/templates/a.yaml", ""),
            ("charts/app/templates/.a.swp", ""),
            ("charts/app/templates.d", ""),
            ("charts/app/docs/x", ""),
            ("charts/app/a.txt", ""),
            ("charts/app2/Chart.yaml", ""),
            ("Chart.yaml", ""),
        ]);
        assert_eq!(
            paths(&tree, "charts/app"),
            [".helmignore", "Chart.yaml", "templates/a.yaml", "templates.d"]
        );
        assert_eq!(paths(&tree, "").first().unwrap(), "Chart.yaml");
        assert_eq!(paths(&tree, "missing"), Vec::<String>::new());
        let bad = self::tree(&[("Chart.yaml", ""), (".helmignore", "**")]);
        let error = chart_files(&bad, &RelPath::root()).unwrap_err();
        assert!(error.to_string().starts_with("cannot load ignore rules for chart: double-star"), "{error}");
    }

    #[test]
    fn a_directory_says_what_chart_it_is() {
        let chart = "name: app\nversion: v1.2.0";
        let of = |files: &[(&str, &str)]| directory_metadata(&tree(files), &RelPath::parse("c").unwrap());
        let found =
            of(&[("c/Chart.yaml", chart), ("c/requirements.yaml", "dependencies: [{name: db}]")]).unwrap();
        assert_eq!((found.name.as_str(), found.version.as_str()), ("app", "v1.2.0"));
        for (files, expect) in [
            (&[("Chart.yaml", chart)][..], "no 'Chart.yaml' found"),
            (&[("c/Chart.yaml", "a: [")][..], "cannot load 'Chart.yaml': "),
            (&[("c/Chart.yaml", "name: app")][..], "validation: chart.metadata.version is required"),
            (
                &[("c/Chart.yaml", chart), ("c/requirements.yaml", "dependencies: 1")][..],
                "cannot load 'requirements.yaml': ",
            ),
        ] {
            let error = of(files).unwrap_err();
            assert!(error.to_string().starts_with(expect), "{error}");
        }
    }
}
