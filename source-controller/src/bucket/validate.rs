//! The spec of a Bucket, checked once: what is not supported is rejected by name, all fields at once, never ignored. Pure; whether the
//! bucket exists is not checked here.

use std::time::Duration;

use plumb_api::{
    meta::LocalObjectReference,
    source::{BucketProvider, BucketSpec, BucketStsSpec, StsProvider},
};
use plumb_bucket::BucketAddress;
use plumb_status::{UnsupportedField, UnsupportedFields};
use url::Url;

use super::error::{BucketSourceError, StsError};

/// A spec that this version supports in full.
#[derive(Clone, Debug)]
pub struct Valid {
    /// Where the bucket is.
    pub address: BucketAddress,
    /// Whose API it has, and which Secrets it takes.
    pub provider: BucketProvider,
    /// The prefix of keys.
    pub prefix: String,
    /// The Secret with credentials.
    pub secret: Option<String>,
    /// The ServiceAccount with an identity of the provider.
    pub service_account: Option<String>,
    /// The region of the spec.
    pub region: Option<String>,
    /// The endpoint of the Security Token Service of Amazon.
    pub sts_endpoint: Option<String>,
    /// The Security Token Service that has temporary credentials.
    pub sts: Option<Sts>,
    /// The Secret with certificates.
    pub certificates: Option<String>,
    /// The Secret of the proxy.
    pub proxy: Option<String>,
    /// Whether the endpoint has no TLS.
    pub insecure: bool,
    /// What to leave out.
    pub ignore: Option<String>,
    /// How long one operation on the bucket may take.
    pub timeout: Duration,
}

/// A Security Token Service with users of LDAP.
#[derive(Clone, Debug)]
pub struct Sts {
    /// Its URL.
    pub endpoint: Url,
    /// The Secret with name and password.
    pub secret: Option<String>,
    /// The Secret with certificates.
    pub certificates: Option<String>,
}

/// Checks a spec. Every field is named, so that a new one is noticed.
pub fn validate(spec: &BucketSpec) -> Result<Valid, BucketSourceError> {
    let BucketSpec {
        bucket_name,
        cert_secret_ref,
        endpoint,
        ignore,
        insecure,
        interval: _,
        prefix,
        provider,
        proxy_secret_ref,
        region,
        secret_ref,
        service_account_name,
        sts,
        suspend: _,
        timeout: _,
    } = spec;
    let secret = name(secret_ref.as_ref());
    let service_account = service_account_name.clone().filter(|name| !name.is_empty());
    if service_account.is_some() && *provider == BucketProvider::Generic {
        let remedy = "remove it, or set spec.provider to the cloud of the bucket";
        let field = UnsupportedField::new("spec.serviceAccountName").remedy(remedy);
        UnsupportedFields::reject(vec![field])?;
    }
    let named_sts = sts.as_ref().filter(|sts| sts.provider == StsProvider::Aws);
    let sts_endpoint = named_sts.map(|sts| sts.endpoint.clone());
    let sts = sts.as_ref().map(|sts| validate_sts(*provider, sts)).transpose()?.flatten();
    let region = region.as_deref().filter(|region| !region.is_empty());
    let address = match provider {
        BucketProvider::Generic | BucketProvider::Aws => {
            BucketAddress::s3(endpoint, bucket_name, region, *insecure)
        }
        BucketProvider::Gcp => BucketAddress::gcs(endpoint, bucket_name, *insecure),
        BucketProvider::Azure => BucketAddress::azure(endpoint, bucket_name),
    };
    Ok(Valid {
        address: address.map_err(BucketSourceError::Address)?,
        provider: *provider,
        prefix: prefix.clone().unwrap_or_default(),
        secret,
        service_account,
        region: region.map(str::to_owned),
        sts_endpoint,
        sts,
        certificates: name(cert_secret_ref.as_ref()),
        proxy: name(proxy_secret_ref.as_ref()),
        insecure: *insecure,
        ignore: ignore.clone(),
        timeout: spec.effective_timeout().to_std(),
    })
}

