//! Calls between sessions. Those of classic clients are in `call.rs`: they have no state of their own on the wire.
//!
//! Each user's side of a call is a *leg*, in the engine where its device is; a user has one at the most. The engine of the
//! caller's leg decides: which of the callee's devices has the call, and how it ends. Engines tell each other what
//! happens in notes, which may be lost, late, repeated or out of order, so each leg whose other side is elsewhere says
//! from time to time that it is there, and ends when it has heard nothing of the other one for the grace.

mod frames;
mod signals;

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use core::time::Duration;
use serde::{Deserialize, Serialize};

use bytes::Bytes;
use slab::Slab;
use switchboard_proto::v1::{
    self, NotedCall,
    call::{End, Kind},
    note,
};

use super::{Server, requests::Purpose, session, shutdown::Stopping, timers::Due, users::UserKey};
use crate::{
    action::Frame,
    bus::Topic,
    config::to_usize,
    digest::Digest,
    hash::{Lookup, SeededState},
    id::{ConnId, Ticket, UserId},
    probe::{Canary, Probe, Rule},
    storage::Request,
    time::Instant,
};

/// A leg's place in the table; reused.
pub(super) type LegKey = usize;

/// The id that a caller has given to a call.
type CallId = [u8; 16];

/// Calls that are over and are remembered, so that a late note does not make one ring again.
const ENDED_LIMIT: usize = 256;

/// Signs of life that a leg gives within the grace.
const SIGNS_PER_GRACE: u32 = 3;

/// The legs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Calls {
    legs: Slab<Box<Leg>>,
    by_user: Lookup<UserId, LegKey>,
    /// Calls that are over, oldest first.
    ended: VecDeque<CallId>,
}

/// One user's side of a call.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Leg {
    user: UserId,
    peer: UserId,
    id: CallId,
    video: bool,
    is_caller: bool,
    stage: Stage,
    /// The device that has the call: the caller's from the beginning, the callee's once it has taken it.
    device: Option<Device>,
    /// Of the callee's device that has the call, the number that tells it from the others.
    taken_by: Option<[u8; 16]>,
    /// When it ends if nobody takes it.
    ring_until: Instant,
    /// When it ends if nobody has said by then that it rings.
    reach_by: Option<Instant>,
    /// When something was last heard of the other side, if that is not here.
    heard_at: Instant,
    /// When the next sign of life is due.
    sign_at: Instant,
    /// What stands among the timers.
    due: Option<Instant>,
}

/// ```text
///   caller   Asking ──► Ringing ──────────────► Active ──► (ended)
///   callee              Ringing ──► Taking ───► Active ──► (ended)
/// ```
/// Each of them may end. The callee's device takes the call, and the caller's engine confirms that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    /// The store is asked whether the two have anything to do with each other.
    Asking(Ticket),
    Ringing,
    Taking,
    Active,
}

/// A device that has a call.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Device {
    /// What it has called itself; none cannot come back.
    id: Option<[u8; 16]>,
    link: LinkOf,
}

/// How a device is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum LinkOf {
    Up(ConnId),
    /// It is not, and the call ends if it does not come back until then.
    Lost {
        until: Instant,
    },
}

impl Calls {
    /// See [`settle`](crate::server::snapshot::settle).
    pub(super) fn settle_places(&mut self) {
        crate::server::snapshot::settle(&mut self.legs);
    }

    pub(super) fn new(hash: SeededState) -> Self {
        Self { legs: Slab::new(), by_user: Lookup::with_hasher(hash), ended: VecDeque::new() }
    }

    /// Legs.
    pub(super) fn len(&self) -> usize {
        self.legs.len()
    }

    /// Whether a user has one.
    pub(super) fn has(&self, user: &str) -> bool {
        self.key(user).is_some()
    }

    fn key(&self, user: &str) -> Option<LegKey> {
        self.by_user.get(user).copied()
    }

    /// The user's leg of this call.
    fn of(&self, user: &str, id: &CallId) -> Option<LegKey> {
        self.key(user).filter(|key| self.legs.get(*key).is_some_and(|leg| leg.id == *id))
    }

