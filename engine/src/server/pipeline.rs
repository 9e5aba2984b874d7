//! Messages between their arrival and their delivery, in the order in which one connection sent them.
//!
//! A message is delivered when the store has it, and never before the connection's earlier ones, in whatever
//! order the store answers. A message with a file waits for the file first, and what the connection sends
//! after it waits too, so that the log has the same order. A pipeline outlives its connection: what was
//! accepted is delivered although its sender has gone.

use alloc::{boxed::Box, collections::VecDeque};
use serde::{Deserialize, Serialize};

use slab::Slab;
use switchboard_proto::{Message as _, classic::Message};

use crate::server::snapshot;
use crate::{
    denial::Denial,
    digest::Digest,
    id::{ConnId, MessageId, Ticket, UserId},
    server::{letter::Form, session::Submission},
    storage::{FileSource, FileUpload, Place, Recipient},
};

/// A pipeline's place in the table.
pub(super) type PipelineKey = usize;

/// A message on its way through the store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) stage: Stage,
    pub(super) recipient: Recipient,
    /// What it counts among the pending bytes.
    pub(super) cost_bytes: u64,
    /// What a session waits for an answer with, if it came from one.
    pub(super) submission: Option<Submission>,
}

/// How far a message is.
///
/// ```text
///   Uploading ──► File ──► Ready ──► Storing ──► Stored ──► (delivered)
///                   │                   │
///                   └───────────────────┴──────► Dropped
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Stage {
    /// It has a file and waits for an earlier message's file.
    Uploading {
        upload: FileUpload,
        #[serde(with = "snapshot::message")]
        message: Box<Message>,
    },
    /// Its file is being kept.
    File {
        ticket: Ticket,
        #[serde(with = "snapshot::message")]
        message: Box<Message>,
    },
    /// It has no file, or not any more, and waits for an earlier message's file.
    Ready {
        #[serde(with = "snapshot::message")]
        message: Box<Message>,
    },
    /// It is being stored.
    Storing { ticket: Ticket, parcel: Parcel },
    /// It is stored, and waits for an earlier message. What was stored by an earlier request is delivered to nobody.
    Stored { place: Place, parcel: Parcel, is_new: bool },
    /// It was not stored.
    Dropped(Unstored),
}

/// Why a message was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Unstored {
    /// It can never be.
    Refused,
    /// Its sender may not do this.
    Denied(Denial),
    /// The store failed, or was silent; it may even have stored it.
    Failed,
    /// The store failed, as its disk is full.
    Full,
}

impl Stage {
    /// Whether nothing is to be waited for but earlier messages.
    pub(super) const fn is_settled(&self) -> bool {
        match self {
            Self::Stored { .. } | Self::Dropped(_) => true,
            Self::Uploading { .. } | Self::File { .. } | Self::Ready { .. } | Self::Storing { .. } => false,
        }
    }
}

impl Entry {
    /// Which requests its tickets are, the requests tell.
    fn fold(&self, digest: &mut Digest<'_>) {
        self.recipient.fold(digest);
        digest.word(self.cost_bytes);
        digest.flag(self.submission.is_some());
        if let Some(Submission { id, is_delivered }) = &self.submission {
            digest.bytes(&id.0);
            digest.flag(*is_delivered);
        }
        match &self.stage {
            Stage::Uploading { upload, message } => {
                digest.word(0);
                fold_upload(upload, digest);
                digest.bytes(&message.encode_to_vec());
            }
            Stage::File { message, .. } => {
                digest.word(1);
                digest.bytes(&message.encode_to_vec());
            }
            Stage::Ready { message } => {
                digest.word(2);
                digest.bytes(&message.encode_to_vec());
            }
            Stage::Storing { parcel, .. } => {
                digest.word(3);
                parcel.fold(digest);
            }
            Stage::Stored { place, parcel, is_new } => {
                digest.word(4);
                digest.flag(*is_new);
                digest.word(place.epoch);
                digest.word(place.seq);
                digest.word(place.stored_at_ms.cast_unsigned());
                parcel.fold(digest);
            }
            Stage::Dropped(Unstored::Refused) => digest.word(5),
            Stage::Dropped(Unstored::Failed) => digest.word(6),
            Stage::Dropped(Unstored::Denied(denial)) => {
                digest.word(7);
                denial.fold(digest);
            }
            Stage::Dropped(Unstored::Full) => digest.word(8),
        }
    }
}

fn fold_upload(upload: &FileUpload, digest: &mut Digest<'_>) {
    digest.text(upload.owner.as_str());
    digest.text(&upload.suffix);
    match &upload.source {
        FileSource::Bytes(bytes) => digest.bytes(bytes),
        FileSource::DataUrl(url) => digest.text(url),
    }
}

/// What is delivered of a stored message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Parcel {
    /// What the store knows the message by.
    pub(super) id: MessageId,
    /// What it says.
    pub(super) form: Form,
}

impl Parcel {
    /// Ids that clients chose are folded with what they said; those made here are names.
    fn fold(&self, digest: &mut Digest<'_>) {
        self.form.fold(digest);
    }
}

