//! Who is here, as those are told who watch: what they are told is true, is for them to know, and is told in time.
//!
//! A user is *surely here* while a connection of it was welcomed and has not ended, and *may be here* from the moment
//! that a server takes a handshake until the last server knows of its end. Between the two, and for the grace, either
//! may be told.

use std::collections::BTreeMap;

use switchboard_engine::FRAME_COST_BYTES;
use switchboard_proto::v1;

use super::{Spec, duties::Duty};
use crate::{check::ConnKey, wire};

/// What a frame about it has at the most.
const PRESENCE_BYTES: u64 = 96;

/// Questions in a row that stay unanswered before a user is not here, and one that was under way.
const QUESTIONS: u64 = 3;

/// A user whom a session watches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watching {
    /// Since when.
    since_us: u64,
    /// Since when its shard has watched the user, for whichever of its sessions, without a break: it asked then.
    asked_us: u64,
    /// It was watched before, and then not: what was told of it then may still be on its way.
    before: Option<Former>,
    /// Whether it is here, and when it was last here, as the session was told last.
    told: Option<(bool, i64)>,
}

/// A user whom a session has watched.
#[derive(Clone, Copy, Debug)]
struct Former {
    since_us: u64,
    until_us: u64,
}

/// Whom a session's connection watches.
#[derive(Clone, Debug, Default)]
pub(super) struct Watches {
    users: BTreeMap<u16, Watching>,
    /// The others whom it has watched.
    former: BTreeMap<u16, Former>,
    /// When it has last named them: the store was asked then.
    asked_us: u64,
    /// When so much last waited for it that it may not have been told.
    full_us: Option<u64>,
}

/// When a user was here.
#[derive(Clone, Debug, Default)]
struct UserSeen {
    /// Connections that may be taken for open.
    maybe: u32,
    maybe_until_us: u64,
    /// The last connection that was surely there, and when it was no more.
    last: Option<(ConnKey, u64)>,
    /// What the store has kept, and when.
    kept: Vec<(i64, u64)>,
}

/// Something that several connections bring about, from the first one's beginning to the last one's end.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    count: u32,
    since_us: u64,
}

impl Span {
    /// One more begins. Returns since when it has been so.
    const fn begin(&mut self, now_us: u64) -> u64 {
        if self.count == 0 {
            self.since_us = now_us;
        }
        self.count += 1;
        self.since_us
    }

    const fn end(&mut self) {
        self.count = self.count.saturating_sub(1);
    }
}

/// The users of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Presence {
    users: BTreeMap<u16, UserSeen>,
    /// By shard and user: whether the user has connections there.
    here: BTreeMap<(u16, u16), Span>,
    /// By shard and user: whether sessions there watch the user.
    watched: BTreeMap<(u16, u16), Span>,
}

impl Presence {
    /// What was kept of users is what was kept then, and everybody has left.
    pub(super) fn set_back(&mut self, then: &Self) {
        for (user, seen) in &mut self.users {
            let then = then.users.get(user).map_or(0, |seen| seen.kept.len());
            seen.kept.truncate(then);
            seen.last = None;
        }
    }
}

/// What happens to users.
impl Spec {
    fn seen(&mut self, user: u16) -> &mut UserSeen {
        self.presence.users.entry(user).or_default()
    }

    /// A server has taken a handshake. Returns since when its shard has had a connection of the user without a break.
    pub(super) fn may_arrive(&mut self, user: u16, shard: u16) -> u64 {
        self.seen(user).maybe += 1;
        self.presence.here.entry((shard, user)).or_default().begin(self.now_us)
    }

    /// A connection of a user is surely there, or is no more.
    pub(super) fn is_seen(&mut self, conn: ConnKey) {
        let line = &self.lines[conn as usize];
        let (user, open, now_us) = (line.user, line.open, self.now_us);
        if !open {
            self.seen(user).last = Some((conn, now_us));
        }
        self.look_again(user);
    }

    /// A server knows that a connection has ended.
    pub(super) fn may_leave(&mut self, conn: ConnKey) {
        let now_us = self.now_us;
        let line = &self.lines[conn as usize];
        let (user, shard) = (line.user, line.shard);
        self.presence.here.entry((shard, user)).or_default().end();
        for user in line.talk.iter().flat_map(|talk| talk.watches.users.keys()) {
            self.presence.watched.entry((shard, *user)).or_default().end();
        }
        let seen = self.seen(user);
        seen.maybe = seen.maybe.saturating_sub(1);
        if seen.maybe == 0 {
            seen.maybe_until_us = now_us;
            self.look_again(user);
        }
    }

    /// The store has kept that a user was here until now.
    pub(crate) fn keeps_seen(&mut self, user: u16, at_ms: i64) {
        let now_us = self.now_us;
        if self.is_on {
            self.seen(user).kept.push((at_ms, now_us));
        }
    }

