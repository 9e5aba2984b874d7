//! What the user is told: from what a client says to lines. Knows no terminal, no socket and no clock.

mod connection;
mod names;
mod pending;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    sync::Arc,
    time::Duration,
};

use switchboard_engine::{GroupChange, GroupId, LogMessage, MessageId, Recipient, Subject, UserId};

use super::{
    shown::{ACCEPTED, Shown},
    text::{NAME_LIMIT_CHARS, Style, change, neutral, quote, short},
};
use crate::client::{Event, Summary};

use connection::chain;
use pending::{Delayed, Pending, REASON_LIMIT_CHARS};
pub(super) use pending::{Submission, and_more};

/// A line to show, without what depends on where it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// What somebody said.
    Message(String),
    /// What there is to know beside it.
    Status(String),
}

/// Times as they are shown.
pub(super) trait Clock {
    /// A time in milliseconds since 1970-01-01T00:00:00Z.
    fn time(&self, unix_ms: i64) -> String;
    /// How long it is until then.
    fn until(&self, at: std::time::Instant) -> Duration;
}

/// What is worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Manner {
    /// Somebody reads along: each message is told to be accepted, delivered and read, and what the user says elsewhere
    /// is shown. In a pipe, the exit code says the one, and nobody wants the other.
    pub(super) interactive: bool,
}

/// Whether an entry changes a message, and is none itself.
pub(super) const fn is_change(entry: &LogMessage) -> bool {
    matches!(entry.content.subject, Subject::Edit { .. } | Subject::Recall { .. })
}

/// The last message of the user in a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LastOwn {
    /// There is none, as far as was shown.
    Nothing,
    /// It is at this place.
    At(u64),
    /// It has no place yet.
    Waits(String),
}

/// With whom the user talks, and what became of what was said.
#[derive(Debug)]
pub(super) struct Conversation {
    me: UserId,
    server: String,
    current: Recipient,
    style: Style,
    manner: Manner,
    unaccepted: Pending,
    /// Said here, so that it needs not be shown when it comes back.
    said_here: BTreeSet<MessageId>,
    /// The place of the oldest message shown of the current conversation; none if none was.
    oldest_shown: Option<u64>,
    /// The place of the newest message shown of the current conversation.
    newest_shown: u64,
    /// Why the connection was lost, as it was told last.
    loss_told: String,
    /// What the server cannot store for now, and why, as it was told last.
    delayed: Delayed,
    shown: Shown,
    /// What groups are called, as far as that was said here.
    names: BTreeMap<GroupId, String>,
    /// Who was told to be here or away last.
    presence_told: Option<(UserId, bool)>,
    /// Nothing of the current conversation was shown yet: what comes by itself is shown with what was said before, once
    /// that is here.
    is_beginning: bool,
    /// Of each conversation, this many entries of the past are in the store at the most; none if it has what was there.
    history_limit: Option<u32>,
    /// Messages of other conversations that came before are in the count of what is unread.
    caught_up: bool,
    /// Messages that were turned away.
    lost: usize,
    was_online: bool,
    /// The server has closed the connection, and only the user takes it up again.
    is_closed: bool,
    /// The user is leaving: there will be no next try.
    leaving: bool,
}

impl Conversation {
    pub(super) fn new(me: UserId, server: String, current: Recipient, style: Style, manner: Manner) -> Self {
        Self {
            me,
            server,
            current,
            style,
            manner,
            unaccepted: Pending::default(),
            said_here: BTreeSet::new(),
            oldest_shown: None,
            newest_shown: 0,
            loss_told: String::new(),
            delayed: Delayed::default(),
            shown: Shown::default(),
            names: BTreeMap::new(),
            presence_told: None,
            is_beginning: false,
            history_limit: None,
            caught_up: false,
            lost: 0,
            was_online: false,
            is_closed: false,
            leaving: false,
        }
    }

    pub(super) fn prompt(&self) -> String {
        format!("{}> ", self.label(&self.current))
    }

    pub(super) const fn current(&self) -> &Recipient {
        &self.current
    }

    pub(super) const fn was_online(&self) -> bool {
        self.was_online
    }

    /// Messages that were turned away.
    pub(super) const fn lost(&self) -> usize {
        self.lost
    }

    /// The place before which older messages of the current conversation are; 0 if none of it was shown.
    pub(super) fn oldest_shown(&self) -> u64 {
        self.oldest_shown.unwrap_or(0)
    }

    /// How far the current conversation was shown; 0 if nothing of it was.
    pub(super) const fn newest_shown(&self) -> u64 {
        self.newest_shown
    }

    /// Everything that was stored when the connection began has been told.
    pub(super) const fn has_caught_up(&self) -> bool {
        self.caught_up
    }

    /// What comes of the current conversation waits for what was said before. False: no longer.
    pub(super) const fn begin(&mut self, is_beginning: bool) {
        self.is_beginning = is_beginning;
    }

    /// What was said before is waited for.
    pub(super) const fn is_beginning(&self) -> bool {
        self.is_beginning
    }

    /// This device is new, and is told this many entries of each conversation.
    pub(super) const fn knows_latest(&mut self, entries: u32) {
        self.history_limit = Some(entries);
    }

