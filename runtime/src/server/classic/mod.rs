//! The HTTP calls of the classic front-end: docs/http.md says what each takes and gives.
//!
//! Every request goes the same way: [`answer::cors`], then [`admit`], which finds out who asks, then its handler. A
//! handler acts for nobody of whom [`Caller`](super::access::Caller) has not made an
//! [`Actor`](super::access::Actor).

mod answer;
mod files;
mod groups;
mod messages;
mod users;

use axum::{
    Extension, Router,
    extract::{DefaultBodyLimit, Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};

use super::access::{Desk, Peer, Refusal};
use answer::Fault;

/// What comes with a file in an upload: the other part, and what is between the parts.
const UPLOAD_FRAME_BYTES: usize = 64 << 10;

/// The calls' routes.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(desk: Desk) -> Router<S> {
    let upload_bytes = usize::try_from(desk.rules.http.upload_bytes).unwrap_or(usize::MAX);
    let upload_limit = DefaultBodyLimit::max(upload_bytes.saturating_add(UPLOAD_FRAME_BYTES));
    // Who logs in is nobody yet.
    let anybodys = Router::new()
        .route("/user/register", post(users::register))
        .route("/user/login", post(users::log_in))
        .layer(middleware::from_fn_with_state(desk.clone(), greet));
    Router::new()
        .route("/user", get(users::friends).put(users::change))
        .route("/user/logout", post(users::log_out))
        .route("/user/name", get(users::find))
        .route("/user/{user}", get(users::profile))
        .route("/friend", post(users::befriend))
        .route("/group/{user}", get(groups::list).post(groups::create))
        .route("/group/join/{user}/{group}", post(groups::join))
        .route("/group/user/{group}", get(groups::members))
        .route("/message", get(messages::history))
        .route("/file", post(files::upload).layer(upload_limit))
        .route("/file/{name}", get(files::download))
        .layer(middleware::from_fn_with_state(desk.clone(), admit))
        .merge(anybodys)
        .layer(middleware::from_fn(answer::cors))
        .with_state(desk)
}

/// Answers who is nobody, and tells the handlers who everybody else is.
async fn admit(
    State(desk): State<Desk>,
    Extension(peer): Extension<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let admitted = desk.admit(peer, request.method(), request.headers()).await;
    let counted = match &admitted {
        Ok(caller) if let Some(user) = caller.user() => desk.rates.of_user(user),
        // Whoever is believed could be somebody else each time.
        Ok(_) | Err(_) => desk.rates.of_address(desk.visitor(peer, request.headers()).address),
    };
    match counted.map_err(Fault::from).and_then(|()| Ok(admitted?)) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(fault) => fault.into_response(),
    }
}

/// Lets in whoever is to log in.
async fn greet(
    State(desk): State<Desk>,
    Extension(peer): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    match desk.rates.of_address(desk.visitor(peer, request.headers()).address) {
        Ok(()) => next.run(request).await,
        Err(too_many) => Fault::from(too_many).into_response(),
    }
}

/// What a handshake is refused with: plain words, where the caller is at fault.
pub(super) fn refuse_socket(refusal: Refusal) -> Response {
    match Fault::from(refusal) {
        Fault::Unauthorised(text) => (StatusCode::UNAUTHORIZED, format!("{text}\n")).into_response(),
        Fault::Forbidden(text) => (StatusCode::FORBIDDEN, format!("{text}\n")).into_response(),
        fault @ (Fault::Refused(_)
        | Fault::TooManyTries(..)
        | Fault::TooManyCalls(_)
        | Fault::Busy
        | Fault::NoFile
        | Fault::Broken(_)) => fault.into_response(),
    }
}
