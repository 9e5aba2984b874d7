//! What the user can do: from commands to what is asked of the client.

use std::sync::Arc;

use tokio::time::Instant;

use switchboard_engine::{
    ClosedReason, Content, FetchError, GroupChange, LogMessage, Recipient, SubmitError as Refused,
};

use super::{
    Chat, ChatError, HISTORY_MESSAGES, TYPING_TIMEOUT,
    conversation::{Clock as _, Line},
    input::{self, Command},
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
                for line in input::HELP {
                    self.show(Line::Status(line.to_owned())).await?;
                }
            }
            Command::WhoAmI => {
                let line = self.conversation.who_am_i(&self.client.state(), &LocalTime);
                self.show(line).await?;
            }
            // A client that has ended tells so by its events.
            Command::Connect => self.client.connect().await.unwrap_or_default(),
            Command::More => self.more().await?,
            Command::To(user) => self.turn_to(Recipient::User(user)).await?,
            Command::Group(group) => {
                let group = self.conversation.group(group);
                self.turn_to(Recipient::Group(group)).await?;
            }
            Command::Edit(text) => self.of_last(|seq| Content::edit(seq, &text)).await?,
            Command::Recall => self.of_last(Content::recall).await?,
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
        let line = self.conversation.turn_to(conversation.clone());
        self.show(line).await?;
        self.watch().await;
        let messages = self.client.messages(conversation, 0, self.history).await?;
        self.show_history(&messages).await?;
        if messages.is_empty() && self.client.state().is_connected() { self.more().await } else { Ok(()) }
    }

    /// Shows older messages: those of the store, or else the server's, once they come.
    async fn more(&mut self) -> Result<(), ChatError> {
        let (conversation, before) = (self.conversation.current().clone(), self.conversation.oldest_shown());
        let count = if self.history == 0 { HISTORY_MESSAGES } else { self.history };
        let messages = match before {
            0 => Vec::new(),
            before => self.client.messages(conversation.clone(), before, count).await?,
        };
        if !messages.is_empty() {
            return self.show_history(&messages).await;
        }
        if let Some(earlier) = self.older.take() {
            earlier.abort();
        }
        let client = self.client.clone();
        self.older = Some(tokio::spawn(async move {
            client.fetch_older(conversation, before, count).await.map(|older| older.messages)
        }));
        Ok(())
    }

    /// Older messages have come.
    pub(super) async fn fetched(
        &mut self,
        fetched: Result<Vec<Arc<LogMessage>>, OlderError>,
    ) -> Result<(), ChatError> {
        let nothing = match fetched {
            Ok(messages) if !messages.is_empty() => return self.show_history(&messages).await,
            Ok(_) | Err(OlderError::Refused(FetchError::NothingOlder)) => "this is the beginning".to_owned(),
            Err(OlderError::NoSuchConversation) => "nothing was said here yet".to_owned(),
            Err(error) => format!("no older messages: {error}"),
        };
        self.show(Line::Status(nothing)).await
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
            submitted => self.submitted(&text::quote(&text), submitted).await,
        }
    }

    /// Submits something that is no message to the current conversation.
    async fn submit(&mut self, content: Content) -> Result<(), ChatError> {
        let what = text::describe(&content, |ms| LocalTime.time(ms));
        let submitted = self.client.submit(self.conversation.current().clone(), content).await;
        self.submitted(&what, submitted).await
    }

    /// Changes the last message that was said here.
    async fn of_last(&mut self, change: impl FnOnce(u64) -> Content) -> Result<(), ChatError> {
        match self.conversation.last_own() {
            Some(seq) => self.submit(change(seq)).await,
            None => {
                self.show(Line::Status("you have said nothing here that could be changed".to_owned())).await
            }
        }
    }

    async fn change(&mut self, change: GroupChange) -> Result<(), ChatError> {
        match self.conversation.current() {
            Recipient::Group(_) => self.submit(Content::change(change)).await,
            Recipient::User(_) => {
                self.show(Line::Status("you are not talking to a group: /group GROUP first".to_owned())).await
            }
        }
    }

    async fn create(&mut self, name: &str, invite_only: bool) -> Result<(), ChatError> {
        let what = format!("created the group {}", text::quote(name));
        match self.client.create_group(name, invite_only).await {
            Ok((group, submitted)) => {
                self.conversation.call(&group, name);
                let line = self.conversation.turn_to(Recipient::Group(group));
                self.show(line).await?;
                self.submitted(&what, Ok(submitted)).await
            }
            Err(error) => self.submitted(&what, Err(error)).await,
        }
    }

    async fn submitted(
        &mut self,
        what: &str,
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
                self.conversation.taken(submitted.id(), what, waits)
            }
            Err(error) => Some(self.conversation.refused(what, &error)),
        };
        match line {
            Some(line) => self.show(line).await,
            None => Ok(()),
        }
    }
}
