//! S3: `ListObjectsV2`, and errors.

use std::borrow::Cow;

use jiff::Timestamp;
use percent_encoding::percent_decode_str;

use super::PAGE_OBJECTS;
use plumb_aws::xml;

use crate::{
    error::ResponseError,
    listing::{Object, Page},
};

const MALFORMED: ResponseError = ResponseError::Malformed { what: "a listing of S3 (ListBucketResult)" };

pub(super) fn list_query<'a>(prefix: &'a str, next: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
    // Keys may have characters that XML cannot have: they are asked for in the encoding of URLs.
    let mut pairs = vec![("list-type", "2"), ("max-keys", PAGE_OBJECTS), ("encoding-type", "url")];
    pairs.push(("prefix", prefix));
    pairs.extend(next.map(|next| ("continuation-token", next)));
    pairs
}

#[derive(Default)]
struct Found {
    key: Option<String>,
    etag: Option<String>,
    size: Option<u64>,
    modified: Option<Timestamp>,
}

pub(super) fn parse_page(body: &[u8]) -> Result<Page, ResponseError> {
    let (mut objects, mut found) = (Vec::new(), Found::default());
    let (mut encoded, mut truncated, mut next) = (false, false, None);
    let mut is_listing = false;
    xml::read(
        body,
        || MALFORMED,
        |element| {
            is_listing |= element.path.first().is_some_and(|root| root == "ListBucketResult");
            let text = || element.text.to_owned();
            if element.is(&["Contents", "Key"]) {
                found.key = Some(text());
            } else if element.is(&["Contents", "ETag"]) {
                found.etag = Some(unquoted(element.text.trim()).to_owned());
            } else if element.is(&["Contents", "Size"]) {
                found.size = element.text.trim().parse().ok();
            } else if element.is(&["Contents", "LastModified"]) {
                found.modified = element.text.trim().parse().ok();
            } else if element.is(&["Contents"]) {
                objects.push(std::mem::take(&mut found));
            } else if element.is(&["EncodingType"]) {
                encoded = element.text.trim() == "url";
            } else if element.is(&["IsTruncated"]) {
                truncated = element.text.trim() == "true";
            } else if element.is(&["NextContinuationToken"]) {
                next = Some(text());
            }
            Ok(())
        },
    )?;
    if !is_listing {
        return Err(MALFORMED);
    }
    let objects = objects.into_iter().map(|found| object(found, encoded)).collect::<Result<_, _>>()?;
    match (truncated, next) {
        (false, _) => Ok(Page { objects, next: None }),
        (true, Some(next)) if !next.is_empty() => Ok(Page { objects, next: Some(next) }),
        (true, _) => Err(ResponseError::NoNextPage),
    }
}

fn object(found: Found, encoded: bool) -> Result<Object, ResponseError> {
    let Found { key, etag, size, modified } = found;
    let key = key.ok_or(MALFORMED)?;
    let key = if encoded { decoded(&key)? } else { key };
    let missing = |what| ResponseError::Incomplete { key: key.clone(), what };
    let etag = etag.filter(|etag| !etag.is_empty()).ok_or_else(|| missing("ETag"))?;
    let size = size.ok_or_else(|| missing("size"))?;
    Ok(Object { key, etag, size: Some(size), generation: None, modified })
}

/// A key in the encoding of forms.
fn decoded(key: &str) -> Result<String, ResponseError> {
    let spaces = key.replace('+', " ");
    percent_decode_str(&spaces).decode_utf8().map(Cow::into_owned).map_err(|_| MALFORMED)
}

/// An ETag without its quotes.
pub(super) fn unquoted(etag: &str) -> &str {
    let etag = etag.strip_prefix('"').unwrap_or(etag);
    etag.strip_suffix('"').unwrap_or(etag)
}

/// Code and region of an error.
pub(super) fn parse_error(body: &[u8]) -> (Option<String>, Option<String>) {
    let (mut code, mut region) = (None, None);
    let read = xml::read(
        body,
        || (),
        |element| {
            if element.is(&["Code"]) {
                code = Some(element.text.to_owned());
            } else if element.is(&["Region"]) {
                region = Some(element.text.to_owned());
            }
            Ok(())
        },
    );
    if read.is_err() { (None, None) } else { (code, region) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name>";

    fn contents(key: &str, rest: &str) -> String {
        format!("<Contents><Key>{key}</Key>{rest}<Owner><ID>x</ID></Owner></Contents>")
    }

    fn page(parts: &[&str]) -> Result<Page, ResponseError> {
        parse_page(format!("{START}{}</ListBucketResult>", parts.concat()).as_bytes())
    }

    #[test]
    fn a_page_has_keys_etags_and_sizes() {
        let rest = "<ETag>&quot;d41d&quot;</ETag><LastModified>2026-01-02T03:04:05.000Z</LastModified><Size>3</Size>";
        let object = |key: &str| Object {
            key: key.to_owned(),
            etag: "d41d".to_owned(),
            size: Some(3),
            generation: None,
            modified: Some("2026-01-02T03:04:05Z".parse().unwrap()),
        };
        let (one, two) = (contents("a%2Fb+c%0A", rest), contents("d", rest));
        let encoded = [
            "<EncodingType>url</EncodingType>",
            &one,
            &two,
            "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>",
        ];
        let expect = Page { objects: vec![object("a/b c\n"), object("d")], next: Some("t".to_owned()) };
        assert_eq!(page(&encoded), Ok(expect));
        // A server that does not know the encoding sends keys as they are.
        assert_eq!(page(&[&one]), Ok(Page { objects: vec![object("a%2Fb+c%0A")], next: None }));
    }

    #[test]
    fn a_page_that_lacks_something_is_rejected() {
        for (part, expect) in [
            (contents("a", "<Size>3</Size>"), "object \"a\" is listed without ETag"),
            (contents("a", "<ETag>\"\"</ETag><Size>3</Size>"), "object \"a\" is listed without ETag"),
            (contents("a", "<ETag>1</ETag><Size>-3</Size>"), "object \"a\" is listed without size"),
            ("<Contents/>".to_owned(), "the response is not a listing of S3"),
            ("<IsTruncated>true</IsTruncated>".to_owned(), "it does not name its next page"),
        ] {
            let error = page(&[&part]).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        }
        for document in ["<html><body/></html>", "{}", "<ListBucketResult>"] {
            assert_eq!(parse_page(document.as_bytes()), Err(MALFORMED), "{document}");
        }
    }

    #[test]
    fn an_error_has_a_code_and_perhaps_a_region() {
        let body = b"<Error><Code>AuthorizationHeaderMalformed</Code><Message>m</Message><Region>eu-west-1</Region></Error>";
        let pair = parse_error(body);
        assert_eq!(pair, (Some("AuthorizationHeaderMalformed".to_owned()), Some("eu-west-1".to_owned())));
        assert_eq!(parse_error(b"<html>"), (None, None));
    }
}
