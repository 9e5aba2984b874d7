//! Parts of a log that a session asks for.

use alloc::boxed::Box;
use serde::{Deserialize, Serialize};

use switchboard_proto::v1::{Fetch, RejectCode};

use super::frames;
use crate::{
    action::Frame,
    answer::Undone,
    config::to_usize,
    digest::Digest,
    id::{ConnId, Ticket},
    probe::{Canary, Probe, Rule},
    server::{Server, requests::Purpose, users::UserKey},
    storage::{Answer, Range, Recipient, Request},
};

/// A part of a log on its way from the store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Fetching {
    pub(super) ticket: Ticket,
    fetch_id: u64,
    conversation: Recipient,
}

impl Fetching {
    /// Which request that is, the requests tell.
    pub(super) fn fold(&self, digest: &mut Digest<'_>) {
        digest.word(self.fetch_id);
        self.conversation.fold(digest);
    }
}

impl<P: Probe> Server<P> {
    /// A session asks for a part of a log.
    pub(super) fn fetch(&mut self, conn: ConnId, user: UserKey, fetch: &Fetch) {
        let Some(mut reader) = self.users.get(user).map(|user| user.id.clone()) else { return };
        let conversation = frames::recipient(fetch.conversation.as_ref());
        let fault = match &conversation {
            None => Some("conversation is missing, or is not an id"),
            Some(_) if fetch.from_seq == 0 && !fetch.backwards => Some("from_seq is 0: the first place is 1"),
            Some(_) => None,
        };
        let Some(conversation) = conversation.filter(|_| fault.is_none()) else {
            self.probe.reached(Rule::FetchInvalid);
            self.stats.refused_invalid += 1;
            return self.unfetched(conn, fetch.fetch_id, RejectCode::Invalid, fault.unwrap_or_default());
        };
        let limits = &self.config.limits;
        let open = self.connections.get(conn).and_then(|c| c.session.as_ref()).map_or(0, |s| s.fetches.len());
        if open >= to_usize(limits.fetches_per_connection) {
            self.probe.reached(Rule::FetchBusy);
            self.stats.refused_fetches += 1;
            return self.unfetched(conn, fetch.fetch_id, RejectCode::Busy, "too many fetches are open");
        }
        if let Recipient::User(other) = &conversation
            && self.probe.canary(Canary::PageOfOtherConversation)
        {
            reader = other.clone();
        }
        let range = Range {
            reader,
            conversation: conversation.clone(),
            from_seq: fetch.from_seq,
            backwards: fetch.backwards,
            limit: match fetch.limit {
                0 => limits.page_messages,
                limit => limit.min(limits.page_messages),
            },
            limit_bytes: limits.page_bytes,
        };
        self.probe.reached(Rule::FetchRequested);
        self.stats.fetches += 1;
        let ticket = self.request(Purpose::Fetch(conn), Request::LoadMessages(Box::new(range)));
        if let Some(session) = self.connections.get_mut(conn).and_then(|c| c.session.as_mut()) {
            session.fetches.push(Fetching { ticket, fetch_id: fetch.fetch_id, conversation });
        }
    }

    /// The store has answered about a part of a log, or has not in time.
    pub(in crate::server) fn fetch_answered(&mut self, conn: ConnId, ticket: Ticket, answer: Answer) {
        let Some(session) = self.connections.get_mut(conn).and_then(|c| c.session.as_mut()) else { return };
        let Some(place) = session.fetch_place(ticket) else { return };
        let Fetching { fetch_id, conversation, .. } = session.fetches.remove(place);
        if session.fetches.is_empty() {
            session.fetches = alloc::vec::Vec::new();
        }
        let (code, text) = match answer.into_messages() {
            Ok(messages) => {
                let page = frames::page(fetch_id, &conversation, messages);
                if self.has_room(conn, page.len()) {
                    self.probe.reached(Rule::PageSent);
                    return self.deliver_to_conn(conn, Frame::Message(page));
                }
                // Pages must not close the connection of who asks for no more of them than is allowed.
                self.probe.reached(Rule::PageWithoutRoom);
                (RejectCode::Busy, "too much waits to be read by you")
            }
            Err(Undone::Refused) => {
                self.probe.reached(Rule::FetchRefused);
                (RejectCode::NoSuchConversation, "there is no such user or group, or you are no member")
            }
            Err(Undone::Failed) => {
                self.probe.reached(Rule::FetchFailed);
                (RejectCode::Unavailable, "the store cannot be asked now")
            }
        };
        self.stats.fetches_failed += 1;
        self.unfetched(conn, fetch_id, code, text);
    }

    fn unfetched(&mut self, conn: ConnId, fetch_id: u64, code: RejectCode, text: &str) {
        self.deliver_to_conn(conn, Frame::Message(frames::unfetched(fetch_id, code, text)));
    }

    /// Whether a connection's outbox takes another frame of this size.
    fn has_room(&self, conn: ConnId, len: usize) -> bool {
        let limit_bytes = self.config.limits.outbox_bytes;
        self.connections.get(conn).is_some_and(|connection| connection.outbox.has_room(len, limit_bytes))
    }
}
