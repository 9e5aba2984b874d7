//! What the applications above session clients are told: each message of each log that they may read once, in order
//! and without gaps; of each of their own messages its fate once; and, once the faults have ended, all of it.

use std::collections::BTreeMap;

use switchboard_engine::{LogMessage, Marks, MessageId, OlderId, Place, RejectReason, SessionNotification};

use super::{Spec, logs::Entry, sessions::name_of, versions::Words, views::Views};
use crate::{
    check::{ConnKey, MessageKey},
    wire::{
        self,
        session::{LogKey, NOBODY, Peer, peer_of},
    },
};

/// One application.
#[derive(Clone, Debug, Default)]
pub(super) struct App {
    /// How far it was told each conversation: epoch and place.
    pub(super) logs: BTreeMap<Peer, (u64, u64)>,
    /// Its messages, and whether it was told what became of them.
    fates: BTreeMap<[u8; 16], bool>,
    /// Those without a fate that its session has heard cannot be taken for now, and whether it was told so.
    delays: BTreeMap<[u8; 16], bool>,
    /// Older messages that it has asked for: of which conversation, before which place, how many.
    older: BTreeMap<OlderId, (Peer, u64, u32)>,
    /// What it shows of what was changed.
    pub(super) views: Views,
    /// How far its user and others are: the conversation, and whether it is its user.
    pub(super) marks: BTreeMap<(Peer, bool), (u64, Marks)>,
    /// The connection that its session was last welcomed over.
    pub(super) conn: Option<ConnKey>,
}

impl Spec {
    pub(super) fn app(&mut self, client: u16) -> &mut App {
        self.apps.entry(client).or_default()
    }

    fn user_of(&self, client: u16) -> u16 {
        self.users[client as usize]
    }

    pub(super) fn app_welcomed(&mut self, client: u16, conn: ConnKey) {
        self.app(client).conn = Some(conn);
    }

    /// An application has kept a message and hands it over.
    pub(crate) fn submits(&mut self, client: u16, id: MessageId) {
        self.app(client).fates.insert(id.0, false);
    }

    /// Its session has not taken it.
    pub(crate) fn takes_back(&mut self, client: u16, id: MessageId) {
        self.app(client).fates.remove(&id.0);
    }

    /// An application asks for older messages.
    pub(crate) fn asks_older(
        &mut self,
        client: u16,
        request: OlderId,
        of: Peer,
        before_seq: u64,
        limit: u32,
    ) {
        self.app(client).older.insert(request, (of, before_seq, limit));
    }

    /// An application's process has died: what it had asked is not answered to the next one.
    pub(crate) fn died(&mut self, client: u16) {
        let app = self.app(client);
        app.older.clear();
        // The next process is told anew.
        app.delays.clear();
        // Marks of which it has no messages yet are not kept, and told again.
        let App { logs, marks, .. } = app;
        marks.retain(|(peer, _), _| logs.contains_key(peer));
        self.forget_typists(client);
        self.forget_calls(client);
    }

    /// An application has lost all that it had kept.
    pub(crate) fn wiped(&mut self, client: u16) {
        let app = self.app(client);
        app.logs.clear();
        app.views = Views::default();
        app.marks.clear();
        app.fates.retain(|_, told| *told);
    }

    /// An application is told something.
    pub(crate) fn told(&mut self, client: u16, notification: &SessionNotification) {
        if !self.is_on {
            return;
        }
        let conn = self.app(client).conn;
        self.is_lenient = self.is_of_before(conn) && !is_of_a_log(notification);
        self.judge_told(client, notification);
        self.is_lenient = false;
    }

