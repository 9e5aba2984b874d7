//! What those who run the servers do: connections are closed that nobody may use any more, and something is said as the
//! server. A driver does it at each engine; a closed client may dial again, as keeping it out is not the engine's business.

use switchboard_engine::{Audience, CloseReason, Event, Revocation, Whose};

use super::{World, sut::Sut};
use crate::{
    check::ConnKey,
    schedule::{ClientNo, NodeNo, To, UserNo},
};

const fn revocation(why: u32) -> Revocation {
    match why {
        0 => Revocation::SignedOut,
        1 => Revocation::Banned,
        _ => Revocation::Administrator,
    }
}

impl<T: Sut> World<'_, T> {
    /// The login of a client's connection ends. If it is gone by then, nothing may happen.
    pub(super) fn revoke(&mut self, client: ClientNo, why: u32) {
        let why = revocation(why);
        let is_its = |conn: &ConnKey| {
            let conn = &self.conns[*conn as usize];
            conn.client == client && conn.server_open
        };
        let newest = (0..self.conns.len() as ConnKey).rev().find(is_its);
        let Some(key) = newest.or_else(|| self.departed(client)) else { return };
        let (shard, id) = (self.conns[key as usize].shard, self.conns[key as usize].id);
        if self.works(shard) {
            let open = newest.filter(|key| self.conns[*key as usize].closing.is_none());
            self.begin(shard);
            match newest {
                Some(_) => self.check.revokes(shard, open.as_slice(), Some(id), why.into()),
                None => self.check.late(shard, id),
            }
            self.close_all(shard, open.as_slice(), Whose::Connection(id), why);
        }
    }

    /// All connections of a user are closed.
    pub(super) fn expel(&mut self, user: UserNo, why: u32) {
        let why = revocation(why);
        let id = self.users[user.index()].clone();
        for shard in (0..self.shards.len()).filter(|shard| self.works(*shard)).collect::<Vec<_>>() {
            let is_theirs = |conn: &ConnKey| {
                let conn = &self.conns[*conn as usize];
                let is_users = self.devices[conn.client.index()].spec.user == user;
                is_users && conn.shard == shard && conn.server_open && conn.closing.is_none()
            };
            let open: Vec<ConnKey> = (0..self.conns.len() as ConnKey).filter(is_theirs).collect();
            self.begin(shard);
            self.check.revokes(shard, &open, None, why.into());
            self.close_all(shard, &open, Whose::User(id.clone()), why);
        }
    }

    fn close_all(&mut self, shard: usize, open: &[ConnKey], whose: Whose, why: Revocation) {
        let code = CloseReason::from(why).code();
        open.iter().for_each(|conn| self.spec.revokes(*conn, code));
        self.trace.note(self.now_us, self.lane(shard), || format!("{whose:?}: {why:?}"));
        self.feed(shard, Event::Revoked { whose, why });
        open.iter().for_each(|conn| self.spec.is_closed(*conn));
        self.write_dirty();
    }

    /// The servers say something.
    pub(super) fn say_as_server(&mut self, to: To, step: u32, bytes: u32) {
        let (audience, user) = match to {
            To::User(user) => (Audience::User(self.users[user.index()].clone()), Some(user.0)),
            To::Group(_) | To::Nobody => (Audience::Everyone, None),
        };
        let text = format!("n{step} {}", "x".repeat(bytes as usize));
        let shards: Vec<usize> = (0..self.shards.len()).filter(|shard| self.works(*shard)).collect();
        let nodes = shards.iter().map(|shard| self.node_of(*shard) as u16).collect();
        self.spec.announces(user, &text, nodes);
        for shard in shards {
            // What the one before it was told may have been the last that its node had to stop for.
            if self.works(shard) {
                self.begin(shard);
                self.check.announces(user, &text);
                self.trace.note(self.now_us, self.lane(shard), || format!("says n{step}"));
                self.feed(shard, Event::Announced { to: audience.clone(), text: text.as_str().into() });
                self.write_dirty();
            }
        }
    }

    /// Whether an engine takes events.
    fn works(&self, shard: usize) -> bool {
        let node = NodeNo(self.node_of(shard) as u16);
        self.nodes[node.index()].up && !self.shards[shard].stopped
    }
}
