//! What the user can do: from commands to what is asked of the client.

use std::sync::Arc;

use tokio::time::Instant;

use switchboard_engine::{
    ClosedReason, Content, FetchError, GroupChange, LogMessage, Recipient, SubmitError as Refused,
};

use super::{
    Chat, ChatError, HISTORY_MESSAGES, SUMMARY_LIMIT, TYPING_TIMEOUT, Wanted,
    command::{self, Command},
    conversation::{Clock as _, LastOwn, Line, Submission},
    past::{Patience, past},
    terminal::LocalTime,
    text,
};
use crate::client::{OlderError, State, SubmitError, Submitted};

impl Chat {
    /// Does what a line asks for.
    pub(super) async fn command(&mut self, command: Command) -> Result<(), ChatError> {
        match command {
            Command::Nothing | Command::Quit => {}
            Command::Say(text) => self.say(text).await?,
            Command::Help => {
                for line in command::HELP {
                    self.show(Line::Status(line.to_owned())).await?;
                }
            }
            Command::WhoAmI => {
                let line = self.conversation.who_am_i(&self.client.state(), &LocalTime);
                self.show(line).await?;
            }
            // A client that has ended tells so by its events.
            Command::Connect => self.client.connect().await.unwrap_or_default(),
            // What was said before is on its way.
            Command::More | Command::Numbers if self.gathers() => {}
            Command::More => self.fetch(Wanted::More),
            Command::Numbers => self.fetch(Wanted::Numbers),
            Command::Groups => self.groups().await?,
            Command::To(user) => self.turn_to(Recipient::User(user)).await?,
            Command::Group(group) => {
                let group = self.conversation.group(group);
                self.turn_to(Recipient::Group(group)).await?;
            }
            Command::Edit(seq, text) => self.of_message(seq, |seq| Content::edit(seq, &text)).await?,
            Command::Recall(seq) => self.of_message(seq, Content::recall).await?,
            Command::Create { name, invite_only } => self.create(&name, invite_only).await?,
            Command::Join(group) => {
                self.turn_to(Recipient::Group(group)).await?;
                self.change(GroupChange::Join).await?;
            }
            Command::Change(change) => self.change(change).await?,
            Command::Mute(user, 0) => self.change(GroupChange::Mute(user, 0)).await?,
            Command::Mute(user, minutes) => {
                let until_ms = jiff::Timestamp::now().as_millisecond() + i64::from(minutes) * 60_000;
                self.change(GroupChange::Mute(user, until_ms)).await?;
            }
            Command::Wrong(why) => self.show(Line::Status(why)).await?,
        }
        Ok(self.output.prompt(self.conversation.prompt()).await?)
    }

    /// The user has pressed a key, or has pressed none for a while or removed what was typed.
    pub(super) async fn types(&mut self, types: bool) {
        let news = types != self.typing_until.is_some();
        self.typing_until = types.then(|| Instant::now() + TYPING_TIMEOUT);
        if news {
            // A client that has ended tells so by its events.
            let _ = self.client.typing(self.conversation.current().clone(), types).await;
        }
    }

    async fn turn_to(&mut self, conversation: Recipient) -> Result<(), ChatError> {
        self.types(false).await;
        self.read = 0;
        let line = self.conversation.turn_to(conversation);
        self.show(line).await?;
        self.watch().await;
        self.fetch(Wanted::Turned);
        Ok(())
    }

    /// Wants older messages of the current conversation. What was wanted before is not.
    pub(super) fn fetch(&mut self, wanted: Wanted) {
        if let Some((_, earlier)) = self.older.take() {
            earlier.abort();
        }
        let patience = match wanted {
            Wanted::Beginning | Wanted::Turned | Wanted::Numbers => Patience::Short,
            Wanted::More => Patience::Endless,
        };
        let count = if self.history == 0 { HISTORY_MESSAGES } else { self.history };
        let conversation = self.conversation.current().clone();
        let before = if wanted == Wanted::Numbers { 0 } else { self.conversation.oldest_shown() };
        let past = past(self.client.clone(), conversation, before, count, patience);
        self.older = Some((wanted, tokio::spawn(past)));
    }

