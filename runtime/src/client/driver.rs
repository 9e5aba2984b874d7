//! A machine of the engine with its link and its clock: what both protocols have in common.

use std::{collections::VecDeque, future, time::Duration};

use switchboard_engine::{Client, ClientAction, ClientEvent, Instant, LinkId, Notification};
use switchboard_engine::{Session, SessionNotification};

use crate::clock::Clock;

use super::link::{Link, LinkError, Progress, Target};

/// A client of the engine, of either protocol: events in, actions out.
pub(super) trait Machine {
    /// What it tells its application.
    type Notification;

    fn handle(&mut self, now: Instant, event: ClientEvent);
    fn handle_timeout(&mut self, now: Instant);
    fn poll_action(&mut self) -> Option<ClientAction<Self::Notification>>;
    fn poll_timeout(&self) -> Option<Instant>;
}

impl Machine for Client {
    type Notification = Notification;

    fn handle(&mut self, now: Instant, event: ClientEvent) {
        self.handle(now, event);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.handle_timeout(now);
    }

    fn poll_action(&mut self) -> Option<ClientAction<Notification>> {
        self.poll_action()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.poll_timeout()
    }
}

impl Machine for Session {
    type Notification = SessionNotification;

    fn handle(&mut self, now: Instant, event: ClientEvent) {
        self.handle(now, event);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.handle_timeout(now);
    }

    fn poll_action(&mut self) -> Option<ClientAction<SessionNotification>> {
        self.poll_action()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.poll_timeout()
    }
}

/// What a driver tells.
#[derive(Debug)]
pub(super) enum Told<N> {
    /// What the machine says.
    Notification(N),
    /// Why a link ended, for people. The machine's view of it follows.
    LinkEnded(LinkError),
}

/// Carries out what a machine asks for, and tells it what happens. It decides nothing.
#[derive(Debug)]
pub(super) struct Driver<M: Machine> {
    machine: M,
    target: Target,
    clock: Clock,
    link: Option<Link>,
    /// Taken from the machine and not yet told; empty before every wait.
    told: VecDeque<Told<M::Notification>>,
}

impl<M: Machine> Driver<M> {
    /// `start` makes the machine, at this time.
    pub(super) fn new(target: Target, start: impl FnOnce(Instant) -> M) -> Self {
        let clock = Clock::start();
        Self { machine: start(clock.now()), target, clock, link: None, told: VecDeque::new() }
    }

    pub(super) const fn machine(&self) -> &M {
        &self.machine
    }

    /// Has the machine do something now. What it asks for in turn is done by [`Driver::try_next`].
    pub(super) fn command<R>(&mut self, command: impl FnOnce(&mut M, Instant) -> R) -> R {
        command(&mut self.machine, self.clock.now())
    }

    /// How long it is from now to an instant of the machine's; zero if it has passed.
    pub(super) fn until(&self, instant: Instant) -> Duration {
        instant.saturating_since(self.clock.now())
    }

    /// Does what the machine asks for; gives what there is to tell.
    pub(super) fn try_next(&mut self) -> Option<Told<M::Notification>> {
        self.carry_out();
        self.told.pop_front()
    }

    /// Waits until something has happened to the link or time has made something due, and tells the machine.
    /// To be called when [`Driver::try_next`] has given none. Cancel-safe.
    pub(super) async fn step(&mut self) {
        let timeout = self.machine.poll_timeout().map(|at| self.clock.system(at));
        let link = &mut self.link;
        let progress = async {
            match link {
                Some(link) => (link.id(), link.next().await),
                None => future::pending().await,
            }
        };
        let expired = async {
            match timeout {
                Some(at) => tokio::time::sleep_until(at).await,
                None => future::pending().await,
            }
        };
        tokio::select! {
            (link, progress) = progress => self.progressed(link, progress),
            () = expired => self.machine.handle_timeout(self.clock.now()),
        }
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.machine.poll_action() {
            match action {
                ClientAction::Connect { link } => self.link = Some(Link::dial(link, self.target.clone())),
                ClientAction::Send { link, frame } => {
                    if let Some(writer) = self.link_of(link).and_then(Link::writer) {
                        writer.push(&frame);
                    }
                }
                ClientAction::Close { link, code } => {
                    if let Some(writer) = self.link_of(link).and_then(Link::writer) {
                        writer.push_close(code);
                    }
                }
                ClientAction::Abort { link } => {
                    self.link.take_if(|current| current.id() == link);
                }
                ClientAction::Notify(notification) => {
                    self.told.push_back(Told::Notification(notification));
                }
            }
        }
    }

    fn link_of(&mut self, id: LinkId) -> Option<&mut Link> {
        self.link.as_mut().filter(|link| link.id() == id)
    }

    fn progressed(&mut self, link: LinkId, progress: Progress) {
        let event = match progress {
            Progress::Opened => ClientEvent::Opened { link },
            Progress::Received(message) => ClientEvent::Received { link, message },
            Progress::Pinged(payload) => ClientEvent::Pinged { link, payload },
            Progress::Flushed(flushed) => {
                ClientEvent::Flushed { link, frames: flushed.frames, payload_bytes: flushed.payload_bytes }
            }
            Progress::Ended(error) => {
                self.link = None;
                let event = match &error {
                    LinkError::Connect(_) => ClientEvent::ConnectFailed { link },
                    LinkError::Closed { code, .. } => ClientEvent::Disconnected { link, close: *code },
                    LinkError::Read(_) | LinkError::Task => ClientEvent::Disconnected { link, close: None },
                };
                self.told.push_back(Told::LinkEnded(error));
                event
            }
        };
        self.machine.handle(self.clock.now(), event);
    }
}
