//! How far users are with their conversations, and that they type.

use switchboard_engine::{
    Answer, ConnId, Frame, Marks, NewMarks, Note, Recipient, Request, StoredMarks, Topic,
};
use switchboard_proto::{
    Message as _,
    v1::{self, Mark, Marked, NotedMarks, NotedTyping, Typing, note, server_frame::Body},
};

use super::{
    Model, Out, Purpose, State,
    outbox::Fate,
    session::{conversation, encode, recipient},
};
use crate::store::user;

/// Marks of one conversation on their way into the store, and what came meanwhile, as one.
#[derive(Clone, Debug)]
pub(crate) struct Marking {
    pub(super) number: usize,
    of: Recipient,
    epoch: u64,
    next: Option<(u64, Marks)>,
}

fn wired(marks: Marks) -> v1::Marks {
    v1::Marks { delivered_seq: marks.delivered, read_seq: marks.read }
}

/// The same, left out at the beginning.
pub(super) fn some_marks(marks: Marks) -> Option<v1::Marks> {
    (marks != Marks::default()).then(|| wired(marks))
}

fn unwired(marks: Option<v1::Marks>) -> Marks {
    marks.map_or_else(Marks::default, |marks| Marks { delivered: marks.delivered_seq, read: marks.read_seq })
}

/// Somebody's marks, for those to whom the conversation is `of`.
fn marked(of: &Recipient, epoch: u64, whose: &str, marks: Marks) -> Frame {
    let (conversation, user) = (conversation(of), whose.to_owned());
    encode(Body::Marked(Marked { conversation, epoch, user, marks: Some(wired(marks)) }))
}

impl Model {
    /// Marks are stored first, of one conversation one at a time. What cannot be, and what is too much, is ignored.
    pub(super) fn mark(&mut self, conn: ConnId, name: &str, mark: &Mark) {
        let marks = unwired(mark.marks);
        let is_right = mark.epoch > 0 && marks.delivered > 0 && marks.read <= marks.delivered;
        let Some(of) = recipient(mark.conversation.as_ref()).filter(|_| is_right) else { return };
        let limit = self.config.limits.marks_per_connection as usize;
        let markings = &mut self.session(conn).unwrap().markings;
        if let Some(marking) = markings.iter_mut().find(|marking| marking.of == of) {
            let before = marking.next.filter(|(epoch, _)| *epoch == mark.epoch).map(|(_, marks)| marks);
            marking.next = Some((mark.epoch, before.unwrap_or_default().max_of(marks)));
        } else if markings.len() < limit {
            self.store_marks(conn, name, of, mark.epoch, marks);
        }
    }

    fn store_marks(&mut self, conn: ConnId, name: &str, of: Recipient, epoch: u64, marks: Marks) {
        let new = NewMarks { user: user(name), conversation: of.clone(), epoch, marks };
        let number = self.ask(Purpose::Marks(conn), Request::StoreMarks(Box::new(new)));
        self.session(conn).unwrap().markings.push(Marking { number, of, epoch, next: None });
    }

    /// What has moved is told: to the user's other sessions, and to the other user.
    pub(super) fn marks_stored(&mut self, conn: ConnId, number: usize, answer: &Answer) {
        let name = self.conns[&conn].user.clone();
        let markings = &mut self.session(conn).unwrap().markings;
        let place = markings.iter().position(|marking| marking.number == number).unwrap();
        let Marking { of, epoch, next, .. } = markings.remove(place);
        if let Ok(StoredMarks { marks, has_moved: true }) = answer.clone().into_marks() {
            let noted = NotedMarks {
                conversation: conversation(&of),
                epoch,
                user: name.clone(),
                marks: Some(wired(marks)),
            };
            self.push(&name, &marked(&of, epoch, &name, marks), Some(conn));
            self.tell(Topic::User(user(&name)), note::Body::Marks(noted.clone()));
            if let Recipient::User(other) = &of
                && other.as_str() != name
            {
                let seen = marked(&Recipient::User(user(&name)), epoch, &name, marks);
                self.push(other.as_str(), &seen, None);
                self.tell(Topic::User(other.clone()), note::Body::Marks(noted));
            }
        }
        if let Some((epoch, marks)) = next {
            self.store_marks(conn, &name, of, epoch, marks);
        }
    }

