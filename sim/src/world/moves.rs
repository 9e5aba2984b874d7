//! A world whose order of events somebody else chooses: what can happen next, and making it happen.
//!
//! Nothing waits for its time here. Whatever is on its way can arrive next, except behind what must arrive
//! before it: each direction of a connection, each pair of engines on the bus and the announcements to each
//! engine keep their order. Time passes only when that is chosen, and then to the next deadline.
//!
//! What cannot make a difference is no choice, and happens at once:
//! - All clients are raw ones. What such a client receives changes nothing but what it answers, and its
//!   answers (Pongs, the end of a connection) travel by choice. So it reads at once.
//! - A message that is sent arrives at once, behind what the client sent before. Sent early and delayed on the
//!   way is the same to every server as sent late; lost on the way is the same as not sent. The same goes for
//!   connecting and closing.
//! - Who of a raw client's side notices that its connection is lost: it can do nothing with it but begin a new
//!   one. So there are two cuts, one that the server notices and one that it does not, or not yet.
//! - A load whose request was given up by then changes nothing in the store, and is not waited for.
//! - Who connects first, and where: as long as all nodes are up, clients with their users can be exchanged in
//!   turn, and nodes too (not if a client more than others has the same user, or nodes have several shards). So
//!   the first connection is the first client's, to the first node.

use switchboard_engine::Request;

use super::{
    Happening, World,
    queue::{Fate, Up},
    speech::Speech,
    sut::{Machine as _, Sut},
};
use crate::{
    check::{ConnKey, MessageKey, Payload},
    schedule::{ClientNo, GroupNo, NodeNo, Seen, To, UserNo},
    wire::Token,
};

/// What becomes of a request to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// It is done, and answered at once.
    Done,
    /// It is not done, and that is answered at once.
    Failed,
    /// It is done; the answer comes later, or never.
    Late,
}

/// One thing that can happen next. Numbers are those of entries in the queue of what is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    Connect {
        client: ClientNo,
        node: NodeNo,
    },
    Close {
        client: ClientNo,
    },
    Cut {
        client: ClientNo,
        seen: Seen,
    },
    Send {
        client: ClientNo,
        to: To,
    },
    Signal {
        client: ClientNo,
        to: To,
    },
    /// The driver repeats the end of the client's connection before this one.
    Ghost {
        client: ClientNo,
    },
    Member {
        user: UserNo,
        group: GroupNo,
        member: bool,
    },
    /// Something arrives as it is.
    Arrive {
        number: u64,
    },
    Serve {
        number: u64,
        service: Service,
    },
    Crash {
        node: NodeNo,
    },
    Stop {
        node: NodeNo,
    },
    /// Time passes to the next deadline.
    Time,
}

impl Move {
    /// The `contentType` of a call's signal: a voice call.
    pub(crate) const CALL: i32 = 6;

    /// The kinds of moves: their names and what they are.
    pub(crate) const KINDS: &[(&str, &str)] = &[
        ("connect", "a client connects"),
        ("close", "a client closes its connection"),
        ("cut", "a client's connection is lost"),
        ("send", "a client sends a text"),
        ("call", "a client sends a call's signal"),
        ("late-end", "the end of a former connection is told again"),
        ("member", "a user joins or leaves the group"),
        ("arrive", "something on its way arrives; a node that was stopped starts"),
        ("serve", "the store does what it was asked"),
        ("fail", "the store fails"),
        ("late", "the store does what it was asked, and answers later"),
        ("crash", "a node crashes"),
        ("stop", "a node is told to stop"),
        ("time", "time passes to the next deadline"),
    ];

    /// The name of its kind.
    pub(crate) const fn kind(self) -> &'static str {
        match self {
            Self::Connect { .. } => "connect",
            Self::Close { .. } => "close",
            Self::Cut { .. } => "cut",
            Self::Send { .. } => "send",
            Self::Signal { .. } => "call",
            Self::Ghost { .. } => "late-end",
            Self::Member { .. } => "member",
            Self::Arrive { .. } => "arrive",
            Self::Serve { service: Service::Done, .. } => "serve",
            Self::Serve { service: Service::Failed, .. } => "fail",
            Self::Serve { service: Service::Late, .. } => "late",
            Self::Crash { .. } => "crash",
            Self::Stop { .. } => "stop",
            Self::Time => "time",
        }
    }
}

