//! The handle by which an application uses its client.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use switchboard_engine::{
    self as engine, CallId, Content, GroupChange, GroupId, Instant, LogMessage, MessageId, NoOlderReason,
    PendingSubmit, Place, Recipient, RejectReason, Session, SessionStats, UserId,
};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    address::ServerUrl,
    builder::ClientBuilder,
    event::State,
    store::{StoreError, StoreThread, Summary},
    task::Command,
};

/// One device of one user: what it submits is sent until it has a fate, and what is said in its conversations is
/// told, once and in order, whatever becomes of connections and servers in between.
///
/// This is a handle: cheap to clone, and usable from any task. The client itself is a task of the tokio runtime
/// in which it was started; it ends with [`Client::close`], or when the last handle is dropped, which closes the
/// connection politely in the background.
///
/// Every method can be cancelled by dropping its future. What it has asked for may be done all the same.
#[derive(Clone, Debug)]
pub struct Client {
    pub(super) user: UserId,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) state: watch::Receiver<State>,
    pub(super) store: StoreThread,
}

/// The client has ended: it was closed, or its store has failed ([`State::Failed`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client has ended")]
pub struct Ended;

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// Too many are pending, or it can never be sent as it is; see there.
    #[error(transparent)]
    Refused(#[from] engine::SubmitError),
    /// The operating system has no random numbers for its id.
    #[error("cannot make an id for a message")]
    Random(#[source] getrandom::Error),
    /// The client has ended. The message may be in the store, and is then submitted by the next client.
    #[error(transparent)]
    Ended(#[from] Ended),
}

/// Why nothing was said of a call.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// It may not be said now.
    #[error(transparent)]
    Refused(#[from] engine::CallError),
    /// The operating system has no random numbers for its id.
    #[error("cannot make an id for a call")]
    Random(#[source] getrandom::Error),
    /// The client has ended.
    #[error(transparent)]
    Ended(#[from] Ended),
}

/// Why users are not watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// They are too many.
    #[error(transparent)]
    Refused(#[from] engine::WatchError),
    /// The client has ended.
    #[error(transparent)]
    Ended(#[from] Ended),
}

/// Why a submitted message is not stored by the server, or not known to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unaccepted {
    /// It will not be sent again.
    #[error("the server does not take the message: {text}")]
    Rejected {
        /// Why.
        reason: RejectReason,
        /// The same for a person to read; the server's own text, so not fit for a terminal as it is.
        text: Arc<str>,
    },
    /// The client has ended before. The message is pending in the store; the next client submits it.
    #[error(transparent)]
    Ended(#[from] Ended),
}

/// Why older messages cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OlderError {
    /// Too many requests wait, or there is nothing older.
    #[error(transparent)]
    Refused(#[from] engine::FetchError),
    /// There is no such user or group, the user is no member of the group, or nothing was said yet.
    #[error("there is no such conversation for this user")]
    NoSuchConversation,
    /// The conversation has a new log now: the place asked for means nothing in it.
    #[error("the conversation has begun anew")]
    Reset,
    /// The server does not understand the request, or answers it wrongly.
    #[error("the server does not understand the request")]
    NotUnderstood,
    /// The client has ended.
    #[error(transparent)]
    Ended(#[from] Ended),
}

impl From<NoOlderReason> for OlderError {
    fn from(reason: NoOlderReason) -> Self {
        match reason {
            NoOlderReason::NoSuchConversation => Self::NoSuchConversation,
            NoOlderReason::Reset => Self::Reset,
            NoOlderReason::Refused => Self::NotUnderstood,
        }
    }
}

/// Older messages of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Older {
    /// Which log of the conversation.
    pub epoch: u64,
    /// In ascending order, without gaps; empty if there are none. May be fewer than asked for: there are more
    /// while the first one's place is above `first_seq`.
    pub messages: Vec<Arc<LogMessage>>,
    /// Place of the first message that the user may read.
    pub first_seq: u64,
}

impl Client {
    /// A client of this user at this server.
    pub fn builder(server: ServerUrl, user: UserId) -> ClientBuilder {
        ClientBuilder::new(server, user)
    }

    /// Whose client this is.
    #[must_use]
    pub const fn user(&self) -> &UserId {
        &self.user
    }

    /// What has become of the connection.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Waits until the state is one of those wanted, and gives it.
    ///
    /// # Errors
    /// If the client has ended.
    pub async fn state_when(&self, wanted: impl FnMut(&State) -> bool) -> Result<State, Ended> {
        let mut state = self.state.clone();
        let reached = state.wait_for(wanted).await;
        reached.map(|state| state.clone()).map_err(|_| Ended)
    }

    /// Submits an entry for a conversation: see [`Client::submit_as`]. Its id begins with the time
    /// and goes on with random numbers of the operating system, as a UUID of version 7 (RFC 9562). An entry is a message, or an edit or a recall of one ([`Content::edit`], [`Content::recall`]), or a
    /// change of a group ([`Content::change`]).
    ///
    /// ```no_run
    /// # use switchboard::client::{Client, Content, Recipient, UserId};
    /// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let bob = Recipient::User(UserId::new("bob")?);
    /// let submitted = client.submit(bob, Content::text("hello")).await?; // kept: a restart does not lose it
    /// let place = submitted.await?; // stored by the server
    /// println!("number {} of the conversation", place.seq);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`Client::submit_as`], or if there are no random numbers.
    pub async fn submit(&self, conversation: Recipient, content: Content) -> Result<Submitted, SubmitError> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(SubmitError::Random)?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.submit_as(timed_id(since, id), conversation, content).await
    }

    /// Submits a message under an id: the same id whenever it is the same message, for the server stores one
    /// message under one id of a user. Waits until the message is in the store, and does not wait for a
    /// connection.
    ///
    /// From then on it is sent, and sent again after a lost connection or in the next client, until it has its
    /// fate: see [`Submitted`]. Messages of one conversation are stored in the order in which they were
    /// submitted.
    ///
    /// # Errors
    /// If as many messages or bytes are pending as may be
    /// ([`SessionLimits::pending_messages`](engine::SessionLimits::pending_messages),
    /// [`SessionLimits::pending_bytes`](engine::SessionLimits::pending_bytes)), one with this id is, or it is too
    /// large; nothing has happened then. If the client has ended.
    pub async fn submit_as(
        &self,
        id: MessageId,
        conversation: Recipient,
        content: Content,
    ) -> Result<Submitted, SubmitError> {
        let submit = PendingSubmit { id, conversation, content };
        let (fate, told) = oneshot::channel();
        self.ask(|taken| Command::Submit { submit, taken, fate }).await??;
        Ok(Submitted { id, fate: told })
    }

    /// Submits the creation of a group with this name, of which the user is the owner, under a random id. If it is
    /// `invite_only`, nobody joins it uninvited.
    ///
    /// # Errors
    /// Those of [`Client::submit`].
    pub async fn create_group(
        &self,
        name: &str,
        invite_only: bool,
    ) -> Result<(GroupId, Submitted), SubmitError> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(SubmitError::Random)?;
        let group = random_group(id);
        let change = GroupChange::Create { name: name.into(), invite_only };
        let submitted = self.submit(Recipient::Group(group.clone()), Content::change(change)).await?;
        Ok((group, submitted))
    }

    /// Rings a user, under a random id. What becomes of it is told by [`Event::Call`](super::Event::Call).
    ///
    /// # Errors
    /// If there is no connection or no room, or the client has ended.
    pub async fn ring(&self, user: UserId, video: bool) -> Result<CallId, CallError> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(CallError::Random)?;
        let id = CallId(id);
        self.with(move |session, now| session.ring(now, id, user, video)).await??;
        Ok(id)
    }

    /// Takes a call that rings: [`Session::accept_call`].
    ///
    /// # Errors
    /// If it does not ring here, or there is no connection.
    pub async fn accept_call(&self, id: CallId) -> Result<(), CallError> {
        Ok(self.with(move |session, now| session.accept_call(now, id)).await??)
    }

    /// Declines a call that rings, or hangs up: [`Session::hang_up`].
    ///
    /// # Errors
    /// If there is no such call.
    pub async fn hang_up(&self, id: CallId) -> Result<(), CallError> {
        Ok(self.with(move |session, now| session.hang_up(now, id)).await??)
    }

    /// Sends something to the other side of a call that is on: [`Session::signal`].
    ///
    /// # Errors
    /// If it is not on, or it cannot be sent now.
    pub async fn signal(&self, id: CallId, payload: bytes::Bytes) -> Result<(), CallError> {
        Ok(self.with(move |session, now| session.signal(now, id, payload)).await??)
    }

    /// Wants to be told of these users, in place of those before: [`Event::Presence`](super::Event::Presence), as soon as
    /// that is known, after every reconnection, and whenever it changes. See [`Session::watch`].
    ///
    /// # Errors
    /// If they are too many, or the client has ended.
    pub async fn watch(&self, users: Vec<UserId>) -> Result<(), WatchError> {
        Ok(self.with(move |session, now| session.watch(now, &users)).await??)
    }

    /// At most `limit` messages of a conversation before the place `before_seq` (0: from the newest one on), from
    /// the server, connected or not: waits for the connection if there is none. They are put into the store. With
    /// a `limit` of 0, as many as the server gives at once.
    ///
    /// # Errors
    /// If too many requests wait ([`SessionLimits::older`](engine::SessionLimits::older)), there can be nothing
    /// older, the conversation cannot be read, or the client has ended.
    pub async fn fetch_older(
        &self,
        conversation: Recipient,
        before_seq: u64,
        limit: u32,
    ) -> Result<Older, OlderError> {
        self.ask(|answer| Command::Older { conversation, before_seq, limit, answer }).await?
    }

    /// At most `limit` messages of a conversation before the place `before_seq` (0: from the newest one on), from
    /// the store alone: [`Store::messages`](super::Store::messages).
    ///
    /// # Errors
    /// If the store fails, or the client has ended ([`StoreError::Thread`]).
    pub async fn messages(
        &self,
        conversation: Recipient,
        before_seq: u64,
        limit: u32,
    ) -> Result<Vec<Arc<LogMessage>>, StoreError> {
        self.store.call(move |store| store.messages(&conversation, before_seq, limit)).await
    }

    /// At most `limit` conversations, those in which something was said last first, with how far both sides are and how
    /// many messages are unread: [`Store::conversations`](super::Store::conversations).
    ///
    /// # Errors
    /// If the store fails, or the client has ended ([`StoreError::Thread`]).
    pub async fn conversations(&self, limit: u32) -> Result<Vec<Summary>, StoreError> {
        self.store.call(move |store| store.conversations(limit)).await
    }

    /// The user has seen a conversation up to this place. The other user of a one-to-one conversation is told, and the
    /// user's other devices, once there is a connection: [`Session::mark_read`]. Returns whether the mark has moved.
    /// That messages have arrived is told by itself.
    ///
    /// # Errors
    /// If the client has ended.
    pub async fn mark_read(&self, conversation: Recipient, seq: u64) -> Result<bool, Ended> {
        self.with(move |session, now| session.mark_read(now, &conversation, seq)).await
    }

    /// The user types in a conversation, or has stopped: [`Session::typing`]. To be called when it begins and when it
    /// ends, and not for every key; what is submitted to the conversation ends it too. Returns false, and nobody is
    /// told, if there is no connection or the user types in too many conversations.
    ///
    /// # Errors
    /// If the client has ended.
    pub async fn typing(&self, conversation: Recipient, types: bool) -> Result<bool, Ended> {
        self.with(move |session, now| session.typing(now, conversation, types)).await
    }

    /// Messages without a fate, those of earlier clients of the store too, in the order in which they were
    /// submitted.
    ///
    /// # Errors
    /// If the client has ended.
    pub async fn pending(&self) -> Result<Vec<PendingSubmit>, Ended> {
        self.with(|session, _| session.resume().submits).await
    }

    /// What was counted so far.
    ///
    /// # Errors
    /// If the client has ended.
    pub async fn stats(&self) -> Result<SessionStats, Ended> {
        self.with(|session, _| *session.stats()).await
    }

    /// Wants a connection from now on, as after the start. While waiting for the next attempt, makes it now.
    ///
    /// # Errors
    /// If the client has ended.
    pub async fn connect(&self) -> Result<(), Ended> {
        self.with(Session::connect).await
    }

    /// Wants no connection until [`Client::connect`]. What is pending stays pending, and what is submitted joins
    /// it. [`State::Closed`] tells when the connection is closed.
    ///
    /// # Errors
    /// If the client has ended.
    pub async fn disconnect(&self) -> Result<(), Ended> {
        self.with(Session::close).await
    }

    /// Closes the connection, within [`SessionConfig::close_timeout`](engine::SessionConfig::close_timeout), and
    /// the store, and ends the client, for all its handles. What is pending is in the store. The last event that was
    /// given counts as taken; messages in those that follow are told again by the next client of the store. Once this
    /// returns, another client can be started on it.
    pub async fn close(&self) {
        // An error says that the client has ended, which is what is wanted.
        let _ = self.ask(|done| Command::End { done }).await;
    }

    async fn ask<R>(&self, command: impl FnOnce(oneshot::Sender<R>) -> Command) -> Result<R, Ended> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.map_err(|_| Ended)?;
        answered.await.map_err(|_| Ended)
    }

    async fn with<R: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Session, Instant) -> R + Send + 'static,
    ) -> Result<R, Ended> {
        let act = |answer: oneshot::Sender<R>| {
            Command::Do(Box::new(move |session: &mut Session, now| {
                // Whoever asked may have stopped waiting.
                let _ = answer.send(act(session, now));
            }))
        };
        self.ask(act).await
    }
}

