//! Engines, their clients, a store and a bus, and the bytes that say what happens.

use core::fmt::Write as _;
use core::time::Duration;
use std::collections::VecDeque;

use arbitrary::{Result, Unstructured};
use switchboard_engine::{
    Answer, Audience, Carried, ConnId, DirectoryChange, Event, GroupId, Instant, OwnedAction, PeerFault,
    Protocol, Request, Revocation, ServerConfig, UserId, Whose,
};
use switchboard_sim::choice::keyed;
use switchboard_sim::store::SimStore;

use super::clients::{self, GROUPS, USERS, group, text, user};
use super::config::{config, one_of};
use super::node::Node;
use super::others;

/// Records that wait on the bus at the most, for each engine; the oldest is lost.
const BUS: usize = 64;

/// Deadlines that are met on the way to a later time; those that are left are met late.
const DEADLINES: usize = 200;

pub(super) struct World<'u, 'd> {
    u: &'u mut Unstructured<'d>,
    config: ServerConfig,
    seed: u64,
    now: Instant,
    nodes: Vec<Node>,
    /// Engines that there were.
    incarnations: u64,
    store: SimStore,
    /// Whether nobody lies but clients.
    is_honest: bool,
    /// What is under way to each engine.
    bus: Vec<VecDeque<Carried>>,
    /// Changes of the directory that each engine has not been told of.
    changes: Vec<VecDeque<DirectoryChange>>,
    sessions: Vec<(usize, ConnId)>,
    /// Keeps what engines that are gone were told.
    pub(super) shows: bool,
    gone: Vec<String>,
}

impl<'u, 'd> World<'u, 'd> {
    pub(super) fn new(u: &'u mut Unstructured<'d>) -> Result<Self> {
        let count = u.int_in_range(1..=2_usize)?;
        let is_honest = u.ratio(3_u8, 4)?;
        let has_peers = count > 1 || one_of(u, &[false, true])?;
        let config = config(u, has_peers)?;
        let seed = u.arbitrary::<u8>()?.into();
        let mut store = SimStore::new(false);
        let users = || USERS.iter().filter_map(|name| UserId::new(name).ok());
        // The last one is unknown.
        users().take(USERS.len() - 1).for_each(|user| store.create_user(user));
        for (name, members) in GROUPS.iter().zip([vec![0, 1, 2], vec![0, 3]]) {
            let members = members.into_iter().filter_map(|member| users().nth(member)).collect();
            store.create_group(GroupId::new(name).map_err(|_| arbitrary::Error::IncorrectFormat)?, members);
        }
        let mut world = Self {
            u,
            config,
            seed,
            now: Instant::from_nanos(1_000_000_000),
            nodes: Vec::new(),
            incarnations: 0,
            store,
            is_honest,
            bus: vec![VecDeque::new(); count],
            changes: vec![VecDeque::new(); count],
            sessions: Vec::new(),
            shows: false,
            gone: Vec::new(),
        };
        for _ in 0..count {
            let node = world.engine();
            world.nodes.push(node);
        }
        Ok(world)
    }

    /// An engine that nothing has happened to.
    fn engine(&mut self) -> Node {
        self.incarnations += 1;
        Node::new(&self.config, keyed(self.seed, self.incarnations, 0), self.now, self.is_honest)
    }

    /// Has everything happen that the bytes say.
    pub(super) fn play(&mut self) {
        // What is cut short does not happen.
        while !self.u.is_empty() && self.step().is_ok() {}
    }

    pub(super) fn scripts(&self) -> String {
        let mut scripts = String::new();
        let there = self.nodes.iter().map(|node| node.script().to_string());
        for (number, script) in self.gone.iter().cloned().chain(there).enumerate() {
            let _ = writeln!(scripts, "; engine {number}\n{script}");
        }
        scripts
    }

    fn step(&mut self) -> Result<()> {
        let node = self.u.int_in_range(0..=self.nodes.len() - 1)?;
        match self.u.int_in_range(0..=39_u8)? {
            0..=3 => self.connect(node)?,
            4..=13 => self.say(node)?,
            14..=15 => self.breathe(node)?,
            16..=17 => self.flush(node)?,
            18 => self.end(node)?,
            19..=26 => self.answer(node)?,
            27..=28 => self.store(node)?,
            29..=31 => self.carry(node)?,
            32 => self.change()?,
            33..=36 => self.pass()?,
            37 => self.operate(node)?,
            38 => self.restart(node)?,
            _ => self.lie(node)?,
        }
        Ok(())
    }

