//! Checks the source files against the house rules that no compiler checks: size, names, module docs, orphans, and the
//! links of documents.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::Outcome;

const LINES_MAX: usize = 800;
/// A longer file is named, so that it is split.
const LINES_SOFT: usize = 400;
/// Exceptions to lints, workspace-wide. The number may only fall.
const EXPECTATIONS_MAX: usize = 40;
const BANNED_NAMES: [&str; 11] =
    ["util", "utils", "common", "helper", "helpers", "manager", "misc", "base", "v2", "impl", "types"];

/// Fails with every file that breaks a rule.
pub fn run(root: &Path) -> Result<Outcome> {
    let files = rust_files(root)?;
    let mut breaches = Vec::new();
    let mut expectations = 0;
    for file in &files {
        let text = std::fs::read_to_string(file)?;
        let shown = file.strip_prefix(root).unwrap_or(file).display().to_string();
        let lines = text.lines().count();
        if (LINES_SOFT + 1..=LINES_MAX).contains(&lines) && !shown.ends_with("_table.rs") {
            eprintln!("note: {shown}: {lines} lines, more than {LINES_SOFT}");
        }
        breaches.extend(judge(&shown, &text).into_iter().map(|why| format!("{shown}: {why}")));
        expectations +=
            text.matches(concat!("#[", "expect(")).count() + text.matches(concat!("#![", "expect(")).count();
        if is_orphan(file) {
            breaches.push(format!("{shown}: no `mod` declares this file"));
        }
    }
    if expectations > EXPECTATIONS_MAX {
        breaches.push(format!("{expectations} lint exceptions, {EXPECTATIONS_MAX} allowed"));
    }
    breaches.extend(super::links::broken(root)?);
    if breaches.is_empty() { Ok(Outcome::Passed) } else { bail!("\n  {}", breaches.join("\n  ")) }
}

/// All Rust files below a directory but those of builds, sorted.
pub fn rust_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    collect(root, &mut files)?;
    files.sort();
    Ok(files)
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if name != "target" && !name.starts_with('.') {
                collect(&path, into)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
    Ok(())
}

fn judge(path: &str, text: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    let lines = text.lines().count();
    if lines > LINES_MAX && !path.ends_with("_table.rs") {
        breaches.push(format!("{lines} lines, {LINES_MAX} allowed; give the room a second door"));
    }
    if !text.starts_with("//!") {
        breaches.push("no module docs: say what this room is for, and what must never enter".to_owned());
    }
    for part in path.split('/') {
        let stem = part.strip_suffix(".rs").unwrap_or(part);
        if BANNED_NAMES.contains(&stem) {
            breaches.push(format!("{stem:?} names nothing; use the noun"));
        }
    }
    if text.contains(concat!("#[", "allow(")) || text.contains(concat!("#![", "allow(")) {
        breaches.push("`allow` of a lint: use `expect` with a reason".to_owned());
    }
    for marker in
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("todo", "!("), concat!("unimplemented", "!(")]
    {
        if text.contains(marker) {
            breaches.push(format!("{marker} left behind"));
        }
    }
    breaches
}

/// A file that neither its folder's mod file nor its parent module declares is never compiled.
fn is_orphan(file: &Path) -> bool {
    let (Some(stem), Some(folder)) = (file.file_stem().and_then(|stem| stem.to_str()), file.parent()) else {
        return false;
    };
    let mut name = stem.to_owned();
    let mut folder = folder.to_path_buf();
    // Each fuzz target is a program of its own.
    if matches!(stem, "main" | "lib" | "build") || folder.ends_with("fuzz_targets") {
        return false;
    }
    if stem == "mod" {
        let Some(module) = folder.file_name().and_then(|name| name.to_str()) else { return false };
        module.clone_into(&mut name);
        folder.pop();
    }
    let mut parents = vec![folder.join("main.rs"), folder.join("lib.rs"), folder.join("mod.rs")];
    parents.push(folder.with_extension("rs"));
    let declared = parents.iter().filter_map(|parent| std::fs::read_to_string(parent).ok()).any(|text| {
        text.lines().any(|line| {
            let line = line.trim().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
            line.trim_start_matches("pub(super) ")
                .strip_prefix("mod ")
                .is_some_and(|rest| rest.trim_start_matches("r#").trim_end_matches([';', '{', ' ']) == name)
        })
    });
    let declared = declared || is_included_by_path(file);
    // Cargo finds these by their folder.
    let by_cargo = ["tests", "examples", "benches"].iter().any(|place| folder.ends_with(place));
    !declared && !by_cargo
}

/// Whether a file next to it includes it under another name.
fn is_included_by_path(file: &Path) -> bool {
    let (Some(name), Some(folder)) = (file.file_name().and_then(|name| name.to_str()), file.parent()) else {
        return false;
    };
    let attribute = format!("#[path = \"{name}\"]");
    let siblings = std::fs::read_dir(folder).into_iter().flatten().flatten();
    siblings
        .filter_map(|entry| std::fs::read_to_string(entry.path()).ok())
        .any(|text| text.lines().any(|line| line.trim() == attribute))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str, expect: &[&str]) {
        let found = judge(path, text);
        assert_eq!(found.len(), expect.len(), "{found:?}");
        for (found, expect) in found.iter().zip(expect) {
            assert!(found.contains(expect), "{found:?} lacks {expect:?}");
        }
    }

    #[test]
    fn a_tidy_file_passes() {
        check("crates/a/src/queue.rs", "//! Docs.\n", &[]);
    }

    #[test]
    fn a_file_without_docs_is_reported() {
        check("crates/a/src/queue.rs", "fn a() {}\n", &["no module docs"]);
    }

    #[test]
    fn a_banned_name_is_reported_in_files_and_folders() {
        check("crates/a/src/utils/x.rs", "//! Docs.\n", &["utils"]);
        check("crates/a/src/helper.rs", "//! Docs.\n", &["helper"]);
    }

    #[test]
    fn a_long_file_is_reported_unless_it_is_a_table() {
        let long = format!("//! Docs.\n{}", "x\n".repeat(LINES_MAX));
        check("a/src/b.rs", &long, &["801 lines"]);
        check("a/src/b_table.rs", &long, &[]);
    }

    #[test]
    fn a_file_is_an_orphan_unless_a_module_includes_it() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let file = root.path().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, text).unwrap();
            file
        };
        let lib = write("src/lib.rs", "//! Docs.\npub(crate) mod queue;\nmod r#gen;\nmod load;\n");
        let queue = write("src/queue.rs", "//! Docs.\n#[cfg(test)]\nmod tests;\n");
        let load = write("src/load/mod.rs", "//! Docs.\n#[path = \"load_tests.rs\"]\nmod tests;\n");
        let taken_in = [
            lib,
            queue,
            load,
            write("src/gen.rs", "//! Docs.\n"),
            write("src/queue/tests.rs", "//! Docs.\n"),
            write("src/load/load_tests.rs", "//! Docs.\n"),
            write("tests/whole.rs", "//! Docs.\n"),
        ];
        for file in taken_in {
            assert!(!is_orphan(&file), "{}", file.display());
        }
        for orphan in [write("src/lost.rs", "//! Docs.\n"), write("src/queue/lost.rs", "//! Docs.\n")] {
            assert!(is_orphan(&orphan), "{}", orphan.display());
        }
    }
}
