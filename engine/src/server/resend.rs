//! Sending classic clients again what has not arrived. They fetch no history, so the server reads for them what was
//! stored and has not reached them, and sends it before anything newer of the same conversation.
//!
//! A Ping carries how many frames the connection had been sent before it, and its Pong shows that those have arrived.
//! What has arrived is stored per user and conversation, once every classic connection of the user here has it. When
//! a classic client connects, the store says of which logs something has not arrived; each is read from there on.

use alloc::{borrow::ToOwned as _, boxed::Box, string::String, vec::Vec};

use bytes::Bytes;
use switchboard_proto::v1::Content;

use super::{
    Server, classic,
    receipts::{Behind, Entry, Missing, Receipts, Stage},
    requests::Purpose,
    timers::Due,
    users::UserKey,
};
use crate::{
    action::Frame,
    id::{ConnId, Ticket, UserId},
    probe::{Canary, Probe, Rule},
    storage::{Answer, Head, Messages, Range, Received, Recipient, Request, StoredMessage, Subject},
    time::Instant,
};

/// What became of a message that was read for a connection.
enum Resent {
    /// It is on its way, or is not for classic clients.
    Done,
    /// There is no room for it now.
    NoRoom,
}

impl<P: Probe> Server<P> {
    /// Whether classic clients are sent again what has not arrived.
    const fn resends(&self) -> bool {
        self.config.limits.resend_messages > 0
    }

    /// Asks what a classic connection that was just welcomed is behind with. Until that is known, it is sent nothing
    /// that is in a log.
    pub(super) fn begin_catch_up(&mut self, conn: ConnId) {
        if self.resends() && !self.probe.canary(Canary::ResendForgotten) {
            let now = self.now;
            if let Some(connection) = self.connections.get_mut(conn) {
                connection.since = Some(now);
            }
            self.ask_unreceived(conn, 0);
        }
    }

    fn ask_unreceived(&mut self, conn: ConnId, after: u64) {
        let Some(user) = self.user_of(conn) else { return };
        self.probe.reached(Rule::UnreceivedAsked);
        let ticket = self.request(Purpose::Unreceived(conn), Request::LoadUnreceived { user, after });
        self.set_stage(conn, Stage::Asking { ticket, after });
    }

    fn user_of(&self, conn: ConnId) -> Option<UserId> {
        let user = self.connections.get(conn)?.user()?;
        self.users.get(user).map(|user| user.id.clone())
    }

    fn receipts(&mut self, conn: ConnId) -> Option<&mut Receipts> {
        self.connections.get_mut(conn)?.receipts.as_deref_mut()
    }

