//! What the directory has told a server of its users.

use std::collections::{BTreeMap, BTreeSet};

use switchboard_engine::{
    Answer, ConnId, ConnectionPhase, ConnectionView, DirectoryChange, DirectoryChangeKind, GroupId, Probe,
    Request, Server, Ticket, Topic, UserId,
};

use super::{Held, hold};

/// A user who is here.
#[derive(Clone, Debug, Default)]
struct Member {
    /// Open connections, oldest first.
    conns: Vec<ConnId>,
    /// The load that is waited for.
    load: Option<Ticket>,
    /// The state of the directory that is known; none: it was never loaded.
    revision: Option<u64>,
    groups: BTreeSet<GroupId>,
    /// It changed while it was loaded: the answer may be older than that, or newer.
    is_uncertain: bool,
}

impl Member {
    /// Whether the engine knows it as it is known here.
    const fn is_certain(&self) -> bool {
        !self.is_uncertain && self.load.is_none() && self.revision.is_some()
    }

    /// The answer may still come, and is not waited for any more: it is asked again.
    fn give_up(&mut self) {
        (self.load, self.is_uncertain) = (None, true);
        self.revision = self.revision.or(Some(0));
    }
}

/// All of them.
#[derive(Clone, Debug)]
pub(super) struct Members {
    users: BTreeMap<UserId, Member>,
    /// Those who came and were never loaded, and some of whom that is not true any more.
    unloaded: BTreeSet<UserId>,
    groups_limit: usize,
}

impl Members {
    pub(super) fn new(groups_limit: u32) -> Self {
        Self { users: BTreeMap::new(), unloaded: BTreeSet::new(), groups_limit: groups_limit as usize }
    }

    pub(super) fn len(&self) -> usize {
        self.users.len()
    }

    pub(super) fn resumed<P: Probe>(
        &mut self,
        user: &UserId,
        connection: &ConnectionView<'_>,
        server: &Server<P>,
    ) {
        let member = self.users.entry(user.clone()).or_default();
        member.conns.push(connection.id);
        if let Some(groups) = server.groups_of(user) {
            member.groups = groups.cloned().collect();
            // Which revision that is, is not known: no change is older.
            member.revision = Some(0);
        } else if connection.phase != ConnectionPhase::Loading {
            // It could not be loaded, and is asked for again: meanwhile it is welcomed, and belongs to nothing.
            member.revision = member.revision.or(Some(0));
        } else if member.revision.is_none() {
            self.unloaded.insert(user.clone());
        }
        member.is_uncertain = true;
    }

    /// Loads may have been given up, or answered that were asked for before the recording begins. What a session is told then waits for
    /// its Hello.
    pub(super) fn perhaps_given_up<P: Probe>(&mut self, server: &Server<P>) {
        let is_loading = |conn: &ConnId| {
            server.connection(*conn).is_none_or(|connection| connection.phase == ConnectionPhase::Loading)
        };
        self.unloaded.retain(|user| {
            let Some(member) = self.users.get_mut(user).filter(|member| member.revision.is_none()) else {
                return false;
            };
            let is_waited_for = member.conns.iter().all(is_loading);
            if !is_waited_for {
                member.give_up();
            }
            is_waited_for
        });
    }

    pub(super) fn come(&mut self, user: &UserId, conn: ConnId) {
        let member = self.users.entry(user.clone()).or_default();
        if member.conns.is_empty() {
            // It is known anew; a load may still be on its way, for what its connections before have left.
            (member.revision, member.is_uncertain) = (None, false);
            self.unloaded.insert(user.clone());
        }
        member.conns.push(conn);
    }

    pub(super) fn leave(&mut self, user: &UserId, conn: ConnId) {
        if let Some(member) = self.users.get_mut(user) {
            member.conns.retain(|other| *other != conn);
            if member.conns.is_empty() && member.load.is_none() {
                self.users.remove(user);
            }
        }
    }

    pub(super) fn connections(&self, user: &UserId) -> usize {
        self.of(user).len()
    }

    /// The open connections of a user, oldest first.
    pub(super) fn of(&self, user: &UserId) -> &[ConnId] {
        self.users.get(user).map(|member| member.conns.as_slice()).unwrap_or_default()
    }

    pub(super) fn has_loaded(&self, user: &UserId) -> bool {
        self.users.get(user).is_some_and(|member| member.revision.is_some())
    }

