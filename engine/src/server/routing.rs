//! What becomes of a message that has arrived, from a connection or from the bus: the rules of the classic
//! protocol.

use alloc::borrow::ToOwned as _;
use core::time::Duration;

use bytes::Bytes;
use switchboard_proto::{Glance, Message as _, classic::Message};

use super::{
    Server,
    call::{self, Call, Signal},
    classic::{self, Route},
    connections::{Connection, Phase},
    delivery::Kind,
    letter::{Form, Letter},
    rate::Rate,
    shutdown::Stopping,
    users::UserKey,
};
use crate::{
    action::Frame,
    bus::{Record, Topic},
    close::CloseReason,
    config::to_usize,
    id::{ConnId, MessageId, UserId},
    probe::{Canary, Probe, Rule},
    storage::{Place, Recipient},
    time::Instant,
};

impl<P: Probe> Server<P> {
    /// A message has arrived.
    pub(super) fn received(&mut self, conn: ConnId, message: Bytes) {
        let Some(user) = self.sign_of_life(conn) else { return };
        self.stats.received += 1;
        if let Err(reason) = self.admit(conn, message.len()) {
            return self.close(conn, reason);
        }
        if self.stopping != Stopping::Running && !self.probe.canary(Canary::AcceptsWhileStopping) {
            self.stats.refused_stopping += 1;
            return;
        }
        let Some(connection) = self.connections.get_mut(conn) else { return };
        match &mut connection.phase {
            Phase::Greeting { .. } | Phase::Online { .. } => {
                let is_session = connection.session.is_some();
                self.dispatch(conn, user, is_session, message);
            }
            Phase::Loading { early, .. } => {
                let limits = &self.config.limits;
                let bytes = self.early_bytes + message.len() as u64;
                let full = early.len() >= to_usize(limits.pending_per_connection);
                if full || bytes > limits.pending_bytes {
                    self.probe.reached(Rule::EarlyFull);
                    self.stats.refused_pending += 1;
                    return self.close(conn, CloseReason::TooManyPending);
                }
                self.probe.reached(Rule::EarlyKept);
                self.early_bytes = bytes;
                early.push_back(message);
            }
            Phase::Closing | Phase::Aborted => {}
        }
    }

    /// Whether the limits allow a connection another message of this size.
    pub(super) fn admit(&mut self, conn: ConnId, len: usize) -> Result<(), CloseReason> {
        let limits = &self.config.limits;
        let Some(connection) = self.connections.get_mut(conn) else { return Ok(()) };
        let never_recovers = self.probe.canary(Canary::RateNeverRecovers);
        let (len, now) = (len as u64, if never_recovers { Instant::ZERO } else { self.now });
        if len > limits.message_bytes {
            self.probe.reached(Rule::MessageTooLarge);
            self.stats.refused_too_large += 1;
            return Err(CloseReason::MessageTooLarge);
        }
        if self.probe.canary(Canary::RateUnlimited) {
            return Ok(());
        }
        let messages =
            Rate { per_second: limits.messages_per_second.into(), burst: limits.message_burst.into() };
        if !connection.messages.take(now, 1, messages) {
            self.probe.reached(Rule::MessagesTooFast);
            self.stats.rate_limited += 1;
            return Err(CloseReason::TooManyMessages);
        }
        let bytes = Rate { per_second: limits.bytes_per_second, burst: limits.byte_burst };
        if !connection.bytes.take(now, len, bytes) {
            self.probe.reached(Rule::BytesTooFast);
            self.stats.rate_limited += 1;
            return Err(CloseReason::TooManyBytes);
        }
        let is_limited = limits.user_messages_per_second > 0 || limits.user_bytes_per_second > 0;
        if is_limited { self.admit_of_user(conn, len) } else { Ok(()) }
    }

    /// Whether the limits of all connections of its user together allow a connection another message of this size.
    fn admit_of_user(&mut self, conn: ConnId, len: u64) -> Result<(), CloseReason> {
        if self.probe.canary(Canary::UserRateUnlimited) {
            return Ok(());
        }
        let l = &self.config.limits;
        let messages =
            Rate { per_second: l.user_messages_per_second.into(), burst: l.user_message_burst.into() };
        let bytes = Rate { per_second: l.user_bytes_per_second, burst: l.user_byte_burst };
        let user = self.connections.get(conn).and_then(Connection::user);
        let Some(user) = user.and_then(|user| self.users.get_mut(user)) else { return Ok(()) };
        let alone = self.probe.canary(Canary::UserRatePerConnection) && user.conns.first() != Some(&conn);
        if messages.per_second > 0 && !alone && !user.messages.take(self.now, 1, messages) {
            self.probe.reached(Rule::UserMessagesTooFast);
            self.stats.rate_limited += 1;
            return Err(CloseReason::TooManyMessages);
        }
        if bytes.per_second > 0 && !alone && !user.bytes.take(self.now, len, bytes) {
            self.probe.reached(Rule::UserBytesTooFast);
            self.stats.rate_limited += 1;
            return Err(CloseReason::TooManyBytes);
        }
        Ok(())
    }

