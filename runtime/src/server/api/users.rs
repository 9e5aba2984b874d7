//! Other users, and friends.

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use switchboard_engine::UserId;
use utoipa::IntoParams;

use super::{
    input::{Me, Params, Segments, check_length},
    model::User,
    page::{Page, PageParams},
    problem::Problem,
};
use crate::{server::access::Desk, store::Directory};

/// Whom to find.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FindParams {
    /// The name that it logs in with, exactly.
    #[param(example = "alice", min_length = 1, max_length = 1024)]
    username: String,
}

/// Find a user by name
///
/// The page has the user of this very name, or nobody.
#[utoipa::path(
    get, path = "/api/v1/users", tag = "users", params(FindParams),
    responses((status = 200, description = "The user, or nobody", body = Page<User>))
)]
pub(super) async fn find_user(
    State(desk): State<Desk>,
    _me: Me,
    Params(FindParams { username }): Params<FindParams>,
) -> Result<Json<Page<User>>, Problem> {
    check_length("username", &username, 1_024)?;
    let found = desk.accounts.directory(move |directory| directory.user_named(username.trim())).await??;
    Ok(Json(Page { items: found.map(User::from).into_iter().collect(), next_cursor: None }))
}

/// A user's public profile
#[utoipa::path(
    get, path = "/api/v1/users/{user_id}", tag = "users",
    params(("user_id" = String, Path, description = "The user's id", max_length = 128)),
    responses(
        (status = 200, description = "What others may know of the user", body = User),
        (status = 404, description = "There is no such user"),
    )
)]
pub(super) async fn show_user(
    State(desk): State<Desk>,
    _me: Me,
    Segments(id): Segments<String>,
) -> Result<Json<User>, Problem> {
    let id = UserId::new(&id)?;
    let found = desk.accounts.directory(move |directory| directory.user(&id)).await??;
    Ok(Json(found.ok_or_else(|| Problem::not_found("user"))?.into()))
}

/// One's friends
#[utoipa::path(
    get, path = "/api/v1/friends", tag = "friends", params(PageParams),
    responses((status = 200, description = "Friends, in the order in which they were put there", body = Page<User>))
)]
pub(super) async fn list_friends(
    State(desk): State<Desk>,
    me: Me,
    Params(page): Params<PageParams>,
) -> Result<Json<Page<User>>, Problem> {
    let read = move |directory: &Directory, after: Option<(i64, i64)>, most| {
        directory.friends_after(&me.user, after, most)
    };
    page.of(&desk, read, |(place, _)| *place, |(_, user)| user.into()).await
}

/// Put a user among one's friends
///
/// It is in one's own list alone, and is not told. Doing it again changes nothing.
#[utoipa::path(
    put, path = "/api/v1/friends/{user_id}", tag = "friends",
    params(("user_id" = String, Path, description = "The user's id", max_length = 128)),
    responses(
        (status = 204, description = "It is among them"),
        (status = 404, description = "There is no such user"),
        (status = 409, description = "It is oneself, or the list is full"),
    )
)]
pub(super) async fn befriend(
    State(desk): State<Desk>,
    me: Me,
    Segments(id): Segments<String>,
) -> Result<StatusCode, Problem> {
    let (id, limit) = (UserId::new(&id)?, desk.accounts.limits().friends);
    desk.accounts.directory(move |directory| directory.befriend_user(&me.user, &id, limit)).await??;
    Ok(StatusCode::NO_CONTENT)
}

/// Take a user out of one's friends
#[utoipa::path(
    delete, path = "/api/v1/friends/{user_id}", tag = "friends",
    params(("user_id" = String, Path, description = "The user's id", max_length = 128)),
    responses(
        (status = 204, description = "It is no longer among them"),
        (status = 404, description = "It was not among them"),
    )
)]
pub(super) async fn unfriend(
    State(desk): State<Desk>,
    me: Me,
    Segments(id): Segments<String>,
) -> Result<StatusCode, Problem> {
    let id = UserId::new(&id)?;
    let was_there = desk.accounts.directory(move |directory| directory.unfriend(&me.user, &id)).await??;
    if was_there { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found("friend")) }
}