    fn judge_told(&mut self, client: u16, notification: &SessionNotification) {
        match notification {
            SessionNotification::StateChanged(_) => {}
            SessionNotification::Message { conversation, epoch, message } => {
                self.told_message(client, Peer::of(conversation), *epoch, message);
            }
            SessionNotification::Skipped { conversation, epoch, seq } => {
                self.told_skip(client, Peer::of(conversation), *epoch, *seq);
            }
            SessionNotification::Reset { conversation } => {
                let peer = Peer::of(conversation);
                let known = self.app(client).logs.remove(&peer);
                self.app(client).views.forget(peer);
                self.app(client).marks.retain(|(of, _), _| *of != peer);
                if !self.is_outdated(peer.log(self.user_of(client)), known) {
                    self.fail("one-order", |_| format!("c{client} is to forget {peer}, and no log was lost"));
                }
            }
            SessionNotification::Delayed { id, .. } => self.told_delayed(client, *id),
            SessionNotification::Accepted { id, place } => self.told_accepted(client, *id, *place),
            SessionNotification::Rejected { id, code, .. } => self.told_rejected(client, *id, *code),
            SessionNotification::Older { request, conversation, epoch, messages, first_seq } => {
                self.told_older(client, *request, Peer::of(conversation), *epoch, messages, *first_seq);
            }
            SessionNotification::NoOlder { request, .. } => {
                if self.app(client).older.remove(request).is_none() {
                    self.fail("exactly-once", |_| format!("c{client} is told of no older messages unasked"));
                }
            }
            SessionNotification::CaughtUp => self.caught_up(client),
            SessionNotification::Marked { conversation, epoch, own, marks } => {
                self.told_marked(client, Peer::of(conversation), *epoch, *own, *marks);
            }
            SessionNotification::Named { .. } => {}
            SessionNotification::Typing { conversation, user, types } => {
                let user = wire::index(user.as_str()).unwrap_or(NOBODY);
                self.told_typing(client, Peer::of(conversation), user, *types);
            }
            SessionNotification::Call { id, user, news } => self.told_call(client, *id, user, news),
            // What its session hears the moment before is judged.
            SessionNotification::Presence { .. } | SessionNotification::Notice { .. } => {}
        }
    }

    /// Whether a place of a log has what an application is told of it.
    fn has(&mut self, client: u16, peer: Peer, epoch: u64, message: &LogMessage) {
        let log = peer.log(self.user_of(client));
        let content = &message.content;
        let told = Words::new(content.kind, &content.text, &content.file, &content.subject)
            .read(message.changed_seq, message.is_recalled);
        let versions = self.logs.of_epoch(log, epoch).map(|log| &log.versions);
        let holds = self.logs.at(log, epoch, message.seq).is_some_and(|entry| {
            let from = wire::index(message.from.as_str()) == Some(entry.sender);
            let said = versions.is_some_and(|versions| versions.ever_said(message.seq, entry.words, told));
            from && entry.id == message.id && said
        });
        if !holds {
            self.fail("one-order", |_| {
                format!(
                    "c{client} is told {} as {peer}/{}, which its log has not",
                    name_of(message.id),
                    message.seq
                )
            });
        }
    }

    fn told_message(&mut self, client: u16, peer: Peer, epoch: u64, message: &LogMessage) {
        self.has(client, peer, epoch, message);
        let seq = message.seq;
        self.app(client).views.told(peer, message);
        let before = self.app(client).logs.insert(peer, (epoch, seq));
        let (known, last) = before.unwrap_or((epoch, 0));
        if known != epoch {
            self.fail("one-order", |_| format!("c{client} is told {peer}/{seq} of another log, unprepared"));
        } else if seq <= last {
            self.fail("exactly-once", |_| format!("c{client} is told {peer}/{seq} after {last}"));
        } else if seq > last + 1 {
            self.fail("one-order", |_| format!("c{client} is told {peer}/{seq}, and {} is next", last + 1));
        }
    }

    fn told_skip(&mut self, client: u16, peer: Peer, epoch: u64, seq: u64) {
        let user = self.user_of(client);
        let before = self.app(client).logs.insert(peer, (epoch, seq));
        let (known, last) = before.unwrap_or((epoch, 0));
        let hidden = match peer {
            Peer::Group(group) => self.logs.is_hidden(group, user, seq),
            Peer::User(_) => false,
        };
        self.app(client).views.skips(peer, last, seq);
        let limited = self.limits.history > 0 && last == 0;
        if known != epoch || seq <= last || !(hidden || limited) {
            self.fail("one-order", |_| {
                format!("c{client} is to skip {peer} from {last} to {seq}, without cause")
            });
        }
    }