    /// How far the other side of a conversation is, from before, and what a group is called.
    pub(super) fn known_before(&mut self, summary: &Summary) {
        if let Recipient::Group(group) = &summary.conversation {
            self.call(group, &summary.name);
        }
        // No news: the lines that follow have their ticks.
        let _ = self.shown.marked(&summary.conversation, summary.peer);
    }

    /// Unread messages of another conversation; none if there are none.
    pub(super) fn unread(&self, summary: &Summary) -> Option<Line> {
        let Summary { conversation, unread, .. } = summary;
        let (command, id) = match conversation {
            _ if *conversation == self.current || *unread == 0 => return None,
            Recipient::User(user) => ("/to", user.as_str()),
            Recipient::Group(group) => ("/group", group.as_str()),
        };
        let called = match conversation {
            Recipient::Group(group) => {
                let name = self.names.get(group).filter(|name| !name.is_empty());
                name.map(|name| format!(" ({name})")).unwrap_or_default()
            }
            Recipient::User(_) => String::new(),
        };
        let entries = summary.last_seq.saturating_sub(summary.own.read);
        let or_more = match self.history_limit {
            Some(limit) if entries > limit.into() => " or more",
            Some(_) | None => "",
        };
        Some(Line::Status(format!("{unread}{or_more} unread: {command} {}{called}", neutral(id))))
    }

    /// From now on, only the end of the connection is worth telling.
    pub(super) const fn leave(&mut self) {
        self.leaving = true;
    }

    /// Talks to somebody else from now on.
    pub(super) fn turn_to(&mut self, conversation: Recipient) -> Line {
        self.current = conversation;
        (self.oldest_shown, self.newest_shown) = (None, 0);
        self.is_beginning = false;
        let id = match &self.current {
            // To give to others.
            Recipient::Group(group) if self.names.get(group).is_some_and(|name| !name.is_empty()) => {
                format!(": group {}", neutral(group.as_str()))
            }
            Recipient::Group(_) | Recipient::User(_) => String::new(),
        };
        Line::Status(format!("talking to {}{id}", self.label(&self.current)))
    }

    /// Something was not taken.
    pub(super) fn refused(&mut self, what: &str, error: &dyn Error) -> Line {
        self.lost += 1;
        Line::Status(format!("not sent: {what}: {}", chain(error)))
    }

    /// Messages of the current conversation from before those that were shown.
    pub(super) fn history(&mut self, messages: &[Arc<LogMessage>], clock: &impl Clock) -> Vec<Line> {
        if let Some(first) = messages.first() {
            self.oldest_shown = Some(first.seq);
        }
        if let Some(last) = messages.last() {
            self.newest_shown = self.newest_shown.max(last.seq);
        }
        let current = self.current.clone();
        // What the group was called then is worth something only to who does not know what it is called now.
        let is_named = matches!(&current, Recipient::Group(group)
            if self.names.get(group).is_some_and(|name| !name.is_empty()));
        for message in messages {
            self.shown.add(&current, message);
            if !is_named {
                self.learn(&current, message);
            }
        }
        let mut lines = Vec::new();
        for message in messages {
            // Edits and recalls have changed what they are about; what was said here stands on the screen.
            if !self.said_here.remove(&message.id) && !is_change(message) {
                lines.push(self.line(&current, message, clock));
            }
        }
        lines
    }

    /// Messages of the current conversation with their numbers, by which they can be changed.
    pub(super) fn numbered(&self, messages: &[Arc<LogMessage>]) -> Vec<Line> {
        let messages = messages.iter().filter(|message| message.content.subject == Subject::Message);
        let line = |message: &Arc<LogMessage>| {
            let who = if message.own { "you" } else { message.from.as_str() };
            let what = match message.is_recalled {
                true => "(taken back)".to_owned(),
                false => quote(&message.content.text),
            };
            Line::Status(format!("#{} {}: {what}", message.seq, short(who, NAME_LIMIT_CHARS)))
        };
        messages.map(line).collect()
    }