/// The id of a group, from random bytes: a UUID of version 4 (RFC 9562 section 5.4).
fn random_group(random: [u8; 16]) -> GroupId {
    let version = u128::from_be_bytes(random) & !(0xf << 76) & !(0b11 << 62) | (4 << 76) | (0b10 << 62);
    let hex = format!("{version:032x}");
    let parts: Vec<&str> =
        [0..8, 8..12, 12..16, 16..20, 20..32].into_iter().filter_map(|part| hex.get(part)).collect();
    #[allow(clippy::expect_used, reason = "36 characters of a UUID are an id")]
    GroupId::new(&parts.join("-")).expect("a UUID is an id")
}

/// The id of a message from the time since 1970 and random bytes: a UUID of version 7 (RFC 9562 section 5.7).
fn timed_id(since: Duration, random: [u8; 16]) -> MessageId {
    let time = since.as_millis() << 80;
    let rest = u128::from_be_bytes(random) & !(u128::MAX << 80) & !(0xf << 76) & !(0b11 << 62);
    MessageId((time | rest | (7 << 76) | (0b10 << 62)).to_be_bytes())
}

/// A message on its way. As a future, its fate: where the server has stored it, or why it has not. Can be
/// dropped: the message is sent all the same, and [`Event::Accepted`](super::Event::Accepted) or
/// [`Event::Rejected`](super::Event::Rejected) tell its fate as well.
#[derive(Debug)]
pub struct Submitted {
    id: MessageId,
    fate: oneshot::Receiver<Result<Place, Unaccepted>>,
}

impl Submitted {
    /// The message's id.
    #[must_use]
    pub const fn id(&self) -> MessageId {
        self.id
    }
}

impl Future for Submitted {
    type Output = Result<Place, Unaccepted>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.fate).poll(context).map(|told| told.unwrap_or(Err(Ended.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_messages_id_is_a_uuid_that_begins_with_the_time() {
        let id = |random| {
            let MessageId(id) = timed_id(Duration::from_millis(0x017f_22e2_79b0), [random; 16]);
            format!("{:032x}", u128::from_be_bytes(id))
        };
        // The time of the example in RFC 9562, appendix A.6.
        assert_eq!(id(0xff), "017f22e279b07fffbfffffffffffffff");
        assert_eq!(id(0), "017f22e279b070008000000000000000");
    }

    #[test]
    fn a_new_groups_id_is_a_random_uuid() {
        assert_eq!(random_group([0xff; 16]).as_str(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(random_group([0; 16]).as_str(), "00000000-0000-4000-8000-000000000000");
    }
}
