//! What those who run the server may do over HTTP. Who does not is told that there is no such call's right: 403.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use switchboard_engine::{Audience, Revocation, UserId};
use utoipa::ToSchema;

use super::{
    groups::parse_time,
    input::{Administrator, Body, Params, Segments},
    model::{User, time},
    page::{Page, PageParams},
    problem::{Kind, Problem},
};
use crate::{
    accounts::check,
    server::{
        access::Desk,
        authority::{AuthorityError, NOTICE_BYTES, RecordingError},
    },
    store::{self, AccountRole, Ban, DirectoryError},
};

impl From<RecordingError> for Problem {
    fn from(error: RecordingError) -> Self {
        match &error {
            RecordingError::Off => Self::new(Kind::Conflict, error.to_string()),
            RecordingError::Busy => Self::new(Kind::Busy, error.to_string()),
            RecordingError::Write(source) => Self::internal(&format!("{error}: {source}")),
        }
    }
}

/// Bytes of the reason of a ban.
const REASON_BYTES: u32 = 1_024;

impl From<AuthorityError> for Problem {
    fn from(error: AuthorityError) -> Self {
        match error {
            AuthorityError::Busy => Self::new(Kind::Busy, error.to_string()),
            AuthorityError::Text(_) => Self::invalid(error.to_string()),
        }
    }
}

/// An account, as administrators see it.
#[derive(Serialize, ToSchema)]
pub(super) struct ManagedAccount {
    #[serde(flatten)]
    user: User,
    /// Whether it runs the server.
    is_administrator: bool,
    /// Whether it can log in with a password.
    has_password: bool,
    /// Why it may not come in; null if it may.
    ban: Option<BanInForce>,
    /// When it was registered.
    #[schema(format = DateTime)]
    created_at: String,
}

/// Why an account may not come in.
#[derive(Serialize, ToSchema)]
pub(super) struct BanInForce {
    /// For the user to read; may be empty.
    reason: String,
    /// When it ends; null if it does not by itself.
    #[schema(format = DateTime)]
    until: Option<String>,
}

impl From<store::Account> for ManagedAccount {
    fn from(account: store::Account) -> Self {
        let store::Account { user, standing, has_password } = account;
        let ban = standing.ban.map(|ban| BanInForce { reason: ban.reason, until: ban.until_ms.map(time) });
        Self {
            created_at: time(user.created_at_ms),
            user: user.into(),
            is_administrator: standing.role == AccountRole::Administrator,
            has_password,
            ban,
        }
    }
}

/// All accounts
#[utoipa::path(
    get, path = "/api/v1/admin/accounts", tag = "admin", params(PageParams),
    responses((status = 200, description = "Accounts, in the order of their ids", body = Page<ManagedAccount>))
)]
pub(super) async fn list_accounts(
    State(desk): State<Desk>,
    _admin: Administrator,
    Params(page): Params<PageParams>,
) -> Result<Json<Page<ManagedAccount>>, Problem> {
    let (limit, after) = (page.limit()?, page.after::<String>()?);
    let after = after.map(|id| UserId::new(&id)).transpose()?;
    let accounts = desk
        .accounts
        .directory(move |directory| directory.accounts(after.as_ref(), limit.saturating_add(1)))
        .await??;
    let place = |account: &store::Account| account.user.id.as_str().to_owned();
    Ok(Json(Page::cut(accounts, limit, place, ManagedAccount::from)))
}

/// A ban to impose.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewBan {
    /// For the user to read.
    #[serde(default)]
    #[schema(max_length = 1024)]
    reason: String,
    /// When it ends; null: not by itself.
    #[schema(format = DateTime, max_length = 64)]
    until: Option<String>,
}

/// Ban a user
///
/// It cannot log in, its sessions have ended, and its connections are closed.
#[utoipa::path(
    put, path = "/api/v1/admin/accounts/{user_id}/ban", tag = "admin", request_body = NewBan,
    params(("user_id" = String, Path, description = "The user's id", max_length = 128)),
    responses(
        (status = 204, description = "It is banned"),
        (status = 404, description = "There is no such user"),
        (status = 409, description = "It is oneself"),
    )
)]
pub(super) async fn ban(
    State(desk): State<Desk>,
    Administrator(me): Administrator,
    Segments(id): Segments<String>,
    Body(new): Body<NewBan>,
) -> Result<StatusCode, Problem> {
    let id = UserId::new(&id)?;
    if id == me.user {
        return Err(Problem::new(Kind::Conflict, "nobody bans oneself"));
    }
    let reason = check("reason", &new.reason, REASON_BYTES)?;
    let until_ms = new.until.map(|text| parse_time("until", &text)).transpose()?;
    let ban = Ban { reason, until_ms };
    tracing::warn!(administrator = %me.user, user = %id, "banned a user");
    desk.accounts.directory(move |directory| directory.ban(&id, &ban)).await??;
    Ok(StatusCode::NO_CONTENT)
}

