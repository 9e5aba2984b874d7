//! Who may change what about a group: the rules, for stores. A store asks within the commit, with what it has at that
//! moment, so that all changes of a group are judged in the order of its log.

use crate::{
    denial::Denial,
    id::UserId,
    storage::{Answer, GroupChange, Role},
};

/// What a store has of a member of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// What the member may do.
    pub role: Role,
    /// The member may not write before this time, in milliseconds since 1970-01-01T00:00:00Z; 0: it may.
    pub muted_until_ms: i64,
}

impl Membership {
    /// Whether the member may not write at this time.
    #[must_use]
    pub const fn is_muted(&self, now_ms: i64) -> bool {
        self.muted_until_ms > now_ms
    }

    /// Why the member may not write at this time; none if it may.
    #[must_use]
    pub const fn muted(&self, now_ms: i64) -> Option<Denial> {
        match self.is_muted(now_ms) {
            true => Some(Denial::Muted { until_ms: self.muted_until_ms }),
            false => None,
        }
    }
}

/// What a store has of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupFacts {
    /// Whether nobody joins uninvited.
    pub invite_only: bool,
    /// How many members it has.
    pub members: u64,
    /// How many of them are owners.
    pub owners: u64,
}

/// Why a change is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The sender is to learn nothing of the group.
    NoSuchGroup,
    /// The sender is a member, or could be one, and may not do this.
    Denied(Denial),
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoSuchGroup => Self::Refused,
            Refusal::Denied(denial) => Self::Denied(denial),
        }
    }
}

impl GroupChange {
    /// Whether a sender may make this change. `group` is none if there is no such group, `own` is what the sender is
    /// in it, and `target` what that user is whom [`GroupChange::target`] names: none if it is no member.
    ///
    /// # Errors
    /// Why the change is not made. Roles are looked at before anything else: who may not do something is not told
    /// whether it could be done.
    pub fn judge(
        &self,
        sender: &UserId,
        group: Option<GroupFacts>,
        own: Option<Membership>,
        target: Option<Membership>,
    ) -> Result<(), Refusal> {
        judge(self, sender, group, own, target)
    }

    /// The member, or member to be, whom a change is about, if that is not its sender.
    #[must_use]
    pub const fn target(&self) -> Option<&UserId> {
        match self {
            Self::Invite(user) | Self::Kick(user) | Self::SetRole(user, _) | Self::Mute(user, _) => {
                Some(user)
            }
            Self::Create { .. } | Self::Join | Self::Leave | Self::Rename(_) => None,
        }
    }
}

fn judge(
    change: &GroupChange,
    sender: &UserId,
    group: Option<GroupFacts>,
    own: Option<Membership>,
    target: Option<Membership>,
) -> Result<(), Refusal> {
    let group = match (change, group) {
        (GroupChange::Create { .. }, None) => return Ok(()),
        // Whoever has chosen an id that is taken learns no more than anybody else.
        (GroupChange::Create { .. }, Some(_)) | (_, None) => return Err(Refusal::NoSuchGroup),
        (_, Some(group)) => group,
    };
    let own = match (change, own) {
        // One that everybody has left is no more: it would have members and no owner.
        (GroupChange::Join, None) if !group.invite_only && group.members > 0 => return Ok(()),
        (GroupChange::Join, Some(_)) => return Err(Refusal::Denied(Denial::Joined)),
        (_, None) => return Err(Refusal::NoSuchGroup),
        (_, Some(own)) => own,
    };
    judge_member(change, sender, group, own, target).map_err(Refusal::Denied)
}

