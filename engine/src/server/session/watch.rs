//! Whose presence a session wants to be told, and may be: the store says that.

use alloc::{boxed::Box, vec::Vec};
use serde::{Deserialize, Serialize};

use switchboard_proto::v1::Watch;

use super::frames;
use crate::{
    answer::Undone,
    config::to_usize,
    digest::Digest,
    id::{ConnId, Ticket, UserId},
    probe::{Canary, Probe, Rule},
    server::{Server, presence::WatchedKey, requests::Purpose, timers::Due},
    storage::{Answer, Request},
    time::Instant,
};

/// Questions of one session to the store about whom it may watch, at a time.
const LOADS_AT_A_TIME: usize = 4;

/// The users that one session watches.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::server) struct WatchList {
    /// Sorted by user.
    watches: Vec<Watching>,
    /// Everything before this place has been asked about.
    next: usize,
    /// What the store is asked, with the users it is asked about.
    loads: Vec<(Ticket, UserId)>,
    /// When what has failed is asked again.
    retry_at: Option<Instant>,
}

/// One of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Watching {
    user: UserId,
    key: WatchedKey,
    ask: Ask,
    /// Whether the session may know, once the store has said that.
    may: Option<bool>,
    /// What it was told: whether the user is online, and when it was last here.
    told: Option<(bool, i64)>,
}

/// How far the question is whether a session may know.
///
/// `Due ──► Asked ──► Done`, and from `Asked` to `Failed` and back to `Due` after a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Ask {
    Due,
    Asked,
    Failed,
    Done,
}

impl WatchList {
    /// Users that are watched.
    pub(in crate::server) fn len(&self) -> usize {
        self.watches.len()
    }

    /// Requests that are waited for.
    pub(in crate::server) fn requests(&self) -> usize {
        self.loads.len()
    }

    /// Which of them this one is.
    pub(in crate::server) fn load_place(&self, ticket: Ticket) -> Option<usize> {
        self.loads.iter().position(|(waiting, _)| *waiting == ticket)
    }

    /// Whether this user is watched.
    pub(in crate::server) fn has(&self, user: &UserId) -> bool {
        self.place(user).is_some()
    }

    fn place(&self, user: &UserId) -> Option<usize> {
        self.watches.binary_search_by(|watching| watching.user.cmp(user)).ok()
    }

    fn get_mut(&mut self, user: &UserId) -> Option<&mut Watching> {
        let place = self.place(user)?;
        self.watches.get_mut(place)
    }

    /// Which requests those are, the requests tell.
    pub(super) fn fold(&self, digest: &mut Digest<'_>) {
        digest.len(self.watches.len());
        for watching in &self.watches {
            digest.text(watching.user.as_str());
            digest.word(watching.ask as u64);
            digest.word(watching.may.map_or(2, u64::from));
            digest.word(watching.told.map_or(2, |(online, _)| online.into()));
            digest.word(watching.told.map_or(0, |(_, at_ms)| at_ms.cast_unsigned()));
        }
        digest.len(self.next);
        self.loads.iter().for_each(|(_, user)| digest.text(user.as_str()));
        digest.instant_or_none(self.retry_at);
    }
}

