//! The JSON API under `/api/v1`, for clients and operators: docs/api.md says what it is.
//!
//! Every request goes the same way: [`problem::render`], which gives whatever went wrong the form of a problem, then its
//! handler, which takes [`input::Me`] before anything else: whose session the request has. Routes and their documentation
//! are one list ([`own`], [`public`]); a test tries every call of the document as everybody whose it is not.

mod accounts;
mod admin;
mod conversations;
mod groups;
mod input;
mod media;
mod model;
mod openapi;
mod page;
mod problem;
mod search;
mod sessions;
mod tokens;
mod users;

use axum::{
    Json, Router,
    body::Bytes,
    http::header,
    middleware,
    routing::{any, get},
};
use serde::Serialize;
use utoipa::{ToSchema, openapi::OpenApi};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::{
    openapi::Security,
    problem::{KINDS_PATH, Kind, Problem},
};
use super::access::Desk;

/// Calls of whoever has a session.
fn own() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .routes(routes!(accounts::show_account, accounts::change_account))
        .routes(routes!(accounts::change_password))
        .routes(routes!(sessions::list_sessions, sessions::end_other_sessions))
        .routes(routes!(sessions::end_session))
        .routes(routes!(tokens::issue_token))
        .routes(routes!(users::find_user))
        .routes(routes!(users::show_user))
        .routes(routes!(users::list_friends))
        .routes(routes!(users::befriend, users::unfriend))
        .routes(routes!(conversations::list_conversations))
        .routes(routes!(conversations::show_conversation))
        .routes(routes!(conversations::read_history))
        .routes(routes!(search::search_messages))
        .routes(routes!(media::download))
        .routes(routes!(admin::list_accounts))
        .routes(routes!(admin::ban, admin::unban))
        .routes(routes!(admin::end_sessions_of))
        .routes(routes!(admin::announce))
        .routes(routes!(admin::statistics))
        .routes(routes!(admin::write_recording))
        .routes(routes!(groups::list_groups, groups::create_group))
        .routes(routes!(groups::find_open_group))
        .routes(routes!(groups::show_group, groups::change_group))
        .routes(routes!(groups::list_members))
        .routes(routes!(groups::add_member, groups::change_member, groups::remove_member))
}

/// Calls of anybody.
fn public() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .routes(routes!(accounts::register))
        .routes(routes!(sessions::log_in))
        .routes(routes!(list_problems))
}

/// The OpenAPI document.
pub(crate) fn document() -> OpenApi {
    openapi::document([(own().into_openapi(), Security::Session), (public().into_openapi(), Security::None)])
}

/// The routes.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(desk: Desk) -> Router<S> {
    let document = Bytes::from(document().to_json().unwrap_or_default());
    let document = async move || ([(header::CONTENT_TYPE, "application/json")], document);
    let nothing =
        || async { Problem::new(Kind::NotFound, "there is no such call: see /api/v1/openapi.json") };
    Router::from(own())
        .merge(public())
        .route("/api/v1/openapi.json", get(document))
        .route("/api", any(nothing))
        .route("/api/", any(nothing))
        .route("/api/{*path}", any(nothing))
        .layer(middleware::from_fn(problem::render))
        .with_state(desk)
}

/// A kind of problem.
#[derive(Serialize, ToSchema)]
struct ProblemKind {
    /// What a problem of this kind has as its `type`.
    #[schema(example = "/api/v1/problems#not-found")]
    r#type: String,
    /// What it means.
    title: &'static str,
    /// The status of its answers.
    status: u16,
}

/// All kinds of problems.
#[derive(Serialize, ToSchema)]
struct ProblemKinds {
    items: Vec<ProblemKind>,
}

/// What can go wrong
///
/// All kinds of problems: what the type of each leads to.
#[utoipa::path(get, path = "/api/v1/problems", tag = "about", responses((status = 200, description = "All kinds", body = ProblemKinds)))]
async fn list_problems(_guest: input::Guest) -> Json<ProblemKinds> {
    let kind = |kind: &Kind| ProblemKind {
        r#type: format!("{KINDS_PATH}#{}", kind.slug()),
        title: kind.title(),
        status: kind.status().as_u16(),
    };
    Json(ProblemKinds { items: Kind::ALL.iter().map(kind).collect() })
}
