//! What has to happen in time: messages reach whoever they are for, and heartbeats are answered.

use super::{Spec, calls::CallKey, is_stored};
use crate::{
    check::{ConnKey, MessageKey, Route, Said},
    schedule::Settings,
    wire::{Token, session::Peer},
};

/// Something that has to have happened when its time comes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Duty {
    /// The recipients have heard a message.
    Deliver { key: MessageKey },
    /// The answer to a connection's so-many-th heartbeat has been heard.
    Answer { conn: ConnKey, nth: u32, since_us: u64 },
    /// What a session asked then has been answered.
    Reply { conn: ConnKey, since_us: u64 },
    /// A session has been told the heads that it asked for then.
    Heads { conn: ConnKey, since_us: u64 },
    /// A classic client that was welcomed then has heard what it had missed.
    Missed { conn: ConnKey, since_us: u64 },
    /// The same of what came while it caught up.
    Withheld { conn: ConnKey, key: MessageKey },
    /// A sign that somebody types has been heard.
    Typing { place: u32 },
    /// What the servers have said has been heard.
    Notice { place: u32 },
    /// All who are rung have heard it.
    Rung { conn: ConnKey, id: CallKey, since_us: u64 },
    /// Nobody rings at somebody who is not there.
    Reached { conn: ConnKey, id: CallKey, since_us: u64 },
    /// A call goes on for a reason.
    Hangs { conn: ConnKey, id: CallKey },
    /// What cannot be said of a call was answered.
    Refused { conn: ConnKey, id: Option<CallKey>, since_us: u64 },
    /// A signal has been heard.
    Signalled { token: Token },
    /// A session has been told how it is with a user whom it watches.
    Presence { conn: ConnKey, user: u16 },
    /// An application believes no more that somebody types of whom nothing was heard since then.
    TypistForgotten { client: u16, peer: Peer, user: u16, since_us: u64 },
}

/// How long a message may take from its arrival at a server to the last recipient's ear, when nothing is wrong.
pub(super) fn bound_us(s: &Settings) -> u64 {
    let store_us = s.store_delay_us + s.store_jitter_us + s.answer_jitter_us + 100;
    let bus_us = s.bus_delay_us + s.bus_jitter_us + 20;
    let net_us = s.net_delay_us + s.net_jitter_us;
    // Files of one connection are kept one after the other, and everything behind them waits.
    let files = s.pending_per_connection.min(256) + 2;
    // What is before it in the recipient's outbox leaves in as many parts as fill the kernel's buffer.
    let parts = s.outbox_bytes.div_ceil(s.socket_bytes) + 2;
    files * store_us + bus_us + parts * net_us + 1000
}

/// How long a session's question may take to its answer, whatever the store does: its user is loaded, or that is given
/// up, and then the store answers, or that is given up.
pub(super) fn answer_us(s: &Settings) -> u64 {
    2 * s.request_timeout_ms * 1000 + bound_us(s) + 1_000_000
}

impl Spec {
    pub(super) fn judge(&mut self, duty: Duty, said: &[Said]) {
        match duty {
            Duty::Deliver { key } => self.judge_delivery(key, &said[key as usize]),
            Duty::Answer { conn, nth, since_us } => {
                let line = &self.lines[conn as usize];
                if line.answered < nth && self.is_healthy(conn, since_us) {
                    self.unheard(since_us, |spec| format!("{}'s heartbeat is not answered", spec.name(conn)));
                }
            }
            Duty::Reply { conn, since_us } => self.judge_reply(conn, since_us),
            Duty::Heads { conn, since_us } => self.judge_heads(conn, since_us),
            Duty::Missed { conn, since_us } => self.judge_missed(conn, since_us, said),
            Duty::Withheld { conn, key } => self.judge_withheld(conn, key, &said[key as usize]),
            Duty::Typing { place } => self.judge_typing(place),
            Duty::Notice { place } => self.judge_notice(place),
            Duty::Presence { conn, user } => self.judge_presence(conn, user),
            Duty::Rung { conn, id, since_us } => self.judge_rung(conn, id, since_us),
            Duty::Reached { conn, id, since_us } => self.judge_reached(conn, id, since_us),
            Duty::Hangs { conn, id } => self.judge_hang(conn, id),
            Duty::Refused { conn, id, since_us } => self.judge_refused(conn, id, since_us),
            Duty::Signalled { token } => self.judge_signal(token),
            Duty::TypistForgotten { client, peer, user, since_us } => {
                self.judge_typist(client, peer, user, since_us);
            }
        }
    }

