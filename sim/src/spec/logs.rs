//! The logs as the store has committed them: what everybody must be told of each place, and who may read from where.

use std::collections::BTreeMap;

use switchboard_engine::{GroupChange, MessageId, Subject};

use super::versions::{Versions, Words};
use crate::{
    check::{MessageKey, Table},
    schedule::UserNo,
    store::Stored,
    wire::{
        self,
        session::{LogKey, Peer, peer_of},
    },
};

/// The key of an entry that nobody has said: the directory has made it.
pub(super) const NO_MESSAGE: MessageKey = MessageKey::MAX;

/// What stands in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: MessageKey,
    pub(super) sender: u16,
    pub(super) id: MessageId,
    /// What was said with it.
    pub(super) words: Words,
    /// When it was committed.
    pub(super) at_us: u64,
}

/// One log of a conversation.
#[derive(Clone, Debug)]
pub(super) struct Log {
    pub(super) epoch: u64,
    pub(super) entries: Vec<Entry>,
    /// What became of those that were edited or recalled.
    pub(super) versions: Versions,
}

impl Log {
    pub(super) fn at(&self, seq: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(seq.checked_sub(1)?).ok()?)
    }

    /// The last entry of the log is an edit or a recall, or is none.
    fn amend(&mut self, subject: &Subject, now_us: u64) {
        let (Subject::Edit { target_seq } | Subject::Recall { target_seq }) = *subject else { return };
        let Some(entry) = self.entries.last().copied() else { return };
        let Some(target) = self.at(target_seq).copied() else { return };
        let seq = self.head();
        if matches!(subject, Subject::Edit { .. }) {
            return self.versions.edit(target_seq, target.words, seq, entry.words.text, now_us);
        }
        // So that nothing of it is left in its edits either.
        for edit_seq in self.versions.of(target_seq) {
            if let Some(edit) = self.at(edit_seq).copied() {
                self.versions.recall(edit_seq, edit.words, seq, now_us);
            }
        }
        self.versions.recall(target_seq, target.words, seq, now_us);
    }

    /// How far it is.
    pub(super) const fn head(&self) -> u64 {
        self.entries.len() as u64
    }
}

/// All logs that there were, by conversation; of each the newest last.
#[derive(Clone, Debug, Default)]
pub(super) struct Logs {
    logs: BTreeMap<LogKey, Vec<Log>>,
    /// When something was first said in each.
    first_us: BTreeMap<LogKey, u64>,
    /// By group and user: what they may read, of each time that they belonged to it.
    rights: Table<u32, Vec<Right>>,
}

/// What a user may read of a group's log.
#[derive(Clone, Copy, Debug)]
struct Right {
    since_us: u64,
    first_seq: u64,
    /// When they left, and the last place.
    left: Option<(u64, u64)>,
}

const fn pair(group: u16, user: u16) -> u32 {
    (group as u32) << 16 | user as u32
}

impl Logs {
    /// No logs yet; these are the groups' members.
    pub(super) fn new(groups: &[Vec<UserNo>]) -> Self {
        let mut logs = Self::default();
        for (group, members) in groups.iter().enumerate() {
            for user in members {
                let right = Right { since_us: 0, first_seq: 1, left: None };
                logs.rights.insert(pair(group as u16, user.0), vec![right]);
            }
        }
        logs
    }

    /// When something was first said in a conversation.
    pub(super) fn first_us(&self, log: LogKey) -> Option<u64> {
        self.first_us.get(&log).copied()
    }

    pub(super) fn commit(&mut self, key: MessageKey, log: LogKey, stored: &Stored, now_us: u64) {
        if let Subject::Change(change) = &stored.message.subject {
            let user = change.target().unwrap_or(&stored.message.sender);
            let user = wire::index(user.as_str()).unwrap_or(u16::MAX);
            self.changed(log.1 as u16, user, change, stored.seq, now_us);
        }
        let epoch = stored.conversation.epoch();
        self.first_us.entry(log).or_insert(now_us);
        let logs = self.logs.entry(log).or_default();
        if logs.last().is_none_or(|last| last.epoch != epoch) {
            logs.push(Log { epoch, entries: Vec::new(), versions: Versions::default() });
        }
        let message = &stored.message;
        let entry = Entry {
            key,
            sender: wire::index(message.sender.as_str()).unwrap_or(u16::MAX),
            id: message.id,
            words: Words::of(message),
            at_us: now_us,
        };
        if let Some(last) = logs.last_mut() {
            last.entries.push(entry);
            last.amend(&message.subject, now_us);
        }
    }

    /// The log of a conversation that is the newest.
    pub(super) fn newest(&self, log: LogKey) -> Option<&Log> {
        self.logs.get(&log)?.last()
    }

    /// The log of an epoch.
    pub(super) fn of_epoch(&self, log: LogKey, epoch: u64) -> Option<&Log> {
        self.logs.get(&log)?.iter().rev().find(|log| log.epoch == epoch)
    }

    /// What stands in a place.
    pub(super) fn at(&self, log: LogKey, epoch: u64, seq: u64) -> Option<&Entry> {
        self.of_epoch(log, epoch)?.at(seq)
    }