    pub(super) fn asked(&mut self, ticket: Ticket, request: &Request) {
        if let Request::LoadUser(user) = request
            && let Some(member) = self.users.get_mut(user)
        {
            member.load = Some(ticket);
        }
    }

    pub(super) fn answered(&mut self, ticket: Ticket, request: &Request, answer: &Answer) {
        let Request::LoadUser(user) = request else { return };
        let Some(member) = self.users.get_mut(user).filter(|member| member.load == Some(ticket)) else {
            return;
        };
        member.load = None;
        match answer {
            Answer::UserLoaded(profile) => {
                member.is_uncertain =
                    member.is_uncertain && member.revision.is_some_and(|known| known > profile.revision);
                member.revision = Some(profile.revision);
                member.groups = profile.groups.iter().cloned().collect();
                // Which of too many the engine leaves out, is not asked: also not when some of them are left later.
                member.is_uncertain |= member.groups.len() > self.groups_limit;
            }
            // Nobody knows such a user: it belongs to nothing. After a failure it is welcomed all the same.
            Answer::Refused | Answer::Failed | Answer::Full => {
                member.revision = member.revision.or(Some(0));
                member.is_uncertain = true;
            }
            Answer::MessageStored(_)
            | Answer::StoredEarlier(_)
            | Answer::FileStored { .. }
            | Answer::HeadsLoaded { .. }
            | Answer::MessagesLoaded(_)
            | Answer::MarksStored(_)
            | Answer::Seen { .. }
            | Answer::ReceivedStored
            | Answer::UnreceivedLoaded { .. }
            | Answer::Denied(_) => {}
        }
        if member.conns.is_empty() {
            self.users.remove(user);
        }
    }

    /// A user is welcomed whose load was given up: it is known to belong to nothing.
    pub(super) fn given_up(&mut self, user: &UserId) {
        if let Some(member) = self.users.get_mut(user) {
            member.give_up();
        }
    }

    pub(super) fn changed(&mut self, change: &DirectoryChange) {
        let Some(member) = self.users.get_mut(&change.user) else { return };
        member.is_uncertain |= member.load.is_some() || member.revision.is_none();
        if member.revision.is_some_and(|known| change.revision <= known) {
            return;
        }
        member.revision = member.revision.map(|_| change.revision);
        match &change.kind {
            DirectoryChangeKind::Joined(group) => {
                member.groups.insert(group.clone());
                member.is_uncertain |= member.groups.len() > self.groups_limit;
            }
            DirectoryChangeKind::Left(group) => {
                member.groups.remove(group);
            }
            DirectoryChangeKind::Avatar(_) => {}
        }
    }

    /// Whether a user may be taken for a member.
    pub(super) fn may(&self, user: &UserId, group: &GroupId) -> bool {
        let member = self.users.get(user);
        member.is_none_or(|member| member.groups.contains(group) || !member.is_certain())
    }

    /// The users who have to be taken for members.
    pub(super) fn certain<'a>(
        &'a self,
        group: &'a GroupId,
    ) -> impl Iterator<Item = (&'a UserId, &'a [ConnId])> {
        let is_member = |member: &Member| member.is_certain() && member.groups.contains(group);
        self.users
            .iter()
            .filter(move |(_, member)| is_member(member))
            .map(|(user, member)| (user, member.conns.as_slice()))
    }

    /// What is for who is here is listened for, and the groups of nobody are not.
    pub(super) fn check_subscriptions(
        &self,
        topics: &BTreeSet<Topic>,
        is_welcomed: impl Fn(ConnId) -> bool,
    ) -> Held {
        let mut is_all_certain = true;
        let mut groups = BTreeSet::new();
        for (user, member) in &self.users {
            is_all_certain &= member.is_certain() || member.conns.is_empty();
            groups.extend(&member.groups);
            if !member.is_certain() || !member.conns.iter().any(|conn| is_welcomed(*conn)) {
                continue;
            }
            hold(topics.contains(&Topic::User(user.clone())), "delivery", || {
                format!("{user} is here, and what is for it is not listened for")
            })?;
            for group in &member.groups {
                hold(topics.contains(&Topic::Group(group.clone())), "delivery", || {
                    format!("{user} is here, and its group {group} is not listened for")
                })?;
            }
        }
        if !is_all_certain {
            return Ok(());
        }
        for topic in topics {
            let Topic::Group(group) = topic else { continue };
            hold(groups.contains(group), "no-leak", || {
                format!("the group {group} has no member here, and is listened for")
            })?;
        }
        Ok(())
    }
}
