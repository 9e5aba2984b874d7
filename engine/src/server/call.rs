//! Which call a user is in, as far as the relayed signals tell.
//!
//! A callee whose front-end has no chat open sends its SDP and ICE without a recipient; they must reach the
//! other side of the call and nobody else. The wire has no call state, so it is read off the signals: who
//! signals somebody calls, or, if that one signalled before, answers. A call is active when both sides have
//! signalled each other, and from then on no third user's ringing changes where signals go.

use core::time::Duration;

use crate::{id::UserId, time::Instant};

/// The state of one user.
///
/// ```text
///            send to P                       P signals
///   (none) ───────────► Calling(P) ───────────────────────► Active(P)
///      │                                                      ▲   │
///      │  P signals                       send to P           │   │ send to Q: Calling(Q)
///      └──────────────► Rung(P) ──────────────────────────────┘   ▼
///
///   cancel or reject, by or to P: (none) from any state with P; Rung(P) ends after the ring time-out;
///   while Rung(P), Q signals: Rung(Q).
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// The user has signalled this peer, who has not answered.
    Calling(UserId),
    /// This peer has signalled the user, who has not answered.
    Rung { peer: UserId, at: Instant },
    /// Both have.
    Active(UserId),
}

/// What a signal does to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// Starts it or belongs to it: dial, accept, SDP, ICE.
    Talk,
    /// Ends it: cancel, reject.
    End,
}

impl Call {
    const fn peer(&self) -> &UserId {
        match self {
            Self::Calling(peer) | Self::Rung { peer, .. } | Self::Active(peer) => peer,
        }
    }
}

/// The user signals `peer`.
pub(super) fn sent(call: &mut Option<Call>, peer: &UserId, signal: Signal) {
    let is_peer = call.as_ref().is_some_and(|call| call.peer() == peer);
    match signal {
        Signal::End if is_peer => *call = None,
        Signal::End => {}
        Signal::Talk => match call {
            Some(Call::Rung { .. } | Call::Active(_)) if is_peer => *call = Some(Call::Active(peer.clone())),
            Some(Call::Calling(_)) if is_peer => {}
            Some(Call::Calling(_) | Call::Rung { .. } | Call::Active(_)) | None => {
                *call = Some(Call::Calling(peer.clone()));
            }
        },
    }
}

/// `peer` signals the user.
pub(super) fn received(call: &mut Option<Call>, peer: &UserId, signal: Signal, now: Instant) {
    let is_peer = call.as_ref().is_some_and(|call| call.peer() == peer);
    match signal {
        Signal::End if is_peer => *call = None,
        Signal::End => {}
        Signal::Talk => match call {
            Some(Call::Calling(_) | Call::Active(_)) if is_peer => *call = Some(Call::Active(peer.clone())),
            Some(Call::Calling(_) | Call::Active(_)) => {}
            Some(Call::Rung { .. }) | None => *call = Some(Call::Rung { peer: peer.clone(), at: now }),
        },
    }
}

/// Where a signal without a recipient goes.
pub(super) fn peer(call: Option<&Call>, now: Instant, ring_timeout: Duration) -> Option<UserId> {
    match call? {
        Call::Rung { at, .. } if now.saturating_since(*at) > ring_timeout => None,
        call @ (Call::Calling(_) | Call::Rung { .. } | Call::Active(_)) => Some(call.peer().clone()),
    }
}
