//! What is known of the store at the time of a backup, to be known again when it is restored.

use super::{Check, Table};

/// See [`Check::backup`].
#[derive(Clone, Debug)]
pub(crate) struct Backup {
    members: Vec<Vec<(bool, u64)>>,
    avatars: Vec<Vec<u64>>,
    heads: Table<(u32, u32), u64>,
    /// By message: its places in the log.
    seqs: Vec<Vec<u64>>,
}

impl Check {
    /// What is known of the store.
    pub(crate) fn backup(&self) -> Backup {
        Backup {
            members: self.members.clone(),
            avatars: self.avatars.clone(),
            heads: self.heads.clone(),
            seqs: self.said.iter().map(|said| said.seqs.clone()).collect(),
        }
    }

    /// The store is what it was then, and no engine runs that has known anything else.
    pub(crate) fn restored(&mut self, backup: &Backup, revision: u64) {
        self.members.clone_from(&backup.members);
        self.avatars.clone_from(&backup.avatars);
        self.heads.clone_from(&backup.heads);
        self.revision = revision;
        for (key, said) in self.said.iter_mut().enumerate() {
            said.seqs = backup.seqs.get(key).cloned().unwrap_or_default();
            said.avatar_floor = u32::MAX;
        }
    }
}