    /// Does what a message asks for in its connection's protocol.
    pub(super) fn dispatch(&mut self, conn: ConnId, user: UserKey, is_session: bool, message: Bytes) {
        if is_session {
            self.session_received(conn, user, message);
        } else {
            self.route(conn, user, message);
        }
    }

    /// Does what a message of an online classic connection asks for.
    pub(super) fn route(&mut self, conn: ConnId, user: UserKey, bytes: Bytes) {
        let Some(sender) = self.users.get(user).map(|user| user.id.clone()) else { return };
        let Some(glance) = Glance::of(&bytes) else { return self.undecodable(conn) };
        let mut peer = None;
        let mut route = classic::route(&glance, |name| {
            peer = self.users.key(name);
            self.users.id_of(name, peer)
        });
        if route == Route::ToCall && self.probe.canary(Canary::SignalToEverybody) {
            route = Route::Broadcast;
        }
        if route == Route::Heartbeat {
            self.probe.reached(Rule::HeartbeatAnswered);
            self.stats.heartbeats += 1;
            let pong = self.pong.clone();
            return self.deliver_to_conn(conn, Frame::Message(pong));
        }
        let (signal, content_type) = (classic::signal(&glance), glance.content_type);
        let is_authentic = glance.from == sender.as_str() || self.probe.canary(Canary::FromBelieved);
        if let Route::Chat(recipient) = route {
            let Ok(mut message) = Message::decode(bytes.clone()) else { return self.undecodable(conn) };
            let bytes = if is_authentic { bytes } else { self.corrected(&mut message, &sender) };
            return self.accept(conn, user, &sender, recipient, message, bytes);
        }
        let bytes = if is_authentic {
            bytes
        } else {
            let Ok(mut message) = Message::decode(bytes) else { return self.undecodable(conn) };
            self.corrected(&mut message, &sender)
        };
        match route {
            Route::Heartbeat | Route::Chat(_) => {}
            Route::Relay(to) => self.relay(conn, user, &sender, (&to, peer), (signal, content_type), bytes),
            Route::ToCall => {
                let call = self.users.get(user).and_then(|user| user.call.as_ref());
                let rings_on = self.probe.canary(Canary::RingNeverEnds);
                let ring_timeout = if rings_on { Duration::MAX } else { self.config.ring_timeout };
                match call::peer(call, self.now, ring_timeout) {
                    Some(to) => {
                        self.probe.reached(Rule::SignalToCall);
                        let peer = self.users.key(to.as_str());
                        self.relay(conn, user, &sender, (&to, peer), (signal, content_type), bytes);
                    }
                    None => {
                        self.probe.reached(Rule::SignalWithoutCall);
                        self.stats.refused_no_call += 1;
                    }
                }
            }
            Route::Broadcast => {
                self.probe.reached(Rule::Broadcast);
                // Without others there is nobody to share the bytes with.
                if self.config.peers {
                    let message = bytes.clone();
                    self.publish_to_others(Record { topic: Topic::Everyone, stored: None, message });
                }
                self.deliver_to_everyone(bytes, classic::kind(content_type, &sender), Some(&sender));
            }
            Route::BadRecipient => {
                self.probe.reached(Rule::RecipientRefused);
                self.stats.refused_recipient += 1;
            }
        }
    }

    fn undecodable(&mut self, conn: ConnId) {
        self.probe.reached(Rule::MessageUndecodable);
        self.stats.undecodable += 1;
        self.close(conn, CloseReason::Undecodable);
    }

    /// Makes `from` the authenticated user. A message that says so already stays the bytes that it is.
    fn corrected(&mut self, message: &mut Message, sender: &UserId) -> Bytes {
        self.probe.reached(Rule::SenderCorrected);
        self.stats.corrected_from += 1;
        sender.as_str().clone_into(&mut message.from);
        classic::encode(message)
    }

    /// Passes a message on to a user, as it is.
    fn relay(
        &mut self,
        conn: ConnId,
        user: UserKey,
        sender: &UserId,
        (to, peer): (&UserId, Option<UserKey>),
        (signal, content_type): (Option<Signal>, i32),
        bytes: Bytes,
    ) {
        if let Some(signal) = signal {
            if let Some(user) = self.users.get_mut(user) {
                call::sent(&mut user.call, to, signal);
            }
            if let Some(peer) = peer.and_then(|peer| self.users.get_mut(peer)) {
                if self.probe.canary(Canary::CallHijacked) && signal == Signal::Talk {
                    peer.call = None;
                }
                call::received(&mut peer.call, sender, signal, self.now);
                self.probe.reached(call_rule(peer.call.as_ref(), sender, signal));
            }
        }
        self.probe.reached(Rule::Relayed);
        let to_others = self.may_be_elsewhere(peer).then(|| {
            let to_all = self.probe.canary(Canary::PublishedToEveryone);
            if to_all { Topic::Everyone } else { Topic::User(to.clone()) }
        });
        match (to_others, peer) {
            // Nobody here needs it, so it is not shared: for small messages that is dearer than all else here.
            (Some(topic), None) => {
                self.probe.reached(Rule::RecipientNotHere);
                return self.publish_to_others(Record { topic, stored: None, message: bytes });
            }
            (Some(topic), Some(_)) => {
                self.publish_to_others(Record { topic, stored: None, message: bytes.clone() });
            }
            (None, _) => {}
        }
        self.deliver_to_key(peer, bytes, classic::kind(content_type, sender), Some(conn));
    }

