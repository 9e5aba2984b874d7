//! One conversation's log, as far as this device has it.

use alloc::collections::{BTreeMap, VecDeque};

use alloc::boxed::Box;

use super::{
    config::{History, SessionConfig, SessionLimits},
    event::{LogMessage, SessionNotification},
    logs::Progress,
    stats::SessionStats,
    submits::fold_conversation,
    wire::Page,
};
use crate::{
    client::{ClientAction, length, link::Actions},
    config::FRAME_COST_BYTES,
    digest::Digest,
    storage::Recipient,
    time::Instant,
};

/// Where a log tells and counts what becomes of it.
pub(super) struct Teller<'a> {
    pub(super) actions: &'a mut Actions<SessionNotification>,
    pub(super) stats: &'a mut SessionStats,
    pub(super) history: History,
    pub(super) retired_limit: u32,
}

impl<'a> Teller<'a> {
    pub(super) const fn new(
        actions: &'a mut Actions<SessionNotification>,
        stats: &'a mut SessionStats,
        config: &SessionConfig,
    ) -> Self {
        Self { actions, stats, history: config.history, retired_limit: config.limits.retired_epochs }
    }

    pub(super) fn tell(&mut self, notification: SessionNotification) {
        self.actions.push_back(ClientAction::Notify(notification));
    }
}

/// The room for early messages, which all logs share.
#[derive(Clone, Debug)]
pub(super) struct Room {
    messages_left: u64,
    bytes_left: u64,
}

impl Room {
    pub(super) fn new(limits: &SessionLimits) -> Self {
        Self { messages_left: limits.early_messages.into(), bytes_left: limits.early_bytes }
    }

    fn take(&mut self, message: &LogMessage) -> bool {
        let (messages, bytes) =
            (self.messages_left.checked_sub(1), self.bytes_left.checked_sub(cost(message)));
        match (messages, bytes) {
            (Some(messages), Some(bytes)) => {
                (self.messages_left, self.bytes_left) = (messages, bytes);
                true
            }
            _ => false,
        }
    }

    fn give_back(&mut self, message: &LogMessage) {
        self.messages_left += 1;
        self.bytes_left += cost(message);
    }
}

fn cost(message: &LogMessage) -> u64 {
    let content = &message.content;
    FRAME_COST_BYTES
        .saturating_add(length(content.text.len()))
        .saturating_add(length(content.file.len()))
        .saturating_add(content.subject.len_bytes())
        .saturating_add(length(message.from.as_str().len()))
}

/// The server contradicts itself.
#[derive(Debug)]
pub(super) struct Misbehaved;

/// Whether what a log lacks is being fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fetching {
    Idle,
    Queued,
    Asked,
    Paused { until: Instant },
}

/// ```text
///   1 ... cursor   | cursor+1 ... head | beyond
///   told, skipped  | missing, or early | unheard of
/// ```
#[derive(Clone, Debug)]
pub(super) struct Log {
    pub(super) conversation: Recipient,
    pub(super) epoch: u64,
    /// Place of the last message told or skipped.
    pub(super) cursor: u64,
    /// The last place that somebody claims to exist; at least the cursor.
    head: u64,
    /// The last place claimed since the current fetch was asked: its page cannot refute that.
    head_since: u64,
    /// Messages beyond the next one.
    early: BTreeMap<u64, LogMessage>,
    /// Epochs that are over.
    retired: VecDeque<u64>,
    /// How often the log was replaced: a page asked for before that is of no use.
    pub(super) era: u64,
    /// Something of another epoch has come: the log is to be asked even if nothing is missing.
    suspect: bool,
    pub(super) fetching: Fetching,
    /// Fetches in a row that the server could not do.
    pub(super) failures: u32,
    /// When the cursor moved last, in moves of all cursors.
    pub(super) stamp: u64,
    /// Whether it is counted as behind.
    pub(super) counted: bool,
    /// The marks.
    pub(super) progress: Progress,
    /// What the group was told to be called; empty if it was not.
    name: Box<str>,
}

impl Log {
    /// A log that was received up to this place.
    pub(super) fn resumed(conversation: Recipient, epoch: u64, cursor: u64) -> Self {
        Self {
            conversation,
            epoch,
            cursor,
            head: cursor,
            head_since: 0,
            early: BTreeMap::new(),
            retired: VecDeque::new(),
            era: 0,
            suspect: false,
            fetching: Fetching::Idle,
            failures: 0,
            stamp: 0,
            counted: false,
            progress: Progress::default(),
            name: Box::default(),
        }
    }

    /// A log that this device has not met before, and that is known to reach this place.
    pub(super) fn met(
        conversation: Recipient,
        epoch: u64,
        seq: u64,
        first_seq: u64,
        teller: &mut Teller<'_>,
    ) -> Self {
        let mut log = Self::resumed(conversation, epoch, 0);
        log.begin(seq, first_seq, teller);
        log
    }

