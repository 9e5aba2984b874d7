//! A store that is forgotten with the process.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex, PoisonError},
};

use switchboard_engine::{
    LogCursor, LogMarks, LogMessage, Marks, MessageId, PendingSubmit, Recipient, Resume, UserId,
};

use super::{
    Change, Store, StoreError, Summary,
    changes::{changed_by, is_unread, target},
};

/// Messages kept of each conversation, unless it is said otherwise.
const MESSAGES_PER_CONVERSATION: usize = 1_000;

/// A store in memory. Its clones are one store: a client that is started on a clone goes on where the last one
/// stopped. If that one has not stopped, its store fails from then on.
///
/// Of each conversation it keeps the newest 1,000 messages, or as many as [`MemoryStore::keeping`] says; older
/// ones can be fetched from the server. The number of conversations is limited by
/// [`SessionLimits::conversations`](switchboard_engine::SessionLimits::conversations).
#[derive(Clone, Debug)]
pub struct MemoryStore {
    memory: Arc<Mutex<Memory>>,
    messages_per_conversation: usize,
    /// Which opening of the store this clone's client has made.
    opening: u64,
}

#[derive(Debug, Default)]
struct Memory {
    owner: Option<(UserId, [u8; 16])>,
    /// Openings so far.
    openings: u64,
    logs: BTreeMap<Recipient, Log>,
    /// What groups are called.
    names: BTreeMap<Recipient, Arc<str>>,
    /// Epoch and place up to which the application has taken what it was told.
    taken: BTreeMap<Recipient, (u64, u64)>,
    /// Moves of cursors so far.
    moves: u64,
    submits: Vec<PendingSubmit>,
}

#[derive(Debug, Default)]
struct Log {
    epoch: u64,
    /// 0: nothing but its marks is known.
    cursor: u64,
    /// The move that set the cursor.
    moved: u64,
    own: Marks,
    peer: Marks,
    messages: BTreeMap<u64, Arc<LogMessage>>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::keeping(MESSAGES_PER_CONVERSATION)
    }
}

impl MemoryStore {
    /// An empty store that keeps so many messages of each conversation.
    #[must_use]
    pub fn keeping(messages_per_conversation: usize) -> Self {
        Self { memory: Arc::default(), messages_per_conversation, opening: 0 }
    }