    fn set_stage(&mut self, conn: ConnId, stage: Stage) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        connection.receipts.get_or_insert_with(|| Box::new(Receipts::new(stage))).stage = stage;
        if let Some(at) = connection.receipts.as_ref().and_then(|receipts| receipts.retry_at()) {
            self.timers.set(at, Due::Resend(conn));
        }
    }

    /// The store has answered which logs a connection is behind with, or has not in time.
    pub(super) fn unreceived_answered(&mut self, conn: ConnId, answer: Answer) {
        let Some(Stage::Asking { after, .. }) = self.receipts(conn).map(|receipts| receipts.stage) else {
            return;
        };
        let (unreceived, next) = match answer {
            Answer::UnreceivedLoaded { unreceived, next } => (unreceived, next),
            // A user whom the store does not know has missed nothing.
            Answer::Refused => (Vec::new(), None),
            Answer::Failed => return self.retry_catch_up(conn, Some(after)),
            Answer::UserLoaded(_)
            | Answer::MessageStored(_)
            | Answer::FileStored { .. }
            | Answer::HeadsLoaded { .. }
            | Answer::MessagesLoaded(_)
            | Answer::MarksStored(_)
            | Answer::Seen { .. }
            | Answer::ReceivedStored
            | Answer::StoredEarlier(_)
            | Answer::Denied(_) => {
                self.stats.driver_faults += 1;
                return self.retry_catch_up(conn, Some(after));
            }
        };
        let all_fit = unreceived.into_iter().all(|(head, received)| self.fall_behind(conn, head, &received));
        match next.filter(|_| all_fit) {
            Some(after) => self.ask_unreceived(conn, after),
            None => {
                self.read_next(conn);
                // What has arrived at other connections had to wait for what this one lacks.
                if let Some(user) = self.connections.get(conn).and_then(|connection| connection.user()) {
                    self.tell_received(user);
                }
            }
        }
    }

    /// A log is behind for a connection: all of it that has not arrived, or the newest part. Returns whether there was
    /// room to remember that; what is not sent now is sent to the user's next connection.
    fn fall_behind(&mut self, conn: ConnId, head: Head, received: &Received) -> bool {
        let limits = &self.config.limits;
        let limit_logs = to_usize(limits.resend_conversations);
        let newest = head.seq.saturating_sub(u64::from(limits.resend_messages)) + 1;
        let first = head.first_seq.max(received.seq.saturating_add(1));
        let Head { conversation, epoch, seq: until, .. } = head;
        let Some(receipts) = self.receipts(conn) else { return false };
        if newest > first {
            receipts.give_up(&conversation, epoch, newest - 1);
        }
        let at = Entry { conversation, epoch, seq: first.max(newest) };
        let fits = receipts.fall_behind(at, until, limit_logs);
        if newest > first {
            self.probe.reached(Rule::ResendCut);
            self.stats.resend_given_up += newest - first;
        }
        self.probe.reached(if fits { Rule::FellBehind } else { Rule::ResendOverLimit });
        self.stats.resend_over_limit += u64::from(!fits);
        fits
    }

    /// Reads on for a connection, if it is behind with anything.
    fn read_next(&mut self, conn: ConnId) {
        let Some(reader) = self.user_of(conn) else { return };
        let limits = &self.config.limits;
        let (limit, limit_bytes) = (limits.page_messages, limits.page_bytes);
        let Some(receipts) = self.receipts(conn) else { return };
        let Some(Behind { conversation, next_seq, .. }) = receipts.next_log() else {
            receipts.stage = Stage::InStep;
            return self.forget_receipts(conn);
        };
        let (conversation, from_seq) = (conversation.clone(), *next_seq);
        let range = Range { reader, conversation, from_seq, backwards: false, limit, limit_bytes };
        self.probe.reached(Rule::ResendRead);
        let ticket = self.request(Purpose::Missed(conn), Request::LoadMessages(Box::new(range)));
        self.set_stage(conn, Stage::Reading { ticket });
    }

    /// The store has answered with a part of a log that a connection is behind with, or has not in time.
    pub(super) fn missed_answered(&mut self, conn: ConnId, answer: Answer) {
        let Some(Stage::Reading { .. }) = self.receipts(conn).map(|receipts| receipts.stage) else { return };
        match answer {
            Answer::MessagesLoaded(part) => self.resend(conn, part),
            // It is the user's conversation no more.
            Answer::Refused => {
                self.probe.reached(Rule::ResendRefused);
                self.receipts(conn).map(|receipts| receipts.behind.pop_front());
                self.read_next(conn);
            }
            Answer::Failed => self.retry_catch_up(conn, None),
            Answer::UserLoaded(_)
            | Answer::MessageStored(_)
            | Answer::FileStored { .. }
            | Answer::HeadsLoaded { .. }
            | Answer::UnreceivedLoaded { .. }
            | Answer::MarksStored(_)
            | Answer::Seen { .. }
            | Answer::ReceivedStored
            | Answer::StoredEarlier(_)
            | Answer::Denied(_) => {
                self.stats.driver_faults += 1;
                self.retry_catch_up(conn, None);
            }
        }
    }

    /// Whether a classic connection is to be asked what has arrived.
    pub(super) fn wants_ping(&self, conn: ConnId) -> bool {
        let receipts = self.connections.get(conn).and_then(|connection| connection.receipts.as_ref());
        receipts.is_some_and(|receipts| receipts.wants_ping())
    }

    /// Tries again later: to ask from there on what a connection is behind with, or to read that.
    fn retry_catch_up(&mut self, conn: ConnId, after: Option<u64>) {
        self.probe.reached(Rule::ResendFailed);
        self.stats.resend_failed += 1;
        if self.probe.canary(Canary::ResendNotRetried) {
            return self.set_stage(conn, Stage::InStep);
        }
        let retry_at = self.now + self.config.reload_interval;
        let stage =
            after.map_or(Stage::ReadInVain { retry_at }, |after| Stage::AskedInVain { retry_at, after });
        self.set_stage(conn, stage);
    }

    /// What was in vain is tried again.
    pub(super) fn resend_due(&mut self, conn: ConnId) {
        match self.receipts(conn).map(|receipts| receipts.stage) {
            Some(Stage::AskedInVain { after, .. }) => self.ask_unreceived(conn, after),
            Some(Stage::ReadInVain { .. }) => self.read_next(conn),
            Some(Stage::Asking { .. } | Stage::Reading { .. } | Stage::Draining | Stage::InStep) | None => {}
        }
    }

    /// Sends a connection a part of a log, as far as there is room.
    fn resend(&mut self, conn: ConnId, part: Messages) {
        let Some(user) = self.user_of(conn) else { return };
        let Messages { epoch, head_seq, messages, .. } = part;
        let front = self.receipts(conn).and_then(|receipts| receipts.behind.front().cloned());
        let Some(Behind { conversation, epoch: expected, next_seq, until, .. }) = front else { return };
        // Another log has taken its place; of that one nothing has arrived, and the user's next connection is told so.
        let mut is_over = epoch != expected || messages.is_empty();
        for message in messages.into_iter().filter(|_| epoch == expected) {
            let seq = message.seq;
            if seq < next_seq {
                continue;
            }
            let entry = Entry { conversation: conversation.clone(), epoch, seq };
            match self.resend_one(conn, &user, entry, message) {
                Resent::Done => {}
                Resent::NoRoom => break,
            }
            if let Some(receipts) = self.receipts(conn) {
                receipts.sent_up_to(seq);
            }
            is_over = seq >= until.max(head_seq);
        }
        let now = self.now;
        if is_over && let Some(receipts) = self.receipts(conn) {
            receipts.catch_up(now);
            self.probe.reached(Rule::CaughtUp);
        }
        self.go_on_when_written(conn);
    }

    /// Reads on when all that was read is written and enough of it has arrived: what is remembered is bounded.
    fn go_on_when_written(&mut self, conn: ConnId) {
        self.set_stage(conn, Stage::Draining);
        if self.receipts_are_many(conn) && self.wants_ping(conn) {
            self.probe.reached(Rule::ResendPaced);
            self.ping(conn);
        }
        self.read_on(conn);
    }

    /// Whether so much was sent to a connection and may not have arrived that it is not sent more of logs.
    fn receipts_are_many(&self, conn: ConnId) -> bool {
        let receipts = self.connections.get(conn).and_then(|connection| connection.receipts.as_ref());
        let limit = to_usize(self.config.limits.receipts_per_connection) / 2;
        receipts.is_some_and(|receipts| receipts.in_flight() >= limit)
    }

    /// Everything that waited for a classic connection has been written, or something has arrived: it may be sent more.
    pub(super) fn read_on(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get(conn) else { return };
        let is_draining = connection.receipts.as_ref().is_some_and(|r| r.stage == Stage::Draining);
        if is_draining && connection.outbox.unflushed_frames() == 0 && !self.receipts_are_many(conn) {
            self.read_next(conn);
        }
    }

    /// Sends a message of a log if it is for a classic client and there is room; else it counts as sent.
    fn resend_one(&mut self, conn: ConnId, user: &UserId, entry: Entry, message: StoredMessage) -> Resent {
        if self.receipts_are_many(conn) && !self.is_late(conn) {
            return Resent::NoRoom;
        }
        let is_own = message.sender == *user && !self.probe.canary(Canary::ResendsOwn);
        let is_message = message.subject == Subject::Message && !message.is_recalled;
        if is_message && !is_own {
            let frame = resent_form(user, &entry.conversation, message, &self.probe);
            let (limit, lag) = (self.config.limits.outbox_bytes, self.config.limits.lag_bytes);
            let Some(connection) = self.connections.get_mut(conn) else { return Resent::NoRoom };
            // As much as makes a session lag; a single one may be as large as the outbox.
            let waits = connection.outbox.unflushed_frames() > 0;
            if !connection.outbox.push(frame.len(), if waits { lag } else { limit }) {
                if waits {
                    self.probe.reached(Rule::ResendWaits);
                    return Resent::NoRoom;
                }
                // It has grown beyond all that may wait; nobody will ever be sent it.
                self.stats.resend_given_up += 1;
            } else {
                self.probe.reached(Rule::Resent);
                self.stats.pushes += 1;
                self.stats.resent += 1;
                let mark = self.effects.mark();
                self.effects.recipient(conn);
                self.effects.send(mark, Frame::Message(frame));
            }
        }
        self.remember_sent(conn, entry);
        Resent::Done
    }

    /// Something in a log is among the frames that a connection has been sent so far.
    fn remember_sent(&mut self, conn: ConnId, entry: Entry) {
        let (limit, interval) =
            (to_usize(self.config.limits.receipts_per_connection), self.config.receipt_interval);
        let due = self.now + interval;
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if !connection.remember(entry, limit) {
            self.probe.reached(Rule::ReceiptsFull);
            self.stats.receipts_over_limit += 1;
        }
        self.look_at(conn, due);
    }

    /// Moves a connection's deadline to a time, unless it is earlier already.
    fn look_at(&mut self, conn: ConnId, at: Instant) {
        if self.connections.get(conn).is_some_and(|connection| connection.deadline.is_none_or(|due| due > at))
        {
            self.set_deadline(conn, Some(at));
        }
    }

    /// A Pong has come back: what was sent before its Ping has arrived.
    pub(super) fn classic_ponged(&mut self, conn: ConnId, payload: &Bytes) {
        let Ok(position) = <[u8; 8]>::try_from(payload.as_ref()).map(u64::from_be_bytes) else { return };
        let is_all = self.probe.canary(Canary::PongCountsTooMuch);
        let Some(receipts) = self.receipts(conn) else { return };
        if !receipts.pong(position, is_all) {
            return;
        }
        self.probe.reached(Rule::Arrived);
        if let Some(user) = self.connections.get(conn).and_then(|connection| connection.user()) {
            self.tell_received(user);
        }
        self.read_on(conn);
    }

    /// Tells the store what has arrived at all classic connections of a user that are here.
    fn tell_received(&mut self, user: UserKey) {
        let Some((id, conns)) = self.users.get(user).map(|user| (user.id.clone(), user.conns.clone())) else {
            return;
        };
        for conn in &conns {
            let missing = self.missing(conns.iter().filter(|other| *other != conn));
            while let Some(news) = self.receipts(*conn).and_then(|receipts| receipts.news(&id, &missing)) {
                self.probe.reached(Rule::ReceivedTold);
                self.stats.received_told += 1;
                let request = Request::StoreReceived(Box::new(news.clone()));
                let ticket = self.request(Purpose::Received(*conn), request);
                if let Some(receipts) = self.receipts(*conn) {
                    receipts.tell(ticket, &news);
                }
            }
        }
    }

    /// What some connections lack.
    fn missing<'a>(&self, conns: impl Iterator<Item = &'a ConnId>) -> Missing {
        let mut missing = Missing::default();
        if self.probe.canary(Canary::OneDeviceIsEnough) {
            return missing;
        }
        for conn in conns {
            if let Some(receipts) = self.connections.get(*conn).and_then(|c| c.receipts.as_deref()) {
                missing.add(receipts);
            }
        }
        missing
    }

    /// The store has answered about what has arrived, or has not in time.
    pub(super) fn received_answered(&mut self, conn: ConnId, ticket: Ticket, answer: &Answer) {
        let is_done = match answer {
            // Of another log, or of a conversation that is not the user's any more: there is nothing to remember.
            Answer::ReceivedStored | Answer::Refused => true,
            Answer::Failed => {
                self.probe.reached(Rule::ReceivedFailed);
                self.stats.resend_failed += 1;
                false
            }
            Answer::UserLoaded(_)
            | Answer::MessageStored(_)
            | Answer::FileStored { .. }
            | Answer::HeadsLoaded { .. }
            | Answer::MessagesLoaded(_)
            | Answer::UnreceivedLoaded { .. }
            | Answer::MarksStored(_)
            | Answer::Seen { .. }
            | Answer::StoredEarlier(_)
            | Answer::Denied(_) => {
                self.stats.driver_faults += 1;
                false
            }
        };
        let Some(receipts) = self.receipts(conn) else { return };
        receipts.told(ticket, is_done);
        self.forget_receipts(conn);
        // More may have arrived meanwhile. What failed is told with what arrives next.
        if is_done && let Some(user) = self.connections.get(conn).and_then(|connection| connection.user()) {
            self.tell_received(user);
        }
    }

    /// Forgets what is known of a connection's receiving, if that is nothing.
    fn forget_receipts(&mut self, conn: ConnId) {
        if let Some(connection) = self.connections.get_mut(conn)
            && connection.receipts.as_ref().is_some_and(|receipts| receipts.is_empty())
        {
            connection.receipts = None;
        }
    }

    /// A classic connection is looked at: nothing that was delivered that long ago is on its way any more.
    pub(super) fn forget_caught(&mut self, conn: ConnId) {
        let then = Instant::from_nanos(
            self.now.as_nanos().saturating_sub(crate::time::nanos(self.config.request_timeout)),
        );
        if let Some(receipts) = self.receipts(conn) {
            receipts.forget_caught(then);
            self.forget_receipts(conn);
        }
    }

    /// A classic connection that answers no Ping gets on all the same, more slowly, with what it has missed.
    pub(super) fn read_on_anyway(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get(conn) else { return };
        let is_draining = connection.receipts.as_ref().is_some_and(|r| r.stage == Stage::Draining);
        if is_draining && self.is_late(conn) && connection.outbox.unflushed_frames() == 0 {
            self.read_next(conn);
        }
    }

    /// Whether a connection should have answered its last Ping by now.
    fn is_late(&self, conn: ConnId) -> bool {
        let connection = self.connections.get(conn);
        connection.is_some_and(|connection| self.now >= connection.pinged_at + self.config.receipt_interval)
    }

    /// A classic connection ends. What it lacks is missing, unless a newer connection of the user came after the last
    /// sign of life of this one: then that one has taken its place, and was sent all of it.
    pub(super) fn end_receipts(&mut self, conn: ConnId, user: UserKey) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let last_heard = connection.received_at;
        let Some(receipts) = connection.receipts.take() else { return };
        if let Some(at) = receipts.retry_at() {
            self.timers.cancel(at, Due::Resend(conn));
        }
        for ticket in receipts.tickets() {
            self.requests.close(ticket);
        }
        let others = self.users.get(user).map(|user| user.conns.clone()).unwrap_or_default();
        if others.iter().all(|other| *other == conn) {
            return;
        }
        let mut lacks = Missing::default();
        lacks.add(&receipts);
        for other in others.into_iter().filter(|other| *other != conn) {
            let Some(connection) = self.connections.get_mut(other) else { continue };
            let (since, Some(receipts)) = (connection.since, &mut connection.receipts) else { continue };
            if since.is_some_and(|since| since >= last_heard) {
                self.probe.reached(Rule::ReplacedByNewer);
            } else if !self.probe.canary(Canary::LossForgotten) {
                receipts.forget_missing(&lacks);
            }
            self.forget_receipts(other);
        }
        self.tell_received(user);
    }
}

/// A stored message in the form for a classic client that was not sent it when it was stored.
fn resent_form(user: &UserId, of: &Recipient, message: StoredMessage, probe: &impl Probe) -> Bytes {
    let StoredMessage { sender, sender_name, avatar, content_type, content, url, .. } = message;
    let content = Content {
        kind: content_type.into(),
        text: String::from(content),
        file: String::from(url),
        ..Content::default()
    };
    let (to, is_group) = match of {
        Recipient::User(_) => (user.as_str(), false),
        Recipient::Group(group) => (group.as_str(), true),
    };
    let mut message = classic::message_of(&sender, to, is_group, (*avatar).to_owned(), content);
    message.from_username = String::from(sender_name);
    if is_group { classic::group_form(message, probe) } else { classic::encode(&message) }
}

fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
