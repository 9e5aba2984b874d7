//! How connections end: nobody's does without a reason that can be seen.

use super::Spec;
use crate::check::ConnKey;

impl Spec {
    /// Somebody's end of a connection is gone, or nothing gets through any more.
    pub(crate) fn ended(&mut self, conn: ConnKey) {
        if !self.is_on {
            return;
        }
        let line = &mut self.lines[conn as usize];
        line.ended_us.get_or_insert(self.now_us);
        if core::mem::replace(&mut line.open, false) && line.welcomed_us.is_some() {
            self.present[line.user as usize].retain(|other| *other != conn);
            self.is_seen(conn);
        }
        if let Some(newest) =
            self.newest[self.lines[conn as usize].user as usize].filter(|newest| *newest > conn)
        {
            self.lines[newest as usize].outlived = true;
        }
    }

    /// A connection's server knows that it has ended, or is gone itself.
    pub(crate) fn gone(&mut self, conn: ConnKey) {
        if self.is_on && self.lines[conn as usize].gone_us.is_none() {
            self.lines[conn as usize].gone_us = Some(self.now_us);
            self.may_leave(conn);
        }
    }

    /// A server closes a connection with this code.
    pub(crate) fn closes(&mut self, conn: ConnKey, code: u16) {
        if !self.is_on {
            return;
        }
        let line = &self.lines[conn as usize];
        if line.open && self.violation.is_none() {
            let (check, holds) = self.reason(conn, code);
            if !holds {
                self.fail(check, |spec| {
                    format!("{} is closed with {code}, and nothing is the reason", spec.name(conn))
                });
            }
        }
        self.left(conn);
        self.lines[conn as usize].refused |= matches!(code, 1002 | 1003 | 1007 | 1008 | 1009 | 1013 | 4003);
        self.ended(conn);
        self.gone(conn);
    }

    /// Whether there is a reason for a code, as far as it can be seen.
    fn reason(&self, conn: ConnKey, code: u16) -> (&'static str, bool) {
        let line = &self.lines[conn as usize];
        let l = &self.limits;
        let holds = match code {
            1000 => line.said_close,
            1001 => !self.health.node_is_up(line.node),
            1002 | 1003 | 1007 => line.said_garbage,
            4003 => {
                let silent = !line.said_hello && self.now_us + 1000 >= line.opened_us + l.hello_timeout_us;
                let is_session = line.talk.is_some();
                let late = silent || !self.health.node_was_well(line.node, line.opened_us);
                return ("protocol", is_session && (line.said_out_of_turn || late));
            }
            1008 => {
                let of_user = self.lines.iter().filter(|other| other.user == line.user);
                let (frames, bytes) = of_user
                    .fold((0, 0), |(frames, bytes), other| (frames + other.frames, bytes + other.bytes));
                let shared = (l.user_messages && frames > l.user_message_burst)
                    || (l.user_bytes && bytes > l.user_byte_burst);
                line.frames > l.message_burst || line.bytes > l.byte_burst || shared
            }
            1009 => line.longest > l.message_bytes || line.said_garbage,
            // How full an outbox is, and how much waits for the store, only the engine's shadow knows.
            1013 => true,
            // By the newest of its user, where that alone stays, or of its device.
            4000 => {
                let alone = l.connections_per_user == 1 && !self.is_newest(conn);
                return ("takeover", alone || self.is_replaced(conn));
            }
            4001 => return ("takeover", !self.is_newest(conn)),
            4004..=4006 => line.revoked == Some(code),
            4002 => {
                let silent_us = self.now_us - line.spoke_us;
                silent_us + 1000 >= l.idle_timeout_us || !self.health.node_was_well(line.node, line.spoke_us)
            }
            _ => false,
        };
        ("isolation", holds)
    }

    /// Whether a connection is the one of its user that was opened last.
    fn is_newest(&self, conn: ConnKey) -> bool {
        self.newest[self.lines[conn as usize].user as usize] == Some(conn)
    }

    /// A server ends a connection without waiting for anything.
    pub(crate) fn cuts_off(&mut self, conn: ConnKey) {
        if !self.is_on {
            return;
        }
        let line = &self.lines[conn as usize];
        if line.open && !line.said_close && self.health.node_is_up(line.node) {
            self.fail("isolation", |spec| format!("{} is thrown out without a word", spec.name(conn)));
        }
        self.ended(conn);
        self.gone(conn);
    }

    /// A client has heard that it is welcome.
    pub(super) fn welcomed(&mut self, conn: ConnKey) {
        let line = &mut self.lines[conn as usize];
        let (user, shard) = (line.user as usize, line.shard);
        if line.welcomed_us.replace(self.now_us).is_some() {
            return self.fail("exactly-once", |spec| format!("{} is welcomed twice", spec.name(conn)));
        }
        if !line.open {
            return;
        }
        self.present[user].push(conn);
        self.returns(conn);
        self.is_seen(conn);
        let here = self.present[user].iter().filter(|conn| self.lines[**conn as usize].shard == shard);
        let (count, limit) = (here.count(), self.limits.connections_per_user);
        if count > limit {
            self.fail("takeover", |_| format!("u{user} has {count} connections, and may have {limit}"));
        }
    }
}
