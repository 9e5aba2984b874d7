//! The users with connections here, and the groups that they belong to.

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};

use bytes::Bytes;
use slab::Slab;

use super::{call::Call, rate::Meter};
use crate::{
    digest::Digest,
    hash::{Lookup, OrderedSet, SeededState},
    id::{ConnId, GroupId, Ticket, UserId},
    time::Instant,
};

/// A user's place in the table; reused once the user's last connection has gone.
pub(super) type UserKey = usize;

/// A group's place in the table; reused once its last local member has gone.
pub(super) type GroupKey = usize;

/// A user with an open connection, or with something left to route.
#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) id: UserId,
    /// Open connections, oldest first.
    pub(super) conns: Vec<ConnId>,
    /// How many of them are sessions.
    pub(super) sessions: usize,
    /// What connections that are closed had sent before the user was loaded; it is routed when that is done.
    pub(super) departed: VecDeque<Departed>,
    pub(super) load: Load,
    /// The picture, as the directory has it.
    pub(super) avatar: Box<str>,
    /// State of the directory that `avatar` and `groups` are of.
    pub(super) revision: u64,
    pub(super) groups: OrderedSet<GroupKey>,
    pub(super) call: Option<Call>,
    /// Whether a connection of the user is welcomed.
    pub(super) is_here: bool,
    /// What all connections together have used of their rates, if those are limited.
    pub(super) messages: Meter,
    pub(super) bytes: Meter,
}

/// A message of a connection that is closed.
#[derive(Clone, Debug)]
pub(super) struct Departed {
    pub(super) conn: ConnId,
    pub(super) is_session: bool,
    pub(super) message: Bytes,
}

/// How far the directory's knowledge of a user is here.
#[derive(Clone, Debug)]
pub(super) enum Load {
    /// It is asked for. What changes meanwhile makes the engine ask again.
    Waiting { ticket: Ticket },
    /// It is here.
    Done,
    /// It could not be had; it is tried again then.
    Failed { retry_at: Instant },
}

/// A group with at least one local member.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) id: GroupId,
    pub(super) members: OrderedSet<UserKey>,
}

/// The tables of users and groups.
#[derive(Clone, Debug)]
pub(super) struct Users {
    users: Slab<User>,
    by_user_id: Lookup<UserId, UserKey>,
    groups: Slab<Group>,
    by_group_id: Lookup<GroupId, GroupKey>,
    /// Sessions of all users.
    sessions: usize,
    hash: SeededState,
}

impl Users {
    pub(super) fn new(hash: SeededState) -> Self {
        Self {
            users: Slab::new(),
            by_user_id: Lookup::with_hasher(hash),
            groups: Slab::new(),
            by_group_id: Lookup::with_hasher(hash),
            sessions: 0,
            hash,
        }
    }

    pub(super) fn key(&self, id: &str) -> Option<UserKey> {
        self.by_user_id.get(id).copied()
    }

    /// The id of this name, if it can be one; that of a user who is here, at this key, is shared.
    pub(super) fn id_of(&self, name: &str, key: Option<UserKey>) -> Option<UserId> {
        match key.and_then(|key| self.users.get(key)) {
            Some(user) => Some(user.id.clone()),
            None => UserId::new(name).ok(),
        }
    }

    pub(super) fn get(&self, key: UserKey) -> Option<&User> {
        self.users.get(key)
    }

    pub(super) fn get_mut(&mut self, key: UserKey) -> Option<&mut User> {
        self.users.get_mut(key)
    }

    pub(super) fn by_id(&self, id: &str) -> Option<&User> {
        self.users.get(self.key(id)?)
    }

    pub(super) fn group_key(&self, id: &str) -> Option<GroupKey> {
        self.by_group_id.get(id).copied()
    }

    pub(super) fn group(&self, key: GroupKey) -> Option<&Group> {
        self.groups.get(key)
    }

    pub(super) fn group_by_id(&self, id: &str) -> Option<&Group> {
        self.groups.get(self.group_key(id)?)
    }

    /// How many users are here.
    pub(super) fn len(&self) -> usize {
        self.users.len()
    }

    /// How many groups have members here.
    pub(super) fn groups_len(&self) -> usize {
        self.groups.len()
    }

