//! What is handed to the driver: which frame goes next, and how much may be unflushed.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{LogCursor, Session, log::Teller, state::Phase, wire};
use crate::{
    action::Frame, client::length, config::FRAME_COST_BYTES, digest::Digest, id::ID_LIMIT_BYTES,
    storage::Marks, time::Instant,
};

/// What a Fetch takes at the most: an id with its tags, and three numbers.
const FETCH_LIMIT_BYTES: u64 = ID_LIMIT_BYTES as u64 + 64;

/// What a Mark or a Typing takes at the most.
const SIGN_LIMIT_BYTES: u64 = ID_LIMIT_BYTES as u64 + 64;

/// What a cursor takes at the most: an id, two numbers, and four marks.
const CURSOR_LIMIT_BYTES: u64 = ID_LIMIT_BYTES as u64 + 96;

/// Frames that are handed over and not yet flushed, and Pongs that wait for that.
#[derive(Clone, Debug)]
pub(super) struct Window {
    limit_bytes: u64,
    pong_limit: u32,
    pongs: VecDeque<Bytes>,
    unflushed: VecDeque<u64>,
    /// Cost of the unflushed frames.
    bytes: u64,
}

impl Window {
    pub(super) const fn new(limit_bytes: u64, pong_limit: u32) -> Self {
        Self { limit_bytes, pong_limit, pongs: VecDeque::new(), unflushed: VecDeque::new(), bytes: 0 }
    }

    /// Queues the answer to a Ping, in place of the oldest one if too many wait. False if one was left out.
    pub(super) fn push_pong(&mut self, payload: Bytes) -> bool {
        let full = length(self.pongs.len()) >= self.pong_limit.into();
        if full {
            self.pongs.pop_front();
        }
        self.pongs.push_back(payload);
        !full
    }

    pub(super) fn forget_pongs(&mut self) {
        self.pongs.clear();
    }

    /// Whether a frame of so many bytes may be handed over.
    fn fits(&self, bytes: u64) -> bool {
        self.bytes == 0 || self.bytes.saturating_add(cost(bytes)) <= self.limit_bytes
    }

    fn push(&mut self, frame: Frame) -> Frame {
        let bytes = length(frame.payload().len());
        self.unflushed.push_back(bytes);
        self.bytes = self.bytes.saturating_add(cost(bytes));
        frame
    }

    /// The driver has written the oldest unflushed frames. False if there were not as many, or not as large.
    pub(super) fn flushed(&mut self, frames: u32, payload_bytes: u64) -> bool {
        let mut written_bytes: u64 = 0;
        for _ in 0..frames {
            let Some(bytes) = self.unflushed.pop_front() else { return false };
            self.bytes = self.bytes.saturating_sub(cost(bytes));
            written_bytes = written_bytes.saturating_add(bytes);
        }
        written_bytes == payload_bytes
    }

    pub(super) fn clear(&mut self) {
        self.unflushed.clear();
        self.bytes = 0;
    }

    pub(super) fn fold(&self, digest: &mut Digest<'_>) {
        digest.len(self.pongs.len());
        self.pongs.iter().for_each(|payload| digest.bytes(payload));
        digest.len(self.unflushed.len());
        self.unflushed.iter().for_each(|bytes| digest.word(*bytes));
    }
}

const fn cost(bytes: u64) -> u64 {
    bytes.saturating_add(FRAME_COST_BYTES)
}

impl Session {
    /// The next frame for the open link, if one may go.
    pub(super) fn next_frame(&mut self) -> Option<Frame> {
        let now = self.now;
        if let Some(payload) = self.window.pongs.front()
            && self.window.fits(length(payload.len()))
        {
            let pong = Frame::Pong(self.window.pongs.pop_front()?);
            return Some(self.window.push(pong));
        }
        if !self.window.fits(0) {
            return None;
        }
        match &mut self.phase {
            Phase::Down | Phase::Leaving { .. } => None,
            Phase::Greeting { hello_due, .. } => {
                if !core::mem::take(hello_due) {
                    return None;
                }
                let hello = wire::hello(self.device_id, self.cursors());
                Some(self.hand_over(now, hello))
            }
            Phase::Up { .. } => {
                if core::mem::take(&mut self.heartbeat_due) {
                    self.stats.heartbeats += 1;
                    self.nonces.0 += 1;
                    return Some(self.hand_over(now, wire::heartbeat(self.nonces.0)));
                }
                if core::mem::take(&mut self.resync_due) {
                    self.stats.resyncs += 1;
                    let resync = wire::resync(self.cursors());
                    return Some(self.hand_over(now, resync));
                }
                if self.watches.is_due()
                    && self.may_go(now, self.watches.limit_bytes()).is_some()
                    && let Some(watch) = self.next_watch()
                {
                    return Some(self.hand_over(now, watch));
                }
                if let Some(bytes) = self.calls.next_bytes()
                    && self.window.fits(bytes)
                    && self.may_go(now, bytes).is_some()
                    && let Some(call) = self.calls.next()
                {
                    return Some(self.hand_over(now, wire::call(call)));
                }
                self.next_request(now)
            }
        }
    }

