//! The healed phase: the faults stop, everybody comes back within a bound, and hears what is said then; at the
//! end every node stops within a bound.

use std::collections::BTreeSet;

use switchboard_engine::{CloseReason, ClosedReason, ConnectionState, SessionState};

use super::{
    Happening, World, bus::BusMood, clients::RECONNECT_CAP_S, speech::Speech, store::StoreMood, sut::Sut,
};
use crate::{
    check::{ConnKey, MessageKey},
    schedule::{ClientNo, GroupNo, NodeNo, To, UserNo},
    trace::Lane,
    wire::Token,
};

/// Messages of the healed phase have steps of their own, from here on.
pub(crate) const PROBE_STEP: u32 = 1 << 31;

/// Longest time that frames, the store and the bus need together once nothing is wrong, in microseconds.
const ROUND_US: u64 = 1_500_000;

/// Time between two probes, in microseconds: enough for one to be stored.
const PROBE_PAUSE_US: u64 = 100_000;

/// How often it is looked whether session clients have caught up, in microseconds.
const CATCH_UP_PAUSE_US: u64 = 500_000;

/// How often classic clients that catch up are waited for: each time what has come meanwhile may put that off.
const CATCH_UPS: usize = 64;

/// How often who does not come back by itself is made to dial at the most.
const REDIALS: usize = 6;

/// Probes of one kind at the most: enough to reach everybody who could be forgotten.
const PROBES: usize = 6;

/// How long a node stays down that is stopped at the end of a run, in microseconds.
pub(super) const FOR_GOOD_US: u64 = 3_600_000_000;

/// What is said in the healed phase, and who heard it.
#[derive(Clone, Debug, Default)]
pub(super) struct Probing {
    pub(super) heard: BTreeSet<(ConnKey, MessageKey)>,
    expected: Vec<(ConnKey, MessageKey)>,
}

