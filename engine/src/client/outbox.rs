//! What is on its way to the server: waiting, or handed to the driver and not yet flushed.

use alloc::collections::VecDeque;

use bytes::Bytes;

use super::{
    classic::Class,
    config::ClientLimits,
    event::{ClientAction, DropReason, Notification, SendId},
    length, link,
    stats::ClientStats,
};
use crate::{action::Frame, config::FRAME_COST_BYTES, digest::Digest};

#[derive(Clone, Debug)]
struct Entry {
    id: SendId,
    message: Bytes,
    class: Class,
    /// Links that the server closed for a message while this was the oldest unflushed one.
    refusals: u32,
}

impl Entry {
    fn fold(&self, digest: &mut Digest<'_>) {
        if digest.is_everything() {
            digest.word(self.id.0);
        }
        digest.bytes(&self.message);
        match &self.class {
            Class::Stored => digest.word(0),
            Class::Signal => digest.word(1),
            Class::LivePicture { content_type, to } => {
                digest.word(2);
                digest.word(content_type.cast_unsigned().into());
                digest.text(to.as_ref().map_or("", |user| user.as_str()));
            }
        }
        digest.word(self.refusals.into());
    }
}

#[derive(Clone, Debug)]
enum InFlight {
    Control { payload_bytes: u64 },
    Message(Entry),
}

type Actions = link::Actions<Notification>;

/// Heartbeats and Pongs, then messages, in the order of their ids.
#[derive(Clone, Debug)]
pub(super) struct Outbox {
    limits: ClientLimits,
    next_id: u64,
    control: VecDeque<Frame>,
    queue: VecDeque<Entry>,
    in_flight: VecDeque<InFlight>,
    /// Control frames in `in_flight`.
    control_in_flight: usize,
    /// Cost of the messages in `in_flight`.
    in_flight_bytes: u64,
    /// Cost of the messages in `queue` and `in_flight`.
    bytes: u64,
}

impl Outbox {
    pub(super) const fn new(limits: ClientLimits) -> Self {
        Self {
            limits,
            next_id: 0,
            control: VecDeque::new(),
            queue: VecDeque::new(),
            in_flight: VecDeque::new(),
            control_in_flight: 0,
            in_flight_bytes: 0,
            bytes: 0,
        }
    }

    /// Messages that are neither flushed nor dropped.
    pub(super) fn messages(&self) -> usize {
        (self.queue.len() + self.in_flight.len()).saturating_sub(self.control_in_flight)
    }

    /// What these cost.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes a message; none if there is no room for it.
    pub(super) fn push(
        &mut self,
        message: Bytes,
        class: Class,
        actions: &mut Actions,
        stats: &mut ClientStats,
    ) -> Option<SendId> {
        if matches!(class, Class::LivePicture { .. })
            && let Some(index) = self.queue.iter().position(|entry| entry.class == class)
            && let Some(older) = self.queue.remove(index)
        {
            self.drop_entry(&older, DropReason::Superseded, actions, stats);
        }
        let bytes = self.bytes.saturating_add(cost(&message));
        if length(self.messages()) >= u64::from(self.limits.queue_messages) || bytes > self.limits.queue_bytes
        {
            return None;
        }
        let id = SendId(self.next_id);
        self.next_id = self.next_id.saturating_add(1);
        self.bytes = bytes;
        self.queue.push_back(Entry { id, message, class, refusals: 0 });
        Some(id)
    }

    /// Queues a heartbeat, unless an earlier one still waits or is unflushed among too many control frames.
    pub(super) fn push_heartbeat(&mut self, message: Bytes) -> bool {
        let waits = self.control.iter().any(|frame| matches!(frame, Frame::Message(_)));
        let free = !waits && !self.control_is_full();
        if free {
            self.control.push_back(Frame::Message(message));
        }
        free
    }

    /// Queues a Pong, in place of the oldest one if too many wait. False if one was left out.
    pub(super) fn push_pong(&mut self, payload: Bytes) -> bool {
        let full = self.control_is_full();
        if full {
            match self.control.iter().position(|frame| matches!(frame, Frame::Pong(_))) {
                Some(oldest) => drop(self.control.remove(oldest)),
                None => return false,
            }
        }
        self.control.push_back(Frame::Pong(payload));
        !full
    }

    /// The next frame to hand to the driver, if it may have one more.
    pub(super) fn next_frame(&mut self) -> Option<Frame> {
        if length(self.control_in_flight) < u64::from(self.limits.control_frames)
            && let Some(frame) = self.control.pop_front()
        {
            let payload_bytes = length(frame.payload().len());
            self.control_in_flight += 1;
            self.in_flight.push_back(InFlight::Control { payload_bytes });
            return Some(frame);
        }
        let next = cost(&self.queue.front()?.message);
        let alone = self.in_flight_bytes == 0;
        if !alone && self.in_flight_bytes.saturating_add(next) > self.limits.window_bytes {
            return None;
        }
        let entry = self.queue.pop_front()?;
        let frame = Frame::Message(entry.message.clone());
        self.in_flight_bytes = self.in_flight_bytes.saturating_add(next);
        self.in_flight.push_back(InFlight::Message(entry));
        Some(frame)
    }

