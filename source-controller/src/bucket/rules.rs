//! Which objects of a bucket are files of its artifact, and under which paths. Pure.

use plumb_bucket::Object;
use plumb_filetree::{
    EntryKind, Ignore, PathError, RelPath,
    ignore::{IGNORE_FILE, TooManyPatterns},
};

use super::error::KeyError;

/// An object, and where its file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path.
    pub path: RelPath,
    /// The object.
    pub object: Object,
}

/// The time for it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over;

/// The rules of a bucket: its `.sourceignore`, then `spec.ignore`.
pub fn rules(file: Option<&[u8]>, spec: Option<&str>) -> Result<Ignore, TooManyPatterns> {
    let mut builder = Ignore::builder();
    if let Some(file) = file {
        builder.file(RelPath::root(), String::from_utf8_lossy(file));
    }
    builder.build_without_defaults(spec)
}

/// The objects that the rules leave: no `.sourceignore`, and none that stands for a directory.
pub fn included(
    objects: Vec<Object>,
    rules: &Ignore,
    is_over: &dyn Fn() -> bool,
) -> Result<Vec<Object>, Over> {
    let mut kept = Vec::new();
    for object in objects {
        // Comparing one key costs as much as there are rules.
        if is_over() {
            return Err(Over);
        }
        let is_left_out = object.key.ends_with('/') || object.key == IGNORE_FILE;
        let parts: Vec<&str> = object.key.split('/').collect();
        if !is_left_out && !rules.excludes_components(&parts, EntryKind::File) {
            kept.push(object);
        }
    }
    Ok(kept)
}

/// The paths of objects. Two objects with one path are rejected.
pub fn files(objects: Vec<Object>) -> Result<Vec<File>, KeyError> {
    let mut files = Vec::with_capacity(objects.len());
    for object in objects {
        files.push(File { path: path(&object.key)?, object });
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    if let Some([first, second]) = files.array_windows().find(|[a, b]| a.path == b.path) {
        let (first, second) = (first.object.key.clone(), second.object.key.clone());
        return Err(KeyError::Same { first, second });
    }
    Ok(files)
}

/// The path of a key: empty components are left out, as with Flux; '.' and '..' are rejected, because no URL leads to them.
fn path(key: &str) -> Result<RelPath, KeyError> {
    let failed = |source: PathError| KeyError::Path { key: key.to_owned(), source };
    // A line break would make two revisions look the same.
    if key.chars().any(|character| character.is_control() && character != '\0') {
        return Err(KeyError::Control { key: key.to_owned() });
    }
    let parts: Vec<&str> = key.split('/').filter(|part| !part.is_empty()).collect();
    RelPath::parse(&parts.join("/")).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(key: &str) -> Object {
        Object { key: key.to_owned(), etag: "1".to_owned(), size: Some(1), generation: None, modified: None }
    }

    fn kept(keys: &[&str], file: Option<&str>, spec: Option<&str>) -> Vec<String> {
        let objects = keys.iter().map(|key| object(key)).collect();
        let rules = rules(file.map(str::as_bytes), spec).unwrap();
        let kept = included(objects, &rules, &|| false).unwrap();
        kept.into_iter().map(|object| object.key).collect()
    }

    #[test]
    fn only_own_rules_leave_objects_out() {
        let keys =
            [".sourceignore", "a.yaml", "b.png", "dir/", ".git/x", "deep/.sourceignore", "deep/c.yaml"];
        assert_eq!(
            kept(&keys, None, None),
            ["a.yaml", "b.png", ".git/x", "deep/.sourceignore", "deep/c.yaml"]
        );
        assert_eq!(kept(&keys, Some("*.png\n/deep\n"), None), ["a.yaml", ".git/x"]);
        assert_eq!(
            kept(&keys, Some("*.yaml"), Some("!deep/c.yaml")),
            ["b.png", ".git/x", "deep/.sourceignore", "deep/c.yaml"]
        );
        assert_eq!(kept(&["../x", "a//b", "ok"], None, Some("../*\n/a")), ["ok"], "odd keys can be left out");
        let rules = rules(None, Some("a")).unwrap();
        assert_eq!(included(vec![object("a")], &rules, &|| true), Err(Over));
    }

    #[test]
    fn keys_become_paths_inside_the_artifact() {
        let paths = |keys: &[&str]| {
            files(keys.iter().map(|key| object(key)).collect())
                .map(|files| files.into_iter().map(|file| file.path.to_string()).collect::<Vec<_>>())
        };
        assert_eq!(
            paths(&["b", "/abs/x", "a//b", "A//b", "a\\..\\b"]).unwrap(),
            ["A/b", "a/b", "a\\..\\b", "abs/x", "b"]
        );
        for (keys, expect) in [
            (&["../x"][..], "object key \"../x\" is not a path"),
            (&["a/../../x"], "is not a path"),
            (&["./a"], "is not a path"),
            (&["a\0b"], "contains a NUL byte"),
            (&["a\nb"], "has a control character"),
            (&["a/b", "a//b"], "object keys \"a/b\" and \"a//b\" are the same path"),
            (&[&"x/".repeat(3000)], "over the limit"),
        ] {
            let error = plumb_status::chain(&paths(keys).unwrap_err());
            assert!(error.contains(expect), "{error}");
        }
    }
}
