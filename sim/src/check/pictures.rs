//! Live pictures, of which the newest one waits where one is on its way: what was offered to whom, and that what is released is the newest.

use switchboard_engine::ConnId;

use super::{Check, MessageKey, Phase, seats::StreamSeen};

impl Check {
    /// A live picture has reached the outboxes of those in `must`; some of them were sent it.
    pub(super) fn offered(&mut self, shard: usize, key: MessageKey, to: &[ConnId], doubtful: bool) {
        let must = core::mem::take(&mut self.must);
        let (sender, kind) = (self.said[key as usize].sender, self.said[key as usize].content_type);
        for conn in &must {
            let seat = &mut self.seats[*conn as usize];
            let sent = to.contains(&seat.id).then_some(key);
            let found = seat.streams.iter_mut().find(|s| s.sender == sender && s.kind == kind);
            // Whoever was welcomed by this very event may have been too late for it.
            let uncertain = doubtful || seat.welcomed_by == self.event;
            let waited = found.as_ref().is_some_and(|stream| stream.waits());
            match found {
                Some(stream) => {
                    // A record that the bus repeats is a picture of its own, though it looks the same.
                    stream.sent = sent.or(stream.sent.filter(|sent| *sent != key));
                    stream.offered = key;
                    stream.uncertain |= uncertain;
                }
                None => seat.streams.push(StreamSeen { sender, kind, offered: key, sent, uncertain }),
            }
            let watch = &mut self.watches[shard];
            watch.waiting_pictures += u64::from(sent.is_none() && !waited);
            watch.waiting_pictures -= u64::from(sent.is_some() && waited);
        }
        self.must = must;
    }

    /// A held picture is sent when the one before it has left: it must be the newest.
    pub(super) fn releases(&mut self, shard: usize, to: &[ConnId], key: MessageKey) {
        let conn = match to {
            [id] => self.seat(shard, *id),
            _ => None,
        };
        let token = self.said[key as usize].token;
        let (sender, kind) = (self.said[key as usize].sender, self.said[key as usize].content_type);
        let Some(conn) = conn.filter(|conn| Some(*conn) == self.cause.conn) else {
            return self.fail("protocol", |_| format!("{token} is released to {to:?}"));
        };
        let streams = &mut self.seats[conn as usize].streams;
        match streams.iter_mut().find(|s| s.sender == sender && s.kind == kind) {
            Some(stream) if stream.sent == Some(key) => {
                self.fail("exactly-once", |_| format!("{token} is released again"));
            }
            Some(stream) if stream.offered == key || stream.uncertain => {
                self.watches[shard].waiting_pictures -= u64::from(stream.offered == key && stream.waits());
                stream.sent = Some(key);
            }
            Some(_) => {
                self.fail("delivery", |_| format!("{token} is released, and is not the newest picture"));
            }
            None => self.fail("no-leak", |_| format!("{token} is released, and was not for this connection")),
        }
    }

    /// Some picture found no room: which one, the counters do not tell.
    pub(super) fn doubt_pictures(&mut self, shard: usize) {
        for slot in 0..self.watches[shard].slots.len() {
            let Some(conn) = self.watches[shard].slots[slot] else { continue };
            let waiting = self.seats[conn as usize].streams.iter_mut().filter(|stream| stream.waits());
            waiting.for_each(|stream| stream.uncertain = true);
        }
    }

    /// With nothing on its way to a connection, nothing is held back for it.
    pub(super) fn end_pictures(&mut self) {
        let Some(conn) = self.cause.conn.filter(|_| self.cause.flushed) else { return };
        let seat = &self.seats[conn as usize];
        if seat.frames > 0 || !matches!(seat.phase, Phase::Online) {
            return;
        }
        if seat.streams.iter().any(|stream| stream.waits() && !stream.uncertain) {
            self.fail("delivery", |check| format!("the newest picture never reaches {}", check.name(conn)));
        }
        let seat = &mut self.seats[conn as usize];
        let waiting = seat.streams.iter().filter(|stream| stream.waits()).count() as u64;
        self.watches[seat.shard as usize].waiting_pictures -= waiting;
        seat.streams.clear();
    }
}
