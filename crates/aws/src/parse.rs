//! Responses with credentials. Pure.

use jiff::Timestamp;
use plumb_api::sealed::Sealed;
use serde::{Deserialize, Serialize};

use crate::{signature::AccessKey, xml};

/// Characters of an error code.
const CODE_MAX: usize = 64;

/// An access key with its end.
#[derive(Clone)]
pub struct TemporaryKey {
    /// The key.
    pub key: AccessKey,
    /// Its end, if the server says.
    pub expires_at: Option<Timestamp>,
}

/// The XML of a Security Token Service, whichever of its operations was called.
pub fn parse_sts(body: &[u8]) -> Option<TemporaryKey> {
    let (mut id, mut secret, mut session, mut expiration) = (None, None, None, None);
    let read = xml::read(
        body,
        || (),
        |element| {
            let [.., parent, name] = element.path else { return Ok(()) };
            let found = || Some(element.text.trim().to_owned()).filter(|text| !text.is_empty());
            if parent == "Credentials" {
                match name.as_str() {
                    "AccessKeyId" => id = found(),
                    "SecretAccessKey" => secret = found(),
                    "SessionToken" => session = found(),
                    "Expiration" => expiration = found(),
                    _ => {}
                }
            }
            Ok(())
        },
    );
    read.ok()?;
    let key = AccessKey { id: id?, secret: secret?.into(), session: session.map(Sealed::from) };
    let expires_at = expiration.map(|text| text.parse()).transpose().ok()?;
    Some(TemporaryKey { key, expires_at })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Raw {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<Timestamp>,
}

/// The JSON of a metadata service.
pub(crate) fn parse_metadata(body: &[u8]) -> Option<TemporaryKey> {
    let Raw { access_key_id: id, secret_access_key: secret, token, expiration } =
        serde_json::from_slice(body).ok()?;
    let is_whole = !id.is_empty() && !secret.is_empty();
    let key = AccessKey { id, secret: secret.into(), session: token.map(Sealed::from) };
    is_whole.then_some(TemporaryKey { key, expires_at: expiration })
}

#[derive(Deserialize, Serialize)]
struct Packed<'a>(&'a str, &'a str, Option<&'a str>);

/// A key as one secret, for the cache of tokens.
pub(crate) fn pack(key: &AccessKey) -> Option<Sealed> {
    let session = key.session.as_ref().map(|session| session.expose_str().unwrap_or_default());
    serde_json::to_vec(&Packed(&key.id, key.secret.expose_str()?, session)).ok().map(Sealed::new)
}

/// The key of a secret of [`pack`].
pub(crate) fn unpack(packed: &Sealed) -> Option<AccessKey> {
    let (id, secret, session): (String, String, Option<String>) =
        serde_json::from_slice(packed.expose()).ok()?;
    Some(AccessKey { id, secret: secret.into(), session: session.map(Sealed::from) })
}

#[derive(Deserialize)]
struct JsonError {
    #[serde(rename = "__type", alias = "Code", alias = "code")]
    kind: String,
}

/// The code of an error response, in XML or JSON.
pub fn error_code(body: &[u8]) -> Option<String> {
    if let Ok(JsonError { kind }) = serde_json::from_slice(body) {
        return code(kind.rsplit('#').next().unwrap_or_default());
    }
    let mut found = None;
    let read = xml::read(
        body,
        || (),
        |element| {
            if element.path.last().is_some_and(|name| name == "Code") {
                found = code(element.text.trim());
            }
            Ok(())
        },
    );
    found.filter(|_| read.is_ok())
}

/// A code of an error response, if it looks like one: whatever else a server writes is not shown.
pub fn code(text: &str) -> Option<String> {
    let is_code = !text.is_empty()
        && text.len() <= CODE_MAX
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_code.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_from_xml_and_json() {
        let pair = "<AccessKeyId>id</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>";
        let answer = |rest: &str| {
            let body = format!(
                "<R xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><X><Credentials>{rest}</Credentials></X></R>"
            );
            parse_sts(body.as_bytes())
        };
        let whole = answer(&format!(
            "{pair}<SessionToken>t</SessionToken><Expiration>2026-01-01T01:00:00Z</Expiration>"
        ));
        let json = br#"{"Code":"Success","AccessKeyId":"id","SecretAccessKey":"secret","Token":"t","Expiration":"2026-01-01T01:00:00Z"}"#;
        for TemporaryKey { key, expires_at } in [whole.unwrap(), parse_metadata(json).unwrap()] {
            let unpacked = unpack(&pack(&key).unwrap()).unwrap();
            for AccessKey { id, secret, session } in [key, unpacked] {
                assert!(id == "id" && secret.matches(b"secret") && session.unwrap().matches(b"t"));
            }
            assert_eq!(expires_at.unwrap().to_string(), "2026-01-01T01:00:00Z");
        }
        assert!(answer(pair).unwrap().expires_at.is_none());
        assert!(answer("<AccessKeyId>id</AccessKeyId>").is_none());
        assert!(answer(&format!("{pair}<Expiration>soon</Expiration>")).is_none());
        for body in ["{}", "<html>", r#"{"AccessKeyId":"","SecretAccessKey":""}"#] {
            assert!(parse_metadata(body.as_bytes()).is_none(), "{body}");
        }
    }

    #[test]
    fn only_what_looks_like_a_code_is_shown() {
        for (body, expect) in [
            (
                "<ErrorResponse><Error><Type/><Code>ExpiredTokenException</Code></Error></ErrorResponse>",
                Some("ExpiredTokenException"),
            ),
            (
                r#"{"__type":"com.amazon#UnrecognizedClientException","message":"x"}"#,
                Some("UnrecognizedClientException"),
            ),
            (r#"{"__type":"eyJ.to.ken"}"#, None),
            ("plain", None),
        ] {
            assert_eq!(error_code(body.as_bytes()).as_deref(), expect, "{body}");
        }
    }
}
