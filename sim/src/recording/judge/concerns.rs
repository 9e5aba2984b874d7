//! Which steps concern a user.

use switchboard_engine::{Audience, Event, Note, OwnedAction, Recipient, Record, Request, Topic, Whose};

use super::{Cause, Judge, conn_of};

impl Judge {
    /// Whether a step that was just looked at concerns a user: it is of one of its connections, about it, or leads to something for
    /// it.
    #[must_use]
    pub fn concerns(&self, user: &str, cause: &Cause, actions: &[OwnedAction]) -> bool {
        let of_event = match cause {
            Cause::Event(event) => self.event_concerns(user, event),
            Cause::Timeout => false,
        };
        of_event || actions.iter().any(|action| self.action_concerns(user, action))
    }

    fn event_concerns(&self, user: &str, event: &Event) -> bool {
        if let Some(conn) = conn_of(event) {
            return self.is_of(user, conn)
                || matches!(event, Event::Connected { user: of, .. } if of.as_str() == user);
        }
        match event {
            Event::Answered { .. } => self.answered().is_some_and(|request| request_concerns(user, request)),
            Event::Published(Record { topic, .. }) | Event::Told(Note { topic, .. }) => {
                topic_concerns(user, topic)
            }
            Event::DirectoryChanged(change) => change.user.as_str() == user,
            Event::Revoked { whose: Whose::User(of), .. }
            | Event::Announced { to: Audience::User(of), .. } => of.as_str() == user,
            Event::Revoked { whose: Whose::Connection(conn), .. } => self.is_of(user, *conn),
            Event::Announced { to: Audience::Everyone, .. } | Event::Shutdown => true,
            Event::Connected { .. }
            | Event::Received { .. }
            | Event::Ping { .. }
            | Event::Pong { .. }
            | Event::Misbehaved { .. }
            | Event::PeerClosed { .. }
            | Event::Flushed { .. }
            | Event::Disconnected { .. } => false,
        }
    }

    fn action_concerns(&self, user: &str, action: &OwnedAction) -> bool {
        match action {
            OwnedAction::Send { to, .. } => to.iter().any(|conn| self.is_of(user, *conn)),
            OwnedAction::Close { conn, .. } | OwnedAction::Abort { conn } => self.is_of(user, *conn),
            OwnedAction::Request { request, .. } => request_concerns(user, request),
            OwnedAction::Publish(Record { topic, .. }) | OwnedAction::Tell(Note { topic, .. }) => {
                topic_concerns(user, topic)
            }
            OwnedAction::Subscribe(topic) | OwnedAction::Unsubscribe(topic) => topic_concerns(user, topic),
            OwnedAction::Stopped => false,
        }
    }

    fn is_of(&self, user: &str, conn: switchboard_engine::ConnId) -> bool {
        self.user(conn).is_some_and(|of| of.as_str() == user)
    }
}

fn topic_concerns(user: &str, topic: &Topic) -> bool {
    match topic {
        Topic::User(of) | Topic::Presence(of) => of.as_str() == user,
        Topic::Everyone | Topic::Group(_) => false,
    }
}

fn request_concerns(user: &str, request: &Request) -> bool {
    let is = |of: &switchboard_engine::UserId| of.as_str() == user;
    match request {
        Request::LoadUser(of)
        | Request::LoadHeads { user: of, .. }
        | Request::StoreSeen(of)
        | Request::LoadUnreceived { user: of, .. } => is(of),
        Request::StoreMessage(new) => {
            is(&new.sender) || matches!(&new.recipient, Recipient::User(to) if is(to))
        }
        Request::StoreFile(upload) => is(&upload.owner),
        Request::LoadMessages(range) => is(&range.reader),
        Request::StoreMarks(marks) => is(&marks.user),
        Request::LoadSeen { watcher, user } => is(watcher) || is(user),
        Request::StoreReceived(received) => is(&received.user),
    }
}