    fn told_accepted(&mut self, client: u16, id: MessageId, place: Place) {
        self.told_fate(client, id);
        let user = self.user_of(client);
        let there = self.logs.all_of(user).any(|log| {
            let seq = usize::try_from(place.seq).unwrap_or(0);
            let entry = seq.checked_sub(1).and_then(|place| log.entries.get(place));
            log.epoch == place.epoch && entry.is_some_and(|entry| entry.id == id && entry.sender == user)
        });
        if !there {
            self.fail("accepted-is-durable", |_| {
                format!("c{client} is told that {} is stored as {place:?}, and it is not", name_of(id))
            });
        }
    }

    fn told_rejected(&mut self, client: u16, id: MessageId, code: RejectReason) {
        self.told_fate(client, id);
        let user = self.user_of(client);
        // What was refused may be stored when another device says the same again.
        let is_shared = |key: MessageKey| self.words.get(key as usize).is_some_and(|word| word.is_shared);
        let is_it = |entry: &Entry| entry.id == id && entry.sender == user && !is_shared(entry.key);
        let stored = self.logs.newest_of(user).any(|log| log.entries.iter().any(is_it));
        // Whether it is true, its session's connection has shown.
        let is_refusal = matches!(
            code,
            RejectReason::NoSuchConversation | RejectReason::Forbidden | RejectReason::Conflict
        );
        if stored || !is_refusal {
            self.fail("protocol", |_| {
                format!("c{client} is told that {} is rejected for good: {code:?}", name_of(id))
            });
        }
    }

    /// A session hears that a message cannot be taken for now.
    pub(super) fn hears_delay(&mut self, conn: ConnKey, id: &[u8]) {
        let client = self.lines[conn as usize].client;
        let Ok(id) = id.try_into() else { return };
        let app = self.app(client);
        if app.conn == Some(conn) && app.fates.get(&id) == Some(&false) {
            app.delays.entry(id).or_insert(false);
        }
    }

    /// An application is told that a message of its own waits for the server: when that begins, and not again.
    fn told_delayed(&mut self, client: u16, id: MessageId) {
        if self.app(client).delays.insert(id.0, true) != Some(false) {
            self.fail("exactly-once", |_| {
                format!("c{client} is told that {} is delayed, without cause or again", name_of(id))
            });
        }
    }

    /// An application has been told all that its session has heard. One that `listens` no more, as it has said goodbye, goes
    /// by what it hears the next time.
    pub(crate) fn told_all(&mut self, client: u16, listens: bool) {
        if !self.is_on {
            return;
        }
        if !listens {
            return self.app(client).delays.retain(|_, told| *told);
        }
        let untold = self.app(client).delays.iter().find(|(_, told)| !**told).map(|(id, _)| *id);
        if let Some(id) = untold {
            let name = name_of(MessageId(id));
            self.fail("delivery", |_| format!("c{client} is not told that {name} is delayed"));
        }
    }

    fn told_fate(&mut self, client: u16, id: MessageId) {
        self.app(client).delays.remove(&id.0);
        let before = self.app(client).fates.insert(id.0, true);
        if before != Some(false) {
            self.fail("exactly-once", |_| format!("c{client} is told the fate of {} again", name_of(id)));
        }
    }

