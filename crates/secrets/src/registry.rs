//! The Secret of a container registry: of the type `kubernetes.io/dockerconfigjson`, or the older `kubernetes.io/dockercfg`.

use plumb_api::sealed::Sealed;

use crate::read::SecretContent;

/// The file of credentials in a Secret, which is read elsewhere.
pub enum RegistrySecret<'a> {
    /// The key `.dockerconfigjson`.
    Config(&'a Sealed),
    /// The key `.dockercfg`: the older form.
    Legacy(&'a Sealed),
}

impl<'a> RegistrySecret<'a> {
    /// The file; none in a Secret of another type.
    pub fn from_content(content: &'a SecretContent) -> Option<Self> {
        let config = content.get(".dockerconfigjson").map(Self::Config);
        config.or_else(|| content.get(".dockercfg").map(Self::Legacy))
    }

    /// The key that it is under.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Config(_) => ".dockerconfigjson",
            Self::Legacy(_) => ".dockercfg",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::tests::content;

    #[test]
    fn the_newer_form_counts() {
        let key =
            |keys: &[(&str, &str)]| RegistrySecret::from_content(&content(keys)).map(|found| found.key());
        assert_eq!(key(&[(".dockerconfigjson", "{}"), (".dockercfg", "{}")]), Some(".dockerconfigjson"));
        assert_eq!(key(&[(".dockercfg", "{}")]), Some(".dockercfg"));
        assert_eq!(key(&[("username", "me")]), None);
    }
}