/// The messages of one connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Pipeline {
    /// The connection that they came from; it may have gone.
    pub(super) origin: ConnId,
    /// Its user.
    pub(super) sender: UserId,
    pub(super) entries: VecDeque<Entry>,
}

impl Pipeline {
    /// The message that waits for this answer.
    pub(super) fn entry_mut(&mut self, ticket: Ticket) -> Option<&mut Entry> {
        self.place(ticket).and_then(|place| self.entries.get_mut(place))
    }

    /// The place of the message that waits for this answer.
    pub(super) fn place(&self, ticket: Ticket) -> Option<usize> {
        self.entries.iter().position(|entry| match &entry.stage {
            Stage::File { ticket: waiting, .. } | Stage::Storing { ticket: waiting, .. } => {
                *waiting == ticket
            }
            Stage::Uploading { .. } | Stage::Ready { .. } | Stage::Stored { .. } | Stage::Dropped(_) => false,
        })
    }

    fn fold(&self, digest: &mut Digest<'_>) {
        digest.conn(self.origin);
        digest.text(self.sender.as_str());
        digest.len(self.entries.len());
        self.entries.iter().for_each(|entry| entry.fold(digest));
    }

    /// Whether an earlier message's file keeps a new message from the store. Whatever waits for a file is
    /// behind one, so the last message tells.
    pub(super) fn is_blocked(&self) -> bool {
        match self.entries.back().map(|entry| &entry.stage) {
            Some(Stage::Uploading { .. } | Stage::File { .. } | Stage::Ready { .. }) => true,
            Some(Stage::Storing { .. } | Stage::Stored { .. } | Stage::Dropped(_)) | None => false,
        }
    }

    /// The first message that can move on, if no file is being kept before it.
    pub(super) fn first_startable(&self) -> Option<usize> {
        let waits = |stage: &Stage| match stage {
            Stage::Uploading { .. } | Stage::File { .. } | Stage::Ready { .. } => true,
            Stage::Storing { .. } | Stage::Stored { .. } | Stage::Dropped(_) => false,
        };
        let index = self.entries.iter().position(|entry| waits(&entry.stage))?;
        let being_kept = matches!(self.entries.get(index)?.stage, Stage::File { .. });
        (!being_kept).then_some(index)
    }
}

/// All pipelines that have messages in them, and what they hold together.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Pipelines {
    table: Slab<Pipeline>,
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

impl Pipelines {
    /// See [`settle`](super::snapshot::settle).
    pub(super) fn settle_places(&mut self) {
        super::snapshot::settle(&mut self.table);
    }

    pub(super) fn get(&self, key: PipelineKey) -> Option<&Pipeline> {
        self.table.get(key)
    }

    pub(super) fn get_mut(&mut self, key: PipelineKey) -> Option<&mut Pipeline> {
        self.table.get_mut(key)
    }

    pub(super) fn add(&mut self, pipeline: Pipeline) -> PipelineKey {
        self.table.insert(pipeline)
    }

    /// The pipeline of a connection that is gone, found by looking at all: a rare case.
    pub(super) fn of(&self, origin: ConnId) -> Option<PipelineKey> {
        self.table.iter().find(|(_, pipeline)| pipeline.origin == origin).map(|(key, _)| key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// All pipelines, in the order of their keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Pipeline> {
        self.table.iter().map(|(_, pipeline)| pipeline)
    }

    /// The sums follow from the messages.
    pub(super) fn fold(&self, digest: &mut Digest<'_>) {
        digest.unordered(self.iter(), |digest, pipeline| pipeline.fold(digest));
    }

    /// Appends a message.
    pub(super) fn push(&mut self, key: PipelineKey, entry: Entry) {
        if let Some(pipeline) = self.table.get_mut(key) {
            self.messages += 1;
            self.bytes += entry.cost_bytes;
            pipeline.entries.push_back(entry);
        }
    }

    /// Takes the first message if nothing is to be waited for.
    pub(super) fn pop_settled(&mut self, key: PipelineKey) -> Option<Entry> {
        let pipeline = self.table.get_mut(key)?;
        if !pipeline.entries.front()?.stage.is_settled() {
            return None;
        }
        let entry = pipeline.entries.pop_front()?;
        self.messages -= 1;
        self.bytes -= entry.cost_bytes;
        Some(entry)
    }

    /// What is submitted again while it waited is not to be delivered again.
    pub(super) fn mark_delivered(&mut self, key: PipelineKey, id: MessageId) {
        let entries = self.table.get_mut(key).into_iter().flat_map(|pipeline| &mut pipeline.entries);
        for submission in entries.filter_map(|entry| entry.submission.as_mut()) {
            submission.is_delivered |= submission.id == id;
        }
    }

    /// Removes a pipeline if it has nothing left in it. Returns the connection that it belonged to.
    pub(super) fn remove_if_empty(&mut self, key: PipelineKey) -> Option<ConnId> {
        if !self.table.get(key)?.entries.is_empty() {
            return None;
        }
        Some(self.table.remove(key).origin)
    }
}

#[cfg(test)]
mod tests {
    use alloc::{boxed::Box, collections::VecDeque};

