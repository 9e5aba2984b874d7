//! A client against random sequences of commands, events, late events and nonsense. A reference model says which
//! commands are accepted; an observer that sees only actions checks what must hold whatever happens.
// A panic is how a test fails, in its helpers too; numbers here are small.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm
)]

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use switchboard_engine::{
    Body, Client, ClientAction, ClientConfig, ClientEvent, ConnectionState, DropReason, FRAME_COST_BYTES,
    Frame, Instant, LinkId, Notification, Outgoing, SendError, SendId, SignalKind, Target, UserId,
};
use switchboard_proto::{Message as _, classic::Message};

const WINDOW_BYTES: u64 = 400;
const QUEUE_MESSAGES: u32 = 12;

#[derive(Clone, Debug)]
enum Step {
    Connect,
    Close,
    Text,
    Signal,
    Picture,
    Opened { age: u64 },
    Failed { age: u64 },
    Disconnected { age: u64, close: Option<u16> },
    Received { age: u64, garbage: bool },
    Pinged { age: u64 },
    Flushed { age: u64, frames: u32 },
    Nonsense { frames: u32 },
    Wait { ms: u64 },
    TimeOut,
}

/// What an application knows without looking: whether it has closed the client.
#[derive(Clone, Debug)]
struct Model {
    seed: u64,
    closed: bool,
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        any::<u64>().prop_map(|seed| Self { seed, closed: false }).boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Step> {
        let age = || prop_oneof![8 => Just(0_u64), 1 => 1..4_u64];
        let code = prop_oneof![
            4 => Just(None),
            4 => Just(Some(1001)),
            3 => prop::sample::select(vec![1007, 1008, 1009, 1013, 4000, 4001]).prop_map(Some),
        ];
        prop_oneof![
            4 => Just(Step::Connect),
            1 => Just(Step::Close),
            12 => Just(Step::Text),
            3 => Just(Step::Signal),
            2 => Just(Step::Picture),
            12 => age().prop_map(|age| Step::Opened { age }),
            2 => age().prop_map(|age| Step::Failed { age }),
            4 => (age(), code).prop_map(|(age, close)| Step::Disconnected { age, close }),
            5 => (age(), prop::bool::weighted(0.1)).prop_map(|(age, garbage)| Step::Received { age, garbage }),
            3 => age().prop_map(|age| Step::Pinged { age }),
            10 => (age(), 1..5_u32).prop_map(|(age, frames)| Step::Flushed { age, frames }),
            1 => any::<u32>().prop_map(|frames| Step::Nonsense { frames }),
            4 => (0..30_000_u64).prop_map(|ms| Step::Wait { ms }),
            8 => Just(Step::TimeOut),
        ]
        .boxed()
    }

    fn apply(mut model: Self, step: &Step) -> Self {
        match step {
            Step::Connect => model.closed = false,
            Step::Close => model.closed = true,
            _ => {}
        }
        model
    }
}

/// A client, its twin of the same seed, and what an observer of their actions remembers.
struct World {
    client: Client,
    twin: Client,
    now: Instant,
    links: u64,
    /// The link that takes frames.
    open: Option<LinkId>,
    /// Payload lengths of the frames of the open link that are not flushed; whether each is a message.
    unflushed: VecDeque<(u64, bool)>,
    /// Texts accepted and not ended, in order; their content is their place in the order of `send`.
    texts: VecDeque<(SendId, String)>,
    /// How many of `texts` the current link was given.
    given: usize,
    sent: u64,
}

fn config() -> ClientConfig {
    let mut config = ClientConfig::new(UserId::new("alice").unwrap());
    config.limits.window_bytes = WINDOW_BYTES;
    config.limits.queue_messages = QUEUE_MESSAGES;
    config
}

impl World {
    fn both(&mut self, act: impl Fn(&mut Client, Instant)) {
        act(&mut self.client, self.now);
        act(&mut self.twin, self.now);
        self.observe();
    }

    fn event(&mut self, event: &ClientEvent) {
        self.both(|client, now| client.handle(now, event.clone()));
    }

