//! TLS over the socket of one connection, after the handshake.

use std::io::{self, IoSlice, Read as _, Write};

use mio::net::TcpStream;
use rustix::{
    io::{Errno, writev},
    net::{RecvFlags, SendFlags, recv, send},
};
use rustls::ServerConnection;

use super::frames::Counted;

/// What is encrypted and not written, at the most: then the rest waits as it is.
const ENCRYPTED_LIMIT_BYTES: usize = 64 << 10;

/// Reads of the socket for one of a connection. rustls takes 4 KiB at once, so they fill the buffer of a shard and more; a peer that
/// sends records with nothing in them has its turn with the others.
const READS_AT_ONCE: usize = 32;

/// The state of TLS for one connection.
///
/// A frame counts as written when all that was encrypted up to its end is: how much of a record the kernel has taken says nothing
/// of the frames in it.
#[derive(Debug)]
pub(super) struct Session {
    tls: ServerConnection,
    /// What is encrypted and not written yet.
    unwritten: Counted,
}

impl Session {
    pub(super) fn new(mut tls: ServerConnection) -> Self {
        tls.set_buffer_limit(Some(ENCRYPTED_LIMIT_BYTES));
        Self { tls, unwritten: Counted::default() }
    }

    /// Reads what is there, up to the buffer's size: how much, and whether there may be more without an event of the socket.
    /// `WouldBlock` when nothing is there.
    pub(super) fn read(&mut self, stream: &TcpStream, buffer: &mut [u8]) -> io::Result<(usize, bool)> {
        let (mut read, mut reads) = (0, 0);
        while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
            let next = match self.tls.reader().read(rest) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && reads < READS_AT_ONCE => {
                    reads += 1;
                    self.fetch(stream).map(|()| None)
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    Err(io::ErrorKind::Interrupted.into())
                }
                // The end, with a close_notify or without: WebSockets have ends of their own.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Some(0)),
                other => other.map(Some),
            };
            match next {
                Ok(None) => {}
                Ok(Some(0)) if read == 0 => return Ok((0, false)),
                // Whatever ends it does so again.
                Ok(Some(0)) => return Ok((read, true)),
                Ok(Some(some)) => read += some,
                Err(error) if read == 0 => return Err(error),
                Err(error) => return Ok((read, error.kind() != io::ErrorKind::WouldBlock)),
            }
        }
        Ok((read, true))
    }

    /// Takes what has come on the socket, once.
    fn fetch(&mut self, stream: &TcpStream) -> io::Result<()> {
        self.tls.read_tls(&mut Wire(stream))?;
        let processed = self.tls.process_new_packets();
        // An alert, or new keys. If it cannot be written now, it goes with what is written next.
        let _ = self.push(stream);
        processed.map(drop).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Encrypts these bytes as far as there is room, for which it writes as far as the kernel takes it: how many.
    pub(super) fn write(
        &mut self,
        stream: &TcpStream,
        mut pieces: &mut [IoSlice<'_>],
    ) -> rustix::io::Result<usize> {
        let mut written = 0;
        loop {
            let some = self.tls.writer().write_vectored(pieces).map_err(|_| Errno::PIPE)?;
            written += some;
            IoSlice::advance_slices(&mut pieces, some);
            if pieces.is_empty() {
                return Ok(written);
            }
            match self.push(stream) {
                Ok(()) => {}
                Err(Errno::AGAIN) if written > 0 => return Ok(written),
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Writes what is encrypted, with what is counted here for it; gives what has left.
    pub(super) fn settle(&mut self, stream: &TcpStream, encrypted: Counted) -> rustix::io::Result<Counted> {
        self.unwritten += encrypted;
        match self.push(stream) {
            Ok(()) => Ok(std::mem::take(&mut self.unwritten)),
            Err(Errno::AGAIN) => Ok(Counted::default()),
            Err(errno) => Err(errno),
        }
    }

    /// Whether all that is encrypted is written.
    pub(super) fn is_written(&self) -> bool {
        !self.tls.wants_write()
    }

    /// Tells the peer that nothing follows (RFC 8446 section 6.1), once.
    pub(super) fn close(&mut self, stream: &TcpStream) -> rustix::io::Result<()> {
        self.tls.send_close_notify();
        match self.push(stream) {
            Ok(()) | Err(Errno::AGAIN) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    fn push(&mut self, stream: &TcpStream) -> rustix::io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Wire(stream)) {
                Ok(0) => return Err(Errno::PIPE),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
            }
        }
        Ok(())
    }
}

/// The socket as rustls sees it.
struct Wire<'a>(&'a TcpStream);

impl io::Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (read, _) = recv(self.0, buffer, RecvFlags::empty())?;
        Ok(read)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(self.0, bytes, SendFlags::NOSIGNAL)?)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(writev(self.0, pieces)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
