//! The Secrets of a Bucket: keys of S3 (`accesskey`, `secretkey`), of Google (`serviceaccount`) and of Azure, and the login of a
//! Security Token Service (`username`, `password`).

use plumb_api::sealed::Sealed;

use crate::read::{SecretContent, SecretError};

/// Credentials for Azure Blob Storage. Where a Secret has several, the first of these counts.
pub enum AzureSecret {
    /// An application with a secret: `tenantId`, `clientId`, `clientSecret`.
    Secret(AzureApp, Sealed),
    /// An application with a certificate: `tenantId`, `clientId`, `clientCertificate`.
    Certificate {
        /// The application.
        app: AzureApp,
        /// Certificate and key.
        certificate: Sealed,
        /// Whether the chain goes with the proof: `clientCertificateSendChain`.
        sends_chain: bool,
    },
    /// The key of the account: `accountKey`.
    Account(Sealed),
    /// A shared access signature: `sasKey`.
    Signature(Sealed),
}

/// An application of Entra ID.
pub struct AzureApp {
    /// `tenantId`.
    pub tenant: String,
    /// `clientId`.
    pub client: String,
    /// `authorityHost`, for clouds other than the public one.
    pub authority: Option<String>,
}

/// ID and secret of a key of S3.
pub fn access_key(content: &SecretContent) -> Result<(String, Sealed), SecretError> {
    pair(content, "accesskey", "secretkey", "required fields 'accesskey' and 'secretkey'")
}

/// Name and password for a Security Token Service.
pub fn sts_login(content: &SecretContent) -> Result<(String, Sealed), SecretError> {
    pair(
        content,
        "username",
        "password",
        "required fields 'username', 'password' for the 'ldap' STS provider",
    )
}

/// The JSON file of a service account of Google.
pub fn service_account(content: &SecretContent) -> Result<&Sealed, SecretError> {
    content.get("serviceaccount").ok_or_else(|| content.invalid("required fields 'serviceaccount'"))
}

impl AzureSecret {
    /// Reads the keys, in the order in which Flux looks for them.
    pub fn from_content(content: &SecretContent) -> Result<Self, SecretError> {
        let (tenant, client) = (content.text("tenantId")?, content.text("clientId")?);
        if let (Some(tenant), Some(client)) = (tenant, &client) {
            let app = AzureApp { tenant, client: client.clone(), authority: content.text("authorityHost")? };
            if let Some(secret) = content.get("clientSecret") {
                return Ok(Self::Secret(app, secret.clone()));
            }
            if let Some(certificate) = content.get("clientCertificate") {
                if content.get("clientCertificatePassword").is_some() {
                    let problem = "certificates with a password are not supported: store PEM without one";
                    return Err(content.rejected("clientCertificatePassword", problem));
                }
                let sends_chain = content.text("clientCertificateSendChain")?;
                let sends_chain =
                    sends_chain.is_some_and(|text| text == "1" || text.eq_ignore_ascii_case("true"));
                return Ok(Self::Certificate { app, certificate: certificate.clone(), sends_chain });
            }
        }
        if client.is_some() {
            let problem =
                "an identity without tenantId and clientSecret or clientCertificate is not supported";
            return Err(content.rejected("clientId", problem));
        }
        if let Some(key) = content.get("accountKey") {
            return Ok(Self::Account(key.clone()));
        }
        content.get("sasKey").cloned().map(Self::Signature).ok_or_else(|| {
            content.invalid(
                "requires a 'sasKey' or 'accountKey' field, a combination of 'tenantId', 'clientId' and 'clientSecret', or 'tenantId', 'clientId' and 'clientCertificate'",
            )
        })
    }
}

fn pair(
    content: &SecretContent,
    name: &'static str,
    secret: &'static str,
    problem: &'static str,
) -> Result<(String, Sealed), SecretError> {
    match (content.text(name)?, content.get(secret)) {
        (Some(name), Some(secret)) => Ok((name, secret.clone())),
        _ => Err(content.invalid(problem)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::tests::content;

    #[test]
    fn pairs_are_whole() {
        let (id, secret) = access_key(&content(&[("accesskey", "id"), ("secretkey", "s")])).unwrap();
        assert!(id == "id" && secret.matches(b"s"));
        for keys in
            [&[("accesskey", "id")][..], &[("secretkey", "s")], &[("accesskey", "id"), ("secretkey", "")]]
        {
            let error = access_key(&content(keys)).err().unwrap().to_string();
            assert_eq!(error, "invalid 'n' secret data: required fields 'accesskey' and 'secretkey'");
        }
        assert!(sts_login(&content(&[("username", "me")])).is_err());
        assert!(service_account(&content(&[("serviceaccount", "{}")])).is_ok());
        let error = service_account(&content(&[])).err().unwrap().to_string();
        assert_eq!(error, "invalid 'n' secret data: required fields 'serviceaccount'");
    }

    #[test]
    fn azure_takes_the_first_credential_that_is_whole() {
        let app = [("tenantId", "t"), ("clientId", "c")];
        let kind = |more: &[(&str, &str)]| {
            AzureSecret::from_content(&content(&[&app[..], more].concat())).map(|secret| match secret {
                AzureSecret::Secret(app, _) => format!("secret of {}", app.client),
                AzureSecret::Certificate { sends_chain, .. } => format!("certificate {sends_chain}"),
                AzureSecret::Account(_) => "account".to_owned(),
                AzureSecret::Signature(_) => "signature".to_owned(),
            })
        };
        assert_eq!(
            kind(&[("clientSecret", "s"), ("clientCertificate", "p"), ("accountKey", "k")]).unwrap(),
            "secret of c"
        );
        assert_eq!(
            kind(&[("clientCertificate", "p"), ("clientCertificateSendChain", "True")]).unwrap(),
            "certificate true"
        );
        let error = kind(&[("clientCertificate", "p"), ("clientCertificatePassword", "s3cret")]).unwrap_err();
        assert!(error.to_string().contains("with a password are not supported"), "{error}");
        assert!(kind(&[("accountKey", "k")]).unwrap_err().to_string().contains("key 'clientId'"));
        let plain = |keys: &[(&str, &str)]| AzureSecret::from_content(&content(keys));
        assert!(matches!(plain(&[("accountKey", "k"), ("sasKey", "s")]), Ok(AzureSecret::Account(_))));
        assert!(matches!(plain(&[("sasKey", "s")]), Ok(AzureSecret::Signature(_))));
        let error = plain(&[("authorityHost", "https://h")]).err().unwrap().to_string();
        assert!(
            error.starts_with("invalid 'n' secret data: requires a 'sasKey' or 'accountKey' field"),
            "{error}"
        );
    }
}
