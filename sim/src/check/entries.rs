//! Edits, recalls and changes of groups between engines: told in notes, to those that have sessions of who takes part,
//! and of whom they concern.

use switchboard_engine::{Note, Topic};
use switchboard_proto::v1::{NotedEntry, note::Body};

use super::{Check, Instance, MessageKey, Owed, Route, pipelines::State};
use crate::wire::{
    self,
    session::{Peer, read_note, token_of},
};

impl Check {
    /// The entry that a note tells.
    pub(crate) fn noted_entry(&self, note: &Note) -> Option<MessageKey> {
        match read_note(&note.note)? {
            Body::Entry(entry) => self.message(token_of(&entry.message_id)?),
            Body::Marks(_) | Body::Typing(_) | Body::Presence(_) | Body::Call(_) | Body::Place(_) => None,
        }
    }

    /// The engine tells the others something for sessions.
    pub(crate) fn tells(&mut self, shard: usize, note: &Note) {
        match read_note(&note.note) {
            Some(Body::Entry(entry)) => self.tells_entry(shard, &note.topic, &entry),
            Some(Body::Marks(noted)) => self.tells_noted_marks(&note.topic, &noted),
            // To whom, is up to the specification, or to the engine's own tests yet.
            Some(Body::Typing(_) | Body::Presence(_) | Body::Call(_) | Body::Place(_)) | None => {}
        }
    }

    fn tells_entry(&mut self, shard: usize, topic: &Topic, entry: &NotedEntry) {
        let Some(key) = token_of(&entry.message_id).and_then(|token| self.message(token)) else {
            return self.fail("no-spoof", |_| format!("what nobody said is noted: {entry:?}"));
        };
        let said = &self.said[key as usize];
        let token = said.token;
        let own = match said.route {
            Route::User(to) => Peer::User(to),
            Route::Group(to) => Peer::Group(to),
            Route::Relay(_) | Route::Call | Route::Everyone => Peer::User(wire::session::NOBODY),
        };
        if wire::index(&entry.from) != Some(said.sender)
            || Peer::read(entry.conversation.as_ref()) != Some(own)
        {
            self.fail("no-spoof", |_| format!("{token} is noted as what it is not: {entry:?}"));
        }
        let Some(second) = self.is_second_topic(topic, key).filter(|_| self.peers) else {
            return self.fail("no-leak", |_| format!("{token} is noted to {topic:?}"));
        };
        // Whom it is for may be here, and hears of it without.
        let must_publish = self.must_publish(shard, key);
        let turn = |i: &Instance| {
            let due = if second { (i.published || !must_publish) && !i.copied } else { !i.published };
            matches!(i.state, State::Stored { seq } if seq == entry.seq) && due && !i.repeats
        };
        let Some((conn, place)) = self.instance(shard, key, turn) else {
            return self.fail("accepted-is-durable", |_| format!("{token} is noted and not stored"));
        };
        let instance = &mut self.seats[conn as usize].pipeline[place];
        instance.published = true;
        instance.copied |= second;
        self.mark_repeats(conn, place);
    }

    /// Whether an entry is told to a topic as the second one that it concerns: its sender's, or that of whom it
    /// concerns; none if it is not to be told there.
    fn is_second_topic(&self, topic: &Topic, key: MessageKey) -> Option<bool> {
        let said = &self.said[key as usize];
        match (topic, said.route) {
            (Topic::User(user), Route::User(to)) => {
                let user = wire::index(user.as_str());
                if user == Some(to) { Some(false) } else { (user == Some(said.sender)).then_some(true) }
            }
            (Topic::Group(group), Route::Group(to)) if wire::index(group.as_str()) == Some(to) => Some(false),
            (Topic::User(user), Route::Group(_)) => {
                let concerned = said.concerns();
                (concerned.is_some() && wire::index(user.as_str()) == concerned).then_some(true)
            }
            (Topic::Everyone | Topic::Group(_) | Topic::Presence(_), _) | (Topic::User(_), _) => None,
        }
    }

    /// A note has come over the bus.
    pub(crate) fn noted(&mut self, note: &Note) {
        if !self.is_on {
            return;
        }
        if let Some(Body::Marks(noted)) = read_note(&note.note) {
            return self.marks_noted(note, &noted);
        }
        let Some(key) = self.noted_entry(note) else {
            (self.cause.signs, self.cause.placed) = (true, true);
            return;
        };
        // One that misleads is for nobody.
        let Some(second) = self.is_second_topic(&note.topic, key) else { return };
        let is_copy = second && matches!(self.said[key as usize].route, Route::User(_));
        self.cause.published = Some(key);
        self.cause.owed.push(Owed {
            message: key,
            conn: None,
            sent: true,
            pushed: false,
            is_copy,
            is_concerned: second && !is_copy,
            published: true,
            optional: false,
        });
    }
}