    fn link(&self, age: u64) -> LinkId {
        LinkId(self.links.wrapping_sub(1).wrapping_sub(age))
    }

    fn send(&mut self, outgoing: &Outgoing, content: Option<String>, closed: bool) {
        let sent = self.client.send(self.now, outgoing.clone());
        assert_eq!(sent, self.twin.send(self.now, outgoing.clone()), "determinism");
        assert_eq!(matches!(sent, Err(SendError::Closed(_))), closed, "refused after close, and only then");
        match sent {
            Ok(id) => self.texts.extend(content.map(|content| (id, content))),
            Err(error) => assert_eq!(error.into_message(), *outgoing, "given back"),
        }
        self.observe();
    }

    fn observe(&mut self) {
        loop {
            let action = self.client.poll_action();
            assert_eq!(action, self.twin.poll_action(), "determinism");
            match action {
                None => break,
                Some(ClientAction::Connect { link }) => {
                    assert_eq!(link, LinkId(self.links), "names are never reused");
                    self.links += 1;
                }
                Some(ClientAction::Close { .. } | ClientAction::Abort { .. }) => self.open = None,
                Some(ClientAction::Send { link, frame }) => self.frame(link, &frame),
                Some(ClientAction::Notify(Notification::StateChanged(state))) => self.state_changed(state),
                Some(ClientAction::Notify(Notification::Flushed { id })) => {
                    if self.texts.iter().any(|text| text.0 == id) {
                        assert_eq!(self.texts.pop_front().map(|text| text.0), Some(id), "flushed in order");
                        self.given -= 1;
                    }
                }
                Some(ClientAction::Notify(Notification::Dropped { id, reason })) => {
                    if let Some(place) = self.texts.iter().position(|text| text.0 == id) {
                        assert!(matches!(reason, DropReason::Closed | DropReason::Refused), "texts stay");
                        self.texts.remove(place);
                    }
                }
                Some(ClientAction::Notify(Notification::Welcomed | Notification::Message(_))) => {}
            }
        }
    }

    fn state_changed(&mut self, state: ConnectionState) {
        match state {
            ConnectionState::Online => {
                self.open = Some(LinkId(self.links - 1));
                (self.given, self.unflushed) = (0, VecDeque::new());
            }
            ConnectionState::Waiting { until, failures, .. } => {
                let delay = until.saturating_since(self.now);
                assert!((Duration::from_millis(100)..=Duration::from_secs(60)).contains(&delay), "{delay:?}");
                assert!(failures >= 1);
                self.open = None;
            }
            ConnectionState::Closed(_) | ConnectionState::Connecting { .. } | ConnectionState::Closing => {
                self.open = None;
            }
        }
    }

    fn frame(&mut self, link: LinkId, frame: &Frame) {
        assert_eq!(self.open, Some(link), "no frame for a dead link");
        let message = match frame {
            Frame::Message(payload) => Some(Message::decode(payload.clone()).unwrap()),
            Frame::Pong(_) => None,
            Frame::Ping(_) => panic!("a client of this protocol sends no Pings"),
        };
        let message = message.filter(|message| message.r#type != "heatbeat");
        if let Some(text) = message.as_ref().filter(|message| message.content_type == 1) {
            assert_eq!(self.texts[self.given].1, text.content, "handed over in order, without a gap");
            self.given += 1;
        }
        self.unflushed.push_back((frame.payload().len() as u64, message.is_some()));
        let window = self.unflushed.iter().filter(|(_, is_message)| *is_message);
        let (frames, bytes) = window.fold((0, 0), |(n, sum), (len, _)| (n + 1, sum + len + FRAME_COST_BYTES));
        assert!(frames == 1 || bytes <= WINDOW_BYTES, "window: {bytes} bytes");
        assert!(self.unflushed.iter().filter(|(_, is_message)| !is_message).count() <= 8, "control frames");
    }
}

struct Sequences;

impl StateMachineTest for Sequences {
    type SystemUnderTest = World;
    type Reference = Model;

