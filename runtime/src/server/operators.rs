//! What operators and their tools ask for: `/healthz`, `/readyz`, `/metrics`.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde_json::json;

use super::{http::Site, metrics::Metrics, request_log, shard::Question};

/// How long a shard may take to say that it goes on, before the server counts as not ready. No turn takes so long.
const PATIENCE: Duration = Duration::from_secs(2);

/// Headers by which a proxy says that it passes on somebody else's request.
const OF_PROXIES: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// The routes of an address that is only for operators.
pub(super) fn routes(site: Site) -> Router {
    let log = Arc::clone(&site.log);
    Router::new()
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route(
            "/metrics",
            get(async |State(site): State<Site>, headers: HeaderMap| metrics(&site.metrics, &headers).await),
        )
        .fallback(async || {
            (StatusCode::NOT_FOUND, "there is nothing here: see /metrics, /healthz, /readyz\n")
        })
        .layer(axum::middleware::from_fn_with_state(log, request_log::log))
        .with_state(site)
}

/// `GET /healthz`: 200 when everything works, 503 with the reason when the store or the file store fails.
pub(super) async fn health(State(site): State<Site>) -> Response {
    let store = site.store.failure().map(|failure| failure.text);
    let files = site.media.failure().map(|failure| failure.text);
    let ok = store.is_none() && files.is_none();
    let connections = site.shards.connected();
    let body = json!({
        "status": if ok { "ok" } else { "failing" },
        "store": store.map_or_else(|| "ok".to_owned(), |text| format!("failing: {text}")),
        "files": files.map_or_else(|| "ok".to_owned(), |text| format!("failing: {text}")),
        "connections": connections,
    });
    (if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(body)).into_response()
}

/// `GET /readyz`: 200 when the server takes connections and what they send, else 503 with the reasons. From the moment on that it is
/// asked to stop it is not ready, before anything else follows from that.
pub(super) async fn ready(State(site): State<Site>) -> Response {
    let mut reasons = Vec::new();
    if site.is_stopping() {
        reasons.push("the server is stopping".to_owned());
    }
    if let Some(failure) = site.store.failure() {
        reasons.push(format!("the store fails: {}", failure.text));
    }
    if site.shards.are_full() {
        reasons.push("there is no room for another connection".to_owned());
    }
    let alive = site.shards.ask(Question::Alive, PATIENCE).await;
    let dead = alive.iter().enumerate().filter(|(_, alive)| alive.is_none());
    reasons.extend(dead.map(|(shard, _)| format!("shard {shard} does not answer")));
    let (status, text) = match reasons.is_empty() {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    (status, Json(json!({ "status": text, "reasons": reasons }))).into_response()
}

/// `GET /metrics` on the address of the sockets: only if that is a loopback address, no other one was chosen for it, and no proxy
/// on this machine passes on what somebody else asks.
pub(super) async fn local_metrics(State(site): State<Site>, headers: HeaderMap) -> Response {
    if site.shows_metrics && !OF_PROXIES.iter().any(|name| headers.contains_key(*name)) {
        return metrics(&site.metrics, &headers).await;
    }
    let text = "figures are not shown here: see metrics_listen in the configuration\n";
    (StatusCode::NOT_FOUND, text).into_response()
}

async fn metrics(metrics: &Metrics, headers: &HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    match metrics.text(accept).await {
        Ok((body, content_type)) => ([(header::CONTENT_TYPE, content_type)], body).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot write the figures");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
