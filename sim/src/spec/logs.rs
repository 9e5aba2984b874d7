//! The logs as the store has committed them: what everybody must be told of each place, and who may read from where.

use std::collections::BTreeMap;

use switchboard_engine::MessageId;

use crate::{
    check::{Fold, MessageKey, Table},
    store::Stored,
    wire::{
        self,
        session::{LogKey, peer_of},
    },
};

/// A message in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: MessageKey,
    pub(super) sender: u16,
    pub(super) id: MessageId,
    /// Of what it says.
    digest: u64,
}

/// One log of a conversation.
#[derive(Clone, Debug)]
pub(super) struct Log {
    pub(super) epoch: u64,
    pub(super) entries: Vec<Entry>,
}

impl Log {
    /// How far it is.
    pub(super) const fn head(&self) -> u64 {
        self.entries.len() as u64
    }
}

/// All logs that there were, by conversation; of each the newest last.
#[derive(Clone, Debug, Default)]
pub(super) struct Logs {
    logs: BTreeMap<LogKey, Vec<Log>>,
    /// By group and user: when somebody joined, and where they read from since then.
    rights: Table<u32, Vec<(u64, u64)>>,
}

/// What a message says, as a number.
pub(super) fn digest(kind: u32, text: &str, file: &str) -> u64 {
    use core::hash::Hasher as _;
    let mut hash = Fold::default();
    hash.write_u32(kind);
    for part in [text, file] {
        let (words, rest) = part.as_bytes().as_chunks::<8>();
        words.iter().for_each(|word| hash.write_u64(u64::from_le_bytes(*word)));
        hash.write_u64(rest.iter().fold(rest.len() as u64, |word, byte| word << 8 | u64::from(*byte)));
    }
    hash.finish()
}

const fn right(group: u16, user: u16) -> u32 {
    (group as u32) << 16 | user as u32
}

impl Logs {
    pub(super) fn commit(&mut self, key: MessageKey, log: LogKey, stored: &Stored) {
        let epoch = stored.conversation.epoch();
        let logs = self.logs.entry(log).or_default();
        if logs.last().is_none_or(|last| last.epoch != epoch) {
            logs.push(Log { epoch, entries: Vec::new() });
        }
        let message = &stored.message;
        let entry = Entry {
            key,
            sender: wire::index(message.sender.as_str()).unwrap_or(u16::MAX),
            id: message.id,
            digest: digest(message.content_type.into(), &message.content, &message.url),
        };
        if let Some(last) = logs.last_mut() {
            last.entries.push(entry);
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
        self.of_epoch(log, epoch)?.entries.get(usize::try_from(seq.checked_sub(1)?).ok()?)
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

    /// Somebody joins a group, and reads what is said from now on.
    pub(super) fn joined(&mut self, group: u16, user: u16, now_us: u64) {
        let head = self.newest((u32::MAX, u32::from(group))).map_or(0, Log::head);
        self.rights.entry(right(group, user)).or_default().push((now_us, head + 1));
    }

    /// Whether a member could read a group from this place on at some time since then.
    pub(super) fn is_right(&self, group: u16, user: u16, first_seq: u64, since_us: u64) -> bool {
        let Some(rights) = self.rights.get(&right(group, user)) else { return first_seq == 1 };
        let later = rights.iter().filter(|(at_us, _)| *at_us >= since_us).map(|(_, seq)| *seq);
        let before = rights.iter().rev().find(|(at_us, _)| *at_us < since_us).map_or(1, |(_, seq)| *seq);
        later.chain([before]).any(|seq| seq == first_seq)
    }

    /// Whether a user could ever not read a group up to this place.
    pub(super) fn is_hidden(&self, group: u16, user: u16, seq: u64) -> bool {
        let rights = self.rights.get(&right(group, user));
        rights.into_iter().flatten().any(|(_, first_seq)| *first_seq > seq)
    }
}

impl Entry {
    /// Whether this is what somebody was told of it.
    pub(super) fn says(&self, kind: u32, text: &str, file: &str) -> bool {
        self.digest == digest(kind, text, file)
    }
}
