//! What a registry asks for: the header `WWW-Authenticate` (RFC 9110). Pure.

use http::{HeaderMap, header::WWW_AUTHENTICATE};

/// A header beyond this is not read.
const HEADER_BYTES_MAX: usize = 4096;

/// What a registry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// A token of a token server.
    Bearer {
        /// The URL of the token server.
        realm: String,
        /// The name of the registry there.
        service: Option<String>,
        /// What the token shall allow, where the registry says so.
        scope: Option<String>,
    },
    /// Name and password.
    Basic,
}

impl Challenge {
    /// The best challenge of a response: a token before a password.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let all: Vec<Self> =
            texts.filter(|text| text.len() <= HEADER_BYTES_MAX).flat_map(parse_all).collect();
        let bearer = all.iter().find(|challenge| matches!(challenge, Self::Bearer { .. }));
        bearer.or_else(|| all.first()).cloned()
    }
}

/// The challenges of one header: schemes, each with its parameters.
fn parse_all(text: &str) -> Vec<Challenge> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            break;
        }
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if let Some(value) = after.trim_start().strip_prefix('=') {
            let (value, after) = parse_value(value.trim_start());
            if let Some((_, parameters)) = found.last_mut() {
                parameters.push((word.to_ascii_lowercase(), value));
            }
            rest = after;
        } else {
            found.push((word.to_ascii_lowercase(), Vec::new()));
            rest = after;
        }
    }
    found.into_iter().filter_map(|(scheme, parameters)| known(&scheme, parameters)).collect()
}

fn known(scheme: &str, parameters: Vec<(String, String)>) -> Option<Challenge> {
    match scheme {
        "basic" => Some(Challenge::Basic),
        "bearer" => {
            let (mut realm, mut service, mut scope) = (None, None, None);
            for (name, value) in parameters {
                match name.as_str() {
                    "realm" => realm = Some(value),
                    "service" => service = Some(value),
                    "scope" => scope = Some(value),
                    _ => {}
                }
            }
            realm.map(|realm| Challenge::Bearer { realm, service, scope })
        }
        _ => None,
    }
}

/// A quoted text or a word, and what follows it.
fn parse_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        return (word.to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str]) -> Option<Challenge> {
        let headers = texts.iter().map(|text| (WWW_AUTHENTICATE, text.parse().unwrap()));
        Challenge::of(&headers.collect())
    }

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Challenge::Bearer { realm: realm.to_owned(), service: owned(service), scope: owned(scope) }
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        for (texts, expect) in [
            (
                &[
                    r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull""#,
                ][..],
                Some(bearer(
                    "https://auth.docker.io/token",
                    Some("registry.docker.io"),
                    Some("repository:a/b:pull"),
                )),
            ),
            (&["bearer realm=https://x/y"], Some(bearer("https://x/y", None, None))),
            (&[r#"Basic realm="Registry""#], Some(Challenge::Basic)),
            (&["Basic"], Some(Challenge::Basic)),
            (&["Basic realm=\"x\"", "Bearer realm=\"https://x\""], Some(bearer("https://x", None, None))),
            (
                &["Basic realm=\"a, b\", Bearer realm=\"https://x\", service=\"s\""],
                Some(bearer("https://x", Some("s"), None)),
            ),
            (
                &[r#"Bearer realm="https://x", error="a \"b\" c", scope = "z""#],
                Some(bearer("https://x", None, Some("z"))),
            ),
            (&["Negotiate", "Digest realm=\"x\""], None),
            (&["Bearer service=\"s\""], None),
            (&["Bearer realm=\"https://x"], Some(bearer("https://x", None, None))),
            (&[""], None),
            (&[], None),
        ] {
            assert_eq!(of(texts), expect, "{texts:?}");
        }
    }

    #[test]
    fn a_header_that_is_too_long_is_not_read() {
        assert_eq!(of(&[&format!("Bearer realm=\"https://{}\"", "x".repeat(HEADER_BYTES_MAX))]), None);
    }
}
