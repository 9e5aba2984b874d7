//! What there is to be seen of a world between two steps.

use core::fmt::Debug;
use std::time::Duration;

use switchboard_engine::{ClosedReason, ConnectionState, Probe, SessionState};

use super::{Device, World, sut::Engine};
use crate::{
    check::ConnKey,
    choice::keyed,
    counts::Counts,
    step::view::{CONNECTION, Table, connection, counters, seconds},
};

/// Things on their way that are shown.
const ON_THEIR_WAY: usize = 500;

impl<P: Probe + Counts + Clone + Debug> World<'_, Engine<P>> {
    /// Virtual time.
    pub(crate) const fn at(&self) -> Duration {
        Duration::from_micros(self.now_us)
    }

    /// A digest of all that was done, and of the states of all machines as they are.
    pub(crate) fn look_digest(&self) -> u64 {
        let shards = self.shards.iter().map(|shard| shard.server.full_digest());
        let engines = self.devices.iter().filter_map(|device| device.engine.as_ref());
        let apps = self.devices.iter().filter_map(|device| device.app.as_ref());
        let sessions = apps.filter_map(|app| app.session.as_ref());
        let states = shards.chain(engines.map(|engine| engine.full_digest()));
        let states = states.chain(sessions.map(switchboard_engine::Session::full_digest));
        states.chain([self.events, self.now_us]).fold(self.digest, |digest, state| keyed(digest, state, 0))
    }

    /// Everything.
    pub(crate) fn tables(&self) -> Vec<Table> {
        let servers = self.shards.iter().enumerate();
        let servers = servers.filter(|(shard, _)| self.nodes[self.node_of(*shard)].up);
        let [now, counters] = counters(servers.map(|(_, shard)| &shard.server));
        vec![self.connections(), self.clients(), self.on_their_way(), self.places(), now, counters]
    }

    fn connections(&self) -> Table {
        let mut rows = Vec::new();
        for (number, shard) in self.shards.iter().enumerate() {
            if !self.nodes[self.node_of(number)].up {
                continue;
            }
            for view in shard.server.connections() {
                let key = Self::conn_at(&shard.slots, view.id);
                let mut row = connection(&shard.server, &view, format!("{} {}", self.lane(number), view.id));
                let (client, wire) = key.map_or_else(Default::default, |key| self.ends(key));
                row.insert(1, client);
                row.push(wire);
                rows.push(row);
            }
        }
        let mut head = CONNECTION.to_vec();
        head.insert(1, "client");
        head.push("on the wire");
        Table { name: "connections", key: 0, head, rows }
    }

    /// Whose a connection is, and what is between its ends.
    fn ends(&self, key: ConnKey) -> (String, String) {
        let conn = &self.conns[key as usize];
        let (frames, bytes, arrived) = conn.on_the_wire();
        let wire = match (conn.severed, frames) {
            (true, _) => "dead".to_owned(),
            (false, 0) => String::new(),
            (false, _) if arrived > 0 => format!("{frames} frames, {bytes} bytes, {arrived} unread"),
            (false, _) => format!("{frames} frames, {bytes} bytes"),
        };
        (conn.client.to_string(), wire)
    }

    fn clients(&self) -> Table {
        let rows = self.devices.iter().enumerate().map(|(number, device)| {
            let connection = device.conn.map(|key| {
                let conn = &self.conns[key as usize];
                format!("{} {}", self.lane(conn.shard), conn.id)
            });
            let closed = device.closed.map(|code| code.to_string());
            vec![
                format!("c{number}"),
                device.spec.user.to_string(),
                device.spec.kind.to_string(),
                state(device, self.now_us),
                connection.unwrap_or_default(),
                waiting(device),
                if device.paused { "no" } else { "" }.to_owned(),
                closed.unwrap_or_default(),
            ]
        });
        let head =
            vec!["client", "user", "kind", "state", "connection", "to be sent", "reads", "last closed"];
        Table { name: "clients", key: 0, head, rows: rows.collect() }
    }

    fn on_their_way(&self) -> Table {
        let mut entries = self.queue.entries();
        entries.sort_unstable_by_key(|(number, at_us, _)| (*at_us, *number));
        let all = entries.len();
        let mut rows: Vec<_> = entries
            .into_iter()
            .take(ON_THEIR_WAY)
            .map(|(number, at_us, what)| {
                let (who, text, _) = self.words(what);
                vec![format!("#{number}"), seconds(Duration::from_micros(at_us)), who, text]
            })
            .collect();
        if all > ON_THEIR_WAY {
            let more = format!("and {} more", all - ON_THEIR_WAY);
            rows.push(vec!["…".to_owned(), String::new(), String::new(), more]);
        }
        Table { name: "on the way", key: 0, head: vec!["entry", "when", "for", "what"], rows }
    }

    /// Nodes, the store and the bus.
    fn places(&self) -> Table {
        let mut rows: Vec<_> = self
            .nodes
            .iter()
            .enumerate()
            .map(|(number, node)| {
                let state = match (node.up, node.stopping) {
                    (true, false) => "up",
                    (true, true) => "stopping",
                    (false, _) => "down",
                };
                let clock = match node.offset_us {
                    0 => String::new(),
                    offset_us => format!("clock {offset_us:+} us"),
                };
                vec![format!("n{number}"), state.to_owned(), clock]
            })
            .collect();
        for (number, shard) in self.shards.iter().enumerate() {
            let due = shard.server.poll_timeout().map(|due| seconds(Duration::from_nanos(due.as_nanos())));
            let due = due.map_or_else(String::new, |due| format!("next deadline at {due} s"));
            rows.push(vec![self.lane(number).to_string(), format!("life {}", shard.incarnation), due]);
        }
        let (messages, revision) = (self.store.model.log().len(), self.store.model.revision());
        let mood = self.store.mood;
        rows.push(vec![
            "store".to_owned(),
            format!("{messages} messages, revision {revision}"),
            faults(&[
                ("slower by us", mood.slow_us),
                ("fails permille", mood.fail_permille),
                ("loses permille", mood.lose_permille),
                ("reorders permille", mood.reorder_permille),
            ]),
        ]);
        let mood = self.bus.mood;
        rows.push(vec![
            "bus".to_owned(),
            format!("{} records dropped", self.bus.model.dropped()),
            faults(&[
                ("slower by us", mood.slow_us),
                ("drops permille", mood.drop_permille),
                ("repeats permille", mood.repeat_permille),
                ("reorders permille", mood.reorder_permille),
            ]),
        ]);
        Table { name: "places", key: 0, head: vec!["place", "state", "with"], rows }
    }
}