    use bytes::Bytes;
    use switchboard_proto::classic::Message;

    use super::{Entry, Parcel, Pipeline, PipelineKey, Pipelines, Stage, Unstored};
    use crate::{
        id::{ConnId, MessageId, Ticket, UserId},
        server::letter::Form,
        storage::{FileSource, FileUpload, Place, Recipient},
    };

    const ORIGIN: ConnId = ConnId::new(1, 1);

    fn message() -> Box<Message> {
        Box::default()
    }

    fn place(seq: u64) -> Place {
        Place { epoch: 1, seq, stored_at_ms: 0 }
    }

    fn parcel() -> Parcel {
        Parcel { id: MessageId([0; 16]), form: Form::Classic { frame: Bytes::new(), record: None } }
    }

    fn uploading() -> Stage {
        let source = FileSource::Bytes(Bytes::new());
        let upload = FileUpload { owner: UserId::new("alice").unwrap(), suffix: "png".into(), source };
        Stage::Uploading { upload, message: message() }
    }

    fn file(ticket: u64) -> Stage {
        Stage::File { ticket: Ticket(ticket), message: message() }
    }

    fn storing(ticket: u64) -> Stage {
        Stage::Storing { ticket: Ticket(ticket), parcel: parcel() }
    }

    fn stored(seq: u64) -> Stage {
        Stage::Stored { place: place(seq), parcel: parcel(), is_new: true }
    }

    fn entry(stage: Stage) -> Entry {
        let recipient = Recipient::User(UserId::new("bob").unwrap());
        Entry { stage, recipient, cost_bytes: 10, submission: None }
    }

    fn pipeline(stages: impl IntoIterator<Item = Stage>) -> Pipeline {
        let entries = stages.into_iter().map(entry).collect();
        Pipeline { origin: ORIGIN, sender: UserId::new("alice").unwrap(), entries }
    }

    fn pipelines() -> (Pipelines, PipelineKey) {
        let mut pipelines = Pipelines::default();
        let key = pipelines.add(Pipeline { entries: VecDeque::new(), ..pipeline([]) });
        (pipelines, key)
    }

    #[test]
    fn a_new_message_is_kept_from_the_store_while_a_file_is_before_it() {
        assert!(!pipeline([]).is_blocked());
        assert!(!pipeline([storing(1), stored(1)]).is_blocked());
        assert!(!pipeline([storing(1), Stage::Dropped(Unstored::Failed)]).is_blocked());
        assert!(pipeline([storing(1), file(2)]).is_blocked());
        assert!(pipeline([file(1), Stage::Ready { message: message() }]).is_blocked());
        assert!(pipeline([file(1), uploading()]).is_blocked());
    }

    #[test]
    fn what_waits_moves_on_when_no_file_is_being_kept_before_it() {
        let ready = || Stage::Ready { message: message() };
        assert_eq!(pipeline([file(1), ready()]).first_startable(), None);
        assert_eq!(pipeline([storing(1), ready(), uploading()]).first_startable(), Some(1));
        assert_eq!(
            pipeline([Stage::Dropped(Unstored::Failed), storing(1), uploading(), ready()]).first_startable(),
            Some(2)
        );
        assert_eq!(pipeline([storing(1), storing(2)]).first_startable(), None);
    }

    #[test]
    fn an_answer_finds_the_message_that_waits_for_it() {
        let mut pipeline = pipeline([storing(5), file(7), uploading()]);
        for (ticket, found) in [(5, true), (6, false), (7, true)] {
            assert_eq!(pipeline.entry_mut(Ticket(ticket)).is_some(), found, "{ticket}");
        }
    }

    #[test]
    fn messages_leave_in_order_once_settled_and_the_sums_follow() {
        let (mut pipelines, key) = pipelines();
        pipelines.push(key, entry(stored(1)));
        pipelines.push(key, entry(Stage::Dropped(Unstored::Failed)));
        pipelines.push(key, entry(storing(3)));
        pipelines.push(key, entry(stored(4)));
        assert_eq!((pipelines.messages, pipelines.bytes), (4, 40));
        assert!(matches!(
            pipelines.pop_settled(key).unwrap().stage,
            Stage::Stored { place: Place { seq: 1, .. }, .. }
        ));
        assert!(matches!(pipelines.pop_settled(key).unwrap().stage, Stage::Dropped(_)));
        assert!(pipelines.pop_settled(key).is_none(), "the third is not settled");
        assert_eq!((pipelines.messages, pipelines.bytes), (2, 20));
        assert_eq!(pipelines.remove_if_empty(key), None);
    }

    #[test]
    fn an_empty_pipeline_is_removed_and_names_its_connection() {
        let (mut pipelines, key) = pipelines();
        assert!(!pipelines.is_empty());
        assert_eq!(pipelines.remove_if_empty(key), Some(ORIGIN));
        assert!(pipelines.is_empty());
        assert_eq!(pipelines.remove_if_empty(key), None);
    }
}
