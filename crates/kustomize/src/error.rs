//! Why a build was rejected, with the position of the cause in the tree.

use std::fmt;

use plumb_filetree::RelPath;
use plumb_manifests::yaml::YamlError;

/// The meaning of an error for the author of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The input is wrong; kustomize rejects it too.
    Invalid,
    /// kustomize may accept the input; this engine does not do it.
    Unsupported,
    /// The input exceeds a limit.
    OverLimit,
    /// The input is valid: the caller canceled the build.
    Interrupted,
}

/// A rejected build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildError(
    /// Boxed, because results are returned through recursions as deep as objects.
    Box<Reason>,
);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Reason {
    kind: ErrorKind,
    place: Option<Place>,
    /// A field outside of the tree that caused the error; then there is no position.
    field: Option<String>,
    message: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    file: RelPath,
    /// Line and column, from 1.
    position: Option<(usize, usize)>,
}

impl BuildError {
    fn new(kind: ErrorKind, place: Option<Place>, message: String) -> Self {
        Self(Box::new(Reason { kind, place, field: None, message }))
    }

    /// The input is wrong.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, None, message.into())
    }

    /// The engine does not do this.
    pub(crate) fn unsupported(what: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Unsupported, None, format!("{what} is not supported"))
    }

    /// The input is too much.
    pub(crate) fn over_limit(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::OverLimit, None, message.into())
    }

    /// The build was canceled.
    pub(crate) fn interrupted() -> Self {
        Self::new(ErrorKind::Interrupted, None, "the build was interrupted".to_owned())
    }

    /// A text that is not YAML.
    pub(crate) fn yaml(file: &RelPath, error: &YamlError) -> Self {
        let place = Place { file: file.clone(), position: Some((error.line, error.column)) };
        let message = format!("MalformedYAMLError: {}", error.message);
        Self::new(ErrorKind::Invalid, Some(place), message)
    }

    /// Names the file, unless a deeper one, or a field outside of all files, is named already.
    pub(crate) fn in_file(self, file: &RelPath) -> Self {
        self.at(Place { file: file.clone(), position: None })
    }

    /// Names the line, unless one is named already.
    pub(crate) fn at_line(self, file: &RelPath, line: usize) -> Self {
        self.at(Place { file: file.clone(), position: Some((line, 1)) })
    }

    fn at(mut self, place: Place) -> Self {
        if self.0.field.is_none() {
            self.0.place.get_or_insert(place);
        }
        self
    }

    /// Names the field of the caller that caused the error, unless a file is named already.
    pub(crate) fn in_field(mut self, field: &str) -> Self {
        if self.0.place.is_none() && !field.is_empty() {
            self.0.field.get_or_insert_with(|| field.to_owned());
        }
        self
    }

    /// Puts what was attempted in front.
    pub(crate) fn while_doing(mut self, attempt: impl fmt::Display) -> Self {
        self.0.message = format!("{attempt}: {}", self.0.message);
        self
    }

    /// The meaning of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The file of the error, if there is one.
    pub fn file(&self) -> Option<&RelPath> {
        self.0.place.as_ref().map(|place| &place.file)
    }

    /// The field of the caller's additions that caused the error; then it is in no file of the tree.
    pub fn field(&self) -> Option<&str> {
        self.0.field.as_deref()
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.0.place {
            write!(f, "/{}", place.file)?;
            if let Some((line, column)) = place.position {
                write!(f, ":{line}:{column}")?;
            }
            write!(f, ": ")?;
        }
        if let Some(field) = &self.0.field {
            write!(f, "{field}: ")?;
        }
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for BuildError {}
