//! Digests of states: equal for states that behave alike, and for no others that tests could find. That twins
//! have the same after every event, and that whatever changes a gauge changes them, every history asserts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use switchboard_engine::{
    Action, Answer, Client, ClientConfig, ClientEvent, ConnId, Event, GroupId, Instant, LinkId, Protocol,
    Request, Server, ServerConfig, Ticket, UserId, UserProfile,
};
use switchboard_proto::{Message as _, classic::Message};

use crate::{
    driver::START,
    session_words::{encode, fetch, hello, resync},
};

/// A server whose store answers when it is told to.
struct Told {
    server: Server,
    now: Instant,
    /// By what was asked: users' loads, and messages by their text.
    asked: BTreeMap<String, Ticket>,
    seqs: u64,
    /// Of all frames that were sent since somebody asked.
    payload_bytes: u64,
    /// What each connection was sent, how often, and closes.
    sent: BTreeMap<ConnId, Vec<String>>,
}

impl Told {
    fn new(seed: u64, now: Instant) -> Self {
        let server = Server::new(config(), seed, now);
        Self { server, now, asked: BTreeMap::new(), seqs: 0, payload_bytes: 0, sent: BTreeMap::new() }
    }

    fn handle(&mut self, event: Event) {
        self.server.handle(self.now, event);
        while let Some(action) = self.server.poll_action() {
            match action {
                Action::Request { ticket, request } => {
                    let name = match request {
                        Request::LoadUser(user) => user.to_string(),
                        Request::StoreMessage(new) => new.content.to_string(),
                        Request::StoreFile(upload) => upload.suffix.to_string(),
                        Request::LoadHeads { user, after } => format!("heads of {user} {after}"),
                        Request::LoadMessages(range) => format!("{range:?}"),
                        other @ (Request::StoreMarks(_)
                        | Request::StoreSeen(_)
                        | Request::LoadSeen { .. }
                        | Request::StoreReceived(_)
                        | Request::LoadUnreceived { .. }) => format!("{other:?}"),
                    };
                    self.asked.insert(name, ticket);
                }
                Action::Send { to, frame } => {
                    let text = format!("{:?}", frame.payload());
                    self.payload_bytes += (frame.payload().len() * to.len()) as u64;
                    to.iter().for_each(|conn| self.sent.entry(*conn).or_default().push(text.clone()));
                }
                Action::Close { .. }
                | Action::Abort { .. }
                | Action::Publish(_)
                | Action::Tell(_)
                | Action::Subscribe(_)
                | Action::Unsubscribe(_)
                | Action::Stopped => {}
            }
        }
    }

    fn connects(&mut self, number: u32) {
        self.handle(Event::Connected {
            conn: ConnId::new(number, 1),
            user: user(number),
            protocol: Protocol::Classic,
        });
    }

    fn loaded(&mut self, number: u32) {
        let groups = vec![GroupId::new("crew").unwrap(), GroupId::new("club").unwrap()];
        let profile = UserProfile { groups, revision: 3, ..UserProfile::default() };
        self.answers(user(number).as_str(), Answer::UserLoaded(profile));
    }

    fn answers(&mut self, what: &str, answer: Answer) {
        if let Some(ticket) = self.asked.remove(what) {
            self.handle(Event::Answered { ticket, answer });
        }
    }

    fn says(&mut self, number: u32, to: u32, group: bool, text: &str) {
        let message = Message {
            from: user(number).to_string(),
            to: if group { "crew".to_owned() } else { user(to).to_string() },
            content: text.to_owned(),
            content_type: 1,
            message_type: if group { 2 } else { 1 },
            ..Message::default()
        };
        let message = message.encode_to_vec().into();
        self.handle(Event::Received { conn: ConnId::new(number, 1), message });
    }

    fn stored(&mut self, text: &str) {
        self.seqs += 1;
        let seq = self.seqs;
        self.answers(text, crate::store::stored(seq));
    }
}

fn user(number: u32) -> UserId {
    UserId::new(&format!("u{number}")).unwrap()
}

#[test]
fn two_users_may_come_and_be_loaded_in_either_order() {
    let came = |order: [u32; 2]| {
        let mut told = Told::new(1, START);
        order.into_iter().for_each(|number| told.connects(number));
        let waiting = told.server.state_digest();
        order.into_iter().rev().for_each(|number| told.loaded(number));
        (waiting, told.server.state_digest(), told.server.full_digest())
    };
    let (waiting, loaded, full) = came([1, 2]);
    let (other_waiting, other_loaded, other_full) = came([2, 1]);
    assert_ne!(waiting, other_waiting, "their loads would be given up in another order");
    assert_eq!(loaded, other_loaded);
    assert_ne!(full, other_full);
}

#[test]
fn the_time_of_day_and_the_seed_are_not_behaviour() {
    let told = |seed, now| {
        let mut told = Told::new(seed, now);
        told.connects(1);
        told.now += Duration::from_secs(2);
        told.loaded(1);
        told.says(1, 2, false, "kept");
        (told.server.state_digest(), told.server.full_digest())
    };
    let (digest, full) = told(1, START);
    for (seed, now) in [(1, START + Duration::from_secs(77)), (2, START)] {
        let (other, other_full) = told(seed, now);
        assert_eq!(other, digest);
        assert_ne!(other_full, full);
    }
}

#[test]
fn what_is_over_leaves_no_trace_but_under_everything() {
    let mut told = Told::new(1, START);
    told.connects(1);
    told.loaded(1);
    let (digest, full) = (told.server.state_digest(), told.server.full_digest());
    told.connects(2);
    told.loaded(2);
    let both = told.server.state_digest();
    told.handle(Event::Disconnected { conn: ConnId::new(2, 1) });
    assert_ne!(both, digest);
    assert_eq!(told.server.state_digest(), digest);
    assert_ne!(told.server.full_digest(), full);
}

