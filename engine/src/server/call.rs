//! Which call a user is in, as far as the relayed signals tell.
//!
//! A callee whose front-end has no chat open sends its SDP and ICE without a recipient; they must reach the
//! other side of the call and nobody else. The wire has no call state, so it is read off the signals: who
//! signals somebody calls, or, if that one signalled before, answers. A call is active when both sides have
//! signalled each other, and from then on no third user's ringing changes where signals go.

use core::time::Duration;

use crate::{digest::Digest, id::UserId, time::Instant};

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
    pub(super) const fn peer(&self) -> &UserId {
        match self {
            Self::Calling(peer) | Self::Rung { peer, .. } | Self::Active(peer) => peer,
        }
    }

    pub(super) fn fold(&self, digest: &mut Digest<'_>) {
        digest.text(self.peer().as_str());
        match self {
            Self::Calling(_) => digest.word(0),
            Self::Rung { at, .. } => {
                digest.word(1);
                digest.instant(*at);
            }
            Self::Active(_) => digest.word(2),
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
            Some(Call::Rung { .. }) if is_peer => *call = Some(Call::Active(peer.clone())),
            Some(Call::Calling(_) | Call::Active(_)) if is_peer => {}
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
            Some(Call::Calling(_)) if is_peer => *call = Some(Call::Active(peer.clone())),
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

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::{Call, Signal, peer, received, sent};
    use crate::{id::UserId, time::Instant};

    const NOW: Instant = Instant::from_nanos(7);

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    /// Every state, named as in the diagram; "p" is the peer.
    fn states() -> [Option<Call>; 4] {
        let p = user("p");
        [
            None,
            Some(Call::Calling(p.clone())),
            Some(Call::Rung { peer: p.clone(), at: NOW }),
            Some(Call::Active(p)),
        ]
    }

    fn after(mut call: Option<Call>, change: impl FnOnce(&mut Option<Call>)) -> Option<Call> {
        change(&mut call);
        call
    }

    #[test]
    fn signalling_leads_where_the_diagram_says() {
        let [none, calling, rung, active] = states();
        let to_p = |call: &Option<Call>| after(call.clone(), |call| sent(call, &user("p"), Signal::Talk));
        assert_eq!(
            [&none, &calling, &rung, &active].map(to_p),
            [calling.clone(), calling.clone(), active.clone(), active.clone()]
        );
        let from_p =
            |call: &Option<Call>| after(call.clone(), |call| received(call, &user("p"), Signal::Talk, NOW));
        assert_eq!(
            [&none, &calling, &rung, &active].map(from_p),
            [rung.clone(), active.clone(), rung.clone(), active.clone()]
        );
    }

    #[test]
    fn a_third_user_changes_only_who_rings() {
        let [none, calling, rung, active] = states();
        let from_q =
            |call: &Option<Call>| after(call.clone(), |call| received(call, &user("q"), Signal::Talk, NOW));
        let rung_by_q = Some(Call::Rung { peer: user("q"), at: NOW });
        assert_eq!(
            [&none, &calling, &rung, &active].map(from_q),
            [rung_by_q.clone(), calling.clone(), rung_by_q, active.clone()]
        );
    }

    #[test]
    fn calling_somebody_else_leaves_every_call() {
        for state in states() {
            let state = after(state, |call| sent(call, &user("q"), Signal::Talk));
            assert_eq!(state, Some(Call::Calling(user("q"))));
        }
    }

    #[test]
    fn only_the_two_of_a_call_can_end_it() {
        for state in states() {
            let end = |who| after(state.clone(), |call| sent(call, &user(who), Signal::End));
            let ended = |who| after(state.clone(), |call| received(call, &user(who), Signal::End, NOW));
            assert_eq!((end("p"), ended("p")), (None, None));
            assert_eq!((end("q"), ended("q")), (state.clone(), state.clone()));
        }
    }

    #[test]
    fn only_ringing_ends_by_itself() {
        let timeout = Duration::from_nanos(10);
        let reached = |late: u64| {
            let now = Instant::from_nanos(NOW.as_nanos() + late);
            states().map(|call| peer(call.as_ref(), now, timeout).is_some())
        };
        assert_eq!(reached(10), [false, true, true, true]);
        assert_eq!(reached(11), [false, true, false, true]);
    }
}
