//! One object that Plumb wrote itself: its head, its content piece by piece, its end.

use bytes::Bytes;
use http::{HeaderMap, Method, header};
use jiff::Timestamp;
use plumb_memory::Limit;
use plumb_transport::BodyPieces;

use crate::{
    address::Store,
    client::Remote,
    error::{BucketError, ResponseError},
    request::{ObjectRequest, Signer},
};

/// What is known of an object without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectHead {
    /// The header `ETag`, as the store writes it. Another content has another one.
    pub etag: String,
    /// Bytes of the content.
    pub size: u64,
    /// The digest that it was written with; none where somebody else wrote it.
    pub digest: Option<String>,
    /// When it was written, to the second.
    pub modified: Option<Timestamp>,
}

/// The content of an object, piece by piece. Dropping it closes the connection.
#[derive(Debug)]
pub struct ObjectBody {
    pieces: BodyPieces,
    request: String,
    left: u64,
    size: u64,
}

impl ObjectBody {
    /// Waits for the next piece; none at the end. A content that ends early, or is longer than its head says, is an error.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BucketError> {
        let request = || self.request.clone();
        let piece = self.pieces.next().await;
        let piece = piece.map_err(|source| BucketError::Body { request: request(), source })?;
        match &piece {
            Some(piece) => self.left = self.left.saturating_sub(piece.len() as u64),
            None if self.left > 0 => {
                let source = ResponseError::Size { expected: self.size, found: self.size - self.left };
                return Err(BucketError::Response { request: request(), source });
            }
            None => {}
        }
        Ok(piece)
    }
}

impl Remote {
    /// The head of an object; none where there is none.
    pub async fn head(&self, key: &str) -> Result<Option<ObjectHead>, BucketError> {
        let address = self.address();
        let wanted = ObjectRequest::new(Method::HEAD, address.object_url(key, None)?, 200);
        let response = match self.repeated(&address, &wanted).await {
            Err(error) if error.status() == Some(404) => return Ok(None),
            response => response?,
        };
        let incomplete = |what| {
            let source = ResponseError::Incomplete { key: key.to_owned(), what };
            BucketError::Response { request: wanted.shown(), source }
        };
        let headers = response.headers();
        let size = text(headers, "content-length").and_then(|size| size.parse().ok());
        let modified = text(headers, "last-modified").and_then(|time| httpdate::parse_http_date(time).ok());
        Ok(Some(ObjectHead {
            etag: text(headers, header::ETAG.as_str()).ok_or_else(|| incomplete("ETag"))?.to_owned(),
            size: size.ok_or_else(|| incomplete("size"))?,
            digest: text(headers, self.digest_header()).map(str::to_owned),
            modified: modified.and_then(|time| Timestamp::try_from(time).ok()),
        }))
    }

    /// The content of the object that has this head, or `length` bytes of it from `start` on; none where it has gone, or another one
    /// is in its place.
    pub async fn open(
        &self,
        key: &str,
        head: &ObjectHead,
        range: Option<(u64, u64)>,
    ) -> Result<Option<ObjectBody>, BucketError> {
        let address = self.address();
        let mut wanted =
            ObjectRequest::get(address.object_url(key, None)?).with("if-match", Some(head.etag.clone()));
        let mut size = head.size;
        if let Some((start, length)) = range {
            let last = start.saturating_add(length).saturating_sub(1);
            wanted = wanted.with("range", Some(format!("bytes={start}-{last}")));
            wanted.expects = 206;
            size = length;
        }
        let response = match self.repeated(&address, &wanted).await {
            Err(error) if matches!(error.status(), Some(404 | 412)) => return Ok(None),
            response => response?,
        };
        // A server may not know the condition, and send what is there now.
        if text(response.headers(), header::ETAG.as_str()) != Some(head.etag.as_str()) {
            return Ok(None);
        }
        let limit = Limit { name: "an object of a bucket", bytes_max: size };
        let request = wanted.shown();
        let pieces = response.into_pieces(limit);
        let pieces = pieces.map_err(|source| BucketError::Body { request: request.clone(), source })?;
        Ok(Some(ObjectBody { pieces, request, left: size, size }))
    }

    /// Deletes an object. One that is not there is as good as deleted.
    pub async fn delete(&self, key: &str) -> Result<(), BucketError> {
        let address = self.address();
        let is_azure = matches!(address.store, Store::Azure { .. });
        let expects = if is_azure { 202 } else { 204 };
        let wanted = ObjectRequest::new(Method::DELETE, address.object_url(key, None)?, expects);
        // Azure deletes no object that somebody took a snapshot of, unless the request says so.
        let wanted = wanted.with("x-ms-delete-snapshots", is_azure.then(|| "include".to_owned()));
        match self.repeated(&address, &wanted).await {
            Err(error) if error.status() == Some(404) => Ok(()),
            response => response.map(|_| ()),
        }
    }

    /// The header with the digest that an object was written with.
    pub(crate) fn digest_header(&self) -> &'static str {
        match (&self.address().store, &self.signer) {
            // Azure takes what can be a name in C#.
            (Store::Azure { .. }, _) => "x-ms-meta-plumb_digest",
            (Store::S3 { .. }, Signer::Bearer(_)) | (Store::Gcs, _) => "x-goog-meta-plumb-digest",
            (Store::S3 { .. }, _) => "x-amz-meta-plumb-digest",
        }
    }
}

pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
