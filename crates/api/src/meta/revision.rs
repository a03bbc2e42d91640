//! Revisions (`main@sha1:…`) and digests (`sha256:…`), read and printed. Hashing never enters.

use std::fmt;
use std::str::FromStr;

/// The longest revision that is read.
pub const REVISION_BYTES_MAX: usize = 4096;

/// An algorithm and what it gave, as `algorithm:encoded`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: String,
    encoded: String,
}

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// The parts are not of the form that the schema asks for.
    #[error("{text:?} is not a digest of the form algorithm:encoded")]
    Form {
        /// What was read.
        text: String,
    },
    /// A known algorithm with another number of digits than it gives.
    #[error("a digest of {algorithm} has {expected} hexadecimal digits, {text:?} has not")]
    Length {
        /// The algorithm.
        algorithm: &'static str,
        /// How many digits it gives.
        expected: usize,
        /// What was read.
        text: String,
    },
}

/// The algorithms whose length is known, with their number of hexadecimal digits.
const ALGORITHMS: &[(&str, usize)] = &[("sha1", 40), ("sha256", 64), ("sha384", 96), ("sha512", 128)];

impl Digest {
    /// The digest of a file by SHA-256, from its hexadecimal digits.
    pub fn sha256(hex: &str) -> Result<Self, DigestError> {
        format!("sha256:{hex}").parse()
    }

    /// The name of the algorithm.
    pub fn algorithm(&self) -> &str {
        &self.algorithm
    }

    /// What it gave, without the algorithm.
    pub fn encoded(&self) -> &str {
        &self.encoded
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.algorithm, self.encoded)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let form = || DigestError::Form { text: text.to_owned() };
        let (algorithm, encoded) = text.split_once(':').ok_or_else(form)?;
        if !is_algorithm(algorithm) || !is_encoded(encoded) {
            return Err(form());
        }
        if let Some((algorithm, expected)) = ALGORITHMS.iter().copied().find(|(name, _)| *name == algorithm) {
            let hexadecimal = encoded.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            if encoded.len() != expected || !hexadecimal {
                return Err(DigestError::Length { algorithm, expected, text: text.to_owned() });
            }
        }
        Ok(Self { algorithm: algorithm.to_owned(), encoded: encoded.to_owned() })
    }
}

/// Words of small letters and digits, joined by single `.`, `+`, `_` or `-`.
fn is_algorithm(text: &str) -> bool {
    text.split(['.', '+', '_', '-']).all(|word| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    })
}

fn is_encoded(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"=_-".contains(&byte))
}

/// Which state of a source an artifact holds: a name (branch, tag, version; may be empty), a digest, or both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    name: String,
    digest: Option<Digest>,
}

/// Why a text is not a revision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevisionError {
    /// Nothing there.
    #[error("a revision may not be empty")]
    Empty,
    /// Longer than any revision.
    #[error("a revision has at most {REVISION_BYTES_MAX} bytes, this one has {bytes}")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
}

impl Revision {
    /// A commit that was found under a name (`main`, `v1.2.3`, `refs/pull/1/head`); an empty name for a commit alone.
    pub fn git(name: &str, commit: &str) -> Result<Self, DigestError> {
        let algorithm = if commit.len() == 64 { "sha256" } else { "sha1" };
        let digest = format!("{algorithm}:{commit}").parse()?;
        Ok(Self { name: name.to_owned(), digest: Some(digest) })
    }

    /// The name; empty where there is only a digest.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The digest, where there is one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The hexadecimal digits of the commit or content; the name where there is no digest.
    pub fn identity(&self) -> &str {
        self.digest.as_ref().map_or(&self.name, Digest::encoded)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.digest {
            Some(digest) if self.name.is_empty() => digest.fmt(out),
            Some(digest) => write!(out, "{}@{digest}", self.name),
            None => out.write_str(&self.name),
        }
    }
}

impl FromStr for Revision {
    type Err = RevisionError;

    /// What stands after the last `@` is the digest if it is one; a name may hold an `@` itself.
    fn from_str(text: &str) -> Result<Self, RevisionError> {
        if text.is_empty() {
            return Err(RevisionError::Empty);
        }
        if text.len() > REVISION_BYTES_MAX {
            return Err(RevisionError::TooLong { bytes: text.len() });
        }
        let (name, digest) = text.rsplit_once('@').unwrap_or(("", text));
        Ok(match digest.parse() {
            Ok(digest) => Self { name: name.to_owned(), digest: Some(digest) },
            Err(_) => Self { name: text.to_owned(), digest: None },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "363a6a8fe6a7f13e05d34c163b0ef02a777da20a";

    #[track_caller]
    fn check(text: &str, name: &str, digest: Option<&str>) {
        let revision: Revision = text.parse().unwrap();
        assert_eq!(revision.name(), name, "{text}");
        assert_eq!(revision.digest().map(ToString::to_string).as_deref(), digest, "{text}");
        assert_eq!(revision.to_string(), text);
    }

    #[test]
    fn a_revision_is_taken_apart_and_printed_as_it_was() {
        let sha1 = format!("sha1:{COMMIT}");
        check(&format!("main@{sha1}"), "main", Some(&sha1));
        check(&sha1, "", Some(&sha1));
        check(&format!("refs/heads/feature/x@{sha1}"), "refs/heads/feature/x", Some(&sha1));
        check(&format!("a@b@{sha1}"), "a@b", Some(&sha1));
        let sha256 = format!("sha256:{}", "a".repeat(64));
        check(&format!("latest@{sha256}"), "latest", Some(&sha256));
        check("6.5.4", "6.5.4", None);
        check("user@host", "user@host", None);
    }

    #[test]
    fn a_commit_under_a_name_prints_as_flux_prints_it() {
        assert_eq!(Revision::git("main", COMMIT).unwrap().to_string(), format!("main@sha1:{COMMIT}"));
        assert_eq!(Revision::git("", COMMIT).unwrap().to_string(), format!("sha1:{COMMIT}"));
        assert_eq!(Revision::git("v1", &"b".repeat(64)).unwrap().digest().unwrap().algorithm(), "sha256");
        assert_eq!(Revision::git("main", COMMIT).unwrap().identity(), COMMIT);
    }

    #[test]
    fn what_is_no_commit_makes_no_revision() {
        assert!(Revision::git("main", "363a6a8").is_err());
        assert!(Revision::git("main", &"G".repeat(40)).is_err());
    }

    #[test]
    fn an_empty_or_endless_revision_is_refused() {
        assert_eq!("".parse::<Revision>(), Err(RevisionError::Empty));
        let long = "x".repeat(REVISION_BYTES_MAX + 1);
        assert_eq!(long.parse::<Revision>(), Err(RevisionError::TooLong { bytes: REVISION_BYTES_MAX + 1 }));
    }

    #[test]
    fn a_digest_of_a_known_algorithm_has_its_length() {
        assert!("sha256:abc".parse::<Digest>().is_err());
        assert!(Digest::sha256(&"0".repeat(64)).is_ok());
        assert!(Digest::sha256(&"A".repeat(64)).is_err());
    }

    #[test]
    fn a_digest_has_two_parts_of_the_right_letters() {
        for text in ["", ":", "sha256", "sha256:", ":abc", "SHA:abc", "a..b:abc", "x:a/b", "x:a b"] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
        assert_eq!("blake3+x:Ab=_-".parse::<Digest>().unwrap().to_string(), "blake3+x:Ab=_-");
    }
}
