//! A session and a server that says anything at all.
// A panic is how a test fails, in its helpers too; numbers here are small.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use switchboard_engine::{
    CallId, CallNews, ClientAction, ClientEvent, Content, Instant, LinkId, Marks, MessageId, Recipient,
    Resume, Session, SessionConfig, SessionNotification, SessionState, UserId,
};
use switchboard_proto::{
    Message as _,
    v1::{self, conversation::Peer, server_frame::Body},
};

const PEERS: [&str; 3] = ["bob", "carol", "dave"];

/// Users whom the application may watch, and calls that it may have at a time.
const WATCHES: u32 = 2;
const CALLS: u32 = 2;

#[derive(Clone, Debug)]
enum Step {
    Says(Box<Body>),
    Bytes(Vec<u8>),
    Submit { number: u8, peer: usize },
    Older { peer: usize, before: u64 },
    Read { peer: usize, seq: u64 },
    Types { peer: usize, types: bool },
    Live(Live),
    Open,
    Drop { close: Option<u16> },
    Wait { ms: u64 },
    TimeOut,
}

/// What an application says that is not stored.
#[derive(Clone, Copy, Debug)]
enum Live {
    Watch { from: usize, count: usize },
    Ring { number: u8, peer: usize },
    Accept { number: u8 },
    HangUp { number: u8 },
    Signal { number: u8 },
}

fn conversation() -> impl Strategy<Value = Option<v1::Conversation>> {
    prop_oneof![
        30 => prop::sample::select(&PEERS[..])
            .prop_map(|peer| Some(v1::Conversation { peer: Some(Peer::User(peer.into())) })),
        1 => Just(None),
        1 => Just(Some(v1::Conversation { peer: Some(Peer::Group(String::new())) })),
    ]
}

fn seq() -> impl Strategy<Value = u64> {
    prop_oneof![40 => 0..9_u64, 1 => any::<u64>(), 1 => Just(u64::MAX)]
}

fn id() -> impl Strategy<Value = Bytes> {
    prop_oneof![20 => (0..6_u8).prop_map(|number| Bytes::from(vec![number; 16])), 1 => Just(Bytes::new())]
}

fn delivery() -> impl Strategy<Value = v1::Delivery> {
    let from = prop::sample::select(&["alice", "bob", "carol"][..]);
    (conversation(), 0..4_u64, seq(), id(), from).prop_map(|(conversation, epoch, seq, message_id, from)| {
        let content = Some(v1::Content::default());
        v1::Delivery { conversation, epoch, seq, message_id, from: from.into(), content, stored_at_ms: 0 }
    })
}

fn page() -> impl Strategy<Value = v1::Page> {
    let name = prop_oneof![Just(String::new()), "[a-c]{1,3}", ".{0,300}"];
    (0..12_u64, conversation(), 0..4_u64, vec(delivery(), 0..5), seq(), seq(), 0..10_u8, name).prop_map(
        |(fetch_id, conversation, epoch, mut messages, head_seq, first_seq, spoiled, group_name)| {
            // Mostly places in a row, or hardly any page would be taken.
            if spoiled > 0 {
                let first = messages.first().map_or(1, |message| message.seq.clamp(1, 100));
                (first..).zip(&mut messages).for_each(|(seq, message)| message.seq = seq);
            }
            v1::Page { fetch_id, conversation, epoch, messages, head_seq, first_seq, group_name }
        },
    )
}

fn head() -> impl Strategy<Value = v1::Head> {
    (conversation(), 0..4_u64, seq(), seq(), marks(), marks()).prop_map(
        |(conversation, epoch, seq, first_seq, own, peer)| v1::Head {
            conversation,
            epoch,
            seq,
            first_seq,
            own,
            peer,
        },
    )
}

fn marks() -> impl Strategy<Value = Option<v1::Marks>> {
    prop::option::of(
        (seq(), seq()).prop_map(|(delivered_seq, read_seq)| v1::Marks { delivered_seq, read_seq }),
    )
}

