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
    Server,
    behind::Behind,
    classic,
    receipts::{Entry, Receipts},
    requests::Purpose,
    stage::Stage,
    timers::Due,
};
use crate::{
    action::Frame,
    answer::Undone,
    config::to_usize,
    id::{ConnId, UserId},
    probe::{Canary, Probe, Rule},
    storage::{Answer, Head, Messages, Range, Received, Recipient, Request, StoredMessage, Subject},
    time::Instant,
};

/// What became of a message that was read for a connection.
enum Resent {
    /// It is on its way.
    Sent,
    /// It is not for classic clients, or too large for them.
    PassedOver,
    /// There is no room for it now.
    NoRoom,
}

impl<P: Probe> Server<P> {
    /// Whether classic clients are sent again what has not arrived.
    pub(super) const fn resends(&self) -> bool {
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

    pub(super) fn receipts(&mut self, conn: ConnId) -> Option<&mut Receipts> {
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
        let (unreceived, next) = match answer.into_unreceived() {
            Ok(part) => part,
            // A user whom the store does not know has missed nothing.
            Err(Undone::Refused) => (Vec::new(), None),
            Err(Undone::Failed) => return self.retry_catch_up(conn, Some(after)),
        };
        let all_fit = unreceived.into_iter().all(|(head, received)| self.fall_behind(conn, head, &received));
        match next.filter(|_| all_fit) {
            Some(after) => self.ask_unreceived(conn, after),
            None => {
                self.send_held(conn);
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

    /// Sends what was delivered meanwhile of logs that a connection is not behind with, as far as there is room.
    fn send_held(&mut self, conn: ConnId) {
        let Some(receipts) = self.receipts(conn) else { return };
        let mut due = receipts.take_due().into_iter();
        let mut rest = Vec::new();
        for (entry, frame) in due.by_ref() {
            match self.send_missed(conn, frame.clone()) {
                Resent::Sent | Resent::PassedOver => {
                    self.probe.reached(Rule::HeldSent);
                    self.remember_sent(conn, entry);
                }
                Resent::NoRoom => {
                    rest.push((entry, frame));
                    break;
                }
            }
        }
        rest.extend(due);
        if let Some(receipts) = self.receipts(conn) {
            receipts.give_back(rest);
        }
    }

    /// Reads on for a connection, if it is behind with anything.
    fn read_next(&mut self, conn: ConnId) {
        let Some(reader) = self.user_of(conn) else { return };
        let limits = &self.config.limits;
        let (limit, limit_bytes) = (limits.page_messages, limits.page_bytes);
        let takes_first_for_read = self.probe.canary(Canary::FirstTakenForRead);
        let Some(receipts) = self.receipts(conn) else { return };
        let Some(log) = receipts.next_log() else { return self.caught_up(conn) };
        if takes_first_for_read {
            log.since_seq = 0;
        }
        let (conversation, from_seq) = (log.conversation.clone(), log.next_seq);
        let range = Range { reader, conversation, from_seq, backwards: false, limit, limit_bytes };
        self.probe.reached(Rule::ResendRead);
        let ticket = self.request(Purpose::Missed(conn), Request::LoadMessages(Box::new(range)));
        self.set_stage(conn, Stage::Reading { ticket });
    }

    /// A connection is behind with nothing any more. What it was sent to that end is asked after at once: it may not stay
    /// long.
    fn caught_up(&mut self, conn: ConnId) {
        if let Some(receipts) = self.receipts(conn) {
            receipts.in_step();
        }
        if self.wants_ping(conn) {
            self.ping(conn);
        }
        self.forget_receipts(conn);
    }

    /// The store has answered with a part of a log that a connection is behind with, or has not in time.
    pub(super) fn missed_answered(&mut self, conn: ConnId, answer: Answer) {
        let Some(Stage::Reading { .. }) = self.receipts(conn).map(|receipts| receipts.stage) else { return };
        match answer.into_messages() {
            Ok(part) => self.resend(conn, part),
            // It is the user's conversation no more.
            Err(Undone::Refused) => {
                self.probe.reached(Rule::ResendRefused);
                self.receipts(conn).map(|receipts| receipts.pop_log());
                self.read_next(conn);
            }
            Err(Undone::Failed) => self.retry_catch_up(conn, None),
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
                Resent::Sent | Resent::PassedOver => {}
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
        let is_message = message.subject == Subject::Message && !message.is_recalled;
        // What has come live meanwhile is sent as it came, unless it was edited since.
        let is_edited = message.changed_seq > 0;
        let held = self.receipts(conn).and_then(|receipts| receipts.held.find(&entry).cloned());
        // What the user has said from another device to itself came live as well.
        let is_own = message.sender == *user && held.is_none() && !self.probe.canary(Canary::ResendsOwn);
        let frame = match held.filter(|_| !is_edited) {
            Some(frame) => {
                self.probe.reached(Rule::HeldSent);
                frame
            }
            None => resent_form(user, &entry.conversation, message, &self.probe),
        };
        let outcome = if is_message && !is_own {
            self.send_missed(conn, frame)
        } else if self.is_full(conn) {
            Resent::NoRoom
        } else {
            Resent::PassedOver
        };
        match outcome {
            Resent::NoRoom => {}
            Resent::Sent | Resent::PassedOver => {
                self.stats.resent += u64::from(matches!(outcome, Resent::Sent));
                if let Some(receipts) = self.receipts(conn) {
                    receipts.held.forget(&entry);
                }
                self.remember_sent(conn, entry);
            }
        }
        outcome
    }

    /// Whether so much may not have arrived that nothing more of logs is sent for now.
    fn is_full(&self, conn: ConnId) -> bool {
        self.receipts_are_many(conn) && !self.is_late(conn)
    }

    /// Sends a connection a message that it has missed, if there is room. What there will never be room for is given up.
    fn send_missed(&mut self, conn: ConnId, frame: Bytes) -> Resent {
        if self.is_full(conn) {
            return Resent::NoRoom;
        }
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
            return Resent::PassedOver;
        }
        self.probe.reached(Rule::Resent);
        self.stats.pushes += 1;
        let mark = self.effects.mark();
        self.effects.recipient(conn);
        self.effects.send(mark, Frame::Message(frame));
        Resent::Sent
    }

    /// A classic connection is looked at: nothing that was delivered that long ago is on its way any more, but for what
    /// waits for a request that is given up just now.
    pub(super) fn forget_caught(&mut self, conn: ConnId) {
        if self.next_expiry().is_some_and(|at| at <= self.now) {
            return;
        }
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
