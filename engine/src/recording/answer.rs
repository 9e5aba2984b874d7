//! Answers of stores in recordings.

use alloc::{boxed::Box, string::String};

use bytes::Bytes;
use switchboard_proto::recording as wire;

use super::{
    StepError,
    event::{group, message_id, user},
};
use crate::{
    denial::Denial,
    id::GroupId,
    storage::{
        Answer, FileKind, Head, Marks, Messages, Place, Received, Recipient, Role, StoredMarks,
        StoredMessage, Subject, UserProfile,
    },
};

pub(super) fn wired(answer: &Answer) -> wire::answered::Answer {
    use wire::answered::Answer as Wired;
    match answer {
        Answer::UserLoaded(UserProfile { avatar, groups, revision }) => {
            Wired::UserLoaded(wire::UserProfile {
                avatar: text(avatar),
                groups: groups.iter().map(GroupId::as_str).map(String::from).collect(),
                revision: *revision,
            })
        }
        Answer::MessageStored(place) => Wired::MessageStored(wired_place(*place)),
        Answer::StoredEarlier(place) => Wired::StoredEarlier(wired_place(*place)),
        Answer::FileStored { name, kind } => Wired::FileStored(wire::File {
            name: text(name),
            content_type: match kind {
                FileKind::Other => 2,
                FileKind::Image => 3,
                FileKind::Audio => 4,
                FileKind::Video => 5,
            },
        }),
        Answer::HeadsLoaded { heads, next } => {
            Wired::HeadsLoaded(wire::Heads { heads: heads.iter().map(wired_head).collect(), next: *next })
        }
        Answer::MessagesLoaded(messages) => Wired::MessagesLoaded(wire::Messages {
            epoch: messages.epoch,
            head_seq: messages.head_seq,
            first_seq: messages.first_seq,
            messages: messages.messages.iter().map(wired_message).collect(),
            group_name: text(&messages.group_name),
        }),
        Answer::MarksStored(StoredMarks { marks, has_moved }) => {
            Wired::MarksStored(wire::StoredMarks { marks: Some(wired_marks(*marks)), has_moved: *has_moved })
        }
        Answer::Seen { at_ms } => Wired::Seen(wire::Seen { at_ms: *at_ms }),
        Answer::ReceivedStored => Wired::ReceivedStored(wire::Empty {}),
        Answer::UnreceivedLoaded { unreceived, next } => Wired::UnreceivedLoaded(wire::Unreceived {
            unreceived: unreceived.iter().map(wired_arrived).collect(),
            next: *next,
        }),
        Answer::Denied(denial) => Wired::Denied(wire::Denial { why: Some(wired_denial(*denial)) }),
        Answer::Refused => Wired::Refused(wire::Empty {}),
        Answer::Failed => Wired::Failed(wire::Empty {}),
        Answer::Full => Wired::Full(wire::Empty {}),
    }
}

pub(super) const fn wired_place(place: Place) -> wire::Place {
    wire::Place { epoch: place.epoch, seq: place.seq, stored_at_ms: place.stored_at_ms }
}

const fn wired_marks(marks: Marks) -> wire::Marks {
    wire::Marks { delivered: marks.delivered, read: marks.read }
}

fn wired_conversation(conversation: &Recipient) -> wire::Conversation {
    use wire::conversation::Peer;
    wire::Conversation {
        peer: Some(match conversation {
            Recipient::User(user) => Peer::User(user.as_str().into()),
            Recipient::Group(group) => Peer::Group(group.as_str().into()),
        }),
    }
}

fn wired_head(head: &Head) -> wire::Head {
    wire::Head {
        conversation: Some(wired_conversation(&head.conversation)),
        epoch: head.epoch,
        seq: head.seq,
        first_seq: head.first_seq,
        own: Some(wired_marks(head.own)),
        peer: Some(wired_marks(head.peer)),
    }
}

/// The conversation of both is the same.
fn wired_arrived((head, received): &(Head, Received)) -> wire::Arrived {
    wire::Arrived {
        head: Some(wired_head(head)),
        user: received.user.as_str().into(),
        epoch: received.epoch,
        seq: received.seq,
        beyond: received.beyond.clone(),
    }
}

fn wired_message(message: &StoredMessage) -> wire::StoredMessage {
    wire::StoredMessage {
        seq: message.seq,
        id: Bytes::copy_from_slice(&message.id.0),
        sender: message.sender.as_str().into(),
        sender_name: text(&message.sender_name),
        avatar: text(&message.avatar),
        content_type: message.content_type.into(),
        content: text(&message.content),
        url: text(&message.url),
        stored_at_ms: message.stored_at_ms,
        subject: wired_subject(&message.subject),
        changed_seq: message.changed_seq,
        is_recalled: message.is_recalled,
    }
}

