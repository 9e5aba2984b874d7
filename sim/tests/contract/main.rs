//! The contracts of store and bus, each written once and held to by the simulator's models and by what the
//! runtime ships: a rule that one of them does not keep, the other one must not keep either.

// Tests fail by panicking, helpers of tests too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod amend;
mod bench;
mod bus;
mod groups;
mod marks;
mod random;
mod reads;
mod received;
mod seen;
mod sides;
mod store;

use switchboard_engine::{
    DirectoryChange, DirectoryChangeKind, FileSource, FileUpload, GroupChange, GroupId, MessageId,
    NewMessage, Recipient, Request, Subject, UserId,
};

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

fn group(id: &str) -> GroupId {
    GroupId::new(id).unwrap()
}

fn to_user(id: &str) -> Recipient {
    Recipient::User(user(id))
}

fn to_group(id: &str) -> Recipient {
    Recipient::Group(group(id))
}

fn message_id(number: u8) -> MessageId {
    MessageId([number; 16])
}

fn message(sender: &str, id: u8, recipient: Recipient, content: &str) -> Request {
    Request::StoreMessage(Box::new(NewMessage {
        sender: user(sender),
        id: message_id(id),
        recipient,
        content_type: 1,
        content: content.into(),
        sender_name: format!("the {sender}").into(),
        url: "".into(),
        file_suffix: "".into(),
        subject: Subject::Message,
    }))
}

/// A change of a group.
fn change_of(sender: &str, id: u8, to: &str, change: GroupChange) -> Request {
    Request::StoreMessage(Box::new(NewMessage {
        sender: user(sender),
        id: message_id(id),
        recipient: to_group(to),
        content_type: 23,
        content: "".into(),
        sender_name: "".into(),
        url: "".into(),
        file_suffix: "".into(),
        subject: Subject::Change(Box::new(change)),
    }))
}

fn file(source: FileSource, suffix: &str) -> Request {
    Request::StoreFile(FileUpload { owner: user("alice"), suffix: suffix.into(), source })
}

fn load(id: &str) -> Request {
    Request::LoadUser(user(id))
}

fn change(revision: u64, who: &str, kind: DirectoryChangeKind) -> DirectoryChange {
    DirectoryChange { revision, user: user(who), kind }
}