    /// Who types is told to the other user, or to a group's other members if it is one itself.
    pub(super) fn types(&mut self, name: &str, typing: &Typing) {
        let Some(of) = recipient(typing.conversation.as_ref()) else { return };
        let topic = match &of {
            Recipient::User(other) => Topic::User(other.clone()),
            Recipient::Group(group) if self.people[name].groups.iter().any(|own| own == group.as_str()) => {
                Topic::Group(group.clone())
            }
            Recipient::Group(_) => return,
        };
        self.deliver_typing(name, &of, typing.typing);
        let (conversation, typing) = (conversation(&of), typing.typing);
        self.tell(topic, note::Body::Typing(NotedTyping { conversation, typing, user: name.into() }));
    }

    fn deliver_typing(&mut self, name: &str, of: &Recipient, typing: bool) {
        let own = self.people.get(name).map(|person| person.conns.clone()).unwrap_or_default();
        let (conns, seen) = match of {
            Recipient::User(other) => {
                let person = self.people.get(other.as_str());
                let conns = person.map(|person| person.conns.clone()).unwrap_or_default();
                (conns, Recipient::User(user(name)))
            }
            Recipient::Group(group) => (self.members(group.as_str()), of.clone()),
        };
        let (conversation, user) = (conversation(&seen), name.to_owned());
        let frame = encode(Body::Typing(Typing { conversation, typing, user }));
        for conn in conns.into_iter().filter(|conn| !own.contains(conn)) {
            let Some(connection) = self.conns.get_mut(&conn).filter(|c| matches!(c.state, State::Online))
            else {
                continue;
            };
            let Some(session) = connection.session.as_ref() else { continue };
            // It never makes anybody lag, and only a part of what does so may wait.
            let limit_bytes = self.config.limits.lag_bytes / 4;
            if !session.lags && connection.outbox.hint(frame.payload(), limit_bytes) == Fate::Sent {
                self.expected.out(conn, Out::Frame(frame.clone()));
            }
        }
    }

    /// Another engine tells something that concerns sessions, if that is for whom it is told.
    pub(super) fn told(&mut self, note: &Note) {
        let topic = &note.topic;
        match v1::Note::decode(note.note.clone()).ok().and_then(|note| note.body) {
            Some(note::Body::Entry(noted)) => self.entry_told(topic, noted),
            Some(note::Body::Place(noted)) => self.place_told(topic, &noted),
            Some(note::Body::Typing(noted)) => {
                let Some(of) = recipient(noted.conversation.as_ref()) else { return };
                let is_for = match (topic, &of) {
                    (Topic::User(to), Recipient::User(other)) => to == other,
                    (Topic::Group(to), Recipient::Group(group)) => to == group,
                    _ => false,
                };
                if is_for {
                    self.deliver_typing(&noted.user, &of, noted.typing);
                }
            }
            Some(note::Body::Marks(noted)) => {
                let Some(of) = recipient(noted.conversation.as_ref()) else { return };
                let (whose, marks) = (noted.user.as_str(), unwired(noted.marks));
                match (topic, &of) {
                    (Topic::User(to), _) if to.as_str() == whose => {
                        self.push(whose, &marked(&of, noted.epoch, whose, marks), None);
                    }
                    (Topic::User(to), Recipient::User(other)) if to == other => {
                        let seen = marked(&Recipient::User(user(whose)), noted.epoch, whose, marks);
                        self.push(to.as_str(), &seen, None);
                    }
                    _ => {}
                }
            }
            // Left out: the histories have none of these.
            Some(note::Body::Presence(_) | note::Body::Call(_)) | None => {}
        }
    }
}
