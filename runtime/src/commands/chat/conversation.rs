//! What the user is told: from what a client says to lines. Knows no terminal, no socket and no clock.

mod connection;
mod names;
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
    text::{Style, change, neutral},
};
use crate::client::{Event, Summary};

use connection::chain;

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

/// A message without a fate.
#[derive(Debug)]
struct Unaccepted {
    quote: String,
    /// The user was told that it waits.
    told: bool,
}

/// With whom the user talks, and what became of what was said.
#[derive(Debug)]
pub(super) struct Conversation {
    me: UserId,
    server: String,
    current: Recipient,
    style: Style,
    manner: Manner,
    unaccepted: BTreeMap<MessageId, Unaccepted>,
    /// Said here, so that it needs not be shown when it comes back.
    said_here: BTreeSet<MessageId>,
    /// The place of the oldest message shown of the current conversation; none if none was.
    oldest_shown: Option<u64>,
    /// The place of the newest message shown of the current conversation.
    newest_shown: u64,
    /// Why the connection was lost, as it was told last.
    loss_told: String,
    shown: Shown,
    /// What groups are called, as far as that was said here.
    names: BTreeMap<GroupId, String>,
    /// Who was told to be here or away last.
    presence_told: Option<(UserId, bool)>,
    /// Messages of other conversations that came before are in the count of what is unread.
    caught_up: bool,
    /// Messages that were turned away.
    lost: usize,
    was_online: bool,
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
            unaccepted: BTreeMap::new(),
            said_here: BTreeSet::new(),
            oldest_shown: None,
            newest_shown: 0,
            loss_told: String::new(),
            shown: Shown::default(),
            names: BTreeMap::new(),
            presence_told: None,
            caught_up: false,
            lost: 0,
            was_online: false,
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

    /// What has no fate, for a person to read; none if there is nothing.
    pub(super) fn left_behind(&self) -> Option<String> {
        let quote = &self.unaccepted.values().next()?.quote;
        Some(match self.unaccepted.len() {
            1 => quote.clone(),
            count => format!("{quote} and {} more", count - 1),
        })
    }

    /// Messages said here, or by an earlier client of the store, without a fate.
    pub(super) fn unaccepted(&self) -> usize {
        self.unaccepted.len()
    }

    /// The place before which older messages of the current conversation are; 0 if none of it was shown.
    pub(super) fn oldest_shown(&self) -> u64 {
        self.oldest_shown.unwrap_or(0)
    }

    /// How far the current conversation was shown; 0 if nothing of it was.
    pub(super) const fn newest_shown(&self) -> u64 {
        self.newest_shown
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
        Some(Line::Status(format!("{unread} unread: {command} {}{called}", neutral(id))))
    }

    /// From now on, only the end of the connection is worth telling.
    pub(super) const fn leave(&mut self) {
        self.leaving = true;
    }

    /// Talks to somebody else from now on.
    pub(super) fn turn_to(&mut self, conversation: Recipient) -> Line {
        self.current = conversation;
        (self.oldest_shown, self.newest_shown) = (None, 0);
        let id = match &self.current {
            // To give to others.
            Recipient::Group(group) if self.names.get(group).is_some_and(|name| !name.is_empty()) => {
                format!(": group {}", neutral(group.as_str()))
            }
            Recipient::Group(_) | Recipient::User(_) => String::new(),
        };
        Line::Status(format!("talking to {}{id}", self.label(&self.current)))
    }

    /// Something was taken: it is pending. `waits` if there is no connection to send it over.
    pub(super) fn taken(&mut self, id: MessageId, what: &str, waits: bool) -> Option<Line> {
        self.unaccepted.insert(id, Unaccepted { quote: what.to_owned(), told: waits });
        self.said_here.insert(id);
        waits.then(|| Line::Status(format!("waiting for the connection: {what}")))
    }

    /// Something that an earlier client has left in the store.
    pub(super) fn left_over(&mut self, id: MessageId, what: &str) -> Line {
        self.unaccepted.insert(id, Unaccepted { quote: what.to_owned(), told: true });
        Line::Status(format!("waiting for the connection: {what}"))
    }

    /// Something was not taken.
    pub(super) fn refused(&mut self, what: &str, error: &dyn Error) -> Line {
        self.lost += 1;
        Line::Status(format!("not sent: {what}: {}", chain(error)))
    }

    /// The place of the last message that the user has said in the current conversation, as far as it was shown.
    pub(super) fn last_own(&self) -> Option<u64> {
        self.shown.last_own(&self.current, u64::MAX)
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
        // Edits and recalls have changed what they are about.
        let shown = messages.iter().filter(|message| {
            !matches!(message.content.subject, Subject::Edit { .. } | Subject::Recall { .. })
        });
        shown.map(|message| self.line(&current, message, clock)).collect()
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
                let name = self.label(&conversation);
                vec![Line::Status(format!("the server has lost messages with {name}; what it has follows"))]
            }
            Event::Accepted { id, .. } => match self.unaccepted.remove(&id) {
                Some(Unaccepted { quote, told }) if self.manner.interactive || told => {
                    vec![Line::Status(format!("{ACCEPTED} {quote}"))]
                }
                Some(_) | None => Vec::new(),
            },
            Event::Rejected { id, text, .. } => {
                self.lost += 1;
                self.said_here.remove(&id);
                let quote = self.unaccepted.remove(&id).map_or_else(String::new, |message| message.quote);
                vec![Line::Status(format!("not sent: {quote}: the server does not take it: {text}"))]
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
            Event::Marked { .. }
            | Event::Typing { .. }
            | Event::Skipped { .. }
            | Event::Call { .. }
            | Event::Stalled => Vec::new(),
        }
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
            (false, None) => "is away".to_owned(),
        };
        Some(Line::Status(format!("{user} {what}")))
    }

    fn heard(&mut self, conversation: &Recipient, message: &LogMessage, clock: &impl Clock) -> Option<Line> {
        if *conversation == self.current {
            self.oldest_shown.get_or_insert(message.seq);
            // It may have been shown as a part of the past, right after it was stored.
            if message.seq <= self.newest_shown {
                self.said_here.remove(&message.id);
                return None;
            }
            self.newest_shown = message.seq;
        }
        self.shown.add(conversation, message);
        self.learn(conversation, message);
        if message.own && (self.said_here.remove(&message.id) || !self.manner.interactive) {
            return None;
        }
        if *conversation != self.current && !self.caught_up {
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
