//! What those who run the server have done: connections that nobody may use any more, and what is said as the server.

use alloc::vec::Vec;

use super::{Server, classic, delivery::Kind, session::frames};
use crate::{
    event::{Audience, Revocation, Whose},
    id::ConnId,
    probe::{Canary, Probe, Rule},
};

impl<P: Probe> Server<P> {
    /// Closes connections that nobody may use any more. Those that are closing already have their reason.
    pub(super) fn revoked(&mut self, whose: &Whose, why: Revocation) {
        let conns = match whose {
            Whose::Connection(conn) => self.one(*conn),
            Whose::User(user) => self.all_of(user.as_str()),
        };
        self.probe.reached(match whose {
            _ if conns.is_empty() => Rule::RevokedNobody,
            Whose::Connection(_) => Rule::RevokedConnection,
            Whose::User(_) => Rule::RevokedUser,
        });
        if conns.is_empty() && matches!(whose, Whose::Connection(_)) {
            self.stats.stale_events += 1;
        }
        for conn in conns {
            self.stats.revoked += 1;
            self.close(conn, why.into());
        }
    }

    fn one(&self, conn: ConnId) -> Vec<ConnId> {
        let user = self.connections.get(conn).and_then(|connection| connection.user());
        match user.and_then(|user| self.users.get(user)) {
            Some(user) if self.probe.canary(Canary::RevokedTakesOthers) => user.conns.clone(),
            Some(_) => [conn].into(),
            None => Vec::new(),
        }
    }

    fn all_of(&self, user: &str) -> Vec<ConnId> {
        let mut conns = self.users.by_id(user).map_or_else(Vec::new, |user| user.conns.clone());
        if self.probe.canary(Canary::RevokedKeepsNewest) {
            conns.pop();
        }
        conns
    }

    /// Tells what the server has to say to who is welcomed, in the words of each protocol.
    pub(super) fn announced(&mut self, to: &Audience, text: &str) {
        self.stats.announced += 1;
        let forms = [(classic::notice(to, text), Kind::Ordinary), (frames::notice(text), Kind::Notice)];
        for (frame, kind) in forms {
            match to {
                Audience::User(_) if self.probe.canary(Canary::NoticeToStrangers) => {
                    self.deliver_to_everyone(frame, kind, None);
                }
                Audience::User(user) => {
                    self.probe.reached(Rule::NoticeToUser);
                    let newest = self.users.by_id(user.as_str()).and_then(|user| user.conns.last().copied());
                    let except = newest.filter(|_| self.probe.canary(Canary::NoticeToOneDevice));
                    self.deliver_to_user(user.as_str(), frame, kind, except);
                }
                Audience::Everyone => {
                    self.probe.reached(Rule::NoticeToEveryone);
                    self.deliver_to_everyone(frame, kind, None);
                }
            }
        }
    }
}