/// Of any kind, also such as there are not.
fn call() -> impl Strategy<Value = v1::Call> {
    let kind = prop_oneof![8 => 1..6_i32, 1 => -1..9_i32];
    let end = prop_oneof![6 => Just(0), 2 => -1..11_i32];
    let user = prop::sample::select(&["bob", "bob", "carol", "alice", ""][..]);
    (id(), user, kind, any::<bool>(), end, prop::bool::weighted(0.2)).prop_map(
        |(call_id, user, kind, video, end, outgoing)| v1::Call {
            call_id,
            user: user.into(),
            kind,
            video,
            payload: Bytes::from_static(b"x"),
            end,
            outgoing,
        },
    )
}

fn presence() -> impl Strategy<Value = v1::Presence> {
    let user = prop::sample::select(&["alice", "bob", "carol", "dave", ""][..]);
    let presence = (user, any::<bool>(), prop_oneof![Just(0), any::<i64>()]);
    presence.prop_map(|(user, online, last_seen_ms)| v1::Presence { user: user.into(), online, last_seen_ms })
}

fn says() -> impl Strategy<Value = Body> {
    let limits = (0..4_u32, 0..4_u32, 0..4_u32, 0..40_u32).prop_map(|(pending, fetches, cursors, rate)| {
        v1::Limits { pending, fetches, cursors, messages_per_second: rate, ..v1::Limits::default() }
    });
    let welcome = (limits, any::<u32>(), 0..70_000_u32).prop_map(|(limits, heartbeat, resync)| v1::Welcome {
        user: "alice".into(),
        heartbeat_interval_ms: heartbeat,
        resync_interval_ms: resync,
        limits: Some(limits),
        ..v1::Welcome::default()
    });
    let rejected = (id(), -1..7_i32);
    prop_oneof![
        2 => welcome.prop_map(Body::Welcome),
        10 => delivery().prop_map(Body::Delivery),
        14 => page().prop_map(Body::Page),
        8 => (vec(head(), 0..4), any::<bool>()).prop_map(|(heads, last)| Body::Heads(v1::Heads { heads, last })),
        6 => (id(), conversation(), 0..4_u64, seq()).prop_map(|(message_id, conversation, epoch, seq)| {
            Body::Accepted(v1::Accepted { message_id, conversation, epoch, seq, stored_at_ms: 0 })
        }),
        4 => rejected.prop_map(|(message_id, code)| {
            Body::Rejected(v1::Rejected { message_id, code, text: String::new() })
        }),
        4 => (0..12_u64, -1..7_i32).prop_map(|(fetch_id, code)| {
            Body::Unfetched(v1::Unfetched { fetch_id, code, text: String::new() })
        }),
        6 => (conversation(), 0..4_u64, prop::sample::select(&["alice", "bob", "carol", ""][..]), marks())
            .prop_map(|(conversation, epoch, user, marks)| {
                Body::Marked(v1::Marked { conversation, epoch, user: user.into(), marks })
            }),
        6 => (conversation(), any::<bool>(), prop::sample::select(&["alice", "bob", "carol", ""][..])).prop_map(
            |(conversation, typing, user)| {
                Body::Typing(v1::Typing { conversation, typing, user: user.into() })
            }
        ),
        6 => presence().prop_map(Body::Presence),
        12 => call().prop_map(Body::Call),
        1 => (0..5_u64).prop_map(|nonce| Body::Heartbeat(v1::Heartbeat { nonce })),
        1 => (any::<u32>(), any::<u32>()).prop_map(|(after, spread)| {
            let (reconnect_after_ms, reconnect_spread_ms) = (after, spread);
            Body::Goodbye(v1::Goodbye { text: String::new(), reconnect_after_ms, reconnect_spread_ms })
        }),
    ]
}

