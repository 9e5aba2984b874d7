//! A digest of what an engine asks for.

use alloc::vec::Vec;

use rapidhash::v3::rapidhash_v3;

use crate::{
    action::{Action, Frame},
    bus::{Note, Record, Topic},
    close::CloseReason,
    id::ConnId,
    storage::{FileSource, Recipient, Request},
};

/// What an engine asks for, as numbers: of each step's actions in their order, and of the numbers of all steps that led to any.
///
/// In it are who is sent what, who is closed and why, what is asked of the store, and what is published. The numbers are rapidhash's (V3, the default
/// seed), which is the same everywhere and for ever, and costs a server that records little; nobody is kept from making two the same.
#[derive(Clone, Debug, Default)]
pub struct ActionDigest {
    all: u64,
    /// Of the step that is going on: everything short, and the numbers of what is long.
    step: Vec<u8>,
}

/// Beyond so many bytes, the number of a text stands for it.
const SHORT_BYTES: usize = 16;

/// What came of one step: 14 bits of a digest of its actions. That is what two bytes hold in a recording, and of 16,383 steps that
/// lead to something else one is taken for the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acted(u16);

impl Acted {
    const LIMIT: u16 = (1 << 14) - 1;

    /// Its number, 1 to 16,383.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The one with this number; none if there is no such one.
    #[must_use]
    pub const fn from_number(number: u16) -> Option<Self> {
        if 0 < number && number <= Self::LIMIT { Some(Self(number)) } else { None }
    }

    #[allow(clippy::cast_possible_truncation, reason = "what is below the limit fits")]
    const fn of(digest: u64) -> Self {
        Self(1 + (digest % Self::LIMIT as u64) as u16)
    }
}

impl ActionDigest {
    /// The step has led to all its actions. None if there was none.
    pub fn end_step(&mut self) -> Option<Acted> {
        if self.step.is_empty() {
            return None;
        }
        let digest = rapidhash_v3(&self.step);
        self.step.clear();
        let mut both = [0; 16];
        let (before, this) = both.split_at_mut(8);
        before.copy_from_slice(&self.all.to_le_bytes());
        this.copy_from_slice(&digest.to_le_bytes());
        self.all = rapidhash_v3(&both);
        Some(Acted::of(digest))
    }

    /// Adds an action.
    pub fn add(&mut self, action: &Action<'_>) {
        match action {
            Action::Send { to, frame } => {
                self.word(1);
                let (kind, payload) = match frame {
                    Frame::Message(payload) => (0, payload),
                    Frame::Ping(payload) => (1, payload),
                    Frame::Pong(payload) => (2, payload),
                };
                self.word(kind);
                self.bytes(payload);
                self.len(to.len());
                to.iter().for_each(|conn| self.conn(*conn));
            }
            Action::Close { conn, reason } => {
                self.word(2);
                self.conn(*conn);
                self.reason(*reason);
            }
            Action::Abort { conn } => {
                self.word(3);
                self.conn(*conn);
            }
            Action::Request { ticket, request } => {
                self.word(4);
                self.word(ticket.0);
                self.request(request);
            }
            Action::Publish(Record { topic, stored, message }) => {
                self.word(5);
                self.topic(topic);
                if let Some((id, place)) = stored {
                    self.bytes(&id.0);
                    self.word(place.epoch);
                    self.word(place.seq);
                    self.word(place.stored_at_ms.cast_unsigned());
                }
                self.bytes(message);
            }
            Action::Tell(Note { topic, note }) => {
                self.word(6);
                self.topic(topic);
                self.bytes(note);
            }
            Action::Subscribe(topic) => {
                self.word(7);
                self.topic(topic);
            }
            Action::Unsubscribe(topic) => {
                self.word(8);
                self.topic(topic);
            }
            Action::Stopped => self.word(9),
        }
    }

    /// The number of all steps that have ended.
    #[must_use]
    pub const fn finish(&self) -> u64 {
        self.all
    }

