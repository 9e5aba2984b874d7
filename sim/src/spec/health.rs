//! Who is disturbed, and from when on nothing is left of it.

use crate::schedule::Schedule;

/// A time that does not come.
const NEVER_US: u64 = u64::MAX;

/// Whether a user belongs to a group, and from when on everybody knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) is: bool,
    pub(super) known_us: u64,
}

/// Something that faults can touch.
#[derive(Clone, Copy, Debug, Default)]
struct Settled {
    /// From when on it is as if there had been no fault.
    from_us: u64,
    /// The longest delay of the fault that goes on.
    slow_us: u64,
    /// When nothing is left of the faults before that one.
    before_us: u64,
}

impl Settled {
    /// A fault begins, changes or ends; what it delays takes `after_us` longer than it says.
    fn changes(&mut self, now_us: u64, is_well: bool, slow_us: u64, after_us: u64) {
        let was_well = self.from_us != NEVER_US;
        *self = match (is_well, was_well) {
            (true, true) => *self,
            (true, false) => {
                Self { from_us: self.before_us.max(now_us + self.slow_us + after_us), ..Self::default() }
            }
            (false, true) => Self { from_us: NEVER_US, slow_us, before_us: self.from_us },
            (false, false) => Self { slow_us: slow_us.max(self.slow_us), ..*self },
        };
    }
}

/// The state of everybody's health.
#[derive(Clone, Debug)]
pub(super) struct Health {
    store: Settled,
    bus: Settled,
    bus_mood: bool,
    partition: bool,
    /// By node: whether it is up and not stopping, and since when its clock and connections are undisturbed.
    nodes: Vec<(bool, u64)>,
    /// By client: whether it reads, and since when.
    readers: Vec<(bool, u64)>,
    /// By client: what its network does.
    networks: Vec<Settled>,
    net_us: u64,
    paused: u32,
    /// When somebody last did not read.
    paused_us: Option<u64>,
    /// By group, by user.
    pub(super) members: Vec<Vec<Member>>,
    /// What a load that is lost takes until the next one is done, in microseconds.
    patience_us: u64,
    store_us: u64,
    bus_us: u64,
}

impl Health {
    pub(super) fn new(schedule: &Schedule) -> Self {
        let s = &schedule.settings;
        let nobody = vec![Member { is: false, known_us: 0 }; s.users as usize];
        let mut members = vec![nobody; schedule.all_groups()];
        for (group, list) in schedule.groups.iter().enumerate() {
            list.iter().for_each(|user| members[group][user.index()].is = true);
        }
        let store_us = s.store_delay_us + s.store_jitter_us + s.answer_jitter_us + 100;
        // A store that is slower than requests are waited for is never well.
        let from_us = if s.request_timeout_ms * 1000 <= 2 * store_us { NEVER_US } else { 0 };
        Self {
            store: Settled { from_us, slow_us: 0, before_us: from_us },
            bus: Settled::default(),
            bus_mood: false,
            partition: false,
            nodes: vec![(true, 0); s.nodes as usize],
            readers: vec![(true, 0); schedule.clients.len()],
            networks: vec![Settled::default(); schedule.clients.len()],
            net_us: s.net_delay_us + s.net_jitter_us,
            paused: 0,
            paused_us: None,
            members,
            patience_us: (s.request_timeout_ms + s.reload_interval_ms) * 1000 + 2 * store_us,
            store_us,
            bus_us: s.bus_delay_us + s.bus_jitter_us,
        }
    }

    pub(super) const fn store_is_well(&self, now_us: u64) -> bool {
        self.store.from_us <= now_us
    }

    /// Whether the store has been well since then.
    pub(super) const fn store_was_well(&self, since_us: u64) -> bool {
        self.store.from_us <= since_us
    }

    /// Whether the bus has carried everything between nodes once and in order since then.
    pub(super) const fn bus_was_well(&self, since_us: u64) -> bool {
        self.bus.from_us <= since_us
    }

    pub(super) fn node_was_well(&self, node: u16, since_us: u64) -> bool {
        let (up, from_us) = self.nodes[node as usize];
        up && from_us <= since_us
    }

    /// Whether nothing has happened to any node since then.
    pub(super) fn nodes_were_well(&self, since_us: u64) -> bool {
        (0..self.nodes.len() as u16).all(|node| self.node_was_well(node, since_us))
    }

    pub(super) fn node_is_up(&self, node: u16) -> bool {
        self.nodes[node as usize].0
    }

