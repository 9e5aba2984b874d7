//! What the directory says of the users who are here, and the groups that follow from it.

use super::{
    Server,
    timers::Due,
    users::{GroupKey, Load, User, UserKey},
};
use crate::{
    action::Action,
    answer::Undone,
    bus::Topic,
    config::to_usize,
    id::{ConnId, GroupId, Ticket},
    probe::{Canary, Probe, Rule},
    storage::{Answer, DirectoryChange, DirectoryChangeKind, Request, UserProfile},
};

impl<P: Probe> Server<P> {
    /// The store has answered about a user, or has not in time.
    pub(super) fn load_answered(&mut self, key: UserKey, ticket: Ticket, answer: Answer) {
        let Some(user) = self.users.get_mut(key) else { return };
        if !matches!(user.load, Load::Waiting { ticket: waiting } if waiting == ticket) {
            self.stats.stale_events += 1;
            return;
        }
        user.load = Load::Done;
        match answer.into_user() {
            Ok(profile) => {
                self.probe.reached(Rule::Loaded);
                self.apply_profile(key, profile);
            }
            Err(Undone::Failed) => self.retry_load(key),
            // A user whom the directory does not know belongs to no group and has no picture.
            Err(Undone::Refused) => {
                self.probe.reached(Rule::UserUnknown);
                self.apply_profile(key, UserProfile::default());
            }
        }
        self.route_departed(key);
        self.welcome_all(key);
        self.forget_if_gone(key);
    }

    /// Tries again later; until then the user is in the groups that are known, if any are.
    fn retry_load(&mut self, key: UserKey) {
        self.probe.reached(Rule::LoadFailed);
        self.stats.load_failed += 1;
        let at_once = self.probe.canary(Canary::ReloadAtOnce);
        let retry_at = if at_once { self.now } else { self.now + self.config.reload_interval };
        if let Some(user) = self.users.get_mut(key) {
            user.load = Load::Failed { retry_at };
            if !self.probe.canary(Canary::ReloadForgotten) {
                self.timers.set(retry_at, Due::Reload(key));
            }
        }
    }

    fn load_again(&mut self, key: UserKey, former: Ticket) {
        if self.probe.canary(Canary::LoadWaitsAnew) {
            self.requests.close(former);
            return self.load(key);
        }
        let Some(user) = self.users.get_mut(key) else { return };
        let Some(ticket) = self.requests.open_again(former) else { return };
        user.load = Load::Waiting { ticket };
        self.effects.push(Action::Request { ticket, request: Request::LoadUser(user.id.clone()) });
    }

    fn welcome_all(&mut self, key: UserKey) {
        let conns = self.users.get(key).map(|user| user.conns.clone()).unwrap_or_default();
        conns.into_iter().for_each(|conn: ConnId| self.welcome(conn));
    }

    fn apply_profile(&mut self, key: UserKey, profile: UserProfile) {
        let UserProfile { avatar, groups, revision } = profile;
        let Some(user) = self.users.get_mut(key) else { return };
        user.avatar = avatar;
        user.revision = revision;
        let left: alloc::vec::Vec<GroupKey> = user.groups.iter().copied().collect();
        for group in left {
            let stays = self.users.group(group).is_some_and(|group| groups.contains(&group.id));
            if !stays {
                self.leave(key, group);
            }
        }
        for group in groups {
            self.join(key, &group);
        }
    }

    /// The directory has changed.
    pub(super) fn directory_changed(&mut self, change: DirectoryChange) {
        let Some(key) = self.users.key(change.user.as_str()) else {
            return self.probe.reached(Rule::ChangeElsewhere);
        };
        let Some(user) = self.users.get(key) else { return };
        match user.load {
            // The answer may be older than the change; one to a new request is not. Who is to be welcomed waits no longer
            // for that, however often something changes.
            Load::Waiting { ticket } => {
                self.probe.reached(Rule::ChangeDuringLoad);
                if !self.probe.canary(Canary::ChangeDuringLoadLost) {
                    self.load_again(key, ticket);
                    // That one may fail too, and the user may be in groups from before an earlier load.
                    self.apply_change(key, change);
                }
            }
            Load::Done | Load::Failed { .. } => self.apply_change(key, change),
        }
    }

    fn apply_change(&mut self, key: UserKey, change: DirectoryChange) {
        let Some(user) = self.users.get_mut(key) else { return };
        if change.revision <= user.revision {
            self.probe.reached(Rule::ChangeStale);
            if !self.probe.canary(Canary::StaleChangeApplied) {
                return;
            }
        }
        self.probe.reached(Rule::ChangeApplied);
        user.revision = change.revision;
        match change.kind {
            DirectoryChangeKind::Joined(group) => self.join(key, &group),
            DirectoryChangeKind::Left(group) => {
                if let Some(group) = self.users.group_key(group.as_str())
                    && !self.probe.canary(Canary::LeftKeepsMember)
                {
                    self.leave(key, group);
                }
            }
            DirectoryChangeKind::Avatar(avatar) => {
                if !self.probe.canary(Canary::AvatarKept) {
                    user.avatar = avatar;
                }
            }
        }
    }

    fn join(&mut self, user: UserKey, group: &GroupId) {
        let limit = to_usize(self.config.limits.groups_per_user);
        let known = self.users.group_key(group.as_str());
        let full = |user: &User| {
            user.groups.len() >= limit && !known.is_some_and(|group| user.groups.contains(&group))
        };
        if self.users.get(user).is_some_and(full) {
            self.probe.reached(Rule::GroupsOverLimit);
            self.stats.groups_over_limit += 1;
            return;
        }
        self.probe.reached(Rule::GroupJoined);
        if self.users.join(user, group) && !self.probe.canary(Canary::SubscribeForgotten) {
            self.subscribe(Topic::Group(group.clone()));
        }
    }

    pub(super) fn leave(&mut self, user: UserKey, group: GroupKey) {
        let Some(id) = self.users.group(group).map(|group| group.id.clone()) else { return };
        self.probe.reached(Rule::GroupLeft);
        if self.users.leave(user, group) && !self.probe.canary(Canary::UnsubscribeForgotten) {
            self.unsubscribe(Topic::Group(id));
        }
    }
}
