//! A client's socket, and what is unfinished on it.

use std::mem;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

/// What may wait for a client that does not read; then it is closed.
const UNSENT_LIMIT_BYTES: usize = 16 << 20;

/// The connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

/// ```text
///   Handshake ──101──▶ Open
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Handshake,
    /// With the number at the end of the user's name, 0 if there is none.
    Open {
        number: u32,
    },
}

#[derive(Debug)]
pub(crate) struct Client {
    socket: OwnedFd,
    pub(crate) phase: Phase,
    /// There while there is any, so that an idle client costs its three words.
    rest: Option<Box<Rest>>,
}

#[derive(Debug, Default)]
struct Rest {
    /// The beginning of a request or of a frame.
    unread: Vec<u8>,
    /// What the socket has not taken.
    unsent: Vec<u8>,
}

impl Client {
    pub(crate) const fn new(socket: OwnedFd) -> Self {
        Self { socket, phase: Phase::Handshake, rest: None }
    }

    /// What has come, once: where there is more, epoll says so again.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> Result<usize, Gone> {
        match recv(&self.socket, buffer, RecvFlags::empty()) {
            Ok((0, _)) => Err(Gone),
            Ok((read, _)) => Ok(read),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(_) => Err(Gone),
        }
    }

    /// What had come before and was not finished.
    pub(crate) fn take_unread(&mut self) -> Vec<u8> {
        self.rest.as_mut().map(|rest| mem::take(&mut rest.unread)).unwrap_or_default()
    }

    /// Keeps what is not finished, or forgets that anything ever was.
    pub(crate) fn keep_unread(&mut self, unread: &[u8]) {
        if !unread.is_empty() {
            self.rest.get_or_insert_default().unread = unread.to_vec();
        }
        self.tidy();
    }

    /// Writes what the socket takes. The rest waits until it takes more; [`Client::flush`] then goes on.
    pub(crate) fn write(&mut self, bytes: &[u8], poll: &OwnedFd, key: usize) -> Result<(), Gone> {
        let waits = self.rest.as_ref().is_some_and(|rest| !rest.unsent.is_empty());
        let written = if waits { 0 } else { self.send(bytes)? };
        let unsent = bytes.get(written..).unwrap_or_default();
        if unsent.is_empty() {
            return Ok(());
        }
        let rest = self.rest.get_or_insert_default();
        rest.unsent.extend_from_slice(unsent);
        if rest.unsent.len() > UNSENT_LIMIT_BYTES {
            return Err(Gone);
        }
        if waits { Ok(()) } else { self.watch(poll, key, EventFlags::IN | EventFlags::OUT) }
    }

    /// Writes what has waited.
    pub(crate) fn flush(&mut self, poll: &OwnedFd, key: usize) -> Result<(), Gone> {
        let Some(mut unsent) = self.rest.as_mut().map(|rest| mem::take(&mut rest.unsent)) else {
            return Ok(());
        };
        let written = self.send(&unsent)?;
        unsent.drain(..written);
        if unsent.is_empty() {
            self.tidy();
            return self.watch(poll, key, EventFlags::IN);
        }
        self.rest.get_or_insert_default().unsent = unsent;
        Ok(())
    }

    fn send(&self, bytes: &[u8]) -> Result<usize, Gone> {
        match send(&self.socket, bytes, SendFlags::NOSIGNAL) {
            Ok(written) => Ok(written),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(_) => Err(Gone),
        }
    }

    fn watch(&self, poll: &OwnedFd, key: usize, what: EventFlags) -> Result<(), Gone> {
        epoll::modify(poll, &self.socket, data(key), what).map_err(|_| Gone)
    }

    fn tidy(&mut self) {
        self.rest = self.rest.take().filter(|rest| !rest.unread.is_empty() || !rest.unsent.is_empty());
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What epoll gives back for a client.
pub(crate) fn data(key: usize) -> EventData {
    // usize has at most 64 bits on every platform of Rust.
    EventData::new_u64(u64::try_from(key).unwrap_or(u64::MAX))
}
