//! One GET for one Secret, and its keys as sealed bytes. What the keys mean is in a file per use.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use plumb_api::sealed::Sealed;
use plumb_cluster::{CallError, call};
use plumb_status::{Classify, Consequence, Reason};

/// The content of a Secret.
pub struct SecretContent {
    namespace: String,
    name: String,
    data: BTreeMap<String, Sealed>,
}

/// Why a Secret does not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It does not exist.
    #[error("failed to get secret '{namespace}/{name}': secrets \"{name}\" not found")]
    NotFound {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// It cannot be read. The text of the server is left out: it may quote what was sent.
    #[error("failed to get secret '{namespace}/{name}': {problem}")]
    Unreadable {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// What went wrong, in our words.
        problem: String,
    },
    /// A ServiceAccount does not exist.
    #[error("failed to get service account '{namespace}/{name}': serviceaccounts \"{name}\" not found")]
    NoServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A ServiceAccount cannot be read.
    #[error("failed to get service account '{namespace}/{name}': {problem}")]
    UnreadableServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// What went wrong, in our words.
        problem: String,
    },
    /// A key is missing.
    #[error("secret '{namespace}/{name}' has no key '{key}'")]
    MissingKey {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The key.
        key: &'static str,
    },
    /// Keys are missing that belong together.
    #[error("invalid '{name}' secret data: {problem}")]
    Invalid {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Which keys.
        problem: &'static str,
    },
    /// A key has a value that cannot be used.
    #[error("key '{key}' of secret '{namespace}/{name}' cannot be used: {problem}")]
    BadKey {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The key.
        key: &'static str,
        /// Why, without the value.
        problem: String,
    },
}

impl Classify for SecretError {
    fn reason(&self) -> Reason {
        Reason::AuthenticationFailed
    }

    fn consequence(&self) -> Consequence {
        // A Secret may appear or change at any time, and no watch reports it.
        Consequence::Retry
    }
}

/// Reads a Secret, from the API server itself.
pub async fn read(client: &Client, namespace: &str, name: &str) -> Result<SecretContent, SecretError> {
    let unreadable = |problem: String| SecretError::Unreadable {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        problem,
    };
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    match call(api.get_opt(name)).await {
        Ok(Some(secret)) => Ok(SecretContent::new(secret, namespace, name)),
        Ok(None) => Err(SecretError::NotFound { namespace: namespace.to_owned(), name: name.to_owned() }),
        Err(error) => Err(unreadable(problem(&error))),
    }
}

/// Why an object could not be read. The text of the server is left out: it may quote what was sent.
pub(crate) fn problem(error: &CallError) -> String {
    match error {
        CallError::TimedOut { limit } => format!("no response within {} s", limit.as_secs()),
        CallError::Failed(kube::Error::Api(status)) => {
            format!("the API server responded with status {}", status.code)
        }
        CallError::Failed(_) => "the API server cannot be reached or does not respond as expected".to_owned(),
    }
}

impl SecretContent {
    fn new(secret: Secret, namespace: &str, name: &str) -> Self {
        let data = secret
            .data
            .unwrap_or_default()
            .into_iter()
            .map(|(key, value)| (key, Sealed::new(value.0)))
            .collect();
        Self { namespace: namespace.to_owned(), name: name.to_owned(), data }
    }

    /// Data as it would be read, for tests of other crates.
    pub fn from_parts(namespace: &str, name: &str, data: impl IntoIterator<Item = (String, Sealed)>) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned(), data: data.into_iter().collect() }
    }

    /// Namespace and name: `apps/git`.
    pub fn shown(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// All keys with their values, in the order of the keys.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Sealed)> {
        self.data.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The value of a key that is there and not empty.
    pub fn get(&self, key: &str) -> Option<&Sealed> {
        self.data.get(key).filter(|value| !value.is_empty())
    }

    /// The keys that end so and are not empty, with their values, in the order of their names.
    pub fn ending_with(&self, suffixes: &[&str]) -> impl Iterator<Item = (&str, &Sealed)> {
        let ends = |key: &str| suffixes.iter().any(|suffix| key.ends_with(suffix));
        let found = self.data.iter().filter(move |(key, value)| ends(key) && !value.is_empty());
        found.map(|(key, value)| (key.as_str(), value))
    }

    /// The value of a key as text.
    pub fn text(&self, key: &'static str) -> Result<Option<String>, SecretError> {
        self.get(key)
            .map(|value| {
                value.expose_str().map(str::to_owned).ok_or_else(|| self.rejected(key, "it is not UTF-8"))
            })
            .transpose()
    }

    /// The value of a key that has to be there.
    pub fn require(&self, key: &'static str) -> Result<&Sealed, SecretError> {
        self.get(key).ok_or_else(|| self.missing(key))
    }

    /// The error for a key that is not there.
    pub fn missing(&self, key: &'static str) -> SecretError {
        SecretError::MissingKey { namespace: self.namespace.clone(), name: self.name.clone(), key }
    }

    /// The error for keys that are not all there.
    pub fn invalid(&self, problem: &'static str) -> SecretError {
        SecretError::Invalid { namespace: self.namespace.clone(), name: self.name.clone(), problem }
    }

    /// The error for a key whose value cannot be used. `problem` never holds the value.
    pub fn rejected(&self, key: &'static str, problem: impl Into<String>) -> SecretError {
        SecretError::BadKey {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            key,
            problem: problem.into(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn content(data: &[(&str, &str)]) -> SecretContent {
        SecretContent::from_parts(
            "ns",
            "n",
            data.iter().map(|(key, value)| ((*key).to_owned(), Sealed::from(*value))),
        )
    }

    #[test]
    fn an_empty_value_is_as_good_as_none() {
        let content = content(&[("a", ""), ("b", "x")]);
        assert!(content.get("a").is_none());
        assert_eq!(content.text("b").unwrap().as_deref(), Some("x"));
        let error = content.require("a").err().unwrap();
        assert_eq!(error.to_string(), "secret 'ns/n' has no key 'a'");
    }

    #[test]
    fn keys_are_found_by_how_they_end() {
        let content = content(&[("b.pub", "x"), ("a.pub", "y"), ("c.pub", ""), ("pub", "z"), ("a.key", "k")]);
        let found: Vec<_> = content.ending_with(&[".pub", ".pem"]).map(|(key, _)| key).collect();
        assert_eq!(found, ["a.pub", "b.pub"]);
    }

    #[test]
    fn errors_name_the_key_and_not_the_value() {
        let content =
            SecretContent::from_parts("ns", "n", [("k".to_owned(), Sealed::new(vec![0xff, b'p', b'w']))]);
        let error = content.text("k").unwrap_err();
        assert_eq!(error.to_string(), "key 'k' of secret 'ns/n' cannot be used: it is not UTF-8");
    }
}