    /// Whether there is something to fetch.
    pub(super) const fn is_behind(&self) -> bool {
        self.suspect || self.cursor < self.head
    }

    /// A fetch of what is missing is being asked: gives the place from which on.
    pub(super) fn ask(&mut self) -> u64 {
        self.suspect = false;
        self.head_since = 0;
        self.fetching = Fetching::Asked;
        self.cursor.saturating_add(1)
    }

    /// A connection has begun: nothing of earlier ones can be on its way any more.
    pub(super) fn link_opened(&mut self) {
        self.retired.clear();
    }

    /// The log is to be asked for, whatever is known of it.
    pub(super) const fn suspect(&mut self) {
        self.suspect = true;
    }

    pub(super) fn is_retired(&self, epoch: u64) -> bool {
        self.retired.contains(&epoch)
    }

    /// The server says how far the log is.
    pub(super) fn head(
        &mut self,
        epoch: u64,
        seq: u64,
        first_seq: u64,
        room: &mut Room,
        teller: &mut Teller<'_>,
    ) {
        if epoch != self.epoch {
            if self.is_retired(epoch) {
                teller.stats.foreign += 1;
                self.suspect = true;
                return;
            }
            self.reset(epoch, seq, first_seq, room, teller);
        } else if seq < self.cursor {
            teller.stats.stale_heads += 1;
        } else {
            self.claim(seq);
            self.skip(seq.min(first_seq.saturating_sub(1)), room, teller);
        }
    }

    /// There is something at a place.
    pub(super) fn place(&mut self, epoch: u64, seq: u64, teller: &mut Teller<'_>) {
        if epoch != self.epoch {
            // As with a message that comes by itself.
            teller.stats.foreign += 1;
            self.suspect |= !self.is_retired(epoch);
        } else if seq <= self.cursor {
            teller.stats.stale_heads += 1;
        } else {
            self.claim(seq);
        }
    }

    /// A stored message has come by itself.
    pub(super) fn delivered(
        &mut self,
        epoch: u64,
        message: LogMessage,
        room: &mut Room,
        teller: &mut Teller<'_>,
    ) {
        if epoch != self.epoch {
            // Only what the server says when it is asked replaces a log: this may be a late echo.
            teller.stats.foreign += 1;
            self.suspect |= !self.is_retired(epoch);
        } else if message.seq <= self.cursor || self.early.contains_key(&message.seq) {
            teller.stats.duplicates += 1;
        } else if self.cursor.checked_add(1) == Some(message.seq) {
            self.tell(message, teller);
            self.tell_early(room, teller);
        } else {
            self.claim(message.seq);
            if room.take(&message) {
                teller.stats.early += 1;
                self.early.insert(message.seq, message);
            } else {
                teller.stats.early_dropped += 1;
            }
        }
    }

    /// A page has come that was asked for from this place on, since the log is what it is.
    pub(super) fn page(
        &mut self,
        page: Page,
        from: u64,
        room: &mut Room,
        teller: &mut Teller<'_>,
    ) -> Result<(), Misbehaved> {
        self.failures = 0;
        if page.epoch == 0 {
            self.refute(0, room, teller);
            return Ok(());
        }
        let begins = from.max(page.first_seq);
        let sound = match page.messages.first() {
            Some(message) => message.seq == begins,
            None => begins > page.head_seq,
        };
        if !sound || self.is_retired(page.epoch) {
            return Err(Misbehaved);
        }
        if page.epoch == self.epoch {
            teller.stats.stale_heads += u64::from(page.head_seq < self.cursor);
            // Before what came early: to skip what may not be read tells it.
            self.named(page.group_name, teller);
            self.skip(page.head_seq.min(page.first_seq.saturating_sub(1)), room, teller);
        } else {
            self.reset(page.epoch, page.head_seq, page.first_seq, room, teller);
            self.named(page.group_name, teller);
        }
        for message in page.messages {
            if self.cursor.checked_add(1) == Some(message.seq) {
                self.tell(message, teller);
            }
        }
        self.tell_early(room, teller);
        self.refute(page.head_seq, room, teller);
        Ok(())
    }

    /// The server says what the group is called.
    fn named(&mut self, name: Box<str>, teller: &mut Teller<'_>) {
        if !name.is_empty() && name != self.name && matches!(self.conversation, Recipient::Group(_)) {
            self.name.clone_from(&name);
            teller.tell(SessionNotification::Named { conversation: self.conversation.clone(), name });
        }
    }

