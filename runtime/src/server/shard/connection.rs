//! From a connection's socket to the engine: what has come is read, cut into messages, and told.

use std::io;

use mio::{Registry, Token, event, net::TcpStream};
use switchboard_engine::{ConnId, Event, PeerFault};

use super::{mailbox::NewConnection, socket::Ending, state::State};
use switchboard_websocket::Incoming;

impl State {
    /// Takes a new connection.
    pub(super) fn open(&mut self, registry: &Registry, new: NewConnection) {
        let NewConnection { stream, tls, user, protocol, read_ahead, login, place } = new;
        let is_tls = tls.is_some();
        let limit = self.limits().connections;
        // The gateway has counted the places, so there is a slot.
        let Some(socket) = self.sockets.insert(TcpStream::from_std(stream), tls, place, limit) else {
            return;
        };
        let conn = socket.id;
        #[cfg(test)]
        let protocol = socket.begin_echo(&user, protocol);
        if let Err(error) = socket.register(registry) {
            tracing::warn!(%error, "cannot take over a connection");
            drop(self.sockets.remove(conn));
            return;
        }
        tracing::debug!(%conn, %user, ?protocol, "connected");
        if let Some(login) = login {
            let now = self.now();
            self.logins.add(conn, user.clone(), login, now);
        }
        self.handle(Event::Connected { conn, user, protocol });
        if !read_ahead.is_empty() {
            self.arrived(conn, &mut read_ahead.to_vec());
        }
        if is_tls {
            // What the handshake has decrypted already, no event will tell of.
            self.read(conn);
        }
    }

    /// Does what a socket allows: writes what waits, reads what has come.
    pub(super) fn ready(&mut self, event: &event::Event) {
        let Token(slot) = event.token();
        // Whose slot is taken again has one look at its socket for nothing.
        let Some(socket) = self.sockets.at(slot) else { return };
        let conn = socket.id;
        let is_broken = event.is_error() || event.is_write_closed();
        socket.read_closed |= is_broken || event.is_read_closed();
        let may_read = (event.is_readable() || socket.read_closed) && !socket.read_again;
        if socket.is_blocked() && (is_broken || event.is_writable()) {
            self.write_backlog(conn);
        }
        if may_read {
            self.read_in_turn(conn);
        }
    }

    /// Reads at once from a peer that is there; who has gone waits until those who are there have been heard.
    fn read_in_turn(&mut self, conn: ConnId) {
        let Some(socket) = self.sockets.get_mut(conn) else { return };
        if socket.read_closed {
            socket.read_again = true;
            self.going.push_back(conn);
        } else {
            self.read(conn);
        }
    }

    /// Reads once, as much as the buffer takes: a peer that sends without end gets its turn with the others.
    pub(super) fn read(&mut self, conn: ConnId) {
        let Some(socket) = self.sockets.get_mut(conn) else { return };
        socket.read_again = false;
        if socket.is_over() {
            return;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        match socket.read(&mut buffer) {
            Ok((0, _)) => self.end(conn),
            Ok((read, is_more)) => {
                self.arrived(conn, buffer.get_mut(..read).unwrap_or_default());
                self.go_on(conn, is_more);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.go_on(conn, true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                tracing::debug!(%conn, %error, "cannot read from a connection");
                self.end(conn);
            }
        }
        self.buffer = buffer;
    }

    /// A read that has not filled the buffer has taken all there was, and an event will tell of what comes; but for the end, of
    /// which an event has told already.
    fn go_on(&mut self, conn: ConnId, is_more: bool) {
        let Some(socket) = self.sockets.get_mut(conn) else { return };
        if socket.read_closed {
            socket.read_again = true;
            self.going.push_back(conn);
        } else if is_more {
            socket.read_again = true;
            self.read_again.push(conn);
        }
    }

    /// Hands the messages in what has arrived to the engine.
    fn arrived(&mut self, conn: ConnId, mut bytes: &mut [u8]) {
        let limit = self.limits().message_bytes;
        let Some(socket) = self.sockets.get_mut(conn) else { return };
        let mut decoder = std::mem::take(&mut socket.decoder);
        let before = decoder.pending_bytes();
        loop {
            let incoming = decoder.next(&mut bytes, limit);
            #[cfg(test)]
            let Some(incoming) = self.echo(conn, incoming) else { continue };
            let Some(socket) = self.sockets.get_mut(conn) else { return };
            if socket.ending != Ending::Open {
                // The engine is done with the peer: only its close frame still matters.
                match incoming {
                    Ok(Some(Incoming::Close(_))) => self.peer_closed(conn),
                    Ok(Some(
                        Incoming::Message(_) | Incoming::Text(_) | Incoming::Ping(_) | Incoming::Pong(_),
                    )) => continue,
                    Ok(None) | Err(_) => {}
                }
                break;
            }
            match incoming {
                Ok(Some(Incoming::Message(message))) => self.handle(Event::Received { conn, message }),
                // The framing goes on, so that the peer's answer to the close frame is seen.
                Ok(Some(Incoming::Text(_))) => {
                    self.handle(Event::Misbehaved { conn, fault: PeerFault::TextMessage });
                }
                Ok(Some(Incoming::Ping(payload))) => self.handle(Event::Ping { conn, payload }),
                Ok(Some(Incoming::Pong(payload))) => self.handle(Event::Pong { conn, payload }),
                Ok(Some(Incoming::Close(close))) => {
                    socket.peer_code = close.map(|close| close.code);
                    self.handle(Event::PeerClosed { conn });
                    break;
                }
                Ok(None) => break,
                Err(fault) => {
                    self.handle(Event::Misbehaved { conn, fault });
                    break;
                }
            }
        }
        self.receiving_bytes = self.receiving_bytes - before + decoder.pending_bytes();
        let is_beyond = self.receiving_bytes > self.receive_budget_bytes && decoder.pending_bytes() > 0;
        if is_beyond {
            self.receiving_bytes -= decoder.pending_bytes();
            decoder.finish();
        }
        if let Some(socket) = self.sockets.get_mut(conn) {
            socket.decoder = decoder;
        }
        if is_beyond {
            self.handle(Event::Misbehaved { conn, fault: PeerFault::ReceiveBudget });
        }
    }

    fn peer_closed(&mut self, conn: ConnId) {
        if let Some(socket) = self.sockets.get_mut(conn)
            && socket.ending == Ending::Closing
        {
            socket.ending = Ending::Closed;
            self.check_end(conn);
        }
    }
}
