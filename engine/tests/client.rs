//! What a client does, in the words of a chat.
// A panic is how a test fails, in its helpers too; numbers here are small.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm
)]

use std::time::Duration;

use bytes::Bytes;
use switchboard_engine::{
    Body, Client, ClientAction, ClientConfig, ClientEvent, ClosedReason, ConnectionState, DropReason, Frame,
    GroupId, Incoming, IncomingKind, Instant, LinkId, LossCause, Notification, Outgoing, Scope, SendError,
    SendId, SignalKind, Target, UserId,
};
use switchboard_proto::{Message as _, classic::Message};

/// Alice's client, its driver, and everything that the client asked for.
struct Alice {
    client: Client,
    now: Instant,
    /// Frames handed over, in order, flushed ones included.
    frames: Vec<(LinkId, Frame)>,
    /// How many of `frames` are flushed, or lost with their link.
    done: usize,
    notes: Vec<Notification>,
    /// All other actions.
    orders: Vec<ClientAction>,
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn config() -> ClientConfig {
    ClientConfig { username: "Alice".into(), avatar: "alice.png".into(), ..ClientConfig::new(user("alice")) }
}

fn text(words: &str) -> Outgoing {
    Outgoing::Message { to: Target::User(user("bob")), body: Body::Text(words.into()) }
}

fn signal(kind: SignalKind, content: &str) -> Outgoing {
    Outgoing::Signal { to: Some(user("bob")), kind, content: content.into() }
}

fn wire(message: &Message) -> Bytes {
    message.encode_to_vec().into()
}

fn from_bob(words: &str) -> Message {
    Message {
        from: "bob".into(),
        from_username: "Bob".into(),
        to: "alice".into(),
        content: words.into(),
        content_type: 1,
        message_type: 1,
        ..Message::default()
    }
}

impl Alice {
    fn new(config: ClientConfig) -> Self {
        config.validate().unwrap();
        Self {
            client: Client::new(config, 7, Instant::ZERO),
            now: Instant::ZERO,
            frames: Vec::new(),
            done: 0,
            notes: Vec::new(),
            orders: Vec::new(),
        }
    }

    fn online(config: ClientConfig) -> Self {
        let mut alice = Self::new(config);
        alice.connect();
        alice.open();
        alice.notes.clear();
        alice
    }

    fn drain(&mut self) {
        while let Some(action) = self.client.poll_action() {
            match action {
                ClientAction::Send { link, frame } => self.frames.push((link, frame)),
                ClientAction::Notify(note) => self.notes.push(note),
                order @ (ClientAction::Connect { .. }
                | ClientAction::Close { .. }
                | ClientAction::Abort { .. }) => self.orders.push(order),
            }
        }
    }

    fn connect(&mut self) {
        self.client.connect(self.now);
        self.drain();
    }

    fn close(&mut self) {
        self.client.close(self.now);
        self.drain();
    }

    fn send(&mut self, outgoing: Outgoing) -> Result<SendId, SendError> {
        let sent = self.client.send(self.now, outgoing);
        self.drain();
        sent
    }

    fn happens(&mut self, event: ClientEvent) {
        self.client.handle(self.now, event);
        self.drain();
    }

    /// The link dialled last.
    fn link(&self) -> LinkId {
        let mut dialled =
            self.orders.iter().rev().filter_map(|order| {
                if let ClientAction::Connect { link } = order { Some(*link) } else { None }
            });
        dialled.next().expect("a dialled link")
    }

    fn open(&mut self) {
        self.happens(ClientEvent::Opened { link: self.link() });
    }

    fn receives(&mut self, message: &Message) {
        self.happens(ClientEvent::Received { link: self.link(), message: wire(message) });
    }

    fn loses_link(&mut self, close: Option<u16>) {
        self.happens(ClientEvent::Disconnected { link: self.link(), close });
        self.done = self.frames.len();
    }

    fn flush(&mut self, frames: u32) {
        for _ in 0..frames {
            let payload_bytes = self.frames[self.done].1.payload().len() as u64;
            self.done += 1;
            self.happens(ClientEvent::Flushed { link: self.link(), frames: 1, payload_bytes });
        }
    }

    /// Lets time pass, serving every time-out on its way.
    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.client.poll_timeout().filter(|due| *due <= end) {
            self.now = due;
            self.client.handle_timeout(due);
            self.drain();
        }
        self.now = end;
    }

