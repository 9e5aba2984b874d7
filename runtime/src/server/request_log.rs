//! Each HTTP request has an id, which its answer and its lines in the log bear: a trusted proxy's, or one of our own.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method},
    middleware::Next,
    response::Response,
};
use tracing::Instrument as _;

use super::{
    access::{Peer, Proxies},
    metrics::Requests,
};
use crate::telemetry::{self, RequestSpan, Telemetry};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How much of a path is logged.
const PATH_LIMIT_BYTES: usize = 200;

/// What makes up ids, and counts what was answered.
#[derive(Debug)]
pub(super) struct RequestLog {
    /// Tells this run of the server from others.
    run: u32,
    next: AtomicU64,
    began: Instant,
    /// The second of the last warning, counted from the start.
    warned: AtomicU64,
    requests: Arc<Requests>,
    /// Whose ids are taken, and whose traces go on here.
    proxies: Arc<Proxies>,
    telemetry: Option<Telemetry>,
}

impl RequestLog {
    pub(super) fn new(requests: Arc<Requests>, proxies: Arc<Proxies>, telemetry: Option<Telemetry>) -> Self {
        // An id is a name and no secret: without randomness it is one still.
        let run = getrandom::u32().unwrap_or_default();
        Self {
            run,
            next: AtomicU64::new(1),
            began: Instant::now(),
            warned: AtomicU64::new(u64::MAX),
            requests,
            proxies,
            telemetry,
        }
    }

    fn next_id(&self) -> String {
        let mut id = String::new();
        let _ = write!(id, "{:08x}-{:x}", self.run, self.next.fetch_add(1, Ordering::Relaxed));
        id
    }

    /// Takes note of a usual handshake, which is answered without the HTTP layer, and gives its id.
    pub(super) fn answered_usual(&self) -> String {
        let id = self.next_id();
        let status = 101_u16;
        self.requests.count(status);
        if let Some(telemetry) = &self.telemetry {
            let route = Some("/socket.io");
            let request = telemetry::Request { method: &Method::GET, route, scheme: "http", passed_on: None };
            telemetry.request(&request).answered(status, &id);
        }
        tracing::debug!(id, method = "GET", path = "/socket.io", status, "answered a request");
        id
    }

    /// The span of a request, if there are any.
    fn span(&self, request: &Request) -> Option<RequestSpan> {
        let telemetry = self.telemetry.as_ref()?;
        let (headers, peer) = (request.headers(), request.extensions().get::<Peer>());
        let is_secure = peer.is_some_and(|peer| self.proxies.is_secure(*peer, headers));
        Some(telemetry.request(&telemetry::Request {
            method: request.method(),
            route: request.extensions().get::<MatchedPath>().map(MatchedPath::as_str),
            scheme: if is_secure { "https" } else { "http" },
            passed_on: Some(headers).filter(|_| peer.is_some_and(|peer| self.proxies.is_proxy(*peer))),
        }))
    }

    /// Whether a warning may be logged: one in a second, as peers decide how many there are.
    fn may_warn(&self) -> bool {
        let second = self.began.elapsed().as_secs();
        self.warned.swap(second, Ordering::Relaxed) != second
    }
}

/// What the log calls a request; its handlers find it among its extensions.
#[derive(Clone, Debug)]
pub(super) struct RequestId(pub(super) String);

/// Answers a request within a span that has its id, and logs one line for it: a warning if the server is at fault, and otherwise for
/// who debugs. The query stays out of it, and headers do: they may have secrets in them.
pub(super) async fn log(State(log): State<Arc<RequestLog>>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>();
    let given = peer.and_then(|peer| log.proxies.request_id(*peer, request.headers()));
    let (id, began) = (given.unwrap_or_else(|| log.next_id()), Instant::now());
    let method = request.method().clone();
    let path = request.uri().path();
    let path = path.get(..PATH_LIMIT_BYTES).unwrap_or(path).to_owned();
    let span = tracing::info_span!("request", id, trace_id = tracing::field::Empty);
    let traced = log.span(&request);
    if let Some(trace_id) = traced.as_ref().and_then(RequestSpan::trace_id) {
        span.record("trace_id", trace_id);
    }
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    log.requests.count(status);
    if let Some(traced) = traced {
        traced.answered(status, &id);
    }
    let duration_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    span.in_scope(|| {
        if status >= 500 && log.may_warn() {
            tracing::warn!(%method, path, status, duration_us, "answered a request");
        } else {
            tracing::debug!(%method, path, status, duration_us, "answered a request");
        }
    });
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}
