//! A stored message on its way to those who are entitled to it, in the form that each understands. A form is
//! made when somebody needs it, once, however many receive it.

use alloc::{borrow::ToOwned as _, boxed::Box, string::String};
use serde::{Deserialize, Serialize};

use bytes::Bytes;
use switchboard_proto::{
    Message as _,
    classic::Message,
    v1::{Content, NotedEntry},
};

use super::{
    classic,
    session::{self, direct::Said},
};
use crate::{
    digest::Digest,
    entry,
    id::{MessageId, UserId},
    probe::{Canary, Probe},
    storage::{Place, Recipient, Subject},
};

/// A message's contents, in the form in which they came.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Form {
    /// From a classic client, here or at another engine.
    Classic {
        /// What classic recipients receive.
        frame: Bytes,
        /// What other engines receive, if there are any to tell.
        record: Option<Bytes>,
    },
    /// From a session here: a message, of which nothing but this belongs to its kind.
    Session {
        /// The content type.
        kind: u32,
        /// The text.
        text: Box<str>,
        /// Name of the stored file.
        file: Box<str>,
        /// The sender's picture at that time, as the directory had it.
        avatar: Box<str>,
    },
    /// From a session, here or at another engine: what has no classic form.
    Entry {
        /// The text of an edit.
        text: Box<str>,
        /// What it is, and not a message.
        subject: Subject,
    },
}

impl Form {
    pub(super) fn fold(&self, digest: &mut Digest<'_>) {
        match self {
            Self::Classic { frame, record } => {
                digest.word(0);
                digest.bytes(frame);
                digest.flag(record.is_some());
                digest.bytes(record.as_deref().unwrap_or_default());
            }
            Self::Session { kind, text, file, avatar } => {
                digest.word(1);
                digest.word((*kind).into());
                digest.text(text);
                digest.text(file);
                digest.text(avatar);
            }
            Self::Entry { text, subject } => {
                digest.word(2);
                digest.text(text);
                subject.fold(digest);
            }
        }
    }
}

/// A message that has its place in the log.
#[derive(Debug)]
pub(super) struct Letter<'a> {
    pub(super) sender: &'a UserId,
    pub(super) recipient: &'a Recipient,
    pub(super) id: MessageId,
    pub(super) place: Place,
    pub(super) form: &'a Form,
}

impl Letter<'_> {
    /// Whether the form for classic recipients is there already.
    pub(super) const fn is_classic(&self) -> bool {
        matches!(self.form, Form::Classic { .. })
    }

    /// Whether it is something that classic recipients are sent nothing of.
    pub(super) const fn is_for_sessions(&self) -> bool {
        matches!(self.form, Form::Entry { .. })
    }

    /// Whom it concerns beside those whom its conversation concerns: who is a member of its group now, or not any
    /// more.
    pub(super) fn concerns(&self) -> Option<&UserId> {
        match self.form {
            Form::Entry { subject: Subject::Change(change), .. } => change.concerns(self.sender),
            Form::Entry {
                subject: Subject::Message | Subject::Edit { .. } | Subject::Recall { .. }, ..
            }
            | Form::Classic { .. }
            | Form::Session { .. } => None,
        }
    }

    /// What classic recipients receive.
    pub(super) fn classic(&self, probe: &impl Probe) -> Bytes {
        match (self.form, self.recipient) {
            (Form::Classic { frame, .. }, _) => frame.clone(),
            (Form::Session { avatar, .. }, Recipient::User(_)) => {
                classic::encode(&self.words(self.content(), avatar))
            }
            (Form::Session { avatar, .. }, Recipient::Group(_)) => {
                classic::group_form(self.words(self.content(), avatar), probe)
            }
            // Of these there is no classic form: what a bug makes of them.
            (Form::Entry { .. }, _) => classic::encode(&self.words(self.content(), "")),
        }
    }

    /// What other engines receive, as a record.
    pub(super) fn record(&self) -> Option<Bytes> {
        match self.form {
            Form::Classic { record, .. } => record.clone(),
            Form::Session { avatar, .. } => Some(classic::encode(&self.words(self.content(), avatar))),
            Form::Entry { .. } => None,
        }
    }

    /// What other engines receive of what has no classic form, as a note.
    pub(super) fn note(&self) -> NotedEntry {
        session::frames::noted_entry(self.recipient, self.place, self.id, self.sender, self.content())
    }

    /// What the sessions of those receive to whom the conversation is this one.
    pub(super) fn delivery(&self, conversation: &Recipient, probe: &impl Probe) -> Bytes {
        let mut place = self.place;
        if probe.canary(Canary::DeliverySeqOffByOne) {
            place.seq += 1;
        }
        if probe.canary(Canary::EpochNotTold) {
            place.epoch = 0;
        }
        match self.form {
            Form::Session { kind, text, file, .. } => {
                let said = Said { kind: *kind, text, file };
                session::direct::delivery(conversation, place, self.id, self.sender, said)
            }
            Form::Classic { .. } | Form::Entry { .. } => {
                session::frames::delivery(conversation, place, self.id, self.sender, self.content())
            }
        }
    }

    fn content(&self) -> Content {
        match self.form {
            Form::Classic { frame, .. } => {
                // It was decoded when it came, or was made here.
                let message = Message::decode(frame.clone()).unwrap_or_default();
                let kind = u32::try_from(message.content_type).unwrap_or_default();
                Content { kind, text: message.content, file: message.url, ..Content::default() }
            }
            Form::Session { kind, text, file, .. } => Content {
                kind: *kind,
                text: String::from(&**text),
                file: String::from(&**file),
                ..Content::default()
            },
            Form::Entry { text, subject } => {
                entry::content(entry::kind(subject), String::from(&**text), String::new(), subject)
            }
        }
    }

    /// What a session says as a classic client would have sent it.
    fn words(&self, content: Content, avatar: &str) -> Message {
        let (to, is_group) = match self.recipient {
            Recipient::User(user) => (user.as_str(), false),
            Recipient::Group(group) => (group.as_str(), true),
        };
        classic::message_of(self.sender, to, is_group, avatar.to_owned(), content)
    }
}
