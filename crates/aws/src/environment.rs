//! Which credentials the environment has, in the order of the SDKs: an access key, a role for the token of a file, an endpoint of the
//! container (EKS Pod Identity, ECS), the metadata service of the machine. Pure: variables are an argument. Files of profiles are not
//! read.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use plumb_api::sealed::Sealed;
use url::Url;

use crate::{error::AwsError, signature::AccessKey};

/// The variables that are read.
const VARIABLES: [&str; 16] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_ECR",
    "AWS_ENDPOINT_URL_ECR_PUBLIC",
    "AWS_ENDPOINT_URL_STS",
    "AWS_REGION",
    "AWS_ROLE_ARN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
];
const SESSION_NAME: &str = "AWS_ROLE_SESSION_NAME";
/// The name of a session where the environment has none.
const SESSION_NAME_DEFAULT: &str = "source-controller";
/// Where the metadata service of a machine is.
const METADATA_VARIABLE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
const METADATA: &str = "http://169.254.169.254/";
/// Where a container of ECS has its credentials.
const CONTAINER: &str = "http://169.254.170.2";
/// Hosts that credentials of a container may come from without TLS, in addition to loopback: ECS, EKS.
const CONTAINER_HOSTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];
/// Characters of a region.
const REGION_LENGTH_MAX: usize = 64;

/// What the environment says of AWS.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<&'static str, Sealed>);

/// Where the credentials of the environment come from.
pub(crate) enum Source {
    Key(AccessKey),
    Role { arn: String, file: PathBuf, session: String },
    Container { url: Url, token: Option<Sealed>, token_file: Option<PathBuf> },
    Metadata { base: Url },
}

/// The services of AWS that are called.
pub struct Endpoints<'a>(&'a Environment);

impl Environment {
    /// The variables that `lookup` knows.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let names = VARIABLES.into_iter().chain([SESSION_NAME]);
        let known = names.filter_map(|name| {
            let value = lookup(name).filter(|value| !value.is_empty())?;
            Some((name, Sealed::from(value)))
        });
        Self(known.collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Sealed::expose_str)
    }

    fn url(&self, name: &'static str) -> Result<Option<Url>, AwsError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.filter(|url| url.username().is_empty() && url.password().is_none());
        url.map(Some).ok_or(AwsError::Variable { name, problem: "is not an http or https URL" })
    }

    /// The region: of the spec or the registry, else that of the environment.
    pub fn region(&self, wanted: Option<&str>) -> Result<String, AwsError> {
        let region = wanted.or_else(|| self.get("AWS_REGION")).ok_or(AwsError::NoRegion)?;
        if is_region(region) {
            Ok(region.to_owned())
        } else {
            Err(AwsError::Region { region: region.to_owned() })
        }
    }

    /// The services.
    pub fn endpoints(&self) -> Endpoints<'_> {
        Endpoints(self)
    }

    /// The first place that has credentials. A half-set one is an error: the next place would be another identity.
    pub(crate) fn source(&self) -> Result<Source, AwsError> {
        let secret = self.0.get("AWS_SECRET_ACCESS_KEY");
        match (self.get("AWS_ACCESS_KEY_ID"), secret) {
            (Some(id), Some(secret)) => {
                let (id, session) = (id.to_owned(), self.0.get("AWS_SESSION_TOKEN").cloned());
                return Ok(Source::Key(AccessKey { id, secret: secret.clone(), session }));
            }
            (None, None) => {}
            (None, Some(_)) => return Err(unset("AWS_ACCESS_KEY_ID")),
            (Some(_), None) => return Err(unset("AWS_SECRET_ACCESS_KEY")),
        }
        if let Some(file) = self.get("AWS_WEB_IDENTITY_TOKEN_FILE") {
            let arn = self.get("AWS_ROLE_ARN").ok_or_else(|| unset("AWS_ROLE_ARN"))?.to_owned();
            let session = self.get(SESSION_NAME).unwrap_or(SESSION_NAME_DEFAULT).to_owned();
            return Ok(Source::Role { arn, file: PathBuf::from(file), session });
        }
        if let Some(url) = self.container()? {
            let token = self.0.get("AWS_CONTAINER_AUTHORIZATION_TOKEN").cloned();
            let token_file = self.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").map(PathBuf::from);
            return Ok(Source::Container { url, token, token_file });
        }
        let is_disabled = self.get("AWS_EC2_METADATA_DISABLED");
        if is_disabled.is_some_and(|text| text.eq_ignore_ascii_case("true")) {
            return Err(AwsError::Variable {
                name: "AWS_EC2_METADATA_DISABLED",
                problem: "is true, and there are no other credentials",
            });
        }
        let base = self.url(METADATA_VARIABLE)?.or_else(|| Url::parse(METADATA).ok());
        base.map(|base| Source::Metadata { base }).ok_or_else(|| unset(METADATA_VARIABLE))
    }

    fn container(&self) -> Result<Option<Url>, AwsError> {
        const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
        const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
        if let Some(path) = self.get(RELATIVE) {
            let url = path.starts_with('/').then(|| Url::parse(&format!("{CONTAINER}{path}")).ok()).flatten();
            return url.map(Some).ok_or(AwsError::Variable { name: RELATIVE, problem: "is not a path" });
        }
        let Some(url) = self.url(FULL)? else { return Ok(None) };
        let host = url.host_str().unwrap_or_default();
        let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        let is_own = host == "localhost"
            || CONTAINER_HOSTS.contains(&host)
            || address.is_some_and(|address| address.is_loopback());
        if url.scheme() == "https" || is_own {
            Ok(Some(url))
        } else {
            let problem = "is neither an https URL nor an address of EKS, ECS or loopback";
            Err(AwsError::Variable { name: FULL, problem })
        }
    }
}

