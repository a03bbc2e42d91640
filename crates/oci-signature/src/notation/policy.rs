//! The trust policy (`trustpolicy.json`, version 1.0): which statement holds for a repository, and what it enforces.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{chain::Certificate, name::Name};
use crate::error::Rejection;

/// The version that is understood.
const VERSION: &str = "1.0";
/// Statements of a policy, and entries of each list.
const ENTRIES_MAX: usize = 1000;
/// It stands for all repositories, and for all signers.
const WILDCARD: &str = "*";
/// The types of trust stores: of CAs, of signing authorities, of timestamp authorities.
const STORES: [&str; 3] = ["ca", "signingAuthority", TIMESTAMP_STORE];
const TIMESTAMP_STORE: &str = "tsa";
/// What an identity begins with that is the name of a certificate's subject.
const SUBJECT: &str = "x509.subject";

/// What follows from a check that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Enforce,
    Log,
    Skip,
}

/// A trust policy.
#[derive(Clone, Debug)]
pub struct TrustPolicy(Vec<Statement>);

/// A trust policy cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TrustPolicyError(String);

/// What holds for some repositories.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    name: String,
    scopes: Vec<String>,
    is_skipped: bool,
    pub(super) authenticity: Action,
    pub(super) timestamp: Action,
    pub(super) expiry: Action,
    pub(super) revocation: Action,
    timestamp_after_expiry: bool,
    stores: BTreeSet<String>,
    /// None where everybody in the trust stores may sign.
    signers: Option<Vec<Name>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    version: String,
    #[serde(default)]
    trust_policies: Vec<RawStatement>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawStatement {
    #[serde(default)]
    name: String,
    #[serde(default)]
    registry_scopes: Vec<String>,
    signature_verification: RawVerification,
    #[serde(default)]
    trust_stores: Vec<String>,
    #[serde(default)]
    trusted_identities: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawVerification {
    #[serde(default)]
    level: String,
    #[serde(default, rename = "override")]
    overrides: BTreeMap<String, String>,
    #[serde(default)]
    verify_timestamp: String,
}

impl TrustPolicy {
    /// Parses and checks a policy.
    pub fn parse(json: &[u8]) -> Result<Self, TrustPolicyError> {
        let failed = |problem: String| TrustPolicyError(problem);
        let Raw { version, trust_policies } =
            serde_json::from_slice(json).map_err(|error| failed(error.to_string()))?;
        if version != VERSION {
            return Err(failed(format!("trust policy document uses unsupported version {version:?}")));
        }
        if trust_policies.is_empty() || trust_policies.len() > ENTRIES_MAX {
            return Err(failed(format!("trust policy document has to have 1 to {ENTRIES_MAX} statements")));
        }
        let statements: Vec<Statement> = trust_policies
            .into_iter()
            .map(|raw| {
                let name = raw.name.clone();
                Statement::checked(raw)
                    .map_err(|problem| failed(format!("trust policy statement {name:?} {problem}")))
            })
            .collect::<Result<_, _>>()?;
        let mut names = BTreeSet::new();
        if let Some(twice) = statements.iter().find(|statement| !names.insert(&statement.name)) {
            return Err(failed(format!(
                "multiple trust policy statements use the same name {:?}",
                twice.name
            )));
        }
        let mut scopes = BTreeSet::new();
        if let Some(twice) =
            statements.iter().flat_map(|one| &one.scopes).find(|scope| !scopes.insert(*scope))
        {
            return Err(failed(format!(
                "registry scope {twice:?} is present in multiple trust policy statements"
            )));
        }
        Ok(Self(statements))
    }

    /// The statement for a repository: one that names it before one for all.
    pub(super) fn applicable(&self, repository: &str) -> Result<&Statement, Rejection> {
        let of = |wanted: &str| {
            self.0.iter().find(|statement| statement.scopes.iter().any(|scope| scope == wanted))
        };
        of(repository).or_else(|| of(WILDCARD)).ok_or_else(|| Rejection::Untrusted {
            problem: format!("repository {repository:?} has no applicable trust policy statement"),
        })
    }
}

impl Statement {
    fn checked(raw: RawStatement) -> Result<Self, String> {
        let RawStatement {
            name,
            registry_scopes: scopes,
            signature_verification,
            trust_stores,
            trusted_identities,
        } = raw;
        let RawVerification { level, overrides, verify_timestamp } = signature_verification;
        if name.is_empty() {
            return Err("is missing a name".to_owned());
        }
        for (list, what) in [
            (&scopes, "registryScopes"),
            (&trust_stores, "trustStores"),
            (&trusted_identities, "trustedIdentities"),
        ] {
            if list.len() > ENTRIES_MAX {
                return Err(format!("has more than {ENTRIES_MAX} {what}"));
            }
        }
        if scopes.is_empty() {
            return Err("has zero registry scopes".to_owned());
        }
        if scopes.len() > 1 && scopes.iter().any(|scope| scope == WILDCARD) {
            return Err("uses wildcard registry scope '*' beside others".to_owned());
        }
        if let Some(bad) = scopes.iter().find(|scope| *scope != WILDCARD && !is_scope(scope)) {
            return Err(format!(
                "has registry scope {bad:?}, which is not a repository: host/path, without scheme and tag"
            ));
        }
        let mut statement = Self::of_level(&level)?;
        statement.override_with(&overrides)?;
        statement.timestamp_after_expiry = match verify_timestamp.as_str() {
            "" | "always" => false,
            "afterCertExpiry" => true,
            _ => return Err("has a verifyTimestamp other than 'always' and 'afterCertExpiry'".to_owned()),
        };
        (statement.name, statement.scopes) = (name, scopes);
        // Flux drops both where nothing is verified.
        if statement.is_skipped {
            return Ok(statement);
        }
        if trust_stores.is_empty() || trusted_identities.is_empty() {
            return Err("is either missing trust stores or trusted identities".to_owned());
        }
        statement.stores = trust_stores.iter().map(|store| store_type(store)).collect::<Result<_, _>>()?;
        statement.signers = signers(&trusted_identities)?;
        Ok(statement)
    }

    /// What a level enforces.
    fn of_level(level: &str) -> Result<Self, String> {
        use Action::{Enforce, Log, Skip};
        let (authenticity, others) = match level {
            "strict" => (Enforce, Enforce),
            "permissive" => (Enforce, Log),
            "audit" => (Log, Log),
            "skip" => (Skip, Skip),
            _ => return Err(format!("has invalid signature verification level {level:?}")),
        };
        Ok(Self {
            name: String::new(),
            scopes: Vec::new(),
            is_skipped: level == "skip",
            authenticity,
            timestamp: others,
            expiry: others,
            revocation: others,
            timestamp_after_expiry: false,
            stores: BTreeSet::new(),
            signers: None,
        })
    }

    fn override_with(&mut self, overrides: &BTreeMap<String, String>) -> Result<(), String> {
        if self.is_skipped && !overrides.is_empty() {
            return Err("overrides what the level 'skip' skips".to_owned());
        }
        for (check, action) in overrides {
            let action = match (action.as_str(), check.as_str()) {
                ("enforce", _) => Action::Enforce,
                ("log", _) => Action::Log,
                ("skip", "revocation") => Action::Skip,
                _ => return Err(format!("overrides {check:?} with {action:?}, which is not possible")),
            };
            match check.as_str() {
                "authenticity" => self.authenticity = action,
                "authenticTimestamp" => self.timestamp = action,
                "expiry" => self.expiry = action,
                "revocation" => self.revocation = action,
                _ => return Err(format!("overrides {check:?}, which is not possible")),
            }
        }
        Ok(())
    }

    pub(super) fn is_skipped(&self) -> bool {
        self.is_skipped
    }

    /// Whether there is a trust store of a type.
    pub(super) fn has_store(&self, kind: &str) -> bool {
        self.stores.contains(kind)
    }

    /// Whether a timestamp has to say when it was signed.
    pub(super) fn wants_timestamp(&self, has_expired: bool) -> bool {
        self.has_store(TIMESTAMP_STORE) && (has_expired || !self.timestamp_after_expiry)
    }

    /// Checks that the owner of a certificate may sign.
    pub(super) fn check_signer(&self, leaf: &Certificate<'_>) -> Result<(), Rejection> {
        let Some(signers) = &self.signers else { return Ok(()) };
        let subject = leaf.subject().map_err(Rejection::untrusted)?;
        if signers.iter().any(|signer| signer.is_within(&subject)) {
            return Ok(());
        }
        Err(Rejection::untrusted(format!(
            "the signing certificate does not match the trusted identities of the trust policy {:?}",
            self.name
        )))
    }
}

/// The type of a trust store: `ca:name`. All of them hold the certificates of the Secret, so that the name does not matter.
fn store_type(store: &str) -> Result<String, String> {
    let is_name = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
    };
    match store.split_once(':') {
        Some((kind, name)) if STORES.contains(&kind) && is_name(name) => Ok(kind.to_owned()),
        _ => Err(format!(
            "has trust store {store:?}, which is not 'ca:', 'signingAuthority:' or 'tsa:' and a name"
        )),
    }
}

