//! What has arrived at classic clients: asked for by Pings, told by their Pongs, kept by the store.

use alloc::boxed::Box;

use bytes::Bytes;

use super::{
    Server, connections::Answers, missing::Missing, receipts::Entry, requests::Purpose, timers::Due,
    users::UserKey,
};
use crate::{
    answer::Undone,
    config::to_usize,
    id::{ConnId, Ticket},
    probe::{Canary, Probe, Rule},
    storage::{Answer, Request},
    time::Instant,
};

impl<P: Probe> Server<P> {
    /// Something in a log is among the frames that a connection has been sent so far.
    pub(super) fn remember_sent(&mut self, conn: ConnId, entry: Entry) {
        let limits = &self.config.limits;
        let due = self.now + self.config.receipt_interval;
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if !connection.remember(entry, limits) {
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
        let connection =
            self.connections.get_mut(conn).filter(|connection| position <= connection.outbox.position());
        if let Some(connection) = connection.filter(|connection| connection.answers != Answers::Unasked) {
            connection.answers = Answers::Some;
        }
        let Some(receipts) = self.receipts(conn) else { return };
        if !receipts.pong(position, is_all) {
            return;
        }
        self.probe.reached(Rule::Arrived);
        if let Some(user) = self.connections.get(conn).and_then(|connection| connection.user()) {
            self.tell_received(user);
        }
        self.read_on(conn);
        self.forget_receipts(conn);
    }

    /// Some clients answer no Pings, whatever the standard says. One that goes on living long after it was sent one is
    /// taken for such a client, and what was written to it for arrived: else each time that it connects it would be sent
    /// again all that it has ever been sent.
    pub(super) fn assume_arrived(&mut self, conn: ConnId) {
        let idle_timeout = self.config.idle_timeout;
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Answers::NoneSince(asked) = connection.answers else { return };
        let written = connection.outbox.position() - connection.outbox.unflushed_frames();
        let has_lived = connection.received_at >= asked + idle_timeout;
        let Some(receipts) = connection.receipts.as_deref_mut().filter(|_| has_lived) else { return };
        let arrived = receipts.arrive(written);
        if arrived > 0 {
            self.probe.reached(Rule::WrittenForArrived);
            self.stats.receipts_assumed += arrived;
            if let Some(user) = connection.user() {
                self.tell_received(user);
            }
            self.forget_receipts(conn);
        }
    }

    /// Tells the store what has arrived at all classic connections of a user that are here.
    pub(super) fn tell_received(&mut self, user: UserKey) {
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
                receipts.lacks(&mut missing);
            }
        }
        missing
    }

    /// The store has answered about what has arrived, or has not in time.
    pub(super) fn received_answered(&mut self, conn: ConnId, ticket: Ticket, answer: Answer) {
        let is_done = match answer.into_received() {
            // Of another log, or of a conversation that is not the user's any more: there is nothing to remember.
            Ok(()) | Err(Undone::Refused) => true,
            Err(Undone::Failed) => {
                self.probe.reached(Rule::ReceivedFailed);
                self.stats.resend_failed += 1;
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
    pub(super) fn forget_receipts(&mut self, conn: ConnId) {
        if let Some(connection) = self.connections.get_mut(conn)
            && connection.receipts.as_ref().is_some_and(|receipts| receipts.is_empty())
        {
            connection.receipts = None;
        }
    }

    /// A classic connection ends. What it lacks is missing, unless a newer connection of the user came after the last
    /// sign of life of this one: then that one has taken its place, and was sent all of it.
    pub(super) fn end_receipts(&mut self, conn: ConnId, user: UserKey) {
        self.assume_arrived(conn);
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
        let limits = &self.config.limits;
        let (limit, limit_logs) =
            (to_usize(limits.receipts_per_connection), to_usize(limits.resend_conversations));
        let mut lacks = Missing::default();
        receipts.lacks(&mut lacks);
        for other in others.into_iter().filter(|other| *other != conn) {
            let Some(connection) = self.connections.get_mut(other) else { continue };
            let (since, Some(receipts)) = (connection.since, &mut connection.receipts) else { continue };
            // In one moment, as while a clock that was set back stands still, either may have been first.
            if since.is_some_and(|since| since > last_heard) {
                self.probe.reached(Rule::ReplacedByNewer);
            } else if !self.probe.canary(Canary::LossForgotten) {
                receipts.forget_missing(&lacks);
                if !self.probe.canary(Canary::LaterLossForgotten) {
                    receipts.others_lost(&lacks, limit, limit_logs);
                }
            }
            self.forget_receipts(other);
        }
        self.tell_received(user);
    }
}