    fn told_older(
        &mut self,
        client: u16,
        request: OlderId,
        peer: Peer,
        epoch: u64,
        messages: &[LogMessage],
        first_seq: u64,
    ) {
        let asked = self.app(client).older.remove(&request);
        let Some((of, before_seq, limit)) = asked else {
            return self.fail("exactly-once", |_| format!("c{client} is told older messages unasked"));
        };
        messages.iter().for_each(|message| self.has(client, peer, epoch, message));
        let in_a_row = messages.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq);
        let last = messages.last().map_or(0, |message| message.seq);
        let first = messages.first().map_or(u64::MAX, |message| message.seq);
        let fits = (before_seq == 0 || last < before_seq) && (limit == 0 || messages.len() <= limit as usize);
        if of != peer || !in_a_row || !fits || first < first_seq {
            self.fail("one-order", |_| {
                format!(
                    "c{client} asks for {limit} of {of} before {before_seq}, and is given {first} to {last}"
                )
            });
        }
    }

    /// An application is told that it has everything that was stored when its connection began.
    fn caught_up(&mut self, client: u16) {
        let user = self.user_of(client);
        let Some(conn) = self.app(client).conn else { return };
        let Some(talk) = &self.lines[conn as usize].talk else { return };
        let (heads, hello_us) = (talk.heads.clone(), talk.hello_us);
        for (log, epoch, head) in heads {
            let has = self.reach(client, log);
            // Who was no member for a moment may be told no more.
            let (one, other) = log;
            let reads = one != u32::MAX || !self.logs.has_changed(other as u16, user, hello_us);
            if reads && !has.is_some_and(|(known, seq)| known != epoch || seq >= head) {
                self.fail("convergence", |_| {
                    format!("c{client} has caught up, and has {has:?} of {head} of {:?}", peer_of(log, user))
                });
            }
        }
    }

    fn reach(&self, client: u16, log: LogKey) -> Option<(u64, u64)> {
        let peer = peer_of(log, self.user_of(client))?;
        self.apps.get(&client)?.logs.get(&peer).copied()
    }

    /// What an application lacks of what it may read, or does not know of what it has said; none if nothing.
    pub(crate) fn lack(&self, client: u16) -> Option<String> {
        let user = self.user_of(client);
        let app = self.apps.get(&client);
        let pending = app.into_iter().flat_map(|app| &app.fates).find(|(_, told)| !**told);
        if let Some((id, _)) = pending {
            return Some(format!("c{client} does not learn what has become of {}", name_of(MessageId(*id))));
        }
        self.logs.all().find_map(|(log, newest)| {
            let peer = peer_of(log, user)?;
            let head = self.logs.head_for(log, user)?;
            let has = self.reach(client, log);
            // Who has left may have been pushed what was said before the servers knew.
            let complete = has
                .is_some_and(|(epoch, seq)| epoch == newest.epoch && (head..=newest.head()).contains(&seq));
            if !complete {
                return Some(format!("c{client} has {has:?} of {head} entries of {peer}"));
            }
            if let Some(seq) = self.mistaken(client, log) {
                return Some(format!("c{client} does not show what has become of {peer}/{seq}"));
            }
            self.mismarked(client, log)
        })
    }

    /// How much applications have not been told yet: messages of logs, and fates.
    pub(crate) fn backlog(&self, client: u16) -> (u64, u64) {
        let user = self.user_of(client);
        let own = self.logs.all().filter(|(log, _)| peer_of(*log, user).is_some());
        let missing = own.map(|(log, newest)| {
            let has = self.reach(client, log).filter(|(epoch, _)| *epoch == newest.epoch);
            newest.head() - has.map_or(0, |(_, seq)| seq.min(newest.head()))
        });
        let fates = self.apps.get(&client).into_iter().flat_map(|app| app.fates.values());
        (missing.sum(), fates.filter(|told| !**told).count() as u64)
    }
}

/// Whether a notification can be judged by the log that it names, whatever the store was set back to meanwhile.
const fn is_of_a_log(notification: &SessionNotification) -> bool {
    match notification {
        SessionNotification::Message { .. }
        | SessionNotification::Reset { .. }
        | SessionNotification::Accepted { .. }
        | SessionNotification::Rejected { .. }
        | SessionNotification::Delayed { .. }
        | SessionNotification::Older { .. }
        | SessionNotification::NoOlder { .. } => true,
        SessionNotification::StateChanged(_)
        | SessionNotification::Skipped { .. }
        | SessionNotification::CaughtUp
        | SessionNotification::Named { .. }
        | SessionNotification::Marked { .. }
        | SessionNotification::Typing { .. }
        | SessionNotification::Notice { .. }
        | SessionNotification::Presence { .. }
        | SessionNotification::Call { .. } => false,
    }
}
