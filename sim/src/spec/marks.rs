//! How far users are with their conversations, as they say, as the store has it, and as it is told.

use std::collections::BTreeMap;

use switchboard_engine::{Answer, Marks, NewMarks, StoredMarks};
use switchboard_proto::v1::{Head, Marked};

use super::Spec;
use crate::{
    check::{ConnKey, Mark},
    wire::{
        self,
        session::{LogKey, Peer, marks_of, peer_of},
    },
};

/// The marks of one user in one log.
#[derive(Clone, Debug, Default)]
struct Progress {
    /// What was said of it, and when.
    said: Vec<(u64, Marks)>,
    /// What the store has had, and since when; the newest last.
    stored: Vec<(u64, Marks)>,
    /// Since when it counts: who joins a group begins without any.
    since_us: u64,
}

/// The marks of all users.
#[derive(Clone, Debug, Default)]
pub(super) struct AllMarks(BTreeMap<(u16, LogKey, u64), Progress>);

impl AllMarks {
    fn progress(&mut self, user: u16, log: LogKey, epoch: u64) -> &mut Progress {
        self.0.entry((user, log, epoch)).or_default()
    }

    /// What the store has of a user.
    pub(super) fn now(&self, user: u16, log: LogKey, epoch: u64) -> Marks {
        let progress = self.0.get(&(user, log, epoch));
        progress.and_then(|progress| progress.stored.last()).map_or_else(Marks::default, |(_, marks)| *marks)
    }

    /// Whether the store has had these of a user at some time since then.
    fn had(&self, user: u16, log: LogKey, epoch: u64, marks: Marks, since_us: u64) -> bool {
        let Some(Progress { stored, .. }) = self.0.get(&(user, log, epoch)) else {
            return marks == Marks::default();
        };
        let before = stored.iter().rposition(|(at_us, _)| *at_us < since_us);
        let at_first = before.is_none() && marks == Marks::default();
        at_first || stored.iter().skip(before.unwrap_or(0)).any(|(_, had)| *had == marks)
    }
}

impl Spec {
    /// A user says how far they are.
    pub(super) fn says_marks(&mut self, user: u16, mark: Mark) {
        let now_us = self.now_us;
        self.marks.progress(user, mark.of.log(user), mark.epoch).said.push((now_us, mark.marks));
    }

    /// Who joins a group, again or not, begins without any.
    pub(super) fn begins_unmarked(&mut self, user: u16, log: LogKey, epoch: u64) {
        let now_us = self.now_us;
        let progress = self.marks.progress(user, log, epoch);
        progress.stored.push((now_us, Marks::default()));
        progress.since_us = now_us;
    }

    /// The store has been asked to keep marks.
    pub(crate) fn marks_kept(&mut self, new: &NewMarks, answer: &Answer) {
        let Answer::MarksStored(StoredMarks { marks, has_moved }) = *answer else { return };
        if !self.is_on {
            return;
        }
        let user = wire::index(new.user.as_str()).unwrap_or(u16::MAX);
        let log = Peer::of(&new.conversation).log(user);
        // Who has left a group says so of what is theirs to read.
        let head = self.logs.head_for(log, user).unwrap_or(0);
        let epoch = self.logs.newest(log).map_or(0, |log| log.epoch);
        let before = self.marks.now(user, log, new.epoch);
        let now_us = self.now_us;
        // What was on its way when the user joined counts.
        let answer_us = self.limits.answer_us;
        let progress = self.marks.progress(user, log, new.epoch);
        let counts = progress.said.iter().filter(|(at_us, _)| *at_us + answer_us >= progress.since_us);
        let said = counts.fold(Marks::default(), |most, (_, said)| most.max_of(*said));
        if has_moved {
            progress.stored.push((now_us, marks));
        }
        let is_forward = before.max_of(marks) == marks && has_moved == (before != marks);
        let is_said = said.max_of(marks) == said;
        let within = marks.delivered <= head && marks.read <= head && marks.read <= marks.delivered;
        if !is_forward || !is_said || !within || new.epoch != epoch {
            self.fail("marks", |_| {
                let of = peer_of(log, user);
                format!("u{user}'s marks of {of:?} become {marks:?}: were {before:?}, were said {said:?}, of {head}")
            });
        }
    }

