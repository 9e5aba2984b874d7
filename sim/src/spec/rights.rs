//! Who may do what to a log: what is committed was its sender's to do at that moment, and what somebody is refused was
//! not, at some moment between the asking and the answer.

use switchboard_engine::{GroupChange, Role, Subject};

use super::{
    Spec,
    groups::{State, Verdict},
};
use crate::{
    check::Said,
    store::Stored,
    wire::{
        self,
        session::{LogKey, Peer, peer_of},
    },
};

/// What somebody wants to do.
#[derive(Clone, Copy, Debug)]
struct Wish<'a> {
    user: u16,
    log: LogKey,
    subject: &'a Subject,
}

/// What decides whether it may be done.
#[derive(Clone, Copy, Debug)]
struct Moment<'a> {
    /// Its group, if it is about one.
    state: Option<&'a State>,
    /// The store's clock.
    at_ms: i64,
    /// The log is as it was then; none: as it is.
    as_of_us: Option<u64>,
    /// From which place on the user reads the log.
    first_seq: u64,
}

impl Spec {
    /// An entry is about to take its place: whether its sender may do this now.
    pub(super) fn judge_entry(&mut self, log: LogKey, stored: &Stored) {
        let message = &stored.message;
        let user = wire::index(message.sender.as_str()).unwrap_or(u16::MAX);
        let wish = Wish { user, log, subject: &message.subject };
        let state = match peer_of(log, user) {
            Some(Peer::Group(group)) => self.groups.now(group),
            Some(Peer::User(_)) | None => None,
        };
        let first_seq = self.logs.first_seqs(log, user, u64::MAX).last().copied().unwrap_or(1);
        let now = Moment { state, at_ms: stored.stored_at_ms, as_of_us: None, first_seq };
        let verdict = self.verdict(&wish, &now);
        if verdict != Verdict::Allowed {
            self.fail("rights", |_| {
                let what = &message.subject;
                format!("u{user} does what it may not, to {log:?}: {verdict:?}, {what:?}")
            });
        }
    }

    /// A change of a group has been committed.
    pub(super) fn group_changes(&mut self, log: LogKey, stored: &Stored) {
        let Subject::Change(change) = &stored.message.subject else { return };
        let user = wire::index(stored.message.sender.as_str()).unwrap_or(u16::MAX);
        let group = log.1 as u16;
        self.groups.change(group, user, change, self.now_us);
        let joins =
            matches!(**change, GroupChange::Create { .. } | GroupChange::Join | GroupChange::Invite(_));
        if joins {
            let joined = change.target().and_then(|user| wire::index(user.as_str())).unwrap_or(user);
            self.begins_unmarked(joined, log, stored.conversation.epoch());
        }
        // Of the directory's own, several are made at once; the last one leaves everything right.
        let is_settled = self.groups.now(group).is_none_or(State::is_owned);
        if !is_settled && !matches!(**change, GroupChange::Join) {
            self.fail("rights", |_| format!("g{group} has members and no owner"));
        }
    }

    /// Whether somebody could be refused something in this way at some time since then. `clock_ms` is what the store's
    /// clock was when it was asked for.
    pub(super) fn may_be_refused(&self, said: &Said, verdict: Verdict, since_us: u64, clock_ms: i64) -> bool {
        let user = said.sender;
        let Some(log) = said.log() else { return false };
        let wish = Wish { user, log, subject: &said.subject };
        let states: Vec<Option<&State>> = match peer_of(log, user) {
            Some(Peer::Group(group)) => self.groups.since(group, since_us).iter().map(Some).collect(),
            Some(Peer::User(_)) | None => vec![None],
        };
        let mut first_seqs = self.logs.first_seqs(log, user, since_us);
        first_seqs.push(1);
        // Each of these only goes on, so what lies between the ends of the time is met by one of them.
        states.iter().any(|state| {
            first_seqs.iter().any(|first_seq| {
                [clock_ms, self.clock_ms].iter().any(|at_ms| {
                    [Some(since_us), None].iter().any(|as_of_us| {
                        let (state, at_ms, as_of_us, first_seq) = (*state, *at_ms, *as_of_us, *first_seq);
                        self.verdict(&wish, &Moment { state, at_ms, as_of_us, first_seq }) == verdict
                    })
                })
            })
        })
    }

    /// Whether somebody may not have been allowed to write to a group at some time since then, for a mute.
    pub(super) fn may_be_muted(&self, group: u16, user: u16, since_us: u64, clock_ms: i64) -> bool {
        self.groups.since(group, since_us).iter().any(|state| state.is_muted(user, clock_ms))
    }

    /// What somebody is answered who wants this at this moment.
    fn verdict(&self, wish: &Wish<'_>, moment: &Moment<'_>) -> Verdict {
        let known = |user: u16| user < self.limits.known_users;
        let (user, peer) = (wish.user, peer_of(wish.log, wish.user));
        if !known(user) || matches!(peer, Some(Peer::User(other)) if !known(other)) {
            return Verdict::Nowhere;
        }
        let may_write = match (peer, moment.state) {
            (_, Some(state)) => state.may_write(user, moment.at_ms),
            (Some(Peer::User(_)), None) => Verdict::Allowed,
            (Some(Peer::Group(_)) | None, None) => Verdict::Nowhere,
        };
        match (wish.subject, moment.state) {
            (Subject::Change(change), Some(state)) => {
                let other = change.target().map(|user| wire::index(user.as_str()).unwrap_or(u16::MAX));
                state.may_change(user, change, other.is_none_or(known))
            }
            (Subject::Change(_), None) => Verdict::Nowhere,
            (Subject::Message, _) => may_write,
            (Subject::Edit { .. } | Subject::Recall { .. }, _) if may_write != Verdict::Allowed => may_write,
            (Subject::Edit { target_seq }, _) => self.may_amend(wish, *target_seq, false, moment),
            (Subject::Recall { target_seq }, state) => {
                let role = state.and_then(|state| state.role(user));
                let is_admin = role.is_some_and(|role| role >= Role::Admin);
                self.may_amend(wish, *target_seq, is_admin, moment)
            }
        }
    }

    /// Whether somebody who may write may change the message at a place; `may_others`: that of others too.
    fn may_amend(&self, wish: &Wish<'_>, seq: u64, may_others: bool, moment: &Moment<'_>) -> Verdict {
        let before = |at_us: u64| moment.as_of_us.is_none_or(|as_of_us| at_us < as_of_us);
        let log = self.logs.newest(wish.log);
        let target = log.and_then(|log| log.at(seq)).filter(|_| seq >= moment.first_seq);
        let Some(target) = target.filter(|target| target.words.is_message() && before(target.at_us)) else {
            return Verdict::Conflict;
        };
        if target.sender != wish.user && !may_others {
            return Verdict::Forbidden;
        }
        let recalled_us = log.and_then(|log| log.versions.recalled_us(seq));
        if recalled_us.is_some_and(before) { Verdict::Conflict } else { Verdict::Allowed }
    }
}
