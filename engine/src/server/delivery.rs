//! From a frame to its recipients: who is online, what their outboxes have room for.

use alloc::vec::Vec;

use bytes::Bytes;
use switchboard_proto::{
    Message as _,
    v1::{self, note},
};

use super::{
    Server,
    connections::Connection,
    effects::Effects,
    letter::Letter,
    outbox::StreamOutcome,
    receipts::{Entry, Fate},
    timers::{Due, Timers},
    users::{User, UserKey},
};
use crate::{
    action::{Action, Frame},
    bus::{Note, Record, Topic},
    close::CloseReason,
    config::{ServerConfig, to_usize},
    id::{ConnId, UserId},
    probe::{Canary, Probe, Rule},
    stats::Stats,
    storage::{Place, Recipient},
    time::Instant,
};

/// Signs of typing are pushed to a session while less waits for it than this part of `lag_bytes`.
const TYPING_LAG_SHARE: u64 = 4;

/// What a frame is to its recipients' outboxes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind<'a> {
    /// One of many that all count.
    Ordinary,
    /// A stored message, for classic clients: it is remembered until it has arrived.
    Stored { conversation: &'a Recipient, place: Place },
    /// A live picture of this sender: worth nothing once there is a newer one.
    Stream { sender: &'a UserId, content_type: i32 },
    /// What the store has, for sessions: they find out what they miss, so they may miss it.
    Delivery,
    /// What the server says, for sessions. It can be read nowhere else, so who lags is told too, as long as there is room.
    Notice,
    /// Who is typing, for sessions. Worth nothing to who reads slowly, so it never makes anybody lag.
    Typing,
}

/// One frame on its way to any number of connections.
struct FanOut<'a, P> {
    frame: &'a Bytes,
    kind: Kind<'a>,
    effects: &'a mut Effects,
    stats: &'a mut Stats,
    config: &'a ServerConfig,
    timers: &'a mut Timers,
    now: Instant,
    overfull: &'a mut Vec<ConnId>,
    probe: &'a mut P,
}

impl<P: Probe> FanOut<'_, P> {
    /// Adds the connection to the recipients if it speaks the frame's protocol, is online and has room.
    fn offer(&mut self, connection: &mut Connection) {
        if connection.session.is_some() != matches!(self.kind, Kind::Delivery | Kind::Notice | Kind::Typing) {
            return;
        }
        if connection.is_online() {
            self.add(connection);
        } else {
            self.probe.reached(Rule::NotOnlineYet);
        }
    }

    /// Adds the connection to the recipients if it has room.
    fn add(&mut self, connection: &mut Connection) {
        if self.probe.canary(Canary::FullEndsFanOut) && !self.overfull.is_empty() {
            return;
        }
        if let Kind::Stored { conversation, place } = self.kind
            && !self.is_due(connection, conversation, place)
        {
            return;
        }
        self.stats.pushes += 1;
        let unlimited = self.probe.canary(Canary::OutboxUnlimited);
        let limit_bytes = if unlimited { u64::MAX } else { self.config.limits.outbox_bytes };
        match self.kind {
            Kind::Ordinary | Kind::Stored { .. } => {
                if connection.outbox.push(self.frame.len(), limit_bytes) {
                    self.effects.recipient(connection.id);
                    self.remember(connection);
                } else {
                    self.probe.reached(Rule::OutboxFull);
                    self.stats.pushes_dropped_full += 1;
                    self.overfull.push(connection.id);
                }
            }
            Kind::Delivery => self.push_delivery(connection, limit_bytes),
            Kind::Notice if connection.outbox.push(self.frame.len(), limit_bytes) => {
                self.effects.recipient(connection.id);
            }
            Kind::Notice => {
                self.probe.reached(Rule::NoticeDropped);
                self.stats.pushes_dropped_full += 1;
            }
            Kind::Typing => self.push_typing(connection),
            Kind::Stream { sender, content_type } => {
                let limit_streams = self.config.limits.streams_per_connection;
                let outbox = &mut connection.outbox;
                if self.probe.canary(Canary::OldestPictureWins) && outbox.holds(sender, content_type) {
                    self.stats.pushes_dropped_superseded += 1;
                    return;
                }
                match outbox.push_stream(sender, content_type, self.frame, limit_bytes, limit_streams) {
                    StreamOutcome::Send => {
                        self.probe.reached(Rule::PictureSent);
                        self.effects.recipient(connection.id);
                    }
                    StreamOutcome::Held => self.probe.reached(Rule::PictureHeld),
                    StreamOutcome::Superseded => {
                        self.probe.reached(Rule::PictureSuperseded);
                        self.stats.pushes_dropped_superseded += 1;
                    }
                    StreamOutcome::Dropped => {
                        self.probe.reached(Rule::PictureDropped);
                        self.stats.pushes_dropped_full += 1;
                    }
                }
            }
        }
    }
}