    /// The other side of a leg's call, if it is here. An id may have been used by others, too.
    fn other_side(&self, leg: &Leg) -> Option<LegKey> {
        self.of(leg.peer.as_str(), &leg.id)
            .filter(|key| self.get(*key).is_some_and(|other| other.peer == leg.user))
    }

    fn get(&self, key: LegKey) -> Option<&Leg> {
        self.legs.get(key).map(|leg| &**leg)
    }

    fn get_mut(&mut self, key: LegKey) -> Option<&mut Leg> {
        self.legs.get_mut(key).map(|leg| &mut **leg)
    }

    /// Whether the parts are in step, and every leg's device is among `online`.
    pub(super) fn is_sound(&self, online: impl Fn(ConnId) -> bool) -> bool {
        let listed = |key: LegKey, leg: &Leg| {
            self.key(leg.user.as_str()) == Some(key)
                && (leg.device.is_some() || !leg.is_caller && leg.stage == Stage::Ringing)
                && !matches!(leg.device, Some(Device { link: LinkOf::Up(conn), .. }) if !online(conn))
        };
        self.legs.iter().all(|(key, leg)| listed(key, leg))
            && self.legs.len() == self.by_user.len()
            && self.ended.len() <= ENDED_LIMIT
    }

    pub(super) fn fold_name(&self, digest: &mut Digest<'_>, key: LegKey) {
        digest.text(self.get(key).map_or("", |leg| leg.user.as_str()));
    }

    pub(super) fn fold(&self, digest: &mut Digest<'_>) {
        digest.unordered(self.legs.iter(), |digest, (_, leg)| leg.fold(digest));
        digest.len(self.ended.len());
        self.ended.iter().for_each(|id| digest.bytes(id));
    }
}

impl Leg {
    /// Which connection has the call.
    fn conn(&self) -> Option<ConnId> {
        match self.device?.link {
            LinkOf::Up(conn) => Some(conn),
            LinkOf::Lost { .. } => None,
        }
    }

    fn is_active(&self) -> bool {
        matches!(self.stage, Stage::Taking | Stage::Active)
    }

    /// Whether it gives signs of life. `is_alone`: whether the other side is elsewhere.
    fn gives_signs(&self, is_alone: bool, peers: bool) -> bool {
        is_alone || peers && self.is_caller && self.stage == Stage::Ringing
    }

    /// When it ends if nothing is heard of the other side.
    fn silent_at(&self, is_alone: bool, grace: Duration) -> Option<Instant> {
        let waits = matches!(self.stage, Stage::Asking(_)) || self.reach_by.is_some();
        (is_alone && !waits).then(|| self.heard_at + grace)
    }

    /// What happens first if nothing else does.
    fn next(&self, is_alone: bool, peers: bool, grace: Duration) -> Option<Instant> {
        let lost = match self.device.map(|device| device.link) {
            Some(LinkOf::Lost { until }) => Some(until),
            Some(LinkOf::Up(_)) | None => None,
        };
        let ring = (!self.is_active()).then_some(self.ring_until);
        let sign = self.gives_signs(is_alone, peers).then_some(self.sign_at);
        [lost, self.silent_at(is_alone, grace), ring, self.reach_by, sign].into_iter().flatten().min()
    }

    fn fold(&self, digest: &mut Digest<'_>) {
        digest.text(self.user.as_str());
        digest.text(self.peer.as_str());
        digest.bytes(&self.id);
        digest.flag(self.video);
        digest.flag(self.is_caller);
        digest.word(match self.stage {
            // Which request that is, the requests tell.
            Stage::Asking(_) => 0,
            Stage::Ringing => 1,
            Stage::Taking => 2,
            Stage::Active => 3,
        });
        digest.flag(self.device.is_some());
        if let Some(Device { id, link }) = self.device {
            digest.bytes(id.as_ref().map_or(&[], |id| id));
            match link {
                LinkOf::Up(conn) => digest.conn(conn),
                LinkOf::Lost { until } => digest.instant(until),
            }
        }
        // A random number, of which only whether it is the same decides anything.
        digest.flag(self.taken_by.is_some());
        if digest.is_everything() {
            digest.bytes(self.taken_by.as_ref().map_or(&[], |number| number));
        }
        digest.instant(self.ring_until);
        digest.instant_or_none(self.reach_by);
        digest.instant(self.heard_at);
        digest.instant(self.sign_at);
        digest.instant_or_none(self.due);
    }
}

