//! What the user is told: from what a session says to lines. Knows no terminal, no socket and no clock.

use std::{collections::BTreeMap, time::Duration};

use switchboard_engine::{
    Body, ClosedReason, ConnectionState, DropReason, Instant, Notification, Outgoing, SendError, SendId,
    Target, UserId,
};

use super::text::{Style, name, quote};
use crate::client::LinkError;

/// A line to show, without what depends on where it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// What somebody said.
    Message(String),
    /// What there is to know beside it.
    Status(String),
}

/// A message that is neither flushed nor dropped.
#[derive(Debug)]
struct Unsent {
    quote: String,
    /// The user was told that it waits.
    told: bool,
}

/// With whom the user talks, and what became of what was said.
#[derive(Debug)]
pub(super) struct Conversation {
    me: UserId,
    server: String,
    target: Target,
    style: Style,
    unsent: BTreeMap<SendId, Unsent>,
    /// Messages that will not be sent (again).
    lost: usize,
    was_online: bool,
    /// The server has greeted this link.
    greeted: bool,
    /// The user is leaving: there will be no next try.
    leaving: bool,
    link_error: Option<LinkError>,
}

impl Conversation {
    pub(super) fn new(me: UserId, server: String, target: Target, style: Style) -> Self {
        let unsent = BTreeMap::new();
        Self {
            me,
            server,
            target,
            style,
            unsent,
            lost: 0,
            was_online: false,
            greeted: false,
            leaving: false,
            link_error: None,
        }
    }

    pub(super) fn prompt(&self) -> String {
        format!("{}> ", name(&self.target))
    }

    pub(super) const fn was_online(&self) -> bool {
        self.was_online
    }

    /// Whether the server has a session for the link that is open: what was sent over it before counts only now.
    pub(super) const fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// Messages that were to be sent and were not, or not surely.
    pub(super) const fn lost(&self) -> usize {
        self.lost
    }

    /// Why the last link ended, if nobody was told yet.
    pub(super) const fn take_link_error(&mut self) -> Option<LinkError> {
        self.link_error.take()
    }

    /// Remembers why a link ended; what that means comes with the session's next state.
    pub(super) fn link_ended(&mut self, error: LinkError) {
        self.link_error = Some(error);
    }

    /// From now on, only the end of the connection is worth telling.
    pub(super) const fn leave(&mut self) {
        self.leaving = true;
    }

    /// Talks to somebody else from now on.
    pub(super) fn turn_to(&mut self, target: Target) -> Line {
        self.target = target;
        Line::Status(format!("talking to {}", name(&self.target)))
    }

    /// What to send for a text.
    pub(super) fn outgoing(&self, text: &str) -> Outgoing {
        Outgoing::Message { to: self.target.clone(), body: Body::Text(text.into()) }
    }

    /// A text was accepted for sending.
    pub(super) fn accepted(&mut self, id: SendId, text: &str, state: ConnectionState) -> Option<Line> {
        let waits = match state {
            ConnectionState::Online | ConnectionState::Closing => false,
            // The first attempt is under way: most likely there is nothing to tell.
            ConnectionState::Connecting { failures } => failures > 0,
            ConnectionState::Waiting { .. } | ConnectionState::Closed(_) => true,
        };
        self.unsent.insert(id, Unsent { quote: quote(text), told: waits });
        waits.then(|| Line::Status(format!("waiting for the connection: {}", quote(text))))
    }

    /// A text was not accepted for sending.
    pub(super) fn refused(&mut self, text: &str, error: &SendError) -> Line {
        self.lost += 1;
        Line::Status(format!("not sent: {}: {error}", quote(text)))
    }

