//! One connection as the original keeps it: its socket, its hand-over channel, and where its tasks are.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use switchboard_engine::UserId;

use super::{
    Task,
    channel::{Channel, Panic},
};

/// Payload bytes that the WebSocket library copies into the connection's one write buffer: Go's HTTP server
/// lends it a buffer of 4,096 bytes, of which 14 are kept for the frame's header.
const WRITE_BUFFER_BYTES: usize = 4096 - 14;

#[derive(Debug)]
pub(super) struct Client {
    pub(super) name: UserId,
    pub(super) send: Channel<Bytes>,
    pub(super) socket: Socket,
    pub(super) handshake: Handshake,
    pub(super) reader: Reader,
    pub(super) writer: Writer,
}

/// The HTTP handler that opened the connection.
///
/// `Register ──► Start ──► Ended`
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Handshake {
    /// Hands the client to the hub.
    Register,
    /// Starts the reader and the writer.
    Start,
    Ended,
}

/// The read loop.
///
/// ```text
/// Read ──► Pong ──► PongWritten ──► Read
///  │ └───► Sent (to the hub) ─────► Read
///  └─(error)─► Unregistered(First) ─► Unregistered(Deferred) ─► Ended
/// Pong ─(panic)─► Unregistered(Dying) ─► the process dies
/// ```
#[derive(Debug)]
pub(super) enum Reader {
    /// Not started, or reading.
    Read,
    /// Waits for the network.
    Waiting,
    /// The answer to a heartbeat is in the write buffer.
    Pong(Copied),
    /// The answer has been given to the socket; waits until there was room for all of it.
    PongWritten,
    /// A message has been given to the hub, or waits to be taken.
    Sent,
    /// An unregistering has been given to the hub, or waits to be taken.
    Unregistered(Unregistering),
    Ended,
}

/// Which of its unregisterings a read loop is at: on an error it makes one, and its deferred function another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unregistering {
    First,
    Deferred,
    /// Deferred functions run before a panic ends the process.
    Dying(Panic),
}

/// The write loop.
///
/// `Receive ──► Holding ──► Copied ──► Written ──► Receive …`, and from `Receive` to `Ended` when the channel
/// is closed.
#[derive(Debug)]
pub(super) enum Writer {
    /// Receives from the channel, or waits there.
    Receive,
    /// Has a message to write.
    Holding(Bytes),
    /// The message is in the write buffer.
    Copied(Copied),
    /// The message has been given to the socket; waits until there was room for all of it.
    Written,
    /// Has found the channel closed.
    Closing,
    Ended,
}

/// A frame on its way: as much of it as fits is in the connection's write buffer.
#[derive(Debug)]
pub(super) struct Copied {
    buffered_bytes: usize,
    rest: Bytes,
}

/// What comes from the network.
#[derive(Debug)]
pub(super) enum Inbound {
    Message(Bytes),
    Ping(Bytes),
    Close,
    Error,
}

/// Who has ended the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    No,
    /// The server, by closing the socket; what is in its buffer still leaves.
    Closed,
    /// The driver has said that it is gone.
    Gone,
}

#[derive(Debug)]
pub(super) struct Socket {
    /// What has arrived and is not read. The driver cannot be told to wait, so this has no limit of its own.
    pub(super) inbox: VecDeque<Inbound>,
    /// The library's one write buffer for this connection: two writers overwrite each other's frame in it.
    buffer: BytesMut,
    /// The library's mark that a write is going on.
    pub(super) is_writing: bool,
    /// Bytes given to the kernel and not yet sent.
    unsent_bytes: u64,
    limit_bytes: u64,
    /// Who waits for room in the kernel's buffer.
    pub(super) blocked: Option<Task>,
    pub(super) ended: Ended,
    /// A close frame was asked for, so the driver ends the connection by itself.
    pub(super) close_sent: bool,
}

impl Client {
    pub(super) fn new(name: UserId, limit_bytes: u64) -> Self {
        Self {
            name,
            send: Channel::default(),
            socket: Socket {
                inbox: VecDeque::new(),
                buffer: BytesMut::new(),
                is_writing: false,
                unsent_bytes: 0,
                limit_bytes,
                blocked: None,
                ended: Ended::No,
                close_sent: false,
            },
            handshake: Handshake::Register,
            reader: Reader::Read,
            writer: Writer::Receive,
        }
    }

    /// Whether nothing of it is left: no task and no connection.
    pub(super) fn is_over(&self) -> bool {
        self.live_tasks() == 0 && self.socket.ended == Ended::Gone
    }

    /// Tasks that exist, running or waiting.
    pub(super) fn live_tasks(&self) -> usize {
        if self.handshake != Handshake::Ended {
            return 1;
        }
        usize::from(!matches!(self.reader, Reader::Ended))
            + usize::from(!matches!(self.writer, Writer::Ended))
    }
}

impl Socket {
    /// The first half of a write: the payload goes into the shared buffer.
    pub(super) fn copy(&mut self, mut payload: Bytes) -> Copied {
        let start = payload.split_to(payload.len().min(WRITE_BUFFER_BYTES));
        if self.buffer.len() < start.len() {
            self.buffer.resize(start.len(), 0);
        }
        for (to, from) in self.buffer.iter_mut().zip(&start) {
            *to = *from;
        }
        Copied { buffered_bytes: start.len(), rest: payload }
    }

    /// The second half of a write, as far as the kernel: what is in the buffer by now, in the first half's length.
    pub(super) fn flush(&mut self, copied: &Copied) -> Result<Bytes, Panic> {
        if self.is_writing {
            return Err(Panic("concurrent write to websocket connection"));
        }
        self.is_writing = true;
        let start = self.buffer.get(..copied.buffered_bytes).unwrap_or_default();
        let payload = Bytes::from([start, &copied.rest].concat());
        if self.ended == Ended::No {
            self.took(&payload);
        }
        Ok(payload)
    }

    /// The kernel has taken a frame.
    pub(super) fn took(&mut self, payload: &Bytes) {
        self.unsent_bytes =
            self.unsent_bytes.saturating_add(u64::try_from(payload.len()).unwrap_or(u64::MAX));
    }

    /// The kernel has sent something.
    pub(super) fn sent(&mut self, payload_bytes: u64) {
        self.unsent_bytes = self.unsent_bytes.saturating_sub(payload_bytes);
    }

    /// Whether a write would have to wait.
    pub(super) fn is_full(&self) -> bool {
        self.ended == Ended::No && self.unsent_bytes > self.limit_bytes
    }

    /// Whether the kernel has nothing more to send.
    pub(super) fn is_drained(&self) -> bool {
        self.unsent_bytes == 0
    }
}
