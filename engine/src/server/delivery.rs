//! From a frame to its recipients: who is online, what their outboxes have room for.

use alloc::vec::Vec;

use bytes::Bytes;

use super::{Server, connections::Connection, effects::Effects, outbox::StreamOutcome, users::UserKey};
use crate::{
    action::{Action, Frame},
    bus::Record,
    close::CloseReason,
    config::Limits,
    id::{ConnId, UserId},
    probe::{Canary, Probe, Rule},
    stats::Stats,
};

/// What a frame is to its recipients' outboxes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind<'a> {
    /// One of many that all count.
    Ordinary,
    /// A live picture of this sender: worth nothing once there is a newer one.
    Stream { sender: &'a UserId, content_type: i32 },
}

/// One frame on its way to any number of connections.
struct FanOut<'a, P> {
    frame: &'a Bytes,
    kind: Kind<'a>,
    effects: &'a mut Effects,
    stats: &'a mut Stats,
    limits: &'a Limits,
    overfull: &'a mut Vec<ConnId>,
    probe: &'a mut P,
}

impl<P: Probe> FanOut<'_, P> {
    /// Adds the connection to the recipients if it is online and has room.
    fn offer(&mut self, connection: &mut Connection) {
        if connection.is_online() {
            self.add(connection);
        } else {
            self.probe.reached(Rule::NotOnlineYet);
        }
    }

    /// Adds the connection to the recipients if it has room.
    fn add(&mut self, connection: &mut Connection) {
        if self.probe.canary(Canary::FullEndsFanOut) && !self.overfull.is_empty() {
            return;
        }
        self.stats.pushes += 1;
        let unlimited = self.probe.canary(Canary::OutboxUnlimited);
        let limit_bytes = if unlimited { u64::MAX } else { self.limits.outbox_bytes };
        match self.kind {
            Kind::Ordinary => {
                if connection.outbox.push(self.frame.len(), limit_bytes) {
                    self.effects.recipient(connection.id);
                } else {
                    self.probe.reached(Rule::OutboxFull);
                    self.stats.pushes_dropped_full += 1;
                    self.overfull.push(connection.id);
                }
            }
            Kind::Stream { sender, content_type } => {
                let limit_streams = self.limits.streams_per_connection;
                let outbox = &mut connection.outbox;
                if self.probe.canary(Canary::OldestPictureWins) && outbox.holds(sender, content_type) {
                    self.stats.pushes_dropped_superseded += 1;
                    return;
                }
                match outbox.push_stream(sender, content_type, self.frame, limit_bytes, limit_streams) {
                    StreamOutcome::Send => {
                        self.probe.reached(Rule::PictureSent);
                        self.effects.recipient(connection.id);
                    }
                    StreamOutcome::Held => self.probe.reached(Rule::PictureHeld),
                    StreamOutcome::Superseded => {
                        self.probe.reached(Rule::PictureSuperseded);
                        self.stats.pushes_dropped_superseded += 1;
                    }
                    StreamOutcome::Dropped => {
                        self.probe.reached(Rule::PictureDropped);
                        self.stats.pushes_dropped_full += 1;
                    }
                }
            }
        }
    }
}

/// Borrows the parts of a server that a fan-out changes, so that it can read its recipients from the rest.
macro_rules! fan_out {
    ($server:ident, $frame:expr, $kind:expr) => {
        FanOut {
            frame: $frame,
            kind: $kind,
            effects: &mut $server.effects,
            stats: &mut $server.stats,
            limits: &$server.config.limits,
            overfull: &mut $server.overfull,
            probe: &mut $server.probe,
        }
    };
}

impl<P: Probe> Server<P> {
    /// Sends a frame to all connections of a user but one.
    pub(super) fn deliver_to_user(
        &mut self,
        user: &str,
        frame: Bytes,
        kind: Kind<'_>,
        except: Option<ConnId>,
    ) {
        let Some(user) = self.users.by_id(user) else { return self.probe.reached(Rule::RecipientNotHere) };
        let mark = self.effects.mark();
        let mut fan_out = fan_out!(self, &frame, kind);
        for conn in user.conns.iter().filter(|conn| Some(**conn) != except) {
            if let Some(connection) = self.connections.get_mut(*conn) {
                fan_out.offer(connection);
                if fan_out.probe.canary(Canary::SecondDeviceTwice) && user.conns.first() != Some(conn) {
                    fan_out.offer(connection);
                }
            }
        }
        self.send(mark, Frame::Message(frame));
    }

    /// Sends a frame to all members of a group but its sender.
    pub(super) fn deliver_to_group(&mut self, group: &str, frame: Bytes, sender: &UserId) {
        let Some(group) = self.users.group_by_id(group) else { return };
        let echo = self.probe.canary(Canary::EchoToSender);
        let sender = if echo { None } else { self.users.key(sender.as_str()) };
        let mark = self.effects.mark();
        let mut fan_out = fan_out!(self, &frame, Kind::Ordinary);
        for member in group.members.iter().filter(|member| Some(**member) != sender) {
            for conn in self.users.get(*member).iter().flat_map(|user| &user.conns) {
                if let Some(connection) = self.connections.get_mut(*conn) {
                    fan_out.offer(connection);
                }
            }
        }
        self.send(mark, Frame::Message(frame));
    }

    /// Sends a frame to everybody, its sender included.
    pub(super) fn deliver_to_everyone(&mut self, frame: Bytes, kind: Kind<'_>, sender: &UserId) {
        let left_out = if self.probe.canary(Canary::SenderLeftOut) {
            self.users.key(sender.as_str())
        } else {
            None::<UserKey>
        };
        let mark = self.effects.mark();
        let mut fan_out = fan_out!(self, &frame, kind);
        self.connections.iter_mut().for_each(|connection| {
            if left_out.is_none() || connection.user() != left_out {
                fan_out.offer(connection);
            }
        });
        self.send(mark, Frame::Message(frame));
    }

    /// Sends a frame to one connection, which need not be online: a Ping is answered before the welcome too.
    pub(super) fn deliver_to_conn(&mut self, conn: ConnId, frame: Frame) {
        let mark = self.effects.mark();
        let mut fan_out = fan_out!(self, frame.payload(), Kind::Ordinary);
        if let Some(connection) = self.connections.get_mut(conn).filter(|conn| conn.user().is_some()) {
            fan_out.add(connection);
        }
        self.send(mark, frame);
    }

    /// Hands a record to the other engines, if there are any.
    pub(super) fn publish(&mut self, record: impl FnOnce() -> Record) {
        if self.config.peers && !self.probe.canary(Canary::PublishForgotten) {
            self.probe.reached(Rule::Published);
            self.stats.published += 1;
            self.effects.push(Action::Publish(record()));
        }
    }

    fn send(&mut self, mark: usize, frame: Frame) {
        self.effects.send(mark, frame);
        while let Some(conn) = self.overfull.pop() {
            if !self.probe.canary(Canary::SlowReaderKept) {
                self.close(conn, CloseReason::SlowReader);
            }
        }
    }
}