impl<T: Sut> World<'_, T> {
    /// All that can happen next, in an order that depends on nothing but the state's history.
    pub(crate) fn moves(&self) -> Vec<Move> {
        let mut moves = Vec::with_capacity(24);
        self.arrivals(&mut moves);
        for client in (0..self.devices.len() as u16).map(ClientNo) {
            self.client_moves(client, &mut moves);
        }
        for group in (0..self.groups.len() as u16).map(GroupNo) {
            for user in (0..self.users.len() as u16).map(UserNo) {
                let member = !self.is_member(user, group);
                moves.push(Move::Member { user, group, member });
            }
        }
        if self.next_deadline_us().is_some() {
            moves.push(Move::Time);
        }
        for node in (0..self.nodes.len() as u16).map(NodeNo) {
            let state = self.nodes[node.index()];
            if state.up {
                moves.push(Move::Crash { node });
            }
            if state.up && !state.stopping {
                moves.push(Move::Stop { node });
            }
        }
        moves
    }

    /// The first on every way.
    fn arrivals(&self, moves: &mut Vec<Move>) {
        let entries = self.queue.entries();
        for (place, (number, _, what)) in entries.iter().enumerate() {
            let number = *number;
            let first = |same: &dyn Fn(&Happening) -> bool| !entries[..place].iter().any(|(_, _, o)| same(o));
            let ready = match what {
                Happening::Commit { .. } => {
                    let services = [Service::Done, Service::Failed, Service::Late];
                    moves.extend(services.map(|service| Move::Serve { number, service }));
                    false
                }
                Happening::ToServer { conn, .. } => {
                    first(&|other| matches!(other, Happening::ToServer { conn: same, .. } if same == conn))
                }
                Happening::Record { from, life, .. } => first(
                    &|other| matches!(other, Happening::Record { from: f, life: l, .. } if f == from && l == life),
                ),
                Happening::Directory { life, .. } => {
                    first(&|other| matches!(other, Happening::Directory { life: same, .. } if same == life))
                }
                Happening::Answer { .. } | Happening::ServerLost { .. } | Happening::Start { .. } => true,
                // Deadlines come with time; the others are not left waiting.
                Happening::Timeout { .. }
                | Happening::ClientTimeout { .. }
                | Happening::Step(_)
                | Happening::Open { .. }
                | Happening::Opened { .. }
                | Happening::Failed { .. }
                | Happening::ToClient { .. }
                | Happening::ClientLost { .. }
                | Happening::Say { .. }
                | Happening::Redial { .. }
                | Happening::Revive { .. }
                | Happening::Stop { .. } => false,
            };
            if ready {
                moves.push(Move::Arrive { number });
            }
        }
    }

    /// The connection over which a client is heard.
    fn heard_over(&self, client: ClientNo) -> Option<ConnKey> {
        self.devices[client.index()].conn.filter(|conn| {
            let conn = &self.conns[*conn as usize];
            !conn.severed && conn.server_open && conn.closing.is_none()
        })
    }

    fn client_moves(&self, client: ClientNo, moves: &mut Vec<Move>) {
        let device = &self.devices[client.index()];
        let user = device.spec.user;
        let alive = device.conn.filter(|conn| !self.conns[*conn as usize].severed);
        if alive.is_none() {
            let open = |node: &NodeNo| self.nodes[node.index()].up && !self.nodes[node.index()].stopping;
            let first = self.conns.is_empty() && self.is_symmetric();
            let wanted = |node: &NodeNo| open(node) && !(first && (client.0, node.0) != (0, 0));
            let nodes = (0..self.nodes.len() as u16).map(NodeNo).filter(wanted);
            moves.extend(nodes.map(|node| Move::Connect { client, node }));
        }
        if let Some(conn) = self.heard_over(client) {
            let next = UserNo((user.0 + 1) % self.users.len() as u16);
            moves.push(Move::Send { client, to: To::User(next) });
            let groups = (0..self.groups.len() as u16).map(GroupNo);
            moves.extend(groups.map(|group| Move::Send { client, to: To::Group(group) }));
            // In a call, its signals need no recipient.
            let call = self.check.watches[self.conns[conn as usize].shard].told[user.index()].call;
            moves.push(Move::Signal { client, to: if call.is_some() { To::Nobody } else { To::User(next) } });
            moves.push(Move::Close { client });
        }
        if alive.is_some_and(|conn| self.conns[conn as usize].server_open) {
            moves.extend([Seen::Both, Seen::Client].map(|seen| Move::Cut { client, seen }));
        }
        if self.departed(client).is_some() {
            moves.push(Move::Ghost { client });
        }
    }

    /// Whether clients with their users, and nodes, can be exchanged for the next ones without a difference.
    fn is_symmetric(&self) -> bool {
        let up = self.nodes.iter().all(|node| node.up && !node.stopping);
        up && self.devices.len().is_multiple_of(self.users.len()) && self.schedule.settings.shards == 1
    }

    /// When the next deadline of an engine is.
    fn next_deadline_us(&self) -> Option<u64> {
        let up = (0..self.shards.len()).filter(|shard| self.nodes[self.node_of(*shard)].up);
        let next = up.filter_map(|shard| self.shards[shard].server.poll_timeout()).min()?;
        Some(next.as_nanos().div_ceil(1000).max(self.now_us))
    }

    /// Makes it happen, and what follows from it at once.
    pub(crate) fn make(&mut self, chosen: Move) {
        match chosen {
            Move::Connect { client, node } => self.connect(client, node),
            Move::Close { client } => {
                self.flush_up(client);
                self.close(client);
                self.flush_up(client);
            }
            Move::Cut { client, seen } => {
                let conn = self.devices[client.index()].conn;
                self.cut(client, seen, 0);
                match (seen, conn) {
                    (Seen::Client | Seen::Nobody, Some(conn)) => {
                        self.queue.push(self.now_us, Happening::ServerLost { conn });
                    }
                    (Seen::Server | Seen::Both, Some(conn)) => self.server_lost(conn),
                    (_, None) => {}
                }
            }
            Move::Send { client, to } => self.utter(client, |token| Speech::text(token, to, 0)),
            Move::Signal { client, to } => self.utter(client, |token| Speech {
                content_type: Move::CALL,
                is_call: true,
                ..Speech::text(token, to, 0)
            }),
            Move::Ghost { client } => self.ghost(client, 0),
            Move::Member { user, group, member } => self.change_member(user, group, member),
            Move::Arrive { number } => {
                if let Some(what) = self.queue.take(number) {
                    self.happen(what);
                }
            }
            Move::Serve { number, service } => self.serve(number, service),
            Move::Crash { node } => self.go_down(node, 0),
            Move::Stop { node } => self.stop(node, 0),
            Move::Time => self.pass_time(),
        }
        self.write_dirty();
        self.settle();
    }

    /// A client says its next message.
    fn utter(&mut self, client: ClientNo, speech: impl FnOnce(Token) -> Speech) {
        // By client, and with the first number that is free: neither the order in which different clients say
        // the same, nor what was said and is over, makes states different.
        self.flush_up(client);
        let live = self.live_messages();
        let step = u32::from(client.0);
        let taken = |nth: &u32| {
            live.iter().any(|key| self.check.said[*key as usize].token == Token { step, nth: *nth })
        };
        let nth = (0..).find(|nth| !taken(nth)).unwrap_or(0);
        self.speak(client, speech(Token { step, nth }));
        self.flush_up(client);
    }

    /// All that a client has sent arrives.
    fn flush_up(&mut self, client: ClientNo) {
        let Some(conn) = self.devices[client.index()].conn else { return };
        let on_its_way =
            |what: &Happening| matches!(what, Happening::ToServer { conn: same, .. } if *same == conn);
        while let Some(number) = self.queue.oldest(on_its_way) {
            self.make_now(number);
        }
    }

    fn make_now(&mut self, number: u64) {
        if let Some(what) = self.queue.take(number) {
            self.happen(what);
            self.write_dirty();
        }
    }

    fn serve(&mut self, number: u64, service: Service) {
        let Some(Happening::Commit { life, ticket, request, .. }) = self.queue.take(number) else { return };
        let failed = service == Service::Failed;
        let fate = Fate { committed: !failed, failed, answered: true, back_us: 0 };
        self.commit(life, ticket, *request, fate);
        let answer = self.queue.oldest(
            |what| matches!(what, Happening::Answer { life: l, ticket: t, .. } if *l == life && *t == ticket),
        );
        if let (Service::Done | Service::Failed, Some(answer)) = (service, answer) {
            self.make_now(answer);
        }
    }

    fn pass_time(&mut self) {
        let Some(next_us) = self.next_deadline_us() else { return };
        self.now_us = next_us;
        let due = |(_, at_us, what): &(u64, u64, &Happening)| {
            *at_us <= next_us && matches!(what, Happening::Timeout { .. })
        };
        let entries = self.queue.entries();
        let due: Vec<u64> = entries.into_iter().filter(due).map(|(number, _, _)| number).collect();
        due.into_iter().for_each(|number| self.make_now(number));
    }

    /// Messages that something can still come of.
    pub(super) fn live_messages(&self) -> Vec<MessageKey> {
        let mut live = self.check.live_messages();
        for (_, _, what) in self.queue.entries() {
            match what {
                Happening::ToServer { up: Up::Message { payload: Payload::Said(key), .. }, .. } => {
                    live.push(*key);
                }
                Happening::Commit { request, .. } => {
                    if let Request::StoreMessage(new) = &**request {
                        live.extend(Token::read(&new.content).and_then(|token| self.check.message(token)));
                    }
                }
                Happening::Record { record, .. } => {
                    live.extend(
                        super::drive::message_of(record)
                            .and_then(|message| self.check.known_message(message)),
                    );
                }
                Happening::ToServer { .. }
                | Happening::Step(_)
                | Happening::Open { .. }
                | Happening::Opened { .. }
                | Happening::Failed { .. }
                | Happening::ToClient { .. }
                | Happening::ServerLost { .. }
                | Happening::ClientLost { .. }
                | Happening::Timeout { .. }
                | Happening::ClientTimeout { .. }
                | Happening::Answer { .. }
                | Happening::Directory { .. }
                | Happening::Say { .. }
                | Happening::Redial { .. }
                | Happening::Revive { .. }
                | Happening::Stop { .. }
                | Happening::Start { .. } => {}
            }
        }
        live
    }

    /// What is no choice happens at once, and what can change nothing any more goes.
    fn settle(&mut self) {
        while self.check.violation.is_none()
            && let Some(number) = self.queue.oldest(|what| self.is_certain(what))
        {
            self.make_now(number);
        }
    }

    fn is_certain(&self, what: &Happening) -> bool {
        match what {
            Happening::Open { .. }
            | Happening::Opened { .. }
            | Happening::Failed { .. }
            | Happening::ToClient { .. }
            | Happening::ClientLost { .. } => true,
            Happening::ToServer { conn, .. } => {
                let conn = &self.conns[*conn as usize];
                !conn.server_open || conn.severed || conn.closing.is_some()
            }
            Happening::ServerLost { conn } => !self.conns[*conn as usize].server_open,
            Happening::Commit { life, ticket, request, .. } => {
                let given_up = !self.check.watches[life.shard].tickets.contains_key(ticket);
                !self.lives(*life) || (given_up && matches!(**request, Request::LoadUser(_)))
            }
            Happening::Answer { life, .. }
            | Happening::Record { life, .. }
            | Happening::Directory { life, .. } => !self.lives(*life),
            Happening::Start { .. }
            | Happening::Timeout { .. }
            | Happening::ClientTimeout { .. }
            | Happening::Step(_)
            | Happening::Say { .. }
            | Happening::Redial { .. }
            | Happening::Revive { .. }
            | Happening::Stop { .. } => false,
        }
    }
}