impl<P: Probe> Server<P> {
    /// A session names the users that it wants to be told of, in place of those before.
    pub(super) fn watch(&mut self, conn: ConnId, watch: &Watch) {
        let named = watch.users.len();
        let mut limit = to_usize(self.config.limits.watches);
        if self.probe.canary(Canary::WatchUnlimited) {
            limit = usize::MAX;
        }
        let users = watch.users.iter().take(limit);
        let mut users: Vec<UserId> = users.filter_map(|user| UserId::new(user).ok()).collect();
        let passed_over = named - users.len();
        if passed_over > 0 {
            self.probe.reached(Rule::WatchPassedOver);
            self.stats.watches_passed_over += passed_over as u64;
        }
        users.sort();
        users.dedup();
        let before = self.stop_loads(conn);
        if before.is_some() {
            self.probe.reached(Rule::WatchReplaced);
        }
        let mut before = before.map(|list| list.watches).unwrap_or_default();
        let mut watches = Vec::with_capacity(users.len());
        for user in users {
            let place = before.binary_search_by(|watching| watching.user.cmp(&user)).ok();
            let known = place.and_then(|place| before.get(place));
            let (may, told) = known.map_or((None, None), |watching| (watching.may, watching.told));
            let key = self.add_watcher(conn, &user);
            watches.push(Watching { user, key, ask: Ask::Due, may, told });
        }
        let is_kept = |user: &UserId| watches.binary_search_by(|watching| watching.user.cmp(user)).is_ok();
        before.retain(|watching| !is_kept(&watching.user));
        if self.probe.canary(Canary::WatchAdds) {
            watches.append(&mut before);
            watches.sort_by(|one, other| one.user.cmp(&other.user));
        }
        for watching in before {
            self.remove_watcher(conn, watching.key);
        }
        let Some(session) = self.connections.get_mut(conn).and_then(|c| c.session.as_mut()) else { return };
        if watches.is_empty() {
            return;
        }
        let list = WatchList { watches, next: 0, loads: Vec::new(), retry_at: None };
        session.watch = Some(Box::new(list));
        self.ask_watches(conn);
    }

    /// Waits for no answers about whom a session may watch, and takes its list away.
    fn stop_loads(&mut self, conn: ConnId) -> Option<WatchList> {
        let session = self.connections.get_mut(conn).and_then(|c| c.session.as_mut())?;
        let list = *session.watch.take()?;
        for (ticket, _) in &list.loads {
            self.requests.close(*ticket);
        }
        if let Some(at) = list.retry_at {
            self.timers.cancel(at, Due::Watch(conn));
        }
        Some(list)
    }

    /// The session watches nobody any more.
    pub(super) fn stop_watching(&mut self, conn: ConnId) {
        let Some(list) = self.stop_loads(conn) else { return };
        for watching in list.watches {
            self.remove_watcher(conn, watching.key);
        }
    }

    /// Asks the store whom a session may watch, a few at a time.
    fn ask_watches(&mut self, conn: ConnId) {
        loop {
            let watcher = self.connections.get(conn).and_then(|connection| connection.user());
            let Some(watcher) = watcher.and_then(|user| self.users.get(user)).map(|user| user.id.clone())
            else {
                return;
            };
            let Some(list) = self.watch_list(conn) else { return };
            if list.loads.len() >= LOADS_AT_A_TIME {
                return;
            }
            while list.watches.get(list.next).is_some_and(|watching| watching.ask != Ask::Due) {
                list.next += 1;
            }
            let Some(watching) = list.watches.get_mut(list.next) else { return };
            watching.ask = Ask::Asked;
            let user = watching.user.clone();
            let request = Request::LoadSeen { watcher, user: user.clone() };
            if self.config.presence {
                let ticket = self.request(Purpose::Watch(conn), request);
                if let Some(list) = self.watch_list(conn) {
                    list.loads.push((ticket, user));
                }
            } else {
                // Nobody is told anything, as if all were strangers.
                self.may_watch(conn, &user, None);
            }
        }
    }

    fn watch_list(&mut self, conn: ConnId) -> Option<&mut WatchList> {
        self.connections.get_mut(conn)?.session.as_mut()?.watch.as_deref_mut()
    }

    /// The store has answered whether a session may watch a user, or has not in time.
    pub(in crate::server) fn watch_answered(&mut self, conn: ConnId, ticket: Ticket, answer: Answer) {
        let Some(list) = self.watch_list(conn) else { return };
        let Some(place) = list.load_place(ticket) else { return };
        let (_, user) = list.loads.remove(place);
        match answer.into_seen() {
            Ok(at_ms) => self.may_watch(conn, &user, Some(at_ms.unwrap_or(0))),
            Err(Undone::Refused) => {
                self.probe.reached(Rule::WatchRefused);
                let told_all = self.probe.canary(Canary::PresenceToStrangers);
                self.may_watch(conn, &user, told_all.then_some(0));
            }
            Err(Undone::Failed) => self.retry_watch(conn, &user),
        }
        self.ask_watches(conn);
    }