fn live() -> impl Strategy<Value = Live> {
    prop_oneof![
        2 => (0..3_usize, 0..4_usize).prop_map(|(from, count)| Live::Watch { from, count }),
        3 => (0..6_u8, 0..3_usize).prop_map(|(number, peer)| Live::Ring { number, peer }),
        3 => (0..6_u8).prop_map(|number| Live::Accept { number }),
        3 => (0..6_u8).prop_map(|number| Live::HangUp { number }),
        3 => (0..6_u8).prop_map(|number| Live::Signal { number }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        60 => says().prop_map(|body| Step::Says(Box::new(body))),
        1 => vec(any::<u8>(), 0..20).prop_map(Step::Bytes),
        6 => (0..6_u8, 0..3_usize).prop_map(|(number, peer)| Step::Submit { number, peer }),
        2 => (0..3_usize, seq()).prop_map(|(peer, before)| Step::Older { peer, before }),
        4 => (0..3_usize, seq()).prop_map(|(peer, seq)| Step::Read { peer, seq }),
        3 => (0..3_usize, any::<bool>()).prop_map(|(peer, types)| Step::Types { peer, types }),
        14 => live().prop_map(Step::Live),
        12 => Just(Step::Open),
        1 => prop::option::of(1000..4010_u16).prop_map(|close| Step::Drop { close }),
        3 => (0..60_000_u64).prop_map(|ms| Step::Wait { ms }),
        8 => Just(Step::TimeOut),
    ]
}

struct World {
    session: Session,
    now: Instant,
    link: Option<LinkId>,
    submitted: BTreeSet<MessageId>,
    /// Told to wait, and without a fate.
    delayed: BTreeSet<MessageId>,
    /// Epoch and place of what was told or skipped last, since the last Reset.
    cursors: BTreeMap<String, (u64, u64)>,
    /// The marks told last, with their epoch.
    marks: BTreeMap<(String, bool), (u64, Marks)>,
    typing: BTreeSet<String>,
    /// Whom the application wants to be told of.
    watched: BTreeSet<String>,
    /// The calls that it has begun or was told of, and how far they are.
    calls: BTreeMap<CallId, Stage>,
}

/// How far a call is, as its application knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Begun,
    Rings,
    Taken,
    On,
}

impl World {
    fn run(&mut self, step: &Step) {
        match step {
            Step::Live(live) => self.lives(*live),
            Step::Says(body) => {
                self.hears(v1::ServerFrame { body: Some((**body).clone()) }.encode_to_vec().into());
            }
            Step::Bytes(bytes) => self.hears(bytes.clone().into()),
            Step::Submit { number, peer } => {
                let (id, to) =
                    (MessageId([*number; 16]), Recipient::User(UserId::new(PEERS[*peer]).unwrap()));
                let fresh = self.submitted.insert(id);
                let submitted = self.session.submit(self.now, id, to, Content::text("x"));
                assert_eq!(submitted.is_ok(), fresh);
            }
            Step::Older { peer, before } => {
                let with = Recipient::User(UserId::new(PEERS[*peer]).unwrap());
                let _ = self.session.fetch_older(self.now, with, *before, 2);
            }
            Step::Read { peer, seq } => {
                let with = Recipient::User(UserId::new(PEERS[*peer]).unwrap());
                let _ = self.session.mark_read(self.now, &with, *seq);
            }
            Step::Types { peer, types } => {
                let with = Recipient::User(UserId::new(PEERS[*peer]).unwrap());
                let _ = self.session.typing(self.now, with, *types);
            }
            Step::Open => {
                self.session.connect(self.now);
                self.drain();
                if let Some(link) = self.link
                    && matches!(self.session.state(), SessionState::Connecting { .. })
                {
                    self.session.handle(self.now, ClientEvent::Opened { link });
                    self.drain();
                    let welcome = v1::Welcome { user: "alice".into(), ..v1::Welcome::default() };
                    if self.session.state() == SessionState::Greeting {
                        self.hears(
                            v1::ServerFrame { body: Some(Body::Welcome(welcome)) }.encode_to_vec().into(),
                        );
                    }
                }
            }
            Step::Drop { close } => {
                if let Some(link) = self.link.take() {
                    self.session.handle(self.now, ClientEvent::Disconnected { link, close: *close });
                }
            }
            Step::Wait { ms } => {
                self.now += Duration::from_millis(*ms);
                self.time_out();
            }
            Step::TimeOut => {
                self.now = self.session.poll_timeout().map_or(self.now, |due| due.max(self.now));
                self.time_out();
            }
        }
        self.drain();
        let stats = self.session.stats();
        let ended = stats.accepted + stats.rejected + stats.rejected_locally;
        assert_eq!(stats.submitted, ended + self.session.pending_submits() as u64, "accounting");
        assert_eq!(self.submitted.len(), self.session.pending_submits());
        assert_eq!(stats.misplaced_events, 0);
        assert!(self.calls.len() <= CALLS as usize, "{:?}", self.calls);
    }

