//! Tokens of Google Cloud.

use plumb_api::sealed::Sealed;
use plumb_bucket::BucketCredential;
use plumb_gcp::{
    CLOUD_SCOPE, Caller, Federation, GcpError, GcpIdentity, STORAGE_SCOPE, is_email, is_registry, is_storage,
    is_workload_provider,
};
use plumb_oci::{RegistryCredential, Repository};

use super::{
    BucketSettings, Cloud, CloudError, Requester,
    account::{Account, AccountError},
    now,
};

const EMAIL: &str = "iam.gke.io/gcp-service-account";
const EMAIL_PATTERN: &str = "<name>@<project>.iam.gserviceaccount.com";
const PROVIDER: &str = "gcp.auth.fluxcd.io/workload-identity-provider";
const PROVIDER_PATTERN: &str =
    "projects/<number>/locations/global/workloadIdentityPools/<pool>/providers/<provider>";
/// Characters of an annotation that are shown.
const SHOWN_MAX: usize = 300;
/// The name of the user of a login.
const USER: &str = "oauth2accesstoken";

/// The login of a registry. Only registries of Google, and those that the operator allows, are sent one.
pub(super) async fn login(
    cloud: &Cloud,
    requester: &Requester<'_>,
    repository: &Repository,
) -> Result<RegistryCredential, CloudError> {
    let registry = repository.registry();
    if !is_registry(registry) && !cloud.is_allowed(registry) {
        let (what, expected) = ("registry", "*-docker.pkg.dev and *.gcr.io");
        return Err(GcpError::NotGoogle { what, host: registry.to_owned(), expected }.into());
    }
    let password = token(cloud, requester, CLOUD_SCOPE).await?;
    Ok(RegistryCredential::Basic { username: USER.to_owned(), password })
}

/// The token for a bucket. Only Cloud Storage, and endpoints that the operator allows, are sent one.
pub(super) async fn storage(
    cloud: &Cloud,
    requester: &Requester<'_>,
    settings: &BucketSettings<'_>,
) -> Result<BucketCredential, CloudError> {
    cloud.must_be_at(settings, is_storage, |host| {
        let (what, expected) = ("endpoint", "https://storage.googleapis.com");
        GcpError::NotGoogle { what, host, expected }.into()
    })?;
    token(cloud, requester, STORAGE_SCOPE).await.map(BucketCredential::Bearer)
}

async fn token(cloud: &Cloud, requester: &Requester<'_>, scope: &str) -> Result<Sealed, CloudError> {
    let account = cloud.account(requester).await?;
    let caller = Caller {
        consumer: requester.namespace,
        config: cloud.config(requester),
        timeout: requester.timeout,
        now: now(),
    };
    let identity = match &account {
        None => GcpIdentity::Environment,
        Some(account) => identity_of(cloud, account, &caller).await?,
    };
    let audience = match &identity {
        GcpIdentity::Environment => "",
        GcpIdentity::Account { federation, .. } => &federation.token_audience,
    };
    let of_account = super::token(account.as_ref(), audience);
    // On the heap: a whole exchange would be part of every attempt.
    Box::pin(cloud.gcp.token(&identity, scope, &caller, of_account)).await
}

/// The identity that a ServiceAccount is annotated with: at the provider of an annotation, else at the cluster of GKE.
async fn identity_of(
    cloud: &Cloud,
    account: &Account,
    caller: &Caller<'_>,
) -> Result<GcpIdentity, CloudError> {
    let email = checked(account, EMAIL, EMAIL_PATTERN, is_email)?.map(str::to_owned);
    let federation = match checked(account, PROVIDER, PROVIDER_PATTERN, is_workload_provider)? {
        Some(provider) => Federation::of_provider(provider),
        None => cloud.gcp.cluster(caller).await?,
    };
    let account = (account.namespace.clone(), account.name.clone());
    Ok(GcpIdentity::Account { account, federation, email })
}

fn checked<'a>(
    account: &'a Account,
    annotation: &'static str,
    pattern: &'static str,
    is_valid: fn(&str) -> bool,
) -> Result<Option<&'a str>, AccountError> {
    let Some(value) = account.annotation(annotation).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    if is_valid(value) {
        return Ok(Some(value));
    }
    let value = value.chars().filter(|letter| !letter.is_control()).take(SHOWN_MAX).collect();
    Err(AccountError::Invalid { annotation, value, pattern })
}
