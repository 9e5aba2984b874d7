//! The HTTP calls of the classic front-end: docs/http.md says what each takes and gives.
//!
//! Every request goes the same way: [`answer::cors`], then [`auth::admit`], which finds out who asks, then its handler. A
//! handler acts for nobody of whom [`auth::Caller`] has not made an [`auth::Actor`], and what takes one cannot be called
//! without it.

mod answer;
mod auth;
mod body;
mod files;
mod groups;
mod messages;
mod users;

use std::net::SocketAddr;
use std::sync::Arc;

pub(super) use auth::Admitted;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post},
};
use tokio::sync::Semaphore;

use crate::{
    accounts::Accounts,
    config::{AuthMode, Config, Http, Proxy},
    media::Files,
};

/// What the calls work with; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    accounts: Arc<Accounts>,
    media: Files,
    rules: Arc<Rules>,
    /// Places for uploads.
    uploads: Arc<Semaphore>,
}

/// What of the configuration the calls go by.
#[derive(Debug)]
struct Rules {
    auth: AuthMode,
    proxy: Proxy,
    allowed_origins: Vec<String>,
    groups_per_user: u32,
    http: Http,
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

impl Desk {
    pub(super) fn new(config: &Config, accounts: Arc<Accounts>, media: Files) -> Self {
        let origins = config.allowed_origins.split_whitespace();
        let rules = Rules {
            auth: config.auth,
            proxy: config.proxy,
            allowed_origins: origins.map(str::to_ascii_lowercase).collect(),
            groups_per_user: config.limits.groups_per_user,
            http: config.http.clone(),
        };
        let uploads = usize::try_from(config.http.uploads).unwrap_or(Semaphore::MAX_PERMITS);
        let uploads = Arc::new(Semaphore::new(uploads.min(Semaphore::MAX_PERMITS)));
        Self { accounts, media, rules: Arc::new(rules), uploads }
    }
}

/// What comes with a file in an upload: the other part, and what is between the parts.
const UPLOAD_FRAME_BYTES: usize = 64 << 10;

/// The calls' routes.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(desk: Desk) -> Router<S> {
    let upload_bytes = usize::try_from(desk.rules.http.upload_bytes).unwrap_or(usize::MAX);
    let upload_limit = DefaultBodyLimit::max(upload_bytes.saturating_add(UPLOAD_FRAME_BYTES));
    // Who logs in is nobody yet.
    let anybodys = Router::new()
        .route("/user/register", post(users::register))
        .route("/user/login", post(users::log_in));
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
        .layer(middleware::from_fn_with_state(desk.clone(), auth::admit))
        .merge(anybodys)
        .layer(middleware::from_fn(answer::cors))
        .with_state(desk)
}