/// The legs of this engine.
impl<P: Probe> Server<P> {
    /// Adds a leg to a user who has none, if there is room. Returns its place.
    fn add_leg(&mut self, mut leg: Leg) -> Option<LegKey> {
        let limit = to_usize(self.config.limits.calls);
        if self.calls.legs.len() >= limit {
            self.probe.reached(Rule::CallsFull);
            self.stats.calls_refused += 1;
            return None;
        }
        self.stats.calls += 1;
        leg.heard_at = self.now;
        leg.sign_at = self.now + self.config.call_grace / SIGNS_PER_GRACE;
        let user = leg.user.clone();
        let key = self.calls.legs.insert(Box::new(leg));
        self.calls.by_user.insert(user, key);
        Some(key)
    }

    /// Whether the other side of a call is not here.
    fn is_alone(&self, leg: &Leg) -> bool {
        self.config.peers && self.calls.other_side(leg).is_none()
    }

    /// Puts what a leg waits for among the timers.
    fn plan_leg(&mut self, key: LegKey) {
        let Some(leg) = self.calls.get(key) else { return };
        let due = leg.next(self.is_alone(leg), self.config.peers, self.config.call_grace);
        let Some(leg) = self.calls.get_mut(key) else { return };
        if let Some(at) = core::mem::replace(&mut leg.due, due) {
            self.timers.cancel(at, Due::Call(key));
        }
        if let Some(at) = due {
            self.timers.set(at, Due::Call(key));
        }
    }

    /// What a leg has waited for has come about.
    pub(super) fn leg_due(&mut self, key: LegKey) {
        let Some(leg) = self.calls.get_mut(key) else { return };
        leg.due = None;
        let Some(leg) = self.calls.get(key) else { return };
        let (now, is_alone) = (self.now, self.is_alone(leg));
        let is_lost = matches!(leg.device, Some(Device { link: LinkOf::Lost { until }, .. }) if until <= now);
        let is_silent = leg.silent_at(is_alone, self.config.call_grace).is_some_and(|at| at <= now);
        let signs = leg.gives_signs(is_alone, self.config.peers);
        let end = if is_lost || (is_silent && !self.probe.canary(Canary::CallSilenceIgnored)) {
            Some(End::PeerGone)
        } else if !leg.is_active() && leg.ring_until <= now && !self.probe.canary(Canary::CallRingsForEver) {
            Some(End::TimedOut)
        } else if leg.reach_by.is_some_and(|by| by <= now) {
            Some(End::Unreachable)
        } else {
            None
        };
        if let Some(end) = end {
            return self.hang_up(key, end, end);
        }
        let grace = self.config.call_grace;
        let Some(leg) = self.calls.get_mut(key) else { return };
        if signs && leg.sign_at <= now {
            leg.sign_at = now + grace / SIGNS_PER_GRACE;
            self.give_sign(key);
        }
        // A bug may have left something that is over.
        let Some(leg) = self.calls.get_mut(key) else { return };
        if leg.ring_until <= now && !leg.is_active() {
            leg.ring_until = now + grace;
        }
        if leg.heard_at + grace <= now {
            leg.heard_at = now;
        }
        self.plan_leg(key);
    }

