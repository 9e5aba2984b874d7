//! Raw sessions: they say what their steps say, in turn or not, right or wrong, and need not read the answers.

use bytes::Bytes;
use switchboard_engine::Subject;
use switchboard_proto::v1::{self, Content, client_frame};

use super::{World, apps::content, queue::Up, speech::Speech, sut::Sut};
use crate::{
    check::{MessageKey, Payload},
    choice::keyed,
    schedule::{ClientKind, ClientNo, To},
    wire::{
        Token,
        session::{self, Peer, message_id},
    },
};

/// Kinds of invalid Submits and Fetches.
pub(crate) const INVALID_KINDS: u32 = 17;

/// Kinds of what else names what cannot be; the last ones are frames of servers.
pub(crate) const ODD_KINDS: u32 = 13;

/// A part of a log that a raw session asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking {
    pub(super) of: To,
    pub(super) from_seq: u64,
    pub(super) backwards: bool,
    pub(super) limit: u32,
}

pub(super) const fn peer(to: To) -> Option<Peer> {
    match to {
        To::User(user) => Some(Peer::User(user.0)),
        To::Group(group) => Some(Peer::Group(group.0)),
        To::Nobody => None,
    }
}

impl<T: Sut> World<'_, T> {
    fn is_raw_session(&self, client: ClientNo) -> bool {
        self.devices[client.index()].spec.kind == ClientKind::RawSession
    }

    /// A raw session sends a frame: now, or as soon as the connection that it dials is open.
    pub(super) fn send_frame(&mut self, client: ClientNo, payload: Payload, bytes: Bytes) {
        if !self.is_raw_session(client) {
            return;
        }
        let up = Up::Message { payload, bytes };
        match self.devices[client.index()].conn {
            Some(conn) => self.send_up(conn, up),
            None if self.devices[client.index()].dialling => self.devices[client.index()].waiting.push(up),
            None => {}
        }
    }

    pub(super) fn hello(&mut self, client: ClientNo, cursors: u32) {
        let device = session::device_of(&session::device_id(client.0, 0));
        self.send_frame(client, Payload::Hello { device }, session::hello(client.0, cursors));
    }

    pub(super) fn resync(&mut self, client: ClientNo, cursors: u32, count: u32) {
        for _ in 0..count {
            self.send_frame(client, Payload::Resync, session::resync(cursors));
        }
    }

    pub(super) fn fetch(&mut self, client: ClientNo, token: Token, asking: &Asking, count: u32) {
        let Asking { of, from_seq, backwards, limit } = *asking;
        let of = peer(of);
        for nth in 0..count {
            let fetch_id = u64::from(token.step) << 16 | u64::from(nth);
            let payload = match of {
                Some(of) if from_seq > 0 || backwards => Payload::Fetch { of },
                Some(_) | None => Payload::Invalid,
            };
            self.send_frame(client, payload, session::fetch(fetch_id, of, from_seq, backwards, limit));
        }
    }

    /// A raw session says something; as often as it is told to, with the same id.
    pub(super) fn submit_raw(&mut self, client: ClientNo, speech: Speech) {
        let device = &self.devices[client.index()];
        let to = peer(speech.to);
        if to.is_none() || (device.conn.is_none() && !device.dialling) {
            return;
        }
        let message = self.word(client, speech);
        let id = Bytes::copy_from_slice(&message_id(speech.token).0);
        let frame = session::submit(id, to, Some(session::wired(&content(speech))));
        self.check.said[message as usize].submit = frame.clone();
        self.send_frame(client, Payload::Said(message), frame);
    }

    /// What was submitted before is submitted again over this client's connection, if its user has said it.
    pub(super) fn again(&mut self, client: ClientNo, token: Token) {
        if let Some(key) = self.own_submit(client, token) {
            let frame = self.check.said[key as usize].submit.clone();
            self.send_frame(client, Payload::Said(key), frame);
        }
    }

    /// The same with another text. Only what the store has already: which of two that are on their way it takes is
    /// nobody's to say.
    pub(super) fn alter(&mut self, client: ClientNo, token: Token) {
        let Some(key) = self.own_submit(client, token) else { return };
        let said = &self.check.said[key as usize];
        let has_text = matches!(said.subject, Subject::Message | Subject::Edit { .. });
        if let Some(frame) = session::altered(&said.submit).filter(|_| has_text && !said.seqs.is_empty()) {
            self.send_frame(client, Payload::Said(key), frame);
        }
    }

    /// What a session of this client's user has submitted.
    fn own_submit(&self, client: ClientNo, token: Token) -> Option<MessageKey> {
        let user = self.devices[client.index()].spec.user.0;
        let own = |key: &MessageKey| {
            let said = &self.check.said[*key as usize];
            said.sender == user && !said.submit.is_empty()
        };
        self.check.message(token).filter(own)
    }

    /// Something that can be decoded and is wrong in itself.
    pub(super) fn invalid(&mut self, client: ClientNo, token: Token, kind: u32) {
        let id = Bytes::copy_from_slice(&message_id(token).0);
        let to = Some(Peer::User(0));
        let group = Some(Peer::Group(0));
        let change = |kind: v1::group_change::Kind| Content {
            kind: 23,
            change: Some(v1::GroupChange { kind: kind.into(), ..v1::GroupChange::default() }),
            ..Content::default()
        };
        let text = || Content { kind: 1, text: "nothing".to_owned(), ..Content::default() };
        let file = |name: &str| Content { kind: 2, file: name.to_owned(), ..Content::default() };
        let frame = match kind % INVALID_KINDS {
            0 => session::submit(id.slice(..15), to, Some(text())),
            1 => session::submit(Bytes::from(vec![7; 40]), to, Some(text())),
            2 => session::submit(id, None, Some(text())),
            3 => session::submit(id, to, None),
            4 => session::submit(id, to, Some(Content { text: String::new(), ..text() })),
            5 => session::submit(id, to, Some(Content { kind: 9, ..text() })),
            6 => session::submit(id, to, Some(Content { file: "f".to_owned(), ..text() })),
            7 => session::submit(id, to, Some(file("../secret"))),
            8 => session::submit(id, to, Some(file(""))),
            10 => session::submit(id, to, Some(Content { kind: 21, ..text() })),
            11 => session::submit(id, to, Some(Content { target_seq: 1, ..text() })),
            12 => session::submit(id, to, Some(Content { kind: 22, target_seq: 1, ..text() })),
            // A user has no members.
            13 => session::submit(id, to, Some(change(v1::group_change::Kind::Leave))),
            14 => session::submit(id, group, Some(change(v1::group_change::Kind::Kick))),
            15 => session::submit(id, group, Some(Content { kind: 23, ..Content::default() })),
            16 => session::submit(id, to, Some(Content { recalled: true, ..text() })),
            _ => session::fetch(keyed(u64::from(token.step), 0, 0), None, 1, false, 0),
        };
        self.send_frame(client, Payload::Invalid, frame);
    }

    /// Watches, signs of typing and marks that name what cannot be, and what only servers say.
    pub(super) fn odd(&mut self, client: ClientNo, kind: u32) {
        let nobody = || Some(v1::Conversation { peer: None });
        let system =
            || Some(v1::Conversation { peer: Some(v1::conversation::Peer::User("System".to_owned())) });
        let watch = |names: &[&str]| {
            client_frame::Body::Watch(v1::Watch {
                users: names.iter().map(|name| (*name).to_owned()).collect(),
            })
        };
        let typing = |of| {
            client_frame::Body::Typing(v1::Typing { conversation: of, typing: true, user: "u0".to_owned() })
        };
        let mark = |of, marks| client_frame::Body::Mark(v1::Mark { conversation: of, epoch: 1, marks });
        let marks = Some(v1::Marks { delivered_seq: 1, read_seq: 1 });
        let (payload, frame) = match kind % ODD_KINDS {
            0 => (Payload::Sign, watch(&["", "System", "a\nb", &"x".repeat(129)])),
            1 => (Payload::Sign, watch(&["u0", "u1", "u0", "u1", "u0", "", "u2"])),
            2 => (Payload::Sign, watch(&[])),
            3 => (Payload::Sign, typing(nobody())),
            4 => (Payload::Sign, typing(system())),
            5 => (Payload::BadMark, mark(nobody(), marks)),
            6 => (Payload::BadMark, mark(system(), marks)),
            7 => (Payload::BadMark, mark(Some(session::conversation(Peer::User(0))), None)),
            8 => {
                let marks = Some(v1::Marks { delivered_seq: 1, read_seq: u64::MAX });
                (Payload::BadMark, mark(Some(session::conversation(Peer::User(0))), marks))
            }
            of_servers => {
                return self.send_frame(client, Payload::Garbage, session::said_by_a_server(of_servers));
            }
        };
        self.send_frame(client, payload, session::encode(frame));
    }

    /// Bytes that are no frame, or a frame that says nothing.
    pub(super) fn garbage_frame(&mut self, client: ClientNo, kind: u32) {
        let bytes: &'static [u8] = match kind {
            0 => b"",
            1 => b"\x12\x7fabc",
            2 => b"\x0a\xff\xff\xff\xff\x0f",
            3 => b"\xfa\x01\x00",
            _ => b"garbage\x00\xff",
        };
        self.send_frame(client, Payload::Garbage, Bytes::from_static(bytes));
    }

    pub(super) fn heartbeat_frame(&mut self, client: ClientNo, token: Token) {
        self.send_frame(client, Payload::Heartbeat, session::heartbeat(u64::from(token.step)));
    }
}
