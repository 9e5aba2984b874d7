//! Messages that are stored before they are delivered, and the files that come with them.

use alloc::{borrow::ToOwned as _, boxed::Box, collections::VecDeque, string::ToString as _};

use bytes::Bytes;
use switchboard_proto::classic::Message;

use super::{
    Server, classic,
    letter::{Form, Letter},
    pipeline::{Entry, Parcel, Pipeline, PipelineKey, Stage, Unstored},
    requests::Purpose,
    session::Submission,
    users::UserKey,
};
use crate::{
    action::Frame,
    bus::{Record, Topic},
    close::CloseReason,
    config::to_usize,
    denial::Denial,
    event::Audience,
    id::{ConnId, MessageId, Ticket, UserId},
    probe::{Canary, Probe, Rule},
    storage::{Answer, FileUpload, NewMessage, Place, Recipient, Request},
};

/// Where a message is said to be by those bugs that deliver one that is nowhere.
pub(super) const NOWHERE: Place = Place { epoch: 0, seq: 0, stored_at_ms: 0 };

impl<P: Probe> Server<P> {
    /// Takes a message on its way through the store, if its sender may send it and there is room.
    pub(super) fn accept(
        &mut self,
        conn: ConnId,
        user: UserKey,
        sender: &UserId,
        recipient: Recipient,
        mut message: Message,
        bytes: Bytes,
    ) {
        if !self.may_send(user, &recipient) {
            self.probe.reached(Rule::NotMember);
            self.stats.refused_not_member += 1;
            return;
        }
        let cost_bytes = bytes.len() as u64;
        let Some(key) = self.pipeline_with_room(conn, sender, cost_bytes) else {
            self.probe.reached(Rule::PendingFull);
            self.stats.refused_pending += 1;
            return self.close(conn, CloseReason::TooManyPending);
        };
        if let (Recipient::Group(_), Some(user)) = (&recipient, self.users.get(user)) {
            (*user.avatar).clone_into(&mut message.avatar);
        }
        let blocked = self.pipelines.get(key).is_some_and(Pipeline::is_blocked);
        let stage = match classic::take_upload(&mut message, sender) {
            Some(upload) => {
                let message = Box::new(message);
                // The files of one connection are kept one after the other, each before its message.
                if blocked {
                    self.probe.reached(Rule::FileWaits);
                    Stage::Uploading { upload, message }
                } else {
                    self.store_file(key, upload, message)
                }
            }
            None if blocked && !self.probe.canary(Canary::FileOvertaken) => {
                self.probe.reached(Rule::MessageWaitsForFile);
                Stage::Ready { message: Box::new(message) }
            }
            None => self.store_classic(key, sender, &recipient, message, Some(bytes)),
        };
        self.push_entry(key, Entry { stage, recipient, cost_bytes, submission: None });
    }

    /// Appends a message to those of its connection.
    pub(super) fn push_entry(&mut self, key: PipelineKey, entry: Entry) {
        self.pipelines.push(key, entry);
        if self.probe.canary(Canary::DeliveredBeforeStored) {
            self.deliver_settled(key);
        }
    }

    /// The connection's pipeline, made if there is none; none if a limit is reached.
    pub(super) fn pipeline_with_room(
        &mut self,
        conn: ConnId,
        sender: &UserId,
        cost: u64,
    ) -> Option<PipelineKey> {
        let limits = &self.config.limits;
        let unlimited = self.probe.canary(Canary::PendingUnlimited);
        let full = self.pipelines.messages >= limits.pending.into()
            || self.pipelines.bytes + cost > limits.pending_bytes;
        if full && !unlimited {
            return None;
        }
        let known = match self.connections.get(conn) {
            Some(connection) => connection.pipeline,
            // It went before its user was loaded.
            None => self.pipelines.of(conn),
        };
        if let Some(key) = known {
            let waiting = self.pipelines.get(key)?.entries.len();
            let has_room = waiting < to_usize(limits.pending_per_connection);
            return (has_room || unlimited).then_some(key);
        }
        let pipeline = Pipeline { origin: conn, sender: sender.clone(), entries: VecDeque::new() };
        let key = self.pipelines.add(pipeline);
        if let Some(connection) = self.connections.get_mut(conn) {
            connection.pipeline = Some(key);
        }
        Some(key)
    }

    /// Asks the store to keep a message's file.
    fn store_file(&mut self, key: PipelineKey, upload: FileUpload, message: Box<Message>) -> Stage {
        self.probe.reached(Rule::FileRequested);
        let ticket = self.request(Purpose::Message(key), Request::StoreFile(upload));
        Stage::File { ticket, message }
    }

