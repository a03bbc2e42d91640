//! Credentials of Amazon Web Services.

use plumb_aws::{AccessKey, AwsError, EcrRegistry, Identity, Login, WebIdentity};

use super::{
    BucketSettings, Cloud, CloudError, Requester,
    account::{Account, AccountError},
    now, token,
};

const ROLE_ARN: &str = "eks.amazonaws.com/role-arn";
const ROLE_PATTERN: &str = "arn:aws*:iam::<account>:role/<name>";
const ROLE_LENGTH_MAX: usize = 2048;
/// The audience of tokens that are exchanged.
const AUDIENCE: &str = "sts.amazonaws.com";

/// The login of a registry. It is sent nowhere but to registries of AWS, and to those that the operator allows.
pub async fn login(cloud: &Cloud, requester: &Requester<'_>, registry: &str) -> Result<Login, CloudError> {
    let registry = match EcrRegistry::parse(registry) {
        Err(AwsError::NotEcr { .. }) if cloud.is_allowed(registry) => {
            EcrRegistry::elsewhere(cloud.aws.environment().region(None)?)
        }
        parsed => parsed?,
    };
    let account = cloud.account(requester).await?;
    let identity = identity(cloud, requester, account.as_ref(), (None, None))?;
    // On the heap: a whole exchange would be part of every attempt.
    Box::pin(cloud.aws.login(&registry, &identity, token(account.as_ref(), AUDIENCE))).await
}

/// An access key.
pub async fn key(
    cloud: &Cloud,
    requester: &Requester<'_>,
    settings: &BucketSettings<'_>,
) -> Result<AccessKey, CloudError> {
    let account = cloud.account(requester).await?;
    let BucketSettings { address: _, region, sts_endpoint } = *settings;
    let identity = identity(cloud, requester, account.as_ref(), (region, sts_endpoint))?;
    // On the heap: a whole exchange would be part of every attempt.
    Box::pin(cloud.aws.key(&identity, token(account.as_ref(), AUDIENCE))).await
}

fn identity<'a>(
    cloud: &Cloud,
    requester: &Requester<'a>,
    account: Option<&Account>,
    (region, sts_endpoint): (Option<&'a str>, Option<&'a str>),
) -> Result<Identity<'a>, CloudError> {
    Ok(Identity {
        role: account.map(role).transpose()?,
        region,
        sts_endpoint,
        consumer: requester.namespace,
        config: cloud.config(requester),
        timeout: requester.timeout,
        now: now(),
    })
}

/// The role that a ServiceAccount is annotated with.
fn role(account: &Account) -> Result<WebIdentity, AccountError> {
    let role = account.required("aws role ARN", ROLE_ARN)?;
    if !is_role(role) {
        let value = role.chars().filter(|letter| !letter.is_control()).take(ROLE_LENGTH_MAX).collect();
        return Err(AccountError::Invalid { annotation: ROLE_ARN, value, pattern: ROLE_PATTERN });
    }
    let account = (account.namespace.clone(), account.name.clone());
    Ok(WebIdentity { role: role.to_owned(), account })
}

fn is_role(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let ["arn", partition, "iam", "", account, resource] = parts[..] else { return false };
    text.len() <= ROLE_LENGTH_MAX
        && partition.strip_prefix("aws").is_some_and(|rest| {
            rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
        && !account.is_empty()
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && resource.strip_prefix("role/").is_some_and(|name| !name.is_empty())
        && !text.contains(|letter: char| letter.is_control() || letter.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_an_arn() {
        for role in ["arn:aws:iam::123456789012:role/r", "arn:aws-us-gov:iam::1:role/path/r"] {
            assert!(is_role(role), "{role}");
        }
        for role in [
            "",
            "r",
            "arn:aws:iam::1:user/u",
            "arn:aws:iam::x:role/r",
            "arn:gcp:iam::1:role/r",
            "arn:aws:iam::1:role/",
            "arn:aws:iam::1:role/a b",
        ] {
            assert!(!is_role(role), "{role}");
        }
    }
}
