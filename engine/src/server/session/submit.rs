//! Messages that a session submits.

use alloc::{borrow::ToOwned as _, boxed::Box, string::ToString as _};
use serde::{Deserialize, Serialize};

use switchboard_proto::v1::{RejectCode, Submit};

use super::{direct, frames};
use crate::{
    action::Frame,
    entry,
    id::{ConnId, MessageId},
    probe::{Canary, Probe, Rule},
    server::{
        Server,
        letter::Form,
        pipeline::{Entry, Parcel, Unstored},
        storing::NOWHERE,
        users::UserKey,
    },
    storage::{NewMessage, Place, Recipient, Subject},
};

/// A session's message that waits for the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::server) struct Submission {
    /// The id that the client has given it.
    pub(in crate::server) id: MessageId,
    /// Whether the same message, submitted before, was delivered while this one waited.
    pub(in crate::server) is_delivered: bool,
}

impl<P: Probe> Server<P> {
    /// Takes a message on its way through the store, if there is nothing wrong with it and there is room. Who may
    /// write to whom is for the store to say: what is known here may be a moment old, and a refusal is final.
    pub(super) fn submit(&mut self, conn: ConnId, user: UserKey, submit: Submit, cost_bytes: u64) {
        let Some(user) = self.users.get(user) else { return };
        let (sender, avatar) = (user.id.clone(), user.avatar.clone());
        let id = frames::message_id(&submit.message_id);
        let recipient = frames::recipient(submit.conversation.as_ref());
        let subject = match (id, &recipient) {
            (None, _) => Err("message_id is not 16 bytes long"),
            (_, None) => Err("conversation is missing, or is not an id"),
            (Some(_), Some(recipient)) => entry::subject(submit.content.as_ref(), recipient),
        };
        let text = subject.as_ref().err().copied().unwrap_or_default();
        let (Some(id), Some(recipient), Some(content), Ok(subject)) =
            (id, recipient, submit.content, subject)
        else {
            self.probe.reached(Rule::SubmitInvalid);
            self.stats.refused_invalid += 1;
            return self.rejected(conn, &submit.message_id, RejectCode::Invalid, text);
        };
        let Some(key) = self.pipeline_with_room(conn, &sender, cost_bytes) else {
            self.probe.reached(Rule::SubmitBusy);
            self.stats.refused_pending += 1;
            let text = "too many messages wait for the store";
            return self.rejected(conn, &submit.message_id, RejectCode::Busy, text);
        };
        let form = match &subject {
            Subject::Message => {
                let file = content.file.as_str().into();
                Form::Session { kind: content.kind, text: content.text.as_str().into(), file, avatar }
            }
            Subject::Edit { .. } | Subject::Recall { .. } | Subject::Change(_) => {
                Form::Entry { text: content.text.as_str().into(), subject: subject.clone() }
            }
        };
        let new = NewMessage {
            id,
            recipient: recipient.clone(),
            content_type: u8::try_from(content.kind).unwrap_or_default(),
            content: content.text.into_boxed_str(),
            sender_name: sender.as_str().to_owned().into_boxed_str(),
            url: content.file.into_boxed_str(),
            file_suffix: Box::default(),
            sender,
            subject,
        };
        let parcel = Parcel { id, form };
        let stage = self.store(key, Box::new(new), parcel);
        let submission = Some(Submission { id, is_delivered: false });
        if self.probe.canary(Canary::AckBeforeCommit) {
            self.accepted(conn, id, &recipient, NOWHERE);
        }
        self.push_entry(key, Entry { stage, recipient, cost_bytes, submission });
    }

    /// The message is in the log, and has been delivered.
    pub(in crate::server) fn submit_stored(
        &mut self,
        conn: ConnId,
        id: MessageId,
        to: &Recipient,
        place: Place,
    ) {
        self.probe.reached(Rule::SubmitAccepted);
        self.stats.accepted += 1;
        if !self.probe.canary(Canary::AckForgotten) && !self.probe.canary(Canary::AckBeforeCommit) {
            self.accepted(conn, id, to, place);
        }
    }

    fn accepted(&mut self, conn: ConnId, id: MessageId, to: &Recipient, place: Place) {
        self.deliver_to_conn(conn, Frame::Message(direct::accepted(id, to, place)));
    }

    /// The message is not in the log, as far as is known.
    pub(in crate::server) fn submit_unstored(
        &mut self,
        conn: ConnId,
        id: MessageId,
        to: &Recipient,
        why: Unstored,
    ) {
        let is_denied = matches!(why, Unstored::Denied(_));
        let why =
            if is_denied && self.probe.canary(Canary::DenialTransient) { Unstored::Failed } else { why };
        match why {
            Unstored::Refused => {
                self.probe.reached(Rule::SubmitRefused);
                self.rejected(conn, &id.0, RejectCode::NoSuchConversation, no_such(to));
            }
            Unstored::Denied(denial) => {
                self.probe.reached(Rule::SubmitRefused);
                let code = if denial.is_forbidden() { RejectCode::Forbidden } else { RejectCode::Conflict };
                self.rejected(conn, &id.0, code, &denial.to_string());
            }
            Unstored::Failed => {
                self.probe.reached(Rule::SubmitUnavailable);
                let text = "the server cannot store anything now";
                self.rejected(conn, &id.0, RejectCode::Unavailable, text);
            }
            Unstored::Full => {
                self.probe.reached(Rule::SubmitUnavailable);
                self.rejected(conn, &id.0, RejectCode::Unavailable, "the server's disk is full");
            }
        }
    }

    fn rejected(&mut self, conn: ConnId, id: &[u8], code: RejectCode, text: &str) {
        self.deliver_to_conn(conn, Frame::Message(frames::rejected(id, code, text)));
    }
}

/// That there is no such conversation, whether there is one and the sender takes no part in it or not.
pub(super) const fn no_such(conversation: &Recipient) -> &'static str {
    match conversation {
        Recipient::User(_) => "there is no such user",
        Recipient::Group(_) => {
            "there is no such group, or you are no member of it: ask one of its members to invite you"
        }
    }
}
