//! One client: a nonblocking socket, its handshake, what it still has to write.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

use mio::net::TcpStream;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng as _};
use socket2::{Domain, Socket, Type};
use switchboard_proto::v1::Conversation;

use crate::random;
use crate::scanner::{Passed, Scanner};
use crate::wire::{self, MESSAGE_ID_BYTES, Protocol, tag};

/// A response's head is a few hundred bytes.
const HEAD_LIMIT_BYTES: usize = 16 << 10;

/// Connections from one source address: well below the 28,000 ports that Linux gives out.
const CONNECTIONS_PER_SOURCE: usize = 4_000;

/// Source addresses, from 127.0.0.1 on: after so many they come again.
const SOURCES: usize = 60_000;

/// What one write carries at the most: each client keeps its own message so many times over.
const BURST_BYTES: usize = 64 << 10;

/// Reads of one connection before the others have their turn again.
const READS_AT_ONCE: usize = 16;

/// What has come after the welcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// Messages of others; with the classic protocol, everything.
    pub(crate) messages: usize,
    /// Messages of the client's own that are in the store.
    pub(crate) accepted: usize,
    /// Those that are not.
    pub(crate) rejected: usize,
    /// The connection is closed since the last time: nothing more comes.
    pub(crate) closed: bool,
}

impl Arrived {
    pub(crate) fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// None once the client has left by itself.
    stream: Option<TcpStream>,
    state: State,
    scanner: Scanner,
    protocol: Protocol,
    /// The client's own message, in a masked frame, several times over.
    burst: Vec<u8>,
    frame_len: usize,
    /// Position in the frame that is being written.
    phase: usize,
    /// Bytes of messages to be written; with `phase` a multiple of `frame_len`.
    unsent_bytes: usize,
    /// Other frames to be written, before the messages.
    queued: Vec<u8>,
    /// Of a session: what makes each message another one.
    numbering: Option<Numbering>,
    /// Whoever drives the connection knows that it is closed.
    told_closed: bool,
    /// There may be more to read, and no event will say so.
    unread: bool,
}

/// A `Submit` in its frame, and ids to send it with again and again.
#[derive(Debug)]
struct Numbering {
    frame: Vec<u8>,
    /// Where the id is in the frame, and in its payload.
    id_at: usize,
    id_at_in_payload: usize,
    /// What an id has behind the time with which it begins, as those of the runtime's clients do.
    next: Xoshiro256PlusPlus,
}

impl Numbering {
    fn new(to: &Conversation, payload_bytes: usize) -> Self {
        // Where the id is shows when it is found: nothing else in the frame is like it.
        let sought = [0xa5; MESSAGE_ID_BYTES];
        let payload = wire::submit(sought, to, payload_bytes);
        let find = |window: &[u8]| window == sought;
        let id_at_in_payload = payload.windows(MESSAGE_ID_BYTES).position(find).unwrap_or_default();
        let frame = wire::frame(2, &payload);
        let id_at = frame.len() - payload.len() + id_at_in_payload;
        Self { frame, id_at, id_at_in_payload, next: Xoshiro256PlusPlus::seed_from_u64(random::id()) }
    }

    fn append_to(&mut self, bytes: &mut Vec<u8>) {
        let start = bytes.len() + self.id_at;
        bytes.extend_from_slice(&self.frame);
        let mut id = [0; MESSAGE_ID_BYTES];
        self.next.fill_bytes(&mut id);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let since_ms = u64::try_from(since.as_millis()).unwrap_or_default().to_be_bytes();
        for (byte, of_time) in id.iter_mut().zip(since_ms.into_iter().skip(2)) {
            *byte = of_time;
        }
        wire::mask(&mut id, self.id_at_in_payload);
        if let Some(place) = bytes.get_mut(start..start + MESSAGE_ID_BYTES) {
            place.copy_from_slice(&id);
        }
    }
}

/// ```text
///   Handshake ──101──▶ Unwelcomed ──first message──▶ Ready      (a session says Hello after the 101)
///       └──────────────────┴──────────────────────────┴──▶ Closed
/// ```
#[derive(Debug)]
enum State {
    /// What has come of the response's head.
    Handshake(Vec<u8>),
    /// The server's first message has not come.
    Unwelcomed,
    Ready,
    /// By itself.
    Left,
    /// Why.
    Closed(String),
}

