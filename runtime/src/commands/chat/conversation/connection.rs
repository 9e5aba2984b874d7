//! What becomes of the connection, and of what waits for it.

use std::{error::Error, time::Duration};

use switchboard_engine::ClosedReason;

use super::{Clock, Conversation, Line, and_more};
use crate::client::State;

impl Conversation {
    pub(super) fn state_changed(&mut self, state: &State, clock: &impl Clock) -> Vec<Line> {
        self.is_closed = match state {
            State::Closed(
                ClosedReason::TakenOver
                | ClosedReason::TooManyDevices
                | ClosedReason::SignedOut
                | ClosedReason::Banned
                | ClosedReason::Dismissed,
            ) => true,
            State::Closed(ClosedReason::Application | ClosedReason::NotStarted)
            | State::Connecting { .. }
            | State::Greeting
            | State::CatchingUp
            | State::Online
            | State::Closing
            | State::Waiting { .. }
            | State::Failed(_) => false,
        };
        let text = match state {
            State::Connecting { .. } | State::Waiting { .. } if self.leaving => return Vec::new(),
            State::Connecting { failures: 0 } => format!("connecting to {}", self.server),
            // When the next try would come was told.
            State::Connecting { .. } | State::Greeting | State::Closing => return Vec::new(),
            State::CatchingUp => {
                self.was_online = true;
                self.loss_told.clear();
                return Vec::new();
            }
            // What was missed stands above this line.
            State::Online => {
                self.was_online = true;
                self.loss_told.clear();
                format!("online as {}", self.me)
            }
            State::Waiting { until, cause, error, .. } => {
                let cause = error.as_ref().map_or_else(|| cause.to_string(), |error| chain(error));
                // The same again every few seconds would bury the conversation.
                if self.loss_told == cause {
                    return self.tell_unaccepted().into_iter().collect();
                }
                self.loss_told.clone_from(&cause);
                format!("offline: {cause}; next try in {}", seconds(clock.until(*until)))
            }
            State::Closed(ClosedReason::TakenOver) => {
                "taken over: a newer connection of the same user took this one's place".to_owned()
            }
            State::Closed(ClosedReason::TooManyDevices) => {
                "closed: the user has too many connections, and this was the oldest".to_owned()
            }
            State::Closed(ClosedReason::SignedOut) => {
                "closed: the session has ended, log in again".to_owned()
            }
            State::Closed(ClosedReason::Banned) => "closed: the user is banned".to_owned(),
            State::Closed(ClosedReason::Dismissed) => {
                "closed: the server asks not to be dialled again".to_owned()
            }
            State::Closed(ClosedReason::Application | ClosedReason::NotStarted) => "closed".to_owned(),
            State::Failed(error) => chain(error),
        };
        let mut lines = vec![Line::Status(text)];
        lines.extend(match state {
            State::Waiting { .. }
            | State::Closed(
                ClosedReason::TakenOver
                | ClosedReason::TooManyDevices
                | ClosedReason::SignedOut
                | ClosedReason::Banned
                | ClosedReason::Dismissed,
            ) => self.tell_unaccepted(),
            State::Closed(ClosedReason::Application | ClosedReason::NotStarted)
            | State::Connecting { .. }
            | State::Greeting
            | State::CatchingUp
            | State::Online
            | State::Closing
            | State::Failed(_) => None,
        });
        lines
    }

    /// Of what waits because the connection was lost, the user has not been told yet.
    fn tell_unaccepted(&mut self) -> Option<Line> {
        let (first, others) = self.unaccepted.untold()?;
        let what = and_more(first, others);
        Some(self.waits(&what))
    }

    /// Who, with whom, and how.
    pub(in super::super) fn who_am_i(&self, state: &State, clock: &impl Clock) -> Line {
        let state = match state {
            State::Online => "online".to_owned(),
            State::CatchingUp => "online, fetching what was missed".to_owned(),
            State::Connecting { .. } | State::Greeting => "connecting".to_owned(),
            State::Closing => "closing".to_owned(),
            State::Closed(_) | State::Failed(_) => "closed".to_owned(),
            State::Waiting { until, .. } => {
                format!("offline, next try in {}", seconds(clock.until(*until)))
            }
        };
        let Self { me, server, current, unaccepted, .. } = self;
        let waiting = match unaccepted.len() {
            0 => String::new(),
            count => {
                let why = self.why_delayed().map(|why| format!(" ({why})")).unwrap_or_default();
                format!("; not sent yet: {count}{why}")
            }
        };
        Line::Status(format!("you are {me}, talking to {}; {server}: {state}{waiting}", self.label(current)))
    }
}

/// An error with its causes, on one line.
pub(in super::super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// Whole seconds, rounded up.
fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_millis().div_ceil(1000).max(1))
}
