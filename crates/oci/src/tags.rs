//! A page of a list of tags, and the link to the next one. Pure.

use std::{borrow::Cow, fmt};

use http::{HeaderMap, header::LINK};
use serde::{
    Deserialize, Deserializer as _,
    de::{Error as _, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use url::Url;

use crate::{error::ResponseError, reference::check_tag};

#[derive(Deserialize)]
struct Page<'a> {
    // Registries write null for a repository without tags.
    #[serde(borrow, default)]
    tags: Option<&'a RawValue>,
}

/// Collects tags as they are parsed: what is no tag is left out, and one too many ends it.
struct Collect<'a> {
    tags: &'a mut Vec<String>,
    max: usize,
}

impl<'de> Visitor<'de> for Collect<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a list of tags")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<(), A::Error> {
        while let Some(tag) = all.next_element::<Cow<'de, str>>()? {
            if check_tag(&tag).is_err() {
                continue;
            }
            if self.tags.len() >= self.max {
                self.tags.push(String::new());
                return Err(A::Error::custom("too many tags"));
            }
            self.tags.push(tag.into_owned());
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Adds the tags of a page. There are never more than `max`.
pub(crate) fn parse_page(body: &[u8], tags: &mut Vec<String>, max: usize) -> Result<(), ResponseError> {
    let malformed = || ResponseError::Malformed { what: "list of tags" };
    let page: Page<'_> = serde_json::from_slice(body).map_err(|_| malformed())?;
    let Some(raw) = page.tags else { return Ok(()) };
    let mut list = serde_json::Deserializer::from_str(raw.get());
    let parsed = list.deserialize_any(Collect { tags, max });
    if tags.len() > max {
        return Err(ResponseError::TooMany { what: "tags", max });
    }
    parsed.map_err(|_| malformed())
}

/// The page after the one at `url`: the header `Link` with `rel="next"`. It leads to the same host.
pub(crate) fn next_page(url: &Url, headers: &HeaderMap) -> Result<Option<Url>, ResponseError> {
    let links = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    let Some(target) = links.flat_map(|links| links.split(',')).find_map(next_target) else {
        return Ok(None);
    };
    let next = url.join(target).map_err(|_| ResponseError::Link { problem: "it is not a URL" })?;
    if next.origin() != url.origin() {
        return Err(ResponseError::Link { problem: "it leads to another host" });
    }
    if !next.username().is_empty() || next.password().is_some() {
        return Err(ResponseError::Link { problem: "it has credentials in it" });
    }
    Ok(Some(next))
}

fn next_target(link: &str) -> Option<&str> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.split(';').any(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        name.trim().eq_ignore_ascii_case("rel") && value.trim().trim_matches('"').eq_ignore_ascii_case("next")
    });
    is_next.then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_read() {
        let tags = |body: &str| {
            let mut tags = Vec::new();
            parse_page(body.as_bytes(), &mut tags, 3).map(|()| tags).map_err(|error| error.to_string())
        };
        assert_eq!(tags(r#"{"name":"a","tags":["1","2"]}"#), Ok(vec!["1".to_owned(), "2".to_owned()]));
        assert_eq!(tags(r#"{"name":"a","tags":null}"#), Ok(vec![]));
        assert_eq!(tags("{}"), Ok(vec![]));
        assert_eq!(tags(r#"{"tags":["","a/b","ok","\u0061b"]}"#), Ok(vec!["ok".to_owned(), "ab".to_owned()]));
        assert!(tags(r#"{"tags":["1","2","3","4"]}"#).unwrap_err().contains("more than 3 tags"));
        assert!(tags("<html>").unwrap_err().contains("list of tags"));
        assert!(tags(r#"{"tags":[1]}"#).is_err() && tags(r#"{"tags":{}}"#).is_err());
    }

    #[test]
    fn the_next_page_is_on_the_same_host() {
        let url = Url::parse("https://host/v2/a/tags/list?n=1000").unwrap();
        let next = |link: &str| {
            let headers = HeaderMap::from_iter([(LINK, link.parse().unwrap())]);
            next_page(&url, &headers)
                .map(|next| next.map(|next| next.to_string()))
                .map_err(|error| error.to_string())
        };
        let page = || Ok(Some("https://host/v2/a/tags/list?last=x&n=1000".to_owned()));
        assert_eq!(next("</v2/a/tags/list?last=x&n=1000>; rel=\"next\""), page());
        assert_eq!(next("<https://host/v2/a/tags/list?last=x&n=1000>;rel=next"), page());
        assert_eq!(next("</first>; rel=\"prev\", </v2/a/tags/list?last=x&n=1000>; rel=\"next\""), page());
        for none in ["</x>; rel=\"prev\"", "</x>", "nonsense", "</x"] {
            assert_eq!(next(none), Ok(None), "{none}");
        }
        for bad in [
            "<https://evil/v2/a/tags/list>; rel=next",
            "<http://host/v2/a>; rel=next",
            "<https://host:8443/x>; rel=next",
            "<https://me:pw@host/x>; rel=next",
        ] {
            assert!(next(bad).is_err(), "{bad}");
        }
    }
}
