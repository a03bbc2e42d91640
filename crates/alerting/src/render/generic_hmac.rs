//! `generic-hmac`: the event as JSON, signed with the token.

use hmac::{Hmac, KeyInit, Mac};
use plumb_api::event::Event;
use sha2::Sha256;

use super::{OutboundRequest, RenderError, Settings, generic};

const SIGNATURE_HEADER: &str = "x-signature";

pub(super) fn render(event: &Event, settings: &Settings) -> Result<OutboundRequest, RenderError> {
    let token = settings.token.as_ref().filter(|token| !token.is_empty());
    let token = token.ok_or(RenderError::NoToken("generic-hmac"))?;
    let request = generic::render(event, settings)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(token.expose()).expect("an HMAC takes a key of any length");
    mac.update(&request.body);
    let signature = format!("sha256={}", data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes()));
    Ok(request.with(SIGNATURE_HEADER, signature))
}

#[cfg(test)]
mod tests {
    use crate::fixtures::event;
    use crate::receiver::{Expectation, Webhook, verify};
    use crate::render::golden::{settings, text};

    #[test]
    fn the_signature_is_one_that_our_own_receiver_accepts() {
        let text = text("generic-hmac", &event(), &settings("http://h/", "secret"));
        let (head, body) = text.split_once("\n\n").unwrap();
        let (_, signature) = head.rsplit_once("x-signature: ").unwrap();
        let headers = [("x-signature".to_owned(), signature.to_owned())];
        let webhook = Webhook { headers: &headers, body: body.as_bytes() };
        assert_eq!(verify("generic-hmac", &webhook, &Expectation { token: b"secret", events: &[] }), Ok(()));
    }

    #[test]
    fn without_a_token_nothing_is_sent() {
        let expect = "no token: the Secret of a provider of type generic-hmac needs the key token";
        assert_eq!(text("generic-hmac", &event(), &settings("http://h/", "")), expect);
    }
}
