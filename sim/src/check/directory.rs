//! What a shard may, and must, know of the directory.

use super::Check;

impl Check {
    /// Whether a shard may still take a user for a member of a group.
    pub(crate) fn may(&self, shard: usize, group: u16, user: u16) -> bool {
        let (member, since) = self.members[group as usize][user as usize];
        member || since > self.told_revision(shard, user)
    }

    /// Whether a shard must take a user for a member of a group.
    pub(crate) fn must_know(&self, shard: usize, group: u16, user: u16) -> bool {
        let (member, since) = self.members[group as usize][user as usize];
        member
            && !self.over_limit[user as usize]
            && self.watches[shard].told[user as usize].loaded.is_some()
            && since <= self.told_revision(shard, user)
    }

    fn told_revision(&self, shard: usize, user: u16) -> u64 {
        let watch = &self.watches[shard];
        watch.seen_revision.max(watch.told[user as usize].loaded.unwrap_or(0))
    }

    /// A user has another picture.
    pub(crate) fn avatar(&mut self, user: u16, revision: u64) {
        self.avatars[user as usize].push(revision);
    }

    /// The version of a user's picture that a shard has at least.
    pub(crate) fn avatar_floor(&self, shard: usize, user: u16) -> u32 {
        if self.watches[shard].told[user as usize].loaded.is_none() {
            return 0;
        }
        let revision = self.told_revision(shard, user);
        self.avatars[user as usize].partition_point(|changed| *changed <= revision) as u32
    }

    /// Takes note of a user who is in more groups than an engine keeps.
    pub(crate) fn look_at_limit(&mut self, user: u16) {
        let groups = self.members.iter().filter(|members| members[user as usize].0).count() as u64;
        self.over_limit[user as usize] |= groups > self.settings.groups_per_user;
    }

    /// Whether a user was ever in more groups than an engine keeps.
    pub(crate) fn is_over_limit(&self, user: u16) -> bool {
        self.over_limit[user as usize]
    }
}