    /// Older messages have come.
    pub(super) async fn fetched(
        &mut self,
        wanted: Wanted,
        fetched: Result<Vec<Arc<LogMessage>>, OlderError>,
    ) -> Result<(), ChatError> {
        self.conversation.begin(false);
        let nothing = match fetched {
            Ok(messages) if wanted == Wanted::Numbers => {
                for line in self.conversation.numbered(&messages) {
                    self.show(line).await?;
                }
                messages.is_empty().then(|| "nothing was said here yet".to_owned())
            }
            Ok(messages) if !messages.is_empty() => {
                self.show_history(&messages).await?;
                None
            }
            Ok(_) if wanted != Wanted::More => None,
            Ok(_) | Err(OlderError::Refused(FetchError::NothingOlder)) => {
                Some("this is the beginning".to_owned())
            }
            Err(OlderError::NoSuchConversation) if wanted == Wanted::Beginning => None,
            Err(OlderError::NoSuchConversation) => Some("nothing was said here yet".to_owned()),
            Err(error) => Some(format!("no older messages: {error}")),
        };
        if let Some(nothing) = nothing {
            self.show(Line::Status(nothing)).await?;
        }
        if wanted == Wanted::Beginning && self.terminal.is_some() {
            self.show_unread().await?;
        }
        Ok(())
    }

    /// Sends a text. In a pipe, one that finds no room is held until there is some; nothing is read meanwhile.
    pub(super) async fn say(&mut self, text: String) -> Result<(), ChatError> {
        // The message itself says that the user types no more.
        self.typing_until = None;
        match self.client.submit(self.conversation.current().clone(), Content::text(&text)).await {
            Err(SubmitError::Refused(Refused::QueueFull)) if self.terminal.is_none() => {
                self.held = Some(text);
                Ok(())
            }
            submitted => {
                let submission = Submission { what: text::quote(&text), is_message: true };
                self.submitted(submission, submitted).await
            }
        }
    }

    /// Submits something that is no message to the current conversation.
    async fn submit(&mut self, content: Content) -> Result<(), ChatError> {
        let submission = Submission::new(&text::describe(&content, |ms| LocalTime.time(ms)), &content);
        let submitted = self.client.submit(self.conversation.current().clone(), content).await;
        self.submitted(submission, submitted).await
    }

    /// Changes the message at a place; without one, the last message that was said here.
    async fn of_message(
        &mut self,
        seq: Option<u64>,
        change: impl FnOnce(u64) -> Content,
    ) -> Result<(), ChatError> {
        let why = match seq.map_or_else(|| self.conversation.last_own(), LastOwn::At) {
            LastOwn::At(seq) => return self.submit(change(seq)).await,
            LastOwn::Waits(quote) => format!("{quote} is not sent yet: wait for its ✓, and try again"),
            LastOwn::Nothing => "you have said nothing here that could be changed".to_owned(),
        };
        self.show(Line::Status(why)).await
    }

    async fn change(&mut self, change: GroupChange) -> Result<(), ChatError> {
        match self.conversation.current() {
            Recipient::Group(_) => self.submit(Content::change(change)).await,
            Recipient::User(_) => {
                self.show(Line::Status("you are not talking to a group: /group GROUP first".to_owned())).await
            }
        }
    }

    /// The groups that this client knows of and that the user is a member of.
    async fn groups(&mut self) -> Result<(), ChatError> {
        let mut is_none = true;
        for summary in self.client.conversations(SUMMARY_LIMIT).await? {
            // The log ends with the leaving of whoever has left.
            let last = self.client.messages(summary.conversation.clone(), 0, 1).await?;
            if let Some(line) = self.conversation.group_line(&summary, last.last().map(|last| &**last)) {
                self.show(line).await?;
                is_none = false;
            }
        }
        let nothing = || Line::Status("you are in no group, as far as this chat has heard".to_owned());
        if is_none { self.show(nothing()).await } else { Ok(()) }
    }

    async fn create(&mut self, name: &str, invite_only: bool) -> Result<(), ChatError> {
        let what = format!("created the group {}", text::quote(name));
        let submission = Submission { what, is_message: false };
        match self.client.create_group(name, invite_only).await {
            Ok((group, submitted)) => {
                self.conversation.call(&group, name);
                let line = self.conversation.turn_to(Recipient::Group(group));
                self.show(line).await?;
                self.submitted(submission, Ok(submitted)).await
            }
            Err(error) => self.submitted(submission, Err(error)).await,
        }
    }

    async fn submitted(
        &mut self,
        submission: Submission,
        submitted: Result<Submitted, SubmitError>,
    ) -> Result<(), ChatError> {
        let line = match submitted {
            Ok(submitted) => {
                let waits = match self.client.state() {
                    State::CatchingUp
                    | State::Online
                    | State::Greeting
                    | State::Closing
                    | State::Closed(ClosedReason::NotStarted) => false,
                    // The first attempt is under way: most likely there is nothing to tell.
                    State::Connecting { failures } => failures > 0,
                    State::Waiting { .. } | State::Closed(_) | State::Failed(_) => true,
                };
                self.conversation.taken(submitted.id(), submission, waits)
            }
            Err(error) => Some(self.conversation.refused(&submission.what, &error)),
        };
        match line {
            Some(line) => self.show(line).await,
            None => Ok(()),
        }
    }
}
