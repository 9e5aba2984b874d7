//! What was said and has no fate yet, in the order in which it was said.

use std::collections::BTreeSet;

use switchboard_engine::{Content, MessageId, Recipient, Subject};

use super::{super::text::short, Conversation, LastOwn, Line};

/// Something submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Submission {
    /// As the user is told of it.
    pub(in super::super) what: String,
    /// A message, which can be edited and recalled once it has its place.
    pub(in super::super) is_message: bool,
}

impl Submission {
    pub(in super::super) fn new(what: &str, content: &Content) -> Self {
        Self { what: what.to_owned(), is_message: content.subject == Subject::Message }
    }
}

/// A reason of the server's is cut to this many characters.
pub(super) const REASON_LIMIT_CHARS: usize = 200;

#[derive(Debug)]
pub(super) struct Unaccepted {
    id: MessageId,
    conversation: Recipient,
    submission: Submission,
    /// The user was told that it waits.
    told: bool,
}

/// At most as many as a client takes: 1,024, and what an earlier client has left.
#[derive(Debug, Default)]
pub(super) struct Pending(Vec<Unaccepted>);

impl Pending {
    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn add(
        &mut self,
        id: MessageId,
        conversation: &Recipient,
        submission: Submission,
        told: bool,
    ) {
        self.0.push(Unaccepted { id, conversation: conversation.clone(), submission, told });
    }

    /// Its fate is known: for which conversation it was, what it was, and whether it was told to wait.
    pub(super) fn remove(&mut self, id: MessageId) -> Option<(Recipient, Submission, bool)> {
        let at = self.0.iter().position(|unaccepted| unaccepted.id == id)?;
        let Unaccepted { conversation, submission, told, .. } = self.0.remove(at);
        Some((conversation, submission, told))
    }

    /// What was said first.
    pub(super) fn first(&self) -> Option<&str> {
        self.0.first().map(|unaccepted| unaccepted.submission.what.as_str())
    }

    /// The message of a conversation that was said last.
    fn last_message(&self, conversation: &Recipient) -> Option<&str> {
        let mut newest_first = self.0.iter().rev();
        let last = newest_first
            .find(|unaccepted| unaccepted.submission.is_message && unaccepted.conversation == *conversation);
        last.map(|unaccepted| unaccepted.submission.what.as_str())
    }

    /// The user was told that it waits. Gives what it is.
    fn tell(&mut self, id: MessageId) -> Option<&str> {
        let unaccepted = self.0.iter_mut().find(|unaccepted| unaccepted.id == id)?;
        unaccepted.told = true;
        Some(&unaccepted.submission.what)
    }

    /// Those that the user has not been told to wait: the first, and how many follow. They are told from now on.
    pub(super) fn untold(&mut self) -> Option<(&str, usize)> {
        let mut untold = self.0.iter_mut().filter(|unaccepted| !unaccepted.told);
        let first = untold.next()?;
        first.told = true;
        let others = untold.map(|unaccepted| unaccepted.told = true).count();
        Some((&first.submission.what, others))
    }
}

/// What the server cannot store for now.
#[derive(Debug, Default)]
pub(super) struct Delayed {
    ids: BTreeSet<MessageId>,
    /// Why the first of them could not be stored, made harmless.
    pub(super) why: String,
}

/// The first of some things, and how many follow.
pub(in super::super) fn and_more(first: &str, others: usize) -> String {
    if others == 0 { first.to_owned() } else { format!("{first} and {others} more") }
}

impl Conversation {
    /// Something was taken: it is pending. `waits` if there is no connection to send it over.
    pub(in super::super) fn taken(
        &mut self,
        id: MessageId,
        submission: Submission,
        waits: bool,
    ) -> Option<Line> {
        let line = match self.why_delayed() {
            _ if waits => Some(self.waits(&submission.what)),
            Some(_) if self.manner.interactive => Some(self.not_stored(&submission.what)),
            Some(_) | None => None,
        };
        let current = self.current.clone();
        self.unaccepted.add(id, &current, submission, line.is_some());
        self.said_here.insert(id);
        line
    }

    /// Something that an earlier client has left in the store.
    pub(in super::super) fn left_over(
        &mut self,
        id: MessageId,
        conversation: &Recipient,
        submission: Submission,
    ) -> Line {
        let line = self.waits(&submission.what);
        self.unaccepted.add(id, conversation, submission, true);
        line
    }

    /// The server cannot store something for now. What else it cannot store until then is no news.
    pub(super) fn delayed(&mut self, id: MessageId, why: &str) -> Option<Line> {
        let is_news = self.delayed.ids.is_empty();
        self.delayed.ids.insert(id);
        let what = self.unaccepted.tell(id)?.to_owned();
        if !is_news {
            return None;
        }
        self.delayed.why = short(why, REASON_LIMIT_CHARS);
        Some(self.not_stored(&what))
    }

    fn not_stored(&self, what: &str) -> Line {
        Line::Status(format!("not stored yet: {what}: {}; trying again", self.delayed.why))
    }

    /// Something has its fate: for which conversation it was, what it was, and whether it was told to wait.
    pub(super) fn fate(&mut self, id: MessageId) -> Option<(Recipient, Submission, bool)> {
        self.delayed.ids.remove(&id);
        self.unaccepted.remove(id)
    }

    /// Why the server cannot store for now what waits; none if it can, as far as is known.
    pub(super) fn why_delayed(&self) -> Option<&str> {
        (!self.delayed.ids.is_empty()).then_some(&self.delayed.why)
    }

    /// That something waits, and for what.
    pub(super) fn waits(&self, what: &str) -> Line {
        Line::Status(match self.is_closed {
            true => format!("waiting until you /connect: {what}"),
            false => format!("waiting for the connection: {what}"),
        })
    }

    /// What has no fate, for a person to read, with so many more things said after it; none if there is nothing.
    pub(in super::super) fn left_behind(&self, more: usize) -> Option<String> {
        let first = self.unaccepted.first()?;
        Some(and_more(first, self.unaccepted.len() - 1 + more))
    }

    /// Messages said here, or by an earlier client of the store, without a fate.
    pub(in super::super) const fn unaccepted(&self) -> usize {
        self.unaccepted.len()
    }

    /// The last message that the user has said in the current conversation, as far as it was shown.
    pub(in super::super) fn last_own(&self) -> LastOwn {
        match self.unaccepted.last_message(&self.current) {
            Some(quote) => LastOwn::Waits(quote.to_owned()),
            None => self.shown.last_own(&self.current, u64::MAX).map_or(LastOwn::Nothing, LastOwn::At),
        }
    }
}
