//! Accounts.

use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    input::{Body, Guest, Me},
    model::Account,
    problem::Problem,
    sessions::LoggedIn,
};
use crate::{
    accounts::{Change, Registration},
    server::access::{Desk, Peer},
    store::DirectoryError,
};

/// Who registers. Lengths are in bytes, and those of a server that is set up as usual.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAccount {
    /// The name to log in with; nobody else may have it.
    #[schema(example = "alice", min_length = 1, max_length = 64)]
    username: String,
    #[schema(example = "correct horse", min_length = 8, max_length = 256)]
    password: String,
    /// The name to show.
    #[serde(default)]
    #[schema(max_length = 64)]
    nickname: String,
    /// An e-mail address.
    #[serde(default)]
    #[schema(max_length = 254)]
    email: String,
}

/// Register
///
/// Makes a user, and logs it in: its session is in the answer, and a browser has it as a cookie.
#[utoipa::path(
    post, path = "/api/v1/accounts", tag = "accounts", request_body = NewAccount,
    responses(
        (status = 201, description = "Registered, and logged in", body = LoggedIn),
        (status = 409, description = "The user name is taken"),
    )
)]
pub(super) async fn register(
    State(desk): State<Desk>,
    Guest(visitor): Guest,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Body(new): Body<NewAccount>,
) -> Result<Response, Problem> {
    let NewAccount { username, password, nickname, email } = new;
    let registration = Registration { username, password, nickname, email, avatar: String::new() };
    let (user, token) = desk.accounts.register(registration, visitor).await?;
    let location = format!("/api/v1/users/{}", user.id.as_str());
    let answer = LoggedIn::answer(&desk, peer, &headers, user, &token);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], answer).into_response())
}

/// Oneself
#[utoipa::path(
    get, path = "/api/v1/accounts/me", tag = "accounts",
    responses((status = 200, description = "The user of the session", body = Account))
)]
pub(super) async fn show_account(State(desk): State<Desk>, me: Me) -> Result<Json<Account>, Problem> {
    account(&desk, me).await
}

async fn account(desk: &Desk, me: Me) -> Result<Json<Account>, Problem> {
    let found = desk
        .accounts
        .directory(move |directory| directory.user(&me.user)?.ok_or(DirectoryError::NoSuchUser(me.user)));
    Ok(Json(found.await??.into()))
}

/// What to change. What is missing or null stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountChange {
    /// The name to show.
    #[schema(max_length = 64)]
    nickname: Option<String>,
    /// An e-mail address.
    #[schema(max_length = 254)]
    email: Option<String>,
}

/// Change oneself
#[utoipa::path(
    patch, path = "/api/v1/accounts/me", tag = "accounts", request_body = AccountChange,
    responses((status = 200, description = "As it is now", body = Account))
)]
pub(super) async fn change_account(
    State(desk): State<Desk>,
    me: Me,
    Body(change): Body<AccountChange>,
) -> Result<Json<Account>, Problem> {
    let AccountChange { nickname, email } = change;
    let change = Change { nickname, email, ..Change::default() };
    desk.accounts.change(me.user.clone(), change).await?;
    account(&desk, me).await
}

/// A password, and the one that takes its place.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPassword {
    #[schema(max_length = 256)]
    old_password: String,
    #[schema(min_length = 8, max_length = 256)]
    new_password: String,
}

/// Change the password
///
/// All other sessions end. Wrong old passwords count as wrong logins do.
#[utoipa::path(
    put, path = "/api/v1/accounts/me/password", tag = "accounts", request_body = NewPassword,
    responses(
        (status = 204, description = "Changed; all other sessions have ended"),
        (status = 403, description = "The old password is wrong"),
    )
)]
pub(super) async fn change_password(
    State(desk): State<Desk>,
    me: Me,
    Body(passwords): Body<NewPassword>,
) -> Result<StatusCode, Problem> {
    let NewPassword { old_password, new_password } = passwords;
    let username = me.username.unwrap_or_default();
    desk.accounts.change_password((me.user, username), old_password, new_password, me.session).await?;
    Ok(StatusCode::NO_CONTENT)
}
