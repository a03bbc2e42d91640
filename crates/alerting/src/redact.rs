//! Keeps secrets out of texts that people see: known secrets wherever they stand and however they are written, the parts
//! of an address that is a secret, and whatever comes after the host of any URL. Where secrets come from never enters.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use plumb_api::sealed::Sealed;
use url::Url;

/// Replaces a secret.
pub const MASK: &str = "*****";

/// What is percent-encoded: every byte that is not unreserved in a URL.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Schemes whose URLs are cut after the host.
const SCHEMES: [&str; 2] = ["https://", "http://"];
/// A path segment of fewer bytes is a word such as `api` or `hook`: masking it everywhere would only garble the text.
const SEGMENT_BYTES_MIN: usize = 6;
/// A value of a query, a name or password of a URL, or a word of a header of fewer bytes is not masked alone.
const PART_BYTES_MIN: usize = 4;
/// How many parts of one secret are looked for.
const PARTS_MAX: usize = 256;
/// Words in front of the credential in a header: they are no secret.
const AUTH_SCHEMES: [&str; 5] = ["basic", "bearer", "digest", "token", "genie"];

/// Masks the secrets that it was made with.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Every way a secret may be written; the longest first, so that no part of one is left over.
    forms: Vec<String>,
}

impl Redactor {
    /// Masks these secrets. Empty ones are left out. A secret that is a URL is masked by its parts as well (path, path
    /// segments, query, values of the query, user, password, fragment), never by its host; a secret of several words, such
    /// as `Basic dXNlcjpwYXNz`, is masked by its words and by what they encode.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Sealed>) -> Self {
        let mut forms: Vec<String> = secrets
            .into_iter()
            .flat_map(|secret| std::iter::once(secret.expose().to_vec()).chain(parts(secret)))
            .flat_map(|part| written(&part))
            .filter(|form| !form.is_empty())
            .collect();
        forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        Self { forms }
    }

    /// The text without secrets.
    pub fn mask(&self, text: &str) -> String {
        let known = self.forms.iter().fold(text.to_owned(), |text, form| mask_form(text, form));
        without_url_details(&known)
    }
}

/// Replaces a form in any case of its ASCII letters: hexadecimal and percent-encoded forms have two.
fn mask_form(text: String, form: &str) -> String {
    let Some(first) = find_ignoring_case(&text, form) else { return text };
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut next) = (text.as_str(), Some(first));
    while let Some(at) = next {
        out.push_str(&rest[..at]);
        out.push_str(MASK);
        rest = &rest[at + form.len()..];
        next = find_ignoring_case(rest, form);
    }
    out.push_str(rest);
    out
}

/// What of a secret is a secret by itself.
fn parts(secret: &Sealed) -> Vec<Vec<u8>> {
    let Some(text) = secret.expose_str().map(str::trim) else { return Vec::new() };
    let mut parts = Vec::new();
    match Url::parse(text) {
        Ok(url) if url.has_host() => parts.extend(url_parts(text, &url)),
        _ => parts.extend(words(text)),
    }
    parts.truncate(PARTS_MAX);
    parts
}

/// The parts of a URL behind and before its host, as they are written and decoded.
fn url_parts(text: &str, url: &Url) -> Vec<Vec<u8>> {
    let mut found: Vec<(&str, usize)> = Vec::new();
    let written = text.split_once("://").map_or("", |(_, rest)| rest);
    let tail = written.find(['/', '?', '#', '\\']).map_or("", |at| &written[at..]);
    for path in [url.path(), tail] {
        found.push((path, PART_BYTES_MIN));
        found.extend(path.split(['/', '?', '#', '\\']).map(|segment| (segment, SEGMENT_BYTES_MIN)));
    }
    for query in [url.query(), url.fragment()].into_iter().flatten() {
        found.push((query, PART_BYTES_MIN));
        let values = query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value));
        found.extend(values.map(|value| (value, PART_BYTES_MIN)));
    }
    found.push((url.username(), PART_BYTES_MIN));
    found.push((url.password().unwrap_or_default(), PART_BYTES_MIN));
    let long = found.into_iter().filter(|(part, min)| part.len() >= *min);
    long.flat_map(|(part, _)| [part.as_bytes().to_vec(), percent_decode_str(part).collect()]).collect()
}

/// The words of a header's value, and what a word in base64 decodes to: `user:password` of `Basic …`.
fn words(text: &str) -> Vec<Vec<u8>> {
    let is_scheme = |word: &str| AUTH_SCHEMES.contains(&word.to_ascii_lowercase().as_str());
    let mut parts = Vec::new();
    if text.split_whitespace().nth(1).is_none() {
        return parts;
    }
    for word in text.split_whitespace().filter(|word| word.len() >= PART_BYTES_MIN && !is_scheme(word)) {
        parts.push(word.as_bytes().to_vec());
        let Ok(decoded) = STANDARD.decode(word) else { continue };
        if let Some((_, password)) = std::str::from_utf8(&decoded).ok().and_then(|pair| pair.split_once(':'))
            && password.len() >= PART_BYTES_MIN
        {
            parts.push(password.as_bytes().to_vec());
        }
        parts.push(decoded);
    }
    parts
}

/// The ways a secret is written: as it is, quoted as JSON and Debug do, percent-encoded, in base64, in hexadecimal, and
/// each line of it.
fn written(bytes: &[u8]) -> Vec<String> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let mut forms: Vec<String> = vec![
        STANDARD.encode(bytes),
        STANDARD_NO_PAD.encode(bytes),
        URL_SAFE.encode(bytes),
        URL_SAFE_NO_PAD.encode(bytes),
        url::form_urlencoded::byte_serialize(bytes).collect(),
        percent_encode(bytes, RESERVED).to_string(),
        data_encoding::HEXLOWER.encode(bytes),
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

/// Where the word, which is not empty, begins.
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
    fn a_known_secret_is_masked_wherever_it_occurs() {
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

    #[test]
    fn a_secret_address_is_masked_by_its_parts_and_keeps_its_host() {
        let address =
            "https://user:p4ssw0rd@hooks.example.com/services/T0AAAA/b%2Fc-secret?key=q-value&v=1#frag-ment";
        check(&[address], "404 for /services/T0AAAA/b%2Fc-secret", "404 for *****");
        check(&[address], "no route T0AAAA on hooks.example.com", "no route ***** on hooks.example.com");
        check(&[address], "decoded b/c-secret, user, p4ssw0rd", "decoded *****, *****, *****");
        check(&[address], "key=q-value v=1 frag-ment", "key=***** v=1 *****");
        check(
            &[address],
            "b64 VDBBQUFB hex 543041414141 HEX 6672616D65",
            "b64 ***** hex ***** HEX 6672616D65",
        );
        check(&[address], "%2Fservices%2FT0AAAA%2Fb%252Fc-secret", "*****");
        check(&["http://h/api/x"], "the api of h says x", "the api of h says x");
    }

    #[test]
    fn a_header_is_masked_by_its_words_and_by_what_they_encode() {
        check(&["Bearer abcdef"], "Bearer tokens: abcdef, ABCDEF", "Bearer tokens: *****, *****");
        // printf user:opensesame | base64
        check(&["Basic dXNlcjpvcGVuc2VzYW1l"], "user:opensesame or opensesame", "***** or *****");
    }
}