    /// A session may know of a user, who was last here then, or may not.
    fn may_watch(&mut self, conn: ConnId, user: &UserId, seen_ms: Option<i64>) {
        let Some(watching) = self.watch_list(conn).and_then(|list| list.get_mut(user)) else { return };
        watching.ask = Ask::Done;
        watching.may = Some(seen_ms.is_some());
        let key = watching.key;
        if let Some(at_ms) = seen_ms {
            self.presence.seen(key, at_ms);
        }
        self.tell_watch(conn, user);
    }

    /// Tells a session of one user what it has not been told.
    fn tell_watch(&mut self, conn: ConnId, user: &UserId) {
        let Some(watching) = self.watch_list(conn).and_then(|list| list.get_mut(user)) else { return };
        let (key, may, told) = (watching.key, watching.may, watching.told);
        let shown = match may {
            None => None,
            Some(false) => Some((false, 0)),
            Some(true) => self.presence.shown(key),
        };
        let Some((online, last_seen_ms)) = shown.filter(|shown| told != Some(*shown)) else { return };
        let frame = frames::presence(user, online, last_seen_ms);
        let mark = self.hints();
        if self.offer_hint(conn, &frame) {
            self.note_told(conn, user, (online, last_seen_ms));
        }
        self.send_hints(mark, frame);
    }

    /// Whether a session may know this of a user, and does not.
    pub(in crate::server) fn may_be_told(&mut self, conn: ConnId, user: &UserId, shown: (bool, i64)) -> bool {
        let watching = self.watch_list(conn).and_then(|list| list.get_mut(user));
        watching.is_some_and(|watching| watching.may == Some(true) && watching.told != Some(shown))
    }

    /// A session has been told this of a user.
    pub(in crate::server) fn note_told(&mut self, conn: ConnId, user: &UserId, shown: (bool, i64)) {
        self.probe.reached(Rule::PresenceTold);
        if let Some(watching) = self.watch_list(conn).and_then(|list| list.get_mut(user)) {
            watching.told = Some(shown);
        }
    }

    /// Tells a session what it could not be told while it lagged.
    pub(super) fn retell_presence(&mut self, conn: ConnId) {
        if self.probe.canary(Canary::PresenceLostInLag) {
            return;
        }
        let Some(list) = self.watch_list(conn) else { return };
        let users: Vec<UserId> = list.watches.iter().map(|watching| watching.user.clone()).collect();
        self.probe.reached(Rule::PresenceRetold);
        users.iter().for_each(|user| self.tell_watch(conn, user));
    }

    fn retry_watch(&mut self, conn: ConnId, user: &UserId) {
        self.probe.reached(Rule::WatchFailed);
        self.stats.seen_failed += 1;
        let retry_at = self.now + self.config.reload_interval;
        let Some(list) = self.watch_list(conn) else { return };
        if let Some(watching) = list.get_mut(user) {
            watching.ask = Ask::Failed;
        }
        if list.retry_at.is_none() {
            list.retry_at = Some(retry_at);
            self.timers.set(retry_at, Due::Watch(conn));
        }
    }

    /// What could not be asked is asked again.
    pub(in crate::server) fn watch_due(&mut self, conn: ConnId) {
        let Some(list) = self.watch_list(conn) else { return };
        (list.retry_at, list.next) = (None, 0);
        for watching in list.watches.iter_mut().filter(|watching| watching.ask == Ask::Failed) {
            watching.ask = Ask::Due;
        }
        self.probe.reached(Rule::WatchRetried);
        self.ask_watches(conn);
    }
}