impl<T: Sut> World<'_, T> {
    /// Ends all faults, waits for the bound, and demands what must hold then.
    pub(super) fn heal(&mut self) {
        let s = self.schedule.settings;
        self.end_faults();
        // Half-open connections are found out, requests without an answer are given up, and who was refused
        // waits for the longest pause.
        let patience_us = (s.idle_timeout_ms + s.ping_interval_ms + s.close_timeout_ms) * 1000;
        let patience_us = patience_us.max(10_000_000) + s.request_timeout_ms * 1000;
        self.run_until(self.now_us + patience_us);
        // More than once: who reads at last what has waited for long may be closed for it once more, and so may who is
        // sent what sessions had to hold back.
        for round in 0..REDIALS {
            if round > 1 && self.missing().is_none() {
                break;
            }
            for client in 0..self.devices.len() as u16 {
                self.redial(ClientNo(client));
                // Those who are taken in one by one come one by one.
                let pace_us = 2_000_000_u64.checked_div(s.admissions_per_second).unwrap_or(0);
                self.run_until(self.now_us + pace_us);
            }
            self.run_until(self.now_us + 3_000_000 + ROUND_US);
        }
        // Who was closed for what the devices of its user have sent together comes back by itself, after the longest pause:
        // they were made to dial so soon after each other, and again before it was over.
        if self.missing().is_some() {
            self.run_until(self.now_us + RECONNECT_CAP_S * 1_000_000 + ROUND_US);
        }
        for _ in 0..CATCH_UPS {
            let Some(until_us) = self.spec.catches_up_until_us().filter(|_| self.holds()) else { break };
            self.run_until(until_us + 1);
        }
        if !self.holds() {
            return;
        }
        self.demand_presence();
        self.demand_logs();
        self.demand_watches();
        if !self.holds() {
            self.trace.close();
        }
        self.probe();
        // What the specification promises is due before this.
        self.run_until(self.now_us + ROUND_US.max(self.spec.bound_us() + 1));
        self.await_probes();
        self.demand_probes();
        if self.holds() {
            (0..self.shards.len()).for_each(|shard| self.sweep(shard));
            self.demand_stop();
        }
    }

    fn end_faults(&mut self) {
        self.trace.note(self.now_us, Lane::World, || "the schedule ends, and with it all faults".to_owned());
        self.watch_remarks("the schedule ends, and with it all faults");
        self.set_store_mood(StoreMood::default());
        self.set_bus_mood(BusMood::default());
        self.bus.rejoin();
        self.spec.partition(false);
        for node in 0..self.nodes.len() as u16 {
            let node = NodeNo(node);
            let life = self.nodes[node.index()].life;
            self.start(node, life);
            // A clock that was set back stands still until it is reached again; it goes on from here.
            let shards = self.shards_of(node);
            let latest_us = shards.map(|shard| self.shards[shard].engine_ns / 1000).max().unwrap_or(0);
            let behind = latest_us.saturating_sub(self.now_us) as i64;
            let offset_us = self.nodes[node.index()].offset_us;
            self.jump(node, behind.max(offset_us) - offset_us);
        }
        for client in 0..self.devices.len() as u16 {
            self.resume(ClientNo(client));
            let device = &mut self.devices[client as usize];
            (device.slow_us, device.jitter_us) = (0, 0);
            self.spec.network(client, 0);
            self.spare(ClientNo(client));
        }
        self.write_dirty();
    }

    /// Whether a client has left because it was told to, and does not come back by itself.
    fn is_excused(&self, client: ClientNo) -> bool {
        let device = &self.devices[client.index()];
        if let Some(app) = &device.app {
            return app.session.as_ref().is_none_or(|s| matches!(s.state(), SessionState::Closed(_)));
        }
        match &device.engine {
            Some(engine) => matches!(
                engine.state(),
                ConnectionState::Closed(
                    ClosedReason::NotStarted
                        | ClosedReason::Application
                        | ClosedReason::TakenOver
                        | ClosedReason::TooManyDevices
                        | ClosedReason::SignedOut
                        | ClosedReason::Banned
                        | ClosedReason::Dismissed
                )
            ),
            None => matches!(device.closed, Some(4000 | 4001 | 4004 | 4005)),
        }
    }

    /// Everybody who wants to be there is there.
    fn demand_presence(&mut self) {
        for node in 0..self.nodes.len() {
            if !self.nodes[node].up || self.nodes[node].stopping {
                self.spec.fail("convergence", |_| format!("n{node} does not stop or start"));
            }
        }
        if let Some(client) = self.missing() {
            self.spec.fail("convergence", |_| format!("{client} is not online after the faults"));
        }
    }

    /// A client that wants to be there and is not.
    fn missing(&self) -> Option<ClientNo> {
        let is_here = |client: &ClientNo| {
            self.devices[client.index()].conn.is_some_and(|conn| self.spec.is_present(conn))
        };
        let mut clients = (0..self.devices.len() as u16).map(ClientNo);
        clients.find(|client| !is_here(client) && !self.is_excused(*client))
    }

    /// Every session client that is there has caught up, has exactly the logs that its user may read, and knows what
    /// has become of all that it has said.
    fn demand_logs(&mut self) {
        let clients: Vec<ClientNo> = (0..self.devices.len() as u16).map(ClientNo).collect();
        let clients = clients
            .into_iter()
            .filter(|client| self.devices[client.index()].app.is_some() && !self.is_excused(*client));
        let clients: Vec<ClientNo> = clients.collect();
        if clients.is_empty() {
            return;
        }
        let deadline_us = self.now_us + self.catch_up_us(&clients);
        let lack = |world: &Self| clients.iter().find_map(|client| world.lack(*client));
        while self.holds() && self.now_us < deadline_us && lack(self).is_some() {
            self.run_until(self.now_us + CATCH_UP_PAUSE_US);
        }
        let lack = lack(self).or_else(|| clients.iter().find_map(|client| self.spec.hanging_call(client.0)));
        if let Some(lack) = lack {
            self.spec.fail("convergence", |_| format!("after the faults, {lack}"));
        }
    }

    /// Every session that is there knows of everybody whom it watches whether they are here.
    fn demand_watches(&mut self) {
        let present = self.present();
        if let Some(text) = present.iter().find_map(|(_, _, conn)| self.spec.unaware_watcher(*conn)) {
            self.spec.fail("convergence", |_| format!("after the faults, somebody {text}"));
        }
    }

    /// What a session client lacks; none if nothing.
    fn lack(&self, client: ClientNo) -> Option<String> {
        let app = self.devices[client.index()].app.as_ref()?;
        let session = app.session.as_ref()?;
        match session.state() {
            SessionState::Online => self.spec.lack(client.0),
            // Its user's other device has taken its place meanwhile.
            SessionState::Closed(_) => None,
            state @ (SessionState::Connecting { .. }
            | SessionState::Greeting
            | SessionState::Resyncing
            | SessionState::Closing
            | SessionState::Waiting { .. }) => Some(format!("{client} is {state:?}")),
        }
    }

    /// How long a session waits at the most between two frames, and before one of the largest, in microseconds: it uses
    /// half of a rate, and shares those of its user with the other connections.
    fn pace_us(&self) -> (u64, u64) {
        let s = &self.schedule.settings;
        let devices = self.devices.len() as u64;
        let paced = |units: u64, own: u64, shared: u64| {
            let of_user_us = (units * devices * 2_000_000).checked_div(shared).unwrap_or(0);
            (units * 2_000_000 / own).max(of_user_us)
        };
        let pace_us = paced(1, s.messages_per_second, s.user_messages_per_second);
        (pace_us, paced(s.message_bytes, s.bytes_per_second, s.user_bytes_per_second))
    }

    /// How long it may take until session clients have everything: all that is missing is fetched and all that waits
    /// is submitted one after the other, as fast as the limits allow, after the longest pauses.
    fn catch_up_us(&self, clients: &[ClientNo]) -> u64 {
        let s = &self.schedule.settings;
        let trip_us = s.store_delay_us
            + s.store_jitter_us
            + s.answer_jitter_us
            + 2 * (s.net_delay_us + s.net_jitter_us);
        let (pace_us, large_us) = self.pace_us();
        let each = clients.iter().map(|client| {
            let (missing, fates) = self.spec.backlog(client.0);
            (missing + 2 * fates + 20) * (trip_us + pace_us) + fates * large_us
        });
        // Marks that find no room are said again after the next heads.
        let marked = (s.users + self.groups.len() as u64).div_ceil(s.marks_per_connection);
        // A push that was lost is noticed by the next Resync; before that, whoever was turned away dials again.
        each.max().unwrap_or(0) + (2 + marked) * s.resync_interval_ms * 1000 + 30_000_000
    }

    /// Who is online and can be spoken for: the clients with their connections.
    fn present(&self) -> Vec<(ClientNo, UserNo, ConnKey)> {
        let clients = (0..self.devices.len() as u16).map(ClientNo);
        clients
            .filter_map(|client| {
                let device = &self.devices[client.index()];
                let conn = device.conn.filter(|conn| self.spec.is_present(*conn))?;
                Some((client, device.spec.user, conn))
            })
            .collect()
    }

    fn probe(&mut self) {
        let present = self.present();
        self.probing = Some(Probing::default());
        let mut step = PROBE_STEP;
        for (place, (client, sender, conn)) in present.iter().enumerate().take(PROBES) {
            let (_, user, _) = present[(place + 1) % present.len()];
            let known = self.store.knows(*sender) && self.store.knows(user);
            let to = |other: &(ClientNo, UserNo, ConnKey)| known && other.1 == user && other.2 != *conn;
            self.probe_with(&mut step, *client, To::User(user), present.iter().filter(|other| to(other)));
        }
        for group in (0..self.groups.len() as u16).map(GroupNo) {
            let member = |user: UserNo| self.is_member(user, group) && !self.check.is_over_limit(user.0);
            let speaks = |user: UserNo| member(user) && self.may_write(user, group);
            let Some((client, sender, _)) = present.iter().find(|(_, user, _)| speaks(*user)).copied() else {
                continue;
            };
            let others: Vec<_> = present.iter().filter(|(_, u, _)| member(*u) && *u != sender).collect();
            self.probe_with(&mut step, client, To::Group(group), others.into_iter());
        }
        // What is for everybody is for classic clients only.
        let is_classic = |other: &&(ClientNo, UserNo, ConnKey)| !self.conns[other.2 as usize].is_session;
        let classic: Vec<_> = present.iter().filter(is_classic).copied().collect();
        if let Some((client, _, _)) = classic.first().copied() {
            self.probe_with(&mut step, client, To::Nobody, classic.iter());
        }
    }

    fn probe_with<'a>(
        &mut self,
        step: &mut u32,
        client: ClientNo,
        to: To,
        expected: impl Iterator<Item = &'a (ClientNo, UserNo, ConnKey)>,
    ) {
        *step += 1;
        let token = Token { step: *step, nth: 0 };
        self.speak(client, Speech::text(token, to, 0));
        // One after the other: limits on what waits may be small, and probes are not to meet them.
        self.run_until(self.now_us + PROBE_PAUSE_US + self.schedule.settings.answer_jitter_us);
        if let (Some(message), Some(probing)) = (self.check.message(token), &mut self.probing) {
            probing.expected.extend(expected.map(|(_, _, conn)| (*conn, message)));
        }
    }

    /// Sessions send no faster than they may, so that what they are told to say may have to wait.
    fn await_probes(&mut self) {
        let (pace_us, large_us) = self.pace_us();
        let deadline_us = self.now_us + PROBES as u64 * 2 * (pace_us + large_us);
        let heard = |probing: &Probing| probing.expected.iter().all(|pair| probing.heard.contains(pair));
        while self.holds() && self.now_us < deadline_us && !self.probing.as_ref().is_none_or(heard) {
            self.run_until(self.now_us + CATCH_UP_PAUSE_US);
        }
    }

    fn demand_probes(&mut self) {
        let Some(probing) = self.probing.take() else { return };
        for (conn, message) in &probing.expected {
            if !probing.heard.contains(&(*conn, *message)) && !self.has_overdone(*conn) {
                let token = self.check.said[*message as usize].token;
                self.spec.fail("convergence", |spec| {
                    format!("{} does not hear {token}, said after the faults", spec.name(*conn))
                });
            }
        }
    }

    /// Whether a connection was closed for what all of its user's sent together. Where those are many they may only have answered
    /// the Pings behind what is said here, all at once; whether it was too much, the engine's shadow has judged.
    fn has_overdone(&self, conn: ConnKey) -> bool {
        let s = &self.schedule.settings;
        let is_shared = s.user_messages_per_second > 0 || s.user_bytes_per_second > 0;
        let why = self.conns[conn as usize].closing;
        is_shared && matches!(why, Some(CloseReason::TooManyMessages | CloseReason::TooManyBytes))
    }

    /// Every node stops within its time: closing, and what is at the store.
    fn demand_stop(&mut self) {
        let s = self.schedule.settings;
        for node in 0..self.nodes.len() as u16 {
            self.queue.push(self.now_us, Happening::Stop { node: NodeNo(node), down_us: FOR_GOOD_US });
        }
        let stop_us = (s.close_timeout_ms + s.request_timeout_ms + s.drain_time_ms) * 1000;
        self.run_until(self.now_us + stop_us + ROUND_US);
        if let Some(node) = self.nodes.iter().position(|node| node.up) {
            self.spec.fail("convergence", |_| format!("n{node} was told to stop and does not"));
        }
    }
}
