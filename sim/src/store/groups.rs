//! Groups: who is what in them, and their changes, which are entries of their logs.

use std::collections::BTreeMap;

use switchboard_engine::{
    Answer, Denial, DirectoryChange, DirectoryChangeKind, GroupChange, GroupFacts, GroupId, Membership,
    MessageId, NewMessage, Recipient, Refusal, Role, Subject, UserId,
};

use super::{Conversation, SimStore, StoreCanary};

/// The content type of a group's change.
const CHANGE: u8 = 23;

/// A group.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) id: GroupId,
    invite_only: bool,
    seats: BTreeMap<UserId, Seat>,
}

/// What a user is or was in a group.
#[derive(Clone, Copy, Debug)]
struct Seat {
    membership: Membership,
    /// Where it reads from, and where to if it has left.
    first_seq: u64,
    last_seq: Option<u64>,
}

/// Whether it is who wants it that may not have it done.
const fn is_forbidden(refusal: Refusal) -> bool {
    match refusal {
        Refusal::NoSuchGroup => false,
        Refusal::Denied(denial) => denial.is_forbidden(),
    }
}

impl Group {
    /// A group whose first member owns it, as the world is at the beginning.
    pub(super) fn founded(id: GroupId, members: Vec<UserId>) -> Self {
        let seat = |(place, user)| {
            let role = if place == 0 { Role::Owner } else { Role::Member };
            let membership = Membership { role, muted_until_ms: 0 };
            (user, Seat { membership, first_seq: 1, last_seq: None })
        };
        Self { id, invite_only: true, seats: members.into_iter().enumerate().map(seat).collect() }
    }

    pub(super) fn membership(&self, user: &UserId) -> Option<Membership> {
        self.seats.get(user).filter(|seat| seat.last_seq.is_none()).map(|seat| seat.membership)
    }

    /// Which places a user may read: from the first one to the last one, if there is one.
    pub(super) fn range(&self, user: &UserId) -> Option<(u64, Option<u64>)> {
        self.seats.get(user).map(|seat| (seat.first_seq, seat.last_seq))
    }

    fn members(&self) -> impl Iterator<Item = (&UserId, &Seat)> {
        self.seats.iter().filter(|(_, seat)| seat.last_seq.is_none())
    }

    fn facts(&self) -> GroupFacts {
        let owners = self.members().filter(|(_, seat)| seat.membership.role == Role::Owner);
        GroupFacts {
            invite_only: self.invite_only,
            members: self.members().count() as u64,
            owners: owners.count() as u64,
        }
    }

    /// Who owns it after its last owner.
    fn successor(&self, owner: &UserId) -> Option<UserId> {
        let others = self.members().filter(|(user, _)| *user != owner);
        others
            .min_by_key(|(user, seat)| (core::cmp::Reverse(seat.membership.role), seat.first_seq, *user))
            .map(|(user, _)| user.clone())
    }

    /// Makes a user a member who reads from this place on. Who was one before stays muted.
    fn join(&mut self, user: &UserId, role: Role, first_seq: u64) {
        let muted_until_ms = self.seats.get(user).map_or(0, |seat| seat.membership.muted_until_ms);
        let membership = Membership { role, muted_until_ms };
        self.seats.insert(user.clone(), Seat { membership, first_seq, last_seq: None });
    }

    /// Folds what decides who may do what.
    pub(super) fn fold(&self, hasher: &mut impl core::hash::Hasher) {
        use core::hash::Hash as _;
        (&self.id, self.invite_only).hash(hasher);
        for (user, seat) in self.members() {
            (user, seat.membership.role, seat.membership.muted_until_ms).hash(hasher);
        }
    }
}

impl SimStore {
    /// A user creates a group: the first entry of its log.
    pub fn found_group(&mut self, group: &GroupId, owner: &UserId, name: &str, invite_only: bool) {
        self.groups.push(Group { id: group.clone(), invite_only, seats: BTreeMap::new() });
        let create = GroupChange::Create { name: name.into(), invite_only };
        self.enter(group, owner, &create);
        self.announcements.clear();
    }

    /// Makes a user a member of a group, or no member any more, as if it had joined or left, whether it was invited
    /// or not. Gives what is to be announced: nothing if it is no change, or there is no such user or group.
    pub fn set_member(&mut self, group: &GroupId, user: &UserId, member: bool) -> Option<DirectoryChange> {
        if !self.users.contains_key(user) {
            return None;
        }
        let of = self.group(group)?;
        match (of.membership(user), member) {
            (None, true) => {
                let is_first = of.facts().members == 0;
                self.enter(group, user, &GroupChange::Join);
                if is_first {
                    self.enter(group, user, &GroupChange::SetRole(user.clone(), Role::Owner));
                }
            }
            (Some(seat), false) => {
                let is_last = seat.role == Role::Owner && of.facts().owners == 1;
                if let Some(next) = of.successor(user).filter(|_| is_last) {
                    self.enter(group, user, &GroupChange::SetRole(next, Role::Owner));
                }
                self.enter(group, user, &GroupChange::Leave);
            }
            (Some(_), true) | (None, false) => return None,
        }
        self.announcements.pop()
    }