    pub(super) fn has_read(&self, client: u16, since_us: u64) -> bool {
        let (reads, from_us) = self.readers[client as usize];
        reads && from_us <= since_us
    }

    /// Whether a client's network has been as fast as it is at best since then.
    pub(super) fn network_was_well(&self, client: u16, since_us: u64) -> bool {
        self.networks[client as usize].from_us <= since_us
    }

    /// Since when a client at a node has been undisturbed, and the store; none if something disturbs them.
    pub(super) fn settled_us(&self, client: u16, node: u16) -> Option<u64> {
        let (reads, reads_us) = self.readers[client as usize];
        let (up, up_us) = self.nodes[node as usize];
        let others_us = self.store.from_us.max(self.networks[client as usize].from_us);
        let from_us = others_us.max(reads_us).max(up_us);
        (reads && up && from_us != NEVER_US).then_some(from_us)
    }

    /// Whether anybody has not read at some time since then.
    pub(super) fn somebody_paused(&self, since_us: u64) -> bool {
        self.paused > 0 || self.paused_us.is_some_and(|at_us| at_us >= since_us)
    }

    /// Whether a user may be taken for a member by something that was said then.
    pub(super) fn may_be_member(&self, group: u16, user: u16, said_us: u64) -> bool {
        let member = self.members.get(group as usize).and_then(|users| users.get(user as usize));
        member.is_some_and(|member| member.is || member.known_us >= said_us)
    }

    /// Whether everybody has known since before then that a user is a member; at the same moment, either may be first.
    pub(super) fn was_member(&self, group: u16, user: u16, since_us: u64) -> bool {
        let member = self.members.get(group as usize).and_then(|users| users.get(user as usize));
        member.is_some_and(|member| member.is && (member.known_us == 0 || member.known_us < since_us))
    }
}

impl super::Spec {
    /// A membership has changed; the last node learns of it then.
    pub(crate) fn membership(&mut self, group: u16, user: u16, is: bool, known_us: u64) {
        self.health.members[group as usize][user as usize] = Member { is, known_us };
    }

    /// A client stops reading, or reads again.
    pub(crate) fn reading(&mut self, client: u16, reads: bool) {
        let health = &mut self.health;
        let before = health.readers[client as usize].0;
        if before == reads {
            return;
        }
        health.readers[client as usize] = (reads, self.now_us);
        health.paused_us = Some(self.now_us);
        health.paused = if reads { health.paused - 1 } else { health.paused + 1 };
    }

    /// A client's network becomes so much slower, or as fast as it was.
    pub(crate) fn network(&mut self, client: u16, slow_us: u64) {
        let (now_us, after_us) = (self.now_us, self.health.net_us);
        self.health.networks[client as usize].changes(now_us, slow_us == 0, slow_us, after_us);
    }

    /// A node starts, stops or dies.
    pub(crate) fn node(&mut self, node: u16, is_up: bool) {
        // A clock that was set back stands still until it is reached again, whichever process reads it.
        let from_us = self.now_us.max(self.health.nodes[node as usize].1);
        self.health.nodes[node as usize] = (is_up, from_us);
    }

    /// A node's clock jumps: what waited may have been given up, or is given up later.
    pub(crate) fn clock(&mut self, node: u16, jump_us: i64) {
        if jump_us == 0 {
            return;
        }
        let back_us = jump_us.min(0).unsigned_abs();
        let entry = &mut self.health.nodes[node as usize].1;
        *entry = (*entry).max(self.now_us) + back_us + self.health.patience_us;
        self.may_all_be_mute(node);
    }

    /// The store behaves differently from now on.
    pub(crate) fn store_mood(&mut self, slow_us: u64, is_well: bool) {
        let now_us = self.now_us;
        let health = &mut self.health;
        health.store.changes(now_us, is_well, slow_us, health.store_us + health.patience_us);
    }

    /// The bus behaves differently from now on.
    pub(crate) fn bus_mood(&mut self, slow_us: u64, is_well: bool) {
        self.health.bus_mood = !is_well;
        self.bus_changed(slow_us);
    }

    /// The bus carries nothing between some nodes, or everything again.
    pub(crate) fn partition(&mut self, is_cut: bool) {
        self.health.partition = is_cut;
        self.bus_changed(0);
    }

    fn bus_changed(&mut self, slow_us: u64) {
        let now_us = self.now_us;
        let health = &mut self.health;
        let is_well = !health.bus_mood && !health.partition;
        // A record that comes twice comes within 50 ms again.
        health.bus.changes(now_us, is_well, slow_us, health.bus_us + 60_000);
    }
}
