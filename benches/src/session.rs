//! One client of the session protocol that waits for each answer: for what is about content, not about load.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use switchboard_proto::{
    Message as _,
    v1::{ServerFrame, client_frame, server_frame::Body},
};

use crate::wire::{self, Protocol};
use crate::{BenchError, Process};

/// How long an answer may take, whatever else comes meanwhile.
const PATIENCE: Duration = Duration::from_secs(15);

/// What may have come of an answer that is not complete.
const UNREAD_LIMIT_BYTES: usize = 64 << 20;

/// What is read at a time; a page has about 40 KB.
const BUFFER_BYTES: usize = 256 << 10;

/// Messages that wait for their `Accepted` at a time: below every server's limit.
const IN_FLIGHT: usize = 512;

/// A client whose handshake is done, and that has said nothing yet.
pub(crate) struct Session {
    stream: TcpStream,
    user: String,
    /// What was read, and from where on it was not looked at.
    read: Vec<u8>,
    at: usize,
    buffer: Vec<u8>,
    pub(crate) received_bytes: u64,
}

impl Session {
    /// Connects as this user.
    pub(crate) fn connect(target: SocketAddr, user: &str) -> Result<Self, BenchError> {
        // A server that is stopped lets its backlog fill up, and then the kernel would try for minutes.
        let stream =
            TcpStream::connect_timeout(&target, PATIENCE).map_err(BenchError::io("connecting a session"))?;
        stream
            .set_read_timeout(Some(PATIENCE))
            .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
            .and_then(|()| stream.set_nodelay(true))
            .map_err(BenchError::io("setting up a socket"))?;
        let mut session = Self {
            stream,
            user: user.to_owned(),
            read: Vec::new(),
            at: 0,
            buffer: vec![0; BUFFER_BYTES],
            received_bytes: 0,
        };
        session.write(&wire::handshake(user, Protocol::Session))?;
        let deadline = Instant::now() + PATIENCE;
        let end = loop {
            if let Some(at) = session.read.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            session.read_more(deadline)?;
        };
        let head = session.read.get(..end).unwrap_or_default();
        wire::accepted(head).map_err(|why| session.wrong(&why))?;
        session.at = end;
        Ok(session)
    }

    /// Sends frames, all at once.
    pub(crate) fn send(&mut self, frames: &[client_frame::Body]) -> Result<(), BenchError> {
        let mut bytes = Vec::new();
        for body in frames {
            bytes.extend(wire::frame(2, &wire::client_frame(body.clone())));
        }
        self.write(&bytes)
    }

    /// Sends `Submit`s, in order, and waits until all are accepted.
    pub(crate) fn submit(
        &mut self,
        submits: impl Iterator<Item = client_frame::Body>,
    ) -> Result<(), BenchError> {
        let mut submits = submits.peekable();
        let mut under_way = 0;
        let mut deadline = Instant::now() + PATIENCE;
        while under_way > 0 || submits.peek().is_some() {
            if under_way < IN_FLIGHT / 2 {
                let some: Vec<_> = submits.by_ref().take(IN_FLIGHT / 2).collect();
                under_way += some.len();
                self.send(&some)?;
            }
            #[allow(clippy::wildcard_enum_match_arm, reason = "what else is told does not matter here")]
            match self.next()? {
                Body::Accepted(_) => {
                    under_way -= 1;
                    deadline = Instant::now() + PATIENCE;
                }
                Body::Rejected(rejected) => return Err(self.wrong(&rejected.text)),
                // The welcome, and what else is told.
                _ if Instant::now() < deadline => {}
                _ => return Err(self.wrong("nothing was accepted in time")),
            }
        }
        Ok(())
    }

    /// Waits for the next frame.
    pub(crate) fn next(&mut self) -> Result<Body, BenchError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Some((opcode, start, end)) = self.frame() else {
                self.read_more(deadline)?;
                continue;
            };
            let payload = self.read.get(start..end).unwrap_or_default();
            let decoded = (opcode == 0x82).then(|| ServerFrame::decode(payload).ok()?.body).flatten();
            self.received_bytes += u64::try_from(payload.len()).unwrap_or_default();
            let closed = opcode == 0x88;
            self.at = end;
            match (decoded, opcode) {
                (Some(body), _) => return Ok(body),
                (None, _) if closed => return Err(self.wrong("the server has closed the connection")),
                // The server asks for signs of life after a minute; none of this takes so long.
                (None, 0x89 | 0x8a) => {}
                (None, _) => return Err(self.wrong("a frame that is none of the protocol")),
            }
        }
    }

    /// The next frame if all of it is there: its first byte, and where its payload is.
    fn frame(&self) -> Option<(u8, usize, usize)> {
        let bytes = self.read.get(self.at..)?;
        let (&[opcode, short], rest) = bytes.split_first_chunk()?;
        let (len, header) = match short {
            126 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
            127 => (usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?, 10),
            len => (usize::from(len), 2),
        };
        let start = self.at + header;
        let end = start.checked_add(len)?;
        (end <= self.read.len()).then_some((opcode, start, end))
    }

    fn read_more(&mut self, deadline: Instant) -> Result<(), BenchError> {
        self.read.drain(..self.at);
        self.at = 0;
        if Instant::now() > deadline {
            return Err(self.wrong("no answer in time"));
        }
        if self.read.len() > UNREAD_LIMIT_BYTES {
            return Err(self.wrong("an answer without an end"));
        }
        match self.stream.read(&mut self.buffer) {
            Ok(0) => Err(self.wrong("the server has ended the connection")),
            Ok(read) => {
                self.read.extend_from_slice(self.buffer.get(..read).unwrap_or_default());
                Ok(())
            }
            // The time-out of a socket.
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(self.wrong("no answer in time")),
            Err(error) => Err(BenchError::io("waiting for a session's answer")(error)),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), BenchError> {
        self.stream.write_all(bytes).map_err(BenchError::io("writing to a session"))
    }

    /// An error of this session.
    pub(crate) fn wrong(&self, what: &str) -> BenchError {
        BenchError::Session { user: self.user.clone(), what: what.to_owned() }
    }
}

/// Waits until a process has used no CPU time for a moment, and gives what it has used until then.
pub(crate) fn settled(process: &Process) -> Result<Duration, BenchError> {
    /// Long beside a turn of the server, short beside its timers.
    const MOMENT: Duration = Duration::from_millis(5);
    /// After so many moments it will not be quiet: then what it does besides counts too.
    const MOMENTS: usize = 20;
    let mut used = process.cpu_time()?;
    for _ in 0..MOMENTS {
        std::thread::sleep(MOMENT);
        let now = process.cpu_time()?;
        if now == used {
            break;
        }
        used = now;
    }
    Ok(used)
}