/// A Security Token Service that goes with the provider. That of Amazon only counts without a Secret.
fn validate_sts(provider: BucketProvider, sts: &BucketStsSpec) -> Result<Option<Sts>, BucketSourceError> {
    let BucketStsSpec { cert_secret_ref, endpoint, provider: issuer, secret_ref } = sts;
    let wrong = |error| Err(BucketSourceError::Sts(error));
    let (bucket, sts) = (provider.as_str(), issuer.as_str());
    match (provider, issuer) {
        (BucketProvider::Gcp | BucketProvider::Azure, _) => return wrong(StsError::NotSupported { bucket }),
        (BucketProvider::Generic, StsProvider::Aws) | (BucketProvider::Aws, StsProvider::Ldap) => {
            return wrong(StsError::Incompatible { bucket, sts });
        }
        (BucketProvider::Aws, StsProvider::Aws) => {
            for (field, reference) in [("secretRef", secret_ref), ("certSecretRef", cert_secret_ref)] {
                if reference.is_some() {
                    return wrong(StsError::NotRequired { field, sts });
                }
            }
        }
        (BucketProvider::Generic, StsProvider::Ldap) => {}
    }
    let url = Url::parse(endpoint).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let shown = || plumb_transport::shown_text(endpoint);
    let endpoint = url.ok_or_else(|| BucketSourceError::StsEndpoint { endpoint: shown() })?;
    let is_ldap = *issuer == StsProvider::Ldap;
    Ok(is_ldap.then(|| Sts {
        endpoint,
        secret: name(secret_ref.as_ref()),
        certificates: name(cert_secret_ref.as_ref()),
    }))
}

fn name(reference: Option<&LocalObjectReference>) -> Option<String> {
    reference.map(|secret| secret.name.clone()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use plumb_status::{Classify, Consequence, Reason};
    use serde_json::{Value, json};

    use super::*;

    fn checked(fields: &Value) -> Result<Valid, BucketSourceError> {
        let mut spec = json!({ "bucketName": "apps", "endpoint": "minio.example:9000", "interval": "1m" });
        for (field, value) in fields.as_object().unwrap() {
            spec[field] = value.clone();
        }
        validate(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn every_field_is_supported_or_rejected() {
        let secret = json!({ "name": "s" });
        for fields in [
            json!({}),
            json!({ "certSecretRef": secret, "proxySecretRef": secret, "secretRef": secret }),
            json!({ "ignore": "/*", "insecure": true, "prefix": "a/", "region": "eu-west-1" }),
            json!({ "suspend": true, "timeout": "10s", "serviceAccountName": "" }),
            json!({ "provider": "aws", "secretRef": secret }),
            json!({ "provider": "aws", "serviceAccountName": "sa" }),
            json!({ "provider": "aws", "secretRef": secret, "sts": { "provider": "aws", "endpoint": "https://sts.example" } }),
            json!({ "provider": "gcp", "secretRef": secret, "endpoint": "storage.googleapis.com" }),
            json!({ "provider": "azure", "secretRef": secret, "endpoint": "https://acme.blob.core.windows.net" }),
            json!({ "sts": { "provider": "ldap", "endpoint": "https://sts.example", "secretRef": secret, "certSecretRef": secret } }),
        ] {
            assert!(checked(&fields).is_ok(), "{fields}");
        }
        let fields = json!({ "serviceAccountName": "sa", "secretRef": secret });
        let error = checked(&fields).unwrap_err();
        assert_eq!((error.reason(), error.consequence()), (Reason::UnsupportedField, Consequence::Stall));
        assert!(error.to_string().contains("spec.serviceAccountName"), "{error}");
    }

    #[test]
    fn what_does_not_go_together_is_named() {
        let secret = json!({ "name": "s" });
        for (fields, reason, expect) in [
            (
                json!({ "provider": "gcp", "secretRef": secret, "sts": { "provider": "aws", "endpoint": "https://s" } }),
                Reason::InvalidStsConfiguration,
                "STS configuration is not supported for 'gcp' bucket provider",
            ),
            (
                json!({ "sts": { "provider": "aws", "endpoint": "https://s" } }),
                Reason::InvalidStsConfiguration,
                "STS provider 'aws' is not supported for 'generic' bucket provider",
            ),
            (
                json!({ "provider": "aws", "secretRef": secret, "sts": { "provider": "aws", "endpoint": "https://s", "secretRef": secret } }),
                Reason::InvalidStsConfiguration,
                "spec.sts.secretRef is not required for the 'aws' STS provider",
            ),
            (
                json!({ "sts": { "provider": "ldap", "endpoint": "ldap://me:s3cret@s" } }),
                Reason::UrlInvalid,
                "failed to parse STS endpoint 'ldap://…@s'",
            ),
            (json!({ "endpoint": "https://minio.example" }), Reason::UrlInvalid, "write it without scheme"),
            (json!({ "bucketName": "a/b" }), Reason::InvalidSpec, "bucket name \"a/b\" is not valid"),
            (json!({ "region": "a b" }), Reason::InvalidSpec, "region \"a b\" is not valid"),
        ] {
            let error = checked(&fields).unwrap_err();
            assert_eq!((error.reason(), error.consequence()), (reason, Consequence::Stall), "{error}");
            let text = plumb_status::chain(&error);
            assert!(text.contains(expect), "{text}");
        }
    }
}
