//! Who is here: the users of this engine, and those whom its sessions watch.
//!
//! A user is here while one of its connections, of whatever protocol, is welcomed, and for a grace after the last one.
//! Then the store keeps the time, and after that everybody who watches is told. What happens at other engines is told in
//! notes, which may be lost, late, repeated or out of order; so a note that somebody has gone is a hint only, and a
//! question is asked: who has the user answers it.

use alloc::vec::Vec;
use core::time::Duration;
use serde::{Deserialize, Serialize};

use slab::Slab;
use switchboard_proto::v1::{NotedPresence, note};

use super::{Server, requests::Purpose, session::frames, timers::Due, users::UserKey};
use crate::{
    answer::Undone,
    bus::Topic,
    config::to_usize,
    digest::Digest,
    hash::{Lookup, OrderedSet, SeededState},
    id::{ConnId, Ticket, UserId},
    probe::{Canary, Probe, Rule},
    storage::{Answer, Request},
    time::Instant,
};

/// A place in the table of users who have left; reused.
pub(super) type AwayKey = usize;

/// A place in the table of users who are watched; reused.
pub(super) type WatchedKey = usize;

/// Questions in a row that stay unanswered when an engine that had the user has died.
const UNANSWERED_LIMIT: u8 = 2;

/// The tables.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Presence {
    away: Slab<Away>,
    away_by_id: Lookup<UserId, AwayKey>,
    watched: Slab<Watched>,
    watched_by_id: Lookup<UserId, WatchedKey>,
    hash: SeededState,
}

/// A user whose last connection here has ended, and of whom nobody has been told so yet.
///
/// ```text
///   Grace ── time ──► Storing ── answer ──► (everybody is told)
///     └────────────────┴── the user is welcomed again ──► (nobody is told)
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Away {
    user: UserId,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Stage {
    Grace { until: Instant },
    Storing { ticket: Ticket },
}

/// A user whom at least one session here watches.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Watched {
    pub(super) user: UserId,
    watchers: OrderedSet<ConnId>,
    /// When the user was last here, as far as that was told; 0: it was not.
    last_seen_ms: i64,
    known: Known,
    /// Questions since the last answer.
    unanswered: u8,
    /// When the next one is asked, or the last one is given up.
    due: Option<Instant>,
}

/// What is known of a user who is watched.
///
/// ```text
///   Unknown ──► Online ◄──► Offline          here, and with no other engines, nothing is doubted
///      │          │ ▲           ▲
///      │          ▼ │ answer    │
///      │        Doubted ────────┤ no answer
///      └────────────────────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Known {
    /// Others were asked and may still answer; nobody has been told anything.
    Unknown,
    Online,
    /// The user was online and is said to have gone: others were asked whether it is there.
    Doubted,
    Offline,
}

impl Presence {
    /// See [`settle`](super::snapshot::settle).
    pub(super) fn settle_places(&mut self) {
        super::snapshot::settle(&mut self.away);
        super::snapshot::settle(&mut self.watched);
    }

    pub(super) fn new(hash: SeededState) -> Self {
        Self {
            away: Slab::new(),
            away_by_id: Lookup::with_hasher(hash),
            watched: Slab::new(),
            watched_by_id: Lookup::with_hasher(hash),
            hash,
        }
    }

    /// Users who have left and of whom nobody has been told so yet.
    pub(super) fn away(&self) -> usize {
        self.away.len()
    }

    /// Whether a user is one of those.
    pub(super) fn is_away(&self, user: &str) -> bool {
        self.away_by_id.contains_key(user)
    }

    /// Users who are watched.
    pub(super) fn watched(&self) -> usize {
        self.watched.len()
    }

    /// All of those, with their watchers.
    pub(super) fn iter_watched(
        &self,
    ) -> impl Iterator<Item = (WatchedKey, &UserId, impl Iterator<Item = &ConnId>)> {
        self.watched.iter().map(|(key, watched)| (key, &watched.user, watched.watchers.iter()))
    }

    /// Whether the table's parts are in step.
    pub(super) fn is_sound(&self) -> bool {
        let away = self.away.iter().all(|(key, away)| self.away_by_id.get(&away.user) == Some(&key));
        let found = |(key, watched): (_, &Watched)| self.watched_by_id.get(&watched.user) == Some(&key);
        away && self.away.len() == self.away_by_id.len()
            && self.watched.iter().all(found)
            && self.watched.len() == self.watched_by_id.len()
    }

    /// What a session that may know is told of a user: whether it is online, and when it was last here. None while that
    /// is not known.
    pub(super) fn shown(&self, key: WatchedKey) -> Option<(bool, i64)> {
        let watched = self.watched.get(key)?;
        match watched.known {
            Known::Unknown => None,
            Known::Online | Known::Doubted => Some((true, 0)),
            Known::Offline => Some((false, watched.last_seen_ms)),
        }
    }