/// What becomes of a change that a member wants to make.
fn judge_member(
    change: &GroupChange,
    sender: &UserId,
    group: GroupFacts,
    own: Membership,
    target: Option<Membership>,
) -> Result<(), Denial> {
    let at_least = |role: Role| if own.role >= role { Ok(()) } else { Err(Denial::NeedsRole(role)) };
    let last_owner = own.role == Role::Owner && group.owners <= 1;
    // Whom an admin or owner acts on is a member, and below it.
    let below = || match target {
        None => Err(Denial::NoMember),
        Some(target) if target.role >= own.role => Err(Denial::NotBelow),
        Some(_) => Ok(()),
    };
    match change {
        // Answered before.
        GroupChange::Create { .. } | GroupChange::Join => Ok(()),
        GroupChange::Leave if last_owner && group.members > 1 => Err(Denial::LastOwner),
        GroupChange::Leave => Ok(()),
        GroupChange::Invite(_) => {
            at_least(if group.invite_only { Role::Admin } else { Role::Member })?;
            if target.is_some() { Err(Denial::AlreadyMember) } else { Ok(()) }
        }
        // Who wants to go leaves.
        GroupChange::Kick(user) => {
            at_least(Role::Admin)?;
            if user == sender { Err(Denial::Oneself) } else { below() }
        }
        GroupChange::Mute(..) => {
            at_least(Role::Admin)?;
            below()
        }
        GroupChange::Rename(_) => at_least(Role::Admin),
        GroupChange::SetRole(user, role) => {
            at_least(Role::Owner)?;
            match target {
                None => Err(Denial::NoMember),
                // An owner steps down by itself or not at all, and never as the last one.
                Some(target) if user != sender && target.role == Role::Owner => Err(Denial::OtherOwner),
                Some(target) if target.role == *role => Err(Denial::SameRole),
                Some(_) if user == sender && last_owner => Err(Denial::LastOwner),
                Some(_) => Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Role::{Admin, Member, Owner};

    const OPEN: GroupFacts = GroupFacts { invite_only: false, members: 3, owners: 1 };
    const CLOSED: GroupFacts = GroupFacts { invite_only: true, ..OPEN };

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn denied(denial: Denial) -> Result<(), Refusal> {
        Err(Refusal::Denied(denial))
    }

    /// What becomes of a change of alice's, who has a role or none, about bob, who has a role or none.
    fn verdict(
        change: &GroupChange,
        group: GroupFacts,
        own: Option<Role>,
        target: Option<Role>,
    ) -> Result<(), Refusal> {
        let of = |role| Membership { role, muted_until_ms: 0 };
        judge(change, &user("alice"), Some(group), own.map(of), target.map(of))
    }

    #[test]
    fn a_group_is_created_once() {
        let create = GroupChange::Create { name: "x".into(), invite_only: false };
        assert_eq!(judge(&create, &user("alice"), None, None, None), Ok(()));
        for own in [None, Some(Owner)] {
            assert_eq!(verdict(&create, OPEN, own, None), Err(Refusal::NoSuchGroup));
        }
    }

    #[test]
    fn who_is_no_member_may_join_what_is_open_and_learns_of_nothing_else() {
        let changes = [
            GroupChange::Leave,
            GroupChange::Invite(user("bob")),
            GroupChange::Kick(user("bob")),
            GroupChange::SetRole(user("bob"), Member),
            GroupChange::Mute(user("bob"), 1),
            GroupChange::Rename("x".into()),
        ];
        for change in &changes {
            for group in [OPEN, CLOSED] {
                assert_eq!(verdict(change, group, None, Some(Member)), Err(Refusal::NoSuchGroup));
            }
            assert_eq!(judge(change, &user("alice"), None, None, None), Err(Refusal::NoSuchGroup));
        }
        assert_eq!(verdict(&GroupChange::Join, OPEN, None, None), Ok(()));
        assert_eq!(verdict(&GroupChange::Join, CLOSED, None, None), Err(Refusal::NoSuchGroup));
        let left = GroupFacts { members: 0, owners: 0, ..OPEN };
        assert_eq!(verdict(&GroupChange::Join, left, None, None), Err(Refusal::NoSuchGroup));
        assert_eq!(verdict(&GroupChange::Join, OPEN, Some(Member), None), denied(Denial::Joined));
    }

    #[test]
    fn the_last_owner_stays_while_there_are_others() {
        let leave = GroupChange::Leave;
        assert_eq!(verdict(&leave, OPEN, Some(Owner), None), denied(Denial::LastOwner));
        assert_eq!(verdict(&leave, GroupFacts { owners: 2, ..OPEN }, Some(Owner), None), Ok(()));
        assert_eq!(verdict(&leave, GroupFacts { members: 1, ..OPEN }, Some(Owner), None), Ok(()));
        assert_eq!(verdict(&leave, OPEN, Some(Member), None), Ok(()));
        let down = GroupChange::SetRole(user("alice"), Member);
        assert_eq!(verdict(&down, OPEN, Some(Owner), Some(Owner)), denied(Denial::LastOwner));
        assert_eq!(
            verdict(&down, GroupFacts { members: 1, ..OPEN }, Some(Owner), Some(Owner)),
            denied(Denial::LastOwner)
        );
        assert_eq!(verdict(&down, GroupFacts { owners: 2, ..OPEN }, Some(Owner), Some(Owner)), Ok(()));
    }

    #[test]
    fn roles_decide_who_acts_on_whom() {
        let kick = GroupChange::Kick(user("bob"));
        let mute = GroupChange::Mute(user("bob"), 1);
        let acts = |change: &GroupChange, own, target| verdict(change, OPEN, Some(own), target);
        for change in [&kick, &mute] {
            assert_eq!(acts(change, Member, Some(Member)), denied(Denial::NeedsRole(Admin)));
            assert_eq!(
                acts(change, Member, None),
                denied(Denial::NeedsRole(Admin)),
                "it is not told who is a member"
            );
            assert_eq!(acts(change, Admin, Some(Member)), Ok(()));
            assert_eq!(acts(change, Admin, Some(Admin)), denied(Denial::NotBelow));
            assert_eq!(acts(change, Owner, Some(Admin)), Ok(()));
            assert_eq!(acts(change, Owner, Some(Owner)), denied(Denial::NotBelow));
            assert_eq!(acts(change, Owner, None), denied(Denial::NoMember));
        }
        assert_eq!(acts(&GroupChange::Kick(user("alice")), Owner, Some(Owner)), denied(Denial::Oneself));
        let promote = GroupChange::SetRole(user("bob"), Admin);
        assert_eq!(acts(&promote, Admin, Some(Member)), denied(Denial::NeedsRole(Owner)));
        assert_eq!(acts(&promote, Owner, Some(Member)), Ok(()));
        assert_eq!(acts(&promote, Owner, Some(Admin)), denied(Denial::SameRole));
        assert_eq!(acts(&promote, Owner, Some(Owner)), denied(Denial::OtherOwner));
        assert_eq!(acts(&promote, Owner, None), denied(Denial::NoMember));
        let already = GroupChange::SetRole(user("bob"), Owner);
        assert_eq!(acts(&already, Owner, Some(Owner)), denied(Denial::OtherOwner), "whatever the role is");
        let rename = GroupChange::Rename("x".into());
        assert_eq!(acts(&rename, Member, None), denied(Denial::NeedsRole(Admin)));
        assert_eq!(acts(&rename, Admin, None), Ok(()));
    }

    #[test]
    fn members_invite_to_what_is_open_and_admins_to_the_rest() {
        let invite = GroupChange::Invite(user("bob"));
        assert_eq!(verdict(&invite, OPEN, Some(Member), None), Ok(()));
        assert_eq!(verdict(&invite, CLOSED, Some(Member), None), denied(Denial::NeedsRole(Admin)));
        assert_eq!(verdict(&invite, CLOSED, Some(Admin), None), Ok(()));
        assert_eq!(verdict(&invite, OPEN, Some(Member), Some(Member)), denied(Denial::AlreadyMember));
    }
}
