//! One connection's socket: what is read from it, and what is still to be written to it.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    net::Shutdown,
};

use bytes::Bytes;
use mio::{Interest, Registry, Token, net::TcpStream};
use rustix::{
    io::{Errno, writev},
    net::{RecvFlags, SendFlags, recv, send},
};
use rustls::ServerConnection;
use switchboard_engine::ConnId;

use super::{
    Place,
    frames::{Chain, Counted, FrameId, Frames},
    tls::Session,
};
use switchboard_websocket::Decoder;

/// Pieces that one system call carries at the most. More gain nothing: at 16 frames a write costs a tenth of
/// what 16 writes cost, and Linux takes at most 1,024 pieces.
const PIECES_PER_WRITE: usize = 64;

/// One connection, as long as it has a socket. There is one for each idle connection, so it is small.
///
/// System calls on the socket are made without the C library: in a process with threads its `send` and `recv` are points at
/// which a thread may be cancelled, and each call pays for two atomic operations to say so.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) id: ConnId,
    stream: TcpStream,
    /// With TLS, what is written to the socket and read from it goes through this.
    tls: Option<Box<Session>>,
    pub(super) ending: Ending,
    /// The peer has ended its side, or the connection is broken: it is read until it says so, as no event will come again.
    pub(super) read_closed: bool,
    /// It is in the list of sockets that are read in the next turn.
    pub(super) read_again: bool,
    /// The code of the peer's close frame, to answer with.
    pub(super) peer_code: Option<u16>,
    /// What it is sent in this turn; nothing while there is a backlog.
    chain: Chain,
    /// What the kernel did not take.
    backlog: Option<Box<Backlog>>,
    pub(super) decoder: Decoder,
    /// What comes is sent back, and is none of the engine's.
    #[cfg(test)]
    pub(super) echoes: bool,
    /// Given back when the socket goes.
    _place: Place,
}

/// How far the connection's end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It is open.
    Open,
    /// Its close frame is the last that is sent; what still comes from the peer is read and ignored, because a socket
    /// closed with unread bytes is reset, and the peer would lose the close frame.
    Closing,
    /// The peer has closed too: when all is written, it is over.
    Closed,
    /// It is over, whatever is not written.
    Aborted,
}

/// Frames that wait until the kernel has room. It holds a share of what was sent to many.
#[derive(Debug, Default)]
struct Backlog {
    frames: VecDeque<Outgoing>,
    /// Bytes of the first frame that are written already.
    written: usize,
}

#[derive(Debug)]
struct Outgoing {
    bytes: Bytes,
    counted: Counted,
}

impl Socket {
    pub(super) fn new(id: ConnId, stream: TcpStream, tls: Option<ServerConnection>, place: Place) -> Self {
        Self {
            id,
            stream,
            tls: tls.map(|tls| Box::new(Session::new(tls))),
            ending: Ending::Open,
            read_closed: false,
            read_again: false,
            peer_code: None,
            chain: Chain::EMPTY,
            backlog: None,
            decoder: Decoder::default(),
            #[cfg(test)]
            echoes: false,
            _place: place,
        }
    }

