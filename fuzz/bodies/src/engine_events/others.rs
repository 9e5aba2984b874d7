//! What stores and other engines say that lie, or are of another mind.

use arbitrary::{Result, Unstructured};
use switchboard_engine::{
    Answer, Denial, DirectoryChange, DirectoryChangeKind, FileKind, GroupChange, Head, Marks, MessageId,
    Messages, Note, Place, Received, Recipient, Record, Role, StoredMarks, StoredMessage, Subject,
    UserProfile,
};
use switchboard_proto::{Message as _, v1};

use super::clients::{classic, content, conversation, epoch, group, marks, seq, text, topic, user};
use super::config::one_of;

/// An answer of any kind, to whatever request.
pub(super) fn answer(u: &mut Unstructured<'_>) -> Result<Answer> {
    Ok(match u.int_in_range(0..=14)? {
        0 => Answer::UserLoaded(UserProfile {
            avatar: "a.png".into(),
            groups: some(u, group)?,
            revision: u.int_in_range(0..=5)?,
        }),
        1 => Answer::MessageStored(place(u)?),
        2 => Answer::StoredEarlier(place(u)?),
        3 => {
            let kind = [FileKind::Other, FileKind::Image, FileKind::Audio, FileKind::Video];
            Answer::FileStored { name: text(u)?.into(), kind: one_of(u, &kind)? }
        }
        4 => Answer::HeadsLoaded { heads: some(u, head)?, next: next(u)? },
        5 => Answer::MessagesLoaded(Messages {
            epoch: u.int_in_range(0..=2)?,
            head_seq: seq(u)?,
            first_seq: seq(u)?,
            messages: some(u, stored)?,
            group_name: text(u)?.into(),
        }),
        6 => {
            let marks = Marks { delivered: seq(u)?, read: seq(u)? };
            Answer::MarksStored(StoredMarks { marks, has_moved: u.arbitrary()? })
        }
        7 => Answer::Seen { at_ms: u.arbitrary()? },
        8 => Answer::ReceivedStored,
        9 => Answer::UnreceivedLoaded { unreceived: some(u, unreceived)?, next: next(u)? },
        10 => Answer::Denied(denial(u)?),
        11 => Answer::Refused,
        12 => Answer::Full,
        _ => Answer::Failed,
    })
}

fn some<'a, T>(
    u: &mut Unstructured<'a>,
    mut one: impl FnMut(&mut Unstructured<'a>) -> Result<T>,
) -> Result<Vec<T>> {
    let count = u.int_in_range(0..=3)?;
    (0..count).map(|_| one(u)).collect()
}

fn next(u: &mut Unstructured<'_>) -> Result<Option<u64>> {
    Ok(if u.ratio(1_u8, 4)? { Some(u.arbitrary()?) } else { None })
}

fn place(u: &mut Unstructured<'_>) -> Result<Place> {
    Ok(Place { epoch: u.int_in_range(0..=2)?, seq: seq(u)?, stored_at_ms: u.arbitrary()? })
}

fn recipient(u: &mut Unstructured<'_>) -> Result<Recipient> {
    Ok(if u.arbitrary()? { Recipient::User(user(u)?) } else { Recipient::Group(group(u)?) })
}

fn head(u: &mut Unstructured<'_>) -> Result<Head> {
    Ok(Head {
        conversation: recipient(u)?,
        epoch: u.int_in_range(0..=2)?,
        seq: seq(u)?,
        first_seq: seq(u)?,
        own: Marks { delivered: seq(u)?, read: seq(u)? },
        peer: Marks { delivered: seq(u)?, read: seq(u)? },
    })
}

fn unreceived(u: &mut Unstructured<'_>) -> Result<(Head, Received)> {
    let head = head(u)?;
    let received = Received {
        user: user(u)?,
        conversation: if u.ratio(7_u8, 8)? { head.conversation.clone() } else { recipient(u)? },
        epoch: head.epoch,
        seq: seq(u)?,
        beyond: some(u, seq)?,
    };
    Ok((head, received))
}

fn stored(u: &mut Unstructured<'_>) -> Result<StoredMessage> {
    Ok(StoredMessage {
        seq: seq(u)?,
        id: MessageId([u.int_in_range(0..=9)?; 16]),
        sender: user(u)?,
        sender_name: "name".into(),
        avatar: "a.png".into(),
        content_type: u.int_in_range(0..=24)?,
        content: text(u)?.into(),
        url: "".into(),
        stored_at_ms: u.arbitrary()?,
        subject: subject(u)?,
        changed_seq: seq(u)?,
        is_recalled: u.arbitrary()?,
    })
}

