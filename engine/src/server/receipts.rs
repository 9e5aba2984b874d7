//! What a classic connection has been sent of logs, what of that has arrived, and what it is behind with: all that is
//! known of one connection, without what is done about it.

use alloc::{
    boxed::Box,
    collections::{BTreeSet, VecDeque},
    vec::Vec,
};
use serde::{Deserialize, Serialize};

use bytes::Bytes;

use super::{
    behind::{Behind, Caught},
    held::Held,
    missing::Missing,
    stage::Stage,
};
use crate::{
    digest::Digest,
    id::{Ticket, UserId},
    storage::{Place, Received, Recipient},
    time::Instant,
};

/// A place in a log, as the user of the connection sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) conversation: Recipient,
    pub(super) epoch: u64,
    pub(super) seq: u64,
}

impl Entry {
    pub(super) fn fold(&self, digest: &mut Digest<'_>) {
        self.conversation.fold(digest);
        digest.word(self.epoch);
        digest.word(self.seq);
    }
}

/// What is known of a connection's receiving. One that is in step with the logs and has answered its last Ping has none.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Receipts {
    /// Sent, and not known to have arrived. In the order of their positions.
    sent: VecDeque<Sent>,
    /// Arrived, and not stored as such.
    arrived: Vec<Arrived>,
    /// Sent while too many were remembered, or not sent as too many logs waited: of each log the first such place, from
    /// which on all of it counts as missing.
    lost: Vec<Entry>,
    /// The same of more logs than may be remembered.
    is_all_lost: bool,
    /// What other connections of the user lacked that ended while this one was behind: it does not count when it is sent to
    /// this one.
    lost_by_others: Option<Box<Missing>>,
    /// How many frames the connection had been sent before its last Ping.
    pinged: u64,
    pub(super) stage: Stage,
    /// The logs of which it is to be sent more before anything newer of them. The first is being read.
    pub(super) behind: VecDeque<Behind>,
    /// What was delivered of those logs meanwhile, as far as there is room.
    pub(super) held: Held,
    /// What of logs was read to their ends: it was sent already when it is delivered late.
    caught: Vec<Caught>,
}

/// Something that was sent and is not known to have arrived.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Sent {
    /// How many frames the connection had been sent then.
    position: u64,
    entry: Entry,
    /// Whether it counts when it arrives: another connection may have ended that lacked it, and must be sent it still.
    counts: bool,
}

/// What has arrived of one log and is not stored as such.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Arrived {
    conversation: Recipient,
    epoch: u64,
    /// Everything up to here counts as arrived: nobody is sent more of it.
    given_up: u64,
    seqs: BTreeSet<u64>,
    /// The request that says so to the store, and what it says.
    telling: Option<(Ticket, u64, Vec<u64>)>,
}

/// What becomes of something new in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is sent.
    Send,
    /// It is sent when all before it has been.
    Withheld,
    /// It was sent already.
    Known,
    /// It would have to wait, and more logs wait than may.
    NoRoom,
}

impl Receipts {
    pub(super) fn new(stage: Stage) -> Self {
        Self {
            sent: VecDeque::new(),
            arrived: Vec::new(),
            lost: Vec::new(),
            is_all_lost: false,
            lost_by_others: None,
            pinged: 0,
            stage,
            behind: VecDeque::new(),
            held: Held::default(),
            caught: Vec::new(),
        }
    }