    /// Says what the loop is to be told of: an edge of either kind, so that waiting for room takes no system call.
    pub(super) fn register(&mut self, registry: &Registry) -> io::Result<()> {
        let token = Token(self.id.slot() as usize);
        registry.register(&mut self.stream, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Sends a frame with the end of this turn, or when the kernel has room again; nothing after the last one. `copy` is the frame
    /// by itself, if any recipient has needed it.
    pub(super) fn push(&mut self, frame: FrameId, frames: &mut Frames, copy: &mut Option<Bytes>) {
        if self.ending != Ending::Open {
            return;
        }
        match &mut self.backlog {
            Some(backlog) => {
                let bytes =
                    copy.get_or_insert_with(|| Bytes::copy_from_slice(frames.bytes_of(frame))).clone();
                backlog.frames.push_back(Outgoing { bytes, counted: frames.counted(frame) });
            }
            None => frames.append(self.id, &mut self.chain, frame),
        }
    }

    /// Sends the last frame.
    pub(super) fn push_close(&mut self, frame: FrameId, frames: &mut Frames, peer_closed: bool) {
        self.push(frame, frames, &mut None);
        if self.ending == Ending::Open {
            self.ending = if peer_closed { Ending::Closed } else { Ending::Closing };
        }
    }

    /// Whether there is nothing left to do for the connection but to forget it.
    pub(super) fn is_over(&self) -> bool {
        match self.ending {
            Ending::Aborted => true,
            Ending::Closed => self.is_written(),
            Ending::Open | Ending::Closing => false,
        }
    }

    fn is_written(&self) -> bool {
        self.chain.is_empty() && !self.is_blocked()
    }

    /// Reads what is there, up to the buffer's size: how much, and whether there may be more of which no event will tell.
    /// `WouldBlock` when nothing is there.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<(usize, bool)> {
        if let Some(tls) = &mut self.tls {
            return tls.read(&self.stream, buffer);
        }
        let (read, _) = recv(&self.stream, &mut *buffer, RecvFlags::empty())?;
        Ok((read, read == buffer.len()))
    }

    /// Writes what the turn has for it, as far as the kernel takes it. On an error the connection is over.
    pub(super) fn write(&mut self, frames: &Frames) -> Counted {
        let mut progress = Counted::default();
        let mut chain = std::mem::take(&mut self.chain);
        while !chain.is_empty() && self.ending != Ending::Aborted {
            let mut rest = chain;
            let (wanted, counted, written) = self.write_runs(frames, &mut rest);
            match written {
                Ok(written) if written == wanted => {
                    progress += counted;
                    chain = rest;
                }
                Ok(written) => progress += self.keep(frames, &mut chain, written),
                Err(Errno::AGAIN) => progress += self.keep(frames, &mut chain, 0),
                Err(Errno::INTR) => {}
                Err(errno) => self.failed(errno),
            }
        }
        self.finish(progress)
    }

    /// Takes as many runs off the chain as one system call carries, and makes it: how many bytes they have, what they count, and how
    /// many bytes are written. With TLS they are encrypted, and written with the next call if need be.
    fn write_runs(
        &mut self,
        frames: &Frames,
        chain: &mut Chain,
    ) -> (usize, Counted, rustix::io::Result<usize>) {
        let Some(first) = frames.pop(chain) else { return (0, Counted::default(), Ok(0)) };
        let (mut bytes, mut counted) = (frames.bytes_of(first), frames.counted(first));
        if chain.is_empty() && self.tls.is_none() {
            return (bytes.len(), counted, send(&self.stream, bytes, SendFlags::NOSIGNAL));
        }
        let mut pieces = [IoSlice::new(&[]); PIECES_PER_WRITE];
        let (mut count, mut wanted) = (0, 0);
        for piece in &mut pieces {
            *piece = IoSlice::new(bytes);
            (count, wanted) = (count + 1, wanted + bytes.len());
            if count == PIECES_PER_WRITE {
                break;
            }
            let Some(run) = frames.pop(chain) else { break };
            bytes = frames.bytes_of(run);
            counted += frames.counted(run);
        }
        let pieces = pieces.get_mut(..count).unwrap_or_default();
        (wanted, counted, write_pieces(&self.stream, self.tls.as_deref_mut(), pieces))
    }

    /// Keeps what the kernel has not taken: all of a chain but its first bytes. What it has taken counts.
    fn keep(&mut self, frames: &Frames, chain: &mut Chain, mut written: usize) -> Counted {
        let mut progress = Counted::default();
        let backlog = self.backlog.get_or_insert_default();
        while let Some(run) = frames.pop(chain) {
            for frame in run.iter() {
                let (bytes, counted) = (frames.bytes_of(frame), frames.counted(frame));
                if backlog.frames.is_empty() && written >= bytes.len() {
                    written -= bytes.len();
                    progress += counted;
                } else {
                    backlog.frames.push_back(Outgoing { bytes: Bytes::copy_from_slice(bytes), counted });
                }
            }
        }
        backlog.written = written;
        progress
    }

    /// Whether it waits for the kernel to have room.
    pub(super) fn is_blocked(&self) -> bool {
        self.backlog.is_some() || self.tls.as_ref().is_some_and(|tls| !tls.is_written())
    }

    /// Writes what waits for room until there is none: only then does the kernel say that there is some again.
    pub(super) fn write_backlog(&mut self) -> Counted {
        self.finish(Counted::default())
    }

    /// Writes the backlog, and what is to be done when nothing waits any more. With TLS, what was written so far is encrypted, and
    /// is written now.
    fn finish(&mut self, mut progress: Counted) -> Counted {
        while let Some(backlog) = &mut self.backlog {
            match backlog.write_once(&self.stream, self.tls.as_deref_mut()) {
                Ok(written) => {
                    backlog.advance(written, &mut progress);
                    if backlog.frames.is_empty() {
                        self.backlog = None;
                    }
                }
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(errno) => {
                    self.failed(errno);
                    break;
                }
            }
        }
        if let Some(tls) = &mut self.tls {
            progress = match self.ending {
                Ending::Aborted => Ok(Counted::default()),
                Ending::Open | Ending::Closing | Ending::Closed => tls.settle(&self.stream, progress),
            }
            .unwrap_or_else(|errno| {
                self.failed(errno);
                Counted::default()
            });
        }
        self.end();
        progress
    }

    /// Says to a peer that is sent nothing more that this was all.
    fn end(&mut self) {
        match self.ending {
            Ending::Closing | Ending::Closed if self.is_written() => {}
            Ending::Open | Ending::Closing | Ending::Closed | Ending::Aborted => return,
        }
        if let Some(Err(errno)) = self.tls.as_mut().map(|tls| tls.close(&self.stream)) {
            return self.failed(errno);
        }
        if self.ending == Ending::Closing && self.is_written() {
            // The peer sees the end after the close frame, and closes on its side.
            let _ = self.stream.shutdown(Shutdown::Write);
        }
    }

    fn failed(&mut self, errno: Errno) {
        tracing::debug!(conn = %self.id, error = %io::Error::from(errno), "cannot write to a connection");
        self.ending = Ending::Aborted;
    }
}

/// Writes these pieces with one system call; with TLS, as many as it takes to encrypt them.
fn write_pieces(
    stream: &TcpStream,
    tls: Option<&mut Session>,
    pieces: &mut [IoSlice<'_>],
) -> rustix::io::Result<usize> {
    match tls {
        Some(tls) => tls.write(stream, pieces),
        None => writev(stream, pieces),
    }
}

impl Backlog {
    fn write_once(&self, stream: &TcpStream, tls: Option<&mut Session>) -> rustix::io::Result<usize> {
        let mut pieces = [IoSlice::new(&[]); PIECES_PER_WRITE];
        let (mut skip, mut count) = (self.written, 0);
        for (piece, frame) in pieces.iter_mut().zip(&self.frames) {
            *piece = IoSlice::new(frame.bytes.get(skip..).unwrap_or_default());
            (skip, count) = (0, count + 1);
        }
        write_pieces(stream, tls, pieces.get_mut(..count).unwrap_or_default())
    }

    fn advance(&mut self, written: usize, progress: &mut Counted) {
        let mut left = self.written + written;
        while let Some(frame) = self.frames.front() {
            if left < frame.bytes.len() {
                break;
            }
            left -= frame.bytes.len();
            *progress += frame.counted;
            self.frames.pop_front();
        }
        self.written = left;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use switchboard_engine::Frame;

    use super::*;

    /// A socket that takes little at a time, and its peer.
    fn pair() -> (Socket, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        socket2::SockRef::from(&stream).set_send_buffer_size(65_536).unwrap();
        stream.set_nonblocking(true).unwrap();
        peer.set_nonblocking(true).unwrap();
        let place = Place::default();
        (Socket::new(ConnId::new(0, 0), TcpStream::from_std(stream), None, place), peer)
    }

    /// What the peer can read now; none at the end.
    fn some_of(peer: &mut std::net::TcpStream) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 65_536];
        match peer.read(&mut buffer) {
            Ok(0) => None,
            Ok(read) => Some(buffer[..read].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::yield_now();
                Some(Vec::new())
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn message(number: usize) -> Frame {
        Frame::Message(vec![u8::try_from(number % 256).unwrap(); 50_000 + number].into())
    }

    fn encoded(messages: std::ops::Range<usize>) -> Vec<u8> {
        let mut bytes = Vec::new();
        messages.for_each(|number| switchboard_websocket::encode(&message(number), &mut bytes));
        bytes
    }

    /// Gives the socket one turn's messages, of which every second is for it, and what the turn has written.
    fn turn(socket: &mut Socket, messages: std::ops::Range<usize>) -> Counted {
        let mut frames = Frames::default();
        for number in messages {
            let frame = frames.add(&message(number));
            socket.push(frame, &mut frames, &mut None);
            frames.add(&message(0));
        }
        socket.write(&frames)
    }

    #[test]
    fn what_the_kernel_does_not_take_follows_in_order_and_counts_once() {
        let (mut socket, mut peer) = pair();
        let mut progress = turn(&mut socket, 0..30);
        assert!(socket.is_blocked() && progress.frames < 30);
        progress += turn(&mut socket, 30..35);
        let expected = encoded(0..35);
        let mut read = Vec::new();
        while read.len() < expected.len() {
            read.extend(some_of(&mut peer).unwrap());
            progress += socket.write_backlog();
        }
        assert!(read == expected);
        assert!(!socket.is_blocked());
        let payload_bytes = (0..35).map(|number| message(number).payload().len() as u64).sum();
        assert_eq!(progress, Counted { frames: 35, payload_bytes });
    }

    #[test]
    fn a_close_frame_is_the_last_and_ends_the_writing_side() {
        let (mut socket, mut peer) = pair();
        let mut frames = Frames::default();
        let last = frames.add(&message(0));
        socket.push(last, &mut frames, &mut None);
        let close = frames.add_close(switchboard_engine::CloseReason::GoingAway, None);
        socket.push_close(close, &mut frames, false);
        let late = frames.add(&message(1));
        socket.push(late, &mut frames, &mut None);
        let mut progress = socket.write(&frames);
        let mut expected = encoded(0..1);
        switchboard_websocket::encode_close(switchboard_engine::CloseReason::GoingAway, &mut expected);
        let mut read = Vec::new();
        while let Some(some) = some_of(&mut peer) {
            read.extend(some);
            progress += socket.write_backlog();
        }
        assert!(read == expected);
        assert_eq!(progress, Counted { frames: 1, payload_bytes: 50_000 });
        assert!(!socket.is_over());
    }

    #[test]
    fn a_peer_that_has_gone_ends_the_connection() {
        let (mut socket, peer) = pair();
        drop(peer);
        let mut turns = 0;
        while !socket.is_over() {
            turn(&mut socket, turns..turns + 1);
            turns += 1;
            // The kernel learns it from the answer to the first write, which it waits for in no call.
            assert!(turns < 10_000);
            std::thread::yield_now();
        }
    }
}