    /// What is to be announced of what requests have changed, once.
    pub fn take_announcements(&mut self) -> Vec<DirectoryChange> {
        core::mem::take(&mut self.announcements)
    }

    pub(super) fn group(&self, group: &GroupId) -> Option<&Group> {
        self.groups.iter().find(|other| other.id == *group)
    }

    /// What a group is called now, as its log says; nothing to who is no member.
    pub(super) fn group_name(&self, group: &GroupId, reader: &UserId) -> Box<str> {
        if self.group(group).and_then(|group| group.membership(reader)).is_none() {
            return Box::default();
        }
        let of = Conversation::Group(group.clone());
        let mut entries = self.log.iter().rev().filter(|stored| stored.conversation == of);
        entries.find_map(|stored| stored.message.subject.group_name()).unwrap_or_default().into()
    }

    /// A change that a user wants to make.
    pub(super) fn change_group(
        &mut self,
        entry: Box<NewMessage>,
        change: &GroupChange,
        group: &GroupId,
    ) -> Answer {
        if !self.admit(&entry.sender) {
            return Answer::Refused;
        }
        if let Some(answer) = self.stored_earlier(&entry) {
            return answer;
        }
        let is_there = change.target().is_none_or(|user| self.admit(user));
        let of = self.group(group);
        let own = of.and_then(|group| group.membership(&entry.sender));
        let target = change.target().and_then(|user| of?.membership(user));
        let lenient = self.has(StoreCanary::RolesUnchecked) && own.is_some();
        if let Err(refusal) = change.judge(&entry.sender, of.map(Group::facts), own, target)
            && !(lenient && is_forbidden(refusal))
        {
            return refusal.into();
        }
        if !is_there {
            return Answer::Denied(Denial::NoUser);
        }
        if let (None, GroupChange::Create { invite_only, .. }) = (of, change) {
            let (id, invite_only) = (group.clone(), *invite_only);
            self.groups.push(Group { id, invite_only, seats: BTreeMap::new() });
        }
        let sender = entry.sender.clone();
        let answer = self.append(entry);
        if let Answer::MessageStored(place) = &answer {
            self.apply(group, &sender, change, place.seq);
        }
        answer
    }

    /// Appends a change to a group's log that the directory makes for a user, and makes it.
    fn enter(&mut self, group: &GroupId, user: &UserId, change: &GroupChange) {
        self.commit_early();
        let number = self.log.len() as u128;
        let entry = NewMessage {
            sender: user.clone(),
            // Random in a real store; here no client's, as those count from the other end.
            id: MessageId((0xd1ec_7000_u128 << 96 | number).to_be_bytes()),
            recipient: Recipient::Group(group.clone()),
            content_type: CHANGE,
            content: "".into(),
            sender_name: "".into(),
            url: "".into(),
            file_suffix: "".into(),
            subject: Subject::Change(Box::new(change.clone())),
        };
        if let Answer::MessageStored(place) = self.append(Box::new(entry)) {
            self.apply(group, user, change, place.seq);
        }
    }

    /// What a change changes, whose entry is at this place.
    fn apply(&mut self, group: &GroupId, sender: &UserId, change: &GroupChange, seq: u64) {
        let user = change.target().unwrap_or(sender);
        let former = self.groups_of(user);
        let keeps = self.has(StoreCanary::KickKeepsMember);
        let joins = matches!(change, GroupChange::Create { .. } | GroupChange::Join | GroupChange::Invite(_));
        if joins && !self.has(StoreCanary::MarksOutliveMembers) {
            self.marks.remove(&(Conversation::Group(group.clone()), user.clone()));
        }
        let Some(of) = self.groups.iter_mut().find(|other| other.id == *group) else { return };
        match change {
            GroupChange::Create { .. } => of.join(user, Role::Owner, seq),
            GroupChange::Join | GroupChange::Invite(_) => of.join(user, Role::Member, seq),
            GroupChange::Kick(_) if keeps => return,
            GroupChange::Leave | GroupChange::Kick(_) => {
                if let Some(seat) = of.seats.get_mut(user) {
                    seat.last_seq = Some(seq);
                }
            }
            GroupChange::SetRole(_, role) => {
                if let Some(seat) = of.seats.get_mut(user) {
                    seat.membership.role = *role;
                }
                return;
            }
            GroupChange::Mute(_, until_ms) => {
                if let Some(seat) = of.seats.get_mut(user) {
                    seat.membership.muted_until_ms = *until_ms;
                }
                return;
            }
            // The log says it.
            GroupChange::Rename(_) => return,
        }
        let kind = match change {
            GroupChange::Leave | GroupChange::Kick(_) => DirectoryChangeKind::Left(group.clone()),
            GroupChange::Create { .. }
            | GroupChange::Join
            | GroupChange::Invite(_)
            | GroupChange::SetRole(..)
            | GroupChange::Mute(..)
            | GroupChange::Rename(_) => DirectoryChangeKind::Joined(group.clone()),
        };
        if let Some(user) = self.users.get_mut(user) {
            user.former = Some(former);
        }
        let user = user.clone();
        let change = self.change(&user, kind);
        self.announcements.extend(change);
    }
}
