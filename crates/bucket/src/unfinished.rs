//! Uploads in parts that a process began and did not end, because it was killed. Their parts are no objects, but cost as objects do.

use http::Method;
use jiff::Timestamp;
use plumb_aws::xml;
use plumb_memory::Limit;
use url::Url;

use crate::{
    address::{BucketAddress, Store, encode_path, query},
    client::Remote,
    error::{BucketError, ResponseError},
    request::ObjectRequest,
};

/// Uploads that are listed at a time. More than that are left for the next time.
const LISTED_MAX: &str = "1000";
/// A list of uploads.
const PAGE: Limit = Limit { name: "a list of unfinished uploads", bytes_max: 4 << 20 };
const MALFORMED: ResponseError =
    ResponseError::Malformed { what: "a list of uploads of S3 (ListMultipartUploadsResult)" };

#[derive(Debug, Default, PartialEq, Eq)]
struct Upload {
    key: String,
    id: String,
    begun: Option<Timestamp>,
}

impl Remote {
    /// Aborts uploads below a prefix that began before a moment; how many. Azure forgets them by itself.
    pub async fn abort_unfinished(&self, prefix: &str, before: Timestamp) -> Result<usize, BucketError> {
        let address = self.address();
        if !matches!(address.store, Store::S3 { .. }) {
            return Ok(0);
        }
        let pairs = [("uploads", ""), ("max-uploads", LISTED_MAX), ("prefix", prefix)];
        let listed =
            ObjectRequest { is_listing: true, ..ObjectRequest::get(bucket_url(&address, &query(&pairs))?) };
        let response = self.repeated(&address, &listed).await?;
        let body = self.body(&listed, response, PAGE).await?;
        let uploads = parse(&body.bytes);
        let uploads = uploads.map_err(|source| BucketError::Response { request: listed.shown(), source })?;
        let is_old = |upload: &&Upload| upload.begun.is_some_and(|begun| begun < before);
        let mut aborted = 0;
        for Upload { key, id, .. } in
            uploads.iter().filter(|upload| upload.key.starts_with(prefix)).filter(is_old)
        {
            let mut url = address.object_url(key, None)?;
            url.set_query(Some(&query(&[("uploadId", id)])));
            match self.repeated(&address, &ObjectRequest::new(Method::DELETE, url, 204)).await {
                // It has ended meanwhile.
                Err(error) if error.status() == Some(404) => {}
                response => {
                    response?;
                    aborted += 1;
                }
            }
        }
        Ok(aborted)
    }
}

/// The URL of a bucket of S3 with a query, as a listing has it.
fn bucket_url(address: &BucketAddress, query: &str) -> Result<Url, BucketError> {
    let base = address.base();
    Url::parse(&format!("{base}/?{query}")).map_err(|_| BucketError::Key { key: encode_path(query) })
}

fn parse(body: &[u8]) -> Result<Vec<Upload>, ResponseError> {
    let (mut uploads, mut upload, mut is_list) = (Vec::new(), Upload::default(), false);
    xml::read(
        body,
        || MALFORMED,
        |element| {
            is_list |= element.path.first().is_some_and(|root| root == "ListMultipartUploadsResult");
            let text = element.text.trim();
            if element.is(&["Upload", "Key"]) {
                element.text.clone_into(&mut upload.key);
            } else if element.is(&["Upload", "UploadId"]) {
                text.clone_into(&mut upload.id);
            } else if element.is(&["Upload", "Initiated"]) {
                upload.begun = text.parse().ok();
            } else if element.is(&["Upload"]) {
                uploads.push(std::mem::take(&mut upload));
            }
            Ok(())
        },
    )?;
    if is_list { Ok(uploads) } else { Err(MALFORMED) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_keys_ids_and_times() {
        let body = "<ListMultipartUploadsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Bucket>b</Bucket>\
            <Upload><Key>a/b</Key><UploadId>id</UploadId><Owner><ID>x</ID></Owner><Initiated>2026-01-02T03:04:05.000Z</Initiated></Upload>\
            <Upload><Key>c</Key><UploadId>id2</UploadId></Upload></ListMultipartUploadsResult>";
        let begun = "2026-01-02T03:04:05Z".parse().ok();
        let uploads = vec![
            Upload { key: "a/b".to_owned(), id: "id".to_owned(), begun },
            Upload { key: "c".to_owned(), id: "id2".to_owned(), begun: None },
        ];
        assert_eq!(parse(body.as_bytes()), Ok(uploads));
        assert_eq!(parse(b"<html/>"), Err(MALFORMED));
    }
}