    fn request(&mut self, request: &Request) {
        match request {
            Request::LoadUser(user) => {
                self.word(1);
                self.text(user.as_str());
            }
            Request::StoreMessage(new) => {
                self.word(2);
                self.text(new.sender.as_str());
                self.bytes(&new.id.0);
                self.recipient(&new.recipient);
                self.word(new.content_type.into());
                for text in [&new.content, &new.sender_name, &new.url, &new.file_suffix] {
                    self.text(text);
                }
                self.subject(&new.subject);
            }
            Request::StoreFile(upload) => {
                self.word(3);
                self.text(upload.owner.as_str());
                self.text(&upload.suffix);
                match &upload.source {
                    FileSource::Bytes(bytes) => self.bytes(bytes),
                    FileSource::DataUrl(url) => self.text(url),
                }
            }
            Request::LoadHeads { user, after } => {
                self.word(4);
                self.text(user.as_str());
                self.word(*after);
            }
            Request::LoadMessages(range) => {
                self.word(5);
                self.text(range.reader.as_str());
                self.recipient(&range.conversation);
                self.word(range.from_seq);
                self.word(range.backwards.into());
                self.word(range.limit.into());
                self.word(range.limit_bytes);
            }
            Request::StoreMarks(new) => {
                self.word(6);
                self.text(new.user.as_str());
                self.recipient(&new.conversation);
                [new.epoch, new.marks.delivered, new.marks.read].into_iter().for_each(|word| self.word(word));
            }
            Request::StoreSeen(user) => {
                self.word(7);
                self.text(user.as_str());
            }
            Request::LoadSeen { watcher, user } => {
                self.word(8);
                self.text(watcher.as_str());
                self.text(user.as_str());
            }
            Request::StoreReceived(received) => {
                self.word(9);
                self.text(received.user.as_str());
                self.recipient(&received.conversation);
                [received.epoch, received.seq].into_iter().for_each(|word| self.word(word));
                received.beyond.iter().for_each(|seq| self.word(*seq));
            }
            Request::LoadUnreceived { user, after } => {
                self.word(10);
                self.text(user.as_str());
                self.word(*after);
            }
        }
    }

    fn subject(&mut self, subject: &crate::Subject) {
        match subject {
            crate::Subject::Message => self.word(0),
            crate::Subject::Edit { target_seq } => {
                self.word(1);
                self.word(*target_seq);
            }
            crate::Subject::Recall { target_seq } => {
                self.word(2);
                self.word(*target_seq);
            }
            crate::Subject::Change(change) => {
                self.word(3);
                self.bytes(&change.encode());
            }
        }
    }

    fn recipient(&mut self, recipient: &Recipient) {
        match recipient {
            Recipient::User(user) => {
                self.word(0);
                self.text(user.as_str());
            }
            Recipient::Group(group) => {
                self.word(1);
                self.text(group.as_str());
            }
        }
    }

    fn topic(&mut self, topic: &Topic) {
        let (kind, name) = match topic {
            Topic::Everyone => (0, ""),
            Topic::User(user) => (1, user.as_str()),
            Topic::Group(group) => (2, group.as_str()),
            Topic::Presence(user) => (3, user.as_str()),
        };
        self.word(kind);
        self.text(name);
    }

    fn reason(&mut self, reason: CloseReason) {
        self.word(reason.code().into());
        self.text(reason.text());
    }

    fn conn(&mut self, conn: ConnId) {
        self.word(u64::from(conn.slot()) << 32 | u64::from(conn.generation()));
    }

    fn len(&mut self, len: usize) {
        self.word(u64::try_from(len).unwrap_or(u64::MAX));
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// With their length, so that two in a row are not one.
    fn bytes(&mut self, bytes: &[u8]) {
        self.len(bytes.len());
        if bytes.len() <= SHORT_BYTES {
            self.step.extend_from_slice(bytes);
        } else {
            self.word(rapidhash_v3(bytes));
        }
    }

    fn word(&mut self, word: u64) {
        self.step.extend_from_slice(&word.to_le_bytes());
    }
}
