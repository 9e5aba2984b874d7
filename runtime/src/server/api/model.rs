//! What calls give.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    media::{is_shrunk, type_of},
    store,
};

/// The size of the smaller pictures that are named.
const THUMBNAIL_SIZE: u32 = 256;

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct File {
    /// Its name, which never changes.
    #[schema(example = "0f1e2d3c4b5a69788796a5b4c3d2e1f0.png")]
    pub(super) name: String,
    /// Where its bytes are; null of what is no file of this server.
    #[schema(example = "/api/v1/media/0f1e2d3c4b5a69788796a5b4c3d2e1f0.png")]
    pub(super) url: Option<String>,
    /// What it is; null of what is no file of this server.
    #[schema(example = "image/png")]
    content_type: Option<&'static str>,
    /// Where it is as a smaller picture, of 256 pixels at the most; null of what is never made smaller. `size` may be 128 or 512 as well.
    #[schema(example = "/api/v1/media/0f1e2d3c4b5a69788796a5b4c3d2e1f0.png?size=256")]
    thumbnail_url: Option<String>,
}

impl File {
    /// The file of this name.
    pub(super) fn named(name: String) -> Self {
        let found = type_of(&name);
        // A name of ours needs no escapes.
        let url = found.map(|_| format!("/api/v1/media/{name}"));
        let thumbnail = |url: &String| format!("{url}?size={THUMBNAIL_SIZE}");
        let thumbnail_url = url.as_ref().filter(|_| is_shrunk(&name)).map(thumbnail);
        Self { name, url, content_type: found.map(|found| found.content_type), thumbnail_url }
    }

    /// The file of this name, unless that is empty.
    pub(super) fn if_named(name: impl Into<String>) -> Option<Self> {
        Some(name.into()).filter(|name| !name.is_empty()).map(Self::named)
    }
}

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
    /// Its picture; null if it has none.
    pub(super) avatar: Option<File>,
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
        Self { id: id.as_str().to_owned(), username, nickname, avatar: File::if_named(avatar) }
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
    fn files_say_where_they_are_and_what() {
        let stem = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
        for (extension, content_type, is_shrunk) in [
            ("png", "image/png", true),
            ("jpg", "image/jpeg", true),
            ("tif", "image/tiff", false),
            ("pdf", "application/pdf", false),
        ] {
            let file = File::named(format!("{stem}.{extension}"));
            assert_eq!(file.url, Some(format!("/api/v1/media/{stem}.{extension}")));
            assert_eq!((file.content_type, file.thumbnail_url.is_some()), (Some(content_type), is_shrunk));
        }
        let foreign = File::named("https://example.org/a.png".to_owned());
        assert_eq!((foreign.url, foreign.content_type, foreign.thumbnail_url), (None, None, None));
        assert_eq!(File::if_named(""), None);
    }

    #[test]
    fn times_have_years_of_four_digits() {
        assert_eq!(time(1_795_740_000_123), "2026-11-27T00:40:00.123Z");
        assert_eq!(time(i64::MIN), "0000-01-01T00:00:00Z");
        assert_eq!(time(i64::MAX), "9999-12-30T22:00:00Z");
    }
}
