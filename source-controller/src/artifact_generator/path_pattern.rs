//! `spec.pathPattern`: the directories of a source that lead to artifacts, and what their names stand for in the spec. Pure.

use std::collections::{BTreeMap, BTreeSet};

use plumb_api::source::{CopyOperation, OutputArtifact};
use plumb_filetree::{MemoryTree, RelPath};
use regex::Regex;

/// Artifacts of one object.
const ARTIFACTS_MAX: usize = 1_000;
/// Characters of a label's name and of its value.
const LABEL_CHARACTERS_MAX: usize = 63;
/// Characters of the name of an object.
const NAME_CHARACTERS_MAX: usize = 253;

/// A pattern of directories.
#[derive(Clone, Debug)]
pub struct PathPattern {
    text: String,
    alias: String,
    names: Vec<String>,
    regex: Regex,
}

impl PartialEq for PathPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PathPattern {}

/// What the captures of a pattern stand for in one directory, by their names.
type Captures = BTreeMap<String, String>;

impl PathPattern {
    /// Parses `@alias/apps/{app}`: a capture stands for one or more characters of a name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let invalid = || format!("invalid pathPattern format: {text}");
        let (alias, pattern) =
            text.strip_prefix('@').and_then(|rest| rest.split_once('/')).ok_or_else(invalid)?;
        let failed = |problem: String| format!("pathPattern {text:?}: {problem}");
        let (mut regex, mut names) = ("^".to_owned(), Vec::new());
        for part in parts(pattern).map_err(failed)? {
            match part {
                Part::Text(text) => regex.push_str(&regex::escape(text)),
                Part::Capture(name) => {
                    if names.iter().any(|known| known == name) {
                        return Err(failed(format!("duplicate capture variable {name:?}")));
                    }
                    // Go takes it with more characters; a label has no more.
                    if !is_label(name) || name.is_empty() {
                        return Err(failed(format!(
                            "capture variable {name:?} is not a valid Kubernetes label key"
                        )));
                    }
                    regex.push_str("([^/]+)");
                    names.push(name.to_owned());
                }
            }
        }
        regex.push('$');
        let regex = Regex::new(&regex).map_err(|_| failed("it cannot be compiled".to_owned()))?;
        Ok(Self { text: text.to_owned(), alias: alias.to_owned(), names, regex })
    }

    /// The source whose directories are looked at.
    pub fn alias(&self) -> &str {
        &self.alias
    }

    /// The artifacts of all directories that match, each with its labels, in the order of the directories.
    pub fn expand(
        &self,
        tree: &MemoryTree,
        artifacts: &[OutputArtifact],
    ) -> Result<Vec<(OutputArtifact, Captures)>, String> {
        let failed = |problem: String| format!("pathPattern {:?}: {problem}", self.text);
        let mut seen: BTreeMap<String, RelPath> = BTreeMap::new();
        let mut expanded = Vec::new();
        let directories = tree.iter().filter(|(_, file)| file.is_none()).map(|(path, _)| path);
        for directory in directories.filter(|path| !path.is_root()) {
            let Some(captures) = self.captures(directory) else { continue };
            let labels = labels(&captures).map_err(failed)?;
            for artifact in artifacts {
                let rendered = render(artifact, &captures, &labels).map_err(|problem| {
                    let name = &artifact.name;
                    failed(format!("failed to render artifact {name} for match {directory}: {problem}"))
                })?;
                if !is_object_name(&rendered.name) {
                    return Err(failed(format!(
                        "rendered artifact name {:?} is not a valid Kubernetes object name",
                        rendered.name
                    )));
                }
                if let Some(other) = seen.insert(rendered.name.clone(), directory.clone()) {
                    return Err(failed(format!(
                        "directories {:?} and {:?} both resolve to artifact name {:?}",
                        other.as_str(),
                        directory.as_str(),
                        rendered.name
                    )));
                }
                if expanded.len() == ARTIFACTS_MAX {
                    return Err(failed(format!(
                        "it leads to more than {ARTIFACTS_MAX} artifacts, which is the limit"
                    )));
                }
                expanded.push((rendered, labels.clone()));
            }
        }
        Ok(expanded)
    }

    fn captures(&self, directory: &RelPath) -> Option<Captures> {
        let found = self.regex.captures(directory.as_str())?;
        let values = found.iter().skip(1).flatten().map(|value| value.as_str().to_owned());
        Some(self.names.iter().cloned().zip(values).collect())
    }
}

/// The captures in lower case, as labels: names of objects have no capitals.
fn labels(captures: &Captures) -> Result<Captures, String> {
    let lower = captures.iter().map(|(name, value)| (name.clone(), value.to_lowercase()));
    lower
        .map(|(name, value)| {
            if is_label(&value) {
                return Ok((name, value));
            }
            Err(format!(
                "captured value {value:?} for variable {name:?} is not a valid Kubernetes label value"
            ))
        })
        .collect()
}

