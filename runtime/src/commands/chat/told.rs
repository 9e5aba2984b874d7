//! What the client says, and what a chat does about it.

use std::sync::Arc;

use switchboard_engine::{ClosedReason, LogMessage, Recipient};
use tokio::time::Instant;

use super::{
    ACCEPT_TIMEOUT, Chat, ChatError, SUMMARY_LIMIT, Wanted, conversation::Line, terminal::LocalTime,
};
use crate::client::{Event, State};

impl Chat {
    /// The client says something.
    pub(super) async fn told(&mut self, event: Event) -> Result<(), ChatError> {
        let state = match &event {
            Event::State(state) => Some(state.clone()),
            Event::Message { .. }
            | Event::Skipped { .. }
            | Event::Marked { .. }
            | Event::Named { .. }
            | Event::Typing { .. }
            | Event::Notice { .. }
            | Event::Reset { .. }
            | Event::Delayed { .. }
            | Event::Accepted { .. }
            | Event::Rejected { .. }
            | Event::Presence { .. }
            | Event::Call { .. }
            | Event::CaughtUp
            | Event::Stalled => None,
        };
        if let Some(State::Waiting { error: Some(error), .. }) = &state
            && error.is_permanent()
            && !self.conversation.was_online()
        {
            return Err(ChatError::Unwanted(Arc::clone(error)));
        }
        let caught_up = matches!(event, Event::CaughtUp);
        let has_fate = matches!(event, Event::Accepted { .. } | Event::Rejected { .. });
        let is_missed = matches!(event, Event::Message { .. }) && !self.conversation.has_caught_up();
        let goes_on = has_fate || is_missed;
        // Whose conversation has just begun may be watched only now.
        let begun = matches!(&event, Event::Message { conversation, message, .. }
            if message.seq == 1 && conversation == self.conversation.current());
        self.show_event(event).await?;
        if caught_up && self.conversation.is_beginning() {
            self.fetch(Wanted::Beginning);
        } else if caught_up && self.terminal.is_some() {
            self.show_unread().await?;
        }
        if begun {
            self.watch().await;
        }
        if goes_on && self.input_ended && self.terminal.is_none() {
            self.deadline = Some(Instant::now() + ACCEPT_TIMEOUT);
        }
        match state {
            Some(State::CatchingUp | State::Online) => {
                self.deadline =
                    (self.terminal.is_none() && self.input_ended).then(|| Instant::now() + ACCEPT_TIMEOUT);
            }
            Some(State::Closed(reason)) => self.displaced(reason).await?,
            Some(State::Failed(error)) => return Err(ChatError::StoreFailed(error)),
            Some(State::Connecting { .. } | State::Greeting | State::Closing | State::Waiting { .. })
            | None => {}
        }
        if let Some(text) = self.held.take() {
            self.say(text).await?;
        }
        Ok(())
    }

    /// The server has closed the connection, and it would do so again: another device is at it.
    pub(super) async fn displaced(&mut self, reason: ClosedReason) -> Result<(), ChatError> {
        let why = match reason {
            ClosedReason::TakenOver => "a newer connection of the same user took over",
            ClosedReason::TooManyDevices => "the user has too many connections, and this was the oldest",
            ClosedReason::SignedOut => "the session has ended: log in again",
            ClosedReason::Banned => "the user is banned",
            ClosedReason::Dismissed => "the server asks not to be dialled again",
            ClosedReason::Application | ClosedReason::NotStarted => return Ok(()),
        };
        if self.terminal.is_none() {
            return Err(ChatError::Displaced(why));
        }
        self.show(Line::Status("/connect takes it back".to_owned())).await
    }

    pub(super) async fn show_event(&mut self, event: Event) -> Result<(), ChatError> {
        for line in self.conversation.told(event, &LocalTime) {
            self.show(line).await?;
        }
        Ok(())
    }

    pub(super) async fn show(&self, line: Line) -> Result<(), ChatError> {
        match line {
            Line::Message(line) => self.output.message(line).await?,
            Line::Status(text) => self.output.status(self.style.status(&text, &LocalTime::now())).await?,
        }
        Ok(())
    }

    /// At a terminal, wants to know whether the other user of the current conversation is here.
    pub(super) async fn watch(&mut self) {
        let users = match self.conversation.current() {
            Recipient::User(user) => vec![user.clone()],
            Recipient::Group(_) => Vec::new(),
        };
        if self.terminal.is_some() {
            // One user is not too many, and a client that has ended tells so by its events.
            let _ = self.client.watch(users).await;
        }
    }

    /// What waits in other conversations.
    pub(super) async fn show_unread(&mut self) -> Result<(), ChatError> {
        for summary in self.client.conversations(SUMMARY_LIMIT).await? {
            if let Some(line) = self.conversation.unread(&summary) {
                self.show(line).await?;
            }
        }
        Ok(())
    }

    /// What was shown counts as read.
    pub(super) async fn mark_read(&mut self) {
        let shown = self.conversation.newest_shown();
        if shown != self.read {
            self.read = shown;
            // A client that has ended tells so by its events.
            let _ = self.client.mark_read(self.conversation.current().clone(), shown).await;
        }
    }

    pub(super) async fn show_history(&mut self, messages: &[Arc<LogMessage>]) -> Result<(), ChatError> {
        for line in self.conversation.history(messages, &LocalTime) {
            self.show(line).await?;
        }
        Ok(())
    }
}
