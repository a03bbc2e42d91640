//! The reference of a spec: a branch, a tag, a version range, a full name or a commit, and the choice among what a server lists.
//! Pure: the list is an argument.

use std::cmp::Ordering;

use gix::{ObjectId, protocol::handshake::Ref};
use plumb_version::{Constraint, Version, compare, parse_tag};

use crate::error::GitError;

/// The branch where no reference is set.
const DEFAULT_BRANCH: &str = "master";

/// Of more equal versions than this, those with the highest build metadata are looked at: for each, a commit is fetched.
const EQUAL_VERSIONS_MAX: usize = 8;

/// A reference that leads to a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// The tip of a branch.
    Branch(String),
    /// The tip of the branch `master`: no reference is named.
    Unset,
    /// A tag.
    Tag(String),
    /// The highest tag in a range of versions.
    Version(Constraint),
    /// A reference by its full name.
    Name(String),
    /// A commit; the branch, where one is given, is part of the revision and has to exist.
    Commit {
        /// The full hexadecimal id.
        commit: String,
        /// The branch that the commit must be on.
        branch: Option<String>,
    },
}

/// The commit that a reference leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The part of a revision before the `@`; none for a bare commit.
    pub name: Option<String>,
    /// The commit.
    pub(crate) commit: ObjectId,
    /// What is requested from the server: the commit, or the tag object that leads to it.
    pub(crate) want: ObjectId,
    /// For a commit on a branch: the tip of that branch.
    pub(crate) tip: Option<ObjectId>,
}

impl Found {
    /// A commit that no reference leads to.
    pub(crate) fn commit(commit: ObjectId) -> Self {
        Self { name: None, commit, want: commit, tip: None }
    }

    /// The commit's hexadecimal id.
    pub fn commit_hex(&self) -> String {
        self.commit.to_string()
    }

    /// The hexadecimal id of the tag object that the reference names; none for a branch or a lightweight tag.
    pub fn tag_hex(&self) -> Option<String> {
        (self.want != self.commit).then(|| self.want.to_string())
    }

    /// The name of the tag; none where it is a full name of something else, or a bare commit.
    pub fn tag_name(&self) -> Option<String> {
        let name = self.name.as_deref()?;
        Some(name.strip_prefix("refs/tags/").unwrap_or(name).to_owned())
    }

    /// The revision as a status has it: `main@sha1:…`.
    pub fn revision(&self) -> String {
        let algorithm = self.commit.kind();
        match &self.name {
            Some(name) => format!("{name}@{algorithm}:{}", self.commit),
            None => format!("{algorithm}:{}", self.commit),
        }
    }
}

impl Reference {
    /// The reference of a spec's fields: commit wins over name, name over semver, semver over tag, tag over branch.
    pub fn from_fields(
        branch: Option<&str>,
        tag: Option<&str>,
        semver: Option<&str>,
        name: Option<&str>,
        commit: Option<&str>,
    ) -> Result<Self, GitError> {
        let [branch, tag, semver, name, commit] =
            [branch, tag, semver, name, commit].map(|field| field.filter(|text| !text.is_empty()));
        Ok(match (commit, name, semver, tag) {
            (Some(commit), _, _, _) => {
                ObjectId::from_hex(commit.as_bytes())
                    .map_err(|_| GitError::CommitId { commit: commit.to_owned() })?;
                Self::Commit { commit: commit.to_ascii_lowercase(), branch: branch.map(str::to_owned) }
            }
            (_, Some(name), _, _) => Self::Name(name.to_owned()),
            (_, _, Some(range), _) => {
                Self::Version(Constraint::parse(range).map_err(|source| GitError::Range { source })?)
            }
            (_, _, _, Some(tag)) => Self::Tag(tag.to_owned()),
            _ => branch.map_or(Self::Unset, |branch| Self::Branch(branch.to_owned())),
        })
    }