    /// Asks the store to keep a classic message. `bytes` are the message's, where nothing in it has changed.
    fn store_classic(
        &mut self,
        key: PipelineKey,
        sender: &UserId,
        recipient: &Recipient,
        message: Message,
        bytes: Option<Bytes>,
    ) -> Stage {
        let id = self.next_message_id();
        let form = match recipient {
            Recipient::User(_) => {
                let frame = bytes.unwrap_or_else(|| classic::encode(&message));
                Form::Classic { record: self.config.peers.then(|| frame.clone()), frame }
            }
            Recipient::Group(_) => Form::Classic {
                record: self.config.peers.then(|| classic::encode(&message)),
                frame: classic::group_form(message.clone(), &self.probe),
            },
        };
        let new = classic::stored_form(message, sender, id, recipient);
        self.store(key, new, Parcel { id, form })
    }

    /// An id for a message whose client gave it none: random but for its beginning, which ascends with time as that of a
    /// UUID of version 7 does. The store's index of ids then grows at its end. There is no clock here, so that the
    /// time counts from a random one.
    fn next_message_id(&mut self) -> MessageId {
        let mut id = [0; 16];
        if !self.probe.canary(Canary::MessageIdReused) {
            self.rng.fill_bytes(&mut id);
            let since_ms = self.now.as_nanos() / 1_000_000;
            let time = self.ids_from.wrapping_add(since_ms).to_be_bytes();
            for (byte, of_time) in id.iter_mut().zip(time.into_iter().skip(2)) {
                *byte = of_time;
            }
        }
        MessageId(id)
    }

    /// Asks the store to keep a message.
    pub(super) fn store(&mut self, key: PipelineKey, new: Box<NewMessage>, parcel: Parcel) -> Stage {
        self.stats.store_requests += 1;
        self.probe.reached(Rule::MessageRequested);
        let ticket = self.request(Purpose::Message(key), Request::StoreMessage(new));
        if self.probe.canary(Canary::DeliveredBeforeStored) {
            return Stage::Stored { place: NOWHERE, parcel, is_new: true };
        }
        Stage::Storing { ticket, parcel }
    }

    /// The store has answered about a message or its file, or has not in time.
    pub(super) fn message_answered(&mut self, key: PipelineKey, ticket: Ticket, answer: &Answer) {
        let Some(pipeline) = self.pipelines.get_mut(key) else { return };
        let Some(entry) = pipeline.entry_mut(ticket) else { return };
        let stage = core::mem::replace(&mut entry.stage, Stage::Dropped(Unstored::Failed));
        match (stage, answer) {
            (Stage::Storing { parcel, .. }, Answer::Failed | Answer::Full)
                if self.probe.canary(Canary::FailedSaveDelivered) =>
            {
                entry.stage = Stage::Stored { place: NOWHERE, parcel, is_new: true };
            }
            (Stage::Storing { parcel, .. }, Answer::MessageStored(place) | Answer::StoredEarlier(place)) => {
                self.probe.reached(Rule::MessageStored);
                self.stats.stored += 1;
                let is_new = matches!(answer, Answer::MessageStored(_))
                    || self.probe.canary(Canary::EarlierDeliveredAgain);
                entry.stage = Stage::Stored { place: *place, parcel, is_new };
            }
            (Stage::File { mut message, .. }, Answer::FileStored { name, kind }) => {
                self.probe.reached(Rule::FileStored);
                classic::put_file(&mut message, name, *kind);
                entry.stage = Stage::Ready { message };
            }
            (_, Answer::Refused) => {
                self.probe.reached(Rule::StoreRefused);
                self.stats.store_refused += 1;
                entry.stage = Stage::Dropped(Unstored::Refused);
            }
            (_, Answer::Denied(denial)) => {
                self.probe.reached(Rule::StoreRefused);
                self.stats.store_refused += 1;
                entry.stage = Stage::Dropped(Unstored::Denied(*denial));
            }
            (_, Answer::Failed) => {
                self.probe.reached(Rule::StoreFailed);
                self.stats.store_failed += 1;
            }
            (_, Answer::Full) => {
                self.probe.reached(Rule::StoreFailed);
                self.stats.store_failed += 1;
                entry.stage = Stage::Dropped(Unstored::Full);
            }
            // A file's answer for a message, or the other way round.
            _ => self.stats.driver_faults += 1,
        }
        let settled = entry.stage.is_settled();
        self.submit_ready(key);
        let before = self.pipelines.messages;
        self.deliver_settled(key);
        if settled && self.pipelines.messages == before {
            self.probe.reached(Rule::StoredAhead);
        }
    }

    /// Moves on what an earlier message's file has kept waiting.
    fn submit_ready(&mut self, key: PipelineKey) {
        while let Some(index) = self.pipelines.get(key).and_then(Pipeline::first_startable) {
            let Some(pipeline) = self.pipelines.get_mut(key) else { return };
            let sender = pipeline.sender.clone();
            let Some(entry) = pipeline.entries.get_mut(index) else { return };
            let recipient = entry.recipient.clone();
            let stage = match core::mem::replace(&mut entry.stage, Stage::Dropped(Unstored::Failed)) {
                Stage::Ready { message } => self.store_classic(key, &sender, &recipient, *message, None),
                Stage::Uploading { upload, message } => self.store_file(key, upload, message),
                other @ (Stage::File { .. }
                | Stage::Storing { .. }
                | Stage::Stored { .. }
                | Stage::Dropped(_)) => other,
            };
            if let Some(entry) = self.pipelines.get_mut(key).and_then(|p| p.entries.get_mut(index)) {
                entry.stage = stage;
            }
        }
    }

