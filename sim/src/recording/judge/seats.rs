//! The connections of a server, and what waits for each.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use switchboard_engine::{
    CloseReason, ConnId, ConnectionPhase, ConnectionView, FRAME_COST_BYTES, Instant, ServerConfig, UserId,
};

use super::{Held, hold};

/// How late a driver may tell an engine that a deadline has come.
const LATE: Duration = Duration::from_millis(100);

/// A connection.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) id: ConnId,
    /// None: it was closing when the recording began.
    pub(super) user: Option<UserId>,
    pub(super) is_session: bool,
    pub(super) is_welcomed: bool,
    /// In which step.
    welcomed_in: u64,
    state: State,
    heard_at: Instant,
    /// Lengths of the frames that wait; none of those that waited when the recording began.
    waiting: VecDeque<u64>,
    waiting_bytes: u64,
    /// Frames that waited when the recording began.
    unknown: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Closing { since: Instant, reason: Option<CloseReason> },
    Aborted,
}

impl Seat {
    pub(super) fn new(id: ConnId, user: &UserId, is_session: bool, now: Instant) -> Self {
        Self {
            id,
            user: Some(user.clone()),
            is_session,
            is_welcomed: false,
            welcomed_in: 0,
            state: State::Open,
            heard_at: now,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            unknown: 0,
        }
    }

    pub(super) fn resumed(view: &ConnectionView<'_>) -> Self {
        let at = view.received_at;
        let state = match view.phase {
            ConnectionPhase::Loading | ConnectionPhase::Greeting | ConnectionPhase::Online => State::Open,
            // Since when is not known: not before now.
            ConnectionPhase::Closing => State::Closing { since: Instant::from_nanos(u64::MAX), reason: None },
            ConnectionPhase::Aborted => State::Aborted,
        };
        Self {
            id: view.id,
            user: view.user.cloned(),
            is_session: view.is_session,
            is_welcomed: view.phase == ConnectionPhase::Online,
            welcomed_in: 0,
            state,
            heard_at: at,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            unknown: view.unflushed_frames,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Seats {
    seats: BTreeMap<ConnId, Seat>,
    now: Instant,
    step: u64,
}

impl Seats {
    pub(super) fn len(&self) -> usize {
        self.seats.len()
    }

    pub(super) fn get(&self, conn: ConnId) -> Option<&Seat> {
        self.seats.get(&conn)
    }

    pub(super) fn add(&mut self, seat: Seat) {
        self.seats.insert(seat.id, seat);
    }

    pub(super) fn remove(&mut self, conn: ConnId) {
        self.seats.remove(&conn);
    }

    pub(super) fn welcomed(&mut self, conn: ConnId) {
        if let Some(seat) = self.seats.get_mut(&conn) {
            (seat.is_welcomed, seat.welcomed_in) = (true, self.step);
        }
    }

    pub(super) fn heard(&mut self, conn: ConnId, now: Instant) {
        if let Some(seat) = self.seats.get_mut(&conn) {
            seat.heard_at = now;
        }
    }

    /// A step begins.
    pub(super) const fn begin(&mut self, now: Instant) {
        self.now = now;
        self.step += 1;
    }

    /// Whether a connection was welcomed before this step.
    pub(super) fn was_welcomed(&self, conn: ConnId) -> bool {
        self.get(conn).is_some_and(|seat| seat.is_welcomed && seat.welcomed_in < self.step)
    }

    pub(super) const fn now(&self) -> Instant {
        self.now
    }

    pub(super) fn flushed(&mut self, conn: ConnId, frames: u32) {
        let Some(seat) = self.seats.get_mut(&conn) else { return };
        for _ in 0..frames {
            if seat.unknown > 0 {
                seat.unknown -= 1;
            } else if let Some(len) = seat.waiting.pop_front() {
                seat.waiting_bytes -= len + FRAME_COST_BYTES;
            }
        }
    }

    pub(super) fn unflushed(&self) -> u64 {
        self.seats.values().map(|seat| seat.unknown + seat.waiting.len() as u64).sum()
    }

    /// A frame is sent to a connection.
    pub(super) fn send(&mut self, conn: ConnId, len: u64, may_be_early: bool, limit_bytes: u64) -> Held {
        let Some(seat) = self.seats.get_mut(&conn) else {
            return Err(("takeover", format!("a frame is sent to {conn}, which is not there")));
        };
        hold(seat.is_open(), "takeover", || format!("a frame is sent to {conn}, which is closed"))?;
        hold(seat.is_welcomed || may_be_early, "takeover", || {
            format!("a frame is sent to {conn}, which is not welcomed")
        })?;
        seat.waiting.push_back(len);
        seat.waiting_bytes += len + FRAME_COST_BYTES;
        // One message may be as large as the limit, and nothing beyond that waits with it.
        let bytes = seat.waiting_bytes;
        hold(bytes <= limit_bytes + FRAME_COST_BYTES, "bounded", || {
            format!("{bytes} bytes wait for {conn}, and {limit_bytes} may")
        })
    }

    pub(super) fn close(&mut self, conn: ConnId, reason: CloseReason, now: Instant) -> Held {
        let Some(seat) = self.seats.get_mut(&conn) else {
            return Err(("takeover", format!("{conn} is closed, and is not there")));
        };
        hold(seat.is_open(), "takeover", || format!("{conn} is closed twice"))?;
        seat.state = State::Closing { since: now, reason: Some(reason) };
        Ok(())
    }

    pub(super) fn abort(&mut self, conn: ConnId) -> Held {
        let Some(seat) = self.seats.get_mut(&conn) else {
            return Err(("takeover", format!("{conn} is cut off, and is not there")));
        };
        let is_closing = matches!(seat.state, State::Closing { .. });
        seat.state = State::Aborted;
        hold(is_closing, "takeover", || format!("{conn} is cut off, and was not closed before"))
    }

    pub(super) fn closed_as(&self, conn: ConnId, why: CloseReason) -> bool {
        let state = self.get(conn).map(|seat| seat.state);
        matches!(state, Some(State::Closing { reason: Some(reason), .. }) if reason == why)
    }

    /// Nobody stays who has been silent for too long, or closed.
    pub(super) fn check_silent(&self, config: &ServerConfig) -> Held {
        for seat in self.seats.values() {
            let (since, limit, what) = match seat.state {
                State::Open => (seat.heard_at, config.idle_timeout, "silent"),
                State::Closing { since, .. } => (since, config.close_timeout, "closing"),
                State::Aborted => continue,
            };
            let is_over = since + limit + LATE < self.now;
            hold(!is_over, "bounded", || format!("{} has been {what} for too long, and stays", seat.id))?;
        }
        Ok(())
    }
}
