//! The connection to the API server, and the time that one call may take. What is called never enters.

use std::time::Duration;

use kube::{Client, Config};

/// How long one call may take that is not a watch.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Neither a kubeconfig nor a service account.
    #[error("cannot find the API server")]
    Config(#[source] kube::config::InferConfigError),
    /// The connection cannot be prepared.
    #[error("cannot prepare the connection to the API server")]
    Client(#[source] kube::Error),
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No answer in time.
    #[error("the API server did not answer within {CALL_TIMEOUT:?}")]
    TimedOut,
    /// An answer that is an error, or none.
    #[error(transparent)]
    Failed(#[from] kube::Error),
}

impl CallError {
    /// The status code of the answer, if there was one.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Failed(kube::Error::Api(status)) => Some(status.code),
            Self::TimedOut | Self::Failed(_) => None,
        }
    }
}

/// A client from $KUBECONFIG, or from the pod's service account. Its own retries are off: every caller has a deadline
/// of its own, and they would hold a call for minutes.
pub async fn connect() -> Result<Client, ConnectError> {
    let mut config = Config::infer().await.map_err(ConnectError::Config)?;
    config.default_retry = false;
    Client::try_from(config).map_err(ConnectError::Client)
}

/// The call, within its time.
pub async fn call<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, CallError> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(CallError::TimedOut),
    }
}
