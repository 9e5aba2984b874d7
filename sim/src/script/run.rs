//! Tells an engine what is in a script, as a driver would: what cannot happen any more, since what it follows from was removed, is
//! left out.

use std::collections::{BTreeMap, VecDeque};

use switchboard_engine::{
    Answer, ConnId, Event, Instant, OwnedAction, Probe, Request, Server, Ticket, recording::BUILD,
};

use super::{Ask, Line, Script, What};
use crate::check::Violation;
use crate::recording::name;
use crate::recording::player::{Cause, Player};

/// Why a script cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It begins with the state of another build.
    #[error("this begins with the state of an engine of another version, {0}, and this is {BUILD}")]
    OtherBuild(String),
    /// Its state is none.
    #[error("the state that this begins with cannot be read")]
    BadState,
}

/// What came of a script.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What does not hold.
    pub violation: Option<Violation>,
    /// The line after which that was seen.
    pub failed_at: Option<u32>,
    /// The lines that the engine was told.
    pub told: Vec<u32>,
    /// What was told and what came of it, in words.
    pub story: Vec<String>,
}

impl Outcome {
    /// What does not hold, with the last lines of what led to it.
    #[must_use]
    pub fn words(&self) -> String {
        let violation = self.violation.as_ref().map(ToString::to_string).unwrap_or_default();
        format!("{violation}\n{}", self.story.join("\n"))
    }
}

/// A connection as its driver has it.
#[derive(Clone, Debug, Default)]
struct Link {
    /// Lengths of the frames that are not written.
    waiting: VecDeque<u64>,
    /// Frames from before the script.
    unknown: u32,
    /// Nothing more is read from it.
    is_deaf: bool,
}

/// Tells an engine with this probe.
///
/// # Errors
/// If it begins with a state that this build cannot read.
pub fn run<P: Probe + Clone>(script: &Script, probe: P) -> Result<Outcome, RunError> {
    let mut driver = Driver::begin(script, probe)?;
    let mut outcome = Outcome::default();
    for line in &script.lines {
        let Some(cause) = driver.tell(line) else { continue };
        outcome.told.push(line.id);
        let judge = driver.player.judge();
        outcome.story.push(format!("{:>4}  {}", line.id, name::cause_by(&cause, judge)));
        let actions = name::actions(driver.player.actions(), judge);
        outcome.story.extend(actions.into_iter().map(|action| format!("        -> {action}")));
        if let Some(violation) = driver.player.violation() {
            (outcome.violation, outcome.failed_at) = (Some(violation.clone()), Some(line.id));
            break;
        }
    }
    Ok(outcome)
}

/// An engine that is told the lines of a script, and its connections.
#[derive(Clone, Debug)]
pub(crate) struct Driver<P: Probe> {
    pub(crate) player: Player<P>,
    links: BTreeMap<ConnId, Link>,
    asked: BTreeMap<Ask, (Ticket, Request)>,
}

impl<P: Probe + Clone> Driver<P> {
    /// # Errors
    /// If the script begins with a state that this build cannot read.
    pub(crate) fn begin(script: &Script, probe: P) -> Result<Self, RunError> {
        let at = Instant::from_nanos(script.start_ns);
        let mut links = BTreeMap::new();
        let mut player = match &script.state {
            None => Player::new(script.config.clone(), script.seed, at, probe),
            Some(state) if state.build != BUILD => return Err(RunError::OtherBuild(state.build.clone())),
            Some(state) => {
                let server =
                    Server::restore_with_probe(&state.bytes, probe).map_err(|_| RunError::BadState)?;
                for view in server.connections() {
                    let unknown = u32::try_from(view.unflushed_frames).unwrap_or(u32::MAX);
                    links.insert(view.id, Link { unknown, ..Link::default() });
                }
                Player::resumed(server, at)
            }
        };
        player.sweep_every(1);
        Ok(Self { player, links, asked: BTreeMap::new() })
    }