fn subject(u: &mut Unstructured<'_>) -> Result<Subject> {
    Ok(match u.int_in_range(0..=5)? {
        0 => Subject::Edit { target_seq: seq(u)? },
        1 => Subject::Recall { target_seq: seq(u)? },
        2 => Subject::Change(Box::new(match u.int_in_range(0..=3)? {
            0 => GroupChange::Join,
            1 => GroupChange::Kick(user(u)?),
            2 => GroupChange::SetRole(user(u)?, Role::Owner),
            _ => GroupChange::Rename(text(u)?.into()),
        })),
        _ => Subject::Message,
    })
}

fn denial(u: &mut Unstructured<'_>) -> Result<Denial> {
    Ok(match u.int_in_range(0..=6)? {
        0 => Denial::Muted { until_ms: u.arbitrary()? },
        1 => Denial::NeedsRole(one_of(u, &[Role::Member, Role::Admin, Role::Owner])?),
        2 => Denial::FilesFull { limit_bytes: u.arbitrary()? },
        3 => Denial::EditOfOther,
        4 => Denial::NoMessage,
        5 => Denial::NoFile,
        _ => Denial::LastOwner,
    })
}

/// A change of the directory that follows nothing.
pub(super) fn directory_change(u: &mut Unstructured<'_>) -> Result<DirectoryChange> {
    let kind = match u.int_in_range(0..=2)? {
        0 => DirectoryChangeKind::Joined(group(u)?),
        1 => DirectoryChangeKind::Left(group(u)?),
        _ => DirectoryChangeKind::Avatar("b.png".into()),
    };
    Ok(DirectoryChange { revision: u.int_in_range(0..=20)?, user: user(u)?, kind })
}

/// A record that no engine has published.
pub(super) fn record(u: &mut Unstructured<'_>) -> Result<Record> {
    let stored = if u.arbitrary()? { Some((MessageId([u.arbitrary()?; 16]), place(u)?)) } else { None };
    let message =
        if u.ratio(1_u8, 8)? { u.arbitrary::<[u8; 4]>()?.to_vec() } else { classic(u)?.encode_to_vec() };
    Ok(Record { topic: topic(u)?, stored, message: message.into() })
}

/// A note that no engine has told.
pub(super) fn note(u: &mut Unstructured<'_>) -> Result<Note> {
    use v1::note::Body;
    let (topic, from) = (topic(u)?, user(u)?.as_str().to_owned());
    let conversation = conversation(u)?;
    let epoch = epoch(u, conversation.as_ref(), &from)?;
    let body = match u.int_in_range(0..=6)? {
        0 => Body::Entry(v1::NotedEntry {
            conversation,
            epoch,
            seq: seq(u)?,
            message_id: vec![u.int_in_range(0..=9)?; 16].into(),
            from,
            content: Some(content(u)?),
            stored_at_ms: u.arbitrary()?,
        }),
        1 => Body::Marks(v1::NotedMarks { conversation, epoch, user: from, marks: marks(u)? }),
        2 => Body::Typing(v1::NotedTyping { conversation, typing: u.arbitrary()?, user: from }),
        3 => Body::Presence(v1::NotedPresence {
            user: from,
            question: u.arbitrary()?,
            online: u.arbitrary()?,
            last_seen_ms: u.arbitrary()?,
        }),
        4 => Body::Place(v1::NotedPlace { conversation, epoch, seq: seq(u)?, from }),
        5 => {
            let number: u8 = u.int_in_range(0..=6)?;
            let call = v1::Call {
                call_id: vec![number; 16].into(),
                user: user(u)?.as_str().to_owned(),
                kind: u.int_in_range(0..=6)?,
                video: u.arbitrary()?,
                payload: vec![number].into(),
                end: u.int_in_range(0..=9)?,
                outgoing: u.arbitrary()?,
            };
            let taken_by = if u.arbitrary()? { vec![1; 16] } else { Vec::new() };
            let call = if u.ratio(7_u8, 8)? { Some(call) } else { None };
            Body::Call(v1::NotedCall { from, call, taken_by: taken_by.into(), alive: u.arbitrary()? })
        }
        _ => return Ok(Note { topic, note: u.arbitrary::<[u8; 4]>()?.to_vec().into() }),
    };
    Ok(Note { topic, note: v1::Note { body: Some(body) }.encode_to_vec().into() })
}
