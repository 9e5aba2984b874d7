//! What one connection has been sent and has not yet written: the engine's side of flow control.

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use bytes::Bytes;

use crate::{
    config::{FRAME_COST_BYTES, to_usize},
    digest::Digest,
    id::UserId,
};

/// The frames between the engine's actions and the network, by number and size.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Outbox {
    sent_frames: u64,
    flushed_frames: u64,
    unflushed_bytes: u64,
    streams: Vec<Stream>,
}

/// Live pictures of one sender: at most one is on its way, and at most one, the newest, is held back.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stream {
    sender: UserId,
    content_type: i32,
    /// The number of the frame on its way.
    sent_as: u64,
    held: Option<Bytes>,
}

/// What becomes of a live picture.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StreamOutcome {
    /// It is to be sent now.
    Send,
    /// It is held until the one before it is flushed.
    Held,
    /// It is held, and the one that was held before is dropped.
    Superseded,
    /// There is no room for it.
    Dropped,
}

/// Frames that were reported flushed but never sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NeverSent;

impl Outbox {
    /// Frames on their way.
    #[inline]
    pub(super) const fn unflushed_frames(&self) -> u64 {
        self.sent_frames - self.flushed_frames
    }

    /// Frames held back.
    pub(super) fn held_frames(&self) -> u64 {
        self.streams.iter().filter(|stream| stream.held.is_some()).map(|_| 1).sum()
    }

    /// Frames sent so far: the position that a Ping carries.
    pub(super) const fn position(&self) -> u64 {
        self.sent_frames
    }

    /// Bytes waiting, at the cost that the limit is about.
    #[inline]
    pub(super) fn cost_bytes(&self) -> u64 {
        let held: u64 = self.streams.iter().filter_map(|s| s.held.as_ref()).map(|f| cost(f.len())).sum();
        self.unflushed_bytes + self.unflushed_frames() * FRAME_COST_BYTES + held
    }

    /// Whether another frame would not exceed the limit.
    #[inline]
    pub(super) fn has_room(&self, payload_len: usize, limit_bytes: u64) -> bool {
        self.cost_bytes() + cost(payload_len) <= limit_bytes
    }

    /// Takes a frame, unless that would exceed the limit.
    #[inline]
    pub(super) fn push(&mut self, payload_len: usize, limit_bytes: u64) -> bool {
        if !self.has_room(payload_len, limit_bytes) {
            return false;
        }
        self.sent_frames += 1;
        self.unflushed_bytes += payload_len as u64;
        true
    }

    /// Takes a live picture: only the newest unsent one of each sender and kind is kept.
    pub(super) fn push_stream(
        &mut self,
        sender: &UserId,
        content_type: i32,
        frame: &Bytes,
        limit_bytes: u64,
        limit_streams: u32,
    ) -> StreamOutcome {
        let before = self.cost_bytes();
        let room = |freed: u64| before - freed + cost(frame.len()) <= limit_bytes;
        let known = self.streams.iter_mut().find(|s| s.content_type == content_type && s.sender == *sender);
        match known {
            Some(stream) => {
                let freed = stream.held.as_ref().map_or(0, |held| cost(held.len()));
                if !room(freed) {
                    return StreamOutcome::Dropped;
                }
                match stream.held.replace(frame.clone()) {
                    Some(_) => StreamOutcome::Superseded,
                    None => StreamOutcome::Held,
                }
            }
            None => {
                let free = self.streams.len() < to_usize(limit_streams);
                if !free || !self.push(frame.len(), limit_bytes) {
                    return StreamOutcome::Dropped;
                }
                let sent_as = self.sent_frames;
                self.streams.push(Stream { sender: sender.clone(), content_type, sent_as, held: None });
                StreamOutcome::Send
            }
        }
    }