    /// Waits until the next link is dialled; gives the delay.
    fn redials(&mut self) -> Duration {
        let ConnectionState::Waiting { until, .. } = self.client.state() else {
            panic!("not waiting but {:?}", self.client.state());
        };
        let (delay, before) = (until.saturating_since(self.now), self.link());
        self.wait(delay);
        assert_ne!(self.link(), before, "a new name for a new link");
        delay
    }

    /// What was handed over on the current link, decoded.
    fn said(&self) -> Vec<Message> {
        let link = self.link();
        let frames = self.frames.iter().filter(|(on, _)| *on == link);
        frames.map(|(_, frame)| Message::decode(frame.payload().clone()).unwrap()).collect()
    }

    fn words(&self) -> Vec<String> {
        self.said().into_iter().map(|message| message.content).collect()
    }

    fn heard(&self) -> Vec<Incoming> {
        let messages = self.notes.iter().filter_map(|note| {
            if let Notification::Message(message) = note { Some((**message).clone()) } else { None }
        });
        messages.collect()
    }

    fn dropped(&self) -> Vec<(SendId, DropReason)> {
        let drops = self.notes.iter().filter_map(|note| {
            if let Notification::Dropped { id, reason } = note { Some((*id, *reason)) } else { None }
        });
        drops.collect()
    }
}

#[test]
fn nothing_is_dialled_before_the_application_asks() {
    let mut alice = Alice::new(config());
    alice.drain();
    assert_eq!(alice.client.state(), ConnectionState::Closed(ClosedReason::NotStarted));
    assert_eq!(alice.client.poll_timeout(), None);
    assert!(alice.orders.is_empty());
}

#[test]
fn alice_connects_is_welcomed_and_sees_each_state() {
    let mut alice = Alice::new(config());
    alice.connect();
    alice.open();
    alice.receives(&Message { from: "System".into(), ..from_bob("welcome!") });
    assert_eq!(
        alice.notes,
        [
            Notification::StateChanged(ConnectionState::Connecting { failures: 0 }),
            Notification::StateChanged(ConnectionState::Online),
            Notification::Welcomed,
        ]
    );
}

#[test]
fn a_user_who_poses_as_the_greeter_later_is_an_ordinary_sender() {
    let mut alice = Alice::online(config());
    alice.receives(&from_bob("hi"));
    alice.receives(&Message { from: "System".into(), ..from_bob("welcome!") });
    assert_eq!(alice.heard().len(), 2);
    assert!(!alice.notes.contains(&Notification::Welcomed));
}

#[test]
fn messages_wait_while_offline_and_go_out_in_order() {
    let mut alice = Alice::new(config());
    alice.send(text("one")).unwrap();
    alice.connect();
    alice.send(text("two")).unwrap();
    assert!(alice.frames.is_empty());
    alice.open();
    alice.send(text("three")).unwrap();
    assert_eq!(alice.words(), ["one", "two", "three"]);
}

#[test]
fn what_was_not_flushed_goes_out_again_before_newer_messages_and_what_was_flushed_does_not() {
    let mut alice = Alice::online(config());
    let one = alice.send(text("one")).unwrap();
    alice.send(text("two")).unwrap();
    alice.send(text("three")).unwrap();
    alice.flush(1);
    assert_eq!(alice.notes, [Notification::Flushed { id: one }]);
    alice.loses_link(None);
    alice.send(text("four")).unwrap();
    alice.redials();
    alice.open();
    assert_eq!(alice.words(), ["two", "three", "four"]);
    alice.flush(3);
    assert_eq!((alice.client.pending_messages(), alice.client.pending_bytes()), (0, 0));
    assert_eq!(alice.client.stats().requeued, 2);
}

#[test]
fn a_text_is_on_the_wire_as_the_front_end_writes_it() {
    let mut alice = Alice::online(config());
    let group = Target::Group(GroupId::new("team").unwrap());
    alice.send(text("hello")).unwrap();
    alice.send(Outgoing::Message { to: group, body: Body::Text("all".into()) }).unwrap();
    alice.send(Outgoing::Message { to: Target::Everyone, body: Body::Text("you".into()) }).unwrap();
    let hello = Message {
        avatar: "alice.png".into(),
        from_username: "Alice".into(),
        from: "alice".into(),
        to: "bob".into(),
        content: "hello".into(),
        content_type: 1,
        message_type: 1,
        ..Message::default()
    };
    let all = Message { to: "team".into(), content: "all".into(), message_type: 2, ..hello.clone() };
    let you = Message { to: String::new(), content: "you".into(), ..hello.clone() };
    assert_eq!(alice.said(), [hello, all, you]);
}