    /// A store or another engine says when a user was last here.
    pub(super) fn seen(&mut self, key: WatchedKey, at_ms: i64) {
        if let Some(watched) = self.watched.get_mut(key) {
            watched.last_seen_ms = watched.last_seen_ms.max(at_ms);
        }
    }

    pub(super) fn fold_away_name(&self, digest: &mut Digest<'_>, key: AwayKey) {
        digest.text(self.away.get(key).map_or("", |away| away.user.as_str()));
    }

    pub(super) fn fold_watched_name(&self, digest: &mut Digest<'_>, key: WatchedKey) {
        digest.text(self.watched.get(key).map_or("", |watched| watched.user.as_str()));
    }

    /// Who watches whom, the sessions tell.
    pub(super) fn fold(&self, digest: &mut Digest<'_>) {
        digest.unordered(self.away.iter(), |digest, (_, away)| {
            digest.text(away.user.as_str());
            match away.stage {
                Stage::Grace { until } => {
                    digest.word(0);
                    digest.instant(until);
                }
                Stage::Storing { .. } => digest.word(1),
            }
        });
        digest.unordered(self.watched.iter(), |digest, (_, watched)| {
            digest.text(watched.user.as_str());
            digest.len(watched.watchers.len());
            digest.word(watched.last_seen_ms.cast_unsigned());
            digest.word(watched.known as u64);
            digest.word(watched.unanswered.into());
            digest.instant_or_none(watched.due);
        });
    }
}

/// Users of this engine.
impl<P: Probe> Server<P> {
    /// A connection of the user has been welcomed.
    pub(super) fn arrived(&mut self, key: UserKey) {
        let Some(user) = self.users.get_mut(key).filter(|user| !user.is_here) else { return };
        user.is_here = true;
        if !self.config.presence {
            return;
        }
        let id = user.id.clone();
        self.probe.reached(Rule::PresenceArrived);
        let away = self.presence.away_by_id.get(&id).copied();
        if let Some(away) = away.filter(|_| !self.probe.canary(Canary::PresenceBackIgnored)) {
            self.probe.reached(Rule::PresenceBack);
            match self.forget_away(away).map(|away| away.stage) {
                Some(Stage::Grace { until }) => self.timers.cancel(until, Due::Away(away)),
                Some(Stage::Storing { ticket }) => {
                    self.requests.close(ticket);
                }
                None => {}
            }
        }
        self.tell_presence(&id, true, 0);
        if let Some(watched) = self.presence.watched_by_id.get(&id).copied() {
            self.is_online(watched);
            self.plan_question(watched, None);
        }
    }

    /// A connection of the user is welcomed no more: perhaps it was the last one.
    pub(super) fn departed(&mut self, key: UserKey) {
        let Some(user) = self.users.get_mut(key).filter(|user| user.is_here) else { return };
        let connections = &self.connections;
        if user.conns.iter().any(|conn| connections.get(*conn).is_some_and(|c| c.is_online())) {
            return;
        }
        user.is_here = false;
        if !self.config.presence {
            return;
        }
        let id = user.id.clone();
        if self.presence.away_by_id.contains_key(&id) {
            return;
        }
        if self.presence.away.len() >= to_usize(self.config.limits.connections) {
            self.probe.reached(Rule::SeenSkipped);
            self.stats.seen_skipped += 1;
            return self.has_gone(&id, 0);
        }
        self.probe.reached(Rule::PresenceGrace);
        let at_once = self.probe.canary(Canary::PresenceWithoutGrace);
        let is_running = self.stopping == super::shutdown::Stopping::Running;
        let grace = if is_running && !at_once { self.config.presence_grace } else { Duration::ZERO };
        let until = self.now + grace;
        let stage = Stage::Grace { until };
        let away = self.presence.away.insert(Away { user: id.clone(), stage });
        self.presence.away_by_id.insert(id, away);
        if grace.is_zero() {
            self.away_due(away);
        } else {
            self.timers.set(until, Due::Away(away));
        }
    }

    /// The grace is over: the user has gone, and the store keeps when.
    pub(super) fn away_due(&mut self, key: AwayKey) {
        let Some(user) = self.presence.away.get(key).map(|away| away.user.clone()) else { return };
        if self.probe.canary(Canary::SeenNotStored) {
            self.forget_away(key);
            return self.has_gone(&user, 0);
        }
        let ticket = self.request(Purpose::Seen(key), Request::StoreSeen(user));
        if let Some(away) = self.presence.away.get_mut(key) {
            away.stage = Stage::Storing { ticket };
        }
    }

