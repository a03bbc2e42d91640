//! Keeps secrets out of texts that people see: known secrets wherever they stand and however they are written, and
//! whatever comes after the host of any URL. Where secrets come from never enters.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use plumb_api::sealed::Sealed;

/// What stands where a secret stood.
pub const MASK: &str = "*****";

/// Schemes whose URLs are cut after the host.
const SCHEMES: [&str; 2] = ["https://", "http://"];

/// Masks the secrets that it was told of.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Every way a secret may be written; the longest first, so that no part of one is left over.
    forms: Vec<String>,
}

impl Redactor {
    /// Masks these secrets. Empty ones are left out.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Sealed>) -> Self {
        let mut forms: Vec<String> =
            secrets.into_iter().flat_map(written).filter(|form| !form.is_empty()).collect();
        forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        Self { forms }
    }

    /// The text without secrets.
    pub fn mask(&self, text: &str) -> String {
        let known = self.forms.iter().fold(text.to_owned(), |text, form| text.replace(form.as_str(), MASK));
        without_url_details(&known)
    }
}

/// The ways a secret is written: as it is, quoted as JSON and Debug do, percent-encoded, in base64, and each line of it.
fn written(secret: &Sealed) -> Vec<String> {
    let bytes = secret.expose();
    if bytes.is_empty() {
        return Vec::new();
    }
    let mut forms: Vec<String> = vec![
        STANDARD.encode(bytes),
        STANDARD_NO_PAD.encode(bytes),
        URL_SAFE.encode(bytes),
        URL_SAFE_NO_PAD.encode(bytes),
        url::form_urlencoded::byte_serialize(bytes).collect(),
        crate::hex(bytes),
    ];
    let text = String::from_utf8_lossy(bytes);
    for part in text.lines().chain([&*text]).map(str::trim).filter(|part| !part.is_empty()) {
        forms.push(part.to_owned());
        let quoted = serde_json::Value::from(part).to_string();
        forms.push(quoted[1..quoted.len() - 1].to_owned());
        forms.push(part.escape_debug().to_string());
    }
    forms
}

/// The text with every URL cut down to scheme, host and port: paths, queries and credentials can be secrets.
fn without_url_details(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((at, scheme)) = first_scheme(rest) {
        let start = at + scheme.len();
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.find(|c: char| c.is_whitespace() || "\"'`<>".contains(c)).unwrap_or(rest.len());
        let (url, after) = rest.split_at(end);
        out.push_str(&authority(url));
        rest = after;
    }
    out.push_str(rest);
    out
}

fn first_scheme(text: &str) -> Option<(usize, &'static str)> {
    let found = SCHEMES.iter().filter_map(|scheme| Some((find_ignoring_case(text, scheme)?, *scheme)));
    found.min_by_key(|(at, _)| *at)
}

fn find_ignoring_case(text: &str, word: &str) -> Option<usize> {
    text.as_bytes().windows(word.len()).position(|window| window.eq_ignore_ascii_case(word.as_bytes()))
}

/// Host and port of the rest of a URL, a mask for what was cut, and the punctuation of the sentence around it.
fn authority(rest: &str) -> String {
    let url = rest.trim_end_matches([':', '.', ';', ',', ')', ']', '}']);
    let punctuation = &rest[url.len()..];
    let (authority, tail) = url.split_at(url.find(['/', '?', '#', '\\']).unwrap_or(url.len()));
    let (user, host) = authority.rsplit_once('@').map_or(("", authority), |(_, host)| (MASK, host));
    let at = if user.is_empty() { "" } else { "@" };
    let hidden = if tail.len() > 1 { MASK } else { "" };
    let slash = if tail.is_empty() { "" } else { "/" };
    format!("{user}{at}{host}{slash}{hidden}{punctuation}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(secrets: &[&str], text: &str, expect: &str) {
        let sealed: Vec<_> = secrets.iter().map(|secret| Sealed::from(*secret)).collect();
        assert_eq!(Redactor::new(&sealed).mask(text), expect);
    }

    #[test]
    fn a_known_secret_is_masked_wherever_it_stands() {
        check(&["xoxb-1"], "token xoxb-1 and xoxb-1!", "token ***** and *****!");
        check(&["ab", "abc"], "abc ab", "***** *****");
        check(&[""], "nothing to hide", "nothing to hide");
    }

    #[test]
    fn a_secret_is_masked_however_it_is_written() {
        check(
            &["to ken"],
            "basic dG8ga2Vu, form to+ken, hex 746f206b656e",
            "basic *****, form *****, hex *****",
        );
        check(&["a\"b"], r#"body {"t":"a\"b"}"#, r#"body {"t":"*****"}"#);
        check(&["line one\nline two\n"], "got line two", "got *****");
    }

    #[test]
    fn a_url_keeps_only_its_host() {
        check(
            &[],
            "POST https://hooks.example.com/services/T0/B0/x: 404",
            "POST https://hooks.example.com/*****: 404",
        );
        check(&[], "url (http://u:p@h:80?token=x).", "url (http://*****@h:80/*****).");
        check(&[], "HTTPS://h/x, http://h/, http://h", "HTTPS://h/*****, http://h/, http://h");
        check(&[], "see http://h: down", "see http://h: down");
        check(
            &[],
            "http://u:p,q@h/ http://h/a,b [http://[::1]:80/x]",
            "http://*****@h/ http://h/***** [http://[::1]:80/*****]",
        );
    }
}
