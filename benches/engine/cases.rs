//! What is measured.

use bytes::Bytes;
use switchboard_engine::{Event, Frame, Protocol};
use switchboard_proto::{
    Message as _,
    v1::{ClientFrame, Content, Conversation, Submit, client_frame::Body, conversation::Peer},
};
use switchboard_websocket::{self as websocket, Decoder, Incoming};

use crate::world::{World, conn, message, name};

/// One thing to be done again and again.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// What one run counts as: messages, or recipients.
    pub(crate) parts: usize,
    /// Times that are enough to count instructions, after a fifth of it to warm up.
    pub(crate) times: usize,
    pub(crate) prepare: fn() -> Box<dyn Subject>,
}

/// What is measured, with all that it needs.
pub(crate) trait Subject {
    /// Does it once.
    fn run(&mut self);

    /// Does what has to follow and does not count.
    fn settle(&mut self) {}
}

impl<F: FnMut()> Subject for F {
    fn run(&mut self) {
        self();
    }
}

/// Everything, in the order of the table.
pub(crate) const CASES: &[Case] = &[
    Case { name: "relayed to one", parts: 1, times: 2000, prepare: relayed },
    Case { name: "the same, recorded", parts: 1, times: 2000, prepare: recorded },
    Case { name: "relayed, sender corrected", parts: 1, times: 2000, prepare: corrected },
    Case { name: "stored for one", parts: 1, times: 1000, prepare: stored },
    Case { name: "submitted to one", parts: 1, times: 1000, prepare: submitted },
    Case { name: "heartbeat", parts: 1, times: 2000, prepare: heartbeat },
    Case { name: "group of 50, each", parts: 49, times: 100, prepare: group },
    Case { name: "broadcast to 1000, each", parts: 1000, times: 20, prepare: || broadcast(1000) },
    Case { name: "broadcast to 10000, each", parts: 10_000, times: 4, prepare: || broadcast(10_000) },
    Case { name: "broadcast to 100000, each", parts: 100_000, times: 0, prepare: || broadcast(100_000) },
    Case { name: "the same and written, each", parts: 1000, times: 20, prepare: || written(1000) },
    Case { name: "frame decoded", parts: 1, times: 2000, prepare: decoded },
    Case { name: "frame encoded", parts: 1, times: 2000, prepare: encoded },
];

fn received(world: &mut World, slot: u32, message: &Bytes) {
    world.handle(Event::Received { conn: conn(slot), message: message.clone() });
}

const USERS: u32 = 200;

/// 200 users take turns; each sends to its neighbour.
fn pairs(protocol: Protocol, message: impl Fn(u32, u32) -> Bytes) -> Box<dyn Subject> {
    pairs_in(World::new(USERS, protocol), message)
}

fn pairs_in(mut world: World, message: impl Fn(u32, u32) -> Bytes) -> Box<dyn Subject> {
    let messages: Vec<Bytes> = (0..USERS).map(|slot| message(slot, slot ^ 1)).collect();
    let mut turns = (0..USERS).zip(messages).collect::<Vec<_>>().into_iter().cycle();
    Box::new(move || {
        if let Some((slot, message)) = turns.next() {
            received(&mut world, slot, &message);
        }
    })
}

fn relayed() -> Box<dyn Subject> {
    pairs(Protocol::Classic, |from, to| message(&name(from), &name(to), 7, 0))
}

fn recorded() -> Box<dyn Subject> {
    let mut world = World::new(USERS, Protocol::Classic);
    world.record();
    pairs_in(world, |from, to| message(&name(from), &name(to), 7, 0))
}

fn corrected() -> Box<dyn Subject> {
    pairs(Protocol::Classic, |_, to| message("somebody", &name(to), 7, 0))
}

fn stored() -> Box<dyn Subject> {
    pairs(Protocol::Classic, |from, to| message(&name(from), &name(to), 1, 1))
}

fn submitted() -> Box<dyn Subject> {
    pairs(Protocol::Session, |from, to| {
        let mut id = [9; 16];
        if let Some(start) = id.first_chunk_mut() {
            *start = from.to_be_bytes();
        }
        let submit = Submit {
            message_id: id.to_vec().into(),
            conversation: Some(Conversation { peer: Some(Peer::User(name(to))) }),
            content: Some(Content { kind: 1, text: "x".repeat(80), ..Content::default() }),
        };
        ClientFrame { body: Some(Body::Submit(submit)) }.encode_to_vec().into()
    })
}

fn heartbeat() -> Box<dyn Subject> {
    use switchboard_proto::classic;
    pairs(Protocol::Classic, |_, _| {
        let heartbeat = classic::Message { r#type: "heatbeat".to_owned(), ..classic::Message::default() };
        heartbeat.encode_to_vec().into()
    })
}

fn group() -> Box<dyn Subject> {
    let mut world = World::new(50, Protocol::Classic);
    let message = message(&name(0), "everybody", 1, 2);
    Box::new(move || received(&mut world, 0, &message))
}

/// Routing alone: what was sent is reported as written between the runs.
struct Broadcast {
    world: World,
    message: Bytes,
}

impl Subject for Broadcast {
    fn run(&mut self) {
        received(&mut self.world, 0, &self.message);
    }

    fn settle(&mut self) {
        self.world.flush();
    }
}

fn broadcast(users: u32) -> Box<dyn Subject> {
    let mut world = World::new(users, Protocol::Classic);
    world.keep();
    Box::new(Broadcast { world, message: message(&name(0), "", 1, 0) })
}

fn written(users: u32) -> Box<dyn Subject> {
    let mut world = World::new(users, Protocol::Classic);
    let message = message(&name(0), "", 1, 0);
    Box::new(move || received(&mut world, 0, &message))
}

fn decoded() -> Box<dyn Subject> {
    let payload = message(&name(0), &name(1), 7, 0);
    let mask = [0x5a, 0xc3, 0x3c, 0xa5];
    let mut frame = vec![0x82, 0x80 | 126, 0, 128];
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    let (mut decoder, mut input) = (Decoder::default(), frame.clone());
    Box::new(move || {
        input.copy_from_slice(&frame);
        let incoming = decoder.next(&mut input.as_mut_slice(), 1 << 20);
        assert!(matches!(incoming, Ok(Some(Incoming::Message(_)))), "{incoming:?}");
    })
}

fn encoded() -> Box<dyn Subject> {
    let frame = Frame::Message(message(&name(0), &name(1), 7, 0));
    let mut frames = Vec::new();
    Box::new(move || {
        frames.clear();
        websocket::encode(std::hint::black_box(&frame), &mut frames);
        assert!(!std::hint::black_box(&frames).is_empty());
    })
}
