//! The calls of this device: what it may say of each, and what the application is told.

use alloc::{collections::VecDeque, vec::Vec};
use core::fmt;

use bytes::Bytes;
use switchboard_proto::v1::{
    self,
    call::{End, Kind},
};

use super::{Session, SessionNotification, state::Phase};
use crate::{client::length, digest::Digest, id::UserId, time::Instant};

/// The longest payload of a signal.
const PAYLOAD_LIMIT_BYTES: u64 = 64 << 10;

/// Calls that were ended here and of which the server may not know that yet.
const ENDED_LIMIT: usize = 32;

/// What a signal takes in a frame beside its payload, at the most.
const CALL_LIMIT_BYTES: u64 = crate::id::ID_LIMIT_BYTES as u64 + 64;

/// The id of a call, chosen by the caller: 16 random bytes of the operating system's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub [u8; 16]);

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What happens to a call. Each call that the application has begun or was told of ends with exactly one
/// [`CallNews::Ended`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallNews {
    /// The other user rings.
    Rings {
        /// Whether pictures are wanted too.
        video: bool,
    },
    /// The call is on: signals may be sent. Told to both sides.
    Accepted,
    /// What the other side's device has sent (SDP, ICE). Some may be missing if a side was disconnected for a while, and
    /// from other servers they may come in another order.
    Signal(Bytes),
    /// It is over.
    Ended(CallEnd),
}

/// Why a call is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallEnd {
    /// One of the two has hung up.
    HungUp,
    /// It was declined.
    Declined,
    /// One of the two is in another call.
    Busy,
    /// Nobody took it in time.
    TimedOut,
    /// The other side has lost its connection and has not come back.
    PeerGone,
    /// Another device of this user has taken or declined it.
    Elsewhere,
    /// The other user has no session that could ring, or has nothing to do with this one.
    Unreachable,
    /// The server knows no such call, or has another reason.
    NoSuchCall,
    /// This side has lost its connection, and with it the call.
    Lost,
}

/// Why nothing was said of a call. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError {
    /// There is no connection.
    NotConnected,
    /// There is no such call, or it is not in a state for this; of a call to begin: there is one with this id.
    NoSuchCall,
    /// There are as many calls as may be, or as many frames of them wait to be sent.
    TooMany,
    /// The payload is larger than 64 KiB.
    TooLarge,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotConnected => "calling: there is no connection",
            Self::NoSuchCall => "calling: there is no such call in a state for this",
            Self::TooMany => "calling: there are too many calls, or signals that wait to be sent",
            Self::TooLarge => "calling: a signal has at most 64 KiB",
        })
    }
}

impl core::error::Error for CallError {}

/// A call of this device.
#[derive(Clone, Debug)]
struct Call {
    id: CallId,
    user: UserId,
    video: bool,
    stage: Stage,
    /// Whether the server has spoken of it over the current connection, or it has begun over this one.
    is_confirmed: bool,
}

/// ```text
///   Outgoing ───────────────► Active ──► (ended)
///   Incoming ──► Taking ───────▲
/// ```
/// Each of them may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Outgoing,
    Incoming,
    /// The application has taken it, and the server has not confirmed that.
    Taking,
    Active,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Calls {
    calls: Vec<Call>,
    /// What is to be said of calls, oldest first.
    frames: VecDeque<v1::Call>,
    /// Calls that were ended here, oldest first.
    ended: VecDeque<CallId>,
}

impl Calls {
    fn place(&self, id: CallId) -> Option<usize> {
        self.calls.iter().position(|call| call.id == id)
    }

    fn get_mut(&mut self, id: CallId) -> Option<&mut Call> {
        self.calls.iter_mut().find(|call| call.id == id)
    }

    /// Whether another frame may wait where no more than `limit` may.
    fn has_room(&self, limit: u64) -> bool {
        length(self.frames.len()) < limit
    }

    fn push(&mut self, id: CallId, user: &UserId, kind: Kind, video: bool, payload: Bytes) {
        let (call_id, kind) = (Bytes::copy_from_slice(&id.0), kind.into());
        let call =
            v1::Call { call_id, user: user.as_str().into(), kind, video, payload, ..v1::Call::default() };
        self.frames.push_back(call);
    }

    /// Remembers a call that was ended here, in case that the server never hears of it.
    fn remember(&mut self, id: CallId) {
        if self.ended.len() >= ENDED_LIMIT {
            self.ended.pop_front();
        }
        self.ended.push_back(id);
    }

    /// What was not sent is not sent any more; the server will say which calls there still are.
    pub(super) fn link_lost(&mut self) {
        self.frames.clear();
        self.calls.iter_mut().for_each(|call| call.is_confirmed = false);
    }

    /// How large the next frame is at the most.
    pub(super) fn next_bytes(&self) -> Option<u64> {
        self.frames.front().map(|call| length(call.payload.len()) + CALL_LIMIT_BYTES)
    }

