//! Google Cloud Storage: its JSON API, whose ETags are those that Flux has.

use serde::Deserialize;

use super::PAGE_OBJECTS;
use crate::{
    error::ResponseError,
    listing::{Object, Page},
};

const MALFORMED: ResponseError =
    ResponseError::Malformed { what: "a listing of Google Cloud Storage (JSON)" };
/// What is needed of each object.
const FIELDS: &str = "nextPageToken,items(name,etag,size,generation,contentEncoding)";

pub(super) fn list_query<'a>(prefix: &'a str, next: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
    let mut pairs = vec![("fields", FIELDS), ("maxResults", PAGE_OBJECTS), ("prettyPrint", "false")];
    pairs.extend(Some(("prefix", prefix)).filter(|_| !prefix.is_empty()));
    pairs.extend(next.map(|next| ("pageToken", next)));
    pairs
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    items: Vec<Item>,
    #[serde(default)]
    next_page_token: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    name: String,
    #[serde(default)]
    etag: String,
    #[serde(default)]
    size: Number,
    #[serde(default)]
    generation: Number,
    #[serde(default)]
    content_encoding: String,
}

/// Google writes numbers as texts.
#[derive(Default, Deserialize)]
#[serde(untagged)]
enum Number {
    #[default]
    Missing,
    Text(String),
    Digits(u64),
}

impl Number {
    fn text(self) -> String {
        match self {
            Self::Missing => String::new(),
            Self::Text(text) => text,
            Self::Digits(number) => number.to_string(),
        }
    }
}

pub(super) fn parse_page(body: &[u8]) -> Result<Page, ResponseError> {
    let Raw { items, next_page_token } = serde_json::from_slice(body).map_err(|_| MALFORMED)?;
    let objects = items.into_iter().map(object).collect::<Result<_, _>>()?;
    Ok(Page { objects, next: Some(next_page_token).filter(|next| !next.is_empty()) })
}

fn object(item: Item) -> Result<Object, ResponseError> {
    let Item { name: key, etag, size, generation, content_encoding } = item;
    let missing = |what| ResponseError::Incomplete { key: key.clone(), what };
    if etag.is_empty() {
        return Err(missing("ETag"));
    }
    let generation = generation.text();
    if generation.is_empty() || !generation.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(missing("generation"));
    }
    let size: u64 = size.text().parse().map_err(|_| missing("size"))?;
    // Objects that are stored compressed are sent as they were before that.
    let size = Some(size).filter(|_| content_encoding != "gzip");
    Ok(Object { key, etag, size, generation: Some(generation), modified: None })
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Deserialize)]
struct ErrorDetail {
    #[serde(default)]
    errors: Vec<ErrorItem>,
}

#[derive(Deserialize)]
struct ErrorItem {
    #[serde(default)]
    reason: String,
}

/// The reason of an error.
pub(super) fn parse_error(body: &[u8]) -> Option<String> {
    let ErrorBody { error } = serde_json::from_slice(body).ok()?;
    error.errors.into_iter().next().map(|item| item.reason)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_has_names_etags_sizes_and_generations() {
        let body = json!({ "nextPageToken": "t", "items": [
            { "name": "a/b", "etag": "CKih=", "size": "3", "generation": "170" },
            { "name": "c", "etag": "CK=", "size": "3", "generation": "171", "contentEncoding": "gzip" },
        ]});
        let object = |key: &str, etag: &str, size, generation: &str| Object {
            key: key.to_owned(),
            etag: etag.to_owned(),
            size,
            generation: Some(generation.to_owned()),
            modified: None,
        };
        let objects = vec![object("a/b", "CKih=", Some(3), "170"), object("c", "CK=", None, "171")];
        let page = parse_page(body.to_string().as_bytes());
        assert_eq!(page, Ok(Page { objects, next: Some("t".to_owned()) }));
        assert_eq!(parse_page(b"{}"), Ok(Page::default()));
    }

    #[test]
    fn a_page_that_lacks_something_is_rejected() {
        for (item, expect) in [
            (json!({ "name": "a", "size": "3", "generation": "1" }), "listed without ETag"),
            (json!({ "name": "a", "etag": "x", "generation": "1" }), "listed without size"),
            (json!({ "name": "a", "etag": "x", "size": "3" }), "listed without generation"),
            (
                json!({ "name": "a", "etag": "x", "size": "3", "generation": "1&x" }),
                "listed without generation",
            ),
            (json!({ "etag": "x" }), "the response is not a listing"),
        ] {
            let error =
                parse_page(json!({ "items": [item] }).to_string().as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        }
        assert_eq!(parse_page(b"<html>"), Err(MALFORMED));
        let error =
            json!({ "error": { "code": 403, "errors": [{ "reason": "forbidden", "message": "m" }] } });
        assert_eq!(parse_error(error.to_string().as_bytes()).as_deref(), Some("forbidden"));
    }
}
