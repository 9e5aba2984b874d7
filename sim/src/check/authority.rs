//! What those who run the servers do: what is to be closed is closed in the very event, and nothing else; and what is said
//! as the server reaches all whom it is for, and nobody else.

use switchboard_engine::{CloseReason, ConnId, FRAME_COST_BYTES, Stats};

use super::{Check, ConnKey, Phase};
use crate::wire::View;

/// What a notice's frame has at the most beside its text.
const NOTICE_BYTES: u64 = 64;

/// What one event does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deed {
    /// Connections that have to be closed, and why.
    revoked: Vec<ConnKey>,
    why: Option<CloseReason>,
    /// A connection is named that is closing already.
    is_late: bool,
    notice: Option<Notice>,
}

/// What is said, to one user or to everybody, and which connections were told.
#[derive(Clone, Debug)]
struct Notice {
    user: Option<u16>,
    text: Box<str>,
    told: Vec<ConnKey>,
}

impl Deed {
    pub(super) fn clear(&mut self) {
        self.revoked.clear();
        (self.why, self.is_late, self.notice) = (None, false, None);
    }

    /// Whether a connection has to be closed for this reason.
    pub(super) fn closes(&self, conn: ConnKey, reason: CloseReason) -> bool {
        self.why == Some(reason) && self.revoked.contains(&conn)
    }

    /// The largest frame that it leads to.
    pub(super) fn largest(&self) -> u64 {
        self.notice.as_ref().map_or(0, |notice| notice.text.len() as u64 + NOTICE_BYTES)
    }
}

impl Check {
    /// These connections may not be used any more: all those open of a user, or the one of this id, if it is open.
    pub(crate) fn revokes(
        &mut self,
        shard: usize,
        conns: &[ConnKey],
        named: Option<ConnId>,
        why: CloseReason,
    ) {
        debug_assert!(named.is_none_or(|id| self.watches.is_empty() || self.seat(shard, id).is_some()));
        let deed = &mut self.cause.authority;
        deed.revoked.extend_from_slice(conns);
        (deed.why, deed.is_late) = (Some(why), named.is_some() && conns.is_empty());
    }

    /// The server says something.
    pub(crate) fn announces(&mut self, user: Option<u16>, text: &str) {
        self.cause.authority.notice = Some(Notice { user, text: text.into(), told: Vec::new() });
    }

    /// A classic client is told something as the server.
    pub(super) fn tells_classic_notice(&mut self, shard: usize, to: &[ConnId], view: &View<'_>) {
        let of = self.cause.authority.notice.as_ref().map(|notice| notice.user);
        let expected = of.flatten().map_or_else(String::new, |user| format!("u{user}"));
        let plain =
            (view.username, view.to, view.content_type, view.message_type) == ("System", &expected, 1, 1);
        if !plain || !view.kind.is_empty() || !view.file.is_empty() {
            self.fail("protocol", |_| format!("something else is said as the server: {view:?}"));
        }
        self.tells_notice(shard, to, view.content);
    }

    /// Connections are told something by the server.
    pub(super) fn tells_notice(&mut self, shard: usize, to: &[ConnId], text: &str) {
        if self.cause.authority.notice.as_ref().is_none_or(|notice| *notice.text != *text) {
            return self.fail("no-spoof", |_| format!("the server is made to say {text:?}"));
        }
        for id in to {
            let Some(conn) = self.seat(shard, *id) else { continue };
            let user = self.seats[conn as usize].user;
            let Some(notice) = &mut self.cause.authority.notice else { return };
            let (is_for, again) = (notice.user.is_none_or(|of| of == user), notice.told.contains(&conn));
            notice.told.push(conn);
            if !is_for {
                self.fail("no-leak", |check| {
                    format!("{} is told what the server says to another", check.name(conn))
                });
            } else if again {
                self.fail("exactly-once", |check| {
                    format!("{} is told twice by the server", check.name(conn))
                });
            }
        }
    }

    /// What was to be done is done.
    pub(super) fn end_authority(&mut self, shard: usize, stats: &Stats) {
        let deed = core::mem::take(&mut self.cause.authority);
        let before = self.watches[shard].stats;
        let is_open = |check: &Self, conn: ConnKey| {
            matches!(check.seats[conn as usize].phase, Phase::Loading | Phase::Online)
        };
        if let Some(conn) = deed.revoked.iter().copied().find(|conn| is_open(self, *conn)) {
            self.fail("no-leak", |check| format!("{} stays open, and nobody may use it", check.name(conn)));
        }
        let counted = (stats.revoked - before.revoked, stats.announced - before.announced);
        if counted != (deed.revoked.len() as u64, u64::from(deed.notice.is_some())) {
            self.fail("accounting", |_| {
                format!("{counted:?} are counted of what those do who run the server")
            });
        }
        if deed.is_late && stats.stale_events != before.stale_events + 1 {
            self.fail("accounting", |_| {
                "a connection is closed that was closing, and nobody counts".to_owned()
            });
        }
        let Some(notice) = deed.notice else { return };
        let needed = notice.text.len() as u64 + NOTICE_BYTES + FRAME_COST_BYTES;
        for slot in 0..self.watches[shard].slots.len() {
            let Some(conn) = self.watches[shard].slots[slot] else { continue };
            let seat = &self.seats[conn as usize];
            let is_for = notice.user.is_none_or(|user| user == seat.user) && seat.phase == Phase::Online;
            let may_miss = seat.session.is_some() && seat.cost_bytes + needed > self.settings.outbox_bytes;
            if is_for && !may_miss && !notice.told.contains(&conn) {
                self.fail("delivery", |check| {
                    format!("{} is not told what the server says", check.name(conn))
                });
            }
        }
    }
}
