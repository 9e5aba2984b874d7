//! What has its place in a log, on its way to sessions and to other engines: messages, and what is none, which classic
//! clients are told nothing of.

use bytes::Bytes;
use switchboard_engine::{ConnId, Frame, GroupChange, MessageId, Note, Place, Recipient, Subject, Topic};
use switchboard_proto::{
    Message as _,
    classic::Message,
    v1::{
        self, Content, Delivery, Head, Heads, NotedEntry, NotedPlace, group_change::Kind, note,
        server_frame::Body,
    },
};

use super::{
    Model, chat,
    session::{conversation, encode, recipient},
};
use crate::store::user;

/// What stands at a place of a log.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) message: Message,
    /// What it is, if it is no message.
    pub(super) entry: Option<Content>,
    pub(super) id: Bytes,
    pub(super) place: Place,
}

impl Letter {
    fn content(&self) -> Content {
        self.entry.clone().unwrap_or_else(|| Content {
            kind: self.message.content_type.cast_unsigned(),
            text: self.message.content.clone(),
            file: self.message.url.clone(),
            ..Content::default()
        })
    }

    /// For those to whom the conversation is `of`.
    pub(super) fn delivery(&self, of: &Recipient) -> Frame {
        encode(Body::Delivery(Delivery {
            conversation: conversation(of),
            epoch: self.place.epoch,
            seq: self.place.seq,
            message_id: self.id.clone(),
            from: self.message.from.clone(),
            content: Some(self.content()),
            stored_at_ms: self.place.stored_at_ms,
        }))
    }

    /// Whom it concerns beside the members of its group: who becomes a member or is one no more.
    fn concerns(&self) -> Option<String> {
        let change = self.entry.as_ref()?.change.as_ref()?;
        match change.kind() {
            Kind::Create | Kind::Join | Kind::Leave => Some(self.message.from.clone()),
            Kind::Invite | Kind::Kick => Some(change.user.clone()),
            Kind::Unspecified | Kind::SetRole | Kind::Mute | Kind::Rename => None,
        }
    }
}

/// What the store is told of an entry; the histories have these.
pub(super) fn subject(entry: &Content) -> Subject {
    let change = entry.change.clone().unwrap_or_default();
    let changed = || match change.kind() {
        Kind::Join => GroupChange::Join,
        Kind::Leave => GroupChange::Leave,
        Kind::Invite => GroupChange::Invite(user(&change.user)),
        Kind::Kick => GroupChange::Kick(user(&change.user)),
        Kind::Rename => GroupChange::Rename(change.name.as_str().into()),
        Kind::Unspecified | Kind::Create | Kind::SetRole | Kind::Mute => unreachable!("no history has these"),
    };
    match entry.kind {
        21 => Subject::Edit { target_seq: entry.target_seq },
        22 => Subject::Recall { target_seq: entry.target_seq },
        _ => Subject::Change(Box::new(changed())),
    }
}

fn topic_of(of: &Recipient) -> Topic {
    match of {
        Recipient::User(to) => Topic::User(to.clone()),
        Recipient::Group(to) => Topic::Group(to.clone()),
    }
}

impl Model {
    /// Other engines are told something that concerns sessions.
    pub(super) fn tell(&mut self, topic: Topic, body: note::Body) {
        if self.config.peers {
            let note = v1::Note { body: Some(body) }.encode_to_vec().into();
            self.expected.told.push(Note { topic, note });
        }
    }

    /// Other engines are given what was stored here: for its recipient, and for the sender's devices or whom it concerns.
    pub(super) fn publish_letter(&mut self, to: &Recipient, letter: &Letter) {
        let sender = letter.message.from.clone();
        let second = match to {
            Recipient::User(to) => Some(sender).filter(|sender| to.as_str() != sender),
            Recipient::Group(_) => letter.concerns(),
        };
        let topics = [Some(topic_of(to)), second.map(|name| Topic::User(user(&name)))];
        for topic in topics.into_iter().flatten() {
            let Letter { message, entry, id, place } = letter.clone();
            match entry {
                Some(_) => {
                    let noted = NotedEntry {
                        conversation: conversation(to),
                        epoch: place.epoch,
                        seq: place.seq,
                        message_id: id,
                        from: message.from,
                        content: entry,
                        stored_at_ms: place.stored_at_ms,
                    };
                    self.tell(topic, note::Body::Entry(noted));
                }
                None => {
                    let stored = (MessageId((*id).try_into().unwrap()), place);
                    self.publish(topic, Some(stored), chat::encode(&message));
                }
            }
        }
    }

