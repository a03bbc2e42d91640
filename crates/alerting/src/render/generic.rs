//! `generic`: the event itself, as JSON.

use plumb_api::event::Event;
use plumb_api::sealed::Sealed;

use super::{OutboundRequest, RenderError, Settings, json};

/// Names which controller the event comes from.
const COMPONENT_HEADER: &str = "gotk-component";

pub(super) fn render(event: &Event, settings: &Settings) -> Result<OutboundRequest, RenderError> {
    let mut request = OutboundRequest::post(settings.url()?, json(event)?)
        .with(COMPONENT_HEADER, event.reporting_controller.as_str());
    for (name, value) in &settings.headers {
        if !is_token(name) || !is_value(value) {
            return Err(RenderError::BadHeader(name.clone()));
        }
        // A header of the Secret takes the place of ours.
        request.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        request = request.with(name, value.clone());
    }
    Ok(request)
}

pub(super) fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn is_value(value: &Sealed) -> bool {
    value.expose().iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::event;
    use crate::render::golden::{settings, text};

    #[test]
    fn the_event_is_posted_as_it_is() {
        let mut settings = settings("https://sink.example.com/alerts?a=b", "unused");
        settings.headers.insert("Authorization".into(), Sealed::from("Bearer x"));
        let expect = concat!(
            "POST https://sink.example.com/alerts?a=b\n",
            "content-type: application/json\n",
            "gotk-component: kustomize-controller\n",
            "Authorization: Bearer x\n",
            "\n",
            r#"{"involvedObject":{"kind":"Kustomization","namespace":"prod","name":"apps","uid":"1-2","#,
            r#""apiVersion":"kustomize.toolkit.fluxcd.io/v1"},"severity":"info","timestamp":"2026-11-25T06:30:00Z","#,
            r#""message":"Applied","reason":"ReconciliationSucceeded","#,
            r#""metadata":{"kustomize.toolkit.fluxcd.io/revision":"main@sha1:1"},"#,
            r#""reportingController":"kustomize-controller","reportingInstance":"pod-1"}"#,
        );
        assert_eq!(text("generic", &event(), &settings), expect);
    }

    #[test]
    fn a_header_of_the_secret_takes_the_place_of_ours() {
        let mut settings = settings("http://h/", "");
        settings.headers.insert("Content-Type".into(), Sealed::from("application/cloudevents+json"));
        let text = text("generic", &event(), &settings);
        assert!(text.starts_with("POST http://h/\ngotk-component: kustomize-controller\nContent-Type: application/cloudevents+json\n\n"), "{text}");
    }

    #[test]
    fn a_header_that_would_break_the_request_is_refused() {
        let why = "of the Secret cannot be sent: its name or value holds bytes that are not allowed";
        for (name, value, named) in [
            ("X-A", "a\r\nX-B: b", "the header \"X-A\""),
            ("Bearer s3cret", "a", "a header"),
            ("", "a", "a header"),
        ] {
            let mut settings = settings("http://h/", "");
            settings.headers.insert(name.into(), Sealed::from(value));
            assert_eq!(text("generic", &event(), &settings), format!("{named} {why}"));
        }
    }
}