fn wired_subject(subject: &Subject) -> Option<wire::stored_message::Subject> {
    use wire::stored_message::Subject as Wired;
    match subject {
        Subject::Message => None,
        Subject::Edit { target_seq } => Some(Wired::EditOf(*target_seq)),
        Subject::Recall { target_seq } => Some(Wired::RecallOf(*target_seq)),
        Subject::Change(change) => Some(Wired::Change(change.encode().into())),
    }
}

const fn wired_role(role: Role) -> u32 {
    match role {
        Role::Member => 1,
        Role::Admin => 2,
        Role::Owner => 3,
    }
}

fn wired_denial(denial: Denial) -> wire::denial::Why {
    use wire::denial::{Reason, Why};
    let reason = match denial {
        Denial::Muted { until_ms } => return Why::MutedUntilMs(until_ms),
        Denial::NeedsRole(role) => return Why::NeedsRole(wired_role(role)),
        Denial::FilesFull { limit_bytes } => return Why::FilesFullBytes(limit_bytes),
        Denial::NotBelow => Reason::NotBelow,
        Denial::OtherOwner => Reason::OtherOwner,
        Denial::EditOfOther => Reason::EditOfOther,
        Denial::RecallOfOther => Reason::RecallOfOther,
        Denial::NoMessage => Reason::NoMessage,
        Denial::Recalled => Reason::Recalled,
        Denial::Joined => Reason::Joined,
        Denial::AlreadyMember => Reason::AlreadyMember,
        Denial::NoMember => Reason::NoMember,
        Denial::NoUser => Reason::NoUser,
        Denial::SameRole => Reason::SameRole,
        Denial::LastOwner => Reason::LastOwner,
        Denial::Oneself => Reason::Oneself,
        Denial::OtherConversation => Reason::OtherConversation,
        Denial::NoFile => Reason::NoFile,
    };
    Why::Reason(reason.into())
}

fn text(text: &str) -> String {
    String::from(text)
}

pub(super) fn read(answer: wire::answered::Answer) -> Result<Answer, StepError> {
    use wire::answered::Answer as Wired;
    Ok(match answer {
        Wired::UserLoaded(profile) => Answer::UserLoaded(UserProfile {
            avatar: profile.avatar.into(),
            groups: profile.groups.iter().map(|id| group(id)).collect::<Result<_, _>>()?,
            revision: profile.revision,
        }),
        Wired::MessageStored(of) => Answer::MessageStored(place(of)),
        Wired::StoredEarlier(of) => Answer::StoredEarlier(place(of)),
        Wired::FileStored(file) => Answer::FileStored {
            name: file.name.into(),
            kind: match file.content_type {
                2 => FileKind::Other,
                3 => FileKind::Image,
                4 => FileKind::Audio,
                5 => FileKind::Video,
                _ => return Err(StepError::Unknown),
            },
        },
        Wired::HeadsLoaded(loaded) => Answer::HeadsLoaded {
            heads: loaded.heads.into_iter().map(head).collect::<Result<_, _>>()?,
            next: loaded.next,
        },
        Wired::MessagesLoaded(loaded) => Answer::MessagesLoaded(Messages {
            epoch: loaded.epoch,
            head_seq: loaded.head_seq,
            first_seq: loaded.first_seq,
            messages: loaded.messages.into_iter().map(message).collect::<Result<_, _>>()?,
            group_name: loaded.group_name.into(),
        }),
        Wired::MarksStored(stored) => {
            Answer::MarksStored(StoredMarks { marks: marks(stored.marks), has_moved: stored.has_moved })
        }
        Wired::Seen(seen) => Answer::Seen { at_ms: seen.at_ms },
        Wired::ReceivedStored(wire::Empty {}) => Answer::ReceivedStored,
        Wired::UnreceivedLoaded(loaded) => Answer::UnreceivedLoaded {
            unreceived: loaded.unreceived.into_iter().map(arrived).collect::<Result<_, _>>()?,
            next: loaded.next,
        },
        Wired::Denied(denied) => Answer::Denied(denial(denied.why.ok_or(StepError::Unknown)?)?),
        Wired::Refused(wire::Empty {}) => Answer::Refused,
        Wired::Failed(wire::Empty {}) => Answer::Failed,
        Wired::Full(wire::Empty {}) => Answer::Full,
    })
}