    /// The driver has written the oldest unflushed frames. False if there were not as many, or not as large.
    pub(super) fn flushed(
        &mut self,
        frames: u32,
        payload_bytes: u64,
        actions: &mut Actions,
        stats: &mut ClientStats,
    ) -> bool {
        let mut written_bytes: u64 = 0;
        for _ in 0..frames {
            match self.in_flight.pop_front() {
                Some(InFlight::Control { payload_bytes }) => {
                    self.control_in_flight = self.control_in_flight.saturating_sub(1);
                    written_bytes = written_bytes.saturating_add(payload_bytes);
                }
                Some(InFlight::Message(entry)) => {
                    written_bytes = written_bytes.saturating_add(length(entry.message.len()));
                    let cost = cost(&entry.message);
                    self.in_flight_bytes = self.in_flight_bytes.saturating_sub(cost);
                    self.bytes = self.bytes.saturating_sub(cost);
                    stats.flushed += 1;
                    let flushed = Notification::Flushed { id: entry.id };
                    actions.push_back(ClientAction::Notify(flushed));
                }
                None => return false,
            }
        }
        written_bytes == payload_bytes
    }

    /// The link is gone, and another one will come: what was handed over goes out again, before all else.
    /// Call signals, and with `refused` a message that was refused too often, do not.
    pub(super) fn link_lost(&mut self, refused: bool, actions: &mut Actions, stats: &mut ClientStats) {
        let sent = self.take_in_flight();
        let unflushed = sent.len();
        let waiting = core::mem::take(&mut self.queue);
        for (place, mut entry) in sent.into_iter().chain(waiting).enumerate() {
            if refused && place == 0 && unflushed > 0 {
                entry.refusals = entry.refusals.saturating_add(1);
            }
            if entry.class != Class::Stored {
                self.drop_entry(&entry, DropReason::LinkLost, actions, stats);
            } else if entry.refusals >= self.limits.refusals {
                self.drop_entry(&entry, DropReason::Refused, actions, stats);
            } else {
                stats.requeued += u64::from(place < unflushed);
                self.queue.push_back(entry);
            }
        }
    }

    /// The application closes the client: nothing more is handed over.
    pub(super) fn drop_queue(&mut self, actions: &mut Actions, stats: &mut ClientStats) {
        self.control.clear();
        for entry in core::mem::take(&mut self.queue) {
            self.drop_entry(&entry, DropReason::Closed, actions, stats);
        }
    }

    /// The application has closed the client, and the link is gone.
    pub(super) fn drop_all(&mut self, actions: &mut Actions, stats: &mut ClientStats) {
        for entry in self.take_in_flight() {
            self.drop_entry(&entry, DropReason::Closed, actions, stats);
        }
        self.drop_queue(actions, stats);
    }

    /// Forgets what a dead link was given, and gives back the messages of it.
    fn take_in_flight(&mut self) -> VecDeque<Entry> {
        self.control.clear();
        self.control_in_flight = 0;
        self.in_flight_bytes = 0;
        let taken = core::mem::take(&mut self.in_flight).into_iter();
        taken
            .filter_map(|sent| match sent {
                InFlight::Control { .. } => None,
                InFlight::Message(entry) => Some(entry),
            })
            .collect()
    }

    fn drop_entry(
        &mut self,
        entry: &Entry,
        reason: DropReason,
        actions: &mut Actions,
        stats: &mut ClientStats,
    ) {
        self.bytes = self.bytes.saturating_sub(cost(&entry.message));
        *match reason {
            DropReason::LinkLost => &mut stats.dropped_link_lost,
            DropReason::Superseded => &mut stats.dropped_superseded,
            DropReason::Closed => &mut stats.dropped_closed,
            DropReason::Refused => &mut stats.dropped_refused,
        } += 1;
        actions.push_back(ClientAction::Notify(Notification::Dropped { id: entry.id, reason }));
    }

    /// The sums follow from what is queued.
    pub(super) fn fold(&self, digest: &mut Digest<'_>) {
        if digest.is_everything() {
            digest.word(self.next_id);
        }
        digest.len(self.control.len());
        for frame in &self.control {
            digest.word(match frame {
                Frame::Message(_) => 0,
                Frame::Ping(_) => 1,
                Frame::Pong(_) => 2,
            });
            digest.bytes(frame.payload());
        }
        digest.len(self.queue.len());
        self.queue.iter().for_each(|entry| entry.fold(digest));
        digest.len(self.in_flight.len());
        for sent in &self.in_flight {
            match sent {
                InFlight::Control { payload_bytes } => digest.word(payload_bytes.saturating_add(1)),
                InFlight::Message(entry) => {
                    digest.word(0);
                    entry.fold(digest);
                }
            }
        }
    }

    fn control_is_full(&self) -> bool {
        length(self.control.len()) >= u64::from(self.limits.control_frames)
    }
}

/// What a message counts against the limits.
fn cost(message: &Bytes) -> u64 {
    FRAME_COST_BYTES.saturating_add(length(message.len()))
}
