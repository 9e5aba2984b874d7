//! The digests of a server's state. What each part folds of itself is beside that part.

use super::{Server, requests::Purpose, timers::Due};
use crate::{
    digest::{Digest, Extent, as_named},
    id::{ConnId, Ticket},
    probe::Probe,
    time::Instant,
};

impl<P: Probe> Server<P> {
    /// A digest of all that decides what the server does from here on, in the same sense on every machine.
    ///
    /// Two servers of the same configuration and probe whose digests are equal treat the same events in the
    /// same way from here on: they ask for the same actions, which differ at most in what the next paragraph
    /// lists. To be taken between events, when [`Server::poll_action`] has given `None`.
    ///
    /// In it are connections by their ids with phase, outbox, rates and kept messages; users with their
    /// connections in order, load, groups, picture, revision and call; what sessions are told and have asked for,
    /// and whom they watch; users who have just left; calls; the messages that wait for the store,
    /// in order; open requests and deadlines, in the order in which they fall due; how far a shutdown is.
    /// Times are distances from the latest `now`, so the passing of time alone changes a digest only by what
    /// has come nearer.
    ///
    /// Not in it is what only names or counts: [`Stats`](crate::Stats); the numbers of tickets, and the
    /// generator that message ids and the hash keys come from, which change names in actions; how many frames
    /// a connection was sent so far, which Pings carry and only their Pongs bring back; the places of users and groups in
    /// tables, which change the order of recipients within one action, and the order in which one event's
    /// actions are asked for that are about different connections or topics.
    ///
    /// Takes time in proportion to the state. The hash is SipHash-1-3 with fixed keys, of 64 bits: two of `n`
    /// different states have the same digest with a probability of about `n * n / 2^65`.
    #[must_use]
    pub fn state_digest(&self) -> u64 {
        self.state_digest_as(self.now, &as_named)
    }

    /// The same as it will be at `now` if nothing happens before, and with connections under other names:
    /// equal digests mean equal behaviour from then on, up to this renaming.
    ///
    /// For drivers that know which of their connections correspond; `name` must give different names to
    /// connections that the server knows.
    #[must_use]
    pub fn state_digest_as(&self, now: Instant, name: &dyn Fn(ConnId) -> u64) -> u64 {
        let mut digest = Digest::new(Extent::Behaviour, self.now.max(now), name);
        self.fold(&mut digest);
        digest.finish()
    }

    /// A digest of everything: what [`Server::state_digest`] has, and counters, tickets, the generator, the
    /// order of every table and absolute times. Equal only after equal histories, so it is what recordings and
    /// runs are compared by.
    #[must_use]
    pub fn full_digest(&self) -> u64 {
        let mut digest = Digest::new(Extent::Everything, self.now, &as_named);
        self.fold(&mut digest);
        digest.instant(self.now);
        digest.generator(&self.rng);
        self.stats.iter().for_each(|(_, count)| digest.word(count));
        digest.finish()
    }

    fn fold(&self, digest: &mut Digest<'_>) {
        self.stopping.fold(digest);
        self.admissions.fold(digest);
        digest.word(self.early_bytes);
        self.connections.fold(digest, &self.users);
        self.users.fold(digest);
        self.pipelines.fold(digest);
        self.presence.fold(digest);
        self.calls.fold(digest);
        self.fold_requests(digest);
        self.fold_timers(digest);
        digest.len(self.effects.len());
    }

    /// In the order in which they are given up: those of one instant go in the order of their tickets.
    fn fold_requests(&self, digest: &mut Digest<'_>) {
        digest.len(self.requests.len());
        self.requests.fold(digest, |digest, ticket, purpose| match purpose {
            Purpose::Load(user) => {
                digest.word(0);
                self.users.fold_name(digest, user);
                digest.flag(self.users.get(user).is_some_and(|user| user.load.waits_for(ticket)));
            }
            Purpose::Message(key) => {
                digest.word(1);
                let place = self.pipelines.get(key).and_then(|pipeline| pipeline.place(ticket));
                digest.flag(place.is_some());
                if let (Some(pipeline), Some(place)) = (self.pipelines.get(key), place) {
                    digest.conn(pipeline.origin);
                    digest.len(place);
                }
            }
            Purpose::Heads(conn) => {
                digest.word(2);
                digest.conn(conn);
            }
            Purpose::Fetch(conn) => {
                digest.word(3);
                digest.conn(conn);
                let session = self.connections.get(conn).and_then(|connection| connection.session.as_ref());
                let place = session.and_then(|session| session.fetch_place(ticket));
                digest.len(place.unwrap_or(usize::MAX));
            }
            Purpose::Marks(conn) => {
                digest.word(4);
                digest.conn(conn);
                let session = self.connections.get(conn).and_then(|connection| connection.session.as_ref());
                let place = session.and_then(|session| session.marking_place(ticket));
                digest.len(place.unwrap_or(usize::MAX));
            }
            Purpose::Unreceived(conn) => {
                digest.word(10);
                digest.conn(conn);
            }
            Purpose::Missed(conn) => {
                digest.word(11);
                digest.conn(conn);
            }
            Purpose::Received(conn) => {
                digest.word(12);
                digest.conn(conn);
                let receipts = self.connections.get(conn).and_then(|c| c.receipts.as_ref());
                digest.len(receipts.and_then(|receipts| receipts.place(ticket)).unwrap_or(usize::MAX));
            }
            Purpose::Ring(leg) => {
                digest.word(7);
                self.calls.fold_name(digest, leg);
            }
            Purpose::Seen(away) => {
                digest.word(5);
                self.presence.fold_away_name(digest, away);
            }
            Purpose::Watch(conn) => {
                digest.word(6);
                digest.conn(conn);
                let session = self.connections.get(conn).and_then(|connection| connection.session.as_ref());
                let place =
                    session.and_then(|session| session.watch()).and_then(|list| list.load_place(ticket));
                digest.len(place.unwrap_or(usize::MAX));
            }
        });
    }

    /// In their order, which is also that in which those of one instant are done.
    fn fold_timers(&self, digest: &mut Digest<'_>) {
        digest.len(self.timers.len());
        for (at, due) in self.timers.iter() {
            digest.instant(at);
            match due {
                Due::Connection(conn) => {
                    digest.word(0);
                    digest.conn(conn);
                }
                Due::Reload(user) => {
                    digest.word(1);
                    self.users.fold_name(digest, user);
                }
                Due::Resend(conn) => {
                    digest.word(10);
                    digest.conn(conn);
                }
                Due::Heads(conn) => {
                    digest.word(2);
                    digest.conn(conn);
                }
                Due::Away(away) => {
                    digest.word(3);
                    self.presence.fold_away_name(digest, away);
                }
                Due::Watched(watched) => {
                    digest.word(4);
                    self.presence.fold_watched_name(digest, watched);
                }
                Due::Watch(conn) => {
                    digest.word(5);
                    digest.conn(conn);
                }
                Due::Call(leg) => {
                    digest.word(6);
                    self.calls.fold_name(digest, leg);
                }
            }
        }
    }
}

impl super::users::Load {
    const fn waits_for(&self, ticket: Ticket) -> bool {
        matches!(self, Self::Waiting { ticket: waiting } if waiting.0 == ticket.0)
    }
}