impl<P: Probe> FanOut<'_, P> {
    /// Whether it is a stored message's turn for a connection: nothing before it in its log waits to be sent again,
    /// and it was not sent before.
    fn is_due(&mut self, connection: &mut Connection, conversation: &Recipient, place: Place) -> bool {
        let Some(receipts) = &mut connection.receipts else { return true };
        if self.probe.canary(Canary::LiveOvertakes) {
            return true;
        }
        let limit_logs = to_usize(self.config.limits.resend_conversations);
        match receipts.fate(conversation, place, limit_logs) {
            Fate::Send => return true,
            Fate::Withheld => {
                self.probe.reached(Rule::Withheld);
                self.stats.pushes_withheld += 1;
                let entry = Entry { conversation: conversation.clone(), epoch: place.epoch, seq: place.seq };
                if !receipts.hold(entry, self.frame, self.config.limits.resend_held_bytes) {
                    self.probe.reached(Rule::NotHeld);
                    self.stats.withheld_over_limit += 1;
                }
            }
            Fate::Known if self.probe.canary(Canary::CaughtUpTwice) => return true,
            Fate::Known => self.probe.reached(Rule::SentBefore),
            Fate::NoRoom => {
                self.probe.reached(Rule::ResendOverLimit);
                self.stats.resend_over_limit += 1;
            }
        }
        false
    }

    /// Remembers a stored message that was sent to a classic client until it has arrived, and has a Ping ask for that
    /// in time.
    fn remember(&mut self, connection: &mut Connection) {
        let Kind::Stored { conversation, place } = self.kind else { return };
        let limits = &self.config.limits;
        if limits.resend_messages == 0 || place.seq == 0 {
            return;
        }
        let Place { epoch, seq, .. } = place;
        let is_first = !connection.receipts.as_ref().is_some_and(|receipts| receipts.wants_ping());
        if !connection.remember(Entry { conversation: conversation.clone(), epoch, seq }, limits) {
            self.probe.reached(Rule::ReceiptsFull);
            self.stats.receipts_over_limit += 1;
        }
        let due = self.now + self.config.receipt_interval;
        if is_first && let Some(at) = connection.deadline.filter(|at| *at > due) {
            self.timers.cancel(at, Due::Connection(connection.id));
            self.timers.set(due, Due::Connection(connection.id));
            connection.deadline = Some(due);
        }
    }

    /// Pushes to a session what it is behind by at the most. One frame may be as large as the outbox.
    fn push_delivery(&mut self, connection: &mut Connection, limit_bytes: u64) {
        let Some(session) = &mut connection.session else { return };
        let waits = connection.outbox.unflushed_frames() > 0;
        let limit_bytes = if waits { self.config.limits.lag_bytes } else { limit_bytes };
        if !session.is_lagging && connection.outbox.push(self.frame.len(), limit_bytes) {
            return self.effects.recipient(connection.id);
        }
        if !waits {
            // Larger than all that may wait. Its next heads or message tell the client of it.
            self.probe.reached(Rule::OutboxFull);
            self.stats.pushes_dropped_full += 1;
            return;
        }
        self.probe.reached(if session.is_lagging { Rule::LaggingDropped } else { Rule::Lagging });
        self.stats.pushes_dropped_lagging += 1;
        session.is_lagging = true;
    }
}

impl<P: Probe> FanOut<'_, P> {
    /// Pushes to a session for which less waits than what makes it lag, by far.
    fn push_typing(&mut self, connection: &mut Connection) {
        if self.probe.canary(Canary::TypingMakesLag) {
            return self.push_delivery(connection, self.config.limits.outbox_bytes);
        }
        let is_lagging = connection.session.as_ref().is_none_or(|session| session.is_lagging);
        let limit_bytes = self.config.limits.lag_bytes / TYPING_LAG_SHARE;
        if !is_lagging && connection.outbox.push(self.frame.len(), limit_bytes) {
            return self.effects.recipient(connection.id);
        }
        self.probe.reached(Rule::TypingDropped);
        self.stats.pushes_dropped_typing += 1;
    }
}

