//! Signed tokens.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    input::{Body, Me},
    model::time,
    problem::{Kind, Problem},
};
use crate::{server::access::Desk, store::session_id};

/// How long a token is to last.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewToken {
    /// In seconds; as long as it may, if it is left out or longer.
    #[serde(default)]
    #[schema(minimum = 1, example = 600)]
    lifetime_s: Option<u32>,
}

/// A signed token.
#[derive(Serialize, ToSchema)]
pub(super) struct IssuedToken {
    /// A JSON Web Token, for `Authorization: Bearer TOKEN`: a secret.
    token: String,
    /// What the token is called.
    token_id: String,
    /// When it ends by itself, at the latest with its session.
    #[schema(format = DateTime)]
    expires_at: String,
}

/// Make a signed token
///
/// For a program of one's own, or one that asks other servers who trust this one's key. It ends with the session that asks.
#[utoipa::path(
    post, path = "/api/v1/tokens", tag = "sessions", request_body = NewToken,
    responses(
        (status = 201, description = "Made", body = IssuedToken),
        (status = 403, description = "The session that asks has ended, or is none"),
        (status = 409, description = "This server signs no tokens"),
    )
)]
pub(super) async fn issue_token(
    State(desk): State<Desk>,
    me: Me,
    Body(new): Body<NewToken>,
) -> Result<Response, Problem> {
    if new.lifetime_s == Some(0) {
        return Err(Problem::invalid("a token lasts for a second at least"));
    }
    let id = session_id(&me.session);
    let issued = desk.accounts.issue(me.user, id, new.lifetime_s).await?;
    let issued = issued
        .ok_or_else(|| Problem::new(Kind::Conflict, "this server signs no tokens: it has no key for that"))?;
    let issued =
        issued.ok_or_else(|| Problem::new(Kind::Forbidden, "tokens are made for sessions: log in"))?;
    let answer = IssuedToken {
        token: issued.token,
        token_id: issued.claims.id,
        expires_at: time(issued.claims.expires_at.saturating_mul(1_000)),
    };
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}
