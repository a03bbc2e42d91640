//! Warnings: accepted input that the author should check.

use std::cell::{Cell, RefCell};
use std::fmt;

use plumb_filetree::RelPath;

/// One warning of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Whether kustomize reports it too.
    pub kind: WarningKind,
    /// The file or field that causes it, the object, the field, and the remedy.
    pub text: String,
}

/// Whether kustomize reports it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WarningKind {
    /// kustomize prints this as well: old fields, variables that nothing uses. The objects are as expected.
    Notice,
    /// kustomize reports nothing, and the objects may differ from what the author expects.
    Silent,
}

impl fmt::Display for Warning {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

/// Warnings of one build, at most: more are only counted.
const WARNINGS_MAX: usize = 1000;
/// Bytes of one warning.
const WARNING_BYTES_MAX: usize = 4096;

/// The warnings of a build, each once, and where the build is.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    all: RefCell<Vec<Warning>>,
    left_out: Cell<usize>,
    at: RefCell<Origin>,
}

/// The cause of the current transformation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The kustomization file, or that of a plugin's configuration.
    pub file: RelPath,
    /// The entry in it, such as `patches[0]`.
    pub entry: String,
    /// A field outside of all files, which the caller has added. It replaces file and entry.
    pub field: String,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, entry, field } = self;
        match (field.as_str(), entry.as_str()) {
            ("", "") => write!(out, "/{file}"),
            ("", entry) => write!(out, "/{file}: {entry}"),
            (field, _) => out.write_str(field),
        }
    }
}

impl Warnings {
    /// Sets the cause of the next transformations, and returns the previous one.
    pub(crate) fn enter(&self, origin: Origin) -> Origin {
        self.at.replace(origin)
    }

    /// Runs the action of an entry of the file, or, if it is not empty, of a field outside of all files.
    pub(crate) fn within<T>(&self, entry: &str, field: &str, run: impl FnOnce() -> T) -> T {
        let outer = self.at.borrow().clone();
        let entry =
            if outer.entry.is_empty() { entry.to_owned() } else { format!("{}: {entry}", outer.entry) };
        self.enter(Origin { file: outer.file.clone(), entry, field: field.to_owned() });
        let done = run();
        self.enter(outer);
        done
    }

    /// Adds a warning about the current transformation: kustomize reports nothing.
    pub(crate) fn silent(&self, text: impl fmt::Display) {
        let text = format!("{}: {text}", self.at.borrow());
        self.add(Warning { kind: WarningKind::Silent, text });
    }

    /// Adds a warning that names its place itself.
    pub(crate) fn silent_at(&self, place: impl fmt::Display, text: impl fmt::Display) {
        self.add(Warning { kind: WarningKind::Silent, text: format!("{place}: {text}") });
    }

    /// Adds what kustomize prints too.
    pub(crate) fn notice(&self, text: String) {
        self.add(Warning { kind: WarningKind::Notice, text });
    }

    fn add(&self, mut warning: Warning) {
        let text = &mut warning.text;
        if text.len() > WARNING_BYTES_MAX {
            text.truncate(text.floor_char_boundary(WARNING_BYTES_MAX));
            text.push('…');
        }
        let mut all = self.all.borrow_mut();
        if all.contains(&warning) {
            return;
        }
        if all.len() < WARNINGS_MAX {
            all.push(warning);
        } else {
            self.left_out.set(self.left_out.get() + 1);
        }
    }

    pub(crate) fn into_vec(self) -> Vec<Warning> {
        let mut all = self.all.into_inner();
        let left_out = self.left_out.get();
        if left_out > 0 {
            let text = format!("{left_out} more warnings are left out: a build keeps {WARNINGS_MAX}");
            all.push(Warning { kind: WarningKind::Silent, text });
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_recorded_once_bounded_and_the_rest_is_counted() {
        let warnings = Warnings::default();
        let file = RelPath::parse("a/kustomization.yaml").unwrap();
        warnings.enter(Origin { file, ..Origin::default() });
        warnings.within("patches[0]", "", || {
            for number in 0..=WARNINGS_MAX {
                warnings.silent(number);
                warnings.silent(number);
            }
        });
        warnings.within("plugin p", "", || warnings.within("targets[1]", "", || warnings.silent("x")));
        let all = warnings.into_vec();
        assert_eq!(all[0].text, "/a/kustomization.yaml: patches[0]: 0");
        assert_eq!(all[WARNINGS_MAX].text, "3 more warnings are left out: a build keeps 1000");
    }

    #[test]
    fn a_field_that_the_caller_added_has_the_position_in_the_file() {
        let warnings = Warnings::default();
        warnings
            .within("patches[3]", "spec.patches[0]", || warnings.silent("x".repeat(2 * WARNING_BYTES_MAX)));
        warnings.within("plugin p", "", || warnings.within("targets[1]", "", || warnings.silent("y")));
        let all = warnings.into_vec();
        assert_eq!(all[1].text, "/: plugin p: targets[1]: y");
        assert!(all[0].text.starts_with("spec.patches[0]: xxx"), "{}", all[0]);
        assert_eq!(all[0].text.len(), WARNING_BYTES_MAX + '…'.len_utf8());
    }
}