/// An artifact of a directory: paths have its name as it is, the artifact has it in lower case.
fn render(
    artifact: &OutputArtifact,
    captures: &Captures,
    labels: &Captures,
) -> Result<OutputArtifact, String> {
    let copy = artifact.copy.iter().map(|operation| {
        let (from, to) = (fill(&operation.from, captures)?, fill(&operation.to, captures)?);
        Ok(CopyOperation { from, to, ..operation.clone() })
    });
    let copy = copy.collect::<Result<_, String>>()?;
    Ok(OutputArtifact { name: fill(&artifact.name, labels)?, copy, ..artifact.clone() })
}

fn fill(template: &str, values: &Captures) -> Result<String, String> {
    let failed = |problem: String| format!("invalid template {template:?}: {problem}");
    let mut filled = String::new();
    for part in parts(template).map_err(failed)? {
        filled.push_str(match part {
            Part::Text(text) => text,
            Part::Capture(name) => values
                .get(name)
                .ok_or_else(|| failed(format!("capture variable {name:?} is not defined by pathPattern")))?,
        });
    }
    Ok(filled)
}

enum Part<'a> {
    Text(&'a str),
    Capture(&'a str),
}

/// The captures of a text, `{name}`, and what is between them.
fn parts(text: &str) -> Result<Vec<Part<'_>>, String> {
    let (mut parts, mut offset) = (Vec::new(), 0);
    while let Some(at) = text[offset..].find(['{', '}']).map(|at| offset + at) {
        if text[at..].starts_with('}') {
            return Err(format!("invalid capture ending at offset {at}: missing opening brace"));
        }
        let rest = &text[at + 1..];
        let length = rest
            .find('}')
            .ok_or_else(|| format!("invalid capture starting at offset {at}: missing closing brace"))?;
        let name = &rest[..length];
        if name.is_empty() {
            return Err("empty capture variable".to_owned());
        }
        if !is_capture_name(name) {
            return Err(format!(
                "capture variable {name:?} must be a valid capture name matching [A-Za-z_][A-Za-z0-9_]*"
            ));
        }
        parts.push(Part::Text(&text[offset..at]));
        parts.push(Part::Capture(name));
        offset = at + length + 2;
    }
    parts.push(Part::Text(&text[offset..]));
    Ok(parts)
}

fn is_capture_name(name: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(is_known) && !name.starts_with(|first: char| first.is_ascii_digit())
}

/// Whether a text can be the value of a label, or, unless it is empty, the name of one.
fn is_label(text: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_end = |byte: Option<u8>| byte.is_none_or(|byte| byte.is_ascii_alphanumeric());
    text.len() <= LABEL_CHARACTERS_MAX
        && text.bytes().all(is_known)
        && is_end(text.bytes().next())
        && is_end(text.bytes().last())
}

/// Whether a text can be the name of an object: a DNS subdomain.
fn is_object_name(text: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(is_known) && !part.starts_with('-') && !part.ends_with('-')
    };
    text.len() <= NAME_CHARACTERS_MAX && text.split('.').all(is_part)
}

