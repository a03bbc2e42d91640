//! One request through the proxy: the faults that it meets, the API server's response, the recorded outcome.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, Full, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use serde_json::json;
use tokio::sync::mpsc;

use super::{
    Change, REORDER_WAIT, Shared, Upstream,
    events::{Lines, Passage},
    request::{Outcome, Record, Seen},
    rule::Fault,
    trap::Moment,
};

/// The largest body of a request, in bytes.
const BODY_MAX: usize = 32 << 20;
/// How many lines of a watch wait for a slow client.
const LINES_MAX: usize = 64;
/// Headers that belong to one connection, or that the proxy sets itself. Without `Accept-Encoding` every line of a
/// watch can be read.
const OWN_HEADERS: [header::HeaderName; 7] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::ACCEPT_ENCODING,
    header::AUTHORIZATION,
    header::UPGRADE,
];

/// The connection is cut, without a response.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut")]
pub(super) struct Cut;

type Respond = Response<UnsyncBoxBody<Bytes, Cut>>;

/// The client to the API server.
pub(super) fn client(upstream: &Upstream) -> Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder().http1_only().no_proxy();
    if let Some(ca) = &upstream.ca {
        builder =
            builder.tls_certs_only([reqwest::Certificate::from_pem(ca).context("the CA cannot be read")?]);
    }
    builder.build().context("no client to the API server")
}

/// Serves one request.
pub(super) async fn serve(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Respond, Cut> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_MAX).collect().await.map_err(|_| Cut)?.to_bytes();
    let seen = Seen {
        method: head.method.clone(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        body,
    };
    let call = Call { at: shared.note(&seen), shared, seen };
    if call.shared.state().closed {
        return call.cut();
    }
    match call.shared.fault_of(&call.seen) {
        Some(Fault::Delay(delay)) => tokio::time::sleep(delay).await,
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Reset) => return call.cut(),
        Some(Fault::Respond(code)) => return Ok(call.reject(code, None)),
        Some(Fault::RetryAfter(code, seconds)) => return Ok(call.reject(code, Some(seconds))),
        Some(Fault::RejectAbove(bytes)) if call.seen.body.len() > bytes => return Ok(call.reject(413, None)),
        Some(Fault::LostResponse) => return call.forward(head, Delivery::Dropped).await,
        Some(Fault::RejectAbove(_) | Fault::DropEvents | Fault::DuplicateEvents | Fault::ReorderEvents)
        | None => {}
    }
    if call.seen.is_watch() {
        return call.stream(head).await;
    }
    call.forward(head, Delivery::Whole).await
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Delivery {
    Whole,
    Dropped,
}

/// One request and its place in the record.
struct Call {
    shared: Arc<Shared>,
    seen: Seen,
    at: Option<usize>,
}

impl Call {
    fn cut(&self) -> Result<Respond, Cut> {
        self.end(Outcome::Reset);
        Err(Cut)
    }

    fn reject(&self, code: u16, retry_after: Option<u64>) -> Respond {
        self.end(Outcome::Refused(code));
        rejection(code, retry_after)
    }

    fn end(&self, outcome: Outcome) {
        let mut state = self.shared.state();
        let at = self.at.and_then(|at| at.checked_sub(state.forgotten));
        if let Some(record) = at.and_then(|at| state.records.get_mut(at)) {
            record.outcome = outcome;
        }
    }

    /// Forwards and waits for the whole response. A request continues when the client disconnects, as in an API server.
    async fn forward(self, head: Parts, delivery: Delivery) -> Result<Respond, Cut> {
        let whole = async move {
            let counted = self.seen.is_write() && self.shared.state().trap.is_some();
            let _turn = if counted { Some(self.shared.turn.lock().await) } else { None };
            if self.shared.state().closed || self.springs(Moment::Before) {
                return self.cut();
            }
            let answered = self.exchange(&head).await;
            let Ok((code, headers, body)) = answered else {
                self.end(Outcome::Failed);
                return Err(Cut);
            };
            let closes = self.springs(Moment::After);
            if closes || delivery == Delivery::Dropped {
                self.end(Outcome::Lost(code.as_u16()));
                return Err(Cut);
            }
            self.end(Outcome::Responded(code.as_u16()));
            Ok(api_response(code, &headers, Full::new(body).map_err(|never| match never {}).boxed_unsync()))
        };
        tokio::spawn(whole).await.map_err(|_| Cut)?
    }

    /// Runs the action of a trap that this write springs; true if nothing more is forwarded.
    fn springs(&self, moment: Moment) -> bool {
        if !self.seen.is_write() {
            return false;
        }
        let mut state = self.shared.state();
        let Some(trap) = state.trap.as_mut().filter(|trap| trap.moment() == moment) else { return false };
        if !trap.count() {
            return false;
        }
        let Some(trap) = state.trap.take() else { return false };
        let closes = trap.closes();
        state.closed = closes;
        drop(state);
        trap.spring();
        self.shared.state().sprung = true;
        closes
    }

