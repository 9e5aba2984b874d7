//! What the user is told: from what a client says to lines. Knows no terminal, no socket and no clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    sync::Arc,
    time::Duration,
};

use switchboard_engine::{
    ClosedReason, GroupChange, GroupId, LogMessage, MessageId, Recipient, Subject, UserId,
};

use super::{
    shown::{ACCEPTED, Shown},
    text::{NAME_LIMIT_CHARS, Style, change, neutral, short},
};
use crate::client::{Event, State, Summary, name_given_by};

/// Groups whose names are remembered.
const NAMES_LIMIT: usize = 1_000;
/// An id of a group is cut to so many characters where a whole one is not needed.
const ID_LIMIT_CHARS: usize = 12;

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

    /// A conversation in a few words: a group by its name, if that is known.
    fn label(&self, conversation: &Recipient) -> String {
        match conversation {
            Recipient::User(user) => neutral(user.as_str()),
            Recipient::Group(group) => match self.names.get(group).filter(|name| !name.is_empty()) {
                Some(name) => name.clone(),
                None => format!("group {}", short(group.as_str(), ID_LIMIT_CHARS)),
            },
        }
    }

    /// What a group is called from now on.
    pub(super) fn call(&mut self, group: &GroupId, name: &str) {
        if self.names.len() < NAMES_LIMIT || self.names.contains_key(group) {
            self.names.insert(group.clone(), short(name, NAME_LIMIT_CHARS));
        }
    }

    /// The group that the user means: the one with this id or, of those that were heard of here, the only one with
    /// this name, or whose id begins so.
    pub(super) fn group(&self, group: GroupId) -> GroupId {
        if self.names.contains_key(&group) {
            return group;
        }
        let only = |fits: &dyn Fn(&GroupId, &String) -> bool| {
            let mut fitting = self.names.iter().filter(|(id, name)| fits(id, name)).map(|(id, _)| id);
            fitting.next().filter(|_| fitting.next().is_none()).cloned()
        };
        only(&|_, name| name == group.as_str())
            .or_else(|| only(&|id, _| id.as_str().starts_with(group.as_str())))
            .unwrap_or(group)
    }

    /// Learns what groups are called.
    fn learn(&mut self, conversation: &Recipient, message: &LogMessage) {
        let Recipient::Group(group) = conversation else { return };
        match name_given_by(message) {
            Some(name) => self.call(group, name),
            None if !self.names.contains_key(group) => self.call(group, ""),
            None => {}
        }
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

    /// The server says what a group is called. Whoever talks there under its id is told.
    fn named(&mut self, conversation: &Recipient, name: &str) -> Option<Line> {
        let Recipient::Group(group) = conversation else { return None };
        let is_news = !self.names.get(group).is_some_and(|known| !known.is_empty());
        self.call(group, name);
        let about_current = is_news && *conversation == self.current && self.manner.interactive;
        about_current.then(|| Line::Status(format!("this group is \"{}\"", self.label(conversation))))
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

    fn state_changed(&mut self, state: &State, clock: &impl Clock) -> Vec<Line> {
        let text = match state {
            State::Connecting { .. } | State::Waiting { .. } if self.leaving => return Vec::new(),
            State::Connecting { failures: 0 } => format!("connecting to {}", self.server),
            // When the next try would come was told.
            State::Connecting { .. } | State::Greeting | State::Closing => return Vec::new(),
            State::CatchingUp => {
                self.was_online = true;
                self.loss_told.clear();
                return Vec::new();
            }
            // What was missed stands above this line.
            State::Online => {
                self.was_online = true;
                self.loss_told.clear();
                format!("online as {}", self.me)
            }
            State::Waiting { until, cause, error, .. } => {
                let cause = error.as_ref().map_or_else(|| cause.to_string(), |error| chain(error));
                // The same again every few seconds would bury the conversation.
                if self.loss_told == cause {
                    return self.tell_unaccepted().into_iter().collect();
                }
                self.loss_told.clone_from(&cause);
                format!("offline: {cause}; next try in {}", seconds(clock.until(*until)))
            }
            State::Closed(ClosedReason::TakenOver) => {
                "taken over: a newer connection of the same user took this one's place".to_owned()
            }
            State::Closed(ClosedReason::TooManyDevices) => {
                "closed: the user has too many connections, and this was the oldest".to_owned()
            }
            State::Closed(ClosedReason::Dismissed) => {
                "closed: the server asks not to be dialled again".to_owned()
            }
            State::Closed(ClosedReason::Application | ClosedReason::NotStarted) => "closed".to_owned(),
            State::Failed(error) => chain(error),
        };
        let mut lines = vec![Line::Status(text)];
        lines.extend(match state {
            State::Waiting { .. }
            | State::Closed(
                ClosedReason::TakenOver | ClosedReason::TooManyDevices | ClosedReason::Dismissed,
            ) => self.tell_unaccepted(),
            State::Closed(ClosedReason::Application | ClosedReason::NotStarted)
            | State::Connecting { .. }
            | State::Greeting
            | State::CatchingUp
            | State::Online
            | State::Closing
            | State::Failed(_) => None,
        });
        lines
    }

    /// Of what waits because the connection was lost, the user has not been told yet.
    fn tell_unaccepted(&mut self) -> Option<Line> {
        let mut untold = self.unaccepted.values_mut().filter(|message| !message.told);
        let first = untold.next()?;
        first.told = true;
        let others = untold.map(|message| message.told = true).count();
        let quote = &first.quote;
        Some(Line::Status(match others {
            0 => format!("waiting for the connection: {quote}"),
            _ => format!("waiting for the connection: {quote} and {others} more"),
        }))
    }

    /// Who, with whom, and how.
    pub(super) fn who_am_i(&self, state: &State, clock: &impl Clock) -> Line {
        let state = match state {
            State::Online => "online".to_owned(),
            State::CatchingUp => "online, fetching what was missed".to_owned(),
            State::Connecting { .. } | State::Greeting => "connecting".to_owned(),
            State::Closing => "closing".to_owned(),
            State::Closed(_) | State::Failed(_) => "closed".to_owned(),
            State::Waiting { until, .. } => {
                format!("offline, next try in {}", seconds(clock.until(*until)))
            }
        };
        let Self { me, server, current, unaccepted, .. } = self;
        let waiting = match unaccepted.len() {
            0 => String::new(),
            count => format!("; not sent yet: {count}"),
        };
        Line::Status(format!("you are {me}, talking to {}; {server}: {state}{waiting}", self.label(current)))
    }
}

/// An error with its causes, on one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// Whole seconds, rounded up.
fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_millis().div_ceil(1000).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;
    use switchboard_engine::{Content, LossCause, Marks, Place, RejectReason};

    struct NoClock(Instant);

    impl Clock for NoClock {
        fn time(&self, _: i64) -> String {
            String::new()
        }

        fn until(&self, at: Instant) -> Duration {
            at - self.0
        }
    }

    struct Talk {
        conversation: Conversation,
        clock: NoClock,
    }

    fn user(id: &str) -> Recipient {
        Recipient::User(UserId::new(id).unwrap())
    }

    fn talk(manner: Manner) -> Talk {
        let style = Style { colours: false, times: false };
        let me = UserId::new("alice").unwrap();
        let conversation = Conversation::new(me, "ws://h:1".to_owned(), user("bob"), style, manner);
        Talk { conversation, clock: NoClock(Instant::now()) }
    }

    const TERMINAL: Manner = Manner { interactive: true };
    const PIPE: Manner = Manner { interactive: false };
    const ID: MessageId = MessageId([1; 16]);

    impl Talk {
        fn told(&mut self, event: Event) -> Vec<String> {
            self.conversation.told(event, &self.clock).into_iter().map(text).collect()
        }

        fn waiting(&self) -> Event {
            let until = self.clock.0 + Duration::from_millis(2_100);
            Event::State(State::Waiting { until, failures: 1, cause: LossCause::Broken, error: None })
        }

        fn says(&mut self, conversation: &Recipient, id: MessageId, from: &str) -> Vec<String> {
            let from = UserId::new(from).unwrap();
            let own = from.as_str() == "alice";
            let seq = id.0[0].into();
            let message = LogMessage {
                seq,
                id,
                from,
                content: Content::text("hi"),
                stored_at_ms: 0,
                own,
                changed_seq: 0,
                is_recalled: false,
            };
            let conversation = conversation.clone();
            self.told(Event::Message { conversation, epoch: 1, message: Arc::new(message) })
        }
    }

    fn text(line: Line) -> String {
        match line {
            Line::Message(text) | Line::Status(text) => text,
        }
    }

    fn accepted() -> Event {
        Event::Accepted { id: ID, place: Place { epoch: 1, seq: 1, stored_at_ms: 0 } }
    }

    #[test]
    fn a_message_typed_offline_is_told_to_wait_and_ticked_when_the_server_has_it() {
        for manner in [TERMINAL, PIPE] {
            let mut talk = talk(manner);
            let line = talk.conversation.taken(ID, "\"hi\"", true).unwrap();
            assert_eq!(text(line), "waiting for the connection: \"hi\"");
            assert!(talk.told(Event::State(State::CatchingUp)).is_empty());
            assert!(talk.conversation.was_online());
            assert_eq!(talk.told(Event::State(State::Online)), ["online as alice"]);
            assert_eq!(talk.told(accepted()), ["✓ \"hi\""]);
            assert_eq!((talk.conversation.unaccepted(), talk.conversation.lost()), (0, 0));
        }
    }

    #[test]
    fn in_a_pipe_nothing_is_told_of_a_message_that_goes_out_at_once() {
        let mut talk = talk(PIPE);
        assert_eq!(talk.conversation.taken(ID, "\"hi\"", false), None);
        assert!(talk.told(accepted()).is_empty());
        assert!(talk.says(&user("bob"), ID, "alice").is_empty());
        assert_eq!(talk.says(&user("bob"), MessageId([2; 16]), "bob"), ["bob: hi"]);
    }

    #[test]
    fn messages_caught_by_a_lost_connection_are_told_once() {
        let mut talk = talk(TERMINAL);
        for id in 1..=3 {
            assert_eq!(talk.conversation.taken(MessageId([id; 16]), "\"hi\"", false), None);
        }
        let offline = "offline: the connection broke; next try in 3 s";
        let waiting = talk.waiting();
        assert_eq!(talk.told(waiting.clone()), [offline, "waiting for the connection: \"hi\" and 2 more"]);
        assert!(talk.told(waiting).is_empty());
        assert_eq!(talk.told(accepted()), ["✓ \"hi\""]);
    }

    #[test]
    fn what_is_turned_away_is_told_with_the_reason_and_counted() {
        let mut talk = talk(TERMINAL);
        talk.conversation.taken(ID, "\"hi\"", false);
        let reason = RejectReason::NoSuchConversation;
        let rejected = Event::Rejected { id: ID, reason, text: "no such group".into() };
        assert_eq!(talk.told(rejected), ["not sent: \"hi\": the server does not take it: no such group"]);
        assert_eq!((talk.conversation.unaccepted(), talk.conversation.lost()), (0, 1));
    }

    #[test]
    fn what_was_said_here_is_not_shown_again_and_what_was_said_elsewhere_is() {
        let mut talk = talk(TERMINAL);
        talk.told(Event::CaughtUp);
        talk.conversation.taken(ID, "\"hi\"", false);
        assert!(talk.says(&user("bob"), ID, "alice").is_empty());
        assert_eq!(talk.says(&user("bob"), MessageId([2; 16]), "alice"), ["you: hi ✓"]);
        assert_eq!(talk.says(&user("carol"), MessageId([3; 16]), "alice"), ["[to carol] you: hi ✓"]);
    }

    #[test]
    fn what_was_shown_as_the_past_is_not_shown_again() {
        let mut talk = talk(TERMINAL);
        let from = UserId::new("bob").unwrap();
        let content = Content::text("hi");
        let message = LogMessage {
            seq: 2,
            id: ID,
            from,
            content,
            stored_at_ms: 0,
            own: false,
            changed_seq: 0,
            is_recalled: false,
        };
        assert_eq!(talk.conversation.history(&[Arc::new(message)], &talk.clock).len(), 1);
        assert_eq!(talk.conversation.oldest_shown(), 2);
        assert!(talk.says(&user("bob"), MessageId([2; 16]), "bob").is_empty());
        assert_eq!(talk.says(&user("bob"), MessageId([3; 16]), "bob"), ["bob: hi"]);
    }

    #[test]
    fn what_was_missed_elsewhere_is_counted_by_the_store_until_everything_was_told() {
        let mut talk = talk(TERMINAL);
        assert_eq!(talk.says(&user("bob"), ID, "bob"), ["bob: hi"]);
        assert!(talk.says(&user("carol"), ID, "carol").is_empty());
        let summary = |conversation, unread| Summary {
            conversation,
            name: "".into(),
            epoch: 1,
            last_seq: 9,
            own: Marks::default(),
            peer: Marks::default(),
            unread,
        };
        let unread = |talk: &Talk, summary| talk.conversation.unread(&summary).map(text);
        assert_eq!(unread(&talk, summary(user("carol"), 2)).unwrap(), "2 unread: /to carol");
        assert_eq!(unread(&talk, summary(user("carol"), 0)), None);
        assert_eq!(unread(&talk, summary(user("bob"), 2)), None);
        talk.told(Event::CaughtUp);
        assert_eq!(talk.says(&user("carol"), MessageId([3; 16]), "carol"), ["[to you] carol: hi"]);
    }

    #[test]
    fn a_group_is_called_by_its_name_once_that_is_known() {
        let mut talk = talk(TERMINAL);
        let group = GroupId::new("1d9e1f5c-46a1-454b-9d23-f4d29627f595").unwrap();
        let lunch = GroupId::new("lunch").unwrap();
        talk.conversation.turn_to(Recipient::Group(group.clone()));
        assert_eq!(talk.conversation.prompt(), "group 1d9e1f5c-46a…> ");
        assert_eq!(talk.conversation.group(lunch.clone()), lunch);
        let change = GroupChange::Create { name: "lunch".into(), invite_only: true };
        let message = LogMessage {
            seq: 1,
            id: ID,
            from: UserId::new("bob").unwrap(),
            content: Content::change(change),
            stored_at_ms: 0,
            own: false,
            changed_seq: 0,
            is_recalled: false,
        };
        let conversation = Recipient::Group(group.clone());
        let told = talk.told(Event::Message { conversation, epoch: 1, message: Arc::new(message) });
        assert_eq!(told, ["bob created the group \"lunch\""]);
        assert_eq!(talk.conversation.prompt(), "lunch> ");
        assert_eq!(talk.conversation.group(lunch), group);
        assert_eq!(talk.conversation.group(GroupId::new("1d9e").unwrap()), group);
    }

    #[test]
    fn whoever_was_invited_learns_what_the_group_is_called() {
        let mut talk = talk(TERMINAL);
        let group = GroupId::new("1d9e1f5c-46a1-454b-9d23-f4d29627f595").unwrap();
        let conversation = Recipient::Group(group.clone());
        talk.conversation.turn_to(conversation.clone());
        let named = || Event::Named { conversation: conversation.clone(), name: "lunch".into() };
        assert_eq!(talk.told(named()), ["this group is \"lunch\""]);
        assert_eq!(talk.conversation.prompt(), "lunch> ");
        assert!(talk.told(named()).is_empty());
        // What it was called long ago does not matter.
        let change = GroupChange::Create { name: "breakfast".into(), invite_only: true };
        let content = Content::change(change);
        let from = UserId::new("bob").unwrap();
        let message = LogMessage {
            seq: 1,
            id: ID,
            from,
            content,
            stored_at_ms: 0,
            own: false,
            changed_seq: 0,
            is_recalled: false,
        };
        talk.conversation.history(&[Arc::new(message)], &talk.clock);
        assert_eq!(talk.conversation.prompt(), "lunch> ");
        let summary = Summary {
            conversation,
            name: "dinner".into(),
            epoch: 1,
            last_seq: 9,
            own: Marks::default(),
            peer: Marks::default(),
            unread: 2,
        };
        talk.conversation.known_before(&summary);
        assert_eq!(talk.conversation.prompt(), "dinner> ");
    }

    #[test]
    fn whether_the_other_one_is_here_is_told_when_it_changes() {
        let mut talk = talk(TERMINAL);
        let presence = |name: &str, online, last_seen_ms| Event::Presence {
            user: UserId::new(name).unwrap(),
            online,
            last_seen_ms,
        };
        assert_eq!(talk.told(presence("bob", false, None)), ["bob is away"]);
        assert_eq!(talk.told(presence("bob", true, None)), ["bob is online"]);
        assert!(talk.told(presence("bob", true, None)).is_empty());
        assert_eq!(talk.told(presence("bob", false, Some(7))), ["bob is away, last seen "]);
        assert!(talk.told(presence("carol", true, None)).is_empty());
    }

    #[test]
    fn ticks_tell_what_has_arrived_and_what_was_read_once() {
        let mut talk = talk(TERMINAL);
        let marked = |delivered, read| Event::Marked {
            conversation: user("bob"),
            epoch: 1,
            own: false,
            marks: Marks { delivered, read },
        };
        for id in 1..=2 {
            talk.conversation.taken(MessageId([id; 16]), "\"hi\"", false);
            talk.says(&user("bob"), MessageId([id; 16]), "alice");
        }
        assert_eq!(talk.told(marked(2, 0)), ["✓✓ \"hi\""]);
        assert_eq!(talk.told(marked(2, 1)), ["✓✓ read \"hi\""]);
        assert!(talk.told(marked(2, 1)).is_empty());
        assert_eq!(talk.told(marked(3, 3)), ["✓✓ read \"hi\""]);
        assert!(talk.told(marked(4, 4)).is_empty(), "nothing of alice's is there");
        let types =
            |types| Event::Typing { conversation: user("bob"), user: UserId::new("bob").unwrap(), types };
        assert_eq!(talk.told(types(true)), ["bob is typing"]);
        assert!(talk.told(types(false)).is_empty());
    }

    #[test]
    fn what_was_taken_back_is_named_and_the_last_own_message_is_known() {
        let mut talk = talk(TERMINAL);
        talk.told(Event::CaughtUp);
        assert_eq!(talk.conversation.last_own(), None);
        talk.says(&user("bob"), MessageId([1; 16]), "alice");
        talk.says(&user("bob"), MessageId([2; 16]), "bob");
        talk.says(&user("carol"), MessageId([3; 16]), "alice");
        assert_eq!(talk.conversation.last_own(), Some(1));
        let recall = |seq, target, from| LogMessage {
            seq,
            id: ID,
            from: UserId::new(from).unwrap(),
            content: Content::recall(target),
            stored_at_ms: 0,
            own: false,
            changed_seq: 0,
            is_recalled: false,
        };
        let mut told = |conversation, message| {
            talk.told(Event::Message { conversation, epoch: 1, message: Arc::new(message) })
        };
        assert_eq!(told(user("bob"), recall(4, 2, "bob")), ["bob took back \"hi\""]);
        assert_eq!(told(user("eve"), recall(4, 2, "eve")), ["[eve] eve took back a message"]);
    }

    #[test]
    fn no_next_try_is_announced_to_whoever_leaves() {
        let mut talk = talk(TERMINAL);
        talk.conversation.leave();
        let waiting = talk.waiting();
        assert!(talk.told(waiting).is_empty());
        let closed = Event::State(State::Closed(ClosedReason::Application));
        assert_eq!(talk.told(closed), ["closed"]);
    }
}