    /// Whether there is nothing to remember.
    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty()
            && self.arrived.is_empty()
            && self.caught.is_empty()
            && self.lost.is_empty()
            && self.stage == Stage::InStep
    }

    /// Entries that are remembered, and logs.
    pub(super) fn len(&self) -> usize {
        self.sent.len() + self.arrived.iter().map(|arrived| arrived.seqs.len()).sum::<usize>()
    }

    /// Logs that are remembered.
    pub(super) fn logs(&self) -> usize {
        self.behind.len() + self.caught.len()
    }

    /// Entries that were sent and are not known to have arrived.
    pub(super) fn in_flight(&self) -> usize {
        self.sent.len()
    }

    /// Which of the logs that the store is being told of waits for this answer.
    pub(super) fn place(&self, ticket: Ticket) -> Option<usize> {
        let is_it = |arrived: &Arrived| arrived.telling.as_ref().is_some_and(|(it, ..)| *it == ticket);
        self.arrived.iter().position(is_it)
    }

    /// Requests that are waited for.
    pub(super) fn requests(&self) -> usize {
        let asked = matches!(self.stage, Stage::Asking { .. } | Stage::Reading { .. });
        usize::from(asked) + self.arrived.iter().filter(|arrived| arrived.telling.is_some()).count()
    }

    /// All of them, to be given up.
    pub(super) fn tickets(&self) -> impl Iterator<Item = Ticket> {
        let asked = match self.stage {
            Stage::Asking { ticket, .. } | Stage::Reading { ticket } => Some(ticket),
            Stage::AskedInVain { .. } | Stage::ReadInVain { .. } | Stage::Draining | Stage::InStep => None,
        };
        let telling = self.arrived.iter().filter_map(|arrived| arrived.telling.as_ref());
        asked.into_iter().chain(telling.map(|(ticket, ..)| *ticket))
    }

    /// When what was in vain is tried again.
    pub(super) const fn retry_at(&self) -> Option<Instant> {
        match self.stage {
            Stage::AskedInVain { retry_at, .. } | Stage::ReadInVain { retry_at } => Some(retry_at),
            Stage::Asking { .. } | Stage::Reading { .. } | Stage::Draining | Stage::InStep => None,
        }
    }

    /// Whether something was sent that no Ping has followed.
    pub(super) fn wants_ping(&self) -> bool {
        self.sent.back().is_some_and(|sent| sent.position > self.pinged)
    }

    /// A Ping follows so many frames.
    pub(super) const fn ping(&mut self, position: u64) {
        self.pinged = position;
    }

    /// What becomes of something that is delivered now. What is withheld is held, or else read from the log when it is
    /// its turn.
    pub(super) fn fate(&mut self, conversation: &Recipient, place: Place, limit_logs: usize) -> Fate {
        let Place { epoch, seq, .. } = place;
        if let Some(log) = self.behind.iter_mut().find(|log| log.conversation == *conversation) {
            if log.epoch == epoch {
                log.until = log.until.max(seq);
                // Two engines may deliver in another order than that of the log. Places that were read are sent; of
                // a log that was only noted, what lies before the first place that was noted is read by nobody.
                if seq < log.next_seq && !log.is_noted {
                    return if seq < log.since_seq { Fate::Send } else { Fate::Known };
                }
                log.next_seq = log.next_seq.min(seq);
            }
            return Fate::Withheld;
        }
        match self.stage {
            Stage::Asking { .. } | Stage::AskedInVain { .. } if self.logs() >= limit_logs => {
                self.lose(Entry { conversation: conversation.clone(), epoch, seq }, limit_logs);
                Fate::NoRoom
            }
            Stage::Asking { .. } | Stage::AskedInVain { .. } => {
                self.behind.push_back(Behind::noted(conversation.clone(), epoch, seq));
                Fate::Withheld
            }
            Stage::Reading { .. } | Stage::ReadInVain { .. } | Stage::Draining | Stage::InStep => {
                let is_known = self.caught.iter().any(|caught| caught.has(conversation, epoch, seq));
                if is_known { Fate::Known } else { Fate::Send }
            }
        }
    }

    /// Holds what is withheld. Returns whether there was room for it.
    pub(super) fn hold(&mut self, entry: Entry, frame: &Bytes, limit_bytes: u64) -> bool {
        let log = self.behind.iter_mut().find(|log| log.conversation == entry.conversation);
        let Some(log) = log.filter(|log| log.epoch == entry.epoch) else { return false };
        let fits = self.held.keep(entry, frame, limit_bytes);
        log.is_whole &= fits;
        fits
    }

    /// The store has named all logs of which something is missing. Of the others, everything that was delivered
    /// meanwhile can be sent, if all of it was held: this is it, in the order in which it came.
    pub(super) fn take_due(&mut self) -> Vec<(Entry, Bytes)> {
        if self.held.is_empty() {
            return Vec::new();
        }
        let Self { behind, held, .. } = self;
        held.take(|entry| {
            let is_it = |log: &Behind| log.is_noted && log.conversation == entry.conversation;
            behind.iter().find(|log| is_it(log)).is_some_and(|log| log.is_whole)
        })
    }

    /// What was due is sent, but for this: it is read from the log when it is its turn.
    pub(super) fn give_back(&mut self, rest: Vec<(Entry, Bytes)>) {
        self.behind.retain_mut(|log| {
            let of_log = rest.iter().filter(|(entry, _)| entry.conversation == log.conversation);
            let first_seq = of_log.map(|(entry, _)| entry.seq).min();
            let is_due = log.is_noted && log.is_whole;
            if let Some(first_seq) = first_seq.filter(|_| is_due) {
                log.next_seq = first_seq;
                log.begin();
                return true;
            }
            !is_due
        });
        for (entry, frame) in rest {
            self.held.keep(entry, &frame, u64::MAX);
        }
    }

    /// The connection is behind with a log: it has everything before `from`, and is to be sent all up to `until`.
    /// Returns whether there is room to remember that.
    pub(super) fn fall_behind(&mut self, at: Entry, until: u64, limit_logs: usize) -> bool {
        let Entry { conversation, epoch, seq: from } = at;
        if let Some(log) = self.behind.iter_mut().find(|log| log.conversation == conversation) {
            // What was delivered meanwhile is behind it, and of the same log unless that has begun anew.
            let until = if log.epoch == epoch { until.max(log.until) } else { until };
            *log = Behind::named(conversation, epoch, from, until);
            return true;
        }
        let fits = self.logs() < limit_logs;
        if fits {
            self.behind.push_back(Behind::named(conversation, epoch, from, until));
        } else {
            self.lose(Entry { conversation, epoch, seq: from }, limit_logs);
        }
        fits
    }

    /// The first log, which is to be read from where it is.
    pub(super) fn next_log(&mut self) -> Option<&mut Behind> {
        let log = self.behind.front_mut()?;
        log.begin();
        Some(log)
    }

    /// The connection is behind with nothing any more.
    pub(super) fn in_step(&mut self) {
        self.stage = Stage::InStep;
        self.lost_by_others = None;
    }

    /// The first log has been sent up to this place.
    pub(super) fn sent_up_to(&mut self, seq: u64) {
        if let Some(log) = self.behind.front_mut() {
            log.next_seq = seq.saturating_add(1);
        }
    }

    /// The first log has been sent to its end.
    pub(super) fn catch_up(&mut self, now: Instant) {
        let Some(Behind { conversation, epoch, next_seq, since_seq, .. }) = self.pop_log() else { return };
        let last = Entry { conversation, epoch, seq: next_seq.saturating_sub(1) };
        self.caught.push(Caught { last, since_seq, at: now });
    }

    /// Of the first log nothing more is sent.
    pub(super) fn pop_log(&mut self) -> Option<Behind> {
        let log = self.behind.pop_front()?;
        self.held.forget_log(&log.conversation);
        Some(log)
    }

    /// Forgets what was caught up with before `then`: nothing of it is on its way any more.
    pub(super) fn forget_caught(&mut self, then: Instant) {
        self.caught.retain(|caught| caught.at > then);
    }

    /// An entry is among the first `position` frames that the connection is sent, or is not for it and lies before
    /// what follows. Beyond the limit it is not remembered, so that it counts as missing, and so does all of its log that
    /// follows. Returns whether it was.
    pub(super) fn remember(&mut self, position: u64, entry: Entry, limit: usize, limit_logs: usize) -> bool {
        let fits = self.len() < limit;
        if fits {
            let counts = !self.is_lost_by_others(&entry);
            self.sent.push_back(Sent { position, entry, counts });
        } else {
            self.lose(entry, limit_logs);
        }
        fits
    }

    fn is_lost_by_others(&self, entry: &Entry) -> bool {
        let Entry { conversation, epoch, seq } = entry;
        self.lost_by_others.as_ref().is_some_and(|missing| missing.has(conversation, *epoch, *seq))
    }

    fn lose(&mut self, entry: Entry, limit_logs: usize) {
        let same = |lost: &&mut Entry| lost.conversation == entry.conversation && lost.epoch == entry.epoch;
        if let Some(lost) = self.lost.iter_mut().find(same) {
            lost.seq = lost.seq.min(entry.seq);
        } else if self.lost.len() < limit_logs {
            self.lost.push(entry);
        } else {
            self.is_all_lost = true;
        }
    }

    /// Logs of which something was sent and not remembered.
    pub(super) const fn lost_logs(&self) -> usize {
        self.lost.len()
    }

    /// What this connection lacks, as far as it is known.
    pub(super) fn lacks(&self, missing: &mut Missing) {
        if self.is_all_lost || matches!(self.stage, Stage::Asking { .. } | Stage::AskedInVain { .. }) {
            missing.anything();
        }
        self.sent.iter().for_each(|sent| missing.one(&sent.entry));
        self.lost.iter().for_each(|entry| missing.from(entry.clone()));
        for Behind { conversation, epoch, next_seq, .. } in &self.behind {
            missing.from(Entry { conversation: conversation.clone(), epoch: *epoch, seq: *next_seq });
        }
    }

    /// Everything up to this place of a log is given up.
    pub(super) fn give_up(&mut self, conversation: &Recipient, epoch: u64, seq: u64) {
        let arrived = arrived_of(&mut self.arrived, conversation, epoch);
        arrived.given_up = arrived.given_up.max(seq);
    }

    /// A Pong says that so many frames have arrived: as many as the last Ping followed, or it is none of ours.
    /// Returns whether that is news. `is_all` is a bug.
    pub(super) fn pong(&mut self, position: u64, is_all: bool) -> bool {
        position <= self.pinged && self.arrive(if is_all { u64::MAX } else { position }) > 0
    }

    /// So many frames have arrived. Returns how many places of logs were among them.
    pub(super) fn arrive(&mut self, position: u64) -> u64 {
        let has_arrived = |sent: &Sent| sent.position <= position;
        let mut count = 0;
        while let Some(Sent { entry, counts, .. }) = self.sent.pop_front_if(|sent| has_arrived(&*sent)) {
            let Entry { conversation, epoch, seq } = entry;
            if counts {
                arrived_of(&mut self.arrived, &conversation, epoch).seqs.insert(seq);
            }
            count += 1;
        }
        count
    }

    /// Something that the store is to be told, of a log of which it is not being told anything; what other
    /// connections of the user lack is kept back.
    pub(super) fn news(&self, user: &UserId, missing: &Missing) -> Option<Received> {
        self.arrived.iter().filter(|arrived| arrived.telling.is_none()).find_map(|arrived| {
            let Arrived { conversation, epoch, given_up, seqs, .. } = arrived;
            let is_whole = |seq: &u64| !missing.has(conversation, *epoch, *seq);
            let beyond: Vec<u64> = seqs.iter().copied().filter(is_whole).collect();
            let is_news = *given_up > 0 || !beyond.is_empty();
            let (user, conversation) = (user.clone(), conversation.clone());
            is_news.then_some(Received { user, conversation, epoch: *epoch, seq: *given_up, beyond })
        })
    }

    /// The store is told.
    pub(super) fn tell(&mut self, ticket: Ticket, told: &Received) {
        let arrived = arrived_of(&mut self.arrived, &told.conversation, told.epoch);
        arrived.telling = Some((ticket, told.seq, told.beyond.clone()));
    }

    /// The store has answered; what it has not been told stays.
    pub(super) fn told(&mut self, ticket: Ticket, is_done: bool) {
        let is_it = |arrived: &&mut Arrived| arrived.telling.as_ref().is_some_and(|(it, ..)| *it == ticket);
        if let Some(arrived) = self.arrived.iter_mut().find(is_it)
            && let Some((_, given_up, seqs)) = arrived.telling.take()
            && is_done
        {
            if arrived.given_up == given_up {
                arrived.given_up = 0;
            }
            arrived.seqs.retain(|seq| seqs.binary_search(seq).is_err());
        }
        self.arrived.retain(|a| a.telling.is_some() || a.given_up > 0 || !a.seqs.is_empty());
    }

    /// What another connection of the user lacked when it ended may come to this one later: then, too, it does not count.
    pub(super) fn others_lost(&mut self, missing: &Missing, limit: usize, limit_logs: usize) {
        if self.stage != Stage::InStep {
            self.lost_by_others.get_or_insert_default().add(missing, limit, limit_logs);
        }
    }

    /// What another connection of the user lacked when it ended counts as missing: it must be sent once more. As long as
    /// this one has not receipted it either, this one lacks it as before.
    pub(super) fn forget_missing(&mut self, missing: &Missing) {
        for Sent { entry, counts, .. } in &mut self.sent {
            *counts &= !missing.has(&entry.conversation, entry.epoch, entry.seq);
        }
        for Arrived { conversation, epoch, seqs, .. } in &mut self.arrived {
            seqs.retain(|seq| !missing.has(conversation, *epoch, *seq));
        }
        self.arrived.retain(|a| a.telling.is_some() || a.given_up > 0 || !a.seqs.is_empty());
    }

    /// Which request each ticket is, the requests tell. Positions count from the last Ping's, and that from the
    /// connection's own.
    pub(super) fn fold(&self, digest: &mut Digest<'_>, position: u64) {
        let origin = if digest.is_everything() { 0 } else { self.pinged };
        digest.word(position.wrapping_sub(self.pinged));
        digest.len(self.sent.len());
        for Sent { position, entry, counts } in &self.sent {
            digest.word(position.wrapping_sub(origin));
            entry.fold(digest);
            digest.flag(*counts);
        }
        digest.len(self.arrived.len());
        for Arrived { conversation, epoch, given_up, seqs, telling } in &self.arrived {
            conversation.fold(digest);
            digest.word(*epoch);
            digest.word(*given_up);
            digest.len(seqs.len());
            seqs.iter().for_each(|seq| digest.word(*seq));
            digest.flag(telling.is_some());
        }
        digest.len(self.lost.len());
        self.lost.iter().for_each(|entry| entry.fold(digest));
        digest.flag(self.is_all_lost);
        digest.flag(self.lost_by_others.is_some());
        if let Some(missing) = &self.lost_by_others {
            missing.fold(digest);
        }
        self.stage.fold(digest);
        digest.len(self.behind.len());
        self.behind.iter().for_each(|log| log.fold(digest));
        self.held.fold(digest);
        digest.len(self.caught.len());
        self.caught.iter().for_each(|caught| caught.fold(digest));
    }
}

/// The arrivals of a log, made if there are none.
fn arrived_of<'a>(all: &'a mut Vec<Arrived>, conversation: &Recipient, epoch: u64) -> &'a mut Arrived {
    let same = |arrived: &Arrived| arrived.epoch == epoch && arrived.conversation == *conversation;
    let place = all.iter().position(same).unwrap_or(all.len());
    if place == all.len() {
        let (conversation, seqs) = (conversation.clone(), BTreeSet::new());
        all.push(Arrived { conversation, epoch, given_up: 0, seqs, telling: None });
    }
    #[expect(clippy::indexing_slicing, reason = "it was found there, or put there")]
    &mut all[place]
}
