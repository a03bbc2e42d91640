//! The defaults merged with the `configurations` of a kustomization and of those below it, in kustomize's order of
//! merging, which decides what is lost and what is rejected.

use super::Config;
use crate::error::BuildError;

/// The configuration that has been gathered so far.
#[derive(Debug, Default)]
pub(crate) enum Gathered {
    /// None yet.
    #[default]
    Nothing,
    /// The defaults.
    Defaults,
    /// The defaults and more.
    Own(Box<Config>),
}

impl Gathered {
    /// The configuration from the files of a kustomization.
    pub(crate) fn of(files: Config) -> Result<Self, BuildError> {
        if files == Config::default() {
            return Ok(Self::Defaults);
        }
        let mut config = Config::builtin().clone();
        config.merge(files)?;
        Ok(Self::Own(Box::new(config)))
    }

    /// What is written where.
    pub(crate) fn config(&self) -> &Config {
        match self {
            Self::Nothing | Self::Defaults => Config::builtin(),
            Self::Own(config) => config,
        }
    }

    /// How many specifications there are next to, or with, the defaults; 0 if there are only those.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Nothing | Self::Defaults => 0,
            Self::Own(config) => config.len(),
        }
    }

    /// Merges the configuration from below, or from the files. Lost entries are reported.
    pub(crate) fn add(&mut self, other: Self) -> Result<Vec<String>, BuildError> {
        match (&mut *self, other) {
            (_, Self::Nothing) | (Self::Defaults, Self::Defaults) => {}
            (Self::Nothing, Self::Defaults) => *self = Self::Defaults,
            (Self::Nothing, Self::Own(mut config)) => {
                let lost = config.settle()?;
                *self = Self::Own(config);
                return Ok(lost);
            }
            (Self::Defaults, Self::Own(new)) => {
                let mut config = Config::builtin().clone();
                config.merge(*new)?;
                *self = Self::Own(Box::new(config));
            }
            (Self::Own(config), Self::Defaults) => config.merge(Config::builtin().clone())?,
            (Self::Own(config), Self::Own(new)) => config.merge(*new)?,
        }
        Ok(Vec::new())
    }

    /// Merges everything once more, as it is done behind each component.
    pub(crate) fn settle(&mut self) -> Result<Vec<String>, BuildError> {
        match self {
            Self::Nothing | Self::Defaults => Ok(Vec::new()),
            Self::Own(config) => config.settle(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::FieldSpec;
    use crate::identity::Gvk;

    /// A prefix for the names of one kind.
    fn own() -> Gathered {
        let gvk = Gvk { kind: "Foo".into(), ..Gvk::default() };
        let name_prefix = vec![FieldSpec::new(gvk, "metadata/name", false)];
        Gathered::of(Config { name_prefix, ..Config::default() }).unwrap()
    }

    #[track_caller]
    fn check(parts: Vec<Gathered>, expect: &[&str]) {
        let mut gathered = Gathered::default();
        for part in parts {
            gathered.add(part).unwrap();
        }
        let kinds = gathered.config().name_prefix.iter().map(|spec| spec.gvk.kind.as_str());
        assert_eq!(kinds.collect::<Vec<_>>(), expect);
    }

    #[test]
    fn the_prefix_of_all_kinds_is_lost_unless_a_plain_kustomization_comes_first() {
        check(vec![own()], &["Foo"]);
        check(vec![Gathered::Defaults, own()], &["Foo", ""]);
        check(vec![own(), Gathered::Defaults], &["Foo"]);
        check(vec![Gathered::Defaults], &[""]);
    }
}