    /// What the client says.
    pub(super) fn told(&mut self, event: Event, clock: &impl Clock) -> Vec<Line> {
        match event {
            Event::State(state) => self.state_changed(&state, clock),
            Event::Message { conversation, message, .. } => {
                self.heard(&conversation, &message, clock).into_iter().collect()
            }
            Event::Reset { conversation } => {
                if conversation == self.current {
                    (self.oldest_shown, self.newest_shown) = (None, 0);
                }
                self.shown.forget(&conversation);
                let name = self.label(&conversation);
                vec![Line::Status(format!("the server has lost messages with {name}; what it has follows"))]
            }
            Event::Delayed { id, text, .. } => self.delayed(id, &text).into_iter().collect(),
            Event::Accepted { id, place } => self.accepted(id, place.seq).into_iter().collect(),
            Event::Rejected { id, text, .. } => {
                self.lost += 1;
                self.said_here.remove(&id);
                let text = short(&text, REASON_LIMIT_CHARS);
                vec![Line::Status(match self.fate(id) {
                    Some((_, Submission { what, is_message: false }, _)) => {
                        format!("not done: {what}: {text}")
                    }
                    Some((_, Submission { what, is_message: true }, _)) => {
                        format!("not sent: {what}: the server does not take it: {text}")
                    }
                    None => format!("not sent: the server does not take it: {text}"),
                })]
            }
            Event::Named { conversation, name } => self.named(&conversation, &name).into_iter().collect(),
            Event::CaughtUp => {
                self.caught_up = true;
                Vec::new()
            }
            Event::Marked { conversation, own: false, marks, .. } => {
                let ticks = self.shown.marked(&conversation, marks);
                let ticks = ticks.filter(|_| self.manner.interactive && conversation == self.current);
                ticks.map(Line::Status).into_iter().collect()
            }
            Event::Typing { conversation, user, types: true }
                if conversation == self.current && self.manner.interactive =>
            {
                vec![Line::Status(format!("{user} is typing"))]
            }
            Event::Presence { user, online, last_seen_ms } => {
                self.presence(&user, online, last_seen_ms, clock).into_iter().collect()
            }
            Event::Notice { text } => {
                vec![Line::Status(format!("the server says: {}", short(&text, REASON_LIMIT_CHARS)))]
            }
            Event::Marked { .. }
            | Event::Typing { .. }
            | Event::Skipped { .. }
            | Event::Call { .. }
            | Event::Stalled => Vec::new(),
        }
    }

    /// Something has its place.
    fn accepted(&mut self, id: MessageId, seq: u64) -> Option<Line> {
        let (conversation, Submission { what, is_message }, told) = self.fate(id)?;
        let line = (self.manner.interactive || told).then(|| Line::Status(format!("{ACCEPTED} {what}")));
        if is_message {
            self.shown.said(&conversation, seq, what);
        }
        line
    }

    /// The other user of the current conversation has come or gone.
    fn presence(
        &mut self,
        user: &UserId,
        online: bool,
        last_seen_ms: Option<i64>,
        clock: &impl Clock,
    ) -> Option<Line> {
        let about_current = matches!(&self.current, Recipient::User(current) if current == user);
        // What is told again after a lost connection is no news.
        let news = self.presence_told.replace((user.clone(), online)) != Some((user.clone(), online));
        if !about_current || !news || !self.manner.interactive {
            return None;
        }
        let what = match (online, last_seen_ms) {
            (true, _) => "is online".to_owned(),
            (false, Some(at_ms)) => format!("is away, last seen {}", clock.time(at_ms)),
            // Nothing is told of who is a stranger, and who has said nothing to the other is one.
            (false, None) if self.newest_shown == 0 => return None,
            (false, None) => "is away".to_owned(),
        };
        Some(Line::Status(format!("{user} {what}")))
    }

    fn heard(&mut self, conversation: &Recipient, message: &LogMessage, clock: &impl Clock) -> Option<Line> {
        if *conversation == self.current {
            if self.is_beginning {
                return None;
            }
            self.oldest_shown.get_or_insert(message.seq);
            // It may have been shown as a part of the past, right after it was stored.
            if message.seq <= self.newest_shown {
                self.said_here.remove(&message.id);
                return None;
            }
            self.newest_shown = message.seq;
        }
        self.shown.add(conversation, message);
        // Of a message that was not shown, a change that was made meanwhile is no news.
        let is_news = self.shown.change(conversation, message).unwrap_or(self.caught_up);
        self.learn(conversation, message);
        if message.own && (self.said_here.remove(&message.id) || !self.manner.interactive) {
            return None;
        }
        if !is_news || (*conversation != self.current && !self.caught_up) {
            return None;
        }
        Some(self.line(conversation, message, clock))
    }

    fn line(&self, conversation: &Recipient, message: &LogMessage, clock: &impl Clock) -> Line {
        let time = clock.time(message.stored_at_ms);
        let who = || if message.own { "you".to_owned() } else { neutral(message.from.as_str()) };
        let happened = match &message.content.subject {
            Subject::Recall { target_seq } => {
                let what = self.shown.quote(conversation, *target_seq).unwrap_or("a message");
                Some(format!("{} took back {what}", who()))
            }
            Subject::Change(made) => {
                let done = change(made, |ms| clock.time(ms));
                let here = match (&**made, conversation) {
                    // Whoever was invited wants to go there.
                    (GroupChange::Invite(user), Recipient::Group(group)) if *user == self.me => {
                        format!(", you: /group {}", neutral(group.as_str()))
                    }
                    _ => String::new(),
                };
                Some(format!("{} {done}{here}", who()))
            }
            Subject::Message | Subject::Edit { .. } => None,
        };
        if let Some(happened) = happened {
            let place = match conversation == &self.current {
                true => String::new(),
                false => format!("[{}] ", self.label(conversation)),
            };
            return Line::Status(format!("{place}{happened}"));
        }
        let mut line = self.style.message(conversation, message, &self.current, &time);
        if message.own && matches!(conversation, Recipient::User(_)) {
            line.push(' ');
            line.push_str(self.shown.ticks(conversation, message.seq));
        }
        Line::Message(line)
    }
}