pub(super) const fn place(place: wire::Place) -> Place {
    Place { epoch: place.epoch, seq: place.seq, stored_at_ms: place.stored_at_ms }
}

fn marks(marks: Option<wire::Marks>) -> Marks {
    marks.map_or_else(Marks::default, |marks| Marks { delivered: marks.delivered, read: marks.read })
}

fn conversation(conversation: Option<wire::Conversation>) -> Result<Recipient, StepError> {
    use wire::conversation::Peer;
    match conversation.and_then(|conversation| conversation.peer) {
        Some(Peer::User(id)) => user(&id).map(Recipient::User),
        Some(Peer::Group(id)) => group(&id).map(Recipient::Group),
        None => Err(StepError::Missing("which conversation")),
    }
}

fn head(head: wire::Head) -> Result<Head, StepError> {
    Ok(Head {
        conversation: conversation(head.conversation)?,
        epoch: head.epoch,
        seq: head.seq,
        first_seq: head.first_seq,
        own: marks(head.own),
        peer: marks(head.peer),
    })
}

fn arrived(arrived: wire::Arrived) -> Result<(Head, Received), StepError> {
    let head = head(arrived.head.ok_or(StepError::Missing("which conversation"))?)?;
    let received = Received {
        user: user(&arrived.user)?,
        conversation: head.conversation.clone(),
        epoch: arrived.epoch,
        seq: arrived.seq,
        beyond: arrived.beyond,
    };
    Ok((head, received))
}

fn message(message: wire::StoredMessage) -> Result<StoredMessage, StepError> {
    Ok(StoredMessage {
        seq: message.seq,
        id: message_id(&message.id)?,
        sender: user(&message.sender)?,
        sender_name: message.sender_name.into(),
        avatar: message.avatar.into(),
        content_type: u8::try_from(message.content_type).map_err(|_| StepError::Wrong("a content type"))?,
        content: message.content.into(),
        url: message.url.into(),
        stored_at_ms: message.stored_at_ms,
        subject: subject(message.subject)?,
        changed_seq: message.changed_seq,
        is_recalled: message.is_recalled,
    })
}

fn subject(subject: Option<wire::stored_message::Subject>) -> Result<Subject, StepError> {
    use wire::stored_message::Subject as Wired;
    Ok(match subject {
        None => Subject::Message,
        Some(Wired::EditOf(target_seq)) => Subject::Edit { target_seq },
        Some(Wired::RecallOf(target_seq)) => Subject::Recall { target_seq },
        Some(Wired::Change(bytes)) => {
            let change = crate::GroupChange::decode(&bytes).ok_or(StepError::Wrong("a change of a group"))?;
            Subject::Change(Box::new(change))
        }
    })
}

fn denial(why: wire::denial::Why) -> Result<Denial, StepError> {
    use wire::denial::{Reason, Why};
    let reason = match why {
        Why::MutedUntilMs(until_ms) => return Ok(Denial::Muted { until_ms }),
        Why::FilesFullBytes(limit_bytes) => return Ok(Denial::FilesFull { limit_bytes }),
        Why::NeedsRole(1) => return Ok(Denial::NeedsRole(Role::Member)),
        Why::NeedsRole(2) => return Ok(Denial::NeedsRole(Role::Admin)),
        Why::NeedsRole(3) => return Ok(Denial::NeedsRole(Role::Owner)),
        Why::NeedsRole(_) => return Err(StepError::Unknown),
        Why::Reason(reason) => Reason::try_from(reason).map_err(|_| StepError::Unknown)?,
    };
    Ok(match reason {
        Reason::Unspecified => return Err(StepError::Unknown),
        Reason::NotBelow => Denial::NotBelow,
        Reason::OtherOwner => Denial::OtherOwner,
        Reason::EditOfOther => Denial::EditOfOther,
        Reason::RecallOfOther => Denial::RecallOfOther,
        Reason::NoMessage => Denial::NoMessage,
        Reason::Recalled => Denial::Recalled,
        Reason::Joined => Denial::Joined,
        Reason::AlreadyMember => Denial::AlreadyMember,
        Reason::NoMember => Denial::NoMember,
        Reason::NoUser => Denial::NoUser,
        Reason::SameRole => Denial::SameRole,
        Reason::LastOwner => Denial::LastOwner,
        Reason::Oneself => Denial::Oneself,
        Reason::OtherConversation => Denial::OtherConversation,
        Reason::NoFile => Denial::NoFile,
    })
}
