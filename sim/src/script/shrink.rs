//! From a failing script to a small one that fails in the same way: connections are left out, then lines, many at a time at first;
//! then the state that it begins with, settings and pauses.

use std::collections::BTreeSet;

use switchboard_engine::{
    Answer, ConnId, ConnectionPhase, Event, GroupId, Probe, Protocol, Server, ServerConfig, Shipped, UserId,
    UserProfile,
};

use super::run::{Outcome, RunError, run};
use super::{Ask, Line, Script, What, text};
use crate::wire::session;

/// Rounds of all passes at the most.
const ROUNDS: u32 = 8;

/// Lines up to which every pair is tried.
const PAIRS_UP_TO: usize = 24;

/// What a script is tried with.
#[derive(Clone, Copy, Debug)]
pub struct Trial<P> {
    /// The engine's probe.
    pub probe: P,
    /// It must hold without that: the probe plants a bug, and what fails all the same says nothing about it.
    pub must_hold_without: bool,
}

impl<P: Probe + Clone> Trial<P> {
    /// What comes of a script that fails; none if it holds.
    ///
    /// # Errors
    /// If it begins with a state that this build cannot read.
    pub fn failing(&self, script: &Script) -> Result<Option<Outcome>, RunError> {
        let outcome = run(script, self.probe.clone())?;
        if outcome.violation.is_none()
            || (self.must_hold_without && run(script, Shipped)?.violation.is_some())
        {
            return Ok(None);
        }
        Ok(Some(outcome))
    }
}

/// The smallest script found that fails by the same check; none if the script does not fail.
///
/// # Errors
/// If it begins with a state that this build cannot read.
pub fn shrink<P: Probe + Clone>(script: &Script, trial: &Trial<P>) -> Result<Option<Script>, RunError> {
    let Some(outcome) = trial.failing(script)? else { return Ok(None) };
    let check = outcome.violation.as_ref().map_or("", |violation| violation.check);
    let mut search = Search { best: told(script, &outcome), check, trial };
    if search.best.state.is_some() {
        search.begin_anew();
    }
    for _ in 0..ROUNDS {
        let before = search.best.lines.len();
        search.remove_connections();
        search.remove_lines();
        search.remove_pairs();
        search.simplify();
        if search.best.lines.len() == before {
            break;
        }
    }
    search.number();
    Ok(Some(search.best))
}

/// A script without what the engine was not told.
fn told(script: &Script, outcome: &Outcome) -> Script {
    let told: BTreeSet<_> = outcome.told.iter().copied().collect();
    let lines = script.lines.iter().filter(|line| told.contains(&line.id)).cloned().collect();
    Script { lines, ..script.clone() }
}

struct Search<'t, P> {
    best: Script,
    check: &'static str,
    trial: &'t Trial<P>,
}

