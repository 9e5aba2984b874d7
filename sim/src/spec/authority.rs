//! What those who run the servers do: a connection that nobody may use any more is closed at once, and its client is not
//! told to come back unless it may; what the servers say is heard as it was said, by those whom it is for, once.

use std::collections::{BTreeMap, BTreeSet};

use switchboard_engine::FRAME_COST_BYTES;
use switchboard_proto::v1;

use super::{Spec, duties::Duty};
use crate::check::ConnKey;

/// What a frame about it has at the most beside its text.
const NOTICE_BYTES: u64 = 64;

/// The time after which those come back who must not come back by themselves.
const NEVER_MS: u32 = u32::MAX;

/// Something that the servers have said.
#[derive(Clone, Debug)]
struct Notice {
    user: Option<u16>,
    at_us: u64,
    bytes: u64,
    /// Those servers that were up.
    nodes: Vec<u16>,
}

/// All that the servers have said, and who has heard it.
#[derive(Clone, Debug, Default)]
pub(super) struct Authority {
    notices: Vec<Notice>,
    by_text: BTreeMap<Box<str>, u32>,
    heard: BTreeSet<(ConnKey, u32)>,
}

impl Spec {
    /// Nobody may use a connection any more.
    pub(crate) fn revokes(&mut self, conn: ConnKey, code: u16) {
        if self.is_on {
            self.lines[conn as usize].revoked = Some(code);
        }
    }

    /// A server has been told so.
    pub(crate) fn is_closed(&mut self, conn: ConnKey) {
        if self.is_on && self.lines[conn as usize].gone_us.is_none() {
            self.fail("no-leak", |spec| format!("{} goes on, and nobody may use it", spec.name(conn)));
        }
    }

    /// A session is told when to come back: never, if it may not.
    pub(super) fn hears_goodbye(&mut self, conn: ConnKey, goodbye: &v1::Goodbye) {
        let barred = matches!(self.lines[conn as usize].revoked, Some(4004 | 4005));
        if barred && goodbye.reconnect_after_ms != NEVER_MS {
            self.fail("isolation", |spec| {
                format!("{} may not come back, and is told to: {goodbye:?}", spec.name(conn))
            });
        }
    }

    /// The servers say something, those that are up.
    pub(crate) fn announces(&mut self, user: Option<u16>, text: &str, nodes: Vec<u16>) {
        if !self.is_on {
            return;
        }
        let (at_us, place) = (self.now_us, self.authority.notices.len() as u32);
        self.authority.notices.push(Notice { user, at_us, bytes: text.len() as u64, nodes });
        self.authority.by_text.insert(text.into(), place);
        self.due.push_back((at_us + self.limits.bound_us, Duty::Notice { place }));
    }

    /// What was said by the servers, if it was.
    pub(super) fn notice(&mut self, conn: ConnKey, text: &str) -> Option<u32> {
        let place = self.authority.by_text.get(text).copied();
        if place.is_none() {
            self.fail("no-spoof", |spec| {
                format!("{} hears as from the server what it has not said: {text:?}", spec.name(conn))
            });
        }
        place
    }

    pub(super) fn notice_user(&self, place: u32) -> Option<u16> {
        self.authority.notices[place as usize].user
    }

    /// A client hears what the servers have said.
    pub(super) fn hears_notice(&mut self, conn: ConnKey, place: u32, to: Option<u16>) {
        let user = self.lines[conn as usize].user;
        let of = self.notice_user(place);
        if of.is_some_and(|of| of != user) {
            self.fail("no-leak", |spec| format!("{} hears what the server says to u{of:?}", spec.name(conn)));
        } else if of != to {
            self.fail("protocol", |spec| {
                format!("{} hears what is for {of:?} as for {to:?}", spec.name(conn))
            });
        } else if !self.authority.heard.insert((conn, place)) {
            self.fail("exactly-once", |spec| format!("{} hears the server say it twice", spec.name(conn)));
        }
    }

    /// All whom it was for, and who listen, have heard it.
    pub(super) fn judge_notice(&mut self, place: u32) {
        let Notice { user, at_us, bytes, nodes } = self.authority.notices[place as usize].clone();
        let needed = bytes + NOTICE_BYTES + FRAME_COST_BYTES;
        for conn in 0..self.lines.len() as ConnKey {
            let line = &self.lines[conn as usize];
            let is_for = user.is_none_or(|user| user == line.user) && nodes.contains(&line.node);
            if !is_for || self.authority.heard.contains(&(conn, place)) || !self.is_healthy(conn, at_us) {
                continue;
            }
            // Who has little room may miss it.
            let has_room =
                line.talk.as_ref().is_none_or(|talk| talk.peak_bytes + needed <= self.limits.lag_bytes);
            if has_room {
                self.unheard(at_us, |spec| format!("{} has not heard what the server says", spec.name(conn)));
            }
        }
    }
}