/// What of these is not nothing.
fn faults(of: &[(&str, u64)]) -> String {
    let faults = of.iter().filter(|(_, much)| *much > 0).map(|(name, much)| format!("{name} {much}"));
    faults.collect::<Vec<_>>().join(", ")
}

/// What a client is doing.
fn state(device: &Device, now_us: u64) -> String {
    if let Some(app) = &device.app {
        return app
            .session
            .as_ref()
            .map_or("its process is down".to_owned(), |session| session_state(session.state(), now_us));
    }
    match (&device.engine, device.conn, device.dialling) {
        (Some(engine), _, _) => session_state(named(engine.state()), now_us),
        (None, Some(_), _) => "connected".to_owned(),
        (None, None, true) => "dials".to_owned(),
        (None, None, false) => "not connected".to_owned(),
    }
}

/// A classic client's state by the same names, but that it is online without a greeting.
fn named(state: ConnectionState) -> SessionState {
    match state {
        ConnectionState::Online => SessionState::Online,
        ConnectionState::Closed(_)
        | ConnectionState::Connecting { .. }
        | ConnectionState::Closing
        | ConnectionState::Waiting { .. } => state.into(),
    }
}

fn session_state(state: SessionState, now_us: u64) -> String {
    match state {
        SessionState::Closed(ClosedReason::NotStarted) => "not connected".to_owned(),
        SessionState::Closed(reason) => format!("closed: {reason:?}"),
        SessionState::Connecting { failures: 0 } => "connects".to_owned(),
        SessionState::Connecting { failures } => format!("connects, after {failures} failures"),
        SessionState::Greeting => "greets".to_owned(),
        SessionState::Resyncing => "catches up".to_owned(),
        SessionState::Online => "online".to_owned(),
        SessionState::Closing => "closes".to_owned(),
        SessionState::Waiting { until, failures, cause } => {
            let is_over = until.as_nanos() / 1000 < now_us;
            let until = seconds(Duration::from_nanos(until.as_nanos()));
            let until = if is_over { String::new() } else { format!(" until {until} s") };
            format!("waits{until}: {cause:?}, {failures} failures")
        }
    }
}

/// What waits to be sent.
fn waiting(device: &Device) -> String {
    let (messages, bytes) = match (&device.engine, &device.app) {
        (Some(engine), _) => (engine.pending_messages(), engine.pending_bytes()),
        (None, Some(app)) => match &app.session {
            Some(session) => (session.pending_submits(), session.pending_bytes()),
            None => (app.kept.submits.len(), 0),
        },
        (None, None) => (device.waiting.len(), 0),
    };
    match (messages, bytes) {
        (0, _) => String::new(),
        (messages, 0) => messages.to_string(),
        (messages, bytes) => format!("{messages}, {bytes} bytes"),
    }
}