    /// Who becomes a member or is one no more is told that, if it is not among those who were.
    pub(super) fn deliver_to_concerned(&mut self, to: &Recipient, letter: &Letter, origin: ConnId) {
        let (Recipient::Group(group), Some(name)) = (to, letter.concerns()) else { return };
        let is_member = |person: &super::Person| person.groups.iter().any(|other| other == group.as_str());
        if !self.people.get(&name).is_some_and(is_member) {
            self.push(&name, &letter.delivery(to), Some(origin));
        }
    }

    /// Of what was stored earlier, sessions are told the place alone.
    pub(super) fn tell_place(&mut self, to: &Recipient, letter: &Letter, origin: ConnId) {
        let (sender, place) = (letter.message.from.clone(), letter.place);
        let noted = NotedPlace {
            conversation: conversation(to),
            epoch: place.epoch,
            seq: place.seq,
            from: sender.clone(),
        };
        self.push_place(to, &sender, place, Some(origin));
        self.tell(topic_of(to), note::Body::Place(noted.clone()));
        if let Recipient::User(other) = to
            && other.as_str() != sender
        {
            self.push(&sender, &head(to, place), Some(origin));
            self.tell(Topic::User(user(&sender)), note::Body::Place(noted));
        }
    }

    /// The recipient of something, or all members, is told where it is.
    fn push_place(&mut self, to: &Recipient, sender: &str, place: Place, origin: Option<ConnId>) {
        match to {
            Recipient::User(name) => {
                self.push(name.as_str(), &head(&Recipient::User(user(sender)), place), origin);
            }
            Recipient::Group(group) => self.push_to_group(group.as_str(), &head(to, place), origin),
        }
    }

    /// Another engine has stored an entry. The histories have those of right content; of their topics some are wrong.
    pub(super) fn entry_told(&mut self, topic: &Topic, noted: NotedEntry) {
        let Some(to) = recipient(noted.conversation.as_ref()) else { return };
        let place = Place { epoch: noted.epoch, seq: noted.seq, stored_at_ms: noted.stored_at_ms };
        let message = Message { from: noted.from, ..Message::default() };
        let letter = Letter { message, entry: noted.content, id: noted.message_id, place };
        match (topic, &to) {
            _ if *topic == topic_of(&to) => self.deliver(&to, &letter, None),
            (Topic::User(name), Recipient::Group(_))
                if letter.concerns().as_deref() == Some(name.as_str()) =>
            {
                self.push(name.as_str(), &letter.delivery(&to), None);
            }
            (Topic::User(name), Recipient::User(_)) if name.as_str() == letter.message.from => {
                self.push(name.as_str(), &letter.delivery(&to), None);
            }
            _ => {}
        }
    }

    /// Another engine tells where something is that was stored earlier.
    pub(super) fn place_told(&mut self, topic: &Topic, noted: &NotedPlace) {
        let Some(to) = recipient(noted.conversation.as_ref()) else { return };
        let place = Place { epoch: noted.epoch, seq: noted.seq, stored_at_ms: 0 };
        match (topic, &to) {
            _ if *topic == topic_of(&to) => self.push_place(&to, &noted.from, place, None),
            (Topic::User(name), Recipient::User(_)) if name.as_str() == noted.from => {
                self.push(name.as_str(), &head(&to, place), None);
            }
            _ => {}
        }
    }
}

/// That there is something at a place, and nothing else.
fn head(of: &Recipient, place: Place) -> Frame {
    let head = Head { conversation: conversation(of), epoch: place.epoch, seq: place.seq, ..Head::default() };
    encode(Body::Heads(Heads { heads: vec![head], last: false }))
}