    fn handle(&mut self, node: usize, event: Event) {
        let now = self.now;
        let actions = self.nodes[node].handle(now, event);
        self.carry_out(node, actions);
    }

    /// Puts on the bus what is for other engines.
    fn carry_out(&mut self, from: usize, actions: Vec<OwnedAction>) {
        for action in actions {
            let carried = match action {
                OwnedAction::Publish(record) => Carried::Record(record),
                OwnedAction::Tell(note) => Carried::Note(note),
                OwnedAction::Send { .. }
                | OwnedAction::Close { .. }
                | OwnedAction::Abort { .. }
                | OwnedAction::Request { .. }
                | OwnedAction::Subscribe(_)
                | OwnedAction::Unsubscribe(_)
                | OwnedAction::Stopped => continue,
            };
            for (to, node) in self.nodes.iter().enumerate() {
                if to != from && node.is_subscribed(carried.topic()) {
                    let waiting = &mut self.bus[to];
                    waiting.push_back(carried.clone());
                    if waiting.len() > BUS {
                        waiting.pop_front();
                    }
                }
            }
        }
    }

    fn connect(&mut self, node: usize) -> Result<()> {
        let (slot, user) = (self.u.arbitrary()?, user(self.u)?);
        let protocol = one_of(self.u, &[Protocol::Classic, Protocol::Session])?;
        let Some(conn) = self.nodes[node].new_conn(slot) else { return Ok(()) };
        if protocol == Protocol::Session {
            self.sessions.push((node, conn));
        }
        self.handle(node, Event::Connected { conn, user, protocol });
        // Most do what those do that mean it.
        if self.u.ratio(3_u8, 4)? {
            self.answer_first(node, conn);
        }
        Ok(())
    }

    /// The store loads the user of a connection at once, and a session says Hello.
    fn answer_first(&mut self, node: usize, conn: ConnId) {
        while let Some(place) = self.nodes[node]
            .asked
            .iter()
            .position(|asked| matches!(asked.request, Request::LoadUser(_) | Request::LoadUnreceived { .. }))
        {
            self.perform(node, place);
            self.give(node, place);
        }
        if self.sessions.contains(&(node, conn)) && self.nodes[node].is_heard(conn) {
            // An empty Hello.
            let message = bytes::Bytes::from_static(&[0x0a, 0]);
            self.handle(node, Event::Received { conn, message });
        }
    }

    /// A connection that there is.
    fn conn(&mut self, node: usize) -> Result<Option<ConnId>> {
        let byte = self.u.arbitrary()?;
        Ok(self.nodes[node].conn(byte))
    }

    fn say(&mut self, node: usize) -> Result<()> {
        let Some(conn) = self.conn(node)? else { return Ok(()) };
        let message = clients::message(self.u, self.sessions.contains(&(node, conn)))?;
        if self.nodes[node].is_heard(conn) {
            self.handle(node, Event::Received { conn, message });
        }
        Ok(())
    }

    /// Pings and Pongs, right ones and others.
    fn breathe(&mut self, node: usize) -> Result<()> {
        let Some(conn) = self.conn(node)? else { return Ok(()) };
        let payload: [u8; 4] = self.u.arbitrary()?;
        let payload = bytes::Bytes::copy_from_slice(payload.get(1..).unwrap_or_default());
        let event = match self.u.int_in_range(0..=5)? {
            0 => Event::Ping { conn, payload },
            1 => Event::Pong { conn, payload },
            _ => match self.nodes[node].pong(conn) {
                Some(event) => event,
                None => return Ok(()),
            },
        };
        if self.nodes[node].is_heard(conn) {
            self.handle(node, event);
        }
        Ok(())
    }

    fn flush(&mut self, node: usize) -> Result<()> {
        let most = one_of(self.u, &[usize::MAX, 1, 3])?;
        let conns: Vec<_> = if self.u.arbitrary()? {
            self.nodes[node].links.keys().copied().collect()
        } else {
            self.conn(node)?.into_iter().collect()
        };
        for conn in conns {
            if let Some(event) = self.nodes[node].flush(conn, most) {
                self.handle(node, event);
            }
        }
        Ok(())
    }