    /// All logs that there were and that a user could have written to.
    pub(super) fn all_of(&self, user: u16) -> impl Iterator<Item = &Log> {
        let own = move |log: LogKey| peer_of(log, user).is_some();
        self.logs.iter().filter(move |(log, _)| own(**log)).flat_map(|(_, logs)| logs)
    }

    /// All newest logs.
    pub(super) fn all(&self) -> impl Iterator<Item = (LogKey, &Log)> {
        self.logs.iter().filter_map(|(key, logs)| Some((*key, logs.last()?)))
    }

    /// Who belongs to a group has changed by an entry of its log.
    fn changed(&mut self, group: u16, user: u16, change: &GroupChange, seq: u64, now_us: u64) {
        let rights = self.rights.entry(pair(group, user)).or_default();
        match change {
            GroupChange::Create { .. } | GroupChange::Join | GroupChange::Invite(_) => {
                rights.push(Right { since_us: now_us, first_seq: seq, left: None });
            }
            GroupChange::Leave | GroupChange::Kick(_) => {
                if let Some(right) = rights.last_mut() {
                    right.left = Some((now_us, seq));
                }
            }
            GroupChange::SetRole(..) | GroupChange::Mute(..) | GroupChange::Rename(_) => {}
        }
    }

    fn rights(&self, group: u16, user: u16) -> &[Right] {
        self.rights.get(&pair(group, user)).map_or(&[], Vec::as_slice)
    }

    /// Whether a user has belonged to a group at some time up to then.
    pub(super) fn has_right(&self, group: u16, user: u16, until_us: u64) -> bool {
        self.rights(group, user).iter().any(|right| right.since_us <= until_us)
    }

    /// Whether it has changed since then what a user may read of a group.
    pub(super) fn has_changed(&self, group: u16, user: u16, since_us: u64) -> bool {
        let joined = |right: &Right| right.since_us > 0 && right.since_us >= since_us;
        let left = |right: &Right| right.left.is_some_and(|(at_us, _)| at_us >= since_us);
        self.rights(group, user).iter().any(|right| joined(right) || left(right))
    }

    /// Whether a user's reading began at this place at some time since then.
    pub(super) fn is_right(&self, group: u16, user: u16, first_seq: u64, since_us: u64) -> bool {
        let rights = self.rights(group, user);
        let before = rights.iter().rposition(|right| right.since_us < since_us).unwrap_or(0);
        rights.iter().skip(before).any(|right| right.first_seq == first_seq)
    }

    /// Whether a user may, or might, read this place of a group's log.
    pub(super) fn may_read(&self, group: u16, user: u16, seq: u64) -> bool {
        let within =
            |right: &Right| right.first_seq <= seq && right.left.is_none_or(|(_, last_seq)| seq <= last_seq);
        self.rights(group, user).iter().any(within)
    }

    /// Whether a user belongs to a group, and has been told to read it from this place on or an earlier one.
    pub(super) fn reads_on(&self, group: u16, user: u16, seq: u64) -> bool {
        let right = self.rights(group, user).last();
        right.is_some_and(|right| right.left.is_none() && right.first_seq <= seq)
    }

    /// How far a user may have read a log at some time since then: up to which place, or everything.
    pub(super) fn limits(&self, log: LogKey, user: u16, since_us: u64) -> Vec<u64> {
        let Some(Peer::Group(group)) = peer_of(log, user) else { return vec![u64::MAX] };
        let rights = self.rights(group, user);
        let before = rights.iter().rposition(|right| right.since_us < since_us).unwrap_or(0);
        let to = |right: &Right| right.left.into_iter().map(|(_, last_seq)| last_seq);
        let reads_on = |right: &Right| right.left.is_none_or(|(at_us, _)| at_us >= since_us);
        let of = |right: &Right| to(right).chain(reads_on(right).then_some(u64::MAX)).collect::<Vec<_>>();
        rights.iter().skip(before).flat_map(of).collect()
    }

    /// From which places on a user has read a log at some time since then.
    pub(super) fn first_seqs(&self, log: LogKey, user: u16, since_us: u64) -> Vec<u64> {
        let Some(Peer::Group(group)) = peer_of(log, user) else { return vec![1] };
        let rights = self.rights(group, user);
        let before = rights.iter().rposition(|right| right.since_us < since_us).unwrap_or(0);
        rights.iter().skip(before).map(|right| right.first_seq).collect()
    }

    /// Whether a user could ever not read a group up to this place.
    pub(super) fn is_hidden(&self, group: u16, user: u16, seq: u64) -> bool {
        self.rights(group, user).iter().any(|right| right.first_seq > seq)
    }

    /// How far a log is to a user; none if it is not the user's to read.
    pub(super) fn head_for(&self, log: LogKey, user: u16) -> Option<u64> {
        let head = self.newest(log)?.head();
        match peer_of(log, user)? {
            Peer::User(_) => Some(head),
            Peer::Group(group) => {
                let right = self.rights(group, user).last()?;
                Some(right.left.map_or(head, |(_, last_seq)| last_seq))
            }
        }
    }
}