/// Borrows the parts of a server that a fan-out changes, so that it can read its recipients from the rest.
macro_rules! fan_out {
    ($server:ident, $frame:expr, $kind:expr) => {
        FanOut {
            frame: $frame,
            kind: $kind,
            effects: &mut $server.effects,
            stats: &mut $server.stats,
            config: &$server.config,
            timers: &mut $server.timers,
            now: $server.now,
            overfull: &mut $server.overfull,
            probe: &mut $server.probe,
        }
    };
}

impl<P: Probe> Server<P> {
    /// Delivers a stored message to all who are entitled to it and here, but the connection that it came over.
    pub(super) fn deliver(&mut self, letter: &Letter<'_>, origin: Option<ConnId>) {
        let as_user = self.probe.canary(Canary::GroupTakenForUser);
        let any_sessions = self.users.sessions() > 0;
        match letter.recipient {
            Recipient::User(user) => {
                self.probe.reached(Rule::DeliveredToUser);
                let origin = origin.filter(|_| !self.probe.canary(Canary::OwnDeviceEchoed));
                self.deliver_classic_to_user(user.as_str(), letter, origin);
                if any_sessions {
                    self.deliver_to_devices(user, letter, &Recipient::User(letter.sender.clone()), origin);
                }
            }
            Recipient::Group(group) if as_user => {
                self.deliver_classic_to_user(group.as_str(), letter, origin);
            }
            Recipient::Group(group) => {
                self.probe.reached(Rule::DeliveredToGroup);
                let (group, sender) = (group.as_str(), letter.sender);
                if self.has_classic(letter, || {
                    self.is_any_member(group, |user| user.conns.len() > user.sessions)
                }) {
                    let frame = letter.classic(&self.probe);
                    let kind = Kind::Stored { conversation: letter.recipient, place: letter.place };
                    self.deliver_to_group(group, frame, kind, sender, origin);
                }
                if any_sessions && self.is_any_member(group, |user| user.sessions > 0) {
                    self.probe.reached(Rule::DeliveredToSession);
                    let frame = letter.delivery(letter.recipient, &self.probe);
                    self.deliver_to_group(group, frame, Kind::Delivery, sender, origin);
                }
            }
        }
    }

    /// Delivers what its sender has sent to another user to the sender's own sessions, but the one it came over.
    pub(super) fn deliver_to_own_devices(&mut self, letter: &Letter<'_>, origin: Option<ConnId>) {
        if self.probe.canary(Canary::OwnCopyToClassic) {
            self.deliver_classic_to_user(letter.sender.as_str(), letter, origin);
        }
        if self.users.sessions() > 0 && !self.probe.canary(Canary::OwnDevicesLeftOut) {
            self.deliver_to_devices(letter.sender, letter, letter.recipient, origin);
        }
    }

    fn deliver_classic_to_user(&mut self, user: &str, letter: &Letter<'_>, origin: Option<ConnId>) {
        let has_classic = |user: &User| user.conns.len() > user.sessions;
        if self.has_classic(letter, || self.users.by_id(user).is_some_and(has_classic)) {
            let conversation = Recipient::User(letter.sender.clone());
            let kind = Kind::Stored { conversation: &conversation, place: letter.place };
            self.deliver_to_user(user, letter.classic(&self.probe), kind, origin);
        }
    }

    /// Whether the classic form of a letter is to be delivered, where `is_wanted` tells whether somebody needs it.
    fn has_classic(&self, letter: &Letter<'_>, is_wanted: impl FnOnce() -> bool) -> bool {
        if letter.is_for_sessions() && !self.probe.canary(Canary::EntryToClassic) {
            return false;
        }
        // What came from a classic client is in its form already.
        letter.is_classic() || is_wanted()
    }