    /// Tells the other side's engines that this one still has the call; and once more that it was taken, as that may have been
    /// lost.
    fn give_sign(&mut self, key: LegKey) {
        let Some(leg) = self.calls.get(key) else { return };
        if leg.stage == Stage::Taking {
            let call = leg.call(Kind::Accept);
            return self.pass(key, call);
        }
        let noted = leg.noted(v1::Call {
            call_id: leg.call_id(),
            user: leg.peer.as_str().into(),
            ..v1::Call::default()
        });
        let peer = leg.peer.clone();
        self.tell(Topic::User(peer), note::Body::Call(NotedCall { alive: true, ..noted }));
    }

    /// Ends both sides of a call.
    fn hang_up(&mut self, key: LegKey, own: End, peers: End) {
        let Some(leg) = self.calls.get(key) else { return };
        let noted = leg.noted(v1::Call { end: peers.into(), ..leg.call(Kind::HangUp) });
        self.finish_leg(key, own, None);
        self.pass_noted(noted);
    }

    /// Ends a leg and tells its devices why; one of them, that has ended it, something else.
    fn finish_leg(&mut self, key: LegKey, end: End, by: Option<(ConnId, End)>) {
        let Some(leg) = self.calls.legs.try_remove(key) else { return };
        self.calls.by_user.remove(&leg.user);
        // Before anybody is told: who has no room for it is closed, and its user may be forgotten with it.
        self.listens_no_more(leg.user.clone());
        if let Some(at) = leg.due {
            self.timers.cancel(at, Due::Call(key));
        }
        if let Stage::Asking(ticket) = leg.stage {
            self.requests.close(ticket);
        }
        self.stats.calls_ended += 1;
        self.probe.reached(rule_of(end));
        if self.calls.ended.len() >= ENDED_LIMIT {
            self.calls.ended.pop_front();
        }
        self.calls.ended.push_back(leg.id);
        let told = |end: End| v1::Call { end: end.into(), ..leg.call(Kind::HangUp) };
        for conn in self.conns_of(&leg) {
            let end = by.filter(|(by, _)| *by == conn).map_or(end, |(_, end)| end);
            self.send_call(conn, told(end));
        }
        // The other side may be here, and be alone from now on.
        if let Some(peer) = self.calls.other_side(&leg) {
            self.plan_leg(peer);
        }
    }

    /// The connections that are told what happens to a call: the one that has it, or all that it rings at.
    fn conns_of(&self, leg: &Leg) -> Vec<ConnId> {
        match &leg.device {
            Some(_) => leg.conn().into_iter().collect(),
            None => self.sessions_of(&leg.user),
        }
    }

    /// The sessions of a user that are welcomed.
    fn sessions_of(&self, user: &UserId) -> Vec<ConnId> {
        let conns = self.users.by_id(user.as_str()).map(|user| user.conns.as_slice()).unwrap_or_default();
        let is_session = |conn: &&ConnId| {
            self.connections.get(**conn).is_some_and(|c| c.is_online() && c.session.is_some())
        };
        conns.iter().filter(is_session).copied().collect()
    }

    fn send_call(&mut self, conn: ConnId, call: v1::Call) {
        self.deliver_to_conn(conn, Frame::Message(session::frames::call(call)));
    }

    /// A session has been welcomed: it is told of the call that it may take, or that it had before it was disconnected.
    pub(super) fn resume_call(&mut self, conn: ConnId, user: UserKey) {
        let Some(user) = self.users.get(user).map(|user| user.id.clone()) else { return };
        let Some(key) = self.calls.key(user.as_str()) else { return };
        let device = self.connections.get(conn).and_then(|c| c.session.as_ref()).and_then(|s| s.device);
        let forgotten = self.probe.canary(Canary::CallNotResumed);
        let Some(leg) = self.calls.get_mut(key) else { return };
        let kind = match (&mut leg.device, leg.stage) {
            (None, _) => Kind::Ring,
            (Some(Device { id: Some(id), link }), stage) if Some(*id) == device && !forgotten => {
                if matches!(link, LinkOf::Up(_)) {
                    return;
                }
                *link = LinkOf::Up(conn);
                self.probe.reached(Rule::CallResumed);
                match stage {
                    Stage::Asking(_) | Stage::Ringing | Stage::Taking => Kind::Ring,
                    Stage::Active => Kind::Accept,
                }
            }
            (Some(_), _) => return,
        };
        let outgoing = kind == Kind::Ring && leg.is_caller;
        let call = v1::Call { outgoing, ..leg.call(kind) };
        self.plan_leg(key);
        self.send_call(conn, call);
    }