/// Who may sign; none where everybody may.
fn signers(identities: &[String]) -> Result<Option<Vec<Name>>, String> {
    if identities.iter().any(|identity| identity == WILDCARD) {
        let is_alone = identities.len() == 1;
        return if is_alone {
            Ok(None)
        } else {
            Err("uses a wildcard trusted identity '*' beside others".to_owned())
        };
    }
    let mut names: Vec<Name> = Vec::new();
    for identity in identities {
        let missing = || format!("has trusted identity {identity:?} missing separator");
        let (kind, value) = identity.split_once(':').ok_or_else(missing)?;
        // Others are for plugins, of which there are none.
        if kind == SUBJECT {
            let name = Name::parse(value);
            names.push(name.map_err(|problem| format!("has trusted identity {identity:?}: {problem}"))?);
        }
    }
    let overlap = |at: usize, name: &Name| {
        names.iter().enumerate().any(|(other, another)| other != at && name.is_within(another))
    };
    if names.iter().enumerate().any(|(at, name)| overlap(at, name)) {
        return Err("has overlapping x509 trustedIdentities".to_owned());
    }
    Ok(Some(names))
}

/// Whether it is `host[:port]/path`.
fn is_scope(scope: &str) -> bool {
    let Some((host, path)) = scope.split_once('/') else { return false };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':');
    let is_path =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_');
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(is_path);
    !host.is_empty() && host.bytes().all(is_host) && path.split('/').all(is_part)
}
