//! Where a user's conversations are: asked of the store page by page, compared with the client's cursors.

use alloc::{boxed::Box, vec::Vec};
use serde::{Deserialize, Serialize};

use switchboard_proto::v1::Cursor;

use super::frames;
use crate::{
    action::Frame,
    answer::Undone,
    config::to_usize,
    digest::Digest,
    id::{ConnId, Ticket},
    probe::{Canary, Probe, Rule},
    server::{Server, requests::Purpose, timers::Due},
    storage::{Answer, Head, Marks, Recipient, Request},
    time::Instant,
};

/// Heads on their way to one session.
///
/// ```text
///   Asking ──► (told)
///    ▲   │ failed
///    │   ▼
///   Failed
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct HeadsRun {
    /// How far the client says that it is, sorted by the conversations.
    cursors: Vec<Known>,
    /// Where the store is to go on.
    after: u64,
    stage: Stage,
}

/// How far a client says that it is with one conversation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Known {
    conversation: Recipient,
    epoch: u64,
    seq: u64,
    own: Marks,
    peer: Marks,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Stage {
    Asking { ticket: Ticket },
    Failed { retry_at: Instant },
}

impl HeadsRun {
    /// The request that is waited for.
    pub(super) const fn ticket(&self) -> Option<Ticket> {
        match self.stage {
            Stage::Asking { ticket } => Some(ticket),
            Stage::Failed { .. } => None,
        }
    }

    pub(super) fn cursors(&self) -> usize {
        self.cursors.len()
    }

    /// Whether the client is where the log and the marks are.
    fn is_known(&self, head: &Head, without_marks: bool, any_epoch: bool) -> bool {
        let place = self.cursors.binary_search_by(|known| known.conversation.cmp(&head.conversation));
        let known = place.ok().and_then(|place| self.cursors.get(place));
        known.is_some_and(|known| {
            let has_marks = (known.own, known.peer) == (head.own, head.peer) || without_marks;
            (known.epoch == head.epoch || any_epoch) && known.seq == head.seq && has_marks
        })
    }

    /// Which request that is, the requests tell.
    pub(super) fn fold(&self, digest: &mut Digest<'_>) {
        digest.len(self.cursors.len());
        for Known { conversation, epoch, seq, own, peer } in &self.cursors {
            conversation.fold(digest);
            let words = [*epoch, *seq, own.delivered, own.read, peer.delivered, peer.read];
            words.into_iter().for_each(|word| digest.word(word));
        }
        digest.word(self.after);
        match self.stage {
            Stage::Asking { .. } => digest.word(0),
            Stage::Failed { retry_at } => {
                digest.word(1);
                digest.instant(retry_at);
            }
        }
    }
}

/// What a client says of where it is, as far as it makes sense. Of two cursors of one conversation any counts.
fn read(cursors: &[Cursor]) -> Vec<Known> {
    let known = |cursor: &Cursor| {
        Some(Known {
            conversation: frames::recipient(cursor.conversation.as_ref())?,
            epoch: cursor.epoch,
            seq: cursor.seq,
            own: frames::unwired(cursor.own),
            peer: frames::unwired(cursor.peer),
        })
    };
    let mut read: Vec<_> = cursors.iter().filter_map(known).collect();
    read.sort();
    read.dedup_by(|later, earlier| later.conversation == earlier.conversation);
    read
}

impl<P: Probe> Server<P> {
    /// Tells a session the heads that are not where these cursors are. Replaces heads that are still on their way.
    pub(super) fn tell_heads(&mut self, conn: ConnId, cursors: &[Cursor]) {
        if self.stop_heads(conn) {
            self.probe.reached(Rule::HeadsReplaced);
        }
        let limit = to_usize(self.config.limits.cursors_per_hello);
        if cursors.len() > limit {
            self.probe.reached(Rule::CursorsOverLimit);
        }
        let cursors = cursors.get(..limit).unwrap_or(cursors);
        self.ask_heads(conn, read(cursors), 0);
    }

