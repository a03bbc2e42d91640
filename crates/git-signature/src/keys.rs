//! The keys that are trusted: files of the formats that `gpg --export --armor` and `ssh-keygen` write, by the suffix of their names.

use crate::{pgp::PgpKeys, ssh::SshKeys};

/// The suffix of files with SSH public keys, a line each. All other files have PGP keys.
const SSH_SUFFIX: &str = ".sshpub";

/// Keys whose signatures are accepted.
#[derive(Default)]
pub struct TrustedKeys {
    pub(crate) pgp: PgpKeys,
    pub(crate) ssh: SshKeys,
    unusable: Vec<UnusableKey>,
}

/// A file, or a line of one, that holds no key that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusableKey {
    /// The name of the file: the key of a Secret.
    pub name: String,
    /// What is wrong, without the content.
    pub problem: String,
}

impl TrustedKeys {
    /// The keys of files. What cannot be read is noted and left out: it would verify nothing.
    pub fn parse<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut keys = Self::default();
        for (name, content) in files {
            let problems = match std::str::from_utf8(content) {
                Ok(text) if name.ends_with(SSH_SUFFIX) => keys.ssh.add(text),
                Ok(text) => keys.pgp.add(text),
                Err(_) => vec!["it is not text".to_owned()],
            };
            let unusable = |problem| UnusableKey { name: name.to_owned(), problem };
            keys.unusable.extend(problems.into_iter().map(unusable));
        }
        keys.pgp.attribute_revocations();
        keys
    }

    /// What could not be read, in the order of the files.
    pub fn unusable(&self) -> &[UnusableKey] {
        &self.unusable
    }
}