    /// The store has kept when a user was last here, or has not.
    pub(super) fn seen_answered(&mut self, key: AwayKey, answer: Answer) {
        let Some(Away { user, .. }) = self.forget_away(key) else { return };
        let at_ms = match answer.into_seen() {
            Ok(at_ms) => at_ms.unwrap_or(0),
            // Nobody is kept waiting for that: what is told without a time is right too.
            Err(Undone::Failed | Undone::Refused) => {
                self.probe.reached(Rule::SeenFailed);
                self.stats.seen_failed += 1;
                0
            }
        };
        self.has_gone(&user, at_ms);
    }

    /// During a shutdown nobody waits for who may come back: it will be elsewhere.
    pub(super) fn end_graces(&mut self) {
        let graces: Vec<(AwayKey, Instant)> = self
            .presence
            .away
            .iter()
            .filter_map(|(key, away)| match away.stage {
                Stage::Grace { until } => Some((key, until)),
                Stage::Storing { .. } => None,
            })
            .collect();
        for (key, until) in graces {
            self.timers.cancel(until, Due::Away(key));
            self.away_due(key);
        }
    }

    fn forget_away(&mut self, key: AwayKey) -> Option<Away> {
        let away = self.presence.away.try_remove(key)?;
        self.presence.away_by_id.remove(&away.user);
        self.listens_no_more(away.user.clone());
        Some(away)
    }

    /// A user has no connection here, and has had none for the grace.
    fn has_gone(&mut self, user: &UserId, at_ms: i64) {
        if self.probe.canary(Canary::PresenceLeftForgotten) {
            return;
        }
        self.probe.reached(Rule::PresenceLeft);
        self.tell_presence(user, false, at_ms);
        if let Some(watched) = self.presence.watched_by_id.get(user).copied() {
            self.is_said_gone(watched, at_ms);
        }
    }

    /// Tells the engines where the user is watched.
    fn tell_presence(&mut self, user: &UserId, online: bool, last_seen_ms: i64) {
        let noted = NotedPresence { user: user.as_str().into(), question: false, online, last_seen_ms };
        self.tell(Topic::Presence(user.clone()), note::Body::Presence(noted));
    }
}

/// Users who are watched.
impl<P: Probe> Server<P> {
    /// A session begins to watch a user. Returns the user's place.
    pub(super) fn add_watcher(&mut self, conn: ConnId, user: &UserId) -> WatchedKey {
        if let Some(key) = self.presence.watched_by_id.get(user).copied() {
            if let Some(watched) = self.presence.watched.get_mut(key) {
                watched.watchers.insert(conn);
            }
            return key;
        }
        let mut watchers = OrderedSet::with_hasher(self.presence.hash);
        watchers.insert(conn);
        let is_here = self.is_here(user);
        let known = match (is_here, self.config.peers && self.config.presence) {
            (true, _) => Known::Online,
            (false, true) => Known::Unknown,
            (false, false) => Known::Offline,
        };
        let watched =
            Watched { user: user.clone(), watchers, last_seen_ms: 0, known, unanswered: 0, due: None };
        let key = self.presence.watched.insert(watched);
        self.presence.watched_by_id.insert(user.clone(), key);
        self.subscribe(Topic::Presence(user.clone()));
        if known == Known::Unknown {
            self.ask(key);
            self.plan_question(key, Some(self.now + self.config.peer_timeout));
        }
        key
    }

    /// A session watches a user no more.
    pub(super) fn remove_watcher(&mut self, conn: ConnId, key: WatchedKey) {
        let Some(watched) = self.presence.watched.get_mut(key) else { return };
        watched.watchers.swap_remove(&conn);
        if !watched.watchers.is_empty() {
            return;
        }
        self.plan_question(key, None);
        let Some(watched) = self.presence.watched.try_remove(key) else { return };
        self.presence.watched_by_id.remove(&watched.user);
        if !self.probe.canary(Canary::PresenceStaysSubscribed) {
            self.unsubscribe(Topic::Presence(watched.user));
        }
    }

    /// Whether a user is here, or was until a moment ago.
    fn is_here(&self, user: &UserId) -> bool {
        self.presence.away_by_id.contains_key(user)
            || self.users.by_id(user.as_str()).is_some_and(|user| user.is_here)
    }

    /// Another engine says something of a user's presence, or asks. Returns whether it is understood.
    pub(super) fn presence_told(&mut self, topic: &Topic, noted: &NotedPresence) -> bool {
        let Ok(user) = UserId::new(&noted.user) else { return false };
        if noted.question {
            let is_asked = *topic == Topic::User(user.clone());
            let is_here = self.config.presence && self.is_here(&user);
            if is_asked && is_here && !self.probe.canary(Canary::PresenceQuestionIgnored) {
                self.probe.reached(Rule::PresenceAnswered);
                self.tell_presence(&user, true, 0);
            }
            return is_asked;
        }
        if *topic != Topic::Presence(user.clone()) {
            return false;
        }
        // A note may be about a user whom nobody watches any more, or who is here whatever others say.
        let watched = self.presence.watched_by_id.get(&user).copied();
        let Some(watched) = watched.filter(|_| !self.is_here(&user)) else { return true };
        if noted.online {
            self.is_online(watched);
            self.plan_question(watched, Some(self.now + self.config.presence_refresh));
        } else {
            self.is_said_gone(watched, noted.last_seen_ms);
        }
        true
    }

