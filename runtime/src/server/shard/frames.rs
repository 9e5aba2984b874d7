//! The frames of one turn: encoded once, one behind the other, whoever they are for.

use std::ops::AddAssign;

use switchboard_engine::{CloseReason, ConnId, Frame};
use switchboard_websocket as websocket;

/// What a turn gathers before it is written although the turn goes on: bytes of frames, and pieces of what connections are sent.
const GATHERED_LIMIT_BYTES: usize = 256 << 10;
const GATHERED_LIMIT_LINKS: usize = 1 << 20;

/// Entries that the tables keep room for between turns.
const KEPT: usize = 4096;

/// There is no such run.
const NONE: u32 = u32::MAX;

/// Frames that wait for the end of the turn.
///
/// They stand in one buffer in the order in which the engine decided on them. Most connections are sent frames that stand side by side
/// there - the messages of one read go to one neighbour, a broadcast to everybody - and so one write without a copy, and
/// nothing is kept for each frame and recipient but the ends of such a run.
#[derive(Debug)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    /// The begin of each frame; the last one is the end of all.
    marks: Vec<Mark>,
    links: Vec<Link>,
    /// Connections that have a chain here.
    waiting: Vec<ConnId>,
}

/// A place between two frames.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    at: usize,
    /// What stands before it.
    counted: Counted,
}

/// What is reported flushed: all frames but close frames, which are the runtime's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) frames: u32,
    pub(super) payload_bytes: u64,
}

impl Counted {
    const fn since(self, before: Self) -> Self {
        Self { frames: self.frames - before.frames, payload_bytes: self.payload_bytes - before.payload_bytes }
    }
}

impl AddAssign for Counted {
    fn add_assign(&mut self, other: Self) {
        self.frames += other.frames;
        self.payload_bytes += other.payload_bytes;
    }
}

/// One frame of the turn, by its number.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameId(u32);

/// Frames side by side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    first: u32,
    /// The frame after the last one.
    end: u32,
}

impl Run {
    pub(super) fn iter(self) -> impl Iterator<Item = FrameId> {
        (self.first..self.end).map(FrameId)
    }
}

impl From<FrameId> for Run {
    fn from(FrameId(first): FrameId) -> Self {
        Self { first, end: first.saturating_add(1) }
    }
}

/// A part of what one connection is sent, and where the next one is.
#[derive(Clone, Copy, Debug)]
struct Link {
    run: Run,
    next: u32,
}

/// What one connection is sent in this turn: its first and its last run. Empty at first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    first: u32,
    last: u32,
}

impl Default for Chain {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl Chain {
    pub(super) const EMPTY: Self = Self { first: NONE, last: NONE };

    pub(super) const fn is_empty(self) -> bool {
        self.first == NONE
    }
}

impl Default for Frames {
    fn default() -> Self {
        Self { bytes: Vec::new(), marks: vec![Mark::default()], links: Vec::new(), waiting: Vec::new() }
    }
}

impl Frames {
    /// Encodes a frame of the engine.
    pub(super) fn add(&mut self, frame: &Frame) -> FrameId {
        websocket::encode(frame, &mut self.bytes);
        let mut counted = self.end().counted;
        counted += Counted { frames: 1, payload_bytes: frame.payload().len() as u64 };
        self.mark(counted)
    }

    /// Encodes a close frame with this reason; if it answers a client's, with that one's code.
    pub(super) fn add_close(&mut self, reason: CloseReason, peer_code: Option<u16>) -> FrameId {
        if reason == CloseReason::PeerClosed {
            websocket::encode_close_answer(peer_code, &mut self.bytes);
        } else {
            websocket::encode_close(reason, &mut self.bytes);
        }
        self.mark(self.end().counted)
    }

