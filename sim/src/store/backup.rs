//! A store that is set back to what it was: everything committed since is lost, and every log begins a new epoch, as
//! the runtime's store does when it notices that its database is older than what its data folder has held.

use super::{Conversation, SimStore};

impl SimStore {
    /// Is from now on what this copy of it was.
    pub(crate) fn set_back(&mut self, backup: &Self) {
        let (bug, restored) = (self.bug, self.restored + 1);
        *self = backup.clone();
        (self.bug, self.restored) = (bug, restored);
        for stored in &self.log {
            if let Some(place) = self.ids.get_mut(&(stored.message.sender.clone(), stored.message.id.0)) {
                place.epoch = stored.conversation.epoch_in(restored);
            }
        }
    }

    /// How often it was set back.
    pub(crate) const fn restored(&self) -> u64 {
        self.restored
    }

    /// The epoch of a conversation's log.
    pub(crate) fn epoch_of(&self, conversation: &Conversation) -> u64 {
        conversation.epoch_in(self.restored)
    }

    /// The conversations in which something was said.
    pub(crate) fn conversations(&self) -> impl Iterator<Item = &Conversation> {
        self.heads.keys()
    }
}