    /// A submit or a fetch, in turns; when there is neither, what can wait or be lost.
    fn next_request(&mut self, now: Instant) -> Option<Frame> {
        let first = self.submit_first;
        let frame = match first {
            true => self.next_submit(now).or_else(|| self.next_fetch(now)),
            false => self.next_fetch(now).or_else(|| self.next_submit(now)),
        };
        if frame.is_some() {
            self.submit_first = !first;
            return frame;
        }
        self.next_typing(now).or_else(|| self.next_mark(now))
    }

    fn next_submit(&mut self, now: Instant) -> Option<Frame> {
        let (order, conversation, entry) = self.submits.next(self.terms.in_flight)?;
        let bytes = entry.bytes;
        if !self.window.fits(bytes) {
            return None;
        }
        let frame = wire::submit(entry.id, conversation, &entry.content);
        self.may_go(now, bytes)?;
        self.submits.sent(now, order);
        self.stats.submits_sent += 1;
        Some(self.hand_over(now, frame))
    }

    fn next_fetch(&mut self, now: Instant) -> Option<Frame> {
        if !self.window.fits(FETCH_LIMIT_BYTES) || !self.logs.has_fetch(self.terms.fetches) {
            return None;
        }
        self.may_go(now, FETCH_LIMIT_BYTES)?;
        let frame = self.logs.next_fetch(now, self.terms.fetches)?;
        self.stats.fetches += 1;
        Some(self.hand_over(now, frame))
    }

    fn next_typing(&mut self, now: Instant) -> Option<Frame> {
        if !self.window.fits(SIGN_LIMIT_BYTES) || !self.typing.has_sign(now) {
            return None;
        }
        self.may_go(now, SIGN_LIMIT_BYTES)?;
        let frame = self.typing.next_sign(now)?;
        self.stats.typing_sent += 1;
        Some(self.hand_over(now, frame))
    }

    fn next_mark(&mut self, now: Instant) -> Option<Frame> {
        if !self.window.fits(SIGN_LIMIT_BYTES) || !self.logs.has_mark(now) {
            return None;
        }
        self.may_go(now, SIGN_LIMIT_BYTES)?;
        let Self { logs, stats, actions, config, .. } = self;
        let frame = logs.next_mark(now, &mut Teller::new(actions, stats, config))?;
        self.stats.marks_sent += 1;
        Some(self.hand_over(now, frame))
    }

    /// Whether the server's rates allow a frame of so many bytes now; else remembers when they will.
    fn may_go(&mut self, now: Instant, bytes: u64) -> Option<()> {
        match self.pace.wait(now, bytes) {
            None => Some(()),
            Some(until) => {
                self.paced_until = Some(self.paced_until.map_or(until, |earlier| earlier.min(until)));
                None
            }
        }
    }

    fn hand_over(&mut self, now: Instant, payload: Bytes) -> Frame {
        self.quiet_since = now;
        self.pace.spend(now, length(payload.len()));
        self.window.push(Frame::Message(payload))
    }

    /// The cursors that a frame may name: those that moved last.
    fn cursors(&self) -> Vec<(LogCursor, Marks, Marks)> {
        // Half of what the server reads, so that the rest of the frame has room for certain.
        let room = self.terms.message_bytes / 2 / CURSOR_LIMIT_BYTES;
        let limit = room.min(self.terms.cursors.into());
        self.logs.marked_cursors().take(usize::try_from(limit).unwrap_or(usize::MAX)).collect()
    }
}