    /// Encodes a message that is none of the engine's.
    #[cfg(test)]
    pub(super) fn add_echo(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> FrameId {
        encode(&mut self.bytes);
        self.mark(self.end().counted)
    }

    fn mark(&mut self, counted: Counted) -> FrameId {
        let frame = FrameId(number(self.marks.len()).saturating_sub(1));
        self.marks.push(Mark { at: self.bytes.len(), counted });
        frame
    }

    fn end(&self) -> Mark {
        self.marks.last().copied().unwrap_or_default()
    }

    /// Appends a frame to what a connection is sent.
    pub(super) fn append(&mut self, conn: ConnId, chain: &mut Chain, frame: FrameId) {
        if chain.is_empty() {
            self.waiting.push(conn);
        }
        let new = number(self.links.len());
        match self.links.get_mut(chain.last as usize) {
            Some(Link { run, .. }) if run.end == frame.0 => {
                run.end += 1;
                return;
            }
            Some(last) => last.next = new,
            None => chain.first = new,
        }
        self.links.push(Link { run: frame.into(), next: NONE });
        chain.last = new;
    }

    /// Takes the first run off a chain.
    pub(super) fn pop(&self, chain: &mut Chain) -> Option<Run> {
        let link = self.links.get(chain.first as usize)?;
        chain.first = link.next;
        Some(link.run)
    }

    /// The bytes of frames side by side, or of one.
    pub(super) fn bytes_of(&self, frames: impl Into<Run>) -> &[u8] {
        let Run { first, end } = frames.into();
        self.bytes.get(self.at(first).at..self.at(end).at).unwrap_or_default()
    }

    /// What these frames count.
    pub(super) fn counted(&self, frames: impl Into<Run>) -> Counted {
        let Run { first, end } = frames.into();
        self.at(end).counted.since(self.at(first).counted)
    }

    fn at(&self, frame: u32) -> Mark {
        self.marks.get(frame as usize).copied().unwrap_or_default()
    }

    /// The connections that are sent something, by their numbers.
    pub(super) fn waiting(&self, number: usize) -> Option<ConnId> {
        self.waiting.get(number).copied()
    }

    /// Whether anything waits for the end of the turn.
    pub(super) const fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether it is time to write although the turn goes on.
    pub(super) const fn is_full(&self) -> bool {
        self.bytes.len() >= GATHERED_LIMIT_BYTES || self.links.len() >= GATHERED_LIMIT_LINKS
    }

    /// Forgets everything; no connection may have a chain here.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(GATHERED_LIMIT_BYTES);
        self.marks.truncate(1);
        self.marks.shrink_to(KEPT);
        self.links.clear();
        self.links.shrink_to(KEPT);
        self.waiting.clear();
        self.waiting.shrink_to(KEPT);
    }
}

/// A turn is written long before it has so many frames or runs.
fn number(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(NONE)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const CONN: ConnId = ConnId::new(0, 0);

    fn message(text: &'static str) -> Frame {
        Frame::Message(Bytes::from_static(text.as_bytes()))
    }

    /// What a connection is sent: the bytes of each run, and what all of it counts.
    fn sent(frames: &Frames, mut chain: Chain) -> (Vec<&[u8]>, Counted) {
        let (mut runs, mut counted) = (Vec::new(), Counted::default());
        while let Some(run) = frames.pop(&mut chain) {
            counted += frames.counted(run);
            runs.push(frames.bytes_of(run));
        }
        assert!(chain.is_empty());
        (runs, counted)
    }

    #[test]
    fn frames_side_by_side_are_one_run_and_others_follow_in_their_order() {
        let mut frames = Frames::default();
        let (mut alice, mut bob) = (Chain::default(), Chain::default());
        assert!(alice.is_empty());
        for (text, for_alice, for_bob) in [
            ("one", true, true),
            ("two", true, true),
            ("three", false, true),
            ("four", true, false),
            ("five", true, false),
        ] {
            let frame = frames.add(&message(text));
            for (chain, _) in [(&mut alice, for_alice), (&mut bob, for_bob)].into_iter().filter(|(_, is)| *is)
            {
                frames.append(CONN, chain, frame);
            }
        }
        assert_eq!([0, 1, 2].map(|number| frames.waiting(number)), [Some(CONN), Some(CONN), None]);
        let (runs, counted) = sent(&frames, alice);
        assert_eq!(runs, [&b"\x82\x03one\x82\x03two"[..], b"\x82\x04four\x82\x04five"]);
        assert_eq!(counted, Counted { frames: 4, payload_bytes: 14 });
        let (runs, counted) = sent(&frames, bob);
        assert_eq!(runs, [b"\x82\x03one\x82\x03two\x82\x05three"]);
        assert_eq!(counted, Counted { frames: 3, payload_bytes: 11 });
    }

    #[test]
    fn a_close_frame_is_sent_and_not_counted() {
        let mut frames = Frames::default();
        let mut chain = Chain::default();
        for frame in [frames.add(&message("bye")), frames.add_close(CloseReason::PeerClosed, Some(1000))] {
            frames.append(CONN, &mut chain, frame);
        }
        let (runs, counted) = sent(&frames, chain);
        assert_eq!(runs, [b"\x82\x03bye\x88\x02\x03\xe8"]);
        assert_eq!(counted, Counted { frames: 1, payload_bytes: 3 });
    }

    #[test]
    fn a_turn_does_not_gather_without_end_and_keeps_little_room() {
        let mut frames = Frames::default();
        let large = Frame::Message(Bytes::from(vec![0; 1 << 20]));
        assert!(!frames.is_full());
        let frame = frames.add(&large);
        assert!(frames.is_full());
        assert_eq!(frames.bytes_of(frame).len(), (1 << 20) + 10);
        frames.clear();
        assert!(!frames.is_full() && frames.is_empty());
        assert!(frames.bytes.capacity() <= GATHERED_LIMIT_BYTES);
        let next = frames.add(&message("next"));
        assert_eq!(frames.bytes_of(next), b"\x82\x04next");
    }
}