    /// It is certain that a user is online.
    fn is_online(&mut self, key: WatchedKey) {
        let Some(watched) = self.presence.watched.get_mut(key) else { return };
        watched.unanswered = 0;
        let known = core::mem::replace(&mut watched.known, Known::Online);
        match known {
            Known::Unknown | Known::Offline => self.tell_watchers(key),
            Known::Doubted => self.probe.reached(Rule::PresenceConfirmed),
            Known::Online => {}
        }
    }

    /// A user is not there any more where it was: it may be somewhere else.
    fn is_said_gone(&mut self, key: WatchedKey, at_ms: i64) {
        self.presence.seen(key, at_ms);
        let believed = self.probe.canary(Canary::PresenceHintBelieved);
        let Some(watched) = self.presence.watched.get_mut(key) else { return };
        match watched.known {
            Known::Online if self.config.peers && !believed => {
                self.probe.reached(Rule::PresenceDoubted);
                watched.known = Known::Doubted;
                self.ask(key);
                self.plan_question(key, Some(self.now + self.config.peer_timeout));
            }
            Known::Online => {
                watched.known = Known::Offline;
                self.tell_watchers(key);
            }
            // The question is asked already, or this is another time than the one that was told.
            Known::Unknown | Known::Doubted => {}
            Known::Offline => self.tell_watchers(key),
        }
    }

    /// It is time to ask again whether a user is at another engine, or to give up waiting for the answer.
    pub(super) fn watched_due(&mut self, key: WatchedKey) {
        let Some(watched) = self.presence.watched.get_mut(key) else { return };
        watched.due = None;
        let gone = match watched.known {
            Known::Unknown | Known::Doubted => true,
            Known::Online => watched.unanswered >= UNANSWERED_LIMIT,
            Known::Offline => false,
        };
        if gone && !self.probe.canary(Canary::PresenceSilenceBelieved) {
            self.probe.reached(Rule::PresenceUnanswered);
            watched.known = Known::Offline;
            watched.unanswered = 0;
            self.tell_watchers(key);
        } else {
            self.ask(key);
        }
        let unanswered = self.presence.watched.get(key).map_or(0, |watched| watched.unanswered);
        let is_last = unanswered >= UNANSWERED_LIMIT
            && self.presence.watched.get(key).is_some_and(|watched| watched.known == Known::Online);
        let pause = if is_last { self.config.peer_timeout } else { self.config.presence_refresh };
        self.plan_question(key, Some(self.now + pause));
    }

    /// Asks the other engines whether a user is there.
    fn ask(&mut self, key: WatchedKey) {
        let Some(watched) = self.presence.watched.get_mut(key) else { return };
        watched.unanswered = watched.unanswered.saturating_add(1).min(UNANSWERED_LIMIT);
        let user = watched.user.clone();
        self.probe.reached(Rule::PresenceAsked);
        let noted = NotedPresence { user: user.as_str().into(), question: true, ..NotedPresence::default() };
        self.tell(Topic::User(user), note::Body::Presence(noted));
    }

    /// Moves the time of the next question.
    fn plan_question(&mut self, key: WatchedKey, due: Option<Instant>) {
        let Some(watched) = self.presence.watched.get_mut(key) else { return };
        let due = due.filter(|_| self.config.peers);
        if let Some(at) = core::mem::replace(&mut watched.due, due) {
            self.timers.cancel(at, Due::Watched(key));
        }
        if let Some(at) = due {
            self.timers.set(at, Due::Watched(key));
        }
    }

    /// Tells a user's watchers what they have not been told yet.
    fn tell_watchers(&mut self, key: WatchedKey) {
        let Some((online, last_seen_ms)) = self.presence.shown(key) else { return };
        let Some(watched) = self.presence.watched.get(key) else { return };
        let (user, watchers) = (watched.user.clone(), watched.watchers.len());
        let frame = frames::presence(&user, online, last_seen_ms);
        let mark = self.hints();
        for place in 0..watchers {
            let watched = self.presence.watched.get(key);
            let Some(conn) = watched.and_then(|watched| watched.watchers.get_index(place)).copied() else {
                break;
            };
            if self.may_be_told(conn, &user, (online, last_seen_ms)) && self.offer_hint(conn, &frame) {
                self.note_told(conn, &user, (online, last_seen_ms));
            }
        }
        self.send_hints(mark, frame);
    }
}