fn unset(name: &'static str) -> AwsError {
    AwsError::Variable { name, problem: "is not set" }
}

impl Endpoints<'_> {
    /// The Security Token Service. One that a spec names has to be at AWS: it is sent a token.
    pub fn sts(&self, region: &str, named: Option<&str>) -> Result<Url, AwsError> {
        let own = self.of("AWS_ENDPOINT_URL_STS")?;
        match (named, own) {
            (None, Some(own)) => Ok(own),
            (None, None) => public("sts", region),
            (Some(named), own) => {
                let url = Url::parse(named).ok();
                let is_allowed = |url: &Url| is_sts_endpoint(url) || own.as_ref() == Some(url);
                url.filter(is_allowed)
                    .ok_or_else(|| AwsError::NotSts { endpoint: plumb_transport::shown_text(named) })
            }
        }
    }

    /// The API of container registries.
    pub(crate) fn ecr(&self, region: &str) -> Result<Url, AwsError> {
        self.of("AWS_ENDPOINT_URL_ECR")?.map_or_else(|| public("api.ecr", region), Ok)
    }

    /// That of the public registry.
    pub(crate) fn ecr_public(&self, region: &str) -> Result<Url, AwsError> {
        self.of("AWS_ENDPOINT_URL_ECR_PUBLIC")?.map_or_else(|| public("api.ecr-public", region), Ok)
    }

    fn of(&self, name: &'static str) -> Result<Option<Url>, AwsError> {
        Ok(self.0.url(name)?.or(self.0.url("AWS_ENDPOINT_URL")?))
    }
}

fn public(service: &str, region: &str) -> Result<Url, AwsError> {
    let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    Url::parse(&format!("https://{service}.{region}.{suffix}/"))
        .map_err(|_| AwsError::Region { region: region.to_owned() })
}

