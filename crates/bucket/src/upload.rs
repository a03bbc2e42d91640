//! Writing an object: in one request, or in parts that become an object at once when the last one is there. A writer that ends early
//! leaves no object, and does not touch the one that was there.

use std::fmt::Write as _;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{Method, header};
use plumb_aws::xml;
use plumb_memory::Limit;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use url::Url;

use crate::{
    address::{BucketAddress, Store, query},
    client::{Remote, Retries},
    error::{BucketError, ResponseError, code},
    object::text,
    request::{ObjectRequest, Payload},
};

/// Bytes of a part, and of an object that is written in one request. S3 takes 10 000 parts.
const PART: Limit = Limit { name: "a part of an artifact that is uploaded", bytes_max: 8 << 20 };
/// Parts of an object, at most.
const PARTS_MAX: u64 = 10_000;
/// A response with the ID of an upload, or with its end.
const RESPONSE: Limit = Limit { name: "a response to an upload", bytes_max: 64 << 10 };

/// An object that is to be written. Only stores with the API of S3, and Azure, are written to.
#[derive(Clone, Copy, Debug)]
pub struct NewObject<'a> {
    /// Its key.
    pub key: &'a str,
    /// The digest of its content, which is stored beside it.
    pub digest: &'a str,
    /// Bytes of its content.
    pub size: u64,
    /// Its media type.
    pub media_type: &'static str,
}

impl Remote {
    /// Writes an object over what is there, if anything. `content` has as many bytes as it says.
    pub async fn put(
        &self,
        new: &NewObject<'_>,
        content: &mut (impl AsyncRead + Unpin + Send),
    ) -> Result<(), BucketError> {
        let parts = new.size.div_ceil(PART.bytes_max).max(1);
        if parts > PARTS_MAX {
            return Err(BucketError::TooLarge { size: new.size, max: PARTS_MAX * PART.bytes_max });
        }
        let address = self.address();
        let url = address.object_url(new.key, None)?;
        let mut memory = self.client.memory().reservation(&self.consumer, PART);
        memory.try_grow(new.size.min(PART.bytes_max)).map_err(BucketError::OverBudget)?;
        if parts == 1 {
            let body = part(content, new.size).await?;
            let wanted = self.described(
                ObjectRequest { body, ..ObjectRequest::new(Method::PUT, url, success(&address)) },
                new,
            );
            self.repeated(&address, &wanted).await?;
            return Ok(());
        }
        match &address.store {
            Store::Azure { .. } => self.put_blocks(&address, &url, new, content).await,
            Store::S3 { .. } | Store::Gcs => {
                let id = self.begin(&address, &url, new).await?;
                let done = self.put_parts(&address, &url, &id, new, content).await;
                if done.is_err() {
                    self.abort(&address, &url, &id).await;
                }
                done
            }
        }
    }

    /// A request that makes an object, with what is stored beside it.
    fn described(&self, wanted: ObjectRequest, new: &NewObject<'_>) -> ObjectRequest {
        let is_azure = matches!(self.address().store, Store::Azure { .. });
        let is_list = wanted.url.query().is_some_and(|query| query.contains("comp=blocklist"));
        let media_type = if is_azure { "x-ms-blob-content-type" } else { header::CONTENT_TYPE.as_str() };
        let block = Some("BlockBlob".to_owned()).filter(|_| is_azure && !is_list);
        wanted
            .with(media_type, Some(new.media_type.to_owned()))
            .with(self.digest_header(), Some(new.digest.to_owned()))
            .with("x-ms-blob-type", block)
    }

    /// Parts of S3.
    async fn put_parts(
        &self,
        address: &BucketAddress,
        url: &Url,
        id: &str,
        new: &NewObject<'_>,
        content: &mut (impl AsyncRead + Unpin + Send),
    ) -> Result<(), BucketError> {
        let mut document = "<CompleteMultipartUpload>".to_owned();
        for (number, size) in sizes(new.size) {
            let number = number.to_string();
            let url = with_query(url, &[("partNumber", &number), ("uploadId", id)]);
            let wanted = ObjectRequest {
                body: part(content, size).await?,
                ..ObjectRequest::new(Method::PUT, url, 200)
            };
            let response = self.repeated(address, &wanted).await?;
            let etag = text(response.headers(), header::ETAG.as_str()).filter(|etag| is_etag(etag));
            let etag = etag.ok_or_else(|| BucketError::Response {
                request: wanted.shown(),
                source: ResponseError::Malformed { what: "one to a part: it has no ETag" },
            })?;
            // A String takes every write.
            let _ = write!(
                document,
                "<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag></Part>",
                etag.replace('"', "&quot;")
            );
        }
        document.push_str("</CompleteMultipartUpload>");
        let body = Payload::new(document.into());
        let wanted = ObjectRequest {
            body,
            ..ObjectRequest::new(Method::POST, with_query(url, &[("uploadId", id)]), 200)
        };
        let mut retries = Retries::default();
        loop {
            match self.complete(address, &wanted).await {
                Err(error) => retries.wait(error, self.deadline).await?,
                done => return done,
            }
        }
    }