    /// Whether a picture of this sender and kind is held back.
    pub(super) fn holds(&self, sender: &UserId, content_type: i32) -> bool {
        let same = |s: &&Stream| s.content_type == content_type && s.sender == *sender;
        self.streams.iter().find(same).is_some_and(|stream| stream.held.is_some())
    }

    /// Takes note of frames that were written. Returns how many of them were known.
    #[inline]
    pub(super) fn flushed(&mut self, frames: u32, payload_bytes: u64) -> Result<(), NeverSent> {
        let frames = u64::from(frames);
        if frames > self.unflushed_frames() || payload_bytes > self.unflushed_bytes {
            return Err(NeverSent);
        }
        self.flushed_frames += frames;
        self.unflushed_bytes -= payload_bytes;
        Ok(())
    }

    /// The next held picture whose turn it is; it counts as sent from now on.
    #[inline]
    pub(super) fn release(&mut self) -> Option<Bytes> {
        if self.streams.is_empty() {
            return None;
        }
        let flushed = self.flushed_frames;
        self.streams.retain(|s| s.held.is_some() || s.sent_as > flushed);
        if self.streams.is_empty() {
            self.streams = Vec::new();
        }
        let stream = self.streams.iter_mut().find(|s| s.sent_as <= flushed)?;
        let frame = stream.held.take()?;
        self.sent_frames += 1;
        self.unflushed_bytes += frame.len() as u64;
        stream.sent_as = self.sent_frames;
        Some(frame)
    }

    /// Drops what is held back. Returns how many frames that were.
    pub(super) fn discard_held(&mut self) -> u64 {
        let held = self.held_frames();
        self.streams = Vec::new();
        held
    }

    /// How many frames there were before those on their way decides nothing.
    pub(super) fn fold(&self, digest: &mut Digest<'_>) {
        let origin = if digest.is_everything() { 0 } else { self.flushed_frames };
        digest.word(self.sent_frames - origin);
        digest.word(self.flushed_frames - origin);
        digest.word(self.unflushed_bytes);
        digest.len(self.streams.len());
        for stream in &self.streams {
            digest.text(stream.sender.as_str());
            digest.word(u64::from(stream.content_type.cast_unsigned()));
            digest.word(stream.sent_as.saturating_sub(origin));
            digest.flag(stream.held.is_some());
            digest.bytes(stream.held.as_deref().unwrap_or_default());
        }
    }
}