#[test]
fn what_a_session_waits_for_is_behaviour_until_it_is_over() {
    let mut told = Told::new(1, START);
    let conn = ConnId::new(1, 1);
    told.handle(Event::Connected { conn, user: user(1), protocol: Protocol::Session });
    told.loaded(1);
    let greeting = told.server.state_digest();
    let frame = |body| Event::Received { conn, message: encode(body) };
    told.handle(frame(hello(&[("u2", 1)])));
    let asked = told.server.state_digest();
    let heads = || Answer::HeadsLoaded { heads: Vec::new(), next: None };
    told.answers("heads of u1 0", heads());
    // The driver has written what it was to send.
    let written = |told: &mut Told| {
        let unflushed = told.server.gauges().unflushed as u32;
        let payload_bytes = core::mem::take(&mut told.payload_bytes);
        told.handle(Event::Flushed { conn, frames: unflushed, payload_bytes });
    };
    written(&mut told);
    let idle = told.server.state_digest();
    told.handle(frame(resync(&[("u2", 2)])));
    let other_cursor = told.server.state_digest();
    told.answers("heads of u1 0", heads());
    written(&mut told);
    told.handle(frame(fetch(1, "u2", 1)));
    let fetching = told.server.state_digest();
    let all = BTreeSet::from([greeting, asked, idle, other_cursor, fetching]);
    assert_eq!(all.len(), 5, "all of these behave differently");
    let asked = told.asked.keys().next().cloned().unwrap();
    told.answers(&asked, Answer::Refused);
    written(&mut told);
    assert_eq!(told.server.gauges().requests, 0);
}

#[test]
fn a_driver_may_rename_its_connections() {
    let came = |generation| {
        let mut told = Told::new(1, START);
        told.handle(Event::Connected {
            conn: ConnId::new(1, generation),
            user: user(1),
            protocol: Protocol::Classic,
        });
        let slot = |conn: ConnId| u64::from(conn.slot());
        (told.server.state_digest(), told.server.state_digest_as(START, &slot))
    };
    let ((first, named), (second, renamed)) = (came(1), came(2));
    assert_ne!(first, second);
    assert_eq!(named, renamed);
}

#[test]
fn clients_are_alike_when_they_wait_for_the_same() {
    let client = |seed, at| {
        let mut client = Client::new(ClientConfig::new(user(1)), seed, at);
        client.connect(at);
        while client.poll_action().is_some() {}
        client
    };
    let later = START + Duration::from_secs(5);
    let (mut first, second) = (client(1, START), client(1, later));
    assert_eq!(first.state_digest(), second.state_digest());
    assert_ne!(first.full_digest(), second.full_digest());
    assert_ne!(first.state_digest(), client(2, START).state_digest(), "they will dial again at other times");
    first.handle(START, ClientEvent::Opened { link: LinkId(0) });
    while first.poll_action().is_some() {}
    assert_ne!(first.state_digest(), second.state_digest());
}

/// Something that happens after everybody has come.
#[derive(Clone, Debug)]
enum Later {
    Says { who: u32, to: u32, group: bool },
    Stored { which: usize },
    Leaves { who: u32 },
    Passes { seconds: u64 },
}

fn later() -> impl Strategy<Value = Later> {
    prop_oneof![
        4 => (0..4_u32, 0..4_u32, any::<bool>()).prop_map(|(who, to, group)| Later::Says { who, to, group }),
        3 => (0..3_usize).prop_map(|which| Later::Stored { which }),
        1 => (0..4_u32).prop_map(|who| Later::Leaves { who }),
        1 => (1..30_u64).prop_map(|seconds| Later::Passes { seconds }),
    ]
}

proptest! {
    /// Whatever order people came in, the digests stay equal and everybody is sent the same.
    #[test]
    fn states_with_equal_digests_behave_alike(
        order in Just(vec![0_u32, 1, 2, 3]).prop_shuffle(),
        steps in prop::collection::vec(later(), 0..40),
    ) {
        let (mut one, mut other) = (Told::new(1, START), Told::new(2, START));
        (0..4).for_each(|number| { one.connects(number); one.loaded(number); });
        order.iter().for_each(|number| { other.connects(*number); other.loaded(*number); });
        prop_assert_eq!(one.server.state_digest(), other.server.state_digest());
        for (place, step) in steps.iter().enumerate() {
            for told in [&mut one, &mut other] {
                match step {
                    Later::Says { who, to, group } => told.says(*who, *to, *group, &format!("t{place}")),
                    Later::Stored { which } => {
                        let text = told.asked.keys().filter(|key| key.starts_with('t')).nth(*which).cloned();
                        text.into_iter().for_each(|text| told.stored(&text));
                    }
                    Later::Leaves { who } => {
                        told.handle(Event::Disconnected { conn: ConnId::new(*who, 1) });
                    }
                    Later::Passes { seconds } => {
                        told.now += Duration::from_secs(*seconds);
                        told.server.handle_timeout(told.now);
                        told.handle(Event::Pong { conn: ConnId::new(9, 1), payload: bytes::Bytes::new() });
                    }
                }
            }
            prop_assert_eq!(one.server.state_digest(), other.server.state_digest(), "after {:?}", step);
            prop_assert_eq!(&one.sent, &other.sent);
        }
    }
}

/// What is sent again to classic clients is asked for in the order in which they come, so it is left out here.
fn config() -> ServerConfig {
    let mut config = ServerConfig { peers: true, presence: false, ..ServerConfig::default() };
    config.limits.resend_messages = 0;
    config
}
