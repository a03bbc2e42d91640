//! `github`: `X-Hub-Signature-256` carries an HMAC of the body; `X-GitHub-Event` must be in the list of events, where there
//! is one. The SHA-1 of `X-Hub-Signature`, which GitHub sends beside it, proves nothing here.

use super::signature::{self, Algorithm};
use super::{Expectation, Webhook, WebhookRejection, is_listed};

const HEADER: &str = "X-Hub-Signature-256";
const EVENT_HEADER: &str = "X-GitHub-Event";
/// What GitHub sends: the payload itself, or a form with a field `payload`.
const CONTENT_TYPES: [&str; 2] = ["application/json", "application/x-www-form-urlencoded"];
/// How much of a stranger's word is repeated to it.
const ECHO_CHARS_MAX: usize = 64;

pub(super) fn verify(webhook: &Webhook<'_>, expectation: &Expectation<'_>) -> Result<(), WebhookRejection> {
    // The signature first: who does not know the token learns nothing else.
    let given =
        webhook.header("x-hub-signature-256").ok_or(WebhookRejection::NoSignature { header: HEADER })?;
    signature::verify(given, webhook.body, expectation.token, &[Algorithm::Sha256])
        .map_err(|source| WebhookRejection::Signature { header: HEADER, source })?;
    let content_type = webhook.header("content-type").unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if !CONTENT_TYPES.contains(&media_type.as_str()) {
        return Err(WebhookRejection::ContentType(echo(content_type)));
    }
    match webhook.header("x-github-event").unwrap_or_default() {
        "" if !expectation.events.is_empty() => Err(WebhookRejection::NoEvent { header: EVENT_HEADER }),
        event if is_listed(event, expectation.events) => Ok(()),
        event => Err(WebhookRejection::Event(echo(event))),
    }
}

fn echo(word: &str) -> String {
    word.chars().take(ECHO_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use crate::receiver::rows::verdict;

    const JSON: (&str, &str) = ("Content-Type", "application/json; charset=utf-8");
    const BODY: &str = r#"{"ref":"refs/heads/main"}"#;
    // openssl dgst -shaN -hmac secret
    const SHA256: &str = "sha256=d8f89f0618acd61fe621aa4e64078c0e2bca15d0b578b7f3eb734f55883c5320";
    const SHA1: &str = "sha1=b4a16e3f7e972ac84f7ec491f5bd8e412e95cd69";

    const MISSING: &str = "the header X-Hub-Signature-256 with the signature is missing";

    #[test]
    fn a_signed_push_is_let_in() {
        let event = ("X-GitHub-Event", "push");
        assert_eq!(verdict("github", &[JSON, event, ("X-Hub-Signature-256", SHA256)], BODY, &["Push"]), "");
    }

    #[test]
    fn sha1_proves_nothing() {
        let refused = |why| format!("the header X-Hub-Signature-256 is not valid: {why}");
        assert_eq!(verdict("github", &[JSON, ("X-Hub-Signature", SHA1)], BODY, &[]), MISSING);
        let algorithm = refused("the algorithm \"sha1\" is not one of sha256");
        assert_eq!(verdict("github", &[JSON, ("X-Hub-Signature-256", SHA1)], BODY, &[]), algorithm);
        let headers = [JSON, ("X-Hub-Signature-256", "sha256=00"), ("X-Hub-Signature", SHA1)];
        assert_eq!(verdict("github", &headers, BODY, &[]), refused("the signature does not match"));
    }

    #[test]
    fn a_body_without_a_right_signature_is_refused() {
        let wrong = "the header X-Hub-Signature-256 is not valid: the signature does not match";
        assert_eq!(verdict("github", &[JSON, ("X-Hub-Signature-256", SHA256)], "{}", &[]), wrong);
        assert_eq!(verdict("github", &[JSON], BODY, &[]), MISSING);
    }

    #[test]
    fn an_event_outside_of_the_list_is_refused() {
        let headers = [JSON, ("X-GitHub-Event", "ping"), ("X-Hub-Signature-256", SHA256)];
        assert_eq!(verdict("github", &headers, BODY, &["push"]), "the event \"ping\" is not authorised");
    }

    #[test]
    fn a_missing_event_header_is_named_once_the_signature_is_right() {
        let missing = "the header X-GitHub-Event is missing: it must name one of the events of spec.events";
        for event in [&[][..], &[("X-GitHub-Event", "")]] {
            let signed = [&[JSON, ("X-Hub-Signature-256", SHA256)], event].concat();
            assert_eq!(verdict("github", &signed, BODY, &["push"]), missing);
            assert_eq!(verdict("github", &signed, BODY, &[]), "", "every event is let in");
            let forged = [&[JSON, ("X-Hub-Signature-256", "sha256=00")], event].concat();
            let wrong = "the header X-Hub-Signature-256 is not valid: the signature does not match";
            assert_eq!(verdict("github", &forged, BODY, &["push"]), wrong);
        }
    }

    #[test]
    fn a_form_is_signed_as_a_whole() {
        let headers = [
            ("Content-Type", "application/x-www-form-urlencoded"),
            (
                "X-Hub-Signature-256",
                "sha256=342a658c2944fef4f569b78654aa8e57f96c8c89141db8ff78588129b5210467",
            ),
        ];
        assert_eq!(verdict("github", &headers, "payload=%7B%7D", &[]), "");
    }

    #[test]
    fn a_body_of_another_kind_is_refused() {
        let headers = [("Content-Type", "text/plain"), ("X-Hub-Signature-256", SHA256)];
        assert_eq!(verdict("github", &headers, BODY, &[]), "content type \"text/plain\" is not supported");
    }
}