    /// The application says something of whom it watches, or of calls.
    fn lives(&mut self, live: Live) {
        let (session, now) = (&mut self.session, self.now);
        let id = |number: u8| CallId([number; 16]);
        match live {
            Live::Watch { from, count } => {
                let names: Vec<_> = PEERS.iter().cycle().skip(from).take(count).collect();
                let users: Vec<_> = names.iter().map(|name| UserId::new(name).unwrap()).collect();
                assert_eq!(session.watch(now, &users).is_ok(), count <= WATCHES as usize);
                if count <= WATCHES as usize {
                    self.watched = names.into_iter().map(|name| (*name).to_owned()).collect();
                }
            }
            Live::Ring { number, peer } => {
                if session.ring(now, id(number), UserId::new(PEERS[peer]).unwrap(), false).is_ok() {
                    assert_eq!(self.calls.insert(id(number), Stage::Begun), None, "one call under an id");
                }
            }
            Live::Accept { number } => {
                if session.accept_call(now, id(number)).is_ok() {
                    assert_eq!(self.calls.insert(id(number), Stage::Taken), Some(Stage::Rings));
                }
            }
            Live::HangUp { number } => {
                assert_eq!(session.hang_up(now, id(number)).is_ok(), self.calls.contains_key(&id(number)));
            }
            Live::Signal { number } => {
                if session.signal(now, id(number), Bytes::from_static(b"x")).is_ok() {
                    assert_eq!(self.calls.get(&id(number)), Some(&Stage::On));
                }
            }
        }
    }

    /// The application is told something of a call.
    fn told_call(&mut self, id: CallId, news: &CallNews) {
        let before = self.calls.remove(&id);
        let (is_right, after) = match news {
            CallNews::Rings { .. } => (before.is_none(), Some(Stage::Rings)),
            CallNews::Accepted => (matches!(before, Some(Stage::Begun | Stage::Taken)), Some(Stage::On)),
            CallNews::Signal(_) => (before == Some(Stage::On), before),
            CallNews::Ended(_) => (before.is_some(), None),
        };
        assert!(is_right, "{news:?} of a call that is {before:?}");
        self.calls.extend(after.map(|after| (id, after)));
    }

    fn time_out(&mut self) {
        self.session.handle_timeout(self.now);
        self.drain();
        assert!(self.session.poll_timeout().is_none_or(|due| due > self.now), "no time-out in the past");
    }

    fn hears(&mut self, message: Bytes) {
        if let Some(link) = self.link
            && !matches!(self.session.state(), SessionState::Connecting { .. })
        {
            self.session.handle(self.now, ClientEvent::Received { link, message });
        }
    }

    fn drain(&mut self) {
        while let Some(action) = self.session.poll_action() {
            match action {
                ClientAction::Connect { link } => self.link = Some(link),
                ClientAction::Send { link, frame } => {
                    let payload_bytes = frame.payload().len() as u64;
                    self.session.handle(self.now, ClientEvent::Flushed { link, frames: 1, payload_bytes });
                }
                ClientAction::Close { link, .. } => {
                    self.link = None;
                    self.session.handle(self.now, ClientEvent::Disconnected { link, close: None });
                }
                ClientAction::Abort { .. } => self.link = None,
                ClientAction::Notify(notification) => self.notified(notification),
            }
        }
    }

