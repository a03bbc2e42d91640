//! `slack`: one attachment, posted to an incoming webhook or to `chat.postMessage`.

use plumb_api::event::{Event, Severity};
use serde::{Deserialize, Serialize};

use super::{Answer, OutboundRequest, Rejection, RenderError, Settings, json};

pub(super) fn render(event: &Event, settings: &Settings) -> Result<OutboundRequest, RenderError> {
    let url = settings.url()?;
    let mut request = OutboundRequest::post(url, json(&message(event, settings))?);
    request.answer = Answer::Ok;
    match settings.token.as_ref().filter(|token| !token.is_empty()) {
        None => Ok(request),
        Some(token) => {
            let token = token.expose_str().filter(|token| token.bytes().all(|byte| byte.is_ascii_graphic()));
            let token = token.ok_or_else(|| RenderError::BadHeader("Authorization".to_owned()))?;
            Ok(request.with("authorization", format!("Bearer {token}")))
        }
    }
}

/// Error codes that Slack documents for posting a message. Any other text of an answer is not repeated.
const CODES: [&str; 30] = [
    "account_inactive",
    "as_user_not_supported",
    "channel_not_found",
    "ekm_access_denied",
    "fatal_error",
    "internal_error",
    "invalid_arguments",
    "invalid_auth",
    "invalid_blocks",
    "invalid_payload",
    "is_archived",
    "messages_tab_disabled",
    "message_limit_exceeded",
    "missing_scope",
    "msg_too_long",
    "no_permission",
    "no_text",
    "not_allowed_token_type",
    "not_authed",
    "not_in_channel",
    "org_login_required",
    "rate_limited",
    "ratelimited",
    "request_timeout",
    "restricted_action",
    "service_unavailable",
    "team_access_not_granted",
    "token_expired",
    "token_revoked",
    "too_many_attachments",
];
/// Those of them that may be gone at the next try.
const TRANSIENT_CODES: [&str; 6] = [
    "fatal_error",
    "internal_error",
    "rate_limited",
    "ratelimited",
    "request_timeout",
    "service_unavailable",
];

/// The Web API answers 200 to what it refuses; an incoming webhook answers with plain text.
pub(super) fn accepted(body: &[u8]) -> Result<(), Rejection> {
    match serde_json::from_slice(body) {
        Ok(Verdict { ok: false, error }) => {
            Err(Rejection::Code { code: CODES.into_iter().find(|code| *code == error) })
        }
        _ => Ok(()),
    }
}

/// Whether the same message may be taken later.
pub(super) fn is_transient(code: Option<&str>) -> bool {
    code.is_some_and(|code| TRANSIENT_CODES.contains(&code))
}

fn message<'a>(event: &'a Event, settings: &'a Settings) -> Message<'a> {
    let object = &event.involved_object;
    let author = format!("{}/{}.{}", object.kind.to_lowercase(), object.name, object.namespace);
    let first_line = event.message.lines().next().unwrap_or_default();
    let color = match event.severity {
        Severity::Error => "danger",
        Severity::Info | Severity::Trace => "good",
    };
    let fields = event.metadata.iter().map(|(title, value)| Field { title, value, short: false }).collect();
    let username =
        if settings.username.is_empty() { &event.reporting_controller } else { &settings.username };
    Message {
        channel: &settings.channel,
        username,
        attachments: [Attachment {
            fallback: format!("{author}: {first_line}"),
            color,
            author_name: author,
            text: &event.message,
            mrkdwn_in: ["text"],
            fields,
        }],
    }
}

#[derive(Serialize)]
struct Message<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    channel: &'a str,
    username: &'a str,
    attachments: [Attachment<'a>; 1],
}

#[derive(Serialize)]
struct Attachment<'a> {
    fallback: String,
    color: &'static str,
    author_name: String,
    text: &'a str,
    mrkdwn_in: [&'static str; 1],
    fields: Vec<Field<'a>>,
}

#[derive(Serialize)]
struct Field<'a> {
    title: &'a str,
    value: &'a str,
    short: bool,
}

#[derive(Deserialize)]
struct Verdict {
    ok: bool,
    #[serde(default)]
    error: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{event, pairs};
    use crate::render::golden::{settings, text};

    #[test]
    fn a_failure_becomes_a_red_attachment() {
        let mut event = event();
        event.severity = Severity::Error;
        event.message = "health check failed\nDeployment/prod/web".into();
        event.metadata = pairs(&[("env", "prod"), ("revision", "main@sha1:1")]);
        let mut settings = settings("https://slack.com/api/chat.postMessage", "xoxb-1");
        settings.channel = "#ops".into();
        settings.username = "flux".into();
        let expect = concat!(
            "POST https://slack.com/api/chat.postMessage\n",
            "content-type: application/json\n",
            "authorization: Bearer xoxb-1\n",
            "\n",
            r##"{"channel":"#ops","username":"flux","attachments":[{"##,
            r#""fallback":"kustomization/apps.prod: health check failed","color":"danger","#,
            r#""author_name":"kustomization/apps.prod","text":"health check failed\nDeployment/prod/web","#,
            r#""mrkdwn_in":["text"],"fields":[{"title":"env","value":"prod","short":false},"#,
            r#"{"title":"revision","value":"main@sha1:1","short":false}]}]}"#,
        );
        assert_eq!(text("slack", &event, &settings), expect);
    }

    #[test]
    fn an_incoming_webhook_needs_neither_token_nor_channel() {
        let mut event = event();
        event.metadata.clear();
        let expect = concat!(
            "POST https://hooks.slack.com/services/T0/B0/x\n",
            "content-type: application/json\n",
            "\n",
            r#"{"username":"kustomize-controller","attachments":[{"fallback":"kustomization/apps.prod: Applied","#,
            r#""color":"good","author_name":"kustomization/apps.prod","text":"Applied","mrkdwn_in":["text"],"#,
            r#""fields":[]}]}"#,
        );
        assert_eq!(text("slack", &event, &settings("https://hooks.slack.com/services/T0/B0/x", "")), expect);
    }

    #[test]
    fn a_token_that_is_no_header_is_refused() {
        let said = text("slack", &event(), &settings("https://slack.com/", "a\nb"));
        assert_eq!(
            said,
            "the header \"Authorization\" of the Secret cannot be sent: its name or value holds bytes that are not allowed"
        );
    }

    #[test]
    fn an_answer_of_200_that_says_not_ok_is_a_failure() {
        assert_eq!(accepted(b"ok"), Ok(()));
        assert_eq!(accepted(br#"{"ok":true}"#), Ok(()));
        let rejection = accepted(br#"{"ok":false,"error":"channel_not_found"}"#).unwrap_err();
        assert_eq!(rejection.to_string(), "the server answered with the error \"channel_not_found\"");
        assert!(!rejection.is_transient());
        assert!(accepted(br#"{"ok":false,"error":"ratelimited"}"#).unwrap_err().is_transient());
        let rejection = accepted(br#"{"ok":false,"error":"no access for xoxb-1"}"#).unwrap_err();
        assert_eq!(rejection.to_string(), "the server answered with an error code that is not documented");
    }
}