    /// What is found for the highest version in a range where it has several tags on several commits: which one is meant depends on
    /// the times of the commits. Empty where there is nothing to decide.
    pub(crate) fn equal_versions(&self, refs: &[Ref]) -> Vec<Found> {
        let Self::Version(range) = self else { return Vec::new() };
        let mut equal = highest(range, refs);
        equal.drain(..equal.len().saturating_sub(EQUAL_VERSIONS_MAX));
        let is_decided = equal.windows(2).all(|pair| pair[0].commit == pair[1].commit);
        if is_decided { Vec::new() } else { equal }
    }

    /// The field of the spec that names what is looked for in the list.
    fn field(&self) -> Option<&'static str> {
        match self {
            Self::Unset => None,
            Self::Branch(_) | Self::Commit { .. } => Some("spec.ref.branch"),
            Self::Tag(_) => Some("spec.ref.tag"),
            Self::Version(_) => Some("spec.ref.semver"),
            Self::Name(_) => Some("spec.ref.name"),
        }
    }

    /// The branch that the commit has to be on, and the branch's tip, where the commit is not that tip itself.
    pub(crate) fn must_hold(&self, found: &Found) -> Option<(&str, ObjectId)> {
        match (self, found.tip) {
            (Self::Commit { branch: Some(branch), .. }, Some(tip)) if tip != found.commit => {
                Some((branch, tip))
            }
            _ => None,
        }
    }

    /// What to let the server filter its list by; none when no list is needed.
    pub(crate) fn prefix(&self) -> Option<String> {
        match self {
            Self::Branch(branch) | Self::Commit { branch: Some(branch), .. } => {
                Some(format!("refs/heads/{branch}"))
            }
            Self::Unset => Some(format!("refs/heads/{DEFAULT_BRANCH}")),
            Self::Tag(tag) => Some(format!("refs/tags/{tag}")),
            Self::Version(_) => Some("refs/tags/".to_owned()),
            Self::Name(name) => Some(name.clone()),
            Self::Commit { branch: None, .. } => None,
        }
    }

    /// The commit among the listed references; an error names what is missing.
    pub(crate) fn choose(&self, url: &str, refs: &[Ref]) -> Result<Found, GitError> {
        let missing = |reference: String| GitError::ReferenceNotFound {
            url: url.to_owned(),
            reference,
            field: self.field(),
            default_branch: default_branch(refs),
        };
        let exact = |full: String, name: &str| {
            let target =
                refs.iter().find_map(|listed| target(listed).filter(|(listed, _, _)| *listed == full));
            let (_, want, commit) = target.ok_or_else(|| missing(full.clone()))?;
            Ok(Found { name: Some(name.to_owned()), commit, want, tip: None })
        };
        match self {
            Self::Branch(branch) => exact(format!("refs/heads/{branch}"), branch),
            Self::Unset => exact(format!("refs/heads/{DEFAULT_BRANCH}"), DEFAULT_BRANCH),
            Self::Tag(tag) => exact(format!("refs/tags/{tag}"), tag),
            Self::Name(name) => exact(name.clone(), name),
            Self::Version(range) => highest(range, refs).pop().ok_or_else(|| GitError::NoVersion {
                range: range.as_str().to_owned(),
                highest: highest_tag(refs),
            }),
            Self::Commit { commit, branch } => {
                let id = ObjectId::from_hex(commit.as_bytes())
                    .map_err(|_| GitError::CommitId { commit: commit.clone() })?;
                let branch = branch.as_deref();
                let tip = branch.map(|branch| exact(format!("refs/heads/{branch}"), branch)).transpose()?;
                let tip = tip.map(|tip| tip.commit);
                Ok(Found { name: branch.map(str::to_owned), commit: id, want: id, tip })
            }
        }
    }
}