    /// So much waits for a session that it may not be told who is here.
    pub(super) fn fills(&mut self, conn: ConnKey, bytes: u64) {
        let (now_us, limit_bytes) = (self.now_us, self.limits.lag_bytes);
        if let Some(talk) =
            self.talk(conn).filter(|_| bytes + PRESENCE_BYTES + FRAME_COST_BYTES > limit_bytes)
        {
            talk.watches.full_us = Some(now_us);
        }
    }

    /// A user's presence may have changed: who watches will know.
    fn look_again(&mut self, user: u16) {
        if !self.limits.has_presence {
            return;
        }
        let conns: Vec<ConnKey> = self.present.iter().flatten().copied().collect();
        for conn in conns {
            let watches = self.lines[conn as usize].talk.as_ref().map(|talk| &talk.watches);
            if watches.is_some_and(|watches| watches.users.contains_key(&user)) {
                self.plan_look(conn, user);
            }
        }
    }

    fn plan_look(&mut self, conn: ConnKey, user: u16) {
        let duty = Duty::Presence { conn, user };
        self.due_then(self.now_us + self.look_us(conn) + 1, duty);
        self.due_then(self.now_us + self.leave_us(true) + 1, duty);
    }

    /// How long it may take until a session is told that a user whom it names is here.
    fn look_us(&self, conn: ConnKey) -> u64 {
        let count = self.lines[conn as usize].talk.as_ref().map_or(0, |talk| talk.watches.users.len());
        let rounds = count as u64 / 4 + 2;
        2 * self.limits.bound_us + rounds * self.limits.store_us + self.limits.peer_timeout_us
    }

    /// How long it may take until everybody knows that a user is gone; if nodes have died and records were lost, until
    /// all questions are through.
    fn leave_us(&self, calm: bool) -> u64 {
        let l = &self.limits;
        let calm_us = l.presence_grace_us + l.answer_us + l.peer_timeout_us + 2 * l.bound_us;
        if calm {
            calm_us
        } else {
            calm_us + QUESTIONS * l.presence_refresh_us + 2 * l.peer_timeout_us + 2_000_000
        }
    }
}

/// What sessions say and hear.
impl Spec {
    /// A session names those whom it watches.
    pub(super) fn says_watch(&mut self, conn: ConnKey, watch: &v1::Watch) {
        let (now_us, limit) = (self.now_us, self.limits.watches);
        let named = watch.users.iter().take(limit);
        let users: Vec<u16> = named.filter_map(|user| wire::index(user)).collect();
        let watching = self.lines[conn as usize].talk.iter().flat_map(|talk| &talk.watches.users);
        let told_since_us: BTreeMap<u16, u64> =
            watching.map(|(user, watching)| (*user, self.told_since_us(conn, *watching))).collect();
        let line = &mut self.lines[conn as usize];
        let (shard, is_gone) = (line.shard, line.gone_us.is_some());
        let Some(talk) = line.talk.as_deref_mut().filter(|_| !is_gone) else { return };
        let (watches, watched) = (&mut talk.watches, &mut self.presence.watched);
        let before = core::mem::take(&mut watches.users);
        for user in &users {
            let former = watches.former.remove(user);
            // It may be named twice.
            if watches.users.contains_key(user) {
                continue;
            }
            let watching = before.get(user).copied().unwrap_or_else(|| {
                let asked_us = watched.entry((shard, *user)).or_default().begin(now_us);
                Watching { since_us: now_us, asked_us, before: former, told: None }
            });
            watches.users.insert(*user, watching);
        }
        for (user, watching) in before.iter().filter(|(user, _)| !users.contains(user)) {
            let since_us = told_since_us.get(user).copied().unwrap_or(watching.since_us);
            watches.former.insert(*user, Former { since_us, until_us: now_us });
            watched.entry((shard, *user)).or_default().end();
        }
        watches.asked_us = now_us;
        let users: Vec<u16> = watches.users.keys().copied().collect();
        users.into_iter().for_each(|user| self.plan_look(conn, user));
    }