    pub(super) fn next(&mut self) -> Option<v1::Call> {
        self.frames.pop_front()
    }

    pub(super) fn fold(&self, digest: &mut Digest<'_>) {
        digest.len(self.calls.len());
        for call in &self.calls {
            digest.bytes(&call.id.0);
            digest.text(call.user.as_str());
            digest.flag(call.video);
            digest.word(call.stage as u64);
            digest.flag(call.is_confirmed);
        }
        digest.len(self.frames.len());
        for call in &self.frames {
            digest.bytes(&call.call_id);
            digest.word(u64::from(call.kind.cast_unsigned()));
            digest.bytes(&call.payload);
        }
        digest.len(self.ended.len());
        self.ended.iter().for_each(|id| digest.bytes(&id.0));
    }
}

/// What an application says of calls.
impl Session {
    /// Rings a user. What becomes of it is told by [`SessionNotification::Call`]. The id is the caller's: 16 random bytes of
    /// the operating system's, never used before.
    ///
    /// # Errors
    /// If there is no connection, a call with this id, or no room for another call or another frame of one.
    pub fn ring(&mut self, now: Instant, id: CallId, user: UserId, video: bool) -> Result<(), CallError> {
        self.advance(now);
        self.may_say()?;
        if self.calls.place(id).is_some() || self.calls.ended.contains(&id) {
            return Err(CallError::NoSuchCall);
        }
        let limits = &self.config.limits;
        let has_room = length(self.calls.calls.len()) < limits.calls.into();
        if !has_room || !self.calls.has_room(limits.call_frames.into()) {
            return Err(CallError::TooMany);
        }
        self.calls.push(id, &user, Kind::Ring, video, Bytes::new());
        self.calls.calls.push(Call { id, user, video, stage: Stage::Outgoing, is_confirmed: true });
        Ok(())
    }

    /// Takes a call that rings, on this device. It is on once [`CallNews::Accepted`] says so: another device may be faster.
    ///
    /// # Errors
    /// If it does not ring here, there is no connection, or too many frames wait to be sent.
    pub fn accept_call(&mut self, now: Instant, id: CallId) -> Result<(), CallError> {
        self.advance(now);
        self.may_say()?;
        let has_room = self.calls.has_room(self.config.limits.call_frames.into());
        let call = self.calls.get_mut(id).filter(|call| call.stage == Stage::Incoming);
        let call = call.ok_or(CallError::NoSuchCall)?;
        if !has_room {
            return Err(CallError::TooMany);
        }
        call.stage = Stage::Taking;
        let user = call.user.clone();
        self.calls.push(id, &user, Kind::Accept, false, Bytes::new());
        Ok(())
    }

    /// Declines a call that rings, for all devices, or hangs up one in any other state. It is over at once, connected or not.
    ///
    /// # Errors
    /// If there is no such call.
    pub fn hang_up(&mut self, now: Instant, id: CallId) -> Result<(), CallError> {
        self.advance(now);
        let place = self.calls.place(id).ok_or(CallError::NoSuchCall)?;
        let call = self.calls.calls.remove(place);
        let (kind, end) = match call.stage {
            Stage::Incoming => (Kind::Decline, CallEnd::Declined),
            Stage::Outgoing | Stage::Taking | Stage::Active => (Kind::HangUp, CallEnd::HungUp),
        };
        self.calls.remember(id);
        if matches!(self.phase, Phase::Up { .. }) {
            // Signals that wait are worth nothing any more.
            self.calls.frames.retain(|frame| frame.call_id[..] != id.0 || frame.kind() != Kind::Signal);
            self.say_of_call(id, &call.user, kind);
        }
        self.tell_call(id, call.user, CallNews::Ended(end));
        Ok(())
    }

    /// Sends something to the other side of a call that is on.
    ///
    /// # Errors
    /// If it is not on, the payload is too large, too many wait to be sent, or there is no connection.
    pub fn signal(&mut self, now: Instant, id: CallId, payload: Bytes) -> Result<(), CallError> {
        self.advance(now);
        self.may_say()?;
        if length(payload.len()) > PAYLOAD_LIMIT_BYTES {
            return Err(CallError::TooLarge);
        }
        let call = self.calls.get_mut(id).filter(|call| call.stage == Stage::Active);
        let user = call.ok_or(CallError::NoSuchCall)?.user.clone();
        if !self.calls.has_room(self.config.limits.call_frames.into()) {
            return Err(CallError::TooMany);
        }
        self.calls.push(id, &user, Kind::Signal, false, payload);
        Ok(())
    }

    fn may_say(&self) -> Result<(), CallError> {
        match self.phase {
            Phase::Up { .. } => Ok(()),
            Phase::Down | Phase::Greeting { .. } | Phase::Leaving { .. } => Err(CallError::NotConnected),
        }
    }