    fn notified(&mut self, notification: SessionNotification) {
        match notification {
            SessionNotification::Message { conversation, epoch, message } => {
                let cursor = self.cursors.entry(format!("{conversation:?}")).or_insert((epoch, 0));
                assert_eq!((epoch, message.seq), (cursor.0, cursor.1 + 1), "in order and once, in an epoch");
                cursor.1 = message.seq;
            }
            SessionNotification::Skipped { conversation, epoch, seq } => {
                let cursor = self.cursors.entry(format!("{conversation:?}")).or_insert((epoch, 0));
                assert!(cursor.0 == epoch && cursor.1 < seq, "forwards, in an epoch");
                cursor.1 = seq;
            }
            // Any server may say anything, whenever it likes.
            SessionNotification::Notice { .. } => {}
            SessionNotification::Reset { conversation } => {
                let name = format!("{conversation:?}");
                let marks = [true, false].map(|own| self.marks.remove(&(name.clone(), own)).is_some());
                assert!(self.cursors.remove(&name).is_some() || marks.contains(&true));
            }
            SessionNotification::Accepted { id, .. } | SessionNotification::Rejected { id, .. } => {
                assert!(self.submitted.remove(&id), "one fate");
                self.delayed.remove(&id);
            }
            SessionNotification::Delayed { id, .. } => {
                assert!(
                    self.submitted.contains(&id) && self.delayed.insert(id),
                    "told once, before its fate"
                );
            }
            SessionNotification::Older { messages, .. } => {
                assert!(messages.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq), "without gaps");
            }
            SessionNotification::Marked { conversation, epoch, own, marks } => {
                let known =
                    self.marks.entry((format!("{conversation:?}"), own)).or_insert((epoch, Marks::default()));
                if known.0 != epoch {
                    *known = (epoch, Marks::default());
                }
                assert!(marks != known.1 && marks.max_of(known.1) == marks, "forwards");
                assert!(marks.read <= marks.delivered);
                known.1 = marks;
            }
            SessionNotification::Typing { conversation, user, types } => {
                let who = format!("{conversation:?} {user}");
                assert!(if types { self.typing.insert(who) } else { self.typing.remove(&who) }, "in turns");
            }
            SessionNotification::Named { conversation, name } => {
                assert!(matches!(conversation, Recipient::Group(_)) && !name.is_empty() && name.len() <= 256);
            }
            SessionNotification::Presence { user, online, last_seen_ms } => {
                assert!(self.watched.contains(user.as_str()), "{user} is not watched");
                assert!(!online || last_seen_ms.is_none(), "who is here is");
            }
            SessionNotification::Call { id, news, .. } => self.told_call(id, &news),
            SessionNotification::NoOlder { .. }
            | SessionNotification::StateChanged(_)
            | SessionNotification::CaughtUp => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_server_says_nothing_is_told_twice_or_out_of_order(steps in vec(step(), 1..200)) {
        let mut config = SessionConfig::new(UserId::new("alice").unwrap());
        (config.limits.early_messages, config.limits.conversations) = (3, 2);
        (config.limits.watches, config.limits.calls, config.limits.call_frames) = (WATCHES, CALLS, 3);
        let mut world = World {
            session: Session::new(config, 7, Instant::ZERO, Resume::default()),
            now: Instant::ZERO,
            link: None,
            submitted: BTreeSet::new(),
            delayed: BTreeSet::new(),
            cursors: BTreeMap::new(),
            marks: BTreeMap::new(),
            typing: BTreeSet::new(),
            watched: BTreeSet::new(),
            calls: BTreeMap::new(),
        };
        steps.iter().for_each(|step| world.run(step));
    }
}