    fn ask_heads(&mut self, conn: ConnId, cursors: Vec<Known>, after: u64) {
        let user = self.connections.get(conn).and_then(|connection| connection.user());
        let Some(user) = user.and_then(|user| self.users.get(user)).map(|user| user.id.clone()) else {
            return;
        };
        self.probe.reached(Rule::HeadsAsked);
        let ticket = self.request(Purpose::Heads(conn), Request::LoadHeads { user, after });
        if let Some(session) = self.connections.get_mut(conn).and_then(|c| c.session.as_mut()) {
            session.heads = Some(Box::new(HeadsRun { cursors, after, stage: Stage::Asking { ticket } }));
        }
    }

    /// Gives up heads that are on their way. Returns whether there were any.
    pub(super) fn stop_heads(&mut self, conn: ConnId) -> bool {
        let session = self.connections.get_mut(conn).and_then(|c| c.session.as_mut());
        let Some(run) = session.and_then(|session| session.heads.take()) else { return false };
        match run.stage {
            Stage::Asking { ticket } => {
                self.requests.close(ticket);
            }
            Stage::Failed { retry_at } => self.timers.cancel(retry_at, Due::Heads(conn)),
        }
        true
    }

    /// Heads that could not be had are asked for again.
    pub(in crate::server) fn heads_due(&mut self, conn: ConnId) {
        let session = self.connections.get_mut(conn).and_then(|c| c.session.as_mut());
        let Some(run) = session.and_then(|session| session.heads.take()) else { return };
        self.probe.reached(Rule::HeadsRetried);
        let HeadsRun { cursors, after, .. } = *run;
        self.ask_heads(conn, cursors, after);
    }

    /// The store has answered about heads, or has not in time.
    pub(in crate::server) fn heads_answered(&mut self, conn: ConnId, answer: Answer) {
        let session = self.connections.get_mut(conn).and_then(|c| c.session.as_mut());
        let Some(mut run) = session.and_then(|session| session.heads.take()) else { return };
        let (mut heads, next) = match answer.into_heads() {
            Ok(part) => part,
            // Of a user whom the store does not know nothing was ever said.
            Err(Undone::Refused) => (Vec::new(), None),
            Err(Undone::Failed) => return self.retry_heads(conn, run),
        };
        let without_marks = self.probe.canary(Canary::MarksLeftOutOfHeads);
        let any_epoch = self.probe.canary(Canary::EpochIgnored);
        heads.retain(|head| !run.is_known(head, without_marks, any_epoch));
        self.send_heads(conn, &heads, next.is_none());
        match next {
            Some(after) => {
                self.probe.reached(Rule::HeadsPaged);
                let cursors = core::mem::take(&mut run.cursors);
                self.ask_heads(conn, cursors, after);
            }
            None => self.probe.reached(Rule::HeadsTold),
        }
    }

    fn retry_heads(&mut self, conn: ConnId, mut run: Box<HeadsRun>) {
        self.probe.reached(Rule::HeadsFailed);
        self.stats.heads_failed += 1;
        let retry_at = self.now + self.config.reload_interval;
        run.stage = Stage::Failed { retry_at };
        if let Some(session) = self.connections.get_mut(conn).and_then(|c| c.session.as_mut()) {
            session.heads = Some(run);
            self.timers.set(retry_at, Due::Heads(conn));
        }
    }

    /// Sends heads in frames of bounded size.
    fn send_heads(&mut self, conn: ConnId, heads: &[Head], last: bool) {
        let limit = to_usize(self.config.limits.heads_per_frame.max(1));
        let mut chunks = heads.chunks(limit).peekable();
        if chunks.peek().is_none() && last {
            self.deliver_to_conn(conn, Frame::Message(frames::heads(&[], true)));
        }
        while let Some(chunk) = chunks.next() {
            let frame = frames::heads(chunk, last && chunks.peek().is_none());
            self.deliver_to_conn(conn, Frame::Message(frame));
        }
    }
}
