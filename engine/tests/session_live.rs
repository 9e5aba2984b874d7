//! What a session does about who is here, and about calls.
// A panic is how a test fails, in its helpers too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::wildcard_enum_match_arm)]

use std::time::Duration;

use switchboard_engine::{
    CallError, CallId, ClientAction, ClientEvent, Frame, Instant, LinkId, Resume, Session, SessionConfig,
    SessionNotification as Note, UserId, WatchError,
};
use switchboard_proto::{
    Message as _,
    v1::{
        self,
        call::{End, Kind},
        client_frame::Body as Said,
        server_frame::Body as Says,
    },
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

const FIRST: CallId = CallId([1; 16]);

/// What the server says of the call of this number with Bob.
fn says(number: u8, kind: Kind) -> Says {
    let (call_id, kind) = (vec![number; 16].into(), kind.into());
    Says::Call(v1::Call { call_id, user: "bob".into(), kind, ..v1::Call::default() })
}

fn over(number: u8, end: End) -> Says {
    let Says::Call(call) = says(number, Kind::HangUp) else { panic!("a call") };
    Says::Call(v1::Call { end: end.into(), ..call })
}

fn signalled(number: u8, payload: &'static [u8]) -> Says {
    let Says::Call(call) = says(number, Kind::Signal) else { panic!("a call") };
    Says::Call(v1::Call { payload: payload.into(), ..call })
}

impl Alice {
    fn in_calls() -> Self {
        Self::online(config(), v1::Limits::default())
    }

    fn does(
        &mut self,
        what: impl FnOnce(&mut Session, Instant) -> Result<(), CallError>,
    ) -> Result<(), CallError> {
        let done = what(&mut self.session, self.now);
        self.drain();
        done
    }

    fn rings(&mut self, id: CallId) -> Result<(), CallError> {
        self.does(|session, now| session.ring(now, id, user("bob"), true))
    }

    /// What was said of calls over this link, in short; taken.
    fn said_of_calls(&mut self) -> Vec<String> {
        let call = |said| match said {
            Said::Call(call) => format!("{} {}", call.call_id[0], call.kind().as_str_name()),
            other => panic!("{other:?}"),
        };
        self.said.drain(..).map(call).collect()
    }

    /// What the application was told of calls, in short; taken.
    fn news(&mut self) -> Vec<String> {
        let news = |note| match note {
            Note::Call { id, user, news } => format!("{} {user}: {news:?}", id.0[0]),
            other => panic!("{other:?}"),
        };
        self.notes.drain(..).map(news).collect()
    }
}

#[test]
fn a_call_of_this_device_is_accepted_carries_signals_and_ends_once() {
    let mut alice = Alice::in_calls();
    alice.rings(FIRST).unwrap();
    let early = alice.does(|session, now| session.signal(now, FIRST, "early".into()));
    assert_eq!(early, Err(CallError::NoSuchCall));
    alice.hears(says(1, Kind::Accept));
    alice.hears(says(1, Kind::Accept));
    alice.does(|session, now| session.signal(now, FIRST, "offer".into())).unwrap();
    alice.hears(signalled(1, b"answer"));
    alice.hears(over(1, End::HungUp));
    alice.hears(over(1, End::HungUp));
    alice.hears(signalled(1, b"late"));
    assert_eq!(alice.said_of_calls(), ["1 KIND_RING", "1 KIND_SIGNAL"]);
    let told = ["1 bob: Accepted", "1 bob: Signal(b\"answer\")", "1 bob: Ended(HungUp)"];
    assert_eq!((alice.news(), alice.session.stats().unasked), (told.map(String::from).to_vec(), 2));
}

#[test]
fn a_call_that_rings_is_taken_once_the_server_says_so() {
    let mut alice = Alice::in_calls();
    alice.hears(says(1, Kind::Ring));
    alice.does(|session, now| session.accept_call(now, FIRST)).unwrap();
    assert_eq!(alice.does(|session, now| session.accept_call(now, FIRST)), Err(CallError::NoSuchCall));
    assert_eq!(alice.news(), ["1 bob: Rings { video: false }"]);
    alice.hears(says(1, Kind::Accept));
    assert_eq!(alice.news(), ["1 bob: Accepted"]);
    alice.hears(says(2, Kind::Ring));
    alice.does(|session, now| session.accept_call(now, CallId([2; 16]))).unwrap();
    alice.hears(over(2, End::Elsewhere));
    assert_eq!(alice.news(), ["2 bob: Rings { video: false }", "2 bob: Ended(Elsewhere)"]);
    assert_eq!(alice.said_of_calls(), ["1 KIND_ACCEPT", "2 KIND_ACCEPT"]);
}

#[test]
fn what_is_ended_here_is_over_at_once_and_stays_so() {
    let mut alice = Alice::in_calls();
    for number in [1, 2] {
        alice.hears(says(number, Kind::Ring));
        alice.does(|session, now| session.hang_up(now, CallId([number; 16]))).unwrap();
        alice.hears(over(number, End::Declined));
    }
    assert_eq!(alice.said_of_calls(), ["1 KIND_DECLINE", "2 KIND_DECLINE"]);
    let told = alice.news();
    assert_eq!(told.len(), 4);
    assert_eq!(told[1], "1 bob: Ended(Declined)");
    // Ended while there is no connection: the server hears of it when it speaks of the call again.
    alice.rings(CallId([3; 16])).unwrap();
    alice.hears(says(3, Kind::Accept));
    alice.session.handle(alice.now, ClientEvent::Disconnected { link: alice.link, close: None });
    alice.drain();
    assert_eq!(alice.rings(CallId([4; 16])), Err(CallError::NotConnected));
    alice.does(|session, now| session.hang_up(now, CallId([3; 16]))).unwrap();
    assert_eq!(alice.news(), ["3 bob: Accepted", "3 bob: Ended(HungUp)"]);
    alice.wait(Duration::from_secs(60));
    alice.is_welcomed(v1::Limits::default());
    alice.hears(says(3, Kind::Accept));
    assert_eq!((alice.said_of_calls(), alice.news()), (vec!["3 KIND_HANG_UP".into()], vec![]));
}

#[test]
fn after_a_reconnection_calls_go_on_or_end_as_the_server_says() {
    let mut alice = Alice::in_calls();
    for number in 1..=4 {
        alice.hears(says(number, Kind::Ring));
    }
    for number in [1, 2] {
        alice.does(|session, now| session.accept_call(now, CallId([number; 16]))).unwrap();
    }
    alice.hears(says(1, Kind::Accept));
    alice.news();
    alice.session.handle(alice.now, ClientEvent::Disconnected { link: alice.link, close: None });
    alice.drain();
    alice.wait(Duration::from_secs(60));
    alice.session.handle(alice.now, ClientEvent::Opened { link: alice.link });
    alice.drain();
    alice.hears(Says::Welcome(v1::Welcome { user: "alice".into(), ..v1::Welcome::default() }));
    for (number, kind) in [(1, Kind::Accept), (2, Kind::Ring), (3, Kind::Ring)] {
        alice.hears(says(number, kind));
    }
    alice.hears(Says::Heads(v1::Heads { heads: Vec::new(), last: true }));
    alice.notes.retain(|note| !matches!(note, Note::CaughtUp));
    assert_eq!(alice.news(), ["4 bob: Ended(Lost)"]);
    assert_eq!(alice.said_of_calls(), ["2 KIND_ACCEPT"], "which the server had not heard");
    alice.session.close(alice.now);
    alice.drain();
    assert_eq!(alice.news().len(), 3, "all end with the connection");
}

#[test]
fn a_call_of_a_process_that_has_died_does_not_ring_at_the_next_one() {
    let mut alice = Alice::in_calls();
    let Says::Call(call) = says(1, Kind::Ring) else { panic!("a call") };
    alice.hears(Says::Call(v1::Call { outgoing: true, ..call }));
    assert_eq!((alice.said_of_calls(), alice.news()), (vec!["1 KIND_HANG_UP".into()], vec![]));
}

#[test]
fn calls_and_their_signals_are_bounded() {
    let mut own = config();
    (own.limits.calls, own.limits.call_frames) = (1, 2);
    let mut alice = Alice::online(own, v1::Limits::default());
    alice.rings(FIRST).unwrap();
    assert_eq!(alice.rings(FIRST), Err(CallError::NoSuchCall), "the id is used");
    assert_eq!(alice.rings(CallId([2; 16])), Err(CallError::TooMany));
    alice.hears(says(3, Kind::Ring));
    alice.hears(says(1, Kind::Accept));
    let large = vec![0; (64 << 10) + 1];
    assert_eq!(alice.does(|session, now| session.signal(now, FIRST, large.into())), Err(CallError::TooLarge));
    for expected in [Ok(()), Ok(()), Err(CallError::TooMany)] {
        assert_eq!(alice.session.signal(alice.now, FIRST, "x".into()), expected);
    }
    assert_eq!(alice.news(), ["1 bob: Accepted"]);
    // What the server says of calls that makes no sense is counted.
    alice.hears(Says::Call(v1::Call { call_id: vec![9].into(), user: "bob".into(), ..v1::Call::default() }));
    alice.hears(Says::Call(v1::Call { call_id: vec![9; 16].into(), ..v1::Call::default() }));
    assert_eq!((alice.session.stats().protocol_errors, alice.session.stats().unfollowed), (2, 1));
}

#[test]
fn a_server_that_speaks_of_calls_and_takes_no_answers_fills_no_queue() {
    let mut own = config();
    own.limits.call_frames = 4;
    let slow = v1::Limits { messages_per_second: 10, message_burst: 1, ..v1::Limits::default() };
    let mut alice = Alice::online(own, slow);
    for number in 0..200 {
        let Says::Call(call) = says(number, Kind::Ring) else { panic!("a call") };
        alice.hears(Says::Call(v1::Call { outgoing: true, ..call }));
        alice.hears(says(number, Kind::Accept));
        // One that rings here, and is declined at once.
        let id = vec![number; 15].into_iter().chain([255]).collect::<Vec<_>>();
        let Says::Call(call) = says(number, Kind::Ring) else { panic!("a call") };
        alice.hears(Says::Call(v1::Call { call_id: id.clone().into(), ..call }));
        let _ = alice.does(|session, now| session.hang_up(now, CallId(id.try_into().unwrap())));
    }
    let dropped = alice.session.stats().unfollowed;
    assert!(dropped > 500, "{dropped}");
    assert_eq!(alice.rings(FIRST), Err(CallError::TooMany));
    alice.wait(Duration::from_secs(10));
    let said = alice.said_of_calls().len() as u64;
    assert_eq!(said + dropped, 600, "what was not said was counted");
}