    /// A session is told whether a user is here.
    pub(super) fn hears_presence(&mut self, conn: ConnKey, presence: &v1::Presence) {
        let v1::Presence { online, last_seen_ms, .. } = *presence;
        let watcher = self.lines[conn as usize].user;
        let Some(user) = wire::index(&presence.user) else {
            return self
                .fail("no-spoof", |spec| format!("{} is told of nobody: {presence:?}", spec.name(conn)));
        };
        let Some(watches) = self.lines[conn as usize].talk.as_ref().map(|talk| &talk.watches) else { return };
        let (watching, former) = (watches.users.get(&user).copied(), watches.former.get(&user).copied());
        let Some(watching) = watching else {
            let is_late = former.is_some_and(|former| self.is_under_way(conn, former));
            if !is_late {
                self.fail("no-leak", |spec| {
                    format!("{} is told of u{user}, whom it does not watch", spec.name(conn))
                });
            }
            return;
        };
        let since_us = self.told_since_us(conn, watching);
        let may = self.limits.has_presence && self.may_know(watcher, user, since_us);
        if !may && (online || last_seen_ms != 0) {
            return self.fail("no-leak", |spec| {
                format!("{} is told of the stranger u{user}: {presence:?}", spec.name(conn))
            });
        }
        if watching.told == Some((online, last_seen_ms)) && watching.before.is_none() {
            self.fail("exactly-once", |spec| format!("{} is told of u{user} again", spec.name(conn)));
        } else if online && last_seen_ms != 0 {
            self.fail("protocol", |spec| {
                format!("{} is told when u{user} was here, who is", spec.name(conn))
            });
        }
        if online {
            self.judge_online(conn, user);
        } else if may && self.surely_knows(watcher, user, self.answered_us(conn, watching)) {
            self.judge_offline(conn, user, last_seen_ms);
        }
        let talk = self.talk(conn);
        if let Some(watching) = talk.and_then(|talk| talk.watches.users.get_mut(&user)) {
            watching.told = Some((online, last_seen_ms));
        }
    }

    /// When it may have been true, at the earliest, what a session hears of a user whom it watches.
    fn told_since_us(&self, conn: ConnKey, watching: Watching) -> u64 {
        let late = watching.before.filter(|former| self.is_under_way(conn, *former));
        late.map_or(watching.since_us, |former| former.since_us)
    }

    /// Whether what a session was told of a user before it has watched others may still be on its way.
    fn is_under_way(&self, conn: ConnKey, former: Former) -> bool {
        // What is said before the welcome counts with it.
        let welcomed_us = self.lines[conn as usize].welcomed_us.unwrap_or(self.now_us);
        let until_us = former.until_us.max(welcomed_us);
        until_us + self.limits.bound_us >= self.now_us || !self.is_served(conn, until_us)
    }

    /// When the store was asked, at the earliest, for what a session hears of a user whom it watches: what was answered
    /// before it has last named the users may still be on its way.
    fn answered_us(&self, conn: ConnKey, watching: Watching) -> u64 {
        let asked_us = self.lines[conn as usize].talk.as_ref().map_or(u64::MAX, |talk| talk.watches.asked_us);
        let is_under_way = |at_us: u64| at_us + self.limits.bound_us >= self.now_us;
        if !is_under_way(asked_us) {
            asked_us
        } else if watching.before.is_some() && is_under_way(watching.since_us) {
            0
        } else {
            watching.since_us
        }
    }

    /// Nobody is said to be here who has not been for long.
    fn judge_online(&mut self, conn: ConnKey, user: u16) {
        let Some(seen) = self.presence.users.get(&user).filter(|seen| seen.maybe == 0) else {
            if !self.presence.users.contains_key(&user) {
                self.fail("no-spoof", |spec| {
                    format!("{} is told that u{user} is here, who never was", spec.name(conn))
                });
            }
            return;
        };
        let until_us = seen.maybe_until_us;
        let calm = self.was_calm(until_us.saturating_sub(self.leave_us(false)));
        let late = until_us + self.leave_us(calm) < self.now_us;
        if late && self.is_served(conn, until_us) && (calm || self.health.bus_was_well(until_us)) {
            self.fail("no-spoof", |spec| {
                format!("{} is told that u{user} is here, who is gone since {until_us} us", spec.name(conn))
            });
        }
    }

    /// Nobody is said to be gone who is here, or may come back yet; and when it was last here is what the store has.
    fn judge_offline(&mut self, conn: ConnKey, user: u16, last_seen_ms: i64) {
        let seen = self.presence.users.get(&user).cloned().unwrap_or_default();
        let is_kept = last_seen_ms == 0 || seen.kept.iter().any(|(at_ms, _)| *at_ms == last_seen_ms);
        if !is_kept {
            self.fail("accepted-is-durable", |spec| {
                format!(
                    "{} is told that u{user} was here at {last_seen_ms}, which nobody has kept",
                    spec.name(conn)
                )
            });
        }
        let present = self.present.get(user as usize).map_or(&[][..], Vec::as_slice);
        let sure = present.iter().copied().min_by_key(|other| self.lines[*other as usize].welcomed_us);
        let (last, until_us) = match (sure, seen.last) {
            (Some(last), _) => (last, self.now_us),
            (None, Some((last, until_us))) => (last, until_us),
            (None, None) => return,
        };
        let (welcomed_us, here_us) = {
            let line = &self.lines[last as usize];
            (line.welcomed_us.unwrap_or(self.now_us), line.here_us)
        };
        let slack_us = 2 * self.limits.bound_us + self.limits.peer_timeout_us;
        let known = welcomed_us + slack_us <= self.now_us.min(until_us);
        let early = self.now_us < until_us + self.limits.presence_grace_us;
        let same = self.lines[last as usize].shard == self.lines[conn as usize].shard;
        // Its server said so when the first connection came, and says nothing of another one.
        let calm = if same { self.health.nodes_were_well(welcomed_us) } else { self.was_calm(here_us) };
        let fresh = self.is_served(conn, self.now_us.saturating_sub(slack_us));
        if known && early && calm && fresh {
            self.fail("isolation", |spec| {
                format!("{} is told that u{user} is gone, who was here until {until_us} us", spec.name(conn))
            });
        }
    }