    /// All users, in the order of their keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (UserKey, &User)> {
        self.users.iter()
    }

    /// All groups, in the order of their keys.
    pub(super) fn iter_groups(&self) -> impl Iterator<Item = (GroupKey, &Group)> {
        self.groups.iter()
    }

    /// Adds a user who is not here yet.
    pub(super) fn add(&mut self, id: UserId, load: Load) -> UserKey {
        let key = self.users.insert(User {
            id: id.clone(),
            conns: Vec::new(),
            sessions: 0,
            departed: VecDeque::new(),
            load,
            avatar: Box::default(),
            revision: 0,
            groups: OrderedSet::with_hasher(self.hash),
            call: None,
            is_here: false,
            messages: Meter::default(),
            bytes: Meter::default(),
        });
        self.by_user_id.insert(id, key);
        key
    }

    /// Removes a user, who must have left all groups.
    pub(super) fn remove(&mut self, key: UserKey) -> Option<User> {
        let user = self.users.try_remove(key)?;
        self.by_user_id.remove(&user.id);
        Some(user)
    }

    /// Adds an open connection, the newest one.
    pub(super) fn attach(&mut self, key: UserKey, conn: ConnId, is_session: bool) {
        let Some(user) = self.users.get_mut(key) else { return };
        user.conns.push(conn);
        user.sessions += usize::from(is_session);
        self.sessions += usize::from(is_session);
    }

    /// Takes a connection away; all of them, if a bug wants it so.
    pub(super) fn detach(&mut self, key: UserKey, conn: ConnId, is_session: bool, all: bool) {
        let Some(user) = self.users.get_mut(key) else { return };
        let before = user.conns.len();
        user.conns.retain(|other| *other != conn && !all);
        let gone = if all { user.sessions } else { usize::from(is_session && user.conns.len() < before) };
        user.sessions -= gone;
        self.sessions -= gone;
    }

    /// How many sessions there are, of all users.
    pub(super) const fn sessions(&self) -> usize {
        self.sessions
    }

    /// Makes a user a member. Returns whether the group is new here.
    pub(super) fn join(&mut self, user: UserKey, group: &GroupId) -> bool {
        let (key, new) = match self.by_group_id.get(group) {
            Some(key) => (*key, false),
            None => {
                let members = OrderedSet::with_hasher(self.hash);
                let key = self.groups.insert(Group { id: group.clone(), members });
                self.by_group_id.insert(group.clone(), key);
                (key, true)
            }
        };
        if let (Some(group), Some(member)) = (self.groups.get_mut(key), self.users.get_mut(user)) {
            group.members.insert(user);
            member.groups.insert(key);
        }
        new
    }

    /// Ends a membership. Returns whether the group has no members left here.
    pub(super) fn leave(&mut self, user: UserKey, key: GroupKey) -> bool {
        if let Some(member) = self.users.get_mut(user) {
            member.groups.swap_remove(&key);
        }
        let Some(group) = self.groups.get_mut(key) else { return false };
        group.members.swap_remove(&user);
        if !group.members.is_empty() {
            return false;
        }
        let group = self.groups.remove(key);
        self.by_group_id.remove(&group.id);
        true
    }

    /// The look-up tables follow from what is folded; the order of members from nothing that decides anything.
    pub(super) fn fold(&self, digest: &mut Digest<'_>) {
        digest.unordered(self.iter(), |digest, (_, user)| user.fold(digest, self));
        digest.unordered(self.iter_groups(), |digest, (_, group)| {
            digest.text(group.id.as_str());
            digest.unordered(group.members.iter(), |digest, user| self.fold_name(digest, *user));
        });
    }

    /// A user's id in place of the key, which decides nothing.
    pub(super) fn fold_name(&self, digest: &mut Digest<'_>, key: UserKey) {
        digest.text(self.get(key).map_or("", |user| user.id.as_str()));
        if digest.is_everything() {
            digest.len(key);
        }
    }
}

impl User {
    fn fold(&self, digest: &mut Digest<'_>, users: &Users) {
        digest.text(self.id.as_str());
        digest.len(self.conns.len());
        self.conns.iter().for_each(|conn| digest.conn(*conn));
        digest.len(self.departed.len());
        for Departed { conn, is_session, message } in &self.departed {
            digest.conn(*conn);
            digest.flag(*is_session);
            digest.bytes(message);
        }
        match self.load {
            // Which request that is, the requests tell.
            Load::Waiting { .. } => digest.word(0),
            Load::Done => digest.word(1),
            Load::Failed { retry_at } => {
                digest.word(2);
                digest.instant(retry_at);
            }
        }
        digest.text(&self.avatar);
        digest.word(self.revision);
        digest.unordered(self.groups.iter(), |digest, key| {
            digest.text(users.group(*key).map_or("", |group| group.id.as_str()));
        });
        digest.flag(self.is_here);
        self.messages.fold(digest);
        self.bytes.fold(digest);
        digest.flag(self.call.is_some());
        if let Some(call) = &self.call {
            call.fold(digest);
        }
    }
}
