//! Why a participant may not do something, in words for whoever wanted to do it.

use alloc::string::ToString as _;
use core::fmt;
use serde::{Deserialize, Serialize};

use jiff::{Timestamp, tz::Offset};

use crate::{digest::Digest, storage::Role};

/// Why a participant may not do something. As text, it says to the participant what is wrong and, where there is
/// something, what would be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Denial {
    /// It may not write to the group before this time, in milliseconds since 1970-01-01T00:00:00Z.
    Muted {
        /// The time.
        until_ms: i64,
    },
    /// Only members of this role and above may.
    NeedsRole(Role),
    /// Whom it is about has the same role or a higher one.
    NotBelow,
    /// It would take the role of another owner.
    OtherOwner,
    /// The message to edit is somebody else's.
    EditOfOther,
    /// The message to recall is somebody else's.
    RecallOfOther,
    /// There is no message at that place for the participant to change.
    NoMessage,
    /// The message was recalled.
    Recalled,
    /// Who joins is a member.
    Joined,
    /// Who is invited is a member.
    AlreadyMember,
    /// Whom it is about is no member.
    NoMember,
    /// Who is invited does not exist.
    NoUser,
    /// Whom it is about has this role.
    SameRole,
    /// The group would have members and no owner.
    LastOwner,
    /// Who removes itself from a group leaves it.
    Oneself,
    /// A message of this id is in another conversation.
    OtherConversation,
    /// The file that a message names is not there: it never was, or was removed as nothing referred to it for too long.
    NoFile,
    /// The participant's files have as many bytes together as they may, or would have more with this one.
    FilesFull {
        /// How many that is.
        limit_bytes: u64,
    },
}

impl Denial {
    /// Whether the participant may not do this, whatever is in the log; else it does not fit what is there.
    #[must_use]
    pub const fn is_forbidden(self) -> bool {
        match self {
            Self::Muted { .. }
            | Self::NeedsRole(_)
            | Self::NotBelow
            | Self::OtherOwner
            | Self::EditOfOther
            | Self::RecallOfOther
            | Self::FilesFull { .. } => true,
            Self::NoMessage
            | Self::Recalled
            | Self::Joined
            | Self::AlreadyMember
            | Self::NoMember
            | Self::NoUser
            | Self::SameRole
            | Self::LastOwner
            | Self::Oneself
            | Self::OtherConversation
            | Self::NoFile => false,
        }
    }

    /// It is sent on as a code and a text, and nothing else of it is.
    pub(crate) fn fold(self, digest: &mut Digest<'_>) {
        digest.flag(self.is_forbidden());
        digest.text(&self.to_string());
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Muted { until_ms } => {
                return write!(f, "you are muted in this group until {}", Utc(*until_ms));
            }
            Self::FilesFull { limit_bytes } => {
                return write!(
                    f,
                    "your files may have {limit_bytes} bytes together, and this one does not fit: \
                     take back messages whose files are not needed any more"
                );
            }
            Self::NeedsRole(Role::Member) => "only members of the group may do this",
            Self::NeedsRole(Role::Admin) => "only admins and owners of the group may do this",
            Self::NeedsRole(Role::Owner) => "only owners of the group may do this",
            Self::NotBelow => "you may do this only to members whose role is below yours",
            Self::OtherOwner => "an owner's role is its own to give up: nobody else changes it",
            Self::EditOfOther => "only who has said a message edits it",
            Self::RecallOfOther => {
                "only who has said a message takes it back, and in a group its admins and owners"
            }
            Self::NoMessage => "there is no message at this place that you could change",
            Self::Recalled => "the message was taken back",
            Self::Joined => "you are a member already",
            Self::AlreadyMember => "this user is a member already",
            Self::NoMember => "this user is no member of the group",
            Self::NoUser => "there is no such user",
            Self::SameRole => "this user has that role already",
            Self::LastOwner => "you are the group's only owner: make another member an owner first",
            Self::Oneself => "nobody removes themselves: leave the group instead",
            Self::OtherConversation => "a message of this id is in another conversation",
            Self::NoFile => "there is no such file: upload it, and name it as that has named it",
        })
    }
}

/// A time in milliseconds since 1970-01-01T00:00:00Z, to the minute: the first whole one that is not before it.
struct Utc(i64);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = self.0.div_euclid(60_000) + i64::from(self.0.rem_euclid(60_000) > 0);
        let Ok(time) = Timestamp::from_second(minutes * 60) else {
            // Years of more than four digits.
            return f.write_str("further notice");
        };
        let time = Offset::UTC.to_datetime(time);
        let (date, hour, minute) = (time.date(), time.hour(), time.minute());
        write!(f, "{date} {hour:02}:{minute:02} UTC")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_muted_is_told_until_when() {
        let told = |until_ms| Denial::Muted { until_ms }.to_string();
        assert_eq!(told(0), "you are muted in this group until 1970-01-01 00:00 UTC");
        // What `date -u -d @SECONDS` says of them.
        for (seconds, time) in [
            (951_782_399, "2000-02-29 00:00"),
            (951_868_799, "2000-03-01 00:00"),
            (1_798_761_599, "2027-01-01 00:00"),
            (1_709_210_096, "2024-02-29 12:35"),
            (4_107_542_400, "2100-03-01 00:00"),
        ] {
            assert_eq!(told(seconds * 1000), alloc::format!("you are muted in this group until {time} UTC"));
        }
        // Never before it is over.
        assert!(told(1).ends_with("1970-01-01 00:01 UTC"));
        for never in [i64::MAX, i64::MIN, 253_402_300_800_000] {
            assert!(told(never).ends_with(" until further notice"));
        }
    }

    #[test]
    fn roles_are_named_as_they_are_given() {
        assert_eq!(
            Denial::NeedsRole(Role::Admin).to_string(),
            "only admins and owners of the group may do this"
        );
        assert_eq!(Denial::NeedsRole(Role::Owner).to_string(), "only owners of the group may do this");
    }
}
