//! What the checks know that decides what they will demand, folded into a digest: states of a world may be
//! taken for the same only if the same is demanded of them.
//!
//! Left out is what only counts (`stamp`, `event`), what each event resets (`cause`), the connections that
//! nothing can come of any more, and the counters of engines and checks: as long as nothing has failed, their
//! differences are what the outboxes hold, which is in it. Live pictures, rates and avatars are not in it:
//! exploration has none of the first and last, and never sends as much as a rate allows at once.

use core::hash::Hasher;

use super::{
    Check, ConnKey, MessageKey, Payload, Phase, Route, Seat, Use, Watch, calls::Side, pipelines::State,
};

/// How connections are called: by names that do not depend on how many there were before.
pub(crate) type Names<'a> = &'a dyn Fn(ConnKey) -> Option<u64>;

impl Check {
    /// Folds the knowledge of all engines, at this virtual time, with these messages.
    pub(crate) fn fold(&self, hasher: &mut impl Hasher, now_ns: u64, names: Names<'_>, live: &[MessageKey]) {
        for (group, members) in self.members.iter().enumerate() {
            for (member, since) in members {
                hasher.write_u64(u64::from(*member) | since << 1);
            }
            hasher.write_usize(group);
        }
        hasher.write_u64(self.revision);
        for (key, seat) in self.seats.iter().enumerate() {
            if names(key as ConnKey).is_none() {
                continue;
            }
            self.fold_seat(hasher, now_ns, seat);
        }
        hasher.write_usize(live.len());
        for said in live.iter().map(|key| &self.said[*key as usize]) {
            hasher.write_u64(super::fold(said.token));
            hasher.write_usize(said.conns.len());
            said.conns.iter().filter_map(|conn| names(*conn)).for_each(|name| hasher.write_u64(name));
            hasher.write_u32(said.stored);
            said.seqs.iter().for_each(|seq| hasher.write_u64(*seq));
            hasher.write_u64(said.call_peer.map_or(u64::MAX, u64::from));
            hasher.write_u64(match said.route {
                Route::User(user) => u64::from(user),
                Route::Group(group) => 1 << 16 | u64::from(group),
                Route::Relay(user) => 2 << 16 | u64::from(user),
                Route::Call => 3 << 16,
                Route::Everyone => 4 << 16,
            });
        }
        for watch in &self.watches {
            self.fold_watch(hasher, now_ns, names, watch);
        }
    }

    /// The messages that an engine has something to do with.
    pub(crate) fn live_messages(&self) -> Vec<MessageKey> {
        let mut live = Vec::new();
        let mut take = |payload: &Payload| match payload {
            Payload::Said(message) => live.push(*message),
            Payload::Heartbeat
            | Payload::Garbage
            | Payload::Nowhere
            | Payload::Hello { .. }
            | Payload::Resync
            | Payload::Fetch { .. }
            | Payload::Mark(_)
            | Payload::BadMark
            | Payload::Sign
            | Payload::Invalid => {}
        };
        for seat in &self.seats {
            seat.early.iter().for_each(&mut take);
            seat.pipeline.iter().for_each(|instance| take(&Payload::Said(instance.message)));
        }
        for watch in &self.watches {
            watch.told.iter().flat_map(|told| &told.departed).for_each(|(_, payload)| take(payload));
            for (ticket, _) in &watch.expiry {
                if let Some((Use::File(_, message) | Use::Store(_, message), _)) = watch.tickets.get(ticket) {
                    take(&Payload::Said(*message));
                }
            }
        }
        live
    }

    fn fold_seat(&self, hasher: &mut impl Hasher, now_ns: u64, seat: &Seat) {
        hasher.write_u16(seat.shard);
        hasher.write_u16(seat.user);
        hasher.write_u8(match seat.phase {
            Phase::Loading => 0,
            Phase::Online => 1,
            Phase::Closing => 2,
            Phase::Aborted => 3,
            Phase::Gone => 4,
        });
        hasher.write_usize(seat.early.len());
        seat.early.iter().for_each(|payload| hasher.write_u64(self.payload(*payload)));
        hasher.write_usize(seat.pipeline.len());
        for instance in &seat.pipeline {
            hasher.write_u64(self.token(instance.message));
            hasher.write_u64(match instance.state {
                State::Waiting { filed } => u64::from(filed),
                State::Failed => 2,
                State::Stored { seq } => 3 + seq,
            });
            let marks = [
                instance.optional,
                instance.uploading,
                instance.requested,
                instance.sent,
                instance.published,
            ];
            hasher.write_u8(marks.iter().fold(0, |bits, mark| bits << 1 | u8::from(*mark)));
        }
        hasher.write_u64(seat.frames);
        hasher.write_u64(seat.cost_bytes);
        // Of the dead nobody asks when they were heard.
        let here = !matches!(seat.phase, Phase::Gone);
        hasher.write_u64(if here { now_ns.saturating_sub(seat.heard_ns) } else { 0 });
    }