    /// What the session says; `time` is the time of day, and `until` tells how long it is to an instant.
    pub(super) fn notified(
        &mut self,
        notification: Notification,
        time: &str,
        until: impl Fn(Instant) -> Duration,
    ) -> Vec<Line> {
        match notification {
            Notification::StateChanged(state) => self.state_changed(state, until),
            // Not when the link opens: only now is there a session that messages come to.
            Notification::Welcomed => {
                self.greeted = true;
                vec![Line::Status(format!("online as {}", self.me))]
            }
            Notification::Message(incoming) => {
                self.style.message(&incoming, &self.target, time).map(Line::Message).into_iter().collect()
            }
            Notification::Flushed { id } => match self.unsent.remove(&id) {
                Some(Unsent { quote, told: true }) => vec![Line::Status(format!("sent: {quote}"))],
                Some(Unsent { told: false, .. }) | None => Vec::new(),
            },
            Notification::Dropped { id, reason } => {
                self.lost += 1;
                let quote = self.unsent.remove(&id).map_or_else(String::new, |unsent| unsent.quote);
                let why = match reason {
                    DropReason::Closed => "the connection is closed",
                    DropReason::Refused => "the server refused it",
                    DropReason::LinkLost => "the connection was lost",
                    DropReason::Superseded => "a newer one came",
                };
                vec![Line::Status(format!("not sent: {quote}: {why}"))]
            }
        }
    }

    fn state_changed(&mut self, state: ConnectionState, until: impl Fn(Instant) -> Duration) -> Vec<Line> {
        self.greeted = false;
        let text = match state {
            ConnectionState::Connecting { .. } | ConnectionState::Waiting { .. } if self.leaving => {
                return Vec::new();
            }
            ConnectionState::Connecting { failures: 0 } => format!("connecting to {}", self.server),
            // When the next try would come was told.
            ConnectionState::Connecting { .. } | ConnectionState::Closing => return Vec::new(),
            ConnectionState::Online => {
                self.was_online = true;
                self.link_error = None;
                return Vec::new();
            }
            ConnectionState::Waiting { until: at, cause, .. } => {
                let cause = self.link_error.as_ref().map_or_else(|| cause.to_string(), chain);
                format!("offline: {cause}; next try in {}", seconds(until(at)))
            }
            ConnectionState::Closed(ClosedReason::TakenOver) => {
                "taken over: a newer connection of the same user took this one's place".to_owned()
            }
            ConnectionState::Closed(ClosedReason::TooManyDevices) => {
                "closed: the user has too many connections, and this was the oldest".to_owned()
            }
            ConnectionState::Closed(ClosedReason::Dismissed) => {
                "closed: the server asks not to be dialled again".to_owned()
            }
            ConnectionState::Closed(ClosedReason::Application | ClosedReason::NotStarted) => {
                "closed".to_owned()
            }
        };
        let mut lines = vec![Line::Status(text)];
        lines.extend(match state {
            ConnectionState::Waiting { .. }
            | ConnectionState::Closed(
                ClosedReason::TakenOver | ClosedReason::TooManyDevices | ClosedReason::Dismissed,
            ) => self.tell_unsent(),
            ConnectionState::Closed(ClosedReason::Application | ClosedReason::NotStarted)
            | ConnectionState::Connecting { .. }
            | ConnectionState::Closing
            | ConnectionState::Online => None,
        });
        lines
    }

    /// Of what waits because the connection was lost, the user has not been told yet.
    fn tell_unsent(&mut self) -> Option<Line> {
        let mut untold = self.unsent.values_mut().filter(|unsent| !unsent.told);
        let first = untold.next()?;
        first.told = true;
        let others = untold.map(|unsent| unsent.told = true).count();
        let quote = &first.quote;
        Some(Line::Status(match others {
            0 => format!("waiting for the connection: {quote}"),
            _ => format!("waiting for the connection: {quote} and {others} more"),
        }))
    }

    /// Who, with whom, and how.
    pub(super) fn who_am_i(&self, state: ConnectionState, until: impl Fn(Instant) -> Duration) -> Line {
        let state = match state {
            ConnectionState::Online => "online".to_owned(),
            ConnectionState::Connecting { .. } => "connecting".to_owned(),
            ConnectionState::Closing => "closing".to_owned(),
            ConnectionState::Closed(_) => "closed".to_owned(),
            ConnectionState::Waiting { until: at, .. } => {
                format!("offline, next try in {}", seconds(until(at)))
            }
        };
        let Self { me, server, target, unsent, .. } = self;
        let waiting = match unsent.len() {
            0 => String::new(),
            count => format!("; not sent yet: {count}"),
        };
        Line::Status(format!("you are {me}, talking to {}; {server}: {state}{waiting}", name(target)))
    }
}