/// End a ban
#[utoipa::path(
    delete, path = "/api/v1/admin/accounts/{user_id}/ban", tag = "admin",
    params(("user_id" = String, Path, description = "The user's id", max_length = 128)),
    responses(
        (status = 204, description = "It is over"),
        (status = 404, description = "There is no such user, or no ban of it"),
    )
)]
pub(super) async fn unban(
    State(desk): State<Desk>,
    Administrator(me): Administrator,
    Segments(id): Segments<String>,
) -> Result<StatusCode, Problem> {
    let id = UserId::new(&id)?;
    tracing::warn!(administrator = %me.user, user = %id, "ended the ban of a user");
    let was_banned = desk.accounts.directory(move |directory| directory.unban(&id)).await??;
    if was_banned { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found("ban")) }
}

/// How many connections something was done to.
#[derive(Serialize, ToSchema)]
pub(super) struct Reached {
    connections: u64,
}

/// Log a user out
///
/// All its sessions end, and its connections are closed. It may log in again.
#[utoipa::path(
    delete, path = "/api/v1/admin/accounts/{user_id}/sessions", tag = "admin",
    params(("user_id" = String, Path, description = "The user's id", max_length = 128)),
    responses(
        (status = 200, description = "How many connections were closed", body = Reached),
        (status = 404, description = "There is no such user"),
    )
)]
pub(super) async fn end_sessions_of(
    State(desk): State<Desk>,
    Administrator(me): Administrator,
    Segments(id): Segments<String>,
) -> Result<Json<Reached>, Problem> {
    let id = UserId::new(&id)?;
    tracing::warn!(administrator = %me.user, user = %id, "ended the sessions of a user");
    let user = id.clone();
    desk.accounts.directory(move |directory| directory.end_logins(&user)).await??;
    let connections = desk.authority.disconnect(&id, Revocation::Administrator).await?;
    Ok(Json(Reached { connections }))
}

/// Something for the server to say.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Announcement {
    #[schema(min_length = 1, max_length = 4096)]
    text: String,
    /// The id of the user it is for; null: everybody.
    #[schema(max_length = 128)]
    user_id: Option<String>,
}

/// Say something as the server
///
/// To one user or to everybody who is connected; who is not misses it.
#[utoipa::path(
    post, path = "/api/v1/admin/announcements", tag = "admin", request_body = Announcement,
    responses(
        (status = 200, description = "How many connections were told", body = Reached),
        (status = 404, description = "There is no such user"),
    )
)]
pub(super) async fn announce(
    State(desk): State<Desk>,
    Administrator(me): Administrator,
    Body(Announcement { text, user_id }): Body<Announcement>,
) -> Result<Json<Reached>, Problem> {
    if text.is_empty() || text.len() > NOTICE_BYTES {
        return Err(AuthorityError::Text(text.len()).into());
    }
    let to = match user_id {
        Some(id) => {
            let id = UserId::new(&id)?;
            let wanted = id.clone();
            let found = desk.accounts.directory(move |directory| directory.user(&wanted)).await??;
            found.ok_or_else(|| Problem::from(DirectoryError::NoSuchUser(id.clone())))?;
            Audience::User(id)
        }
        None => Audience::Everyone,
    };
    tracing::warn!(administrator = %me.user, ?to, bytes = text.len(), "said something as the server");
    Ok(Json(Reached { connections: desk.authority.announce(to, &text).await? }))
}

/// How much there is.
#[derive(Serialize, ToSchema)]
pub(super) struct Statistics {
    /// WebSockets, and handshakes that are not done.
    connections: u64,
    users: u64,
    groups: u64,
    /// Conversations in which something was said.
    conversations: u64,
    /// Entries of all logs.
    entries: u64,
    /// Sessions that have not ended.
    sessions: u64,
}

/// Statistics
///
/// How much there is of everything; `/metrics` has what happens.
#[utoipa::path(
    get, path = "/api/v1/admin/statistics", tag = "admin",
    responses((status = 200, description = "How much there is", body = Statistics))
)]
pub(super) async fn statistics(
    State(desk): State<Desk>,
    _admin: Administrator,
) -> Result<Json<Statistics>, Problem> {
    let totals = desk.accounts.directory(|directory| directory.totals()).await??;
    let store::Totals { users, groups, conversations, entries, sessions } = totals;
    let connections = desk.authority.connections();
    Ok(Json(Statistics { connections, users, groups, conversations, entries, sessions }))
}

/// Files of a recording.
#[derive(Serialize, ToSchema)]
pub(super) struct Recording {
    /// Their names in the folder of recordings on the server.
    files: Vec<String>,
}

/// Write what was recorded
///
/// If the server records on demand: what it has in memory of what its engines were told is written to files.
#[utoipa::path(
    post, path = "/api/v1/admin/recordings", tag = "admin",
    responses(
        (status = 201, description = "The files that were written", body = Recording),
        (status = 409, description = "Nothing is recorded on demand"),
    )
)]
pub(super) async fn write_recording(
    State(desk): State<Desk>,
    Administrator(me): Administrator,
) -> Result<(StatusCode, Json<Recording>), Problem> {
    let files = desk.authority.write_recording("an administrator has asked").await?;
    tracing::warn!(administrator = %me.user, files = files.len(), "had a recording written");
    let name = |path: &std::path::PathBuf| Some(path.file_name()?.to_string_lossy().into_owned());
    Ok((StatusCode::CREATED, Json(Recording { files: files.iter().filter_map(name).collect() })))
}