    async fn exchange(&self, head: &Parts) -> Result<(StatusCode, HeaderMap, Bytes)> {
        let response = self.send(head).await?;
        let (code, headers) = (response.status(), response.headers().clone());
        Ok((code, headers, response.bytes().await?))
    }

    async fn send(&self, head: &Parts) -> Result<reqwest::Response> {
        let Upstream { server, token, .. } = &self.shared.upstream;
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        let mut request = self.shared.client.request(head.method.clone(), format!("{server}{target}"));
        request = request.headers(passing(&head.headers)).body(self.seen.body.clone());
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        Ok(request.send().await?)
    }

    /// Forwards a watch and passes its lines on as they come.
    async fn stream(self, head: Parts) -> Result<Respond, Cut> {
        let Ok(response) = self.send(&head).await else {
            self.end(Outcome::Failed);
            return Err(Cut);
        };
        let (code, headers) = (response.status(), response.headers().clone());
        self.end(Outcome::Responded(code.as_u16()));
        let (sender, receiver) = mpsc::channel(LINES_MAX);
        let from = response.bytes_stream().map(|chunk| chunk.map_err(|_| Cut)).boxed();
        tokio::spawn(pass_lines(self.shared.clone(), self.seen, from, sender));
        let frames = stream::unfold(receiver, |mut receiver: mpsc::Receiver<Result<Bytes, Cut>>| async {
            receiver.recv().await.map(|line| (line.map(Frame::data), receiver))
        });
        Ok(api_response(code, &headers, StreamBody::new(frames).boxed_unsync()))
    }
}

/// Passes the lines of one watch, until one of its ends goes away or it is cut.
async fn pass_lines(
    shared: Arc<Shared>,
    seen: Seen,
    mut from: impl Stream<Item = Result<Bytes, Cut>> + Unpin,
    to: mpsc::Sender<Result<Bytes, Cut>>,
) {
    let mut changed = shared.changed.subscribe();
    let Change { cuts, .. } = *changed.borrow_and_update();
    let (mut lines, mut passage) = (Lines::default(), Passage::default());
    loop {
        let wait = if passage.is_holding() { REORDER_WAIT } else { Duration::MAX };
        let ready = tokio::select! {
            () = to.closed() => return,
            _ = changed.changed() => {
                let healed = passage.has_dropped() && !shared.drops_events_of(&seen);
                if changed.borrow_and_update().cuts != cuts || healed {
                    // No receiver when the client has disconnected too.
                    let _ = to.send(Err(Cut)).await;
                    return;
                }
                Vec::new()
            }
            () = tokio::time::sleep(wait), if passage.is_holding() => passage.release().into_iter().collect(),
            chunk = from.next() => match chunk {
                None => return,
                Some(Err(cut)) => {
                    let _ = to.send(Err(cut)).await;
                    return;
                }
                Some(Ok(chunk)) => {
                    lines.push(&chunk);
                    let mut ready = Vec::new();
                    while let Some(line) = lines.next() {
                        ready.extend(passage.pass(line, shared.event_fault_of(&seen)));
                    }
                    ready
                }
            },
        };
        for line in ready {
            if to.send(Ok(line)).await.is_err() {
                return;
            }
        }
    }
}

impl Shared {
    /// Records the arrival of a request; its place in the record, unless that is full.
    fn note(&self, seen: &Seen) -> Option<usize> {
        let record = Record::new(seen, self.started.elapsed());
        let mut state = self.state();
        state.requests += 1;
        if state.records.len() >= super::RECORDS_MAX {
            return None;
        }
        state.records.push(record);
        Some(state.forgotten + state.records.len() - 1)
    }

    fn drops_events_of(&self, seen: &Seen) -> bool {
        let state = self.state();
        state.rules.iter().any(|armed| {
            armed.rule.fault == Fault::DropEvents && armed.rule.hits(armed.fitted) && armed.rule.fits(seen)
        })
    }
}

fn passing(headers: &HeaderMap) -> HeaderMap {
    let mut passing = headers.clone();
    for name in OWN_HEADERS {
        passing.remove(name);
    }
    passing
}

fn api_response(code: StatusCode, headers: &HeaderMap, body: UnsyncBoxBody<Bytes, Cut>) -> Respond {
    let mut api_response = Response::new(body);
    *api_response.status_mut() = code;
    *api_response.headers_mut() = passing(headers);
    api_response
}

/// An error as the API server words it.
fn rejection(code: u16, retry_after: Option<u64>) -> Respond {
    let reason = match code {
        409 => "Conflict",
        410 => "Expired",
        413 => "RequestEntityTooLarge",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        _ => "InternalError",
    };
    let details = retry_after.map(|seconds| json!({"retryAfterSeconds": seconds}));
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "code": code,
        "reason": reason, "message": "refused by the test's proxy", "details": details.unwrap_or_else(|| json!({})),
    });
    let body = Full::new(Bytes::from(status.to_string())).map_err(|never| match never {}).boxed_unsync();
    let mut headers =
        HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    api_response(StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), &headers, body)
}