/// What a frame counts.
const fn cost(payload_len: usize) -> u64 {
    payload_len as u64 + FRAME_COST_BYTES
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{NeverSent, Outbox, StreamOutcome};
    use crate::{config::FRAME_COST_BYTES, id::UserId};

    const SCREEN: i32 = 9;

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    fn picture(outbox: &mut Outbox, sender: &str, len: usize, limit_bytes: u64) -> StreamOutcome {
        outbox.push_stream(&user(sender), SCREEN, &Bytes::from(alloc::vec![0; len]), limit_bytes, 8)
    }

    #[test]
    fn a_frame_that_just_fits_passes_and_one_byte_more_does_not() {
        let mut outbox = Outbox::default();
        let limit = 2 * FRAME_COST_BYTES + 30;
        assert!(outbox.push(10, limit));
        assert!(!outbox.push(21, limit));
        assert!(outbox.push(20, limit));
        assert_eq!((outbox.cost_bytes(), outbox.unflushed_frames(), outbox.position()), (limit, 2, 2));
    }

    #[test]
    fn what_is_flushed_costs_nothing_any_more_and_stays_in_the_position() {
        let mut outbox = Outbox::default();
        assert!(outbox.push(10, 1000) && outbox.push(20, 1000));
        assert_eq!(outbox.flushed(1, 10), Ok(()));
        assert_eq!((outbox.cost_bytes(), outbox.position()), (FRAME_COST_BYTES + 20, 2));
        assert_eq!(outbox.flushed(1, 20), Ok(()));
        assert_eq!((outbox.cost_bytes(), outbox.unflushed_frames()), (0, 0));
    }

    #[test]
    fn more_than_was_sent_cannot_be_flushed_and_changes_nothing() {
        let mut outbox = Outbox::default();
        assert!(outbox.push(10, 1000));
        assert_eq!(outbox.flushed(2, 10), Err(NeverSent));
        assert_eq!(outbox.flushed(1, 11), Err(NeverSent));
        assert_eq!((outbox.unflushed_frames(), outbox.cost_bytes()), (1, FRAME_COST_BYTES + 10));
    }

    #[test]
    fn of_one_stream_one_picture_is_on_its_way_and_the_newest_is_held() {
        let mut outbox = Outbox::default();
        let outcomes = [1, 2, 3].map(|len| picture(&mut outbox, "alice", len, 1000));
        assert_eq!(outcomes, [StreamOutcome::Send, StreamOutcome::Held, StreamOutcome::Superseded]);
        assert_eq!((outbox.unflushed_frames(), outbox.held_frames()), (1, 1));
        assert_eq!(outbox.release(), None, "the first is still on its way");
        assert_eq!(outbox.flushed(1, 1), Ok(()));
        assert_eq!(outbox.release().map(|frame| frame.len()), Some(3));
        assert_eq!(outbox.release(), None);
        assert_eq!(outbox.flushed(1, 3), Ok(()));
        assert_eq!(outbox.release(), None);
        assert_eq!((outbox.cost_bytes(), outbox.position(), outbox.streams.len()), (0, 2, 0));
    }

    #[test]
    fn a_held_picture_counts_and_its_successor_may_use_its_room() {
        let mut outbox = Outbox::default();
        let limit = 2 * FRAME_COST_BYTES + 30;
        assert_eq!(picture(&mut outbox, "alice", 10, limit), StreamOutcome::Send);
        assert_eq!(picture(&mut outbox, "alice", 20, limit), StreamOutcome::Held);
        assert_eq!(outbox.cost_bytes(), limit);
        assert!(!outbox.push(0, limit), "no room for anything else");
        assert_eq!(picture(&mut outbox, "bob", 0, limit), StreamOutcome::Dropped);
        assert_eq!(picture(&mut outbox, "alice", 21, limit), StreamOutcome::Dropped);
        assert_eq!(picture(&mut outbox, "alice", 20, limit), StreamOutcome::Superseded);
        assert_eq!(outbox.cost_bytes(), limit);
    }

    #[test]
    fn releasing_a_held_picture_does_not_change_the_cost() {
        let mut outbox = Outbox::default();
        (0..2).for_each(|_| assert_ne!(picture(&mut outbox, "alice", 5, 1000), StreamOutcome::Dropped));
        assert_eq!(outbox.flushed(1, 5), Ok(()));
        let before = outbox.cost_bytes();
        assert!(outbox.release().is_some());
        assert_eq!(outbox.cost_bytes(), before);
    }

    #[test]
    fn streams_beyond_the_limit_are_dropped() {
        let mut outbox = Outbox::default();
        let frame = Bytes::from_static(b"x");
        let mut push =
            |sender: &str, content_type| outbox.push_stream(&user(sender), content_type, &frame, 1000, 2);
        assert_eq!(push("alice", 8), StreamOutcome::Send);
        assert_eq!(push("alice", 9), StreamOutcome::Send);
        assert_eq!(push("bob", 9), StreamOutcome::Dropped);
        assert_eq!(push("alice", 9), StreamOutcome::Held, "a known one needs no place");
    }

    #[test]
    fn what_is_held_can_be_discarded_and_is_counted() {
        let mut outbox = Outbox::default();
        (0..3).for_each(|_| assert_ne!(picture(&mut outbox, "alice", 5, 1000), StreamOutcome::Dropped));
        assert_eq!((outbox.discard_held(), outbox.discard_held(), outbox.unflushed_frames()), (1, 0, 1));
    }
}
