//! Calls, as the specification has them: a second reading of the signals, by user numbers.

/// What a shard must think of a user's call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallSeen {
    pub(crate) peer: u16,
    pub(crate) side: Side,
}

/// Who has signalled whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The user has called.
    Called,
    /// The peer has called, at this time.
    Rung { at_ns: u64 },
    /// Both have.
    Both,
}

/// What a signal of this `contentType` does: none if it is none, true if it ends a call.
pub(crate) const fn ends(content_type: i32, is_call: bool) -> Option<bool> {
    match content_type {
        13 | 14 | 17 | 18 => Some(true),
        0 | 6 | 7 | 10..=20 => Some(false),
        _ if is_call => Some(false),
        _ => None,
    }
}

/// The user has signalled `peer`.
pub(crate) fn sent(call: &mut Option<CallSeen>, peer: u16, ends: bool) {
    let same = call.filter(|call| call.peer == peer);
    *call = match (ends, same) {
        (true, Some(_)) => None,
        (true, None) => *call,
        (false, Some(CallSeen { side: Side::Called, .. })) => same,
        (false, Some(_)) => Some(CallSeen { peer, side: Side::Both }),
        (false, None) => Some(CallSeen { peer, side: Side::Called }),
    };
}

/// `peer` has signalled the user.
pub(crate) fn received(call: &mut Option<CallSeen>, peer: u16, ends: bool, at_ns: u64) {
    let same = call.filter(|call| call.peer == peer);
    let rung = Some(CallSeen { peer, side: Side::Rung { at_ns } });
    *call = match (ends, same, *call) {
        (true, Some(_), _) => None,
        (true, None, _) => *call,
        (false, Some(CallSeen { side: Side::Called | Side::Both, .. }), _) => {
            Some(CallSeen { peer, side: Side::Both })
        }
        (false, _, None | Some(CallSeen { side: Side::Rung { .. }, .. })) => rung,
        // Who has called or talks is not disturbed by a third.
        (false, None, Some(_)) | (false, Some(_), Some(_)) => *call,
    };
}

/// To whom the user's signals without a recipient go.
pub(crate) fn peer(call: Option<CallSeen>, now_ns: u64, ring_ns: u64) -> Option<u16> {
    match call?.side {
        Side::Rung { at_ns } if now_ns.saturating_sub(at_ns) > ring_ns => None,
        Side::Rung { .. } | Side::Called | Side::Both => call.map(|call| call.peer),
    }
}