    fn judge_delivery(&mut self, key: MessageKey, said: &Said) {
        let word = self.words[key as usize];
        let since_us = word.received_us;
        let origin = &self.lines[word.conn as usize];
        let stored = is_stored(said.route);
        if stored && !self.health.store_was_well(since_us) {
            self.lines[word.conn as usize].entangled = true;
            return;
        }
        let known = |user: u16| user < self.limits.known_users;
        if stored && said.empty_file {
            return;
        }
        if stored && (!known(said.sender) || matches!(said.route, Route::User(to) if !known(to))) {
            return;
        }
        let excused = origin.refused || (stored && origin.entangled);
        // What is said before the welcome counts with it; of a connection that ends before, there is a limit.
        let late = origin.welcomed_us.is_none_or(|at_us| at_us > since_us)
            && (!origin.open || !self.health.store_was_well(since_us));
        // What a session submits may be turned away, which it is told.
        let turned_away = said.is_session && word.commits == 0;
        if word.received > 1
            || excused
            || turned_away
            || late
            || !self.health.node_was_well(origin.node, since_us)
        {
            return;
        }
        match said.route {
            Route::User(user) => {
                self.expect(key, said, user);
                if user != said.sender {
                    // Their other sessions.
                    self.expect(key, said, said.sender);
                }
            }
            Route::Relay(user) => self.expect(key, said, user),
            Route::Group(group) => {
                // What a session says the store alone decides.
                let is_accepted = said.is_session && word.commits > 0;
                let is_muted = || self.may_be_muted(group, said.sender, since_us, word.clock_ms);
                let may_say =
                    is_accepted || (self.health.was_member(group, said.sender, since_us) && !is_muted());
                if self.limits.groups_are_limited || !may_say {
                    return;
                }
                if let Some(user) = said.concerns() {
                    self.expect(key, said, user);
                }
                for user in 0..self.present.len() as u16 {
                    if self.health.was_member(group, user, since_us) {
                        self.expect(key, said, user);
                    }
                }
            }
            Route::Everyone => (0..self.present.len() as u16).for_each(|user| self.expect(key, said, user)),
            Route::Call => {}
        }
    }

    /// All healthy connections of a user must have heard a message.
    fn expect(&mut self, key: MessageKey, said: &Said, user: u16) {
        let Some(present) = self.present.get(user as usize) else { return };
        let deaf = present.iter().copied().filter(|conn| self.lacks(*conn, key, said));
        let (late, deaf): (Vec<_>, Vec<_>) = deaf.partition(|conn| self.may_catch_up(*conn, said));
        late.into_iter().for_each(|conn| self.judge_later(conn, Duty::Withheld { conn, key }));
        if let Some(conn) = deaf.first() {
            self.left_out(*conn, key, said);
        }
    }

    /// Whether a connection must have heard a message, and has not.
    pub(super) fn lacks(&self, conn: ConnKey, key: MessageKey, said: &Said) -> bool {
        let word = self.words[key as usize];
        let line = &self.lines[conn as usize];
        let is_session = line.talk.is_some();
        let everyone = said.route == Route::Everyone;
        let (stored, to_self) = (is_stored(said.route), said.route == Route::User(said.sender));
        // A sender's classic clients are sent no copy.
        let copied =
            is_session || ((said.sender != line.user || everyone || !stored || to_self) && !said.is_entry());
        !self.has_heard(line.client, key)
            && copied
            && (stored || !is_session)
            && !self.may_have_lagged(conn, word.received_us)
            && (everyone || conn != word.conn)
            && self.is_healthy(conn, word.received_us)
            && self.is_reached(word.conn, conn, word.received_us)
    }

    pub(super) fn left_out(&mut self, conn: ConnKey, key: MessageKey, said: &Said) {
        self.unheard(self.words[key as usize].received_us, |spec| {
            let circumstance = spec.circumstance(conn);
            format!("{} does not hear {}{circumstance}", spec.name(conn), kind_of(said))
        });
    }

    /// What else is known of a connection that hears nothing.
    fn circumstance(&self, conn: ConnKey) -> &'static str {
        let line = &self.lines[conn as usize];
        if self.newest[line.user as usize] != Some(conn) {
            ", and its user has connected again since"
        } else if line.outlived {
            ", and an older connection of its user has ended"
        } else {
            ""
        }
    }

    /// Whether a connection and its client have been undisturbed since then, so that what was asked is answered.
    pub(super) fn is_served(&self, conn: ConnKey, since_us: u64) -> bool {
        let line = &self.lines[conn as usize];
        line.open
            && self.health.has_read(line.client, since_us)
            && self.health.network_was_well(line.client, since_us)
            && self.health.node_was_well(line.node, since_us)
    }

    /// Whether a connection and its client have been undisturbed since then.
    pub(super) fn is_healthy(&self, conn: ConnKey, since_us: u64) -> bool {
        let line = &self.lines[conn as usize];
        line.open
            && line.welcomed_us.is_some_and(|at_us| at_us <= since_us)
            && self.health.has_read(line.client, since_us)
            && self.health.network_was_well(line.client, since_us)
            && self.health.node_was_well(line.node, since_us)
    }

    /// Whether everything has come from one connection's shard to another's since then.
    pub(super) fn is_reached(&self, from: ConnKey, to: ConnKey, since_us: u64) -> bool {
        let (from, to) = (&self.lines[from as usize], &self.lines[to as usize]);
        from.node == to.node || self.health.bus_was_well(since_us)
    }

    pub(super) fn unheard(&mut self, since_us: u64, what: impl FnOnce(&Self) -> String) {
        let paused = self.health.somebody_paused(since_us);
        let check = if paused { "isolation" } else { "delivery" };
        self.fail(check, |spec| {
            let text = what(spec);
            if paused { format!("{text}, while somebody does not read") } else { text }
        });
    }
}

/// What a message is, in words.
pub(super) fn kind_of(said: &Said) -> String {
    let what = match said.route {
        Route::User(_) => "direct message",
        Route::Group(_) => "group message",
        Route::Relay(_) => "addressed signal",
        Route::Call => "call's signal",
        Route::Everyone => "broadcast",
    };
    format!("the {what} {}", said.token)
}
