//! ServiceAccounts of specs: their annotations say which identity of a cloud they are, and a signed token proves it.

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, ResourceExt as _, api::PostParams};
use plumb_api::sealed::Sealed;
use plumb_cluster::call;

/// Lifetime of the token of a ServiceAccount, in seconds: the least that the API server accepts.
const TOKEN_SECONDS: i64 = 600;

/// A ServiceAccount gives no identity.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// One is named, and may not be used.
    #[error(
        "to use spec.serviceAccountName for provider authentication please enable the ObjectLevelWorkloadIdentity feature gate in \
         the controller"
    )]
    GateDisabled,
    /// It cannot be read, or gives no token.
    #[error("failed to {action} service account '{namespace}/{name}': {problem}")]
    ServiceAccount {
        /// What was attempted.
        action: &'static str,
        /// The namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Why.
        problem: String,
    },
    /// It lacks an annotation.
    #[error("{what} is not set in the service account annotation {annotation}")]
    Annotation {
        /// What is missing.
        what: &'static str,
        /// The annotation.
        annotation: &'static str,
    },
    /// An annotation has a value that it cannot have.
    #[error("invalid {annotation} annotation: '{value}'. must match {pattern}")]
    Invalid {
        /// The annotation.
        annotation: &'static str,
        /// Its value.
        value: String,
        /// What it has to look like.
        pattern: &'static str,
    },
}

impl AccountError {
    /// What helps.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::GateDisabled => {
                "start source-controller with --feature-gates=ObjectLevelWorkloadIdentity=true"
            }
            Self::ServiceAccount { .. } => {
                "check spec.serviceAccountName, and that source-controller may create serviceaccounts/token"
            }
            Self::Annotation { .. } | Self::Invalid { .. } => {
                "annotate the ServiceAccount of spec.serviceAccountName"
            }
        }
    }
}

/// A ServiceAccount that was read.
pub struct Account {
    api: Api<ServiceAccount>,
    object: ServiceAccount,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Account {
    /// Reads one.
    pub async fn read(client: &Client, namespace: &str, name: &str) -> Result<Self, AccountError> {
        let api: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
        let failed = |problem: String| failed("get", namespace, name, problem);
        let account = call(api.get_opt(name)).await.map_err(|error| failed(error.to_string()))?;
        let account = account.ok_or_else(|| failed(format!("serviceaccounts \"{name}\" not found")))?;
        Ok(Self { api, object: account, namespace: namespace.to_owned(), name: name.to_owned() })
    }

    /// An annotation.
    pub fn annotation(&self, annotation: &str) -> Option<&str> {
        self.object.annotations().get(annotation).map(String::as_str)
    }

    /// An annotation that has to be there.
    pub fn required(&self, what: &'static str, annotation: &'static str) -> Result<&str, AccountError> {
        self.annotation(annotation).ok_or(AccountError::Annotation { what, annotation })
    }

    /// A signed token for an audience.
    pub async fn token(&self, audience: &str) -> Result<Sealed, AccountError> {
        let spec = TokenRequestSpec {
            audiences: vec![audience.to_owned()],
            expiration_seconds: Some(TOKEN_SECONDS),
            ..TokenRequestSpec::default()
        };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let parameters = PostParams::default();
        let made = call(self.api.create_token_request(&self.name, &parameters, &request)).await;
        let failed = |problem: String| failed("create a token of", &self.namespace, &self.name, problem);
        let status = made.map_err(|error| failed(error.to_string()))?.status;
        let status = status.ok_or_else(|| failed("the API server returned none".to_owned()))?;
        Ok(Sealed::from(status.token))
    }
}

fn failed(action: &'static str, namespace: &str, name: &str, problem: String) -> AccountError {
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    AccountError::ServiceAccount { action, namespace, name, problem }
}
