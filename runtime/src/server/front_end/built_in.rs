//! A small page of our own, so that a new server can be tried from a browser.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse as _, Response},
};

use super::Asked;

/// The page runs what comes from here and nothing else, and nobody may put it into a frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob:; \
                      media-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The file that is asked for.
pub(super) fn answer(asked: &Asked) -> Option<Response> {
    let (kind, text) = match asked.path.as_str() {
        "" | "index.html" => ("text/html; charset=utf-8", include_str!("page/index.html")),
        "page.css" => ("text/css; charset=utf-8", include_str!("page/page.css")),
        "page.js" => ("text/javascript; charset=utf-8", include_str!("page/page.js")),
        "page.svg" => ("image/svg+xml", include_str!("page/page.svg")),
        "wire.js" => ("text/javascript; charset=utf-8", include_str!("page/wire.js")),
        _ => return None,
    };
    let headers = [
        (header::CONTENT_TYPE, kind),
        // The next version of the server may have another one.
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    let headers: HeaderMap =
        headers.map(|(name, value)| (name, HeaderValue::from_static(value))).into_iter().collect();
    Some((headers, Body::from(text)).into_response())
}
