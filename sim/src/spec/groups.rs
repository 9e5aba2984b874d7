//! Groups as their logs make them: who is what in them, and who may do what, as docs/protocol.md has it. The rules are
//! written down here once more, so that the engine's are not judged by themselves.

use std::collections::BTreeMap;

use switchboard_engine::{GroupChange, Role};

use crate::{schedule::UserNo, wire};

/// What is answered to who wants to do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Allowed,
    /// There is no such conversation for who asks.
    Nowhere,
    Forbidden,
    Conflict,
}

/// A group between two of its changes.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    since_us: u64,
    /// Whether there is such a group.
    exists: bool,
    invite_only: bool,
    members: BTreeMap<u16, Role>,
    /// Until when somebody may not write, by the store's clock; who has left does not get rid of it.
    muted_until_ms: BTreeMap<u16, i64>,
}

impl State {
    pub(super) fn role(&self, user: u16) -> Option<Role> {
        self.members.get(&user).copied()
    }

    pub(super) fn is_muted(&self, user: u16, at_ms: i64) -> bool {
        self.muted_until_ms.get(&user).is_some_and(|until_ms| *until_ms > at_ms)
    }

    fn owners(&self) -> usize {
        self.members.values().filter(|role| **role == Role::Owner).count()
    }

    /// Whether a user may write at a time.
    pub(super) fn may_write(&self, user: u16, at_ms: i64) -> Verdict {
        match self.role(user) {
            None => Verdict::Nowhere,
            Some(_) if self.is_muted(user, at_ms) => Verdict::Forbidden,
            Some(_) => Verdict::Allowed,
        }
    }

    /// Whether a user may make a change. `is_known` says whether the directory has the user whom it is about.
    pub(super) fn may_change(&self, user: u16, change: &GroupChange, is_known: bool) -> Verdict {
        use Verdict::{Allowed, Conflict, Forbidden, Nowhere};
        if let GroupChange::Create { .. } = change {
            return if self.exists { Nowhere } else { Allowed };
        }
        let Some(role) = self.role(user) else {
            let is_open = self.exists && !self.invite_only && !self.members.is_empty();
            return if matches!(change, GroupChange::Join) && is_open { Allowed } else { Nowhere };
        };
        let is_last_owner = role == Role::Owner && self.owners() == 1;
        match change {
            GroupChange::Create { .. } => Nowhere,
            GroupChange::Join => Conflict,
            GroupChange::Leave if is_last_owner && self.members.len() > 1 => Conflict,
            GroupChange::Leave => Allowed,
            GroupChange::Invite(_) if self.invite_only && role == Role::Member => Forbidden,
            GroupChange::Invite(other) => {
                if !is_known || self.role(number(other)).is_some() {
                    Conflict
                } else {
                    Allowed
                }
            }
            GroupChange::Rename(_) if role == Role::Member => Forbidden,
            GroupChange::Rename(_) => Allowed,
            GroupChange::Kick(_) | GroupChange::Mute(..) if role == Role::Member => Forbidden,
            GroupChange::Kick(other) if number(other) == user => Conflict,
            GroupChange::Kick(other) | GroupChange::Mute(other, _) => match self.role(number(other)) {
                None => Conflict,
                Some(other) if other >= role => Forbidden,
                Some(_) => Allowed,
            },
            GroupChange::SetRole(..) if role != Role::Owner => Forbidden,
            GroupChange::SetRole(other, new) => match self.role(number(other)) {
                None => Conflict,
                Some(Role::Owner) if number(other) != user => Forbidden,
                Some(old) if old == *new => Conflict,
                Some(_) if number(other) == user && is_last_owner => Conflict,
                Some(_) => Allowed,
            },
        }
    }

    /// The same group after a change.
    fn after(&self, user: u16, change: &GroupChange, now_us: u64) -> Self {
        let mut state = Self { since_us: now_us, ..self.clone() };
        match change {
            GroupChange::Create { invite_only, .. } => {
                (state.exists, state.invite_only) = (true, *invite_only);
                state.members.insert(user, Role::Owner);
            }
            GroupChange::Join => {
                state.members.insert(user, Role::Member);
            }
            GroupChange::Invite(other) => {
                state.members.insert(number(other), Role::Member);
            }
            GroupChange::Leave => {
                state.members.remove(&user);
            }
            GroupChange::Kick(other) => {
                state.members.remove(&number(other));
            }
            GroupChange::SetRole(other, role) => {
                state.members.insert(number(other), *role);
            }
            GroupChange::Mute(other, until_ms) => {
                state.muted_until_ms.insert(number(other), *until_ms);
            }
            GroupChange::Rename(_) => {}
        }
        state
    }

    /// A group with members has an owner.
    pub(super) fn is_owned(&self) -> bool {
        self.members.is_empty() || self.owners() > 0
    }
}

fn number(user: &switchboard_engine::UserId) -> u16 {
    wire::index(user.as_str()).unwrap_or(u16::MAX)
}

