//! What sessions say that is no message: edits and recalls of messages, their own or somebody else's, and changes of
//! groups, whether they may or not. And notes that mislead.

use bytes::Bytes;
use switchboard_engine::{Carried, Content, GroupChange, Marks, Note, Role, Subject, Topic};
use switchboard_proto::{
    Message as _,
    v1::{self, NotedEntry, note},
};

use super::{
    Happening, World,
    queue::Life,
    speech::{Speech, text},
    sut::Sut,
};
use crate::{
    check::{Mark, MessageKey, Payload, Route, Said},
    schedule::{ClientKind, ClientNo, Deed, GroupNo, NodeNo, To, UserNo},
    store::{Conversation, Stored},
    trace::Via,
    wire::{
        Token,
        session::{self, Peer, message_id, wired},
        stored_token,
    },
};

/// A place that no log reaches.
const NO_PLACE: u64 = 1 << 40;

impl<T: Sut> World<'_, T> {
    /// A message gets another text.
    pub(super) fn edit(&mut self, client: ClientNo, token: Token, target: Token, bytes: u32) {
        let Some((to, seq)) = self.target(client, target) else { return };
        let text = text(Speech::text(token, to, bytes));
        self.enter(client, token, to, Content::edit(seq, &text));
    }

    /// A message is taken back.
    pub(super) fn recall(&mut self, client: ClientNo, token: Token, target: Token) {
        if let Some((to, seq)) = self.target(client, target) {
            self.enter(client, token, to, Content::recall(seq));
        }
    }

    /// Where a message is as a client sees it. Who is no party to it means the same place of its own conversation with
    /// the sender; and who has no manners, a place that there is not.
    fn target(&self, client: ClientNo, token: Token) -> Option<(To, u64)> {
        let user = self.devices[client.index()].spec.user;
        let said = &self.check.said[self.check.message(token)? as usize];
        let to = match said.route {
            Route::User(to) if user.0 == said.sender => To::User(UserNo(to)),
            Route::User(_) => To::User(UserNo(said.sender)),
            Route::Group(group) => To::Group(GroupNo(group)),
            Route::Relay(_) | Route::Call | Route::Everyone => return None,
        };
        let is_app = self.devices[client.index()].spec.kind == ClientKind::Session;
        let stored = self.stored(token).map(|stored| stored.seq);
        Some((to, stored.or((!is_app).then_some(NO_PLACE))?))
    }

    /// What the store has of a message.
    fn stored(&self, token: Token) -> Option<&Stored> {
        self.store.model.log().iter().find(|stored| stored_token(&stored.message) == Some(token))
    }

    /// A client wants to change something about a group.
    pub(super) fn change(
        &mut self,
        client: ClientNo,
        token: Token,
        group: GroupNo,
        deed: Deed,
        user: UserNo,
        commits: u32,
    ) {
        let name: Box<str> = token.to_string().into();
        let user = self.users[user.index()].clone();
        // The number of commits is the store's clock.
        let until_ms = self.store.model.log().len() as i64 + i64::from(commits);
        let change = match deed {
            Deed::Create => GroupChange::Create { name, invite_only: true },
            Deed::Open => GroupChange::Create { name, invite_only: false },
            Deed::Join => GroupChange::Join,
            Deed::Leave => GroupChange::Leave,
            Deed::Invite => GroupChange::Invite(user),
            Deed::Kick => GroupChange::Kick(user),
            Deed::Member => GroupChange::SetRole(user, Role::Member),
            Deed::Admin => GroupChange::SetRole(user, Role::Admin),
            Deed::Owner => GroupChange::SetRole(user, Role::Owner),
            Deed::Mute => GroupChange::Mute(user, until_ms),
            Deed::Unmute => GroupChange::Mute(user, 0),
            Deed::Rename => GroupChange::Rename(name),
        };
        self.enter(client, token, To::Group(group), Content::change(change));
    }

    /// A session submits what is no message.
    fn enter(&mut self, client: ClientNo, token: Token, to: To, content: Content) {
        let device = &self.devices[client.index()];
        let (route, peer) = match to {
            To::User(user) => (Route::User(user.0), Peer::User(user.0)),
            To::Group(group) => (Route::Group(group.0), Peer::Group(group.0)),
            To::Nobody => return,
        };
        match device.spec.kind {
            ClientKind::Session => {
                let Some(conversation) = self.recipient(to).filter(|_| self.is_running(client)) else {
                    return;
                };
                self.word_entry(client, token, route, &content);
                self.hand_over(client, token, conversation, content);
            }
            ClientKind::RawSession if device.conn.is_some() || device.dialling => {
                let message = self.word_entry(client, token, route, &content);
                let id = Bytes::copy_from_slice(&message_id(token).0);
                let frame = session::submit(id, Some(peer), Some(wired(&content)));
                self.check.said[message as usize].submit = frame.clone();
                self.send_frame(client, Payload::Said(message), frame);
            }
            // The classic protocol has no words for it.
            ClientKind::RawSession | ClientKind::Raw | ClientKind::Engine => {}
        }
    }

    fn word_entry(&mut self, client: ClientNo, token: Token, route: Route, content: &Content) -> MessageKey {
        self.check.say(Said {
            token,
            sender: self.devices[client.index()].spec.user.0,
            route,
            bytes: Bytes::new(),
            honest: true,
            content_type: content.kind.cast_signed(),
            is_call: false,
            is_session: true,
            submit: Bytes::new(),
            subject: content.subject.clone(),
            media: false,
            empty_file: false,
            conns: Vec::new(),
            stored: 0,
            seqs: Vec::new(),
            call_peer: None,
            avatar_floor: u32::MAX,
        })
    }

    /// A session says how far its user is: its application what was read, and raw sessions whatever they like, of this
    /// log, another one, none, or nowhere.
    pub(super) fn mark(&mut self, client: ClientNo, of: To, delivered: u64, read: u64, wrong: u32) {
        if self.devices[client.index()].app.is_some() {
            return self.mark_read(client, of, read);
        }
        let user = &self.users[self.devices[client.index()].spec.user.index()];
        let Some(recipient) = self.recipient(of) else { return };
        let epoch = Conversation::of(user, &recipient).epoch();
        let (peer, epoch) = match wrong {
            0 => (Some(Peer::of(&recipient)), epoch),
            1 => (Some(Peer::of(&recipient)), epoch ^ 2),
            2 => (Some(Peer::of(&recipient)), 0),
            _ => (None, epoch),
        };
        let marks = Marks { delivered, read };
        let known = (peer.is_some() && epoch > 0 && delivered > 0 && read <= delivered).then(|| Mark {
            of: Peer::of(&recipient),
            epoch,
            marks,
        });
        let payload = known.map_or(Payload::BadMark, Payload::Mark);
        self.send_frame(client, payload, session::mark(peer, epoch, marks));
    }

    /// A node is told an entry as one that concerns somebody whom it does not concern, or what is no note.
    pub(super) fn mislead(&mut self, node: NodeNo, user: UserNo, step: u32) {
        let token = Token { step, nth: 0 };
        let concerns = |key: MessageKey| {
            let said = &self.check.said[key as usize];
            let of = said.concerns().or(match said.route {
                Route::User(to) => Some(to),
                Route::Group(_) | Route::Relay(_) | Route::Call | Route::Everyone => None,
            });
            said.sender == user.0 || of == Some(user.0)
        };
        let is_wrong = self.check.message(token).is_some_and(|key| !concerns(key));
        let entry =
            self.stored(token).filter(|stored| is_wrong && stored.message.subject != Subject::Message);
        let bytes = entry.map_or(Bytes::from_static(b"\x07misled"), noted);
        let topic = Topic::User(self.users[user.index()].clone());
        for shard in self.shards_of(node) {
            let Some(incarnation) = self.bus.model.depart(shard) else { continue };
            let life = Life { shard, incarnation };
            let lane = self.lane(shard);
            self.trace.sends(self.now_us, self.queue.coming(), (lane, lane), || {
                (Via::Bus, "a note that misleads".to_owned())
            });
            let record = Carried::Note(Note { topic: topic.clone(), note: bytes.clone() });
            self.queue.push(self.now_us, Happening::Record { from: shard, life, record });
        }
    }
}

/// An entry as engines tell each other.
fn noted(stored: &Stored) -> Bytes {
    let message = &stored.message;
    let content = Content {
        kind: message.content_type.into(),
        text: message.content.clone(),
        file: message.url.clone(),
        subject: message.subject.clone(),
    };
    let entry = NotedEntry {
        conversation: Some(session::conversation(Peer::of(&message.recipient))),
        epoch: stored.conversation.epoch(),
        seq: stored.seq,
        message_id: Bytes::copy_from_slice(&message.id.0),
        from: message.sender.as_str().to_owned(),
        content: Some(wired(&content)),
        stored_at_ms: stored.stored_at_ms,
    };
    v1::Note { body: Some(note::Body::Entry(entry)) }.encode_to_vec().into()
}
