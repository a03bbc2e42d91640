//! A page of a list of tags, and the link to the next one. Pure.

use http::{HeaderMap, header::LINK};
use serde::Deserialize;
use url::Url;

use crate::error::ResponseError;

#[derive(Deserialize)]
struct Page {
    // Registries write null for a repository without tags.
    #[serde(default)]
    tags: Option<Vec<String>>,
}

/// The tags of a page.
pub(crate) fn parse_page(body: &[u8]) -> Result<Vec<String>, ResponseError> {
    let page: Page =
        serde_json::from_slice(body).map_err(|_| ResponseError::Malformed { what: "list of tags" })?;
    Ok(page.tags.unwrap_or_default())
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
        let tags = |body: &str| parse_page(body.as_bytes()).map_err(|error| error.to_string());
        assert_eq!(tags(r#"{"name":"a","tags":["1","2"]}"#), Ok(vec!["1".to_owned(), "2".to_owned()]));
        assert_eq!(tags(r#"{"name":"a","tags":null}"#), Ok(vec![]));
        assert_eq!(tags("{}"), Ok(vec![]));
        assert!(tags("<html>").unwrap_err().contains("list of tags"));
        assert!(tags(r#"{"tags":[1]}"#).is_err());
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
