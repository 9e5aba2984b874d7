//! Sessions.

use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    input::{Body, Guest, Me, Params, Segments},
    model::{Account, time},
    page::{Page, PageParams},
    problem::Problem,
};
use crate::{
    accounts::Token,
    server::access::{Desk, Peer},
    store::{self, SessionId, session_id},
};

/// A user name and its password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    #[schema(example = "alice", max_length = 1024)]
    username: String,
    #[schema(example = "correct horse", max_length = 4096)]
    password: String,
}

/// A session that has begun.
#[derive(Serialize, ToSchema)]
pub(super) struct LoggedIn {
    /// What proves the session, as `Authorization: Bearer TOKEN`: a secret, which nobody is told again.
    token: String,
    /// The session's id, which is none.
    session_id: String,
    /// When it ends by itself.
    #[schema(format = DateTime)]
    expires_at: String,
    /// Whose it is.
    account: Account,
}

impl LoggedIn {
    /// The answer, with the cookie if a page of this server may have asked.
    pub(super) fn answer(
        desk: &Desk,
        peer: Peer,
        headers: &HeaderMap,
        user: store::User,
        token: &Token,
    ) -> Response {
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let life_ms =
            i64::try_from(desk.accounts.session_seconds()).unwrap_or(i64::MAX).saturating_mul(1_000);
        let session = Self {
            token: token.expose().to_owned(),
            session_id: HEXLOWER.encode(&session_id(&token.hash())),
            expires_at: time(now_ms.saturating_add(life_ms)),
            account: user.into(),
        };
        with_cookie(desk, peer, headers, Some(token), Json(session).into_response())
    }
}

fn with_cookie(
    desk: &Desk,
    peer: Peer,
    headers: &HeaderMap,
    token: Option<&Token>,
    mut answer: Response,
) -> Response {
    let cookie = desk.set_cookie(peer, headers, token).and_then(|cookie| HeaderValue::from_str(&cookie).ok());
    if let Some(mut cookie) = cookie {
        cookie.set_sensitive(true);
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Log in
///
/// What is wrong with a login that fails is not told.
#[utoipa::path(
    post, path = "/api/v1/sessions", tag = "sessions", request_body = Login,
    responses(
        (status = 201, description = "Logged in", body = LoggedIn),
        (status = 401, description = "The user name or the password is wrong"),
    )
)]
pub(super) async fn log_in(
    State(desk): State<Desk>,
    Guest(visitor): Guest,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Body(login): Body<Login>,
) -> Result<Response, Problem> {
    let (user, token) = desk.accounts.log_in(&login.username, login.password, visitor).await?;
    Ok((StatusCode::CREATED, LoggedIn::answer(&desk, peer, &headers, user, &token)).into_response())
}

/// Where a user is logged in.
#[derive(Serialize, ToSchema)]
pub(super) struct Session {
    id: String,
    /// Whether this request has it.
    is_current: bool,
    /// When it began.
    #[schema(format = DateTime)]
    created_at: String,
    /// When it was last used; noted once an hour at the most.
    #[schema(format = DateTime)]
    used_at: String,
    /// When it ends by itself.
    #[schema(format = DateTime)]
    expires_at: String,
    /// What the browser or program called itself when it logged in; may be empty.
    user_agent: String,
}

/// Where one is logged in
#[utoipa::path(
    get, path = "/api/v1/sessions", tag = "sessions", params(PageParams),
    responses((status = 200, description = "Sessions, the oldest first", body = Page<Session>))
)]
pub(super) async fn list_sessions(
    State(desk): State<Desk>,
    me: Me,
    Params(page): Params<PageParams>,
) -> Result<Json<Page<Session>>, Problem> {
    let current = session_id(&me.session);
    let read = move |directory: &store::Directory, after: Option<(i64, SessionId)>, most| {
        directory.signed_in(&me.user, after, most)
    };
    let give = |session: store::SignedIn| Session {
        id: HEXLOWER.encode(&session.id),
        is_current: session.id == current,
        created_at: time(session.created_at_ms),
        used_at: time(session.used_at_ms),
        expires_at: time(session.expires_at_ms),
        user_agent: session.user_agent,
    };
    page.of(&desk, read, |session| (session.created_at_ms, session.id), give).await
}

/// Log out everywhere else
#[utoipa::path(
    delete, path = "/api/v1/sessions", tag = "sessions",
    responses((status = 204, description = "All sessions but this one have ended"))
)]
pub(super) async fn end_other_sessions(State(desk): State<Desk>, me: Me) -> Result<StatusCode, Problem> {
    desk.accounts.end_other_sessions(me.user, me.session).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Log out
///
/// Ends a session of one's own; `current` is the one that this request has.
#[utoipa::path(
    delete, path = "/api/v1/sessions/{session_id}", tag = "sessions",
    params(("session_id" = String, Path, description = "The session's id, or `current`", pattern = "^([0-9a-f]{32}|current)$")),
    responses(
        (status = 204, description = "It has ended"),
        (status = 404, description = "There is no such session of yours"),
    )
)]
pub(super) async fn end_session(
    State(desk): State<Desk>,
    me: Me,
    Segments(id): Segments<String>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let current = session_id(&me.session);
    let id = match id.as_str() {
        "current" => current,
        id => {
            let bytes = HEXLOWER.decode(id.as_bytes()).ok();
            bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| Problem::not_found("session"))?
        }
    };
    if !desk.accounts.end_session(me.user, id).await? {
        return Err(Problem::not_found("session"));
    }
    let answer = StatusCode::NO_CONTENT.into_response();
    Ok(if id == current { with_cookie(&desk, peer, &headers, None, answer) } else { answer })
}