/// An error with its causes, on one line.
pub(super) fn chain(error: &LinkError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
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

#[cfg(test)]
mod tests {
    use super::*;
    use switchboard_engine::LossCause;

    fn conversation() -> Conversation {
        let style = Style { colours: false, times: false };
        let target = Target::User(UserId::new("bob").unwrap());
        Conversation::new(UserId::new("alice").unwrap(), "ws://h:1".to_owned(), target, style)
    }

    fn told(conversation: &mut Conversation, notification: Notification) -> Vec<String> {
        let lines = conversation.notified(notification, "", |at| at.saturating_since(Instant::ZERO));
        lines
            .into_iter()
            .map(|line| match line {
                Line::Message(text) | Line::Status(text) => text,
            })
            .collect()
    }

    fn waiting() -> ConnectionState {
        let until = Instant::from_nanos(2_100_000_000);
        ConnectionState::Waiting { until, failures: 1, cause: LossCause::Broken }
    }

    fn changed(state: ConnectionState) -> Notification {
        Notification::StateChanged(state)
    }

    #[test]
    fn a_message_typed_offline_is_told_to_wait_and_told_to_be_sent() {
        let mut talk = conversation();
        let line = talk.accepted(SendId(0), "hi", waiting()).unwrap();
        assert_eq!(line, Line::Status("waiting for the connection: \"hi\"".to_owned()));
        assert!(told(&mut talk, changed(ConnectionState::Online)).is_empty());
        assert!(talk.was_online() && !talk.is_greeted());
        assert_eq!(told(&mut talk, Notification::Welcomed), ["online as alice"]);
        assert!(talk.is_greeted());
        assert_eq!(told(&mut talk, Notification::Flushed { id: SendId(0) }), ["sent: \"hi\""]);
    }

    #[test]
    fn nothing_is_told_of_a_message_that_goes_out_at_once() {
        let mut talk = conversation();
        assert_eq!(talk.accepted(SendId(0), "hi", ConnectionState::Online), None);
        assert!(told(&mut talk, Notification::Flushed { id: SendId(0) }).is_empty());
    }

    #[test]
    fn messages_caught_by_a_lost_connection_are_told_once() {
        let mut talk = conversation();
        for id in 0..3 {
            assert_eq!(talk.accepted(SendId(id), "hi", ConnectionState::Online), None);
        }
        let lines = told(&mut talk, changed(waiting()));
        let offline = "offline: the connection broke; next try in 3 s";
        assert_eq!(lines, [offline, "waiting for the connection: \"hi\" and 2 more"]);
        assert_eq!(told(&mut talk, changed(waiting())), [offline]);
        assert_eq!(told(&mut talk, Notification::Flushed { id: SendId(1) }), ["sent: \"hi\""]);
    }

    #[test]
    fn what_is_dropped_is_told_and_counted() {
        let mut talk = conversation();
        talk.accepted(SendId(0), "hi", ConnectionState::Online);
        let dropped = Notification::Dropped { id: SendId(0), reason: DropReason::Refused };
        assert_eq!(told(&mut talk, dropped), ["not sent: \"hi\": the server refused it"]);
        assert_eq!(talk.lost(), 1);
    }

    #[test]
    fn no_next_try_is_announced_to_whoever_leaves() {
        let mut talk = conversation();
        talk.leave();
        assert!(told(&mut talk, changed(waiting())).is_empty());
        assert_eq!(told(&mut talk, changed(ConnectionState::Closed(ClosedReason::Application))), ["closed"]);
    }

    #[test]
    fn the_reason_of_a_lost_link_is_told_in_the_words_of_whoever_knows_it_best() {
        let mut talk = conversation();
        talk.link_ended(LinkError::Closed { code: Some(1001), text: "bye".to_owned() });
        let line = "offline: the server closed the connection: 1001 bye; next try in 3 s";
        assert_eq!(told(&mut talk, changed(waiting())), [line]);
        let taken_over = ConnectionState::Closed(ClosedReason::TakenOver);
        assert!(told(&mut talk, changed(taken_over))[0].starts_with("taken over: "));
    }
}