    /// A session that watches a user has been told how it is with it.
    pub(super) fn judge_presence(&mut self, conn: ConnKey, user: u16) {
        if let Some(text) = self.unaware(conn, user) {
            self.unheard(self.now_us, |spec| format!("{} {text}", spec.name(conn)));
        }
    }

    /// What a session does not know of a user whom it watches, and should.
    fn unaware(&self, conn: ConnKey, user: u16) -> Option<String> {
        let (now_us, line) = (self.now_us, &self.lines[conn as usize]);
        let watches = &line.talk.as_ref()?.watches;
        let watching = watches.users.get(&user)?;
        let look_us = self.look_us(conn);
        let since_us = now_us.saturating_sub(look_us);
        let is_full = watches.full_us.is_some_and(|at_us| at_us + 2 * self.limits.bound_us > now_us);
        let ready = watches.asked_us.max(watching.since_us) < since_us
            && line.welcomed_us.is_some_and(|at_us| at_us < since_us)
            && self.is_served(conn, since_us)
            && self.health.store_was_well(since_us.min(watches.asked_us));
        if !ready || is_full {
            return None;
        }
        let told = watching.told;
        let gone_us = |calm: bool| now_us.saturating_sub(self.leave_us(calm));
        let seen = self.presence.users.get(&user);
        if !self.limits.has_presence || !self.may_know(line.user, user, watching.since_us) {
            return (told != Some((false, 0))).then(|| format!("is told {told:?} of the stranger u{user}"));
        }
        if !self.surely_knows(line.user, user, watches.asked_us) {
            return None;
        }
        let refresh_us = self.limits.presence_refresh_us + self.limits.peer_timeout_us + look_us;
        let refreshed_us = now_us.saturating_sub(refresh_us);
        let here = self.present[user as usize].iter().find(|other| {
            let other = &self.lines[**other as usize];
            if other.welcomed_us.is_none_or(|at_us| at_us >= since_us) {
                return false;
            }
            let same = other.shard == line.shard;
            if same {
                self.health.node_was_well(line.node, since_us)
            } else {
                // It was said when its first connection came there, was asked when the first session here named it, and
                // is asked again from time to time.
                self.was_calm(other.here_us.max(watching.asked_us)) || self.was_calm(refreshed_us)
            }
        });
        if here.is_some() {
            return told
                .is_none_or(|(online, _)| !online)
                .then(|| format!("does not know that u{user} is here: {told:?}"));
        }
        let until_us = seen.map_or(0, |seen| if seen.maybe > 0 { u64::MAX } else { seen.maybe_until_us });
        let calm = self.was_calm(until_us.min(watching.since_us).saturating_sub(self.leave_us(false)));
        let gone =
            until_us < gone_us(calm) && watching.since_us < gone_us(calm) && self.was_calm(gone_us(calm));
        if !gone {
            return None;
        }
        let kept = seen.map_or(&[][..], |seen| seen.kept.as_slice());
        let newest_ms = kept.iter().map(|(at_ms, _)| *at_ms).max().unwrap_or(0);
        let last = seen.and_then(|seen| seen.last);
        // What a node that has died was to have kept, nobody has.
        let must_keep = last.is_some_and(|(conn, at_us)| {
            let node = self.lines[conn as usize].node;
            self.health.node_was_well(node, at_us.saturating_sub(1)) && self.health.store_was_well(at_us)
        });
        let store = self.health.store_was_well(until_us.min(watching.since_us));
        match told {
            Some((false, at_ms)) => {
                let stale =
                    calm && store && last.is_some() && (kept.is_empty() && must_keep || at_ms < newest_ms);
                stale.then(|| format!("is told that u{user} was here at {at_ms}, and the store has {kept:?}"))
            }
            Some((true, _)) | None => Some(format!("does not know that u{user} is gone: {told:?}")),
        }
    }

    /// What a client that watches somebody does not know, once nothing is wrong any more.
    pub(crate) fn unaware_watcher(&self, conn: ConnKey) -> Option<String> {
        let talk = self.lines[conn as usize].talk.as_ref()?;
        talk.watches.users.keys().find_map(|user| self.unaware(conn, *user))
    }
}