    /// Another engine has accepted a message.
    pub(super) fn published(&mut self, record: Record) {
        self.stats.bus_received += 1;
        let Record { topic, stored, message: bytes } = record;
        let local = match &topic {
            Topic::User(user) => self.users.key(user.as_str()),
            Topic::Everyone | Topic::Group(_) | Topic::Presence(_) => None,
        };
        let glance = Glance::of(&bytes);
        let sender = glance.and_then(|glance| self.sender_of(local, glance.from));
        let (Some(glance), Some(sender)) = (glance, sender) else { return self.refuse_record() };
        let kind = classic::kind(glance.content_type, &sender);
        match topic {
            Topic::Everyone => {
                self.probe.reached(Rule::BusToEveryone);
                self.deliver_to_everyone(bytes, kind, Some(&sender));
            }
            Topic::Group(group) => {
                self.probe.reached(Rule::BusToGroup);
                let Ok(message) = Message::decode(bytes) else { return self.refuse_record() };
                let frame = classic::group_form(message, &self.probe);
                match stored {
                    Some(stored) => self.record_stored(&sender, &Recipient::Group(group), stored, frame),
                    None => self.deliver_to_group(group.as_str(), frame, Kind::Ordinary, &sender, None),
                }
            }
            Topic::User(user) if stored.is_some() && user == sender && glance.to != sender.as_str() => {
                let (Ok(to), Some((id, place))) = (UserId::new(glance.to), stored) else {
                    return self.refuse_record();
                };
                self.probe.reached(Rule::BusOwnCopy);
                let (form, recipient) = (Form::Classic { frame: bytes, record: None }, Recipient::User(to));
                let letter = Letter { sender: &sender, recipient: &recipient, id, place, form: &form };
                self.deliver_to_own_devices(&letter, None);
            }
            Topic::Presence(_) => self.refuse_record(),
            Topic::User(user) => {
                self.probe.reached(Rule::BusToUser);
                if let Some(signal) = classic::signal(&glance)
                    && let Some(user) = local.and_then(|key| self.users.get_mut(key))
                {
                    call::received(&mut user.call, &sender, signal, self.now);
                }
                match stored {
                    Some(stored) => self.record_stored(&sender, &Recipient::User(user), stored, bytes),
                    None => self.deliver_to_key(local, bytes, kind, None),
                }
            }
        }
    }

    /// Delivers what another engine has stored; the copies for its sender's devices have a record of their own.
    fn record_stored(
        &mut self,
        sender: &UserId,
        recipient: &Recipient,
        (id, place): (MessageId, Place),
        frame: Bytes,
    ) {
        let form = Form::Classic { frame, record: None };
        self.deliver(&Letter { sender, recipient, id, place, form: &form }, None);
    }

    /// Who has sent what is published for a user. With whom that user is in a call is known, and need not be made anew.
    fn sender_of(&self, user: Option<UserKey>, from: &str) -> Option<UserId> {
        let call = user.and_then(|user| self.users.get(user)).and_then(|user| user.call.as_ref());
        let peer = call.map(Call::peer).filter(|peer| peer.as_str() == from);
        peer.cloned().or_else(|| UserId::new(from).ok())
    }

    fn refuse_record(&mut self) {
        self.probe.reached(Rule::BusUndecodable);
        self.stats.bus_undecodable += 1;
    }

    /// The group that a chat message may go to, if it may.
    pub(super) fn may_send(&self, user: UserKey, recipient: &Recipient) -> bool {
        match recipient {
            Recipient::User(_) => true,
            Recipient::Group(group) => {
                let key = self.users.group_key(group.as_str());
                let groups = self.users.get(user).map(|user| &user.groups);
                matches!((key, groups), (Some(key), Some(groups)) if groups.contains(&key))
                    || self.probe.canary(Canary::AnyoneMaySend)
            }
        }
    }
}

/// What a signal of `sender` has led to at a user whose call is this now.
fn call_rule(call: Option<&Call>, sender: &UserId, signal: Signal) -> Rule {
    match (signal, call) {
        (Signal::Talk, Some(Call::Rung { .. })) => Rule::CallRings,
        (Signal::Talk, Some(Call::Active(peer))) if peer == sender => Rule::CallActive,
        (Signal::Talk, Some(Call::Active(_) | Call::Calling(_))) => Rule::CallBusy,
        (Signal::Talk, None) | (Signal::End, _) => Rule::CallEnded,
    }
}