    /// Nothing beyond this place exists that was not claimed since the fetch was asked.
    pub(super) fn refute(&mut self, head_seq: u64, room: &mut Room, teller: &mut Teller<'_>) {
        let head = head_seq.max(self.head_since).max(self.cursor);
        let refuted = self.head.saturating_sub(head);
        teller.stats.refuted = teller.stats.refuted.saturating_add(refuted);
        self.head = head;
        if let Some(beyond) = head.checked_add(1) {
            let refuted = self.early.split_off(&beyond);
            refuted.values().for_each(|message| room.give_back(message));
        }
    }

    fn claim(&mut self, seq: u64) {
        self.head = self.head.max(seq);
        self.head_since = self.head_since.max(seq);
    }

    /// The log is another one now.
    fn reset(&mut self, epoch: u64, seq: u64, first_seq: u64, room: &mut Room, teller: &mut Teller<'_>) {
        if self.cursor > 0 || self.progress.is_told() {
            teller.stats.resets += 1;
            teller.tell(SessionNotification::Reset { conversation: self.conversation.clone() });
        }
        if length(self.retired.len()) >= u64::from(teller.retired_limit) {
            self.retired.pop_front();
        }
        self.retired.push_back(self.epoch);
        core::mem::take(&mut self.early).values().for_each(|message| room.give_back(message));
        self.epoch = epoch;
        self.name = Box::default();
        self.progress.reset();
        self.era = self.era.saturating_add(1);
        (self.cursor, self.head, self.head_since, self.suspect) = (0, 0, 0, false);
        self.begin(seq, first_seq, teller);
    }

    fn begin(&mut self, seq: u64, first_seq: u64, teller: &mut Teller<'_>) {
        let left_out = match teller.history {
            History::All => 0,
            History::Latest(count) => seq.saturating_sub(count.into()),
        };
        self.claim(seq);
        let to = left_out.max(first_seq.saturating_sub(1)).min(seq);
        if to > 0 {
            self.skipped(to, teller);
        }
    }

    /// Moves the cursor over messages that may not be read.
    fn skip(&mut self, to: u64, room: &mut Room, teller: &mut Teller<'_>) {
        if to <= self.cursor {
            return;
        }
        let kept = to.checked_add(1).map_or_else(BTreeMap::new, |next| self.early.split_off(&next));
        core::mem::replace(&mut self.early, kept).values().for_each(|message| room.give_back(message));
        self.skipped(to, teller);
        self.tell_early(room, teller);
    }

    fn skipped(&mut self, to: u64, teller: &mut Teller<'_>) {
        let skipped = to.saturating_sub(self.cursor);
        teller.stats.skips = teller.stats.skips.saturating_add(skipped);
        self.cursor = to;
        self.head = self.head.max(to);
        let conversation = self.conversation.clone();
        teller.tell(SessionNotification::Skipped { conversation, epoch: self.epoch, seq: to });
    }

    fn tell(&mut self, message: LogMessage, teller: &mut Teller<'_>) {
        teller.stats.told += 1;
        self.cursor = message.seq;
        self.head = self.head.max(message.seq);
        if !message.own {
            self.progress.arrived(message.seq);
        }
        let (conversation, message) = (self.conversation.clone(), Box::new(message));
        teller.tell(SessionNotification::Message { conversation, epoch: self.epoch, message });
    }

    fn tell_early(&mut self, room: &mut Room, teller: &mut Teller<'_>) {
        while let Some(entry) = self.early.first_entry() {
            if *entry.key() > self.cursor.saturating_add(1) {
                break;
            }
            let message = entry.remove();
            room.give_back(&message);
            if message.seq > self.cursor {
                self.tell(message, teller);
            }
        }
    }

    pub(super) fn fold(&self, digest: &mut Digest<'_>) {
        fold_conversation(&self.conversation, digest);
        [self.epoch, self.cursor, self.head, self.head_since].into_iter().for_each(|word| digest.word(word));
        digest.flag(self.suspect);
        digest.text(&self.name);
        self.progress.fold(digest);
        digest.word(self.failures.into());
        digest.len(self.retired.len());
        self.retired.iter().for_each(|epoch| digest.word(*epoch));
        digest.len(self.early.len());
        for message in self.early.values() {
            digest.word(message.seq);
            digest.bytes(&message.id.0);
            digest.text(message.from.as_str());
            message.content.fold(digest);
            digest.word(message.stored_at_ms.cast_unsigned());
            digest.word(message.changed_seq);
            digest.flag(message.is_recalled);
        }
        match self.fetching {
            Fetching::Idle => digest.word(0),
            Fetching::Queued => digest.word(1),
            Fetching::Asked => digest.word(2),
            Fetching::Paused { until } => {
                digest.word(3);
                digest.instant(until);
            }
        }
        if digest.is_everything() {
            digest.word(self.era);
            digest.word(self.stamp);
        }
    }
}
