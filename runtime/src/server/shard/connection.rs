//! The task of one connection: it waits for its socket, and for nothing else.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use switchboard_engine::{ConnId, Event, PeerFault};
use tokio::{
    io::{AsyncRead as _, ReadBuf},
    net::{TcpStream, tcp::OwnedReadHalf},
};

use super::{NewConnection, Place, Shard, socket::Ending, state::State};
use crate::websocket::{Decoder, Incoming};

/// Starts the task of a new connection.
pub(super) fn open(shard: &Rc<Shard>, new: NewConnection) {
    let NewConnection { stream, user, protocol, read_ahead, place } = new;
    let stream = match TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => return tracing::warn!(%error, "cannot take over a connection"),
    };
    let (read, write) = stream.into_split();
    let mut state = shard.state();
    // The gateway has counted the places, so there is a slot.
    let Some(conn) = state.add(write) else { return };
    tracing::debug!(%conn, %user, ?protocol, "connected");
    state.handle(Event::Connected { conn, user, protocol });
    let mut connection =
        Connection { shard: Rc::clone(shard), conn, read, decoder: Decoder::default(), place: Some(place) };
    if !read_ahead.is_empty() {
        connection.arrived(&mut state, &mut read_ahead.to_vec());
    }
    shard.after(&mut state);
    drop(state);
    tokio::task::spawn_local(connection);
}

/// The reading side of one connection, and the whole of what its task keeps: there is one for each idle
/// connection, so it is a future written by hand, which holds nothing twice.
struct Connection {
    shard: Rc<Shard>,
    conn: ConnId,
    read: OwnedReadHalf,
    decoder: Decoder,
    /// Until it is over.
    place: Option<Place>,
}

impl Future for Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        while ready!(self.turn(context)) {}
        let shard = Rc::clone(&self.shard);
        let mut state = shard.state();
        state.receiving_bytes -= self.decoder.pending_bytes();
        if let Some(place) = self.place.take() {
            state.remove(self.conn, place);
        }
        shard.after(&mut state);
        Poll::Ready(())
    }
}

impl Connection {
    /// Waits until something can be read, or written of what waits, and does it. False when it is over.
    fn turn(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        let shard = Rc::clone(&self.shard);
        let mut state = shard.state();
        let Some(socket) = state.socket(self.conn) else { return Poll::Ready(false) };
        if socket.is_over() {
            return Poll::Ready(false);
        }
        if !socket.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            socket.waker = Some(context.waker().clone());
        }
        if socket.blocked {
            match socket.stream().as_ref().poll_write_ready(context) {
                Poll::Ready(Ok(())) => {
                    socket.blocked = false;
                    state.write(self.conn);
                    shard.after(&mut state);
                    return Poll::Ready(true);
                }
                Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Pending => {}
            }
        }
        let mut buffer = state.take_buffer();
        let read = self.poll_read(context, &mut state, &mut buffer);
        state.return_buffer(buffer);
        shard.after(&mut state);
        read
    }

    fn poll_read(&mut self, context: &mut Context<'_>, state: &mut State, buffer: &mut [u8]) -> Poll<bool> {
        let mut read = ReadBuf::new(buffer);
        match ready!(Pin::new(&mut self.read).poll_read(context, &mut read)) {
            Ok(()) if read.filled().is_empty() => Poll::Ready(false),
            Ok(()) => {
                self.arrived(state, read.filled_mut());
                Poll::Ready(true)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Poll::Ready(true),
            Err(error) => {
                tracing::debug!(conn = %self.conn, %error, "cannot read from a connection");
                Poll::Ready(false)
            }
        }
    }

    /// Hands the messages in what has arrived to the engine.
    fn arrived(&mut self, state: &mut State, mut bytes: &mut [u8]) {
        let (conn, limit) = (self.conn, state.message_limit_bytes());
        let before = self.decoder.pending_bytes();
        loop {
            let incoming = self.decoder.next(&mut bytes, limit);
            if !self.is_open(state) {
                // The engine is done with the peer: only its close frame still matters.
                match incoming {
                    Ok(Some(Incoming::Close(_))) => self.peer_closed(state),
                    Ok(Some(Incoming::Message(_) | Incoming::Ping(_) | Incoming::Pong(_))) => continue,
                    Ok(None) | Err(_) => {}
                }
                break;
            }
            match incoming {
                Ok(Some(Incoming::Message(message))) => state.handle(Event::Received { conn, message }),
                Ok(Some(Incoming::Ping(payload))) => state.handle(Event::Ping { conn, payload }),
                Ok(Some(Incoming::Pong(payload))) => state.handle(Event::Pong { conn, payload }),
                Ok(Some(Incoming::Close(close))) => {
                    if let Some(socket) = state.socket(conn) {
                        socket.peer_code = close.map(|close| close.code);
                    }
                    state.handle(Event::PeerClosed { conn });
                    break;
                }
                Ok(None) => break,
                Err(fault) => {
                    state.handle(Event::Misbehaved { conn, fault });
                    break;
                }
            }
        }
        state.receiving_bytes = state.receiving_bytes - before + self.decoder.pending_bytes();
        if state.receiving_bytes > state.receive_budget_bytes && self.decoder.pending_bytes() > 0 {
            state.receiving_bytes -= self.decoder.pending_bytes();
            self.decoder.finish();
            state.handle(Event::Misbehaved { conn, fault: PeerFault::ReceiveBudget });
        }
    }

    fn is_open(&self, state: &mut State) -> bool {
        state.socket(self.conn).is_some_and(|socket| socket.ending == Ending::Open)
    }

    fn peer_closed(&self, state: &mut State) {
        if let Some(socket) = state.socket(self.conn)
            && socket.ending == Ending::Closing
        {
            socket.ending = Ending::Closed;
            socket.wake();
        }
    }
}