    /// Delivers what is stored, in the order in which it was sent.
    fn deliver_settled(&mut self, key: PipelineKey) {
        if let Some(pipeline) = self.pipelines.get_mut(key)
            && self.probe.canary(Canary::AnswerOrder)
        {
            pipeline.entries.make_contiguous().sort_by_key(|entry| !entry.stage.is_settled());
        }
        let mut delivered = 0_u32;
        while let Some(entry) = self.pipelines.pop_settled(key) {
            let Some(pipeline) = self.pipelines.get(key) else { continue };
            let (origin, sender) = (pipeline.origin, pipeline.sender.clone());
            let is_last = delivered > 0 && pipeline.entries.is_empty();
            let Entry { stage, recipient, submission, .. } = entry;
            let (place, parcel, is_new) = match (stage, submission) {
                (Stage::Stored { place, parcel, is_new }, _) => (place, parcel, is_new),
                (Stage::Dropped(why), Some(Submission { id, .. })) => {
                    self.submit_unstored(origin, id, &recipient, why);
                    continue;
                }
                // Whoever writes where it may not knows that from its front-end; nobody else knows how large files are, and which
                // are there.
                (
                    Stage::Dropped(Unstored::Denied(denial @ (Denial::FilesFull { .. } | Denial::NoFile))),
                    None,
                ) => {
                    let notice = classic::notice(&Audience::User(sender), &denial.to_string());
                    self.deliver_to_conn(origin, Frame::Message(notice));
                    continue;
                }
                (
                    Stage::Dropped(_)
                    | Stage::Uploading { .. }
                    | Stage::File { .. }
                    | Stage::Ready { .. }
                    | Stage::Storing { .. },
                    _,
                ) => continue,
            };
            if is_last && self.probe.canary(Canary::BatchLosesLast) {
                continue;
            }
            delivered += 1;
            if self.connections.get(origin).is_none() {
                self.probe.reached(Rule::DeliveredForGone);
            }
            let Parcel { id, form } = &parcel;
            let letter = Letter { sender: &sender, recipient: &recipient, id: *id, place, form };
            match submission {
                Some(Submission { is_delivered: true, .. }) => self.probe.reached(Rule::SubmitRepeated),
                Some(Submission { is_delivered: false, .. }) | None if !is_new => {
                    self.probe.reached(Rule::SubmitStoredEarlier);
                    if !self.probe.canary(Canary::EarlierNotTold) {
                        self.tell_place(&sender, &recipient, place, origin);
                    }
                }
                Some(Submission { is_delivered: false, .. }) => {
                    self.pipelines.mark_delivered(key, *id);
                    self.deliver_everywhere(&letter, origin);
                }
                None => self.deliver_everywhere(&letter, origin),
            }
            if submission.is_some() {
                self.submit_stored(origin, *id, &recipient, place);
            }
        }
        if let Some(origin) = self.pipelines.remove_if_empty(key)
            && let Some(connection) = self.connections.get_mut(origin)
        {
            connection.pipeline = None;
        }
    }

    /// Publishes what was stored just now, and delivers it to all who are here.
    fn deliver_everywhere(&mut self, letter: &Letter<'_>, origin: ConnId) {
        let stored = Some((letter.id, letter.place));
        let own_copy = matches!(letter.recipient, Recipient::User(user) if user != letter.sender);
        if letter.is_for_sessions() {
            self.tell_entry(letter);
        } else if self.config.peers
            && let Some(message) = letter.record()
        {
            let topic = match letter.recipient {
                Recipient::User(user) => Topic::User(user.clone()),
                Recipient::Group(group) => Topic::Group(group.clone()),
            };
            let copy = own_copy.then(|| message.clone());
            self.publish(Record { topic, stored, message });
            if let Some(message) = copy {
                self.publish(Record { topic: Topic::User(letter.sender.clone()), stored, message });
            }
        }
        self.deliver(letter, Some(origin));
        self.deliver_to_concerned(letter, Some(origin));
        if own_copy {
            self.deliver_to_own_devices(letter, Some(origin));
        }
    }

    /// Drops all that a pipeline has in it, answered or not.
    pub(super) fn drop_pending(&mut self, key: PipelineKey) {
        if let Some(pipeline) = self.pipelines.get_mut(key) {
            let dropped = |entry: &mut Entry| entry.stage = Stage::Dropped(Unstored::Failed);
            pipeline.entries.iter_mut().for_each(dropped);
        }
        self.deliver_settled(key);
    }
}
