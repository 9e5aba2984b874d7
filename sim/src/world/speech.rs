//! What clients say, and the forms in which they say it.

use core::fmt::Write as _;

use bytes::Bytes;
use switchboard_engine::{Body, Outgoing, SignalKind, Subject, Target};
use switchboard_proto::classic::Message;

use super::{Happening, World, apps, sut::Sut};
use crate::{
    check::{MessageKey, Route, Said},
    schedule::{Carrier, ClientKind, ClientNo, To, UserNo},
    wire::{self, Token},
};

/// What a client is to say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speech {
    pub(super) token: Token,
    pub(super) to: To,
    pub(super) content_type: i32,
    pub(super) is_call: bool,
    /// Extra length of a text, or the length of a file.
    pub(super) bytes: u32,
    pub(super) carrier: Option<Carrier>,
    pub(super) claims: Option<UserNo>,
}

impl Speech {
    pub(super) const fn text(token: Token, to: To, bytes: u32) -> Self {
        Self { token, to, content_type: 1, is_call: false, bytes, carrier: None, claims: None }
    }
}

impl<T: Sut> World<'_, T> {
    /// A client says something, if it can.
    pub(super) fn speak(&mut self, client: ClientNo, speech: Speech) {
        let device = &self.devices[client.index()];
        let storable = (1..=5).contains(&speech.content_type) && speech.claims.is_none();
        match device.spec.kind {
            ClientKind::Session if storable => return self.submit(client, speech),
            ClientKind::RawSession if storable => return self.submit_raw(client, speech),
            // What only classic clients can say.
            ClientKind::Session | ClientKind::RawSession => return,
            ClientKind::Raw | ClientKind::Engine => {}
        }
        let engine = device.engine.is_some();
        if engine && speech.claims.is_some() || !engine && device.conn.is_none() {
            return;
        }
        let message = self.word(client, speech);
        if engine {
            let outgoing = self.outgoing(speech);
            self.command(client, outgoing);
        } else {
            self.say(client, message);
        }
    }

    /// Registers what is about to be said.
    pub(super) fn word(&mut self, client: ClientNo, speech: Speech) -> MessageKey {
        let user = self.devices[client.index()].spec.user;
        let stored = (1..=5).contains(&speech.content_type);
        let engine = self.devices[client.index()].engine.is_some();
        let is_call = speech.is_call || (engine && !stored);
        let route = match speech.to {
            To::User(to) if stored => Route::User(to.0),
            To::Group(to) if stored => Route::Group(to.0),
            To::User(to) => Route::Relay(to.0),
            // A relayed message's recipient is a user, whatever it is called; no user has a group's name.
            To::Group(_) => Route::Relay(u16::MAX),
            To::Nobody if is_call || speech.content_type == 0 => Route::Call,
            To::Nobody => Route::Everyone,
        };
        // The engine's client makes its bytes itself.
        let is_session = self.devices[client.index()].spec.kind.is_session();
        let bytes = match (engine, is_session) {
            (true, _) => Bytes::new(),
            (false, true) => wire::encode(&self.classic_form(speech, user)),
            (false, false) => wire::encode(&self.message(speech, user, is_call)),
        };
        self.check.say(Said {
            token: speech.token,
            sender: user.0,
            route,
            bytes,
            honest: speech.claims.is_none_or(|claims| claims == user),
            content_type: speech.content_type,
            is_call,
            is_session,
            submit: Bytes::new(),
            subject: Subject::Message,
            media: speech.carrier.is_some() && !is_session,
            empty_file: !is_session && speech.carrier == Some(Carrier::DataUrl) && speech.bytes < 3,
            conns: Vec::new(),
            stored: 0,
            seqs: Vec::new(),
            call_peer: None,
            avatar_floor: u32::MAX,
        })
    }

    /// What a raw client sends.
    fn message(&self, speech: Speech, user: UserNo, is_call: bool) -> Message {
        Message {
            from_username: speech.token.to_string(),
            from: self.users[speech.claims.unwrap_or(user).index()].as_str().to_owned(),
            to: match speech.to {
                To::User(user) => self.users[user.index()].as_str().to_owned(),
                To::Group(group) => self.groups[group.index()].as_str().to_owned(),
                To::Nobody => String::new(),
            },
            content: match speech.carrier {
                Some(Carrier::DataUrl) => {
                    format!("data:;base64,{}", "QUFB".repeat(speech.bytes as usize / 3))
                }
                Some(Carrier::Bytes) => speech.token.to_string(),
                None => text(speech),
            },
            content_type: speech.content_type,
            r#type: if is_call { "webrtc".to_owned() } else { String::new() },
            message_type: if matches!(speech.to, To::Group(_)) { 2 } else { 1 },
            file: match speech.carrier {
                Some(Carrier::Bytes) => vec![b'f'; speech.bytes.max(1) as usize].into(),
                Some(Carrier::DataUrl) | None => Bytes::new(),
            },
            file_suffix: speech.carrier.map(|_| speech.token.to_string()).unwrap_or_default(),
            ..Message::default()
        }
    }

    /// What classic clients hear of what a session says.
    fn classic_form(&self, speech: Speech, user: UserNo) -> Message {
        let sender = self.users[user.index()].as_str();
        let content = apps::content(speech);
        Message {
            from_username: sender.to_owned(),
            from: sender.to_owned(),
            to: match speech.to {
                To::User(user) => self.users[user.index()].as_str().to_owned(),
                To::Group(group) => self.groups[group.index()].as_str().to_owned(),
                To::Nobody => String::new(),
            },
            content: content.text.into(),
            content_type: speech.content_type,
            message_type: if matches!(speech.to, To::Group(_)) { 2 } else { 1 },
            url: content.file.into(),
            ..Message::default()
        }
    }

    /// The same for the engine's client, which makes the bytes itself.
    fn outgoing(&self, speech: Speech) -> Outgoing {
        let content = text(speech);
        if !(1..=5).contains(&speech.content_type) {
            let to = match speech.to {
                To::User(user) => Some(self.users[user.index()].clone()),
                To::Group(_) | To::Nobody => None,
            };
            let kind = match speech.content_type {
                0 => SignalKind::Session,
                6 => SignalKind::VoiceCall,
                7 => SignalKind::VideoCall,
                8 => SignalKind::CameraFrame,
                9 => SignalKind::ScreenFrame,
                number => SignalKind::Dialling(number),
            };
            return Outgoing::Signal { to, kind, content: content.into() };
        }
        let to = match speech.to {
            To::User(user) => Target::User(self.users[user.index()].clone()),
            To::Group(group) => Target::Group(self.groups[group.index()].clone()),
            To::Nobody => Target::Everyone,
        };
        let body = match speech.carrier {
            None => Body::Text(content.into()),
            Some(_) => Body::Upload {
                caption: speech.token.to_string().into(),
                suffix: speech.token.to_string().into(),
                file: vec![b'f'; speech.bytes.max(1) as usize].into(),
            },
        };
        Outgoing::Message { to, body }
    }

    pub(super) fn pictures(
        &mut self,
        client: ClientNo,
        token: Token,
        to: To,
        kind: i32,
        count: u32,
        gap_us: u64,
    ) {
        if self.devices[client.index()].spec.kind.is_session() {
            // Sessions have no live pictures.
            return;
        }
        for nth in 0..count {
            let token = Token { nth, ..token };
            let speech = Speech { content_type: kind, ..Speech::text(token, to, 100) };
            if gap_us == 0 || nth == 0 || self.devices[client.index()].engine.is_some() {
                self.speak(client, speech);
            } else if self.devices[client.index()].conn.is_some() {
                let message = self.word(client, speech);
                let at_us = self.now_us + u64::from(nth) * gap_us;
                self.queue.push(at_us, Happening::Say { client, message });
            }
        }
    }
}

/// What texts are filled up with.
const FILLING: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

/// A text that begins with its token, and is as long as it is to be.
pub(super) fn text(speech: Speech) -> String {
    let mut text = String::with_capacity(24 + speech.bytes as usize);
    let _ = write!(text, "{} ", speech.token);
    let mut left = speech.bytes as usize;
    while left > 0 {
        let part = left.min(FILLING.len());
        text.push_str(&FILLING[..part]);
        left -= part;
    }
    text
}