impl<P: Probe + Clone> Search<'_, P> {
    /// Takes the candidate if it fails by the same check.
    fn attempt(&mut self, candidate: &Script) -> bool {
        let Ok(Some(outcome)) = self.trial.failing(candidate) else { return false };
        let is_same = outcome.violation.as_ref().is_some_and(|violation| violation.check == self.check);
        if is_same {
            self.best = told(candidate, &outcome);
        }
        is_same
    }

    fn attempt_without(&mut self, is_removed: impl Fn(usize, &Line) -> bool) -> bool {
        let mut candidate = self.best.clone();
        let mut number = 0;
        candidate.lines.retain(|line| {
            number += 1;
            !is_removed(number - 1, line)
        });
        candidate.lines.len() < self.best.lines.len() && self.attempt(&candidate)
    }

    /// Leaves out all lines of connections, one connection after the other.
    fn remove_connections(&mut self) {
        for conn in self.best.connections() {
            self.attempt_without(|_, line| line.conn() == Some(conn));
        }
    }

    /// Leaves out lines, half of them at a time at first, one at a time at last.
    fn remove_lines(&mut self) {
        let mut part = self.best.lines.len().max(1);
        while part > 0 {
            let mut from = 0;
            while from < self.best.lines.len() {
                if !self.attempt_without(|number, _| (from..from + part).contains(&number)) {
                    from += part;
                }
            }
            part /= 2;
        }
    }

    /// Leaves out two lines that only make sense together.
    fn remove_pairs(&mut self) {
        let mut first = 0;
        while first < self.best.lines.len() && self.best.lines.len() <= PAIRS_UP_TO {
            let removed = (first + 1..self.best.lines.len())
                .any(|second| self.attempt_without(|number, _| number == first || number == second));
            first += usize::from(!removed);
        }
    }

    /// Gives settings their defaults, and takes pauses away.
    fn simplify(&mut self) {
        // The state has its own.
        if self.best.state.is_none() && !self.configure(ServerConfig::default()) {
            // Each that is accepted leaves one setting less.
            while text::with_one_default(&self.best.config).into_iter().any(|config| self.configure(config)) {
            }
        }
        let mut at_once = self.best.clone();
        at_once.lines.iter_mut().for_each(|line| line.at_ns = at_once.start_ns);
        if self.attempt(&at_once) {
            return;
        }
        for place in 0..self.best.lines.len() {
            let before = if place == 0 { self.best.start_ns } else { self.best.lines[place - 1].at_ns };
            let pause = self.best.lines[place].at_ns - before;
            if pause > 0 {
                let mut candidate = self.best.clone();
                candidate.lines[place..].iter_mut().for_each(|line| line.at_ns -= pause);
                self.attempt(&candidate);
            }
        }
    }

    fn configure(&mut self, config: ServerConfig) -> bool {
        config != self.best.config && self.attempt(&Script { config, ..self.best.clone() })
    }

    /// Begins with an engine that nothing has happened to, and lets those who are connected connect.
    fn begin_anew(&mut self) {
        let Some(state) = &self.best.state else { return };
        let Ok(server) = Server::restore(&state.bytes) else { return };
        let mut lines = Vec::new();
        // Ids below those of all lines are free: steps are numbered from 1, and the state is that behind some of them.
        let mut id = self.best.lines.iter().map(|line| line.id).max().unwrap_or(0);
        let mut loaded = BTreeSet::new();
        for view in server.connections() {
            let Some(user) = view.user else { continue };
            id += 1;
            let protocol = if view.is_session { Protocol::Session } else { Protocol::Classic };
            let event = Event::Connected { conn: view.id, user: user.clone(), protocol };
            lines.push(self.line(id, What::Event(event)));
            let line = id;
            if loaded.insert(user.clone()) {
                id += 1;
                let to = Ask::Of { line, nth: 0 };
                lines.push(self.line(id, What::Answer { to, answer: profile(&server, user) }));
            }
            if view.is_session && view.phase == ConnectionPhase::Online {
                id += 1;
                lines.push(self.line(id, hello(view.id)));
            }
        }
        lines.extend(self.best.lines.iter().cloned());
        self.attempt(&Script { state: None, lines, ..self.best.clone() });
    }

    const fn line(&self, id: u32, what: What) -> Line {
        Line { id, at_ns: self.best.start_ns, what }
    }

    /// Numbers the lines from 1, and has the engine begin at the first one's time.
    fn number(&mut self) {
        let mut candidate = self.best.clone();
        let new = |old: u32| {
            self.best.lines.iter().position(|line| line.id == old).map_or(0, |place| place as u32 + 1)
        };
        for line in &mut candidate.lines {
            line.id = new(line.id);
            if let What::Answer { to: Ask::Of { line: asked, .. }, .. } = &mut line.what {
                *asked = new(*asked);
            }
        }
        self.attempt(&candidate);
        let first_ns = self.best.lines.first().map_or(0, |line| line.at_ns);
        if self.best.state.is_none() {
            let mut candidate = self.best.clone();
            candidate.start_ns = 0;
            candidate.lines.iter_mut().for_each(|line| line.at_ns -= first_ns);
            self.attempt(&candidate);
        }
    }
}

/// What the directory has said of a user, as far as the server knows.
fn profile(server: &Server, user: &UserId) -> Answer {
    let groups: Vec<GroupId> =
        server.groups_of(user).map(|groups| groups.cloned().collect()).unwrap_or_default();
    Answer::UserLoaded(UserProfile { groups, ..UserProfile::default() })
}

fn hello(conn: ConnId) -> What {
    let slot = u16::try_from(conn.slot()).unwrap_or(u16::MAX);
    What::Event(Event::Received { conn, message: session::hello(slot, 0) })
}
