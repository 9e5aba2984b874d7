//! What one connection was sent and has not written, as the specification has it.

use std::collections::VecDeque;

use bytes::Bytes;
use switchboard_engine::{FRAME_COST_BYTES, Limits};

/// Sender and content type of a live picture.
pub(crate) type Picture = (String, i32);

/// What becomes of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Sent,
    Waits,
    Dropped,
    Overflows,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Outbox {
    /// Payload sizes, and which picture it is if it is one.
    on_the_way: VecDeque<(usize, Option<Picture>)>,
    /// Of each picture that is on its way or waits: the newest one that waits.
    waiting: Vec<(Picture, Option<Bytes>)>,
    sent: u64,
}

fn cost(len: usize) -> u64 {
    len as u64 + FRAME_COST_BYTES
}

impl Outbox {
    pub(crate) fn on_the_way(&self) -> usize {
        self.on_the_way.len()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.iter().filter(|(_, frame)| frame.is_some()).count()
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    pub(super) fn fits(&self, len: usize, limit_bytes: u64) -> bool {
        let sent: u64 = self.on_the_way.iter().map(|(len, _)| cost(*len)).sum();
        let waits: u64 =
            self.waiting.iter().flat_map(|(_, frame)| frame).map(|frame| cost(frame.len())).sum();
        sent + waits + cost(len) <= limit_bytes
    }

    fn sends(&mut self, len: usize, picture: Option<Picture>) -> Fate {
        self.on_the_way.push_back((len, picture));
        self.sent += 1;
        Fate::Sent
    }

    /// One of many frames that all count.
    pub(crate) fn ordinary(&mut self, frame: &Bytes, limits: &Limits) -> Fate {
        if self.fits(frame.len(), limits.outbox_bytes) {
            self.sends(frame.len(), None)
        } else {
            Fate::Overflows
        }
    }

    /// A stored message for a session, which lags if that is too much.
    pub(crate) fn delivery(&mut self, frame: &Bytes, limits: &Limits, lags: &mut bool) -> Fate {
        let waits = !self.on_the_way.is_empty();
        let limit = if waits { limits.lag_bytes } else { limits.outbox_bytes };
        if *lags || !self.fits(frame.len(), limit) {
            *lags |= waits;
            return Fate::Dropped;
        }
        self.sends(frame.len(), None)
    }

    /// What is worth nothing to who reads slowly.
    pub(crate) fn hint(&mut self, frame: &Bytes, limit_bytes: u64) -> Fate {
        if self.fits(frame.len(), limit_bytes) { self.sends(frame.len(), None) } else { Fate::Dropped }
    }

    /// A live picture: it waits for its predecessor, and replaces one that waits already.
    pub(crate) fn picture(&mut self, frame: &Bytes, picture: &Picture, limits: &Limits) -> Fate {
        if let Some(place) = self.waiting.iter().position(|(other, _)| other == picture) {
            let before = self.waiting[place].1.take();
            let fits = self.fits(frame.len(), limits.outbox_bytes);
            self.waiting[place].1 = if fits { Some(frame.clone()) } else { before };
            return if fits { Fate::Waits } else { Fate::Dropped };
        }
        if self.waiting.len() >= limits.streams_per_connection as usize
            || !self.fits(frame.len(), limits.outbox_bytes)
        {
            return Fate::Dropped;
        }
        self.waiting.push((picture.clone(), None));
        self.sends(frame.len(), Some(picture.clone()))
    }

    /// The first `frames` are written. Gives their number and bytes, and the pictures whose turn it is.
    pub(crate) fn flush(&mut self, frames: usize) -> (u32, u64, Vec<Bytes>) {
        let frames = frames.min(self.on_the_way.len());
        let bytes = self.on_the_way.drain(..frames).map(|(len, _)| len as u64).sum();
        let mut released = Vec::new();
        for (picture, frame) in std::mem::take(&mut self.waiting) {
            let busy = self.on_the_way.iter().any(|(_, other)| other.as_ref() == Some(&picture));
            match frame {
                Some(frame) if !busy => {
                    self.sends(frame.len(), Some(picture.clone()));
                    released.push(frame);
                    self.waiting.push((picture, None));
                }
                None if !busy => {}
                frame => self.waiting.push((picture, frame)),
            }
        }
        (frames as u32, bytes, released)
    }

    pub(crate) fn discard_waiting(&mut self) {
        self.waiting.clear();
    }
}
