//! The HTTP routes.

use std::sync::Arc;

use axum::{
    Extension, Router,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware,
    response::{IntoResponse as _, Response},
    routing::get,
};
use fastwebsockets::WebSocketError;
use switchboard_engine::Protocol;

use tokio::sync::watch;
use tracing::Instrument as _;

use super::{
    access::{Desk, Peer},
    api, classic,
    front_end::FrontEnd,
    gateway::{Full, Handshakes, Shards, hand_over},
    handshake,
    metrics::Metrics,
    operators,
    request_log::{self, RequestLog},
};
use crate::{store::StoreHealth, tls::ServerTls};
use switchboard_websocket::SESSION_SUBPROTOCOL;

/// What the routes work with.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) handshakes: Handshakes,
    pub(super) shards: Arc<Shards>,
    pub(super) store: Arc<StoreHealth>,
    pub(super) media: Arc<StoreHealth>,
    pub(super) desk: Desk,
    pub(super) front_end: FrontEnd,
    /// What is spoken on the address of the sockets, if anything but plain HTTP.
    pub(super) tls: Option<ServerTls>,
    pub(super) metrics: Arc<Metrics>,
    /// Whether figures are shown on the address of the sockets.
    pub(super) shows_metrics: bool,
    pub(super) log: Arc<RequestLog>,
    /// Whether the server was asked to stop.
    pub(super) stop: watch::Receiver<bool>,
    /// Whether its shards were told.
    pub(super) drain: watch::Receiver<bool>,
}

impl Site {
    pub(super) fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Whether nobody is taken any more.
    pub(super) fn is_draining(&self) -> bool {
        *self.drain.borrow()
    }
}

/// All routes.
pub(super) fn routes(site: Site) -> Router {
    Router::new()
        // A HEAD would be answered as a GET, and RFC 6455 section 4.1 has handshakes with GET alone.
        .route(
            "/socket.io",
            get(socket).head(async || (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET")])),
        )
        .route("/healthz", get(operators::health))
        .route("/readyz", get(operators::ready))
        .route("/metrics", get(operators::local_metrics))
        .merge(classic::routes(site.desk.clone()))
        .merge(api::routes(site.desk.clone()))
        .fallback(async |State(site): State<Site>, request: Request| site.front_end.answer(request).await)
        .layer(middleware::map_response_with_state(site.clone(), spare_places))
        .layer(middleware::from_fn_with_state(Arc::clone(&site.log), request_log::log))
        .with_state(site)
}

/// Ends connections after their answer while there are few places for those that are no WebSockets.
async fn spare_places(State(site): State<Site>, mut response: Response) -> Response {
    if site.handshakes.are_scarce() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// `GET /socket.io?user=ID`: the WebSocket, of the session protocol for whoever offers its subprotocol, of the
/// classic protocol for all others. Any Origin, if users need not log in.
///
/// 401 for who is not logged in as this user, or comes from a page of another origin; 403 for who is banned; 400 for a missing or impossible user or handshake, 426 for another version of WebSocket, 503 when the user's shard has no room.
async fn socket(
    State(site): State<Site>,
    Extension(peer): Extension<Peer>,
    mut request: Request,
) -> Response {
    let (user, protocol) = match handshake::check(&request) {
        Ok(asked) => asked,
        Err(text) => return bad_request(&text),
    };
    let admitted = match site.desk.admit_socket(peer, request.headers(), &user).await {
        Ok(admitted) => admitted,
        Err(refusal) => return classic::refuse_socket(refusal),
    };
    let seat = if site.is_draining() { Err(Full) } else { site.shards.seat(&admitted) };
    let Ok(seat) = seat else {
        let headers = [(header::RETRY_AFTER, HeaderValue::from_static("10"))];
        let text = "the server has no room for another connection; try again later\n";
        return (StatusCode::SERVICE_UNAVAILABLE, headers, text).into_response();
    };
    match fastwebsockets::upgrade::upgrade(&mut request) {
        Ok((mut response, upgrade)) => {
            // RFC 6455 section 4.2.2 has the answer name the one that is spoken, and none if there is none.
            if protocol == Protocol::Session {
                let name = HeaderValue::from_static(SESSION_SUBPROTOCOL);
                response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, name);
            }
            let handed = hand_over(upgrade, user, protocol, admitted.login(), seat);
            let desk = site.desk.clone();
            tokio::spawn(
                async move {
                    handed.await;
                    desk.look_again(admitted).await;
                }
                .in_current_span(),
            );
            response.map(axum::body::Body::new)
        }
        // RFC 6455 section 4.2.2 has the answer name the versions that the server speaks.
        Err(WebSocketError::InvalidSecWebsocketVersion) => {
            let headers = [(header::SEC_WEBSOCKET_VERSION, "13"), (header::UPGRADE, "websocket")];
            let text = "this server speaks version 13 of WebSocket (RFC 6455)\n";
            (StatusCode::UPGRADE_REQUIRED, headers, text).into_response()
        }
        Err(error) => bad_request(&format!("the WebSocket handshake is wrong: {error}")),
    }
}

fn bad_request(text: &str) -> Response {
    (StatusCode::BAD_REQUEST, format!("{text}\n")).into_response()
}