/// Whether a text is the name of a region: it becomes a label of a host.
pub fn is_region(text: &str) -> bool {
    let mut parts = text.split('-');
    text.len() <= REGION_LENGTH_MAX
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && parts.next().is_some_and(|first| first.len() >= 2)
        && text.split('-').count() >= 3
        && parts
            .next_back()
            .is_some_and(|last| !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether a URL is a Security Token Service of AWS: the global one, that of a region, or that of an interface endpoint.
pub fn is_sts_endpoint(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let labels = host.strip_suffix(".amazonaws.com").or_else(|| host.strip_suffix(".amazonaws.com.cn"));
    let Some(labels) = labels else { return false };
    let labels: Vec<&str> = labels.split('.').collect();
    let is_service = |label: &str| matches!(label, "sts" | "sts-fips");
    let is_named = match labels.as_slice() {
        [service] => is_service(service),
        [service, region] => is_service(service) && is_region(region),
        [endpoint, service, region, "vpce"] => {
            endpoint.starts_with("vpce-") && is_service(service) && is_region(region)
        }
        _ => false,
    };
    is_named
        && url.scheme() == "https"
        && url.port().is_none()
        && url.username().is_empty()
        && url.password().is_none()
        && url.path() == "/"
        && url.query().is_none()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn of(pairs: &[(&str, &str)]) -> Environment {
        Environment::read(|name| {
            pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn found(pairs: &[(&str, &str)]) -> String {
        match of(pairs).source() {
            Ok(Source::Key(AccessKey { id, session, .. })) => {
                format!("key {id}{}", if session.is_some() { " session" } else { "" })
            }
            Ok(Source::Role { arn, file, session }) => format!("role {arn} {} {session}", file.display()),
            Ok(Source::Container { url, token_file, .. }) => {
                format!("container {url} {}", token_file.is_some())
            }
            Ok(Source::Metadata { base }) => format!("metadata {base}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn credentials_are_taken_in_the_order_of_the_sdks() {
        let all = [
            ("AWS_ACCESS_KEY_ID", "AKIA"),
            ("AWS_SECRET_ACCESS_KEY", "s3cret"),
            ("AWS_SESSION_TOKEN", "t"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"),
            ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/eks"),
        ];
        for (rows, expect) in [
            (&all[..], "key AKIA session"),
            (&all[3..], "role arn:aws:iam::1:role/r /t source-controller"),
            (&all[5..], "container http://169.254.170.23/v1/credentials true"),
            (&all[6..], "metadata http://169.254.169.254/"),
            (&all[1..], "environment variable AWS_ACCESS_KEY_ID of source-controller is not set"),
            (&all[3..4], "environment variable AWS_ROLE_ARN of source-controller is not set"),
            (
                &[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x")],
                "container http://169.254.170.2/v2/x false",
            ),
            (
                &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://[fd00:ec2::254]/")],
                "metadata http://[fd00:ec2::254]/",
            ),
            (
                &[("AWS_EC2_METADATA_DISABLED", "true")],
                "environment variable AWS_EC2_METADATA_DISABLED of source-controller is true, and there are no other credentials",
            ),
            (
                &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://evil.example/")],
                "environment variable AWS_CONTAINER_CREDENTIALS_FULL_URI of source-controller is neither an https URL nor an address of EKS, ECS or loopback",
            ),
        ] {
            assert_eq!(found(rows), expect);
        }
    }

    #[test]
    fn a_token_is_sent_to_the_security_token_service_of_aws_only() {
        let none = of(&[]);
        let sts = |named: &str| none.endpoints().sts("eu-west-1", Some(named)).map(|url| url.to_string());
        for endpoint in [
            "https://sts.amazonaws.com",
            "https://sts.eu-west-1.amazonaws.com/",
            "https://sts-fips.us-gov-west-1.amazonaws.com",
            "https://sts.cn-north-1.amazonaws.com.cn",
            "https://vpce-0a.sts.eu-west-1.vpce.amazonaws.com",
        ] {
            assert!(sts(endpoint).is_ok(), "{endpoint}");
        }
        for endpoint in [
            "http://sts.eu-west-1.amazonaws.com",
            "https://sts.eu-west-1.amazonaws.com:8443",
            "https://sts.eu-west-1.amazonaws.com.evil.example",
            "https://evil.example/sts.amazonaws.com",
            "https://sts.amazonaws.com@evil.example",
            "https://sts.s3.amazonaws.com",
            "https://bucket.s3.eu-west-1.amazonaws.com",
            "https://sts.eu-west-1.amazonaws.com/path",
            "nonsense",
        ] {
            let error = sts(endpoint).unwrap_err().to_string();
            assert!(error.starts_with("invalid STS endpoint: '"), "{error}");
        }
        let fake = of(&[("AWS_ENDPOINT_URL", "http://127.0.0.1:5000/")]);
        let url =
            |endpoints: Endpoints<'_>, named| endpoints.sts("eu-west-1", named).map(|url| url.to_string());
        assert_eq!(url(fake.endpoints(), None).unwrap(), "http://127.0.0.1:5000/");
        assert!(url(fake.endpoints(), Some("http://127.0.0.1:5001/")).is_err());
        assert_eq!(url(none.endpoints(), None).unwrap(), "https://sts.eu-west-1.amazonaws.com/");
        let china = none.endpoints().ecr("cn-north-1").unwrap();
        assert_eq!(china.as_str(), "https://api.ecr.cn-north-1.amazonaws.com.cn/");
    }

    #[test]
    fn a_region_is_one_label() {
        for region in ["eu-west-1", "us-gov-west-1", "ap-southeast-2"] {
            assert!(is_region(region), "{region}");
        }
        for region in
            ["", "s3", "eu-west", "eu-west-1.evil.example", "EU-WEST-1", "eu-west-x1", "eu/west-1-1"]
        {
            assert!(!is_region(region), "{region}");
        }
    }
}