    /// Says something of a call because it has ended here, or the server has spoken of it. Behind all that the application
    /// may have waiting there is room for as many such frames as ended calls are remembered: only a server that speaks of
    /// calls and does not read gets beyond that.
    fn say_of_call(&mut self, id: CallId, user: &UserId, kind: Kind) {
        if self.calls.has_room(u64::from(self.config.limits.call_frames) + length(ENDED_LIMIT)) {
            self.calls.push(id, user, kind, false, Bytes::new());
        } else {
            self.stats.unfollowed += 1;
        }
    }

    fn tell_call(&mut self, id: CallId, user: UserId, news: CallNews) {
        if matches!(news, CallNews::Ended(_)) {
            self.stats.calls_ended += 1;
        }
        self.notify(SessionNotification::Call { id, user, news });
    }
}

/// What the server says of calls.
impl Session {
    pub(super) fn call(&mut self, id: CallId, user: Option<UserId>, call: v1::Call) {
        let end = (call.end != 0).then(|| end_of(call.end()));
        let known = self.calls.get_mut(id);
        let (stage, user) = match known {
            Some(known) => {
                known.is_confirmed = true;
                (Some(known.stage), Some(known.user.clone()))
            }
            None => (None, user),
        };
        let Some(user) = user else {
            self.stats.protocol_errors += 1;
            return;
        };
        match (end, call.kind(), stage) {
            (Some(end), _, Some(_)) => self.call_ended(id, end),
            // This device rings, and its application knows nothing of it any more.
            (None, Kind::Ring, None) if call.outgoing => {
                self.say_of_call(id, &user, Kind::HangUp);
            }
            (None, Kind::Ring, None) => self.call_rings(id, user, call.video),
            // The server has not heard that it was taken, or what it said to that was lost.
            (None, Kind::Ring, Some(Stage::Taking)) => {
                self.say_of_call(id, &user, Kind::Accept);
            }
            (None, Kind::Ring, Some(Stage::Outgoing | Stage::Incoming | Stage::Active)) => {}
            (None, Kind::Accept, Some(Stage::Outgoing | Stage::Taking)) => {
                if let Some(known) = self.calls.get_mut(id) {
                    known.stage = Stage::Active;
                }
                self.tell_call(id, user, CallNews::Accepted);
            }
            (None, Kind::Accept, Some(Stage::Active)) => {}
            // It is from a time that this application knows nothing of any more.
            (None, Kind::Accept, None | Some(Stage::Incoming)) => {
                self.say_of_call(id, &user, Kind::HangUp);
            }
            (None, Kind::Signal, Some(Stage::Active)) => {
                self.tell_call(id, user, CallNews::Signal(call.payload));
            }
            (Some(_), _, None)
            | (None, Kind::Signal, None | Some(Stage::Outgoing | Stage::Incoming | Stage::Taking))
            | (None, Kind::Unspecified | Kind::Decline | Kind::HangUp, _) => self.stats.unasked += 1,
        }
    }

    fn call_rings(&mut self, id: CallId, user: UserId, video: bool) {
        if self.calls.ended.contains(&id) {
            self.say_of_call(id, &user, Kind::HangUp);
        } else if length(self.calls.calls.len()) < self.config.limits.calls.into() {
            let stage = Stage::Incoming;
            self.calls.calls.push(Call { id, user: user.clone(), video, stage, is_confirmed: true });
            self.stats.calls_rung += 1;
            self.tell_call(id, user, CallNews::Rings { video });
        } else {
            self.stats.unfollowed += 1;
        }
    }

    fn call_ended(&mut self, id: CallId, end: CallEnd) {
        let Some(place) = self.calls.place(id) else { return };
        let call = self.calls.calls.remove(place);
        self.calls.frames.retain(|frame| frame.call_id[..] != id.0);
        self.tell_call(id, call.user, CallNews::Ended(end));
    }

    /// Ends the calls that the server has not spoken of over this connection: they did not outlive the last one.
    pub(super) fn end_lost_calls(&mut self) {
        while let Some(lost) = self.calls.calls.iter().find(|call| !call.is_confirmed).map(|call| call.id) {
            self.call_ended(lost, CallEnd::Lost);
        }
    }

    /// Ends all calls: the application wants no connection any more.
    pub(super) fn end_calls(&mut self) {
        while let Some(id) = self.calls.calls.first().map(|call| call.id) {
            self.calls.remember(id);
            self.call_ended(id, CallEnd::Lost);
        }
    }
}

const fn end_of(end: End) -> CallEnd {
    match end {
        End::HungUp => CallEnd::HungUp,
        End::Declined => CallEnd::Declined,
        End::Busy => CallEnd::Busy,
        End::TimedOut => CallEnd::TimedOut,
        End::PeerGone => CallEnd::PeerGone,
        End::Elsewhere => CallEnd::Elsewhere,
        End::Unreachable => CallEnd::Unreachable,
        End::NoSuchCall | End::Unspecified => CallEnd::NoSuchCall,
    }
}