    /// A session has ended, and perhaps with it, for a while, its side of a call.
    pub(super) fn leave_call(&mut self, conn: ConnId) {
        let user = self.connections.get(conn).and_then(|connection| connection.user());
        let Some(user) = user.and_then(|user| self.users.get(user)).map(|user| user.id.clone()) else {
            return;
        };
        let Some(key) = self.calls.key(user.as_str()) else { return };
        let (is_running, now) = (self.stopping == Stopping::Running, self.now);
        let others = self.sessions_of(&user).iter().any(|other| *other != conn);
        let grace = self.config.call_grace;
        let at_once = self.probe.canary(Canary::CallWithoutGrace);
        let Some(leg) = self.calls.get_mut(key) else { return };
        let is_over = match &mut leg.device {
            Some(device) if device.link == LinkOf::Up(conn) => {
                device.link = LinkOf::Lost { until: now + grace };
                device.id.is_none() || !is_running || at_once
            }
            Some(_) => false,
            None if !is_running && !others => {
                // It is told nothing more.
                leg.device = Some(Device { id: None, link: LinkOf::Lost { until: now } });
                true
            }
            None => false,
        };
        if is_over {
            return self.hang_up(key, End::PeerGone, End::PeerGone);
        }
        self.probe.reached(Rule::CallLost);
        self.plan_leg(key);
    }

    /// During a shutdown nobody waits for devices that may come back: they will be elsewhere.
    pub(super) fn end_lost_calls(&mut self) {
        let is_lost = |leg: &Leg| self.conns_of(leg).is_empty();
        let lost: Vec<LegKey> =
            self.calls.legs.iter().filter(|(_, leg)| is_lost(leg)).map(|(key, _)| key).collect();
        lost.into_iter().for_each(|key| self.hang_up(key, End::PeerGone, End::PeerGone));
    }

    /// Asks the store whether a user may ring another one.
    fn ask_to_ring(&mut self, key: LegKey) {
        let Some(leg) = self.calls.get(key) else { return };
        let request = Request::LoadSeen { watcher: leg.user.clone(), user: leg.peer.clone() };
        let ticket = self.request(Purpose::Ring(key), request);
        if let Some(leg) = self.calls.get_mut(key) {
            leg.stage = Stage::Asking(ticket);
        }
        self.plan_leg(key);
    }
}

/// The rule by which a call has ended.
const fn rule_of(end: End) -> Rule {
    match end {
        End::Unspecified | End::HungUp => Rule::CallHungUp,
        End::Declined => Rule::CallDeclined,
        End::Busy => Rule::CallEndBusy,
        End::TimedOut => Rule::CallTimedOut,
        End::PeerGone => Rule::CallPeerGone,
        End::Elsewhere => Rule::CallElsewhere,
        End::Unreachable => Rule::CallUnreachable,
        End::NoSuchCall => Rule::NoSuchCall,
    }
}

impl Leg {
    fn call_id(&self) -> Bytes {
        Bytes::copy_from_slice(&self.id)
    }

    /// A signal of this kind to the other side.
    fn call(&self, kind: Kind) -> v1::Call {
        v1::Call {
            call_id: self.call_id(),
            user: self.peer.as_str().into(),
            kind: kind.into(),
            video: self.video,
            ..v1::Call::default()
        }
    }

    /// What this leg's engine says of it to the other one's.
    fn noted(&self, call: v1::Call) -> NotedCall {
        let taken_by =
            self.taken_by.as_ref().map(|number| Bytes::copy_from_slice(number)).unwrap_or_default();
        NotedCall { from: self.user.as_str().into(), call: Some(call), taken_by, alive: false }
    }
}
