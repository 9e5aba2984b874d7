//! What went wrong, as RFC 9457 has it.

use std::{io, time::Duration};

use axum::{
    Json,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use rusqlite::ErrorCode;
use serde::Serialize;
use switchboard_engine::IdError;
use utoipa::ToSchema;

use crate::{
    accounts::{AccountError, PoolError, seconds},
    media::MediaError,
    server::{
        access::{BodyError, Refusal, TooManyCalls},
        request_log::RequestId,
    },
    store::DirectoryError,
};

/// How long who found the server busy is to wait.
const BUSY_TIME: Duration = Duration::from_secs(1);

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident = $slug:literal, $status:ident;)+) => {
        /// What kind of problem one is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(in crate::server) enum Kind {
            $($(#[doc = $doc])+ $kind,)+
        }

        impl Kind {
            /// All of them.
            pub(super) const ALL: &[Self] = &[$(Self::$kind),+];

            /// Its name, behind the path of the list of all.
            pub(super) const fn slug(self) -> &'static str {
                match self { $(Self::$kind => $slug),+ }
            }

            pub(super) const fn status(self) -> StatusCode {
                match self { $(Self::$kind => StatusCode::$status),+ }
            }

            /// What it means, the same for each problem of this kind.
            pub(super) fn title(self) -> &'static str {
                match self { $(Self::$kind => concat!($($doc),+).trim()),+ }
            }
        }
    };
}

kinds! {
    /// The request cannot be read: its JSON, its query or its path is broken.
    Malformed = "malformed", BAD_REQUEST;
    /// A value is not one that is taken here.
    Invalid = "invalid", UNPROCESSABLE_ENTITY;
    /// A session is needed, and there is none, or it has ended.
    Unauthenticated = "unauthenticated", UNAUTHORIZED;
    /// Pages of this origin may not use a browser's session here.
    ForeignPage = "foreign-page", FORBIDDEN;
    /// You are banned.
    Banned = "banned", FORBIDDEN;
    /// You may not do this.
    Forbidden = "forbidden", FORBIDDEN;
    /// There is no such thing, or it is not for your eyes.
    NotFound = "not-found", NOT_FOUND;
    /// This method does not exist here.
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED;
    /// The request did not come in time.
    Timeout = "timeout", REQUEST_TIMEOUT;
    /// It does not fit what is there.
    Conflict = "conflict", CONFLICT;
    /// The request has more bytes than are taken.
    TooLarge = "too-large", PAYLOAD_TOO_LARGE;
    /// The request is not of a type that is taken here.
    UnsupportedType = "unsupported-type", UNSUPPORTED_MEDIA_TYPE;
    /// No part of the file is in this range.
    Range = "range", RANGE_NOT_SATISFIABLE;
    /// This was asked or tried too often.
    TooMany = "too-many", TOO_MANY_REQUESTS;
    /// The server failed, and its log says why.
    Internal = "internal", INTERNAL_SERVER_ERROR;
    /// The server has too much to do, or no room.
    Busy = "busy", SERVICE_UNAVAILABLE;
}

/// Where all kinds are listed; the path of each, with its name as the fragment, is its type.
pub(super) const KINDS_PATH: &str = "/api/v1/problems";

/// Why a call did not work.
#[derive(Clone, Debug)]
pub(in crate::server) struct Problem {
    kind: Kind,
    detail: String,
    retry_after: Option<Duration>,
}

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let retry_after = match kind {
            Kind::Busy => Some(BUSY_TIME),
            Kind::Malformed
            | Kind::Invalid
            | Kind::Unauthenticated
            | Kind::ForeignPage
            | Kind::Banned
            | Kind::Forbidden
            | Kind::NotFound
            | Kind::MethodNotAllowed
            | Kind::Timeout
            | Kind::Conflict
            | Kind::TooLarge
            | Kind::UnsupportedType
            | Kind::Range
            | Kind::TooMany
            | Kind::Internal => None,
        };
        Self { kind, detail: detail.into(), retry_after }
    }

    pub(super) fn not_found(what: &str) -> Self {
        Self::new(Kind::NotFound, format!("there is no such {what}, or it is not for your eyes"))
    }

    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, detail)
    }

    /// Of who has asked or tried too often.
    pub(super) fn too_many(wait: Duration) -> Self {
        let detail = format!("too many tries; try again in {} s", seconds(wait));
        Self { kind: Kind::TooMany, detail, retry_after: Some(wait) }
    }

    /// Of who does too much at a time.
    pub(super) fn too_much(detail: impl Into<String>) -> Self {
        Self { retry_after: Some(BUSY_TIME), ..Self::new(Kind::TooMany, detail) }
    }

    /// Of which the caller is told nothing.
    pub(super) fn internal(reason: &str) -> Self {
        tracing::error!(reason, "a call could not be answered");
        Self::new(Kind::Internal, "the server could not do this; its log says why")
    }

    fn busy() -> Self {
        Self::new(Kind::Busy, "the server has too much to do; try again in a second")
    }

    fn of_status(status: StatusCode) -> Option<Self> {
        let kind = Kind::ALL.iter().copied().find(|kind| kind.status() == status)?;
        let kind = if kind.status() == StatusCode::FORBIDDEN { Kind::Forbidden } else { kind };
        Some(Self::new(kind, kind.title()))
    }
}

/// What went wrong (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(in crate::server) struct Details {
    /// What kind of problem it is: the path of the list of all kinds, and a name.
    #[schema(example = "/api/v1/problems#not-found")]
    r#type: String,
    /// What the kind means.
    title: &'static str,
    /// The status of the answer.
    status: u16,
    /// What is wrong, and what would be right.
    detail: String,
    /// What the server's log calls this request; the header `X-Request-Id` has it as well.
    request_id: String,
}