    /// A connection ends, or breaks a rule.
    fn end(&mut self, node: usize) -> Result<()> {
        let Some(conn) = self.conn(node)? else { return Ok(()) };
        let how = self.u.int_in_range(0..=7)?;
        let event = match how {
            0 => Event::PeerClosed { conn },
            1..=3 => {
                let faults = [
                    PeerFault::Framing,
                    PeerFault::TextMessage,
                    PeerFault::InvalidUtf8,
                    PeerFault::MessageTooLarge,
                    PeerFault::ReceiveBudget,
                ];
                Event::Misbehaved { conn, fault: one_of(self.u, &faults)? }
            }
            // Of a connection that was there before.
            4 => {
                let late = ConnId::new(conn.slot(), conn.generation() - 1);
                Event::Pong { conn: late, payload: bytes::Bytes::new() }
            }
            _ => Event::Disconnected { conn },
        };
        if how < 4 {
            if !self.nodes[node].is_heard(conn) {
                return Ok(());
            }
            self.nodes[node].deafen(conn);
        }
        self.handle(node, event);
        Ok(())
    }

    /// Does a request, if that was not done: those before it of the same message first, as stores owe it.
    fn perform(&mut self, node: usize, place: usize) {
        let key = |request: &Request| request.message().map(|new| (new.sender.clone(), new.id));
        let Some(wanted) = self.nodes[node].asked.get(place).map(|asked| key(&asked.request)) else { return };
        for (number, asked) in self.nodes[node].asked.iter_mut().enumerate().take(place + 1) {
            let is_due = number == place || (wanted.is_some() && key(&asked.request) == wanted);
            if is_due && asked.answer.is_none() {
                asked.answer = Some(self.store.answer(asked.request.clone()));
            }
        }
        let news = self.store.take_announcements();
        self.changes.iter_mut().for_each(|changes| changes.extend(news.iter().cloned()));
    }

    /// Gives the answer to a request that was done.
    fn give(&mut self, node: usize, place: usize) {
        let answer = self.nodes[node].asked.get(place).and_then(|asked| asked.answer.clone());
        let answer = answer.unwrap_or(Answer::Failed);
        let now = self.now;
        let actions = self.nodes[node].answered(now, place, answer);
        self.carry_out(node, actions);
    }

    /// The store answers, in whatever order.
    fn answer(&mut self, node: usize) -> Result<()> {
        let count = self.nodes[node].asked.len();
        let byte: u8 = self.u.arbitrary()?;
        let Some(place) = usize::from(byte & 0x0f).checked_rem(count) else { return Ok(()) };
        match byte >> 4 {
            // All that there is, in order.
            0..=3 => {
                while !self.nodes[node].asked.is_empty() && !self.nodes[node].is_stopped {
                    self.perform(node, 0);
                    self.give(node, 0);
                }
            }
            4..=12 => {
                self.perform(node, place);
                self.give(node, place);
            }
            // Not done, or not known to be.
            13 => {
                let now = self.now;
                let answer = one_of(self.u, &[true, false])?;
                let answer = if answer { Answer::Failed } else { Answer::Full };
                let actions = self.nodes[node].answered(now, place, answer);
                self.carry_out(node, actions);
            }
            // Never answered.
            14 => drop(self.nodes[node].asked.remove(place)),
            _ => {
                self.perform(node, place);
                let asked = self.nodes[node].asked.remove(place);
                drop(asked);
            }
        }
        Ok(())
    }

    /// The store does something, and does not say so yet; or tells of the directory.
    fn store(&mut self, node: usize) -> Result<()> {
        let byte: u8 = self.u.arbitrary()?;
        if byte < 128 {
            if let Some(place) = usize::from(byte).checked_rem(self.nodes[node].asked.len()) {
                self.perform(node, place);
            }
        } else {
            while let Some(change) = self.changes[node].pop_front() {
                self.handle(node, Event::DirectoryChanged(change));
            }
        }
        Ok(())
    }

    /// The bus carries something to an engine, or loses it.
    fn carry(&mut self, node: usize) -> Result<()> {
        let byte: u8 = self.u.arbitrary()?;
        let Some(place) = usize::from(byte & 0x07).checked_rem(self.bus[node].len()) else { return Ok(()) };
        match byte >> 3 {
            0..=15 => {
                while let Some(carried) = self.bus[node].pop_front() {
                    self.handle(node, carried.into());
                }
            }
            16..=28 => {
                if let Some(carried) = self.bus[node].remove(place) {
                    self.handle(node, carried.into());
                }
            }
            29 => drop(self.bus[node].remove(place)),
            // It comes again later.
            _ => {
                if let Some(carried) = self.bus[node].get(place).cloned() {
                    self.handle(node, carried.into());
                }
            }
        }
        Ok(())
    }