/// The tags of the highest version in the range, in the order of their build metadata, then of their texts. They can be several:
/// `v1.2.0` and `1.2.0`, `1.2.0+1` and `1.2.0+2`.
fn highest(range: &Constraint, refs: &[Ref]) -> Vec<Found> {
    let mut highest: Vec<(Version, Found)> = Vec::new();
    for listed in refs {
        let Some((full, want, commit)) = target(listed) else { continue };
        let Some(tag) = full.strip_prefix("refs/tags/") else { continue };
        let Some(version) = parse_tag(tag).filter(|version| range.matches(version)) else { continue };
        let order = highest.first().map_or(Ordering::Equal, |(first, _)| compare(&version, first));
        if order.is_gt() {
            highest.clear();
        }
        if order.is_ge() {
            highest.push((version, Found { name: Some(tag.to_owned()), commit, want, tip: None }));
        }
    }
    highest.sort_by(|(a, a_found), (b, b_found)| {
        a.build.cmp(&b.build).then_with(|| a_found.name.cmp(&b_found.name))
    });
    highest.into_iter().map(|(_, found)| found).collect()
}

/// The tag with the highest version, in a range or not.
fn highest_tag(refs: &[Ref]) -> Option<String> {
    let versions = refs.iter().filter_map(|listed| {
        let (full, ..) = target(listed)?;
        let tag = full.strip_prefix("refs/tags/")?.to_owned();
        Some((parse_tag(&tag)?, tag))
    });
    versions.max_by(|(a, _), (b, _)| compare(a, b)).map(|(_, tag)| tag)
}

/// The target of `HEAD`, if it is listed.
pub(crate) fn default_branch(refs: &[Ref]) -> Option<String> {
    refs.iter().find_map(|listed| match listed {
        Ref::Symbolic { full_ref_name, target, .. } | Ref::Unborn { full_ref_name, target } => {
            let branch = target.to_string().strip_prefix("refs/heads/")?.to_owned();
            (full_ref_name == "HEAD").then_some(branch)
        }
        Ref::Peeled { .. } | Ref::Direct { .. } => None,
    })
}