    fn init_test(model: &Model) -> World {
        World {
            client: Client::new(config(), model.seed, Instant::ZERO),
            twin: Client::new(config(), model.seed, Instant::ZERO),
            now: Instant::ZERO,
            links: 0,
            open: None,
            unflushed: VecDeque::new(),
            texts: VecDeque::new(),
            given: 0,
            sent: 0,
        }
    }

    fn apply(mut world: World, model: &Model, step: Step) -> World {
        let bob = UserId::new("bob").unwrap();
        match step {
            Step::Connect => world.both(Client::connect),
            Step::Close => world.both(Client::close),
            Step::Text => {
                world.sent += 1;
                let words = format!("{} {}", world.sent, "x".repeat((world.sent % 7 * 40) as usize));
                let body = Body::Text(words.as_str().into());
                world.send(&Outgoing::Message { to: Target::User(bob), body }, Some(words), model.closed);
            }
            Step::Signal | Step::Picture => {
                let picture = matches!(step, Step::Picture);
                let kind = if picture { SignalKind::ScreenFrame } else { SignalKind::Session };
                let outgoing = Outgoing::Signal { to: Some(bob), kind, content: "s".into() };
                world.send(&outgoing, None, model.closed);
            }
            Step::Opened { age } => world.event(&ClientEvent::Opened { link: world.link(age) }),
            Step::Failed { age } => world.event(&ClientEvent::ConnectFailed { link: world.link(age) }),
            Step::Disconnected { age, close } => {
                world.event(&ClientEvent::Disconnected { link: world.link(age), close });
            }
            Step::Received { age, garbage } => {
                let message = Bytes::from_static(if garbage { b"\xff\xff" } else { b"\x1a\x03bob" });
                world.event(&ClientEvent::Received { link: world.link(age), message });
            }
            Step::Pinged { age } => {
                world.event(&ClientEvent::Pinged { link: world.link(age), payload: Bytes::new() });
            }
            Step::Flushed { age, frames } => {
                let frames = frames.min(world.unflushed.len() as u32);
                let written: Vec<_> = match (age, world.open) {
                    (0, Some(_)) => world.unflushed.drain(..frames as usize).collect(),
                    _ => Vec::new(),
                };
                let payload_bytes = written.iter().map(|(len, _)| len).sum();
                let frames = if age == 0 { written.len() as u32 } else { frames };
                world.event(&ClientEvent::Flushed { link: world.link(age), frames, payload_bytes });
            }
            Step::Nonsense { frames } => {
                // Of a link that was never dialled.
                let link = LinkId(world.links + 7);
                world.event(&ClientEvent::Flushed { link, frames, payload_bytes: u64::MAX });
            }
            Step::Wait { ms } => {
                world.now += Duration::from_millis(ms);
                world.both(Client::handle_timeout);
            }
            Step::TimeOut => {
                world.now = world.client.poll_timeout().map_or(world.now, |due| due.max(world.now));
                world.both(Client::handle_timeout);
            }
        }
        if matches!(step, Step::Wait { .. } | Step::TimeOut) {
            assert!(world.client.poll_timeout().is_none_or(|due| due > world.now), "no time-out in the past");
        }
        world
    }

    fn check_invariants(world: &World, _: &Model) {
        let stats = world.client.stats();
        assert_eq!(stats, world.twin.stats(), "determinism");
        let dropped =
            stats.dropped_link_lost + stats.dropped_superseded + stats.dropped_closed + stats.dropped_refused;
        let pending = world.client.pending_messages() as u64;
        assert_eq!(stats.accepted, stats.flushed + dropped + pending, "accounting");
        assert!(pending <= u64::from(QUEUE_MESSAGES), "bounded");
        assert!(world.texts.len() as u64 <= pending, "nothing is lost unsaid");
        assert_eq!(pending == 0, world.client.pending_bytes() == 0);
        assert!(
            world.client.poll_timeout().is_some()
                || matches!(world.client.state(), ConnectionState::Closed(_))
        );
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_order_is_kept_and_nothing_is_lost_unsaid(sequential 1..150 => Sequences);
}