    /// Delivers a change of a group to the sessions of whom it concerns, unless the group's members are told and
    /// that is one of them.
    pub(super) fn deliver_to_concerned(&mut self, letter: &Letter<'_>, origin: Option<ConnId>) {
        let (Some(user), Recipient::Group(group)) = (letter.concerns(), letter.recipient) else { return };
        let is_told = |key: UserKey| {
            let group = self.users.group_by_id(group.as_str());
            group.is_some_and(|group| group.members.contains(&key))
        };
        let stranger = self.users.key(user.as_str()).is_some_and(|key| !is_told(key));
        if stranger && !self.probe.canary(Canary::ConcernedLeftOut) {
            self.probe.reached(Rule::DeliveredToConcerned);
            self.deliver_to_devices(user, letter, letter.recipient, origin);
        }
    }

    /// Delivers to a user's sessions, to whom the conversation is this one.
    pub(super) fn deliver_to_devices(
        &mut self,
        user: &UserId,
        letter: &Letter<'_>,
        conversation: &Recipient,
        origin: Option<ConnId>,
    ) {
        let sessions = self.users.by_id(user.as_str()).map(|user| (user.sessions, user.conns.as_slice()));
        let Some((sessions, conns)) = sessions.filter(|(sessions, _)| *sessions > 0) else { return };
        if sessions == 1 && conns.len() == 1 && conns.first() == origin.as_ref() {
            return;
        }
        self.probe.reached(if user == letter.sender {
            Rule::DeliveredToOwnDevices
        } else {
            Rule::DeliveredToSession
        });
        let frame = letter.delivery(conversation, &self.probe);
        self.deliver_to_user(user.as_str(), frame, Kind::Delivery, origin);
    }

    fn is_any_member(&self, group: &str, is: impl Fn(&User) -> bool) -> bool {
        let members = self.users.group_by_id(group).map(|group| &group.members);
        members.into_iter().flatten().any(|member| self.users.get(*member).is_some_and(&is))
    }

    /// Sends a frame to all connections of a user that speak its protocol, but one.
    pub(super) fn deliver_to_user(
        &mut self,
        user: &str,
        frame: Bytes,
        kind: Kind<'_>,
        except: Option<ConnId>,
    ) {
        self.deliver_to_key(self.users.key(user), frame, kind, except);
    }

    /// The same, to a user who was looked up.
    pub(super) fn deliver_to_key(
        &mut self,
        user: Option<UserKey>,
        frame: Bytes,
        kind: Kind<'_>,
        except: Option<ConnId>,
    ) {
        let user = user.and_then(|key| self.users.get(key));
        let Some(user) = user else { return self.probe.reached(Rule::RecipientNotHere) };
        let mark = self.effects.mark();
        let mut fan_out = fan_out!(self, &frame, kind);
        for conn in user.conns.iter().filter(|conn| Some(**conn) != except) {
            if let Some(connection) = self.connections.get_mut(*conn) {
                fan_out.offer(connection);
                if fan_out.probe.canary(Canary::SecondDeviceTwice) && user.conns.first() != Some(conn) {
                    fan_out.offer(connection);
                }
            }
        }
        self.send(mark, Frame::Message(frame));
    }

    /// Sends a frame to all members of a group but its sender; to the sender's other sessions too, if it is for
    /// sessions.
    pub(super) fn deliver_to_group(
        &mut self,
        group: &str,
        frame: Bytes,
        kind: Kind<'_>,
        sender: &UserId,
        origin: Option<ConnId>,
    ) {
        let Some(group) = self.users.group_by_id(group) else { return };
        let (sender, except) = match kind {
            Kind::Delivery if self.probe.canary(Canary::OwnDevicesLeftOut) => {
                (self.users.key(sender.as_str()), origin)
            }
            Kind::Delivery => (None, origin),
            Kind::Typing if self.probe.canary(Canary::TypingEchoed) => (None, origin),
            Kind::Typing => (self.users.key(sender.as_str()), None),
            Kind::Ordinary | Kind::Stored { .. } | Kind::Stream { .. } | Kind::Notice
                if self.probe.canary(Canary::EchoToSender) =>
            {
                (None, None)
            }
            Kind::Ordinary | Kind::Stored { .. } | Kind::Stream { .. } | Kind::Notice => {
                (self.users.key(sender.as_str()), None)
            }
        };
        let mark = self.effects.mark();
        let mut fan_out = fan_out!(self, &frame, kind);
        for member in group.members.iter().filter(|member| Some(**member) != sender) {
            let conns = self.users.get(*member).into_iter().flat_map(|user| &user.conns);
            for conn in conns.filter(|conn| Some(**conn) != except) {
                if let Some(connection) = self.connections.get_mut(*conn) {
                    fan_out.offer(connection);
                }
            }
        }
        self.send(mark, Frame::Message(frame));
    }