    /// The directory changes; engines are told later.
    fn change(&mut self) -> Result<()> {
        let user = user(self.u)?;
        let change = if self.u.ratio(1_u8, 4)? {
            let avatar = one_of(self.u, &["a.png", "b.png", ""])?;
            self.store.set_avatar(&user, avatar)
        } else {
            let (group, member) = (group(self.u)?, self.u.arbitrary()?);
            self.store.set_member(&group, &user, member)
        };
        // One that has changed more than that announces the rest as well.
        let rest = self.store.take_announcements();
        for changes in &mut self.changes {
            changes.extend(rest.iter().chain(&change).cloned());
        }
        Ok(())
    }

    fn pass(&mut self) -> Result<()> {
        let byte: u8 = self.u.arbitrary()?;
        let unit_us =
            [10, 1_000, 50_000, 500_000, 1_000_000, 4_000_000, 16_000_000, 1][usize::from(byte >> 5)];
        let until = self.now + Duration::from_micros(unit_us * u64::from(byte & 0x1f));
        for _ in 0..DEADLINES {
            let due = self.nodes.iter().enumerate().filter_map(|(node, of)| Some((of.poll_timeout()?, node)));
            let Some((at, node)) = due.min().filter(|(at, _)| *at <= until) else { break };
            self.now = self.now.max(at);
            self.time_out(node);
        }
        self.now = self.now.max(until);
        Ok(())
    }

    fn time_out(&mut self, node: usize) {
        let now = self.now;
        let actions = self.nodes[node].handle_timeout(now);
        self.carry_out(node, actions);
    }

    /// What those do who run the server; a snapshot among it.
    fn operate(&mut self, node: usize) -> Result<()> {
        let reasons = [Revocation::SignedOut, Revocation::Banned, Revocation::Administrator];
        let event = match self.u.int_in_range(0..=9)? {
            0 => {
                let why = one_of(self.u, &reasons)?;
                let Some(conn) = self.conn(node)? else { return Ok(()) };
                Event::Revoked { whose: Whose::Connection(conn), why }
            }
            1 => Event::Revoked { whose: Whose::User(user(self.u)?), why: one_of(self.u, &reasons)? },
            2 => Event::Announced { to: Audience::Everyone, text: text(self.u)?.into() },
            3 => Event::Announced { to: Audience::User(user(self.u)?), text: text(self.u)?.into() },
            4 => Event::Shutdown,
            5 => {
                self.time_out(node);
                return Ok(());
            }
            _ => {
                if !self.nodes[node].is_stopped {
                    self.nodes[node].restore();
                }
                return Ok(());
            }
        };
        self.handle(node, event);
        Ok(())
    }

    /// An engine dies and another one takes its place. Nobody knows what has become of what it had asked for.
    fn restart(&mut self, node: usize) -> Result<()> {
        if !self.nodes[node].is_stopped && self.u.ratio(3_u8, 4)? {
            return Ok(());
        }
        if self.shows {
            self.gone.push(self.nodes[node].script().to_string());
        }
        let engine = self.engine();
        self.nodes[node] = engine;
        self.sessions.retain(|(of, _)| *of != node);
        self.bus[node].clear();
        // Whoever starts reads the directory as it is.
        self.changes[node].clear();
        Ok(())
    }

    /// Store or bus say what is not true.
    fn lie(&mut self, node: usize) -> Result<()> {
        if self.is_honest {
            return Ok(());
        }
        match self.u.int_in_range(0..=5)? {
            0..=1 => {
                let byte: u8 = self.u.arbitrary()?;
                let answer = others::answer(self.u)?;
                if let Some(place) = usize::from(byte).checked_rem(self.nodes[node].asked.len()) {
                    let now = self.now;
                    let actions = self.nodes[node].answered(now, place, answer);
                    self.carry_out(node, actions);
                }
            }
            2 => {
                let change = others::directory_change(self.u)?;
                self.handle(node, Event::DirectoryChanged(change));
            }
            3 => {
                let record = others::record(self.u)?;
                self.handle(node, Event::Published(record));
            }
            _ => {
                let note = others::note(self.u)?;
                self.handle(node, Event::Told(note));
            }
        }
        Ok(())
    }
}