    /// Ends an upload. The response is a success also where the body says that it failed.
    async fn complete(&self, address: &BucketAddress, wanted: &ObjectRequest) -> Result<(), BucketError> {
        let response = self.send(address, wanted).await?;
        let body = self.body(wanted, response, RESPONSE).await?;
        let mut failure = None;
        let malformed = || ResponseError::Malformed { what: "one to the end of an upload" };
        let read = xml::read(&body.bytes, malformed, |element| {
            if element.path.first().is_some_and(|root| root == "Error") && element.is(&["Code"]) {
                failure = Some(element.text.to_owned());
            }
            Ok(())
        });
        read.map_err(|source| BucketError::Response { request: wanted.shown(), source })?;
        match failure {
            None => Ok(()),
            Some(found) => {
                let code = code(&found);
                Err(BucketError::Status { request: wanted.shown(), status: 500, code, location: None })
            }
        }
    }

    /// Begins an upload in parts; its ID.
    async fn begin(
        &self,
        address: &BucketAddress,
        url: &Url,
        new: &NewObject<'_>,
    ) -> Result<String, BucketError> {
        let wanted =
            self.described(ObjectRequest::new(Method::POST, with_query(url, &[("uploads", "")]), 200), new);
        let response = self.repeated(address, &wanted).await?;
        let body = self.body(&wanted, response, RESPONSE).await?;
        let mut id = None;
        let malformed = || ResponseError::Malformed { what: "one with the ID of an upload" };
        let read = xml::read(&body.bytes, malformed, |element| {
            if element.is(&["UploadId"]) {
                id = Some(element.text.trim().to_owned());
            }
            Ok(())
        });
        let id = read.and_then(|()| id.filter(|id| !id.is_empty()).ok_or_else(malformed));
        id.map_err(|source| BucketError::Response { request: wanted.shown(), source })
    }

    /// The parts of an upload that failed would stay, and cost.
    async fn abort(&self, address: &BucketAddress, url: &Url, id: &str) {
        let wanted = ObjectRequest::new(Method::DELETE, with_query(url, &[("uploadId", id)]), 204);
        if let Err(error) = self.send(address, &wanted).await {
            let error = plumb_status::chain(&error);
            tracing::warn!(error, "failed to abort an upload to an object store");
        }
    }

    /// Blocks of Azure. Their names hold the digest, so that two writers of one name do not mix their contents.
    async fn put_blocks(
        &self,
        address: &BucketAddress,
        url: &Url,
        new: &NewObject<'_>,
        content: &mut (impl AsyncRead + Unpin + Send),
    ) -> Result<(), BucketError> {
        let mut document = "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>".to_owned();
        let digest: String = new.digest.chars().rev().take(24).collect();
        for (number, size) in sizes(new.size) {
            let id = BASE64_STANDARD.encode(format!("{digest}-{number:06}"));
            let url = with_query(url, &[("blockid", &id), ("comp", "block")]);
            let wanted = ObjectRequest {
                body: part(content, size).await?,
                ..ObjectRequest::new(Method::PUT, url, 201)
            };
            self.repeated(address, &wanted).await?;
            // A String takes every write.
            let _ = write!(document, "<Latest>{id}</Latest>");
        }
        document.push_str("</BlockList>");
        let url = with_query(url, &[("comp", "blocklist")]);
        let wanted = ObjectRequest {
            body: Payload::new(document.into()),
            ..ObjectRequest::new(Method::PUT, url, 201)
        };
        self.repeated(address, &self.described(wanted, new)).await.map(|_| ())
    }
}

fn success(address: &BucketAddress) -> u16 {
    if matches!(address.store, Store::Azure { .. }) { 201 } else { 200 }
}

/// Numbers and sizes of the parts, from 1 on.
fn sizes(size: u64) -> impl Iterator<Item = (u64, u64)> {
    let parts = size.div_ceil(PART.bytes_max);
    (1..=parts).map(move |number| (number, PART.bytes_max.min(size - (number - 1) * PART.bytes_max)))
}

/// The next bytes of the content, hashed.
async fn part(content: &mut (impl AsyncRead + Unpin + Send), size: u64) -> Result<Payload, BucketError> {
    let failed = |error: std::io::Error| BucketError::Content { problem: error.to_string() };
    let length = usize::try_from(size).map_err(|_| failed(std::io::ErrorKind::OutOfMemory.into()))?;
    let mut bytes = vec![0; length];
    content.read_exact(&mut bytes).await.map_err(failed)?;
    let hashed = tokio::task::spawn_blocking(move || Payload::new(Bytes::from(bytes))).await;
    hashed.map_err(|_| BucketError::Content { problem: "the task that hashes it was interrupted".to_owned() })
}

/// The URL of an object with a query, encoded as it is signed.
fn with_query(url: &Url, pairs: &[(&str, &str)]) -> Url {
    let mut url = url.clone();
    url.set_query(Some(&query(pairs)));
    url
}

/// What can stand in a document and in a header.
fn is_etag(etag: &str) -> bool {
    !etag.is_empty() && !etag.contains(['<', '>', '&']) && !etag.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_is_cut_into_parts_of_one_size_and_a_rest() {
        let part = PART.bytes_max;
        assert_eq!(sizes(part + 1).collect::<Vec<_>>(), [(1, part), (2, 1)]);
        assert_eq!(sizes(2 * part).collect::<Vec<_>>(), [(1, part), (2, part)]);
    }
}