#[test]
fn an_upload_has_content_type_3_and_a_call_signal_says_webrtc() {
    let mut alice = Alice::online(config());
    let file = Bytes::from_static(b"\x89PNG");
    let body = Body::Upload { caption: "cat.png".into(), suffix: "png".into(), file: file.clone() };
    alice.send(Outgoing::Message { to: Target::User(user("bob")), body }).unwrap();
    alice.send(signal(SignalKind::Dialling(12), "ring")).unwrap();
    let answer = Outgoing::Signal { to: None, kind: SignalKind::Session, content: "{\"sdp\":1}".into() };
    alice.send(answer).unwrap();
    let [upload, ring, answer] = <[Message; 3]>::try_from(alice.said()).unwrap();
    assert_eq!((upload.content_type, &*upload.file_suffix, &*upload.content), (3, "png", "cat.png"));
    assert_eq!(upload.file, file);
    assert_eq!((ring.content_type, &*ring.r#type, &*ring.to), (12, "webrtc", "bob"));
    assert_eq!((answer.content_type, &*answer.r#type, &*answer.to), (0, "webrtc", ""));
}

#[test]
fn what_bob_sends_arrives_typed() {
    let mut alice = Alice::online(config());
    alice.receives(&from_bob("hi"));
    // A group's message comes from the group to its sender.
    alice.receives(&Message { from: "team".into(), to: "bob".into(), message_type: 2, ..from_bob("all") });
    alice.receives(&Message { to: String::new(), ..from_bob("everyone") });
    alice.receives(&Message { content_type: 3, url: "f.png".into(), ..from_bob("cat.png") });
    alice.receives(&Message { content_type: 9, message_type: 2, ..from_bob("jpeg") });
    alice.receives(&Message { content_type: 1, r#type: "webrtc".into(), ..from_bob("sdp") });
    alice.receives(&Message { content_type: 77, ..from_bob("?") });
    let heard = alice.heard();
    assert_eq!((heard[0].sender(), heard[0].group(), heard[0].scope), ("bob", None, Scope::Direct));
    assert_eq!(heard[0].kind, IncomingKind::Text("hi".into()));
    assert_eq!((heard[1].sender(), heard[1].group()), ("bob", Some("team")));
    assert_eq!((heard[2].sender(), heard[2].scope), ("bob", Scope::Everyone));
    assert!(matches!(&heard[3].kind, IncomingKind::Image(m) if m.url == "f.png" && m.caption == "cat.png"));
    assert!(matches!(&heard[4].kind, IncomingKind::Signal { kind: SignalKind::ScreenFrame, .. }));
    assert_eq!(heard[4].sender(), "bob");
    assert!(matches!(&heard[5].kind, IncomingKind::Signal { kind: SignalKind::Other(1), .. }));
    assert!(matches!(&heard[6].kind, IncomingKind::Other { content_type: 77, .. }));
}

#[test]
fn a_silent_link_is_sent_heartbeats_and_then_aborted_and_dialled_again() {
    let mut alice = Alice::online(config());
    let first = alice.link();
    alice.wait(Duration::from_millis(19_999));
    assert!(alice.frames.is_empty());
    alice.wait(Duration::from_millis(1));
    let [beat] = <[Message; 1]>::try_from(alice.said()).unwrap();
    assert_eq!((&*beat.r#type, &*beat.content), ("heatbeat", "ping"));
    alice.wait(Duration::from_millis(24_999));
    assert_eq!(alice.client.state(), ConnectionState::Online);
    alice.now += Duration::from_millis(1);
    alice.client.handle_timeout(alice.now);
    alice.drain();
    assert_eq!(alice.orders.last(), Some(&ClientAction::Abort { link: first }));
    let state = alice.client.state();
    assert!(matches!(state, ConnectionState::Waiting { failures: 1, cause: LossCause::Idle, .. }));
    alice.redials();
}

#[test]
fn any_traffic_is_a_sign_of_life_and_a_heartbeats_answer_is_no_message() {
    let mut alice = Alice::online(config());
    let pong = Message { r#type: "heatbeat".into(), content: "pong".into(), ..Message::default() };
    for n in 1..=10 {
        alice.wait(Duration::from_secs(15));
        alice.happens(ClientEvent::Pinged { link: alice.link(), payload: Bytes::from_static(b"7") });
        alice.flush(1);
        assert_eq!(alice.frames.len(), n);
        alice.wait(Duration::from_secs(15));
        alice.receives(&pong);
    }
    assert!(alice.frames.iter().all(|(_, frame)| *frame == Frame::Pong(Bytes::from_static(b"7"))));
    assert_eq!(alice.client.state(), ConnectionState::Online);
    assert_eq!((alice.client.stats().heartbeats, alice.client.stats().heartbeats_received), (0, 10));
    assert!(alice.heard().is_empty());
}

#[test]
fn a_flood_of_pings_costs_a_bounded_number_of_pongs_and_the_newest_is_answered() {
    let mut alice = Alice::online(config());
    for n in 0..100_u8 {
        alice.happens(ClientEvent::Pinged { link: alice.link(), payload: Bytes::from(vec![n]) });
    }
    assert_eq!(alice.frames.len(), 8);
    alice.flush(8);
    assert_eq!(alice.frames.len(), 16);
    assert_eq!(alice.frames[15].1, Frame::Pong(Bytes::from_static(&[99])));
    assert_eq!(alice.client.stats().pongs_skipped, 84);
}

#[test]
fn a_connection_that_does_not_open_in_time_is_given_up() {
    let mut alice = Alice::new(config());
    alice.connect();
    let first = alice.link();
    alice.wait(Duration::from_secs(10));
    assert!(alice.orders.contains(&ClientAction::Abort { link: first }));
    alice.redials();
    alice.happens(ClientEvent::Opened { link: first });
    assert_eq!(alice.client.state(), ConnectionState::Connecting { failures: 1 });
    assert_eq!(alice.client.stats().stale_events, 1);
}

#[test]
fn delays_double_up_to_the_cap_are_jittered_and_never_zero() {
    let mut alice = Alice::new(config());
    alice.connect();
    let mut delays = Vec::new();
    for failures in 0..20_u32 {
        alice.happens(ClientEvent::ConnectFailed { link: alice.link() });
        let delay = alice.redials();
        let ceiling = Duration::from_secs(60).min(Duration::from_secs(1) * 2_u32.pow(failures));
        assert!((Duration::from_millis(100)..=ceiling).contains(&delay), "{failures}: {delay:?}");
        delays.push(delay);
    }
    delays.dedup();
    assert_eq!(delays.len(), 20, "jitter");
    assert!(delays.iter().max() > Some(&Duration::from_secs(30)), "{delays:?}");
}

#[test]
fn a_server_that_accepts_and_closes_is_dialled_ever_more_slowly_until_a_link_is_stable() {
    let mut alice = Alice::online(config());
    for row in 1..=8 {
        alice.receives(&from_bob("hi"));
        alice.loses_link(Some(1001));
        assert!(matches!(alice.client.state(), ConnectionState::Waiting { failures, .. } if failures == row));
        alice.redials();
        alice.open();
    }
    alice.wait(Duration::from_secs(30));
    alice.receives(&from_bob("still here"));
    alice.loses_link(Some(1001));
    assert!(matches!(alice.client.state(), ConnectionState::Waiting { failures: 1, .. }));
}

#[test]
fn a_link_over_which_nothing_came_is_not_stable_however_long_it_was_up() {
    let mut alice = Alice::online(config());
    alice.loses_link(None);
    alice.redials();
    alice.open();
    alice.wait(Duration::from_secs(40));
    alice.loses_link(None);
    assert!(matches!(alice.client.state(), ConnectionState::Waiting { failures: 2, .. }));
}

#[test]
fn close_codes_say_when_to_come_back() {
    let cap = Duration::from_secs(60);
    for (code, least, most) in [
        (1013, cap / 2, cap),
        (1002, cap, cap),
        (1003, cap, cap),
        (1007, cap, cap),
        (1008, cap, cap),
        (1009, cap, cap),
        (1001, Duration::from_millis(100), Duration::from_secs(1)),
    ] {
        let mut alice = Alice::online(config());
        alice.loses_link(Some(code));
        let delay = alice.redials();
        assert!((least..=most).contains(&delay), "{code}: {delay:?}");
    }
}

#[test]
fn a_device_that_was_taken_over_stops_keeps_its_messages_and_comes_back_when_asked() {
    for (code, reason) in [
        (4000, ClosedReason::TakenOver),
        (4001, ClosedReason::TooManyDevices),
        (4004, ClosedReason::SignedOut),
        (4005, ClosedReason::Banned),
    ] {
        let mut alice = Alice::online(config());
        alice.send(text("one")).unwrap();
        alice.loses_link(Some(code));
        assert_eq!(alice.client.state(), ConnectionState::Closed(reason));
        assert_eq!(alice.client.poll_timeout(), None);
        alice.send(text("two")).unwrap();
        alice.connect();
        alice.open();
        assert_eq!(alice.words(), ["one", "two"]);
    }
}

#[test]
fn late_events_of_an_older_link_change_nothing() {
    let mut alice = Alice::online(config());
    let old = alice.link();
    alice.loses_link(None);
    alice.redials();
    alice.open();
    alice.send(text("one")).unwrap();
    alice.notes.clear();
    for event in [
        ClientEvent::Opened { link: old },
        ClientEvent::ConnectFailed { link: old },
        ClientEvent::Received { link: old, message: wire(&from_bob("late")) },
        ClientEvent::Received { link: old, message: Bytes::from_static(b"\xff\xff") },
        ClientEvent::Pinged { link: old, payload: Bytes::new() },
        ClientEvent::Flushed { link: old, frames: 1, payload_bytes: 9 },
        ClientEvent::Disconnected { link: old, close: Some(4000) },
        ClientEvent::Opened { link: LinkId(99) },
    ] {
        alice.happens(event);
    }
    assert!(alice.notes.is_empty());
    assert_eq!((alice.client.state(), alice.client.pending_messages()), (ConnectionState::Online, 1));
    assert_eq!(alice.client.stats().stale_events, 8);
}

#[test]
fn garbage_from_the_server_closes_the_link_with_1007_and_the_client_comes_back() {
    let mut alice = Alice::online(config());
    let link = alice.link();
    alice.happens(ClientEvent::Received { link, message: Bytes::from_static(b"\xff\xff\xff") });
    assert_eq!(alice.orders.last(), Some(&ClientAction::Close { link, code: 1007 }));
    alice.receives(&from_bob("too late"));
    assert!(alice.heard().is_empty());
    // The server echoes the code; that is no accusation.
    alice.loses_link(Some(1007));
    assert!(alice.redials() <= Duration::from_secs(1));
    assert_eq!((alice.client.stats().undecodable, alice.client.stats().ignored), (1, 1));
}

#[test]
fn a_close_that_takes_too_long_becomes_an_abort() {
    let mut alice = Alice::online(config());
    let link = alice.link();
    alice.close();
    assert_eq!(alice.orders.last(), Some(&ClientAction::Close { link, code: 1000 }));
    assert_eq!(alice.client.state(), ConnectionState::Closing);
    alice.wait(Duration::from_secs(5));
    assert_eq!(alice.orders.last(), Some(&ClientAction::Abort { link }));
    assert_eq!(alice.client.state(), ConnectionState::Closed(ClosedReason::Application));
}

#[test]
fn after_close_sending_is_refused_and_every_message_is_accounted_for() {
    let mut config = config();
    config.limits.window_bytes = 200;
    let mut alice = Alice::online(config);
    for words in ["one", "two", "three"] {
        alice.send(text(words)).unwrap();
    }
    assert_eq!(alice.words(), ["one"], "the window holds one");
    alice.close();
    assert_eq!(alice.dropped(), [(SendId(1), DropReason::Closed), (SendId(2), DropReason::Closed)]);
    assert!(matches!(alice.send(text("four")), Err(SendError::Closed(_))));
    alice.flush(1);
    alice.loses_link(Some(1000));
    assert_eq!((alice.client.stats().flushed, alice.client.pending_messages()), (1, 0));
    alice.connect();
    alice.open();
    alice.send(text("five")).unwrap();
    assert_eq!(alice.words(), ["five"]);
}

#[test]
fn call_signals_are_refused_offline_and_dropped_with_their_link() {
    let mut alice = Alice::new(config());
    let ring = signal(SignalKind::Dialling(10), "ring");
    assert_eq!(alice.send(ring.clone()), Err(SendError::Offline(Box::new(ring.clone()))));
    alice.connect();
    alice.open();
    let id = alice.send(ring).unwrap();
    alice.send(text("are you there?")).unwrap();
    alice.loses_link(None);
    assert_eq!(alice.dropped(), [(id, DropReason::LinkLost)]);
    alice.redials();
    alice.open();
    assert_eq!(alice.words(), ["are you there?"]);
}

#[test]
fn of_the_pictures_of_a_screen_that_wait_only_the_newest_is_kept() {
    let mut config = config();
    config.limits.window_bytes = 1;
    let mut alice = Alice::online(config);
    for picture in ["a", "b", "c"] {
        alice.send(signal(SignalKind::ScreenFrame, picture)).unwrap();
        alice.send(signal(SignalKind::CameraFrame, picture)).unwrap();
    }
    // The first screen picture is with the driver; all others but the last two were replaced.
    assert_eq!(alice.dropped(), [1, 2, 3].map(|n| (SendId(n), DropReason::Superseded)));
    alice.flush(3);
    assert_eq!(alice.words(), ["a", "c", "c"]);
}

#[test]
fn a_full_queue_and_a_message_too_large_give_the_message_back() {
    let mut config = config();
    config.limits.queue_messages = 2;
    config.limits.message_bytes = 2_048;
    let mut alice = Alice::new(config);
    alice.send(text("one")).unwrap();
    alice.send(text("two")).unwrap();
    assert_eq!(alice.send(text("three")), Err(SendError::QueueFull(Box::new(text("three")))));
    let essay = text(&"x".repeat(3_000));
    let error = alice.send(essay.clone()).unwrap_err();
    assert!(matches!(error, SendError::TooLarge { limit_bytes: 2_048, bytes, .. } if bytes > 3_000));
    assert_eq!(error.into_message(), essay);
    assert_eq!((alice.client.stats().accepted, alice.client.stats().refused), (2, 2));
}

#[test]
fn the_queue_is_limited_in_bytes_and_flushing_makes_room() {
    let mut config = config();
    config.limits.message_bytes = 2_048;
    config.limits.queue_bytes = 2_048 + 64;
    let mut alice = Alice::online(config);
    let words = "x".repeat(1_900);
    alice.send(text(&words)).unwrap();
    assert!(matches!(alice.send(text(&words)), Err(SendError::QueueFull(_))));
    alice.flush(1);
    alice.send(text(&words)).unwrap();
}

#[test]
fn a_message_that_the_server_closes_for_every_time_is_dropped_and_the_next_one_goes_out() {
    let mut alice = Alice::online(config());
    let poison = alice.send(text("poison")).unwrap();
    alice.send(text("good")).unwrap();
    for _ in 1..=3 {
        assert!(alice.dropped().is_empty());
        assert_eq!(alice.words(), ["poison", "good"]);
        alice.loses_link(Some(1009));
        alice.redials();
        alice.open();
    }
    assert_eq!(alice.dropped(), [(poison, DropReason::Refused)]);
    assert_eq!(alice.words(), ["good"]);
}

#[test]
fn a_driver_that_reports_nonsense_is_counted_and_harms_nothing() {
    let mut alice = Alice::new(config());
    alice.connect();
    let link = alice.link();
    alice.happens(ClientEvent::Received { link, message: wire(&from_bob("early")) });
    alice.happens(ClientEvent::Pinged { link, payload: Bytes::new() });
    alice.happens(ClientEvent::Flushed { link, frames: 3, payload_bytes: 0 });
    alice.open();
    alice.open();
    alice.happens(ClientEvent::Flushed { link, frames: u32::MAX, payload_bytes: u64::MAX });
    alice.happens(ClientEvent::Pinged { link, payload: Bytes::from(vec![0; 126]) });
    assert_eq!(alice.client.state(), ConnectionState::Online);
    assert_eq!(alice.client.stats().misplaced_events, 6);
}

#[test]
fn a_clock_that_runs_backwards_is_no_time_passing() {
    let mut alice = Alice::online(config());
    alice.wait(Duration::from_secs(10));
    alice.receives(&from_bob("hi"));
    let due = alice.client.poll_timeout();
    alice.now = Instant::ZERO;
    alice.receives(&from_bob("ho"));
    assert_eq!(alice.client.poll_timeout(), due);
}

#[test]
fn a_driver_that_does_not_drain_costs_bounded_memory() {
    let mut config = config();
    config.limits.undrained_actions = 16;
    let mut client = Client::new(config, 7, Instant::ZERO);
    client.connect(Instant::ZERO);
    client.handle(Instant::ZERO, ClientEvent::Opened { link: LinkId(0) });
    for _ in 0..100 {
        let message = wire(&from_bob("hi"));
        client.handle(Instant::ZERO, ClientEvent::Received { link: LinkId(0), message });
    }
    // To connect, two states, and as many messages as there was room for.
    assert_eq!(std::iter::from_fn(|| client.poll_action()).count(), 16);
    assert_eq!(client.stats().undrained_events, 100 - 13);
}
