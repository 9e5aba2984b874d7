//! One client: a nonblocking socket, its handshake, what it still has to write.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use mio::net::TcpStream;
use socket2::{Domain, Socket, Type};

use crate::scanner::{Passed, Scanner};
use crate::wire;

/// How long the kernel may take for a connection on this machine; a full backlog makes it wait.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// A response's head is a few hundred bytes.
const HEAD_LIMIT_BYTES: usize = 16 << 10;

/// Connections from one source address: well below the 28,000 ports that Linux gives out.
const CONNECTIONS_PER_SOURCE: usize = 4_000;

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    state: State,
    scanner: Scanner,
    /// The client's own message, in a masked frame, several times over.
    burst: Vec<u8>,
    frame_len: usize,
    /// Position in the frame that is being written.
    phase: usize,
    /// Bytes of messages to be written; with `phase` a multiple of `frame_len`.
    unsent_bytes: usize,
    /// Control frames to be written.
    control: Vec<u8>,
}

/// ```text
///   Handshake ──101──▶ Unwelcomed ──first message──▶ Ready
///       └──────────────────┴──────────────────────────┴──▶ Closed
/// ```
#[derive(Debug)]
enum State {
    /// What has come of the response's head.
    Handshake(Vec<u8>),
    /// The server's first message has not come.
    Unwelcomed,
    Ready,
    /// Why.
    Closed(String),
}

impl Connection {
    /// Connects and sends the request of the handshake.
    pub(crate) fn open(target: SocketAddr, index: usize, user: &str) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
        if target.is_ipv4() {
            let source = Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST).saturating_add(
                // At most 20,000 files are open: a handful of addresses.
                u32::try_from(index / CONNECTIONS_PER_SOURCE).unwrap_or_default(),
            ));
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        socket.connect_timeout(&target.into(), CONNECT_LIMIT)?;
        socket.set_tcp_nodelay(true)?;
        let mut stream = std::net::TcpStream::from(socket);
        // A new socket's buffer takes the whole request.
        stream.write_all(&wire::handshake(user))?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream: TcpStream::from_std(stream),
            state: State::Handshake(Vec::new()),
            scanner: Scanner::default(),
            burst: Vec::new(),
            frame_len: 0,
            phase: 0,
            unsent_bytes: 0,
            control: Vec::new(),
        })
    }

    /// Sets what [`Connection::send`] sends, and how many of it one write carries at the most.
    pub(crate) fn prepare(&mut self, frame: &[u8], per_write: usize) {
        self.burst = frame.repeat(per_write.max(1));
        self.frame_len = frame.len();
    }

    pub(crate) const fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready)
    }

    /// Why the connection is closed, if it is.
    pub(crate) fn closed(&self) -> Option<&str> {
        match &self.state {
            State::Closed(why) => Some(why),
            State::Handshake(_) | State::Unwelcomed | State::Ready => None,
        }
    }

    pub(crate) const fn has_unsent(&self) -> bool {
        self.unsent_bytes > 0 || !self.control.is_empty()
    }

    /// Queues the message `count` times; [`Connection::flush`] writes.
    pub(crate) const fn send(&mut self, count: usize) {
        self.unsent_bytes = self.unsent_bytes.saturating_add(self.frame_len.saturating_mul(count));
    }

    /// Reads until nothing is there, and gives how many messages have come after the welcome.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> usize {
        let mut messages = 0;
        while self.closed().is_none() {
            let read = match self.stream.read(buffer) {
                Ok(0) => {
                    return self.close("the server ended the connection without a close frame", messages);
                }
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return self.close(&format!("reading: {error}"), messages),
            };
            messages += self.take(buffer.get(..read).unwrap_or_default());
            // A short read has emptied a stream socket; asking once more would double the calls.
            if read < buffer.len() {
                break;
            }
        }
        messages
    }

    /// Writes what is queued, until the socket takes no more.
    pub(crate) fn flush(&mut self) {
        while self.closed().is_none() && self.has_unsent() {
            let control = self.phase == 0 && !self.control.is_empty();
            let bytes = if control {
                self.control.as_slice()
            } else {
                let end = self.burst.len().min(self.phase.saturating_add(self.unsent_bytes));
                self.burst.get(self.phase..end).unwrap_or_default()
            };
            match self.stream.write(bytes) {
                Ok(written) if control => {
                    self.control.drain(..written);
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
                    self.close(&format!("writing: {error}"), 0);
                }
            }
        }
    }

    /// The first reason stays.
    fn close(&mut self, why: &str, messages: usize) -> usize {
        if self.closed().is_none() {
            self.state = State::Closed(why.to_owned());
        }
        messages
    }

    /// Takes in what has arrived, and gives how many messages of it came after the welcome.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let mut after_head = Vec::new();
        let mut bytes = bytes;
        if let State::Handshake(head) = &mut self.state {
            head.extend_from_slice(bytes);
            let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") else {
                if head.len() > HEAD_LIMIT_BYTES {
                    self.close("the handshake's answer has no end", 0);
                }
                return 0;
            };
            after_head = head.split_off(end + 4);
            if let Err(why) = wire::accepted(head) {
                return self.close(&why, 0);
            }
            self.state = State::Unwelcomed;
            bytes = &[];
        }
        let Self { scanner, state, control, .. } = self;
        let mut messages = 0;
        let mut closed = None;
        let mut passed = |passed: Passed<'_>| match passed {
            Passed::Message => match state {
                State::Unwelcomed => *state = State::Ready,
                State::Ready => messages += 1,
                State::Handshake(_) | State::Closed(_) => {}
            },
            Passed::Ping(payload) => control.extend(wire::frame(0x0a, payload)),
            Passed::Close(payload) => closed = Some(close_text(payload)),
        };
        let scanned = scanner.scan(&after_head, &mut passed).and_then(|()| scanner.scan(bytes, &mut passed));
        if scanned.is_err() {
            return self.close("the server sent a broken frame", messages);
        }
        match closed {
            Some(why) => self.close(&why, messages),
            None => messages,
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
