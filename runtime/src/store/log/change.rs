//! Changes of groups: entries of their logs that change who belongs to them.

use super::super::groups;
use super::{Key, Log};
use switchboard_engine::{Answer, Denial, GroupChange, GroupId, NewMessage};

impl Log<'_> {
    /// A change of a group: whether it may be made is decided here, and what it changes is changed with it.
    pub(super) fn store_change(
        &mut self,
        entry: &NewMessage,
        change: &GroupChange,
        group: &GroupId,
    ) -> rusqlite::Result<Answer> {
        let Some(sender) = self.user(&entry.sender)? else { return Ok(Answer::Refused) };
        if let Some(answer) = self.stored_earlier(sender, entry)? {
            return Ok(answer);
        }
        let known = self.group(group)?;
        let target = match change.target() {
            Some(user) => self.user(user)?,
            None => None,
        };
        let facts = known.map(|group| groups::facts(self.connection, group)).transpose()?;
        let own = known.map(|group| self.membership(group, sender)).transpose()?.flatten();
        let seat = match (known, target) {
            (Some(group), Some(target)) => self.membership(group, target)?,
            _ => None,
        };
        if let Err(refusal) = change.judge(&entry.sender, facts, own, seat) {
            return Ok(refusal.into());
        }
        if change.target().is_some() && target.is_none() {
            // There is no such user to invite.
            return Ok(Answer::Denied(Denial::NoUser));
        }
        let group = match (known, change) {
            (Some(group), _) => group,
            (None, GroupChange::Create { name, invite_only }) => {
                groups::make(self.connection, group, (name, ""), sender, *invite_only, self.now_ms)?
            }
            (None, _) => return Ok(Answer::Refused),
        };
        let index = self.conversation_of(Key::Group(group))?;
        let Some(place) = self.append(index, sender, entry, Some(&change.encode()))? else {
            return Err(rusqlite::Error::QueryReturnedNoRows);
        };
        let seq = place.seq.cast_signed();
        groups::apply(self.connection, group, change, (sender, target), seq, self.now_ms)?;
        for user in [Some(sender), target].into_iter().flatten() {
            self.cache.members.remove(&(group, user));
        }
        self.unannounced = true;
        Ok(Answer::MessageStored(place))
    }
}
