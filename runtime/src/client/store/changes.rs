//! What entries make of messages and groups.

use switchboard_engine::{LogMessage, Subject};

/// Place of the message that an entry is about; none if it is a message itself, or is about the group.
pub(super) const fn target(entry: &LogMessage) -> Option<u64> {
    match entry.content.subject {
        Subject::Edit { target_seq } | Subject::Recall { target_seq } => Some(target_seq),
        Subject::Message | Subject::Change(_) => None,
    }
}

/// Whether a message waits to be read by this user, who has read up to this place.
pub(super) fn is_unread(message: &LogMessage, read: u64) -> bool {
    message.seq > read && !message.own && !message.is_recalled && message.content.subject == Subject::Message
}

/// What an entry of a conversation, an edit or a recall, makes of a message of the same conversation; none if it
/// is not about this message, or the message has this change already. For applications with a [`Store`](super::Store)
/// of their own: the server has checked that the change may be made.
#[must_use]
pub fn changed_by(message: &LogMessage, entry: &LogMessage) -> Option<LogMessage> {
    if target(entry) != Some(message.seq) || message.changed_seq >= entry.seq {
        return None;
    }
    let mut changed = LogMessage { changed_seq: entry.seq, ..message.clone() };
    match entry.content.subject {
        Subject::Edit { .. } => changed.content.text.clone_from(&entry.content.text),
        Subject::Recall { .. } => {
            (changed.content.text, changed.content.file) = Default::default();
            changed.is_recalled = true;
        }
        Subject::Message | Subject::Change(_) => return None,
    }
    Some(changed)
}
