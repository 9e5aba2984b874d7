//! A store that is restored from a backup: what was accepted since is lost, which nobody can do anything about. But
//! every log begins a new epoch, and everybody who has anything of an older one has to forget it.

use std::collections::BTreeMap;

use super::{
    Spec, Table,
    groups::Groups,
    health::{Health, Member},
    logs::Logs,
    marks::AllMarks,
    presence::Presence,
};
use crate::{check::ConnKey, wire::session::LogKey};

/// What there was when the store was backed up.
#[derive(Clone, Debug)]
pub(crate) struct Backup {
    logs: Logs,
    groups: Groups,
    members: Vec<Vec<Member>>,
    heads: Table<LogKey, u64>,
    marks: AllMarks,
    presence: Presence,
    clock_ms: i64,
    /// By user: since when the store has known of a classic client.
    came_us: BTreeMap<u16, u64>,
    /// By message: how often it was committed.
    commits: Vec<u32>,
}

impl Spec {
    /// What the store has.
    pub(crate) fn backup(&self) -> Backup {
        Backup {
            logs: self.logs.clone(),
            groups: self.groups.clone(),
            members: self.health.members.clone(),
            heads: self.heads.clone(),
            marks: self.marks.clone(),
            presence: self.presence.clone(),
            clock_ms: self.clock_ms,
            came_us: self.resend.since_us.clone(),
            commits: self.words.iter().map(|word| word.commits).collect(),
        }
    }

    /// The store is what it was then, for the so-many-th time, with these epochs; and no node runs.
    pub(crate) fn restored(&mut self, backup: &Backup, times: u64, epochs: &[(LogKey, u64)]) {
        self.logs.set_back(&backup.logs, times, epochs);
        self.marks.set_back(&backup.marks, (&self.logs, &backup.logs), self.now_us);
        self.groups.set_back(&backup.groups, self.now_us);
        self.health.set_back(&backup.members, self.now_us);
        self.heads.clone_from(&backup.heads);
        self.clock_ms = backup.clock_ms;
        self.forget_who_came(&backup.came_us);
        for (key, word) in self.words.iter_mut().enumerate() {
            word.commits = backup.commits.get(key).copied().unwrap_or(0);
        }
        self.presence.set_back(&backup.presence);
        // What is still on its way over connections of before tells of the store as it was before.
        self.restored_lines = self.lines.len();
    }

    /// Whether what an application is told comes of a connection of before the store was restored.
    pub(super) fn is_of_before(&self, conn: Option<ConnKey>) -> bool {
        self.logs.was_set_back() && conn.is_none_or(|conn| (conn as usize) < self.restored_lines)
    }

    /// Whether an application is right to forget what it has of a conversation: it is of another log than the newest. Its
    /// session may have known of an older one of which the application was told nothing yet.
    pub(super) fn is_outdated(&self, log: LogKey, known: Option<(u64, u64)>) -> bool {
        let newest = self.logs.newest(log).map(|log| log.epoch);
        newest.is_some_and(|newest| match known {
            Some((epoch, _)) => newest != epoch,
            None => self.logs.was_set_back(),
        })
    }
}

impl Health {
    /// Everybody is a member of what they were then, and every node knows when it starts.
    fn set_back(&mut self, members: &[Vec<Member>], now_us: u64) {
        for (now, then) in self.members.iter_mut().flatten().zip(members.iter().flatten()) {
            if now.is != then.is {
                *now = Member { is: then.is, known_us: now_us };
            }
        }
    }
}
