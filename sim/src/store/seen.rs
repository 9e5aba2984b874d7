//! When users were last here, and who may know.

use switchboard_engine::{Answer, UserId};

use super::{Conversation, SimStore};

impl SimStore {
    /// Notes that a user was here until now. There is no clock here: the number of commits stands for the time.
    pub(super) fn store_seen(&mut self, user: UserId) -> Answer {
        if !self.users.contains_key(&user) {
            return Answer::Refused;
        }
        let at_ms = i64::try_from(self.log.len()).unwrap_or(i64::MAX);
        self.seen.insert(user, at_ms);
        Answer::Seen { at_ms: Some(at_ms) }
    }

    /// When a user was last here, for those who have talked to it, or are in a group with it.
    pub(super) fn load_seen(&self, watcher: &UserId, user: &UserId) -> Answer {
        if ![watcher, user].into_iter().all(|user| self.users.contains_key(user)) {
            return Answer::Refused;
        }
        let direct = Conversation::Direct(watcher.min(user).clone(), watcher.max(user).clone());
        let have_talked = self.heads.get(&direct).is_some_and(|head| *head > 0);
        let in_a_group =
            self.groups.iter().any(|group| [watcher, user].iter().all(|one| group.membership(one).is_some()));
        if watcher == user || have_talked || in_a_group {
            Answer::Seen { at_ms: self.seen.get(user).copied() }
        } else {
            Answer::Refused
        }
    }
}
