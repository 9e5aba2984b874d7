//! What becomes of a message: the rules of the classic protocol, as plainly as they can be said.

use bytes::Bytes;
use switchboard_engine::{
    Answer, CloseReason, ConnId, FileKind, FileSource, FileUpload, Frame, MessageId, NewMessage, Place,
    Recipient, Record, Request, Subject, Topic, Undone,
};
use switchboard_proto::{Message as _, classic::Message, v1::RejectCode};

use super::{
    Call, Conn, Entry, Load, Model, Out, Purpose, Stage, State,
    entries::{Letter, subject},
    outbox::{Fate, Picture},
};
use crate::store::{group, user};

/// In place of the ids that the server makes up.
const UNKNOWN: MessageId = MessageId([0; 16]);

/// What a signal does to a call; none for what is no signal.
fn ends_call(message: &Message) -> Option<bool> {
    match message.content_type {
        13 | 14 | 17 | 18 => Some(true),
        0 | 6 | 7 | 10..=20 => Some(false),
        // Stored ones are chat, whatever type they claim.
        1..=5 => None,
        _ => (message.r#type == "webrtc").then_some(false),
    }
}

/// Why a message was not stored, as its sender is told.
fn unstored(stage: &Stage, to: &Recipient) -> (RejectCode, String) {
    match (stage, to) {
        (Stage::Refused, Recipient::User(_)) => {
            (RejectCode::NoSuchConversation, "there is no such user".to_owned())
        }
        (Stage::Refused, Recipient::Group(_)) => (
            RejectCode::NoSuchConversation,
            "there is no such group, or you are no member of it: ask one of its members to invite you"
                .to_owned(),
        ),
        (Stage::Denied(denial), _) => {
            let code = if denial.is_forbidden() { RejectCode::Forbidden } else { RejectCode::Conflict };
            (code, denial.to_string())
        }
        (Stage::Full, _) => (RejectCode::Unavailable, "the server's disk is full".to_owned()),
        (Stage::Failed, _) => (RejectCode::Unavailable, "the server cannot store anything now".to_owned()),
        (Stage::Upload(_) | Stage::File(_) | Stage::Ready | Stage::Storing(_) | Stage::Stored(..), _) => {
            unreachable!("it is not settled, or stored")
        }
    }
}

pub(super) fn encode(message: &Message) -> Bytes {
    message.encode_to_vec().into()
}

impl Model {
    pub(super) fn received(&mut self, conn: ConnId, bytes: Bytes) {
        if !self.hear(conn) {
            return;
        }
        let limits = self.config.limits.clone();
        if bytes.len() as u64 > limits.message_bytes {
            return self.close(conn, CloseReason::MessageTooLarge);
        }
        if self.stopping.is_some() {
            return;
        }
        let early_bytes = self.early_bytes();
        let Some(connection) = self.conns.get_mut(&conn) else { return };
        match &mut connection.state {
            State::Greeting | State::Online => {
                let sender = connection.user.clone();
                self.dispatch(conn, &sender, &bytes);
            }
            State::Loading(early) => {
                let full = early.len() >= limits.pending_per_connection as usize;
                if full || (early_bytes + bytes.len()) as u64 > limits.pending_bytes {
                    return self.close(conn, CloseReason::TooManyPending);
                }
                early.push(bytes);
            }
            State::Closing(_) | State::Aborted => {}
        }
    }

    /// Bytes of what waits for its user to be loaded.
    pub(super) fn early_bytes(&self) -> usize {
        let early = self.conns.values().flat_map(|connection| connection.early());
        let departed = self.people.values().flat_map(|person| &person.departed);
        early.chain(departed.map(|(_, _, bytes)| bytes)).map(Bytes::len).sum()
    }

    fn dispatch(&mut self, conn: ConnId, sender: &str, bytes: &Bytes) {
        if self.sessions.contains(&conn) {
            self.session_received(conn, sender, bytes);
        } else {
            self.route(conn, sender, bytes);
        }
    }

    /// A message of a loaded user.
    pub(super) fn route(&mut self, conn: ConnId, sender: &str, bytes: &Bytes) {
        let sender = sender.to_owned();
        let Ok(mut message) = Message::decode(bytes.clone()) else {
            return self.close(conn, CloseReason::Undecodable);
        };
        if message.r#type == "heatbeat" {
            let pong = Message { r#type: "heatbeat".into(), content: "pong".into(), ..Message::default() };
            return self.send(conn, &Frame::Message(encode(&pong)));
        }
        message.from.clone_from(&sender); // whatever the frame says
        let stored = (1..=5).contains(&message.content_type);
        if message.to.is_empty() {
            if message.r#type != "webrtc" && message.content_type != 0 {
                self.publish(Topic::Everyone, None, encode(&message));
                return self.deliver_to_everyone(&message);
            }
            if let Some(peer) = self.call_peer(&sender) {
                self.relay(conn, &sender, &peer, &message);
            }
        } else if message.to.len() > 128 {
            // Nobody can have such an id.
        } else if !stored {
            let to = message.to.clone();
            self.relay(conn, &sender, &to, &message);
        } else if message.message_type == 2 {
            if self.people[&sender].groups.contains(&message.to) {
                message.avatar.clone_from(&self.people[&sender].avatar);
                let cost = bytes_after_correction(bytes, &sender);
                self.accept(conn, &sender, Recipient::Group(group(&message.to)), message, cost);
            }
        } else {
            let cost = bytes_after_correction(bytes, &sender);
            self.accept(conn, &sender, Recipient::User(user(&message.to)), message, cost);
        }
    }

    /// Whether another message of a connection may wait for the store.
    pub(super) fn has_room(&self, conn: ConnId, cost: u64) -> bool {
        let limits = &self.config.limits;
        let entries = || self.queues.values().flatten();
        let waiting = self.queues.get(&conn).map_or(0, Vec::len);
        entries().count() < limits.pending as usize
            && entries().map(|entry| entry.cost).sum::<u64>() + cost <= limits.pending_bytes
            && waiting < limits.pending_per_connection as usize
    }

    pub(super) fn enqueue(&mut self, conn: ConnId, entry: Entry) {
        self.queues.entry(conn).or_default().push(entry);
        self.start_and_deliver(conn);
    }

    /// A message goes to the store, if there is room for it.
    fn accept(&mut self, conn: ConnId, sender: &str, recipient: Recipient, mut message: Message, cost: u64) {
        if !self.has_room(conn, cost) {
            return self.close(conn, CloseReason::TooManyPending);
        }
        let stage = if message.file.is_empty() {
            Stage::Ready
        } else {
            let source = FileSource::Bytes(std::mem::take(&mut message.file));
            Stage::Upload(FileUpload {
                owner: user(sender),
                suffix: message.file_suffix.as_str().into(),
                source,
            })
        };
        let sender = sender.into();
        self.enqueue(
            conn,
            Entry { sender, recipient, message, entry: None, cost, stage, submitted: None, delivered: false },
        );
    }

    /// The store has answered for the entry that waits for request `number`.
    pub(super) fn settle(&mut self, conn: ConnId, number: usize, answer: &Answer) {
        let entry = self.queues.get_mut(&conn).into_iter().flatten().find(|entry| entry.waits_for(number));
        let entry = entry.expect("an open request is somebody's");
        entry.stage = match (&entry.stage, answer) {
            (Stage::Storing(_), Answer::MessageStored(place)) => Stage::Stored(*place, true),
            (Stage::Storing(_), Answer::StoredEarlier(place)) => Stage::Stored(*place, false),
            (_, Answer::Denied(denial)) => Stage::Denied(*denial),
            (Stage::File(_), Answer::FileStored { name, kind }) => {
                entry.message.url = name.to_string();
                entry.message.content_type = match kind {
                    FileKind::Other => 2,
                    FileKind::Image => 3,
                    FileKind::Audio => 4,
                    FileKind::Video => 5,
                };
                Stage::Ready
            }
            (_, Answer::Refused) => Stage::Refused,
            (_, Answer::Full) => Stage::Full,
            _ => Stage::Failed,
        };
        self.start_and_deliver(conn);
    }

    /// Files are kept one after the other, each before its message and all that was sent after it. What is
    /// stored is delivered in the order in which it was sent.
    fn start_and_deliver(&mut self, conn: ConnId) {
        let mut entries = self.queues.remove(&conn).unwrap_or_default();
        for entry in &mut entries {
            match &entry.stage {
                Stage::Upload(upload) => {
                    entry.stage =
                        Stage::File(self.ask(Purpose::Entry(conn), Request::StoreFile(upload.clone())));
                    break;
                }
                Stage::File(_) => break,
                Stage::Ready => {
                    let request = Request::StoreMessage(Box::new(entry.stored_form()));
                    entry.stage = Stage::Storing(self.ask(Purpose::Entry(conn), request));
                }
                Stage::Storing(_)
                | Stage::Stored(..)
                | Stage::Refused
                | Stage::Denied(_)
                | Stage::Full
                | Stage::Failed => {}
            }
        }
        let unsettled = |entry: &Entry| {
            !matches!(
                entry.stage,
                Stage::Stored(..) | Stage::Refused | Stage::Denied(_) | Stage::Full | Stage::Failed
            )
        };
        let settled = entries.iter().position(unsettled).unwrap_or(entries.len());
        let rest = entries.split_off(settled);
        if !rest.is_empty() {
            self.queues.insert(conn, rest);
        }
        let mut done = Vec::new();
        for Entry { recipient, message, entry, stage, submitted, delivered, .. } in entries {
            let (place, is_new) = match (stage, &submitted) {
                (Stage::Stored(place, is_new), _) => (place, is_new),
                (why, Some(id)) => {
                    let (code, text) = unstored(&why, &recipient);
                    self.reject(conn, id.clone(), code, &text);
                    continue;
                }
                (_, None) => continue,
            };
            let id = submitted.clone().unwrap_or_else(|| UNKNOWN.0.to_vec().into());
            let letter = Letter { message, entry, id: id.clone(), place };
            if delivered || done.contains(&submitted) {
                self.accepted(conn, id, &recipient, place);
                continue;
            }
            if is_new {
                if submitted.is_some() {
                    let rest = self.queues.get_mut(&conn).into_iter().flatten();
                    rest.filter(|entry| entry.submitted == submitted)
                        .for_each(|entry| entry.delivered = true);
                    done.push(submitted.clone());
                }
                self.publish_letter(&recipient, &letter);
                self.deliver(&recipient, &letter, Some(conn));
                self.deliver_to_concerned(&recipient, &letter, conn);
            } else {
                self.tell_place(&recipient, &letter, conn);
            }
            if submitted.is_some() {
                self.accepted(conn, id, &recipient, place);
            }
        }
    }

    /// What is in the log reaches those who are entitled to it, each in the form that it understands: also the sender's
    /// other devices, if it is not another engine's, which publishes it for those too.
    pub(super) fn deliver(&mut self, recipient: &Recipient, letter: &Letter, origin: Option<ConnId>) {
        let sender = letter.message.from.clone();
        match recipient {
            Recipient::User(to) => {
                if letter.entry.is_none() {
                    self.deliver_to_user(to.as_str(), &letter.message, origin);
                }
                self.push(to.as_str(), &letter.delivery(&Recipient::User(user(&sender))), origin);
                if origin.is_some() && to.as_str() != sender {
                    self.push(&sender, &letter.delivery(recipient), origin);
                }
            }
            Recipient::Group(to) => {
                if letter.entry.is_none() {
                    self.deliver_to_group(to.as_str(), letter.message.clone(), &sender);
                }
                self.push_to_group(to.as_str(), &letter.delivery(recipient), origin);
            }
        }
    }

    /// A frame that sessions may miss reaches those of a user.
    pub(super) fn push(&mut self, name: &str, frame: &Frame, origin: Option<ConnId>) {
        let conns = self.people.get(name).map(|person| person.conns.clone()).unwrap_or_default();
        self.push_to(conns.into_iter().filter(|conn| Some(*conn) != origin).collect(), frame);
    }

    /// The same of a group's members.
    pub(super) fn push_to_group(&mut self, name: &str, frame: &Frame, origin: Option<ConnId>) {
        let conns = self.members(name).into_iter().filter(|conn| Some(*conn) != origin).collect();
        self.push_to(conns, frame);
    }

    /// The connections of a group's members who are here.
    pub(super) fn members(&self, name: &str) -> Vec<ConnId> {
        let members = self.people.values().filter(|person| person.groups.iter().any(|group| group == name));
        members.flat_map(|person| person.conns.clone()).collect()
    }

    fn push_to(&mut self, conns: Vec<ConnId>, frame: &Frame) {
        for conn in conns {
            let Some(connection) = self.conns.get_mut(&conn).filter(|c| matches!(c.state, State::Online))
            else {
                continue;
            };
            let Some(session) = &mut connection.session else { continue };
            let limits = &self.config.limits;
            if connection.outbox.delivery(frame.payload(), limits, &mut session.lags) == Fate::Sent {
                self.expected.out(conn, Out::Frame(frame.clone()));
            }
        }
    }

    fn relay(&mut self, conn: ConnId, sender: &str, to: &str, message: &Message) {
        if let Some(ends) = ends_call(message) {
            let call = &mut self.people.get_mut(sender).unwrap().call;
            Call::sent(call, to, ends);
            self.signalled(to, sender, ends);
        }
        self.publish(Topic::User(user(to)), None, encode(message));
        self.deliver_to_user(to, message, Some(conn));
    }

    fn signalled(&mut self, to: &str, sender: &str, ends: bool) {
        let now = self.now;
        if let Some(person) = self.people.get_mut(to) {
            Call::received(&mut person.call, sender, ends, now);
        }
    }

    fn call_peer(&self, of: &str) -> Option<String> {
        match self.people.get(of)?.call.as_ref()? {
            Call::Rung(_, at) if self.now.saturating_since(*at) > self.config.ring_timeout => None,
            Call::Calling(peer) | Call::Rung(peer, _) | Call::Active(peer) => Some(peer.clone()),
        }
    }

    /// A record from the bus.
    pub(super) fn published(&mut self, record: &Record) {
        let Ok(message) = Message::decode(record.message.clone()) else { return };
        if message.from.is_empty() {
            return;
        }
        let letter = record.stored.map(|(id, place)| {
            let (message, id) = (message.clone(), Bytes::from(id.0.to_vec()));
            Letter { message, entry: None, id, place }
        });
        match (&record.topic, letter) {
            (Topic::Everyone, _) => self.deliver_to_everyone(&message),
            (Topic::Presence(_), _) => {}
            (Topic::User(to), Some(letter)) if to.as_str() == message.from && message.to != message.from => {
                if (1..=128).contains(&message.to.len()) {
                    let with = Recipient::User(user(&message.to));
                    self.push(to.as_str(), &letter.delivery(&with), None);
                }
            }
            (Topic::User(to), letter) => {
                if let Some(ends) = ends_call(&message) {
                    self.signalled(to.as_str(), &message.from, ends);
                }
                match letter {
                    Some(letter) => self.deliver(&Recipient::User(to.clone()), &letter, None),
                    None => self.deliver_to_user(to.as_str(), &message, None),
                }
            }
            (Topic::Group(to), Some(letter)) => self.deliver(&Recipient::Group(to.clone()), &letter, None),
            (Topic::Group(to), None) => {
                let sender = message.from.clone();
                self.deliver_to_group(to.as_str(), message, &sender);
            }
        }
    }

    pub(super) fn publish(&mut self, topic: Topic, stored: Option<(MessageId, Place)>, message: Bytes) {
        if self.config.peers {
            self.expected.published.push(Record { topic, stored, message });
        }
    }

    fn deliver_to_everyone(&mut self, message: &Message) {
        let to = self.conns.keys().copied().collect();
        self.fan_out(to, &Frame::Message(encode(message)), picture(message).as_ref());
    }

    fn deliver_to_user(&mut self, name: &str, message: &Message, except: Option<ConnId>) {
        let conns = self.people.get(name).map(|person| person.conns.clone()).unwrap_or_default();
        let to = conns.into_iter().filter(|conn| Some(*conn) != except).collect();
        self.fan_out(to, &Frame::Message(encode(message)), picture(message).as_ref());
    }

    fn deliver_to_group(&mut self, name: &str, message: Message, sender: &str) {
        let members = self
            .people
            .iter()
            .filter(|(id, person)| id.as_str() != sender && person.groups.iter().any(|group| group == name));
        let to = members.flat_map(|(_, person)| person.conns.clone()).collect();
        let rewritten = Message {
            from: message.to.clone(),
            to: message.from.clone(),
            file: Bytes::new(),
            file_suffix: String::new(),
            ..message
        };
        self.fan_out(to, &Frame::Message(encode(&rewritten)), None);
    }

    /// Sends to those who are online; who has no room for it is closed, unless it is a picture.
    pub(super) fn fan_out(&mut self, to: Vec<ConnId>, frame: &Frame, picture: Option<&Picture>) {
        let mut overfull = Vec::new();
        for conn in to {
            let speaks = |c: &&mut Conn| matches!(c.state, State::Online) && c.session.is_none();
            let Some(connection) = self.conns.get_mut(&conn).filter(speaks) else { continue };
            let limits = &self.config.limits;
            let fate = match picture {
                Some(picture) => connection.outbox.picture(frame.payload(), picture, limits),
                None => connection.outbox.ordinary(frame.payload(), limits),
            };
            match fate {
                Fate::Sent => self.expected.out(conn, Out::Frame(frame.clone())),
                Fate::Waits | Fate::Dropped => {}
                Fate::Overflows => overfull.push(conn),
            }
        }
        overfull.into_iter().for_each(|conn| self.close(conn, CloseReason::SlowReader));
    }

    /// Sends to one connection, which need not be online yet.
    pub(super) fn send(&mut self, conn: ConnId, frame: &Frame) {
        let Some(connection) = self.conns.get_mut(&conn).filter(|connection| connection.is_open()) else {
            return;
        };
        match connection.outbox.ordinary(frame.payload(), &self.config.limits) {
            Fate::Sent => self.expected.out(conn, Out::Frame(frame.clone())),
            Fate::Waits | Fate::Dropped => {}
            Fate::Overflows => self.close(conn, CloseReason::SlowReader),
        }
    }

    /// Who has been loaded, or cannot be, is online. What those sent who have gone meanwhile comes first.
    pub(super) fn welcome(&mut self, name: &str) {
        while let Some(person) = self.people.get_mut(name).filter(|person| !person.departed.is_empty()) {
            let (conn, is_session, bytes) = person.departed.remove(0);
            if is_session {
                self.session_departed(conn, name, &bytes);
            } else {
                self.route(conn, name, &bytes);
            }
        }
        let conns = self.people.get(name).map(|person| person.conns.clone()).unwrap_or_default();
        for conn in conns {
            let Some(connection) = self.conns.get_mut(&conn) else { continue };
            let State::Loading(early) = &mut connection.state else { continue };
            let early = std::mem::take(early);
            if connection.session.is_some() {
                connection.state = State::Greeting;
            } else {
                connection.state = State::Online;
                let welcome = Message {
                    from: "System".into(),
                    to: name.into(),
                    content: "welcome!".into(),
                    ..Message::default()
                };
                self.send(conn, &Frame::Message(encode(&welcome)));
            }
            for bytes in early {
                if self.conns[&conn].is_open() {
                    self.dispatch(conn, name, &bytes);
                }
            }
        }
    }

    pub(super) fn loaded(&mut self, name: &str, answer: &Answer) {
        let now = self.now;
        let limit = self.config.limits.groups_per_user as usize;
        let person = self.people.get_mut(name).unwrap();
        let (avatar, groups, revision) = match answer.clone().into_user() {
            Ok(profile) => (profile.avatar.to_string(), profile.groups, profile.revision),
            Err(Undone::Refused) => (String::new(), Vec::new(), 0),
            Err(Undone::Failed) => {
                person.load = Load::Failed(now);
                self.welcome(name);
                return self.forget();
            }
        };
        person.load = Load::Done;
        person.avatar = avatar;
        person.revision = revision;
        let groups: Vec<_> = groups.iter().map(|group| group.as_str().to_owned()).collect();
        person.groups.retain(|group| groups.contains(group));
        groups.into_iter().for_each(|group| person.join(group, limit));
        self.welcome(name);
        self.forget();
    }
}

/// Which live picture a message is, if it is one.
fn picture(message: &Message) -> Option<Picture> {
    matches!(message.content_type, 8 | 9).then(|| (message.from.clone(), message.content_type))
}

/// What a message counts among the pending: its size, with its true sender in it.
fn bytes_after_correction(bytes: &Bytes, sender: &str) -> u64 {
    let message = Message::decode(bytes.clone()).unwrap();
    Message { from: sender.into(), ..message }.encoded_len() as u64
}

impl Entry {
    fn stored_form(&self) -> NewMessage {
        NewMessage {
            sender: user(&self.sender),
            id: self.submitted.as_ref().map_or(UNKNOWN, |id| MessageId((**id).try_into().unwrap())),
            recipient: self.recipient.clone(),
            content_type: self.message.content_type.try_into().unwrap(),
            content: self.message.content.as_str().into(),
            sender_name: self.message.from_username.as_str().into(),
            url: self.message.url.as_str().into(),
            file_suffix: self.message.file_suffix.as_str().into(),
            subject: self.entry.as_ref().map_or(Subject::Message, subject),
        }
    }
}