    /// Tells the engine a line. Gives what it was told; none if that cannot happen.
    pub(crate) fn tell(&mut self, line: &Line) -> Option<Cause> {
        let cause = self.cause(&line.what)?;
        self.player.tell(Instant::from_nanos(line.at_ns), &cause);
        let mut nth = 0;
        for action in self.player.actions() {
            match action {
                OwnedAction::Request { ticket, request } => {
                    self.asked.insert(Ask::Of { line: line.id, nth }, (*ticket, request.clone()));
                    nth += 1;
                }
                OwnedAction::Send { to, frame } => {
                    for conn in to {
                        if let Some(link) = self.links.get_mut(conn) {
                            link.waiting.push_back(frame.payload().len() as u64);
                        }
                    }
                }
                OwnedAction::Close { .. }
                | OwnedAction::Abort { .. }
                | OwnedAction::Publish(_)
                | OwnedAction::Tell(_)
                | OwnedAction::Subscribe(_)
                | OwnedAction::Unsubscribe(_)
                | OwnedAction::Stopped => {}
            }
        }
        Some(cause)
    }

    /// What a line tells the engine; none if that cannot happen.
    fn cause(&mut self, what: &What) -> Option<Cause> {
        match what {
            What::Timeout => Some(Cause::Timeout),
            What::Answer { to, answer } => self.answer(*to, answer),
            What::Event(event) => self.event(event).map(Cause::Event),
        }
    }

    fn answer(&mut self, to: Ask, answer: &Answer) -> Option<Cause> {
        let ticket = match to {
            Ask::Before(ticket) => Ticket(ticket),
            Ask::Of { .. } => {
                let (ticket, _) = self.asked.get(&to).filter(|(_, request)| fits(request, answer))?;
                let ticket = *ticket;
                self.asked.remove(&to);
                ticket
            }
        };
        Some(Cause::Event(Event::Answered { ticket, answer: answer.clone() }))
    }

    fn event(&mut self, event: &Event) -> Option<Event> {
        match event {
            Event::Connected { conn, .. } => {
                let is_taken = self.links.keys().any(|other| other.slot() == conn.slot());
                if is_taken {
                    return None;
                }
                self.links.insert(*conn, Link::default());
            }
            Event::Received { conn, .. } | Event::Ping { conn, .. } | Event::Pong { conn, .. } => {
                self.links.get(conn).filter(|link| !link.is_deaf)?;
            }
            Event::Misbehaved { conn, .. } | Event::PeerClosed { conn } => {
                self.links.get_mut(conn).filter(|link| !link.is_deaf)?.is_deaf = true;
            }
            Event::Flushed { conn, frames, payload_bytes } => {
                let link = self.links.get_mut(conn)?;
                if link.unknown > 0 {
                    let known = frames.saturating_sub(link.unknown);
                    link.unknown = link.unknown.saturating_sub(*frames);
                    let _ = link.waiting.drain(..(known as usize).min(link.waiting.len()));
                    return Some(Event::Flushed {
                        conn: *conn,
                        frames: *frames,
                        payload_bytes: *payload_bytes,
                    });
                }
                // Of frames that are not sent any more, none are written.
                let frames = (*frames as usize).min(link.waiting.len());
                let payload_bytes = link.waiting.drain(..frames).sum();
                return (frames > 0).then_some(Event::Flushed {
                    conn: *conn,
                    frames: frames as u32,
                    payload_bytes,
                });
            }
            Event::Disconnected { conn } => {
                self.links.remove(conn)?;
            }
            Event::Answered { .. }
            | Event::Published(_)
            | Event::Told(_)
            | Event::DirectoryChanged(_)
            | Event::Revoked { .. }
            | Event::Announced { .. }
            | Event::Shutdown => {}
        }
        Some(event.clone())
    }
}

/// Whether a store may answer a request so.
fn fits(request: &Request, answer: &Answer) -> bool {
    match answer {
        Answer::UserLoaded(_) => matches!(request, Request::LoadUser(_)),
        Answer::MessageStored(_) | Answer::StoredEarlier(_) | Answer::Denied(_) => {
            matches!(request, Request::StoreMessage(_) | Request::StoreFile(_))
        }
        Answer::FileStored { .. } => matches!(request, Request::StoreFile(_)),
        Answer::HeadsLoaded { .. } => matches!(request, Request::LoadHeads { .. }),
        Answer::MessagesLoaded(_) => matches!(request, Request::LoadMessages(_)),
        Answer::MarksStored(_) => matches!(request, Request::StoreMarks(_)),
        Answer::Seen { .. } => matches!(request, Request::StoreSeen(_) | Request::LoadSeen { .. }),
        Answer::ReceivedStored => matches!(request, Request::StoreReceived(_)),
        Answer::UnreceivedLoaded { .. } => matches!(request, Request::LoadUnreceived { .. }),
        Answer::Refused | Answer::Failed | Answer::Full => true,
    }
}
