//! What calls give.

use serde::Serialize;
use utoipa::ToSchema;

use crate::store;

/// A user, as others see it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct User {
    /// Its id, which never changes.
    #[schema(example = "0f1e2d3c4b5a69788796a5b4c3d2e1f0")]
    pub(super) id: String,
    /// The name to log in with; null if it has none.
    #[schema(example = "alice")]
    pub(super) username: Option<String>,
    /// The name to show; may be empty.
    pub(super) nickname: String,
    /// The name of the picture's file, for `/api/v1/media/{name}`; may be empty.
    pub(super) avatar: String,
}

/// A user, as it sees itself.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Account {
    #[serde(flatten)]
    pub(super) user: User,
    /// An e-mail address; may be empty.
    pub(super) email: String,
    /// When it was registered.
    #[schema(format = DateTime)]
    pub(super) created_at: String,
}

impl From<store::User> for User {
    fn from(user: store::User) -> Self {
        let store::User { id, username, nickname, avatar, .. } = user;
        Self { id: id.as_str().to_owned(), username, nickname, avatar }
    }
}

impl From<store::User> for Account {
    fn from(user: store::User) -> Self {
        let (email, created_at) = (user.email.clone(), time(user.created_at_ms));
        Self { user: user.into(), email, created_at }
    }
}

/// A time as RFC 3339 has it, whose years have four digits: what is beyond is the first or the last one.
pub(super) fn time(ms: i64) -> String {
    const FIRST_MS: i64 = -62_167_219_200_000;
    const LAST_MS: i64 = 253_402_207_200_000;
    let time = jiff::Timestamp::from_millisecond(ms.clamp(FIRST_MS, LAST_MS));
    time.map(|time| time.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_years_of_four_digits() {
        assert_eq!(time(1_795_740_000_123), "2026-11-27T00:40:00.123Z");
        assert_eq!(time(i64::MIN), "0000-01-01T00:00:00Z");
        assert_eq!(time(i64::MAX), "9999-12-30T22:00:00Z");
    }
}
