//! One connection's socket: what is still to be written to it.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    net::Shutdown,
    task::Waker,
};

use bytes::Bytes;
use socket2::SockRef;
use switchboard_engine::ConnId;
use tokio::net::tcp::OwnedWriteHalf;

/// Frames that one system call carries at the most. More gain nothing: at 16 frames a write costs a tenth of
/// what 16 writes cost, and Linux takes at most 1,024 pieces.
const FRAMES_PER_WRITE: usize = 64;

/// Frames that a queue has room for when it is kept for the next socket.
const FRAMES_KEPT: usize = 8;

/// Queues that are kept; what a broadcast to more sockets needs besides is allocated and freed.
const QUEUES_KEPT: usize = 1024;

/// Empty queues that idle sockets have given back: a queue's memory is needed from a frame's decision until the end
/// of the turn, and most sockets are idle.
#[derive(Debug, Default)]
pub(super) struct Queues {
    spare: Vec<Queue>,
}

type Queue = VecDeque<Outgoing>;

impl Queues {
    fn lend(&mut self, queue: &mut Queue) {
        if queue.capacity() == 0
            && let Some(spare) = self.spare.pop()
        {
            *queue = spare;
        }
    }

    fn take_back(&mut self, queue: &mut Queue) {
        let mut queue = std::mem::take(queue);
        if queue.capacity() > 0 && self.spare.len() < QUEUES_KEPT {
            queue.shrink_to(FRAMES_KEPT);
            self.spare.push(queue);
        }
    }
}

/// The writing side of one connection.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) id: ConnId,
    stream: OwnedWriteHalf,
    queue: Queue,
    /// Bytes of the queue's first frame that are written already.
    written: usize,
    /// The kernel's buffer is full; the connection's task waits until it is not.
    pub(super) blocked: bool,
    /// It is in the list of sockets to be written to in this turn.
    pub(super) dirty: bool,
    pub(super) ending: Ending,
    /// The code of the peer's close frame, to answer with.
    pub(super) peer_code: Option<u16>,
    /// Wakes the connection's task.
    pub(super) waker: Option<Waker>,
}

/// How far the connection's end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It is open.
    Open,
    /// Its close frame is in the queue; what still comes from the peer is read and ignored, because a socket
    /// closed with unread bytes is reset, and the peer would lose the close frame.
    Closing,
    /// The peer has closed too: when the queue is empty, it is over.
    Closed,
    /// It is over, whatever is in the queue.
    Aborted,
}

/// A frame, and what its payload counts when it is reported flushed.
#[derive(Debug)]
struct Outgoing {
    bytes: Bytes,
    /// None for a close frame, which is the runtime's own.
    payload_len: Option<usize>,
}

/// What one turn's writing has done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    pub(super) frames: u32,
    pub(super) payload_bytes: u64,
}

impl Socket {
    pub(super) fn new(id: ConnId, stream: OwnedWriteHalf) -> Self {
        Self {
            id,
            stream,
            queue: Queue::new(),
            written: 0,
            blocked: false,
            dirty: false,
            ending: Ending::Open,
            peer_code: None,
            waker: None,
        }
    }

    /// Queues a frame; false if no frame can follow what is queued.
    pub(super) fn push(&mut self, bytes: Bytes, payload_len: usize, queues: &mut Queues) -> bool {
        if self.ending != Ending::Open {
            return false;
        }
        queues.lend(&mut self.queue);
        self.queue.push_back(Outgoing { bytes, payload_len: Some(payload_len) });
        true
    }

    /// Queues the last frame.
    pub(super) fn push_close(&mut self, bytes: Bytes, peer_closed: bool) {
        if self.ending == Ending::Open {
            self.queue.push_back(Outgoing { bytes, payload_len: None });
            self.ending = if peer_closed { Ending::Closed } else { Ending::Closing };
        }
    }

    /// Ends the connection at once.
    pub(super) fn abort(&mut self) {
        self.ending = Ending::Aborted;
        self.wake();
    }

    /// Whether there is nothing left to do for the connection but to forget it.
    pub(super) fn is_over(&self) -> bool {
        match self.ending {
            Ending::Aborted => true,
            Ending::Closed => self.queue.is_empty(),
            Ending::Open | Ending::Closing => false,
        }
    }

    /// The socket, to wait for.
    pub(super) fn stream(&self) -> &OwnedWriteHalf {
        &self.stream
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// Writes what the kernel takes. On an error the connection is over.
    pub(super) fn write(&mut self, queues: &mut Queues) -> Progress {
        let mut progress = Progress::default();
        while !self.queue.is_empty() && !self.blocked {
            match self.write_once() {
                Ok(written) => self.advance(written, &mut progress),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.blocked = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::debug!(conn = %self.id, %error, "cannot write to a connection");
                    self.ending = Ending::Aborted;
                    break;
                }
            }
        }
        if self.queue.is_empty() {
            queues.take_back(&mut self.queue);
            if self.ending == Ending::Closing {
                // The peer sees the end after the close frame, and closes on its side.
                let _ = SockRef::from(self.stream.as_ref()).shutdown(Shutdown::Write);
            }
        }
        if self.blocked || self.is_over() {
            self.wake();
        }
        progress
    }

    fn write_once(&self) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); FRAMES_PER_WRITE];
        let mut skip = self.written;
        let mut count = 0;
        for (slice, frame) in slices.iter_mut().zip(&self.queue) {
            *slice = IoSlice::new(frame.bytes.get(skip..).unwrap_or_default());
            skip = 0;
            count += 1;
        }
        match slices.get(..count) {
            Some([one]) => self.stream.try_write(one),
            Some(many) => self.stream.try_write_vectored(many),
            None => Ok(0),
        }
    }

    fn advance(&mut self, written: usize, progress: &mut Progress) {
        let mut left = self.written + written;
        while let Some(frame) = self.queue.front() {
            if left < frame.bytes.len() {
                break;
            }
            left -= frame.bytes.len();
            if let Some(payload_len) = frame.payload_len {
                progress.frames += 1;
                progress.payload_bytes += payload_len as u64;
            }
            self.queue.pop_front();
        }
        self.written = left;
    }
}