impl IntoResponse for Problem {
    /// Without a body: [`render`] knows which request it was.
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives each answer that is a problem the form of one.
pub(super) async fn render(request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().cloned();
    let response = next.run(request).await;
    let status = response.status();
    let known = response.extensions().get::<Problem>().cloned();
    // What the HTTP layer has found by itself, such as another method.
    let found = known.or_else(|| Problem::of_status(status));
    let Some(problem) = found else { return response };
    let details = Details {
        r#type: format!("{KINDS_PATH}#{}", problem.kind.slug()),
        title: problem.kind.title(),
        status: status.as_u16(),
        detail: problem.detail,
        request_id: id.map(|RequestId(id)| id).unwrap_or_default(),
    };
    let mut answer = (status, Json(details)).into_response();
    for name in [header::ALLOW, header::SET_COOKIE, header::CONTENT_RANGE] {
        if let Some(value) = response.headers().get(&name) {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(wait) = problem.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds(wait)));
    }
    if problem.kind == Kind::Unauthenticated {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}

impl From<DirectoryError> for Problem {
    fn from(error: DirectoryError) -> Self {
        let text = error.to_string();
        match error {
            DirectoryError::Database(source) => match source.sqlite_error_code() {
                Some(ErrorCode::DatabaseBusy) => Self::busy(),
                Some(ErrorCode::DiskFull) => Self::new(Kind::Busy, "the server's disk is full"),
                _ => Self::internal(&source.to_string()),
            },
            DirectoryError::ForeignId(source) => Self::internal(&format!("{text}: {source}")),
            DirectoryError::Denied(denial) if denial.is_forbidden() => Self::new(Kind::Forbidden, text),
            DirectoryError::Banned(_) => Self::new(Kind::Banned, text),
            DirectoryError::GroupName => Self::invalid(text),
            DirectoryError::UserExists(_)
            | DirectoryError::UsernameTaken(_)
            | DirectoryError::GroupExists(_)
            | DirectoryError::OwnFriend
            | DirectoryError::FriendAlready(_)
            | DirectoryError::Denied(_)
            | DirectoryError::TooMany { .. } => Self::new(Kind::Conflict, text),
            DirectoryError::NoSuchUser(_) | DirectoryError::NoSuchName(_) => Self::not_found("user"),
            DirectoryError::NoSuchGroup(_) | DirectoryError::GroupNotOpen => Self::not_found("group"),
        }
    }
}

impl From<PoolError> for Problem {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Busy => Self::busy(),
            PoolError::Failed => Self::internal(&error.to_string()),
            PoolError::Stopped => Self::new(Kind::Busy, error.to_string()),
        }
    }
}

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        let text = error.to_string();
        match error {
            AccountError::Directory(error) => error.into(),
            AccountError::Pool(error) => error.into(),
            AccountError::Hash(text) => Self::internal(&text),
            AccountError::TooManyTries(wait) => Self::too_many(wait),
            AccountError::Banned(_) => Self::new(Kind::Banned, text),
            AccountError::WrongLogin => Self::new(Kind::Unauthenticated, text),
            AccountError::WrongPassword => Self::new(Kind::Forbidden, text),
            AccountError::Missing { .. }
            | AccountError::TooLong { .. }
            | AccountError::ShortPassword { .. }
            | AccountError::ControlCharacter { .. }
            | AccountError::Invisible { .. }
            | AccountError::Reserved => Self::invalid(text),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            Refusal::UserId(error) => error.into(),
            Refusal::LogIn => Self::new(Kind::Unauthenticated, text),
            Refusal::AnotherUser => Self::new(Kind::Forbidden, text),
            Refusal::ForeignPage => Self::new(Kind::ForeignPage, text),
            Refusal::Account(error) => error.into(),
        }
    }
}

impl From<TooManyCalls> for Problem {
    fn from(TooManyCalls(wait): TooManyCalls) -> Self {
        let detail = format!("too many calls; the next one may come in {} s", seconds(wait));
        Self { kind: Kind::TooMany, detail, retry_after: Some(wait) }
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let kind = match &error {
            BodyError::TooLarge { .. } => Kind::TooLarge,
            BodyError::TooSlow => Kind::Timeout,
            BodyError::Broken(_) | BodyError::Syntax(_) => Kind::Malformed,
            BodyError::Data(_) => Kind::Invalid,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<MediaError> for Problem {
    fn from(error: MediaError) -> Self {
        let text = error.to_string();
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        match error {
            MediaError::Quota(_) => Self::new(Kind::Forbidden, text),
            MediaError::Empty
            | MediaError::WrongKind
            | MediaError::MalformedDataUrl
            | MediaError::Picture(_) => Self::invalid(text),
            MediaError::Busy | MediaError::Stopped => Self::busy(),
            MediaError::Books(source) => DirectoryError::Database(source).into(),
            MediaError::Disk { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Self::new(Kind::Busy, "the server's disk is full")
            }
            MediaError::Bucket { .. } if error.is_passing() => {
                tracing::warn!(error = text, source, "a file could not be kept or read");
                Self::new(Kind::Busy, "the server cannot reach its files now; try again in a second")
            }
            MediaError::Name(_) | MediaError::Disk { .. } | MediaError::Bucket { .. } => {
                Self::internal(&format!("{text}: {source}"))
            }
        }
    }
}

impl From<IdError> for Problem {
    fn from(error: IdError) -> Self {
        Self::new(Kind::NotFound, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_stops_has_not_failed() {
        let problem = Problem::from(PoolError::Stopped);
        assert_eq!(problem.kind.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(Problem::from(PoolError::Failed).kind.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
