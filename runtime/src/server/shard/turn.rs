//! The loop of a shard: it waits, does everything that has come in the meantime, and writes what follows from it.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use mio::{Events, Poll};
use switchboard_engine::{Event, Instant};

use super::{
    mailbox::{Mailbox, Taken},
    state::State,
};
use crate::server::{
    bus::Inbox,
    doorbell::{DOORBELL, Doorbell},
};

/// Events of sockets that one turn takes.
const EVENTS: usize = 1024;

/// Records of other shards that one turn takes.
const RECORDS_PER_TURN: usize = 256;

/// New connections, answers of the store, and connections whose peers have gone, that one turn takes. Each is as much work as a few
/// messages, after a restart thousands of them come at once, and those who are connected wait until the turn is over. A place
/// that is left is worth more than one that is taken, so more go than come.
const COMING_PER_TURN: usize = 128;
const ANSWERS_PER_TURN: usize = 128;
const GOING_PER_TURN: usize = 256;

/// A shard at work.
pub(super) struct Turns {
    poll: Poll,
    bell: Arc<Doorbell>,
    mailbox: Arc<Mailbox>,
    inbox: Inbox,
    /// How long frames wait for others.
    write_delay: Duration,
    /// When they are to be written, if they wait.
    write_at: Option<Instant>,
    /// The turn in which the first of the frames came about that are not written.
    since: Option<Instant>,
    state: State,
}

impl Turns {
    pub(super) fn new(
        poll: Poll,
        mailbox: Arc<Mailbox>,
        inbox: Inbox,
        write_delay: Duration,
        state: State,
    ) -> Self {
        let bell = Arc::clone(mailbox.bell());
        Self { poll, bell, mailbox, inbox, write_delay, write_at: None, since: None, state }
    }

    /// Works until the engine has stopped. Gives what is left, to be looked at.
    pub(super) fn run(mut self) -> io::Result<State> {
        let mut events = Events::with_capacity(EVENTS);
        let (mut taken, mut records) = (Taken::default(), Vec::new());
        while !self.state.is_stopped {
            let timeout = if self.bell.lie_down() { self.timeout() } else { Some(Duration::ZERO) };
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let has_rung = self.bell.answer();
            let now = self.state.tick();
            for event in events.iter().filter(|event| event.token() != DOORBELL) {
                self.state.ready(event);
            }
            self.read_again();
            self.read_ends();
            if has_rung {
                self.take_mail(&mut taken);
                self.take_records(&mut records);
            }
            if self.state.deadline().is_some_and(|at| at <= now) {
                self.state.handle_timeout();
            }
            self.state.end_logins();
            self.write(now);
            self.state.end_recorded_turn();
        }
        Ok(self.state)
    }

    /// How long there is nothing to do, if nothing comes.
    fn timeout(&mut self) -> Option<Duration> {
        if !self.state.read_again.is_empty() || !self.state.going.is_empty() {
            return Some(Duration::ZERO);
        }
        let next = [
            self.state.deadline(),
            self.state.logins.next_end(),
            self.write_at,
            self.state.recording_due_at(),
        ];
        let next = next.into_iter().flatten().min()?;
        Some(next.saturating_since(self.state.tick()))
    }

    fn read_again(&mut self) {
        for conn in std::mem::take(&mut self.state.read_again) {
            self.state.read(conn);
        }
    }

    /// Reads what is left to read of peers that have gone.
    fn read_ends(&mut self) {
        for _ in 0..GOING_PER_TURN {
            let Some(conn) = self.state.going.pop_front() else { break };
            self.state.read(conn);
        }
        if self.state.going.is_empty() {
            // Thousands go at once when a network fails, and then hardly any.
            self.state.going = VecDeque::new();
        }
    }

    fn take_mail(&mut self, taken: &mut Taken) {
        self.mailbox.take(taken, COMING_PER_TURN, ANSWERS_PER_TURN);
        if taken.more {
            self.bell.ring();
        }
        for _ in 0..ANSWERS_PER_TURN {
            let Some(event) = taken.answers.pop_front() else { break };
            self.state.handle(event);
        }
        for new in taken.connections.drain(..) {
            self.state.open(self.poll.registry(), new);
        }
        for order in taken.orders.drain(..) {
            self.state.obey(order);
        }
        for question in taken.questions.drain(..) {
            self.state.answer(question);
        }
        if taken.stop {
            self.state.handle(Event::Shutdown);
        }
    }

    fn take_records(&mut self, records: &mut Vec<switchboard_engine::Carried>) {
        if self.inbox.take(records, RECORDS_PER_TURN) {
            self.bell.ring();
        }
        records.drain(..).for_each(|record| self.state.handle(record.into()));
    }

    /// Ends the turn: others get what was published, and connections what they are sent, now or so much later.
    fn write(&mut self, now: Instant) {
        self.state.forget();
        self.state.send();
        let since = *self.since.get_or_insert(now);
        if !self.state.has_frames() {
            self.since = None;
            return self.state.observe_latency(since);
        }
        if !self.write_delay.is_zero() && *self.write_at.get_or_insert(now + self.write_delay) > now {
            return;
        }
        self.write_at = None;
        self.state.tick();
        // Who is found gone while writing is news for others.
        while self.state.has_frames() {
            self.state.flush();
            self.state.forget();
        }
        self.since = None;
        self.state.observe_latency(since);
        self.state.send();
    }
}