    /// A session hears that somebody's marks have moved.
    pub(super) fn hears_marked(&mut self, conn: ConnKey, marked: &Marked) {
        let user = self.lines[conn as usize].user;
        let peer = Peer::read(marked.conversation.as_ref());
        let whose = wire::index(&marked.user);
        let is_theirs = peer.is_some() && (whose == Some(user) || peer == whose.map(Peer::User));
        let (Some(peer), Some(whose), true) = (peer, whose, is_theirs) else {
            return self.fail("no-leak", |spec| {
                format!("{} hears of marks that are not for it: {marked:?}", spec.name(conn))
            });
        };
        let marks = marks_of(marked.marks);
        if !self.marks.had(whose, peer.log(user), marked.epoch, marks, 0) {
            self.fail("marks", |spec| {
                format!("{} hears of marks that the store has not: {marked:?}", spec.name(conn))
            });
        }
    }

    /// A session hears with a head what marks there are.
    pub(super) fn hears_marks_of(&mut self, conn: ConnKey, peer: Peer, head: &Head, since_us: u64) {
        let user = self.lines[conn as usize].user;
        let log = peer.log(user);
        let had = |whose: u16, marks| self.marks.had(whose, log, head.epoch, marks, since_us);
        let own = had(user, marks_of(head.own));
        let other = match peer {
            Peer::User(other) if other != user => had(other, marks_of(head.peer)),
            Peer::User(_) | Peer::Group(_) => head.peer.is_none(),
        };
        if !own || !other {
            self.fail("marks", |spec| {
                format!("{} hears of marks that the store has not: {head:?}", spec.name(conn))
            });
        }
    }

    /// An application is told how far somebody is.
    pub(super) fn told_marked(&mut self, client: u16, peer: Peer, epoch: u64, own: bool, marks: Marks) {
        let user = self.users[client as usize];
        let log = peer.log(user);
        let before = self.app(client).marks.insert((peer, own), (epoch, marks));
        let earlier = before.filter(|(of, _)| *of == epoch).map_or_else(Marks::default, |(_, marks)| marks);
        let is_forward = earlier != marks && earlier.max_of(marks) == marks;
        let head = self.logs.of_epoch(log, epoch).map_or(0, super::logs::Log::head);
        let is_known = match peer {
            Peer::User(other) if !own => self.marks.had(other, log, epoch, marks, 0),
            Peer::Group(_) if !own => false,
            // What its own device says of the user need not be stored yet.
            Peer::User(_) | Peer::Group(_) => marks.delivered <= head && marks.read <= marks.delivered,
        };
        if !is_forward || !is_known {
            self.fail("marks", |_| {
                format!(
                    "c{client} is told marks of {peer}, own: {own}: {marks:?} after {earlier:?} of {head}"
                )
            });
        }
    }

    /// Marks of a conversation that an application shows otherwise than the store has them; none if they are right.
    pub(super) fn mismarked(&self, client: u16, log: LogKey) -> Option<String> {
        let user = self.users[client as usize];
        let (peer, newest) = (peer_of(log, user)?, self.logs.newest(log)?);
        // Who has left may have been pushed more than is theirs to mark.
        if self.logs.limits(log, user, u64::MAX) != [u64::MAX] {
            return None;
        }
        let shown = |own: bool| {
            let shown = self.apps.get(&client).and_then(|app| app.marks.get(&(peer, own)));
            shown.filter(|(epoch, _)| *epoch == newest.epoch).map_or_else(Marks::default, |(_, marks)| *marks)
        };
        let other = match peer {
            Peer::User(other) if other != user => Some((other, false)),
            Peer::User(_) | Peer::Group(_) => None,
        };
        let received = self.apps.get(&client).and_then(|app| app.logs.get(&peer)).map_or(0, |(_, seq)| *seq);
        let is_right = |shown: Marks, stored: Marks, own: bool| {
            // What has arrived at this device counts, whether that was worth a mark or not.
            let delivered = if own { shown.delivered.max(received) } else { shown.delivered };
            shown.read == stored.read && (shown.delivered..=delivered).contains(&stored.delivered)
        };
        let wrong = [Some((user, true)), other]
            .into_iter()
            .flatten()
            .find(|(whose, own)| !is_right(shown(*own), self.marks.now(*whose, log, newest.epoch), *own))?;
        let (whose, own) = wrong;
        let (shown, stored) = (shown(own), self.marks.now(whose, log, newest.epoch));
        Some(format!("c{client} shows u{whose}'s marks of {peer} as {shown:?}, and they are {stored:?}"))
    }
}
