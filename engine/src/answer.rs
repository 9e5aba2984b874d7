//! Answers by what was asked: whoever has sent a request reads its answer with the function that belongs to it.

use alloc::{boxed::Box, vec::Vec};

use crate::storage::{Answer, FileKind, Head, Messages, Place, Received, StoredMarks, UserProfile};

/// Why a request was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Undone {
    /// It can never be done as it is.
    Refused,
    /// It was not done for a reason on the store's side, or what came is the answer to another request.
    Failed,
}

macro_rules! answers {
    ($($(#[$doc:meta])* $name:ident: $pattern:pat => $found:expr, $type:ty;)+) => {
        impl Answer {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// What is said in its place.
                pub fn $name(self) -> Result<$type, Undone> {
                    if let $pattern = self { Ok($found) } else { Err(self.undone()) }
                }
            )+
        }
    };
}

answers! {
    /// To [`Request::LoadUser`](crate::Request::LoadUser): what the directory knows.
    into_user: Self::UserLoaded(profile) => profile, UserProfile;
    /// To [`Request::StoreFile`](crate::Request::StoreFile): the file's name, and what it is.
    into_file: Self::FileStored { name, kind } => (name, kind), (Box<str>, FileKind);
    /// To [`Request::LoadHeads`](crate::Request::LoadHeads): some of the heads, and where to go on.
    into_heads: Self::HeadsLoaded { heads, next } => (heads, next), (Vec<Head>, Option<u64>);
    /// To [`Request::LoadMessages`](crate::Request::LoadMessages).
    into_messages: Self::MessagesLoaded(messages) => messages, Messages;
    /// To [`Request::StoreMarks`](crate::Request::StoreMarks).
    into_marks: Self::MarksStored(marks) => marks, StoredMarks;
    /// To [`Request::StoreSeen`](crate::Request::StoreSeen) and [`Request::LoadSeen`](crate::Request::LoadSeen): when the
    /// user was last here, if that is known.
    into_seen: Self::Seen { at_ms } => at_ms, Option<i64>;
    /// To [`Request::StoreReceived`](crate::Request::StoreReceived).
    into_received: Self::ReceivedStored => (), ();
    /// To [`Request::LoadUnreceived`](crate::Request::LoadUnreceived): some of the conversations, and where to go on.
    into_unreceived: Self::UnreceivedLoaded { unreceived, next } => (unreceived, next),
        (Vec<(Head, Received)>, Option<u64>);
}

impl Answer {
    /// Where a message is, if this says that it is durable, and whether it is since an earlier request.
    #[must_use]
    pub const fn place(&self) -> Option<(Place, bool)> {
        if let Self::MessageStored(place) = self {
            Some((*place, false))
        } else if let Self::StoredEarlier(place) = self {
            Some((*place, true))
        } else {
            None
        }
    }

    const fn undone(&self) -> Undone {
        if matches!(self, Self::Refused) { Undone::Refused } else { Undone::Failed }
    }
}