/// All groups, each with all its states, oldest first.
#[derive(Clone, Debug)]
pub(super) struct Groups(Vec<Vec<State>>);

impl Groups {
    /// The groups that there are at the beginning: the first member owns them, and nobody joins uninvited. There are
    /// none yet of so many that may come.
    pub(super) fn new(groups: &[Vec<UserNo>], unfounded: usize) -> Self {
        let role = |place| if place == 0 { Role::Owner } else { Role::Member };
        let founded = |members: &Vec<UserNo>| State {
            exists: true,
            invite_only: true,
            members: members.iter().enumerate().map(|(place, user)| (user.0, role(place))).collect(),
            ..State::default()
        };
        let founded = groups.iter().map(founded);
        let unfounded = std::iter::repeat_n(State::default(), unfounded);
        Self(founded.chain(unfounded).map(|state| vec![state]).collect())
    }

    /// A group as it is.
    pub(super) fn now(&self, group: u16) -> Option<&State> {
        self.0.get(usize::from(group))?.last()
    }

    /// A group as it was at any time since then; at the same moment, either may be first.
    pub(super) fn since(&self, group: u16, since_us: u64) -> &[State] {
        let states = self.0.get(usize::from(group)).map_or(&[][..], Vec::as_slice);
        let before = states.iter().rposition(|state| state.since_us < since_us).unwrap_or(0);
        &states[before..]
    }

    /// A change is made.
    pub(super) fn change(&mut self, group: u16, user: u16, change: &GroupChange, now_us: u64) {
        if let Some(states) = self.0.get_mut(usize::from(group))
            && let Some(state) = states.last()
        {
            let after = state.after(user, change, now_us);
            states.push(after);
        }
    }
}

#[cfg(test)]
mod tests {
    use switchboard_engine::UserId;

    use super::*;

    fn user(number: u16) -> UserId {
        UserId::new(&format!("u{number}")).unwrap()
    }

    /// u0 owns it, u1 is an admin, u2 and u3 are members.
    fn state(invite_only: bool) -> State {
        let members = [(0, Role::Owner), (1, Role::Admin), (2, Role::Member), (3, Role::Member)];
        State { exists: true, invite_only, members: members.into(), ..State::default() }
    }

    #[test]
    fn who_may_change_a_group_follows_from_roles() {
        use Verdict::{Allowed, Conflict, Forbidden, Nowhere};
        let create = GroupChange::Create { name: "x".into(), invite_only: false };
        let rules = [
            (0, create.clone(), Nowhere),
            (4, GroupChange::Join, Nowhere),
            (2, GroupChange::Join, Conflict),
            (0, GroupChange::Leave, Conflict),
            (1, GroupChange::Leave, Allowed),
            (2, GroupChange::Invite(user(4)), Forbidden),
            (1, GroupChange::Invite(user(4)), Allowed),
            (1, GroupChange::Invite(user(2)), Conflict),
            (2, GroupChange::Kick(user(9)), Forbidden),
            (1, GroupChange::Kick(user(0)), Forbidden),
            (1, GroupChange::Kick(user(1)), Conflict),
            (1, GroupChange::Kick(user(2)), Allowed),
            (0, GroupChange::Mute(user(1), 7), Allowed),
            (1, GroupChange::Mute(user(1), 7), Forbidden),
            (1, GroupChange::SetRole(user(2), Role::Admin), Forbidden),
            (0, GroupChange::SetRole(user(2), Role::Member), Conflict),
            (0, GroupChange::SetRole(user(0), Role::Member), Conflict),
            (0, GroupChange::SetRole(user(2), Role::Owner), Allowed),
            (2, GroupChange::Rename("x".into()), Forbidden),
            (4, GroupChange::Rename("x".into()), Nowhere),
        ];
        for (who, change, verdict) in rules {
            assert_eq!(state(true).may_change(who, &change, true), verdict, "u{who}: {change:?}");
        }
        assert_eq!(state(false).may_change(4, &GroupChange::Join, true), Allowed);
        assert_eq!(state(false).may_change(2, &GroupChange::Invite(user(4)), true), Allowed);
        assert_eq!(state(false).may_change(2, &GroupChange::Invite(user(4)), false), Conflict);
        assert_eq!(State::default().may_change(4, &create, true), Allowed);
    }

    #[test]
    fn who_is_muted_stays_so_until_then_although_it_leaves_and_joins() {
        let mute = GroupChange::Mute(user(2), 10);
        let muted = state(false).after(0, &mute, 1).after(2, &GroupChange::Leave, 2);
        assert_eq!(muted.may_write(2, 5), Verdict::Nowhere);
        let back = muted.after(2, &GroupChange::Join, 3);
        assert_eq!((back.may_write(2, 9), back.may_write(2, 10)), (Verdict::Forbidden, Verdict::Allowed));
    }
}
