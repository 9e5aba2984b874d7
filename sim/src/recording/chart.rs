//! A recording as what the chart draws: one line for each connection, the server and the store. What was sent is there at once, since
//! a recording knows nothing of the network.

use std::collections::BTreeMap;

use switchboard_engine::{ConnId, Event, OwnedAction, Probe, Protocol};

use super::judge::conn_of;
use super::name;
use super::player::Cause;
use super::replay::Shown;
use crate::chart::{Chart, ROWS, render};
use crate::check::Violation;
use crate::schedule::{ClientKind, ClientSpec, Schedule, Settings, UserNo};
use crate::trace::{Kind, Lane, Mark, State, Via};

/// Connections that have a line of their own.
const LANES_LIMIT: usize = 40;

const SERVER: Lane = Lane::Shard(0, 0);

/// What is drawn.
#[derive(Clone, Debug, Default)]
pub struct Film {
    marks: Vec<Mark>,
    lanes: BTreeMap<ConnId, u16>,
    /// By line: what it is called.
    clients: Vec<(String, Protocol)>,
    named: u32,
    spans: BTreeMap<ConnId, u32>,
}

impl Film {
    /// Adds a step.
    pub fn step<P: Probe + Clone>(&mut self, step: &Shown<'_, P>) {
        let at_us = u64::try_from(step.after.as_micros()).unwrap_or(u64::MAX);
        let judge = step.player.judge();
        let text = name::cause_by(step.cause, judge);
        if let Cause::Event(Event::Connected { conn, user, protocol }) = step.cause {
            self.connects(at_us, *conn, user.as_str(), *protocol);
        }
        let from = match step.cause {
            Cause::Event(Event::Answered { .. }) => Some((Lane::Store, Via::Store)),
            Cause::Event(event) => {
                conn_of(event).and_then(|conn| self.lane(conn)).map(|lane| (lane, via_of(event)))
            }
            Cause::Timeout => None,
        };
        match from {
            Some((lane, via)) => self.travels(at_us, lane, SERVER, via, text),
            None => self.marks.push(Mark { at_us, kind: Kind::Note { lane: SERVER, text } }),
        }
        for (action, text) in step.player.actions().iter().zip(name::actions(step.player.actions(), judge)) {
            self.action(at_us, action, text);
        }
        if let Cause::Event(Event::Disconnected { conn }) = step.cause
            && let Some(span) = self.spans.remove(conn)
        {
            self.marks.push(Mark { at_us, kind: Kind::Ended { span } });
        }
    }

    fn connects(&mut self, at_us: u64, conn: ConnId, user: &str, protocol: Protocol) {
        if self.clients.len() >= LANES_LIMIT {
            return;
        }
        let number = self.clients.len() as u16;
        self.lanes.insert(conn, number);
        self.clients.push((format!("c{number}: {conn} of {user}"), protocol));
        self.named += 1;
        self.spans.insert(conn, self.named);
        let (span, lane, state) = (self.named, Lane::Client(number), State::Connected);
        self.marks.push(Mark { at_us, kind: Kind::Began { span, lane, state, text: String::new() } });
    }

    fn lane(&self, conn: ConnId) -> Option<Lane> {
        self.lanes.get(&conn).copied().map(Lane::Client)
    }

    fn travels(&mut self, at_us: u64, from: Lane, to: Lane, via: Via, text: String) {
        self.named += 1;
        let transfer = self.named;
        self.marks.push(Mark { at_us, kind: Kind::Sent { transfer, from, to, via, text } });
        self.marks.push(Mark { at_us, kind: Kind::Arrived { transfer } });
    }

    fn action(&mut self, at_us: u64, action: &OwnedAction, text: String) {
        match action {
            OwnedAction::Send { to, .. } => {
                let what = text.split_once(": ").map_or(text.as_str(), |(_, what)| what).to_owned();
                for lane in to.iter().filter_map(|conn| self.lane(*conn)).collect::<Vec<_>>() {
                    self.travels(at_us, SERVER, lane, Via::Message, what.clone());
                }
            }
            OwnedAction::Close { conn, .. } | OwnedAction::Abort { conn } => match self.lane(*conn) {
                Some(lane) => self.travels(at_us, SERVER, lane, Via::Control, text),
                None => self.marks.push(Mark { at_us, kind: Kind::Note { lane: SERVER, text } }),
            },
            OwnedAction::Request { .. } => self.travels(at_us, SERVER, Lane::Store, Via::Store, text),
            OwnedAction::Publish(_)
            | OwnedAction::Tell(_)
            | OwnedAction::Subscribe(_)
            | OwnedAction::Unsubscribe(_)
            | OwnedAction::Stopped => {
                self.marks.push(Mark { at_us, kind: Kind::Note { lane: SERVER, text } });
            }
        }
    }

    /// The chart, in SVG.
    #[must_use]
    pub fn draw(&self, title: &str, seed: u64, violation: Option<&Violation>) -> String {
        let names: Vec<_> = self.clients.iter().map(|(name, _)| name.as_str()).collect();
        let title = format!("{title}. {}", names.join(", "));
        let clients = self.clients.iter().zip(0..).map(|((_, protocol), number)| ClientSpec {
            user: UserNo(number),
            kind: match protocol {
                Protocol::Classic => ClientKind::Raw,
                Protocol::Session => ClientKind::RawSession,
            },
        });
        let settings = Settings { nodes: 1, shards: 1, ..Settings::default() };
        let schedule = Schedule {
            seed,
            profile: "of a recording".to_owned(),
            settings,
            clients: clients.collect(),
            groups: Vec::new(),
            steps: Vec::new(),
        };
        render(&Chart { title: &title, schedule: &schedule, trace: &self.marks, violation, rows: ROWS })
    }
}

const fn via_of(event: &Event) -> Via {
    match event {
        Event::Received { .. } => Via::Message,
        Event::Published(_) | Event::Told(_) => Via::Bus,
        Event::DirectoryChanged(_) => Via::Directory,
        Event::Answered { .. } => Via::Store,
        Event::Connected { .. }
        | Event::Ping { .. }
        | Event::Pong { .. }
        | Event::Misbehaved { .. }
        | Event::PeerClosed { .. }
        | Event::Flushed { .. }
        | Event::Disconnected { .. }
        | Event::Revoked { .. }
        | Event::Announced { .. }
        | Event::Shutdown => Via::Control,
    }
}