impl Connection {
    /// Begins to connect; the request of the handshake is what is written first. `number` decides from which address.
    pub(crate) fn open(
        target: SocketAddr,
        number: usize,
        user: &str,
        protocol: Protocol,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
        if target.is_ipv4() {
            let source = Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST).saturating_add(
                u32::try_from(number / CONNECTIONS_PER_SOURCE % SOURCES).unwrap_or_default(),
            ));
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&target.into()) {
            // The request is written when the kernel has the connection; a full backlog makes it wait.
            Err(error) if error.raw_os_error() == Some(nix::libc::EINPROGRESS) => {}
            connected => connected?,
        }
        Ok(Self {
            stream: Some(TcpStream::from_std(socket.into())),
            state: State::Handshake(Vec::new()),
            scanner: Scanner::default(),
            protocol,
            burst: Vec::new(),
            frame_len: 0,
            phase: 0,
            unsent_bytes: 0,
            queued: wire::handshake(user, protocol),
            numbering: None,
            told_closed: false,
            unread: false,
        })
    }

    /// The socket, for a poll.
    pub(crate) const fn stream(&mut self) -> Option<&mut TcpStream> {
        self.stream.as_mut()
    }

    /// Whether reading was broken off: no event comes for what is there already.
    pub(crate) const fn has_unread(&self) -> bool {
        self.unread
    }

    /// Whoever is not welcomed is not waited for any longer. It is among those that were closed.
    pub(crate) fn give_up(&mut self) {
        match self.state {
            State::Handshake(_) => self.close("no answer in time"),
            State::Unwelcomed => self.close("no welcome in time"),
            State::Ready | State::Left | State::Closed(_) => {}
        }
    }

    /// Sets what [`Connection::send`] sends, and how many of it one write carries at the most.
    pub(crate) fn prepare(&mut self, frame: &[u8], per_write: usize) {
        let most = BURST_BYTES / frame.len().max(1);
        self.burst = frame.repeat(per_write.min(most).max(1));
        self.frame_len = frame.len();
    }

    /// Sets what [`Connection::send`] sends: `Submit`s to this conversation, each with another message id.
    pub(crate) fn prepare_submits(&mut self, to: &Conversation, payload_bytes: usize) {
        self.numbering = Some(Numbering::new(to, payload_bytes));
    }

    pub(crate) const fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready)
    }

    /// Why the connection is closed, if it is.
    pub(crate) fn closed(&self) -> Option<&str> {
        match &self.state {
            State::Closed(why) => Some(why),
            State::Handshake(_) | State::Unwelcomed | State::Ready | State::Left => None,
        }
    }

    /// Whether it was closed since the last time that it was asked.
    pub(crate) fn take_closed(&mut self) -> bool {
        let is_closed = self.closed().is_some();
        let told = std::mem::replace(&mut self.told_closed, is_closed);
        self.told_closed && !told
    }

    pub(crate) const fn has_unsent(&self) -> bool {
        self.unsent_bytes > 0 || !self.queued.is_empty()
    }

    /// Bytes of frames other than the client's own message that wait.
    pub(crate) const fn queued_bytes(&self) -> usize {
        self.queued.len()
    }

    /// Queues the message `count` times; [`Connection::flush`] writes.
    pub(crate) fn send(&mut self, count: usize) {
        if let Some(numbering) = &mut self.numbering {
            return (0..count).for_each(|_| numbering.append_to(&mut self.queued));
        }
        self.unsent_bytes = self.unsent_bytes.saturating_add(self.frame_len.saturating_mul(count));
    }

    /// Queues a frame; [`Connection::flush`] writes.
    pub(crate) fn queue(&mut self, frame: &[u8]) {
        self.queued.extend_from_slice(frame);
    }

    /// Sends a close frame and ends the connection. It is not among those that were closed.
    pub(crate) fn leave(&mut self) {
        self.queue(&wire::frame(8, &1000_u16.to_be_bytes()));
        self.flush();
        let _ = self.stream.take().map(|stream| stream.shutdown(Shutdown::Both));
        self.state = State::Left;
    }

    /// Reads until nothing is there, or others should have their turn, and gives what has come after the welcome.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Arrived {
        let mut arrived = Arrived::default();
        self.unread = false;
        for turn in 0.. {
            if self.closed().is_some() {
                break;
            }
            if turn == READS_AT_ONCE {
                self.unread = true;
                break;
            }
            let Some(stream) = &mut self.stream else { break };
            let read = match stream.read(buffer) {
                Ok(0) => {
                    self.close("the server ended the connection without a close frame");
                    break;
                }
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.close(&format!("reading: {error}"));
                    break;
                }
            };
            self.take(buffer.get(..read).unwrap_or_default(), &mut arrived);
            // A short read has emptied a stream socket; asking once more would double the calls.
            if read < buffer.len() {
                break;
            }
        }
        arrived
    }

    /// Writes what is queued, until the socket takes no more.
    pub(crate) fn flush(&mut self) {
        while self.closed().is_none() && self.has_unsent() {
            let queued = self.phase == 0 && !self.queued.is_empty();
            let bytes = if queued {
                self.queued.as_slice()
            } else {
                let end = self.burst.len().min(self.phase.saturating_add(self.unsent_bytes));
                self.burst.get(self.phase..end).unwrap_or_default()
            };
            let Some(stream) = &mut self.stream else { return };
            match stream.write(bytes) {
                Ok(written) if queued => {
                    self.queued.drain(..written);
                }
                Ok(written) => {
                    self.unsent_bytes -= written;
                    self.phase = (self.phase + written) % self.frame_len.max(1);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // What the server said before it closed tells more than the failed write.
                    self.read(&mut [0; 4096]);
                    self.close(&format!("writing: {error}"));
                }
            }
        }
    }

    /// The first reason stays.
    fn close(&mut self, why: &str) {
        if self.closed().is_none() {
            self.state = State::Closed(why.to_owned());
        }
    }

    /// Takes in what has arrived, and counts what of it came after the welcome.
    fn take(&mut self, bytes: &[u8], arrived: &mut Arrived) {
        let mut after_head = Vec::new();
        let mut bytes = bytes;
        if let State::Handshake(head) = &mut self.state {
            head.extend_from_slice(bytes);
            let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") else {
                if head.len() > HEAD_LIMIT_BYTES {
                    self.close("the handshake's answer has no end");
                }
                return;
            };
            after_head = head.split_off(end + 4);
            if let Err(why) = wire::accepted(head) {
                return self.close(&why);
            }
            self.state = State::Unwelcomed;
            bytes = &[];
            if self.protocol == Protocol::Session {
                self.queued.extend(wire::frame(2, &wire::hello()));
            }
        }
        let Self { scanner, state, queued, protocol, .. } = self;
        let mut closed = None;
        let mut passed = |passed: Passed<'_>| match passed {
            Passed::Message(first) => match (&state, *protocol, first) {
                (State::Unwelcomed, Protocol::Classic, _)
                | (State::Unwelcomed, Protocol::Session, Some(tag::WELCOME)) => *state = State::Ready,
                (State::Ready, Protocol::Classic, _)
                | (State::Ready, Protocol::Session, Some(tag::DELIVERY)) => arrived.messages += 1,
                (State::Ready, Protocol::Session, Some(tag::ACCEPTED)) => arrived.accepted += 1,
                (State::Ready, Protocol::Session, Some(tag::REJECTED)) => arrived.rejected += 1,
                // Heads, and the Goodbye before a close.
                (State::Unwelcomed | State::Ready, Protocol::Session, _)
                | (State::Handshake(_) | State::Left | State::Closed(_), _, _) => {}
            },
            Passed::Ping(payload) => queued.extend(wire::frame(0x0a, payload)),
            Passed::Close(payload) => closed = Some(close_text(payload)),
        };
        let scanned = scanner.scan(&after_head, &mut passed).and_then(|()| scanner.scan(bytes, &mut passed));
        if scanned.is_err() {
            return self.close("the server sent a broken frame");
        }
        if let Some(why) = closed {
            self.close(&why);
        }
    }
}

fn close_text(payload: &[u8]) -> String {
    match payload.split_first_chunk() {
        Some((code, reason)) => {
            let reason = String::from_utf8_lossy(reason);
            format!("the server closed: {} {reason}", u16::from_be_bytes(*code))
        }
        None => "the server closed without a code".to_owned(),
    }
}
