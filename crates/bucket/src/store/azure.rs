//! Azure Blob Storage: `List Blobs`.

use std::borrow::Cow;

use jiff::Timestamp;
use percent_encoding::percent_decode_str;

use super::PAGE_OBJECTS;
use plumb_aws::xml;

use crate::{
    error::ResponseError,
    listing::{Object, Page},
};

const MALFORMED: ResponseError =
    ResponseError::Malformed { what: "a listing of Azure Blob Storage (EnumerationResults)" };

pub(super) fn list_query<'a>(prefix: &'a str, next: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
    let mut pairs = vec![("restype", "container"), ("comp", "list"), ("maxresults", PAGE_OBJECTS)];
    pairs.extend(Some(("prefix", prefix)).filter(|_| !prefix.is_empty()));
    pairs.extend(next.map(|next| ("marker", next)));
    pairs
}

#[derive(Default)]
struct Found {
    name: Option<String>,
    etag: Option<String>,
    size: Option<u64>,
    modified: Option<Timestamp>,
    is_directory: bool,
}

pub(super) fn parse_page(body: &[u8]) -> Result<Page, ResponseError> {
    let (mut objects, mut found) = (Vec::new(), Found::default());
    let (mut is_listing, mut next) = (false, None);
    xml::read(
        body,
        || MALFORMED,
        |element| {
            is_listing |= element.path.first().is_some_and(|root| root == "EnumerationResults");
            let text = element.text.trim();
            if element.is(&["Blobs", "Blob", "Name"]) {
                found.name =
                    Some(if element.encoded { decoded(element.text)? } else { element.text.to_owned() });
            } else if element.is(&["Blobs", "Blob", "Properties", "Etag"]) {
                found.etag = Some(text.to_owned()).filter(|etag| !etag.is_empty());
            } else if element.is(&["Blobs", "Blob", "Properties", "Content-Length"]) {
                found.size = text.parse().ok();
            } else if element.is(&["Blobs", "Blob", "Properties", "Last-Modified"]) {
                found.modified = modified(text);
            } else if element.is(&["Blobs", "Blob", "Properties", "ResourceType"]) {
                found.is_directory = text == "directory";
            } else if element.is(&["Blobs", "Blob"]) {
                let Found { name, etag, size, modified, is_directory } = std::mem::take(&mut found);
                let key = name.ok_or(MALFORMED)?;
                // Accounts with directories list them as blobs.
                if !is_directory {
                    objects.push(Object { modified, ..object(key, etag, size)? });
                }
            } else if element.is(&["NextMarker"]) {
                next = Some(element.text.to_owned()).filter(|next| !next.is_empty());
            }
            Ok(())
        },
    )?;
    if is_listing { Ok(Page { objects, next }) } else { Err(MALFORMED) }
}

fn object(key: String, etag: Option<String>, size: Option<u64>) -> Result<Object, ResponseError> {
    let missing = |what| ResponseError::Incomplete { key: key.clone(), what };
    let etag = quoted(&etag.ok_or_else(|| missing("ETag"))?);
    let size = Some(size.ok_or_else(|| missing("size"))?);
    Ok(Object { key, etag, size, generation: None, modified: None })
}

/// A time as HTTP writes it.
pub(super) fn modified(text: &str) -> Option<Timestamp> {
    httpdate::parse_http_date(text).ok().and_then(|time| Timestamp::try_from(time).ok())
}

/// A name with characters that XML cannot have.
fn decoded(name: &str) -> Result<String, ResponseError> {
    percent_decode_str(name).decode_utf8().map(Cow::into_owned).map_err(|_| MALFORMED)
}

/// An ETag as the header of a blob has it: listings leave out its quotes.
pub(super) fn quoted(etag: &str) -> String {
    if etag.starts_with('"') { etag.to_owned() } else { format!("\"{etag}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(blobs: &str, rest: &str) -> Result<Page, ResponseError> {
        let start = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"https://h/\" ContainerName=\"c\">";
        parse_page(format!("{start}<Blobs>{blobs}</Blobs>{rest}</EnumerationResults>").as_bytes())
    }

    #[test]
    fn a_page_has_names_etags_and_sizes_and_no_directories() {
        let blobs = "<Blob><Name>a/b c</Name><Properties><Last-Modified>Fri, 02 Jan 2026 03:04:05 GMT</Last-Modified><Etag>0x8D</Etag><Content-Length>3</Content-Length></Properties></Blob>\
            <Blob><Name>dir</Name><Properties><Etag>0x1</Etag><Content-Length>0</Content-Length><ResourceType>directory</ResourceType></Properties></Blob>\
            <BlobPrefix><Name>p/</Name></BlobPrefix>\
            <Blob><Name Encoded=\"true\">x%0Ay</Name><Properties><Etag>\"0x9\"</Etag><Content-Length>0</Content-Length></Properties></Blob>";
        let object = |key: &str, etag: &str, size| Object {
            key: key.to_owned(),
            etag: etag.to_owned(),
            size: Some(size),
            generation: None,
            modified: None,
        };
        let written =
            Object { modified: modified("Fri, 02 Jan 2026 03:04:05 GMT"), ..object("a/b c", "\"0x8D\"", 3) };
        assert_eq!(written.modified, "2026-01-02T03:04:05Z".parse().ok());
        let objects = vec![written, object("x\ny", "\"0x9\"", 0)];
        assert_eq!(
            page(blobs, "<NextMarker>m</NextMarker>"),
            Ok(Page { objects, next: Some("m".to_owned()) })
        );
        assert_eq!(page("", "<NextMarker/>"), Ok(Page::default()));
    }

    #[test]
    fn a_page_that_lacks_something_is_rejected() {
        for (blobs, expect) in [
            (
                "<Blob><Name>a</Name><Properties><Content-Length>3</Content-Length></Properties></Blob>",
                "listed without ETag",
            ),
            ("<Blob><Name>a</Name><Properties><Etag>0x1</Etag></Properties></Blob>", "listed without size"),
            ("<Blob/>", "the response is not a listing of Azure"),
        ] {
            let error = page(blobs, "").unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        }
        assert_eq!(parse_page(b"<html/>"), Err(MALFORMED));
    }
}
