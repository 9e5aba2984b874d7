//! The tasks around the hub: per connection the HTTP handler, the read loop and the write loop; and the bus's
//! consumer.

use super::{
    Bytes, ConnId, Effect, Ended, Frame, Handshake, Inbound, Mail, OriginalHub, Panic, Reader, Received,
    Sent, Task,
    client::{Unregistering, Writer},
    wire,
};

impl OriginalHub {
    pub(super) fn handshake_step(&mut self, conn: ConnId) -> Result<(), Panic> {
        let Some(client) = self.clients.get_mut(&conn) else { return Ok(()) };
        match client.handshake {
            Handshake::Register => {
                client.handshake = Handshake::Start;
                let sent = self.register.send(Task::Handshake(conn), conn)?;
                self.given_to_hub(Task::Handshake(conn), sent, Mail::Register);
            }
            Handshake::Start => {
                client.handshake = Handshake::Ended;
                self.wake(Task::Reader(conn));
                self.wake(Task::Writer(conn));
            }
            Handshake::Ended => {}
        }
        Ok(())
    }

    /// Goes on after a send to one of the hub's channels: at once if the hub waited there.
    fn given_to_hub<T>(&mut self, from: Task, sent: Sent<T>, mail: impl FnOnce(T) -> Mail) {
        match sent {
            Sent::Taken { by: _, value } => {
                self.hub_takes(mail(value));
                self.wake(from);
            }
            Sent::Parked => {}
        }
    }

    pub(super) fn reader_step(&mut self, conn: ConnId) -> Result<(), Panic> {
        let task = Task::Reader(conn);
        let Some(client) = self.clients.get_mut(&conn) else { return Ok(()) };
        match core::mem::replace(&mut client.reader, Reader::Read) {
            Reader::Read | Reader::Waiting | Reader::Sent => return self.read(conn),
            Reader::Pong(copied) => match client.socket.flush(&copied) {
                Ok(payload) => {
                    client.reader = Reader::PongWritten;
                    self.written(task, conn, payload);
                }
                Err(panic) => return self.unregister(conn, Unregistering::Dying(panic)),
            },
            Reader::PongWritten => {
                client.socket.is_writing = false;
                self.wake(task);
            }
            Reader::Unregistered(at) => {
                self.close_socket(conn);
                match at {
                    Unregistering::First => return self.unregister(conn, Unregistering::Deferred),
                    Unregistering::Deferred => self.ended(conn, task),
                    Unregistering::Dying(panic) => return Err(panic),
                }
            }
            Reader::Ended => {}
        }
        Ok(())
    }

