//! An engine with users, and a driver that does at once what it asks for.

use bytes::Bytes;
use switchboard_engine::{
    Action, Answer, ConnId, Event, GroupId, Instant, Place, Protocol, Request, Server, ServerConfig, Ticket,
    UserId, UserProfile,
    recording::{ActionDigest, Encoder},
};
use switchboard_proto::{Message as _, classic};
use switchboard_websocket as websocket;

/// A driver without sockets: frames are encoded, and count as written at once.
pub(crate) struct World {
    server: Server,
    now_ns: u64,
    seq: u64,
    answers: Vec<(Ticket, Answer)>,
    flushes: Vec<(ConnId, u64)>,
    /// Where frames are encoded, as a shard does: in a buffer that is there.
    frames: Vec<u8>,
    /// What has been sent, so that nothing of it is left out.
    pub(crate) bytes: usize,
    /// Frames stay in the outboxes until this is called for.
    keeps: bool,
    /// What happens is written down, as a shard does that is recorded.
    tape: Option<Tape>,
}

struct Tape {
    encoder: Encoder,
    digest: ActionDigest,
}

/// As much as a shard gathers before it is handed over.
const HAND_OVER_BYTES: usize = 256 << 10;

impl Tape {
    fn end_step(&mut self) {
        if let Some(acted) = self.digest.end_step() {
            self.encoder.acted(acted);
        }
        if self.encoder.len_bytes() >= HAND_OVER_BYTES {
            let full = self.encoder.take();
            let _ = self.encoder.exchange(full);
        }
    }
}

impl World {
    /// Users 0 to `users`, all of them here, and all of them in one group.
    pub(crate) fn new(users: u32, protocol: Protocol) -> Self {
        let mut config = ServerConfig::default();
        config.limits.connections = users;
        config.limits.messages_per_second = u32::MAX;
        config.limits.message_burst = u32::MAX;
        config.limits.bytes_per_second = u64::from(u32::MAX);
        config.limits.byte_burst = u64::from(u32::MAX);
        let server = Server::new(config, 7, Instant::ZERO);
        let mut world = Self {
            server,
            now_ns: 0,
            seq: 0,
            answers: Vec::new(),
            flushes: Vec::new(),
            frames: Vec::new(),
            bytes: 0,
            keeps: false,
            tape: None,
        };
        for slot in 0..users {
            world.handle(Event::Connected { conn: conn(slot), user: user(slot), protocol });
            if protocol == Protocol::Session {
                world.handle(Event::Received { conn: conn(slot), message: hello() });
            }
        }
        world
    }

    /// Tells the engine what happened, and does all that follows.
    pub(crate) fn handle(&mut self, event: Event) {
        self.now_ns += 1000;
        self.step(event);
        while let Some((ticket, answer)) = self.answers.pop() {
            self.step(Event::Answered { ticket, answer });
        }
        if !self.keeps {
            self.flush();
        }
    }

    /// From now on everything is written down.
    pub(crate) fn record(&mut self) {
        let started_at = Instant::from_nanos(self.now_ns);
        self.tape = Some(Tape { encoder: Encoder::new(started_at), digest: ActionDigest::default() });
    }

    /// From now on frames stay in the outboxes until [`World::flush`].
    pub(crate) fn keep(&mut self) {
        self.keeps = true;
    }

    /// Reports all frames as written.
    pub(crate) fn flush(&mut self) {
        let mut flushes = std::mem::take(&mut self.flushes);
        for (conn, payload_bytes) in flushes.drain(..) {
            self.step(Event::Flushed { conn, frames: 1, payload_bytes });
        }
        self.flushes = flushes;
    }

    fn step(&mut self, event: Event) {
        let Self { server, seq, answers, flushes, bytes, frames, tape, .. } = self;
        let now = Instant::from_nanos(self.now_ns);
        if let Some(tape) = tape {
            tape.encoder.event(now, &event);
        }
        server.handle(now, event);
        while let Some(action) = server.poll_action() {
            if let Some(tape) = tape {
                tape.digest.add(&action);
            }
            #[allow(clippy::wildcard_enum_match_arm, reason = "nothing else happens in these worlds")]
            match action {
                Action::Send { to, frame } => {
                    frames.clear();
                    websocket::encode(&frame, frames);
                    *bytes += frames.len();
                    let payload_bytes = frame.payload().len() as u64;
                    flushes.extend(to.iter().map(|conn| (*conn, payload_bytes)));
                }
                Action::Request { ticket, request } => {
                    *seq += 1;
                    answers.push((ticket, answer(&request, *seq)));
                }
                _ => {}
            }
        }
        if let Some(tape) = tape {
            tape.end_step();
        }
    }
}

fn answer(request: &Request, seq: u64) -> Answer {
    #[allow(clippy::wildcard_enum_match_arm, reason = "nothing else is asked in these worlds")]
    match request {
        Request::LoadUser(_) => Answer::UserLoaded(UserProfile {
            groups: GroupId::new("everybody").into_iter().collect(),
            ..UserProfile::default()
        }),
        Request::StoreMessage(_) => {
            Answer::MessageStored(Place { epoch: 1, seq, stored_at_ms: 1_700_000_000_000 })
        }
        Request::LoadHeads { .. } => Answer::HeadsLoaded { heads: Vec::new(), next: None },
        Request::LoadUnreceived { .. } => Answer::UnreceivedLoaded { unreceived: Vec::new(), next: None },
        Request::StoreReceived(_) => Answer::ReceivedStored,
        _ => Answer::Failed,
    }
}

/// The connection of a user.
pub(crate) const fn conn(slot: u32) -> ConnId {
    ConnId::new(slot, 0)
}

/// The name of a user.
pub(crate) fn name(slot: u32) -> String {
    format!("bench-{slot:06}")
}

#[allow(clippy::expect_used, reason = "the name is short and has no odd characters")]
fn user(slot: u32) -> UserId {
    UserId::new(&name(slot)).expect("a valid id")
}

/// A classic message of 128 bytes.
pub(crate) fn message(from: &str, to: &str, content_type: i32, message_type: i32) -> Bytes {
    let (from, to) = (from.to_owned(), to.to_owned());
    let mut message =
        classic::Message { from, to, content_type, message_type, ..classic::Message::default() };
    while message.encoded_len() < 128 {
        message.content.push('x');
    }
    message.encode_to_vec().into()
}

fn hello() -> Bytes {
    use switchboard_proto::v1::{ClientFrame, Hello, client_frame::Body};
    let hello = Hello { device_id: vec![7; 16].into(), cursors: Vec::new() };
    ClientFrame { body: Some(Body::Hello(hello)) }.encode_to_vec().into()
}