    fn with<R>(&self, act: impl FnOnce(&mut Memory) -> R) -> R {
        act(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Memory {
    fn apply(&mut self, change: &Change, keep: usize) {
        match change {
            Change::Submit(submit) => self.submits.push(submit.clone()),
            Change::Withdraw { id } | Change::Accepted { id, .. } | Change::Rejected { id, .. } => {
                self.forget_submit(*id);
            }
            Change::Message { conversation, epoch, message } => {
                if let Some(name) = message.content.subject.group_name() {
                    self.names.insert(conversation.clone(), name.into());
                }
                let log = self.moved(conversation, *epoch, message.seq);
                log.messages.insert(message.seq, Arc::clone(message));
                if let Some(target) = target(message)
                    && let Some(target) = log.messages.get_mut(&target)
                    && let Some(changed) = changed_by(target, message)
                {
                    *target = Arc::new(changed);
                }
                while log.messages.len() > keep {
                    log.messages.pop_first();
                }
            }
            Change::Skipped { conversation, epoch, seq } => {
                self.moved(conversation, *epoch, *seq);
            }
            Change::Marked { conversation, epoch, own, marks } => {
                let log = self.logs.entry(conversation.clone()).or_default();
                if log.cursor == 0 && log.epoch != *epoch {
                    *log = Log { epoch: *epoch, ..Log::default() };
                }
                if log.epoch == *epoch {
                    *(if *own { &mut log.own } else { &mut log.peer }) = *marks;
                }
            }
            Change::Named { conversation, name } => {
                self.names.insert(conversation.clone(), Arc::clone(name));
            }
            Change::Taken { conversation, epoch, seq } => {
                self.taken.insert(conversation.clone(), (*epoch, *seq));
            }
            Change::Reset { conversation } => {
                self.logs.remove(conversation);
            }
            Change::Older { conversation, epoch, messages } => {
                if let Some(log) = self.logs.get_mut(conversation).filter(|log| log.epoch == *epoch) {
                    // Newest first, so that there is no gap where the room ends.
                    for message in messages.iter().rev() {
                        if message.seq <= log.cursor {
                            log.insert_older(message, keep);
                        }
                    }
                }
            }
        }
    }

    fn forget_submit(&mut self, id: MessageId) {
        self.submits.retain(|submit| submit.id != id);
    }

    fn moved(&mut self, conversation: &Recipient, epoch: u64, seq: u64) -> &mut Log {
        self.moves += 1;
        let log = self.logs.entry(conversation.clone()).or_default();
        if log.epoch != epoch {
            (log.own, log.peer) = (Marks::default(), Marks::default());
        }
        (log.epoch, log.cursor, log.moved) = (epoch, seq, self.moves);
        log
    }

    /// Those of which something was told, that moved last first.
    fn by_move(&self) -> Vec<(&Recipient, &Log)> {
        let mut logs: Vec<_> = self.logs.iter().filter(|(_, log)| log.cursor > 0).collect();
        logs.sort_unstable_by_key(|(_, log)| std::cmp::Reverse(log.moved));
        logs
    }
}

impl Log {
    /// Puts a message in its place, with the changes of it that are here already, unless there is no room or a
    /// newer reading of it is here.
    fn insert_older(&mut self, message: &Arc<LogMessage>, keep: usize) {
        let known = self.messages.get(&message.seq);
        if known.map_or(self.messages.len() >= keep, |known| known.changed_seq > message.changed_seq) {
            return;
        }
        let mut message = Arc::clone(message);
        for entry in self.messages.range(message.seq..).map(|(_, entry)| entry) {
            if let Some(changed) = changed_by(&message, entry) {
                message = Arc::new(changed);
            }
        }
        self.messages.insert(message.seq, message);
    }
}

impl Store for MemoryStore {
    fn open(&mut self, user: &UserId, new_device_id: [u8; 16]) -> Result<Resume, StoreError> {
        let (resume, opening) = self.with(|memory| {
            let (owner, device_id) =
                memory.owner.get_or_insert_with(|| (user.clone(), new_device_id)).clone();
            if owner != *user {
                return Err(StoreError::OtherUser { owner, user: user.clone() });
            }
            let cursor = |(conversation, log): (&Recipient, &Log)| LogCursor {
                conversation: conversation.clone(),
                epoch: log.epoch,
                seq: log.cursor,
            };
            let cursors = memory.by_move().into_iter().map(cursor).collect();
            memory.openings += 1;
            let marks = |(conversation, log): (&Recipient, &Log)| LogMarks {
                conversation: conversation.clone(),
                epoch: log.epoch,
                own: log.own,
                peer: log.peer,
            };
            let marks = memory.logs.iter().filter(|(_, log)| log.cursor > 0).map(marks).collect();
            let submits = memory.submits.clone();
            Ok((Resume { device_id, cursors, marks, submits }, memory.openings))
        })?;
        self.opening = opening;
        Ok(resume)
    }

    fn apply(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let (keep, opening) = (self.messages_per_conversation, self.opening);
        self.with(|memory| {
            if memory.openings != opening {
                let source = "another client has opened it since".into();
                return Err(StoreError::Failed { doing: "write to", source });
            }
            changes.iter().for_each(|change| memory.apply(change, keep));
            Ok(())
        })
    }

    fn messages(
        &mut self,
        conversation: &Recipient,
        before_seq: u64,
        limit: u32,
    ) -> Result<Vec<Arc<LogMessage>>, StoreError> {
        let newest_first = self.with(|memory| {
            let Some(log) = memory.logs.get(conversation) else { return Vec::new() };
            let end = if before_seq == 0 { log.cursor.saturating_add(1) } else { before_seq };
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            log.messages.range(..end).rev().map(|(_, message)| Arc::clone(message)).take(limit).collect()
        });
        Ok(run_before(before_seq, newest_first))
    }

    fn messages_after(
        &mut self,
        conversation: &Recipient,
        after_seq: u64,
        limit: u32,
    ) -> Result<Vec<Arc<LogMessage>>, StoreError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let after = (Bound::Excluded(after_seq), Bound::Unbounded);
        Ok(self.with(|memory| {
            let Some(log) = memory.logs.get(conversation) else { return Vec::new() };
            log.messages.range(after).map(|(_, message)| Arc::clone(message)).take(limit).collect()
        }))
    }

    fn taken(&mut self) -> Result<Vec<LogCursor>, StoreError> {
        let cursor = |(conversation, (epoch, seq)): (&Recipient, &(u64, u64))| LogCursor {
            conversation: conversation.clone(),
            epoch: *epoch,
            seq: *seq,
        };
        Ok(self.with(|memory| memory.taken.iter().map(cursor).collect()))
    }

    fn conversations(&mut self, limit: u32) -> Result<Vec<Summary>, StoreError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let summary = |names: &BTreeMap<_, _>, (conversation, log): (&Recipient, &Log)| Summary {
            conversation: conversation.clone(),
            name: names.get(conversation).cloned().unwrap_or_default(),
            epoch: log.epoch,
            last_seq: log.cursor,
            own: log.own,
            peer: log.peer,
            unread: log.messages.values().filter(|message| is_unread(message, log.own.read)).count() as u64,
        };
        Ok(self.with(|memory| {
            let logs = memory.by_move().into_iter().take(limit);
            logs.map(|log| summary(&memory.names, log)).collect()
        }))
    }
}

/// Of messages in descending order, those without a gap up to `before_seq` (0: the first of them), ascending.
pub(super) fn run_before(before_seq: u64, newest_first: Vec<Arc<LogMessage>>) -> Vec<Arc<LogMessage>> {
    let mut next = before_seq.checked_sub(1).or_else(|| newest_first.first().map(|message| message.seq));
    let mut run: Vec<_> = newest_first
        .into_iter()
        .take_while(|message| {
            let fits = next == Some(message.seq);
            next = next.and_then(|seq| seq.checked_sub(1));
            fits
        })
        .collect();
    run.reverse();
    run
}