    fn read(&mut self, conn: ConnId) -> Result<(), Panic> {
        let task = Task::Reader(conn);
        let Some(client) = self.clients.get_mut(&conn) else { return Ok(()) };
        // A socket that this process has closed gives an error, whatever had arrived.
        let inbound = match client.socket.ended {
            Ended::Closed => Some(Inbound::Error),
            Ended::No | Ended::Gone => client.socket.inbox.pop_front(),
        };
        match inbound {
            None => client.reader = Reader::Waiting,
            Some(Inbound::Message(message)) if wire::read(&message).r#type == wire::HEARTBEAT => {
                if client.socket.ended == Ended::No {
                    client.reader = Reader::Pong(client.socket.copy(wire::pong()));
                }
                self.wake(task);
            }
            Some(Inbound::Message(message)) => {
                client.reader = Reader::Sent;
                if self.on_bus {
                    self.effects.push_back(Effect::Publish(message.clone()));
                    self.consume(message);
                    self.wake(task);
                } else {
                    let sent = self.broadcast.send(task, message)?;
                    self.given_to_hub(task, sent, Mail::Broadcast);
                }
            }
            Some(Inbound::Ping(payload)) => {
                // The library answers by itself, and gives up where a write is going on.
                if client.socket.ended == Ended::No && !client.socket.is_writing {
                    client.socket.took(&payload);
                    self.effects.push_back(Effect::Send { to: conn, frame: Frame::Pong(payload) });
                }
                self.wake(task);
            }
            Some(Inbound::Close) => {
                if client.socket.ended == Ended::No && !client.socket.is_writing {
                    client.socket.close_sent = true;
                    self.effects.push_back(Effect::Close { conn });
                }
                return self.unregister(conn, Unregistering::First);
            }
            Some(Inbound::Error) => return self.unregister(conn, Unregistering::First),
        }
        Ok(())
    }

    fn unregister(&mut self, conn: ConnId, at: Unregistering) -> Result<(), Panic> {
        let Some(client) = self.clients.get_mut(&conn) else { return Ok(()) };
        client.reader = Reader::Unregistered(at);
        let task = Task::Reader(conn);
        let sent = self.unregister.send(task, conn)?;
        self.given_to_hub(task, sent, Mail::Unregister);
        Ok(())
    }

    pub(super) fn writer_step(&mut self, conn: ConnId) -> Result<(), Panic> {
        let task = Task::Writer(conn);
        let Some(client) = self.clients.get_mut(&conn) else { return Ok(()) };
        match core::mem::replace(&mut client.writer, Writer::Receive) {
            Writer::Receive => match client.send.receive(task) {
                Received::Value { from, value } => {
                    client.writer = Writer::Holding(value);
                    self.wake(task);
                    self.wake(from);
                }
                Received::Closed => {
                    client.writer = Writer::Closing;
                    self.wake(task);
                }
                Received::Parked => {}
            },
            Writer::Holding(message) => {
                // A write to a connection that has ended fails, and the failure is ignored.
                if client.socket.ended == Ended::No {
                    client.writer = Writer::Copied(client.socket.copy(message));
                }
                self.wake(task);
            }
            Writer::Copied(copied) => {
                let payload = client.socket.flush(&copied)?;
                client.writer = Writer::Written;
                self.written(task, conn, payload);
            }
            Writer::Written => {
                client.socket.is_writing = false;
                self.wake(task);
            }
            Writer::Closing => {
                self.close_socket(conn);
                self.ended(conn, task);
            }
            Writer::Ended => {}
        }
        Ok(())
    }

    /// Gives a frame to the socket; the task goes on when the kernel has room.
    fn written(&mut self, task: Task, conn: ConnId, payload: Bytes) {
        let Some(client) = self.clients.get_mut(&conn) else { return };
        if client.socket.ended == Ended::No {
            self.effects.push_back(Effect::Send { to: conn, frame: Frame::Message(payload) });
        }
        if client.socket.is_full() {
            client.socket.blocked = Some(task);
        } else {
            self.wake(task);
        }
    }

    /// Closes the socket without a close frame. What the kernel has taken still leaves, then the connection ends.
    fn close_socket(&mut self, conn: ConnId) {
        let Some(client) = self.clients.get_mut(&conn) else { return };
        if client.socket.ended != Ended::No {
            return;
        }
        client.socket.ended = Ended::Closed;
        if client.socket.is_drained() && !client.socket.close_sent {
            self.effects.push_back(Effect::Abort { conn });
        }
        if matches!(client.reader, Reader::Waiting) {
            client.reader = Reader::Read;
            self.wake(Task::Reader(conn));
        }
        self.unblock(conn);
    }

    fn ended(&mut self, conn: ConnId, task: Task) {
        let Some(client) = self.clients.get_mut(&conn) else { return };
        match task {
            Task::Reader(_) => client.reader = Reader::Ended,
            Task::Writer(_) => client.writer = Writer::Ended,
            Task::Hub | Task::Handshake(_) | Task::Consumer => {}
        }
        self.forget_if_over(conn);
    }

    /// Takes a record from the bus; the consumer hands it to the hub in its turn.
    pub(super) fn consume(&mut self, record: Bytes) {
        self.consumer.records.push_back(record);
        if !self.consumer.busy {
            self.consumer.busy = true;
            self.wake(Task::Consumer);
        }
    }

    pub(super) fn consumer_step(&mut self) -> Result<(), Panic> {
        match self.consumer.records.pop_front() {
            None => self.consumer.busy = false,
            Some(record) => {
                let sent = self.broadcast.send(Task::Consumer, record)?;
                self.given_to_hub(Task::Consumer, sent, Mail::Broadcast);
            }
        }
        Ok(())
    }
}