/// A listed reference as (full name, what to request, the commit it leads to).
fn target(listed: &Ref) -> Option<(String, ObjectId, ObjectId)> {
    match listed {
        Ref::Peeled { full_ref_name, tag, object } => Some((full_ref_name.to_string(), *tag, *object)),
        Ref::Direct { full_ref_name, object } => Some((full_ref_name.to_string(), *object, *object)),
        Ref::Symbolic { full_ref_name, tag, object, target: _ } => {
            Some((full_ref_name.to_string(), tag.unwrap_or(*object), *object))
        }
        Ref::Unborn { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: char) -> ObjectId {
        ObjectId::from_hex(digit.to_string().repeat(40).as_bytes()).unwrap()
    }

    fn listed() -> Vec<Ref> {
        let direct = |name: &str, digit| Ref::Direct { full_ref_name: name.into(), object: id(digit) };
        vec![
            direct("refs/heads/main", 'a'),
            direct("refs/heads/main-2", 'b'),
            direct("refs/tags/v1.0.0", 'c'),
            Ref::Peeled { full_ref_name: "refs/tags/v1.2.0".into(), tag: id('1'), object: id('d') },
            direct("refs/tags/v2.0.0-rc.1", 'e'),
            direct("refs/tags/nightly", 'f'),
            direct("refs/pull/1/head", '9'),
        ]
    }

    #[track_caller]
    fn check(reference: Result<Reference, GitError>, expect: &str) {
        let actual = match reference.and_then(|reference| reference.choose("http://host/x", &listed())) {
            Ok(found) => found.revision(),
            Err(error) => error.to_string(),
        };
        let expect = expect
            .replace("AAA", &"a".repeat(40))
            .replace("DDD", &"d".repeat(40))
            .replace("999", &"9".repeat(40));
        assert_eq!(actual, expect);
    }

    #[test]
    fn each_form_has_its_revision() {
        check(Reference::from_fields(Some("main"), None, None, None, None), "main@sha1:AAA");
        check(Reference::from_fields(None, Some("v1.2.0"), None, None, None), "v1.2.0@sha1:DDD");
        check(Reference::from_fields(None, None, Some(">=1.0"), None, None), "v1.2.0@sha1:DDD");
        check(
            Reference::from_fields(None, None, None, Some("refs/pull/1/head"), None),
            "refs/pull/1/head@sha1:999",
        );
        let commit = "9".repeat(40);
        check(Reference::from_fields(None, None, None, None, Some(&commit)), "sha1:999");
        check(Reference::from_fields(Some("main"), None, None, None, Some(&commit)), "main@sha1:999");
    }

    #[test]
    fn tags_of_equal_versions_on_several_commits_are_left_to_decide() {
        let direct = |name: &str, digit| Ref::Direct { full_ref_name: name.into(), object: id(digit) };
        let names = |range: &str, refs: &[Ref]| {
            let reference = Reference::from_fields(None, None, Some(range), None, None).unwrap();
            let equal = reference.equal_versions(refs);
            equal.into_iter().map(|found| found.name.unwrap()).collect::<Vec<_>>()
        };
        let refs = [
            direct("refs/tags/1.3.0+9", 'a'),
            direct("refs/tags/v1.3.0+10", 'b'),
            direct("refs/tags/1.2.0", 'c'),
            direct("refs/tags/v1.2.0", 'd'),
            direct("refs/tags/v2.0.0", 'd'),
            direct("refs/tags/2.00.0", 'd'),
        ];
        assert_eq!(names("~1.3", &refs), ["1.3.0+9", "v1.3.0+10"]);
        assert_eq!(names("~1.2", &refs), ["1.2.0", "v1.2.0"]);
        assert_eq!(names("*", &refs), [] as [&str; 0], "both lead to one commit");
        let many: Vec<Ref> = (0..20)
            .map(|build| direct(&format!("refs/tags/1.0.0+{build}"), if build % 2 == 0 { 'a' } else { 'b' }))
            .collect();
        assert_eq!(names("*", &many).first().map(String::as_str), Some("1.0.0+12"), "the highest eight");
    }

    #[test]
    fn leading_zeros_and_pre_releases_are_read_as_flux_reads_them() {
        let direct = |name: &str, digit| Ref::Direct { full_ref_name: name.into(), object: id(digit) };
        let refs = [
            direct("refs/tags/v2025.02.03", 'a'),
            direct("refs/tags/2025.1.9", 'b'),
            direct("refs/tags/v3000.0.0-rc.1", 'c'),
        ];
        for (range, expect) in [(">=2025", "v2025.02.03"), (">=2025.1.0-0 <3000", "v3000.0.0-rc.1")] {
            let reference = Reference::from_fields(None, None, Some(range), None, None).unwrap();
            let found = reference.choose("http://host/x", &refs).unwrap();
            assert_eq!(found.name.as_deref(), Some(expect), "{range}");
        }
    }

    #[test]
    fn the_more_exact_field_wins() {
        let commit = "9".repeat(40);
        let all = |commit| {
            Reference::from_fields(Some("main"), Some("t"), Some("1.x"), Some("refs/heads/x"), commit)
        };
        assert!(matches!(all(Some(&commit)).unwrap(), Reference::Commit { .. }));
        assert!(matches!(all(None).unwrap(), Reference::Name(_)));
        let fields = Reference::from_fields(Some("main"), Some("t"), Some("1.x"), Some(""), None);
        assert!(matches!(fields.unwrap(), Reference::Version(_)));
        assert_eq!(Reference::from_fields(None, None, None, None, None).unwrap(), Reference::Unset);
    }

    #[test]
    fn what_is_missing_is_named() {
        check(
            Reference::from_fields(Some("nope"), None, None, None, None),
            "couldn't find remote ref \"refs/heads/nope\" in 'http://host/x'",
        );
        check(Reference::from_fields(None, None, Some("^9"), None, None), "no match found for semver: ^9");
        check(
            Reference::from_fields(None, None, None, None, Some("abc")),
            "commit \"abc\" is not a full hexadecimal id",
        );
        check(
            Reference::from_fields(Some("nope"), None, None, None, Some(&"9".repeat(40))),
            "couldn't find remote ref \"refs/heads/nope\" in 'http://host/x'",
        );
    }
}
