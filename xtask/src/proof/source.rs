//! The tests in the source of each package, without compiling it: a claim or a mutant that names a test that was
//! renamed or removed is found in a second.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};

use crate::test::{WITH_PLANE, cargo, programs};

/// So many lines above a function may hold its other attributes and its docs.
const ATTRIBUTE_LINES_MAX: usize = 8;
/// A module of this name may be in a file of any name (`#[path]`).
const ANY_FILE: &str = "tests";

/// The source files of each package of the workspace.
pub struct Tests(BTreeMap<String, Vec<SourceFile>>);

struct SourceFile {
    /// Below the package's folder.
    path: String,
    text: String,
}

impl Tests {
    /// Reads all of the workspace.
    pub fn read(root: &Path) -> Result<Self> {
        let mut packages = BTreeMap::new();
        for (name, folder) in programs::packages(&mut cargo(root))? {
            let mut files = Vec::new();
            collect(&folder, &folder, &mut files)
                .with_context(|| format!("cannot read the source of {name}"))?;
            packages.insert(name, files);
        }
        Ok(Self(packages))
    }

    /// Why there is no such test, or `None`.
    pub fn missing(&self, package: &str, test: &str) -> Option<String> {
        let Some(files) = self.0.get(package) else {
            return Some(format!("there is no package {package:?}"));
        };
        let found = files.iter().any(|file| file.has(test));
        (!found).then(|| format!("{package} has no test {test}"))
    }

    /// Whether a test is only in a target that needs a control plane.
    pub fn needs_plane(&self, package: &str, test: &str) -> bool {
        let Some((_, target)) = WITH_PLANE.iter().find(|(of, _)| *of == package) else { return false };
        let folder = Path::new("tests").join(target);
        let is_below = |file: &SourceFile| Path::new(&file.path).with_extension("").starts_with(&folder);
        let mut files = self.0.get(package).into_iter().flatten().filter(|file| file.has(test)).peekable();
        files.peek().is_some() && files.all(is_below)
    }
}

impl SourceFile {
    /// Whether it holds a test of this full name.
    fn has(&self, test: &str) -> bool {
        let (modules, name) = test.rsplit_once("::").unwrap_or(("", test));
        let modules: Vec<&str> = modules.split("::").filter(|module| !module.is_empty()).collect();
        self.has_modules(&modules) && has_test(&self.text, name)
    }

    fn has_modules(&self, modules: &[&str]) -> bool {
        let path = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        modules.iter().all(|module| {
            let name = module.trim_start_matches("r#");
            *module == ANY_FILE
                || path.split('/').any(|part| part == name)
                || self
                    .text
                    .lines()
                    .any(|line| line.trim().trim_end_matches(['{', ' ']).ends_with(&format!("mod {module}")))
        })
    }
}

fn collect(package: &Path, folder: &Path, into: &mut Vec<SourceFile>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if !path.ends_with("target") {
                collect(package, &path, into)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let below = path.strip_prefix(package).unwrap_or(&path).display().to_string();
            into.push(SourceFile { path: below, text: fs::read_to_string(&path)? });
        }
    }
    Ok(())
}

/// Whether a function of this name has an attribute that makes it a test.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.iter().enumerate().any(|(at, line)| {
        let declared =
            line.trim_start_matches("async ").strip_prefix("fn ").and_then(|rest| rest.strip_prefix(name));
        let above = &lines[at.saturating_sub(ATTRIBUTE_LINES_MAX)..at];
        declared.is_some_and(|rest| rest.starts_with('('))
            && above.iter().any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tests() -> Tests {
        let file = |path: &str, text: &str| SourceFile { path: path.to_owned(), text: text.to_owned() };
        let queue = "mod tests {\n    #[test]\n    fn fair() {}\n\n    #[tokio::test(start_paused = true)]\n    async fn late() {}\n}\n";
        let whole = "fn help() {}\n#[test]\n#[ignore]\nfn all() {}\n";
        let files = vec![file("src/work/queue.rs", queue), file("tests/it/hostile/loops.rs", whole)];
        Tests(BTreeMap::from([("p".to_owned(), files)]))
    }

    #[test]
    fn tests_are_found_by_module_and_name() {
        let tests = tests();
        for test in ["work::queue::tests::fair", "work::queue::tests::late", "hostile::loops::all"] {
            assert_eq!(tests.missing("p", test), None, "{test}");
        }
    }

    #[test]
    fn a_function_elsewhere_a_part_of_a_name_and_a_plain_function_are_no_tests() {
        let tests = tests();
        for test in ["work::lane::tests::fair", "work::queue::tests::fai", "hostile::loops::help", "fair"] {
            let found = tests.missing("p", test);
            // `fair` without modules is found: the file decides nothing then.
            assert_eq!(found.is_none(), test == "fair", "{test}: {found:?}");
        }
        assert_eq!(tests.missing("q", "a").as_deref(), Some("there is no package \"q\""));
    }

    #[test]
    fn a_test_needs_a_control_plane_only_in_such_a_target() {
        let file = |path: &str, name: &str| SourceFile {
            path: path.to_owned(),
            text: format!("#[test]\nfn {name}() {{}}\n"),
        };
        let plane = vec![file("tests/whole.rs", "starts"), file("src/programs.rs", "found")];
        let it = vec![file("tests/it/api/apply.rs", "applies"), file("src/lib.rs", "pure")];
        let tests =
            Tests(BTreeMap::from([("plumb-plane".to_owned(), plane), ("plumb-tests".to_owned(), it)]));
        assert!(tests.needs_plane("plumb-plane", "starts"));
        assert!(tests.needs_plane("plumb-tests", "api::apply::applies"));
        for (package, test) in
            [("plumb-plane", "programs::found"), ("plumb-tests", "pure"), ("plumb-api", "starts")]
        {
            assert!(!tests.needs_plane(package, test), "{package} {test}");
        }
    }
}
