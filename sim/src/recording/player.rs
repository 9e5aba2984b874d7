//! An engine that is told what another one was told, and what it does.

use std::panic::{AssertUnwindSafe, catch_unwind};

use switchboard_engine::{
    Event, Instant, OwnedAction, Probe, Server, ServerConfig,
    recording::{Acted, ActionDigest},
};

use super::judge::{Judge, Moment};
use crate::check::Violation;
use crate::world::panic_text;

/// What an engine is told.
#[derive(Clone, Debug)]
pub enum Cause {
    /// An event.
    Event(Event),
    /// That its deadline has come.
    Timeout,
}

/// The most steps between two sweeps, however many connections there are: what is found is looked for among so many.
const SWEEP_STRIDE_LIMIT: u64 = 4096;

/// An engine, what it has done, and whether that is right.
#[derive(Clone, Debug)]
pub struct Player<P: Probe> {
    server: Server<P>,
    judge: Judge,
    digest: ActionDigest,
    /// What the last step led to.
    actions: Vec<OwnedAction>,
    /// Steps so far.
    steps: u64,
    now: Instant,
    /// Steps since everything was looked at.
    since_sweep: u64,
    /// Steps between two looks at everything; none: as many as make it cheap.
    sweep_every: Option<u64>,
    violation: Option<Violation>,
}

impl<P: Probe + Clone> Player<P> {
    /// An engine that nothing has happened to.
    #[must_use]
    pub fn new(config: ServerConfig, seed: u64, now: Instant, probe: P) -> Self {
        let judge = Judge::new(&config);
        Self::of(Server::with_probe(config, seed, now, probe), judge, now)
    }

    /// An engine with a past. Of what it was told before, nobody knows anything.
    #[must_use]
    pub fn resumed(server: Server<P>, now: Instant) -> Self {
        let judge = Judge::resumed(&server);
        Self::of(server, judge, now)
    }

    fn of(server: Server<P>, judge: Judge, now: Instant) -> Self {
        Self {
            server,
            judge,
            digest: ActionDigest::default(),
            actions: Vec::new(),
            steps: 0,
            now,
            since_sweep: 0,
            sweep_every: None,
            violation: None,
        }
    }

    /// Looks at the whole state after so many steps.
    pub const fn sweep_every(&mut self, steps: u64) {
        self.sweep_every = Some(steps);
    }

    /// The engine.
    #[must_use]
    pub const fn server(&self) -> &Server<P> {
        &self.server
    }

    /// What is known of its connections.
    #[must_use]
    pub const fn judge(&self) -> &Judge {
        &self.judge
    }

    /// What the last step led to.
    #[must_use]
    pub fn actions(&self) -> &[OwnedAction] {
        &self.actions
    }

    /// Steps so far.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// The first thing that did not hold. It was seen after the last step.
    #[must_use]
    pub const fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// Tells the engine something. What came of it; none if nothing did.
    pub fn tell(&mut self, at: Instant, cause: &Cause) -> Option<Acted> {
        self.steps += 1;
        self.now = self.now.max(at);
        self.actions.clear();
        let Self { server, digest, actions, .. } = self;
        let told = catch_unwind(AssertUnwindSafe(|| {
            match cause {
                Cause::Event(event) => server.handle(at, event.clone()),
                Cause::Timeout => server.handle_timeout(at),
            }
            while let Some(action) = server.poll_action() {
                digest.add(&action);
                actions.push(action.into());
            }
        }));
        if let Err(panic) = told {
            self.fail("crash", panic_text(&*panic));
            return None;
        }
        let acted = self.digest.end_step();
        if self.violation.is_none() {
            self.look(cause);
        }
        acted
    }

    /// A digest of all actions since the last time, and of the state.
    pub fn digests(&mut self) -> (u64, u64) {
        (core::mem::take(&mut self.digest).finish(), self.server.full_digest())
    }

    /// Another file begins, whose digests are of its own actions.
    pub fn begin_part(&mut self) {
        self.digest = ActionDigest::default();
    }

    /// Takes the engine's state as bytes, as whoever records it does at the end of a file.
    pub fn snapshot(&mut self) -> Option<Vec<u8>> {
        self.server.snapshot().ok()
    }

    /// Looks at the whole state, if that was not done after the last step.
    pub fn sweep(&mut self) {
        if self.violation.is_none() && self.since_sweep > 0 {
            self.since_sweep = 0;
            if let Err(broken) = self.server.check_invariants() {
                self.fail(broken.invariant, format!("check_invariants: {}", broken.what));
            } else if let Err((check, what)) = self.judge.sweep(&self.server) {
                self.fail(check, what);
            }
        }
    }

    fn look(&mut self, cause: &Cause) {
        let moment = Moment { now: self.now, cause, actions: &self.actions };
        if let Err((check, what)) = self.judge.step(&moment, &self.server) {
            return self.fail(check, what);
        }
        self.since_sweep += 1;
        // A sweep takes time in proportion to the connections: so much of it comes to each step as one connection costs.
        let cheap = self.judge.connections().clamp(1, SWEEP_STRIDE_LIMIT);
        if self.since_sweep >= self.sweep_every.unwrap_or(cheap) {
            self.sweep();
        }
    }

    fn fail(&mut self, check: &'static str, what: String) {
        self.violation = Some(Violation { check, what, at_us: self.now.as_nanos() / 1000 });
    }
}
