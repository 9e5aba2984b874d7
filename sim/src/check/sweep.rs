//! The full sweep: everything that takes time in proportion to what there is.

use switchboard_engine::{Gauges, InvariantViolation};

use super::{Check, Phase};

impl Check {
    /// Compares one engine's whole state with what was seen of it.
    pub(crate) fn sweep(
        &mut self,
        shard: usize,
        invariants: Result<(), InvariantViolation>,
        gauges: Gauges,
        timeout_ns: Option<u64>,
    ) {
        if !self.is_on {
            return;
        }
        if let Err(violation) = invariants {
            self.fail(violation.invariant, |_| format!("check_invariants: {}", violation.what));
        }
        let watch = &self.watches[shard];
        let users = watch.told.iter().filter(|told| told.is_here()).count() as u64;
        let pairs = [
            ("connections", gauges.connections, u64::from(watch.connections)),
            ("users", gauges.users, users),
            ("watched users", if self.peers { gauges.watched } else { 0 }, watch.listens.len() as u64),
            ("unflushed frames", gauges.unflushed, watch.unflushed),
            ("requests", gauges.requests - gauges.asides, watch.tickets.len() as u64),
        ];
        for (name, engine, seen) in pairs {
            if engine != seen {
                self.fail("accounting", |_| format!("{engine} {name} in the engine, {seen} seen"));
            }
        }
        self.sweep_users(shard, gauges.calls + gauges.away);
        self.sweep_groups(shard);
        self.sweep_silent(shard, timeout_ns);
    }

    /// No user is listened for who has neither a connection here nor something that waits for one.
    fn sweep_users(&mut self, shard: usize, waiting: u64) {
        let told = &self.watches[shard].told;
        let gone = told.iter().filter(|told| told.subscribed && !told.is_here()).count() as u64;
        if gone > waiting {
            self.fail("takeover", |_| {
                format!(
                    "{gone} users without connections are listened for, and {waiting} things of theirs wait"
                )
            });
        }
    }

    /// Group subscriptions follow from the members who are here.
    fn sweep_groups(&mut self, shard: usize) {
        for group in 0..self.members.len() as u16 {
            let here = |user: &u16| self.watches[shard].told[*user as usize].is_here();
            let users = 0..self.settings.users as u16;
            let may = users.clone().filter(here).any(|user| self.may(shard, group, user));
            let must = users.filter(here).any(|user| self.must_know(shard, group, user));
            let is = self.watches[shard].group_subs[group as usize];
            if self.peers && ((is && !may) || (must && !is)) {
                self.fail("no-leak", |_| format!("shard {shard} is subscribed to g{group}: {is}"));
            }
        }
    }

    /// Nobody stays who has been silent for too long, and a deadline that has passed is not kept.
    fn sweep_silent(&mut self, shard: usize, timeout_ns: Option<u64>) {
        let now_ns = self.watches[shard].now_ns;
        let idle_ns = self.settings.idle_timeout_ms * 1_000_000;
        for slot in 0..self.watches[shard].slots.len() {
            let Some(conn) = self.watches[shard].slots[slot] else { continue };
            let seat = &self.seats[conn as usize];
            let open = matches!(seat.phase, Phase::Loading | Phase::Online);
            if open && now_ns > seat.heard_ns + idle_ns + 100_000_000 {
                self.fail("bounded", |check| format!("{} is dead and stays", check.name(conn)));
            }
        }
        if timeout_ns.is_some_and(|timeout_ns| timeout_ns + 100_000_000 < now_ns) {
            self.fail("bounded", |_| "a deadline has passed and stays the next one".to_owned());
        }
    }
}