    fn fold_watch(&self, hasher: &mut impl Hasher, now_ns: u64, names: Names<'_>, watch: &Watch) {
        let open = watch.expiry.iter().filter_map(|(ticket, expires_ns)| {
            watch.tickets.get(ticket).map(|(purpose, _)| (*purpose, *expires_ns))
        });
        for (purpose, expires_ns) in open {
            hasher.write_u64(expires_ns.saturating_sub(now_ns));
            hasher.write_u64(self.purpose(purpose, names));
        }
        for told in &watch.told {
            hasher.write_u64(told.loaded.map_or(0, |revision| revision + 1));
            let flags = [told.ticket.is_some(), told.subscribed, told.lingers, told.call.is_some()];
            hasher.write_u8(flags.iter().fold(0, |bits, flag| bits << 1 | u8::from(*flag)));
            if let Some(call) = told.call {
                hasher.write_u16(call.peer);
                hasher.write_u64(match call.side {
                    Side::Called => 0,
                    Side::Both => 1,
                    Side::Rung { at_ns } => 2 + now_ns.saturating_sub(at_ns),
                });
            }
            hasher.write_usize(told.seats.len());
            told.seats.iter().filter_map(|conn| names(*conn)).for_each(|name| hasher.write_u64(name));
            hasher.write_usize(told.departed.len());
            for (conn, payload) in &told.departed {
                hasher.write_u64(names(*conn).unwrap_or(0));
                hasher.write_u64(self.payload(*payload));
            }
        }
        hasher.write_u64(watch.seen_revision);
        watch.group_subs.iter().for_each(|subscribed| hasher.write_u8(u8::from(*subscribed)));
        let closing = watch
            .closing
            .iter()
            .filter(|(_, conn)| matches!(self.seats[*conn as usize].phase, Phase::Closing));
        for (deadline_ns, conn) in closing {
            hasher.write_u64(deadline_ns.wrapping_sub(now_ns));
            hasher.write_u64(names(*conn).unwrap_or(0));
        }
        hasher.write_u64(watch.unflushed);
        hasher.write_u64(watch.waiting_pictures);
        hasher.write_u32(watch.online);
        hasher.write_u32(watch.connections);
        hasher.write_u8(u8::from(watch.stopping) << 1 | u8::from(watch.stopped));
    }

    /// What a ticket is for, as a name that does not depend on its number.
    pub(crate) fn purpose(&self, purpose: Use, names: Names<'_>) -> u64 {
        match purpose {
            Use::Load(user) => u64::from(user),
            Use::Heads(conn) | Use::Fetch(conn) | Use::Marks(conn) => names(conn).unwrap_or(0),
            Use::File(conn, message) | Use::Store(conn, message) => {
                let name = names(conn).unwrap_or(0);
                crate::choice::keyed(self.token(message), name, u64::from(matches!(purpose, Use::File(..))))
            }
        }
    }

    /// A message by its token.
    pub(crate) fn token(&self, message: MessageKey) -> u64 {
        super::fold(self.said[message as usize].token)
    }

    fn payload(&self, payload: Payload) -> u64 {
        match payload {
            Payload::Said(message) => self.token(message),
            Payload::Heartbeat => u64::MAX,
            Payload::Garbage => u64::MAX - 1,
            Payload::Nowhere => u64::MAX - 2,
            // Clients that are explored speak the classic protocol.
            Payload::Hello { .. }
            | Payload::Resync
            | Payload::Fetch { .. }
            | Payload::Mark(_)
            | Payload::BadMark
            | Payload::Sign
            | Payload::Invalid => u64::MAX - 3,
        }
    }
}
