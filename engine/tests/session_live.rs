//! What a session does about who is here.
// A panic is how a test fails, in its helpers too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::wildcard_enum_match_arm)]

use std::time::Duration;

use switchboard_engine::{
    ClientAction, ClientEvent, Frame, Instant, LinkId, Resume, Session, SessionConfig,
    SessionNotification as Note, UserId, WatchError,
};
use switchboard_proto::{
    Message as _,
    v1::{self, client_frame::Body as Said, server_frame::Body as Says},
};

/// Alice's session and its driver.
struct Alice {
    session: Session,
    now: Instant,
    link: LinkId,
    /// What was said over the current link, but for the greeting.
    said: Vec<Said>,
    /// What the application was told, but for states.
    notes: Vec<Note>,
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn users(names: &[&str]) -> Vec<UserId> {
    names.iter().map(|name| user(name)).collect()
}

fn config() -> SessionConfig {
    SessionConfig::new(user("alice"))
}

impl Alice {
    fn online(config: SessionConfig, limits: v1::Limits) -> Self {
        config.validate().unwrap();
        let session = Session::new(config, 7, Instant::ZERO, Resume::default());
        let (now, link) = (Instant::ZERO, LinkId(u64::MAX));
        let mut alice = Self { session, now, link, said: Vec::new(), notes: Vec::new() };
        alice.session.connect(now);
        alice.drain();
        alice.is_welcomed(limits);
        alice
    }

    fn is_welcomed(&mut self, limits: v1::Limits) {
        self.session.handle(self.now, ClientEvent::Opened { link: self.link });
        self.drain();
        self.hears(Says::Welcome(v1::Welcome {
            user: "alice".into(),
            limits: Some(limits),
            ..Default::default()
        }));
        self.hears(Says::Heads(v1::Heads { heads: Vec::new(), last: true }));
        self.notes.retain(|note| !matches!(note, Note::CaughtUp));
    }

    fn drain(&mut self) {
        while let Some(action) = self.session.poll_action() {
            match action {
                ClientAction::Connect { link } => {
                    self.link = link;
                    self.said.clear();
                }
                ClientAction::Send { link, frame } => {
                    let payload_bytes = frame.payload().len() as u64;
                    if let Frame::Message(payload) = frame {
                        let body = v1::ClientFrame::decode(payload).unwrap().body.unwrap();
                        if !matches!(body, Said::Hello(_)) {
                            self.said.push(body);
                        }
                    }
                    self.session.handle(self.now, ClientEvent::Flushed { link, frames: 1, payload_bytes });
                }
                ClientAction::Notify(Note::StateChanged(_)) => {}
                ClientAction::Notify(note) => self.notes.push(note),
                ClientAction::Close { .. } | ClientAction::Abort { .. } => {}
            }
        }
    }

    fn hears(&mut self, body: Says) {
        let message = v1::ServerFrame { body: Some(body) }.encode_to_vec().into();
        self.session.handle(self.now, ClientEvent::Received { link: self.link, message });
        self.drain();
    }

    /// The link is lost, and the next one is up as soon as may be.
    fn reconnects(&mut self, limits: v1::Limits) {
        self.session.handle(self.now, ClientEvent::Disconnected { link: self.link, close: None });
        self.wait(Duration::from_secs(60));
        self.is_welcomed(limits);
    }

    fn wait(&mut self, time: Duration) {
        let (end, link) = (self.now + time, self.link);
        while let Some(due) = self.session.poll_timeout().filter(|due| *due <= end && self.link == link) {
            self.now = due;
            self.session.handle_timeout(due);
            self.drain();
        }
    }

    fn watches(&mut self, names: &[&str]) {
        self.session.watch(self.now, &users(names)).unwrap();
        self.drain();
    }

    /// The users of the Watch frames said, taken.
    fn watched(&mut self) -> Vec<Vec<String>> {
        let watch = |said| match said {
            Said::Watch(watch) => watch.users,
            other => panic!("{other:?}"),
        };
        self.said.drain(..).map(watch).collect()
    }
}

fn presence(user: &str, online: bool, last_seen_ms: i64) -> Says {
    Says::Presence(v1::Presence { user: user.into(), online, last_seen_ms })
}

#[test]
fn who_is_watched_is_named_to_the_server_and_again_after_every_reconnection() {
    let mut alice = Alice::online(config(), v1::Limits::default());
    assert!(alice.watched().is_empty(), "nobody is watched: there is nothing to say");
    alice.watches(&["bob", "carol"]);
    assert_eq!(alice.watched(), [["bob", "carol"]]);
    alice.reconnects(v1::Limits::default());
    assert_eq!(alice.watched(), [["bob", "carol"]]);
    alice.watches(&[]);
    assert_eq!(alice.watched(), [[""; 0]]);
    alice.reconnects(v1::Limits::default());
    assert!(alice.watched().is_empty());
}

#[test]
fn the_application_is_told_of_who_is_watched_and_of_nobody_else() {
    let mut alice = Alice::online(config(), v1::Limits::default());
    alice.watches(&["bob"]);
    alice.hears(presence("bob", true, 0));
    alice.hears(presence("bob", false, 9_000));
    alice.hears(presence("carol", true, 0));
    let told = |online, last_seen_ms| Note::Presence { user: user("bob"), online, last_seen_ms };
    assert_eq!(alice.notes, [told(true, None), told(false, Some(9_000))]);
    assert_eq!(alice.session.stats().unasked, 1);
    alice.hears(presence("", true, 0));
    assert_eq!(alice.session.stats().protocol_errors, 1);
}

#[test]
fn no_more_are_named_than_either_side_allows() {
    let mut own = config();
    own.limits.watches = 2;
    let mut alice = Alice::online(own, v1::Limits { watches: 1, ..v1::Limits::default() });
    let too_many = alice.session.watch(alice.now, &users(&["a", "b", "c"]));
    assert_eq!(too_many, Err(WatchError::TooMany { limit: 2 }));
    alice.watches(&["a", "b"]);
    assert_eq!(alice.watched(), [["a"]]);
    alice.reconnects(v1::Limits { message_bytes: 1_024, ..v1::Limits::default() });
    assert_eq!(alice.watched(), [["a", "b"]]);
}