/// The aliases that copy operations of templates begin with: they have no captures in them.
pub fn aliases(artifacts: &[OutputArtifact]) -> BTreeSet<&str> {
    let operations = artifacts.iter().flat_map(|artifact| &artifact.copy);
    operations.filter_map(|one| Some(one.from.strip_prefix('@')?.split_once('/')?.0)).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use plumb_filetree::TreeLimits;
    use serde_json::json;

    use super::*;

    fn tree(files: &[&str]) -> MemoryTree {
        let mut tree = MemoryTree::builder(TreeLimits::DEFAULT);
        for path in files {
            tree.file(&RelPath::parse(path).unwrap(), Bytes::from_static(b"x"), false).unwrap();
        }
        tree.build()
    }

    fn artifact(name: &str, from: &str, to: &str) -> OutputArtifact {
        let value = json!({
            "name": name, "revision": "@repo",
            "copy": [{ "from": from, "to": to, "exclude": ["*.md"], "strategy": "Merge", "optional": true }],
        });
        serde_json::from_value(value).unwrap()
    }

    /// Each artifact as `name [labels] from > to`.
    fn expanded(pattern: &str, files: &[&str], artifacts: &[OutputArtifact]) -> Result<Vec<String>, String> {
        let all = PathPattern::parse(pattern)?.expand(&tree(files), artifacts)?;
        let shown = all.into_iter().map(|(artifact, labels)| {
            let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let CopyOperation { from, to, exclude, optional, .. } = &artifact.copy[0];
            assert!(*optional && exclude == &["*.md"] && artifact.revision.as_deref() == Some("@repo"));
            format!("{} [{}] {from} > {to}", artifact.name, labels.join(","))
        });
        Ok(shown.collect())
    }

    const FILES: [&str; 4] = [
        "apps/Auth/envs/Dev/a.yaml",
        "apps/Auth/envs/prod/a.yaml",
        "apps/payments/a.yaml",
        "apps/web/envs/dev",
    ];

    #[test]
    fn each_directory_that_matches_leads_to_the_artifacts() {
        let one = [artifact("app-{app}", "@repo/apps/{app}/**", "@artifact/{app}/")];
        assert_eq!(
            expanded("@repo/apps/{app}", &FILES, &one).unwrap(),
            [
                "app-auth [app=auth] @repo/apps/Auth/** > @artifact/Auth/",
                "app-payments [app=payments] @repo/apps/payments/** > @artifact/payments/",
                "app-web [app=web] @repo/apps/web/** > @artifact/web/",
            ]
        );
        let two = [
            artifact("{app}-{env}", "@repo/apps/{app}/envs/{env}/**", "@artifact/"),
            artifact("{env}.{app}", "@repo/apps/{app}/*", "@artifact/"),
        ];
        assert_eq!(
            expanded("@repo/apps/{app}/envs/{env}", &FILES, &two).unwrap(),
            [
                "auth-dev [app=auth,env=dev] @repo/apps/Auth/envs/Dev/** > @artifact/",
                "dev.auth [app=auth,env=dev] @repo/apps/Auth/* > @artifact/",
                "auth-prod [app=auth,env=prod] @repo/apps/Auth/envs/prod/** > @artifact/",
                "prod.auth [app=auth,env=prod] @repo/apps/Auth/* > @artifact/",
            ],
            "apps/web/envs/dev is a file"
        );
        let none = expanded("@repo/other/{app}", &FILES, &one).unwrap();
        assert_eq!(none, [] as [&str; 0]);
    }

    #[test]
    fn a_capture_is_a_part_of_a_name_and_all_else_is_literal() {
        let files = ["a.b-x/f", "a.b-/f", "acb-y/f", "z/a.b-x/f", "p*q-1/f"];
        let one = [artifact("n-{x}", "@repo/{x}", "@artifact/")];
        assert_eq!(expanded("@repo/a.b-{x}", &files, &one).unwrap(), ["n-x [x=x] @repo/x > @artifact/"]);
        assert_eq!(expanded("@repo/p*q-{x}", &files, &one).unwrap(), ["n-1 [x=1] @repo/1 > @artifact/"]);
    }

    #[test]
    fn what_is_wrong_with_a_pattern_is_named() {
        let one = [artifact("app-{app}", "@repo/x", "@artifact/")];
        for (pattern, expect) in [
            ("x", "invalid pathPattern format: x"),
            ("@repo", "invalid pathPattern format: @repo"),
            ("@repo/{}", "pathPattern \"@repo/{}\": empty capture variable"),
            (
                "@repo/{a-b}",
                "pathPattern \"@repo/{a-b}\": capture variable \"a-b\" must be a valid capture name matching [A-Za-z_][A-Za-z0-9_]*",
            ),
            (
                "@repo/{1a}",
                "pathPattern \"@repo/{1a}\": capture variable \"1a\" must be a valid capture name matching [A-Za-z_][A-Za-z0-9_]*",
            ),
            (
                "@repo/{_a}",
                "pathPattern \"@repo/{_a}\": capture variable \"_a\" is not a valid Kubernetes label key",
            ),
            (
                "@repo/a/{b",
                "pathPattern \"@repo/a/{b\": invalid capture starting at offset 2: missing closing brace",
            ),
            (
                "@repo/a}",
                "pathPattern \"@repo/a}\": invalid capture ending at offset 1: missing opening brace",
            ),
            ("@repo/{a}/{a}", "pathPattern \"@repo/{a}/{a}\": duplicate capture variable \"a\""),
        ] {
            assert_eq!(expanded(pattern, &FILES, &one), Err(expect.to_owned()));
        }
    }

    #[test]
    fn what_a_directory_cannot_lead_to_is_named() {
        let pattern = "@repo/apps/{app}";
        let check = |name: &str, files: &[&str], expect: &str| {
            let one = [artifact(name, "@repo/x", "@artifact/")];
            assert_eq!(expanded(pattern, files, &one), Err(format!("pathPattern {pattern:?}: {expect}")));
        };
        let long = "a".repeat(64);
        for value in [".hidden", "my app", "end-", &long, "ä"] {
            let text = format!(
                "captured value {value:?} for variable \"app\" is not a valid Kubernetes label value"
            );
            check("n-{app}", &[&format!("apps/{value}/f")], &text);
        }
        check(
            "{app}..x",
            &["apps/a/f"],
            "rendered artifact name \"a..x\" is not a valid Kubernetes object name",
        );
        check(
            "n-{app}",
            &["apps/Auth/f", "apps/auth/f"],
            "directories \"apps/Auth\" and \"apps/auth\" both resolve to artifact name \"n-auth\"",
        );
        check(
            "n-{other}",
            &["apps/a/f"],
            "failed to render artifact n-{other} for match apps/a: invalid template \"n-{other}\": capture variable \"other\" is not \
             defined by pathPattern",
        );
        check(
            "same",
            &["apps/a/f", "apps/b/f"],
            "directories \"apps/a\" and \"apps/b\" both resolve to artifact name \"same\"",
        );
        let many: Vec<String> = (0..=ARTIFACTS_MAX).map(|number| format!("apps/{number}/f")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        check("n-{app}", &many, "it leads to more than 1000 artifacts, which is the limit");
    }
}
