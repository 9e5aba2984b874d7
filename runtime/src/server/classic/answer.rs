//! What the calls answer: `{"code": 0 or -1, "msg": TEXT, "data": ...}`.

use std::time::Duration;

use axum::{
    Json,
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    accounts::{AccountError, PoolError, seconds},
    server::{
        access::{BodyError, Refusal, TooManyCalls},
        query::QueryError,
    },
    store::DirectoryError,
};

/// What became of a call.
pub(super) type Answer = Result<Response, Fault>;

/// It worked, and this is what it gives.
pub(super) fn done(data: impl Serialize) -> Answer {
    match serde_json::to_value(data) {
        Ok(data) => Ok(Json(json!({ "code": 0, "msg": "SUCCESS", "data": data })).into_response()),
        Err(error) => Err(Fault::Broken(error.to_string())),
    }
}

/// It worked, and gives nothing.
pub(super) fn nothing() -> Answer {
    done(Value::Null)
}

/// A time in milliseconds since 1970 as ISO 8601 has it.
pub(super) fn iso_8601(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map(|time| time.to_string()).unwrap_or_default()
}

/// Why a call did not work.
#[derive(Debug)]
pub(super) enum Fault {
    /// What was asked for is wrong, or cannot be.
    Refused(String),
    /// Who asks is not logged in, or not as who may ask this: 401.
    Unauthorised(String),
    /// Who asks is banned: 403.
    Forbidden(String),
    /// Another try may work, after this time.
    TooManyTries(Duration, String),
    /// Too many calls were made: 429.
    TooManyCalls(Duration),
    /// More wait than may wait: 503.
    Busy,
    /// There is no such file: 404.
    NoFile,
    /// The server is at fault, for a reason that is for its log alone.
    Broken(String),
}

impl Fault {
    pub(super) fn refused(text: impl Into<String>) -> Self {
        Self::Refused(text.into())
    }
}

impl From<QueryError> for Fault {
    fn from(error: QueryError) -> Self {
        Self::Refused(error.to_string())
    }
}

impl From<DirectoryError> for Fault {
    fn from(error: DirectoryError) -> Self {
        match &error {
            DirectoryError::Database(source) => match source.sqlite_error_code() {
                Some(rusqlite::ErrorCode::DatabaseBusy) => Self::Busy,
                Some(rusqlite::ErrorCode::DiskFull) => Self::refused("the server's disk is full"),
                _ => Self::Broken(source.to_string()),
            },
            DirectoryError::Banned(ban) => Self::Forbidden(ban.to_string()),
            DirectoryError::ForeignId(source) => Self::Broken(format!("{error}: {source}")),
            DirectoryError::UserExists(_)
            | DirectoryError::UsernameTaken(_)
            | DirectoryError::GroupExists(_)
            | DirectoryError::GroupName
            | DirectoryError::NoSuchUser(_)
            | DirectoryError::NoSuchName(_)
            | DirectoryError::NoSuchGroup(_)
            | DirectoryError::GroupNotOpen
            | DirectoryError::Denied(_)
            | DirectoryError::OwnFriend
            | DirectoryError::FriendAlready(_)
            | DirectoryError::TooMany { .. } => Self::Refused(error.to_string()),
        }
    }
}

impl From<PoolError> for Fault {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Busy | PoolError::Stopped => Self::Busy,
            PoolError::Failed => Self::Broken(error.to_string()),
        }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            Refusal::UserId(_) => Self::Refused(text),
            Refusal::LogIn | Refusal::AnotherUser | Refusal::ForeignPage => Self::Unauthorised(text),
            Refusal::Account(error) => error.into(),
        }
    }
}

impl From<TooManyCalls> for Fault {
    fn from(TooManyCalls(wait): TooManyCalls) -> Self {
        Self::TooManyCalls(wait)
    }
}

impl From<BodyError> for Fault {
    fn from(error: BodyError) -> Self {
        Self::Refused(error.to_string())
    }
}

impl From<AccountError> for Fault {
    fn from(error: AccountError) -> Self {
        let text = error.to_string();
        match error {
            // Who logs in looks at the code alone, as with a wrong password.
            AccountError::Banned(_) => Self::Refused(text),
            AccountError::Directory(error) => error.into(),
            AccountError::Pool(error) => error.into(),
            AccountError::Hash(text) => Self::Broken(text),
            AccountError::TooManyTries(wait) => Self::TooManyTries(wait, text),
            AccountError::Missing { .. }
            | AccountError::TooLong { .. }
            | AccountError::ShortPassword { .. }
            | AccountError::ControlCharacter { .. }
            | AccountError::Invisible { .. }
            | AccountError::Reserved
            | AccountError::WrongLogin
            | AccountError::WrongPassword => Self::Refused(text),
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let retry = |wait: u64| HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from(wait))]);
        let (status, headers, text) = match self {
            // The front-end looks at the code alone.
            Self::Refused(text) => (StatusCode::OK, HeaderMap::new(), text),
            Self::TooManyTries(wait, text) => (StatusCode::OK, retry(seconds(wait)), text),
            Self::Unauthorised(text) => (StatusCode::UNAUTHORIZED, HeaderMap::new(), text),
            Self::TooManyCalls(wait) => {
                let text = format!("too many calls; the next one may come in {} s", seconds(wait));
                (StatusCode::TOO_MANY_REQUESTS, retry(seconds(wait)), text)
            }
            Self::Forbidden(text) => (StatusCode::FORBIDDEN, HeaderMap::new(), text),
            Self::Busy => {
                let text = "the server has too much to do; try again in a second";
                (StatusCode::SERVICE_UNAVAILABLE, retry(1), text.to_owned())
            }
            Self::NoFile => (StatusCode::NOT_FOUND, HeaderMap::new(), "there is no such file".to_owned()),
            Self::Broken(reason) => {
                tracing::error!(reason, "a call could not be answered");
                let text = "the server could not do this; its log says why";
                (StatusCode::OK, HeaderMap::new(), text.to_owned())
            }
        };
        (status, headers, Json(json!({ "code": -1, "msg": text, "data": null }))).into_response()
    }
}

/// Lets pages of every origin ask and read the answers, but never with the sessions that a browser keeps for this
/// server: there is no `Access-Control-Allow-Credentials`.
pub(super) async fn cors(request: Request, next: Next) -> Response {
    let mut response = if request.method() == Method::OPTIONS {
        let headers = [
            (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PUT, OPTIONS"),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, "*, Authorization"),
            (header::ACCESS_CONTROL_MAX_AGE, "3600"),
        ];
        (StatusCode::OK, headers).into_response()
    } else {
        next.run(request).await
    };
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_iso_8601() {
        assert_eq!(iso_8601(1_795_740_000_123), "2026-11-27T00:40:00.123Z");
        assert_eq!(iso_8601(i64::MAX), "");
    }
}
