//! What those who run the server say.

use bytes::Bytes;
use switchboard_engine::{Audience, CloseReason, ConnId, Frame};
use switchboard_proto::{
    classic::Message,
    v1::{Notice, server_frame::Body},
};

use super::{Model, Out, State, chat, outbox::Fate, session::encode};

impl Model {
    /// The open connections of a user.
    pub(super) fn conns_of(&self, name: &str) -> Vec<ConnId> {
        self.people.get(name).map(|person| person.conns.clone()).unwrap_or_default()
    }

    /// Who is welcomed is told. A classic client without room is closed, and a session misses it.
    pub(super) fn announced(&mut self, to: &Audience, text: &str) {
        let (conns, name) = match to {
            Audience::User(user) => (self.conns_of(user.as_str()), user.as_str()),
            Audience::Everyone => (self.conns.keys().copied().collect(), ""),
        };
        let classic = chat::encode(&Message {
            from: "System".into(),
            from_username: "System".into(),
            to: name.into(),
            content: text.into(),
            content_type: 1,
            message_type: 1,
            ..Message::default()
        });
        let limits = self.config.limits.clone();
        let mut overfull = Vec::new();
        for conn in conns.iter().copied() {
            let Some(connection) = self.conns.get_mut(&conn) else { continue };
            if !matches!(connection.state, State::Online) || self.sessions.contains(&conn) {
                continue;
            }
            match connection.outbox.ordinary(&classic, &limits) {
                Fate::Sent => self.expected.out(conn, Out::Frame(Frame::Message(classic.clone()))),
                Fate::Waits | Fate::Dropped | Fate::Overflows => overfull.push(conn),
            }
        }
        overfull.into_iter().for_each(|conn| self.close(conn, CloseReason::SlowReader));
        let notice = encode(Body::Notice(Notice { text: text.into() }));
        let bytes: &Bytes = notice.payload();
        for conn in conns {
            let Some(connection) = self.conns.get_mut(&conn) else { continue };
            let is_up = matches!(connection.state, State::Online) && connection.session.is_some();
            if is_up && connection.outbox.ordinary(bytes, &limits) == Fate::Sent {
                self.expected.out(conn, Out::Frame(notice.clone()));
            }
        }
    }
}