    /// Sends a frame to everybody who speaks its protocol, its sender included if it is a user's.
    pub(super) fn deliver_to_everyone(&mut self, frame: Bytes, kind: Kind<'_>, sender: Option<&UserId>) {
        let left_out = if self.probe.canary(Canary::SenderLeftOut) {
            sender.and_then(|sender| self.users.key(sender.as_str()))
        } else {
            None::<UserKey>
        };
        let mark = self.effects.mark();
        let mut fan_out = fan_out!(self, &frame, kind);
        self.connections.iter_mut().for_each(|connection| {
            if left_out.is_none() || connection.user() != left_out {
                fan_out.offer(connection);
            }
        });
        self.send(mark, Frame::Message(frame));
    }

    /// Sends a frame to one connection, which need not be online: a Ping is answered before the welcome too.
    pub(super) fn deliver_to_conn(&mut self, conn: ConnId, frame: Frame) {
        let mark = self.effects.mark();
        let mut fan_out = fan_out!(self, frame.payload(), Kind::Ordinary);
        if let Some(connection) = self.connections.get_mut(conn).filter(|conn| conn.user().is_some()) {
            fan_out.add(connection);
        }
        self.send(mark, frame);
    }

    /// Whether other engines may have connections of a user.
    pub(super) fn may_be_elsewhere(&self, user: Option<UserKey>) -> bool {
        let one_home = self.config.one_home || self.probe.canary(Canary::OneHomeAssumed);
        self.config.peers && !(one_home && user.is_some())
    }

    /// Whether what is published under a topic may be for somebody at another engine.
    fn concerns_others(&self, topic: &Topic) -> bool {
        match topic {
            Topic::User(user) if self.config.peers => self.may_be_elsewhere(self.users.key(user.as_str())),
            Topic::Everyone | Topic::User(_) | Topic::Group(_) | Topic::Presence(_) => self.config.peers,
        }
    }

    /// Hands a record to the other engines, if it concerns them.
    pub(super) fn publish(&mut self, record: Record) {
        if self.concerns_others(&record.topic) {
            self.publish_to_others(record);
        }
    }

    /// Hands a record to the other engines, of which it is known that it concerns them.
    pub(super) fn publish_to_others(&mut self, record: Record) {
        if !self.probe.canary(Canary::PublishForgotten) {
            self.probe.reached(Rule::Published);
            self.stats.published += 1;
            self.effects.push(Action::Publish(record));
        }
    }

    /// Tells the other engines something that concerns sessions, if it concerns them.
    pub(super) fn tell(&mut self, topic: Topic, body: note::Body) {
        if self.concerns_others(&topic) && !self.probe.canary(Canary::NoteForgotten) {
            self.probe.reached(Rule::NoteTold);
            self.stats.notes_told += 1;
            let note = v1::Note { body: Some(body) }.encode_to_vec().into();
            self.effects.push(Action::Tell(Note { topic, note }));
        }
    }

    /// Where the recipients begin of a frame that sessions may miss.
    pub(super) fn hints(&self) -> usize {
        self.effects.mark()
    }

    /// Adds a session to the recipients of a frame that it may miss, if it is not behind. Returns whether it is one.
    pub(super) fn offer_hint(&mut self, conn: ConnId, frame: &Bytes) -> bool {
        let mark = self.effects.mark();
        let mut fan_out = fan_out!(self, frame, Kind::Delivery);
        if let Some(connection) = self.connections.get_mut(conn) {
            fan_out.offer(connection);
        }
        self.effects.mark() > mark
    }

    /// Sends a frame to those who were added since `mark`.
    pub(super) fn send_hints(&mut self, mark: usize, frame: Bytes) {
        self.send(mark, Frame::Message(frame));
    }

    fn send(&mut self, mark: usize, frame: Frame) {
        self.effects.send(mark, frame);
        while let Some(conn) = self.overfull.pop() {
            if !self.probe.canary(Canary::SlowReaderKept) {
                self.close(conn, CloseReason::SlowReader);
            }
        }
    }
}
