//! The task in which a client lives: between the application's handles, the session with its connection, and the
//! store.
//!
//! What the session tells is put into the store first and into the queue of events afterwards, in batches: while
//! the store writes one, the next one gathers. So whatever an application was told is in the store.

use std::{collections::HashMap, mem, pin::Pin, sync::Arc};

use switchboard_engine::{
    History, Instant, LogMessage, MessageId, OlderId, PendingSubmit, Place, Recipient, Session,
    SessionNotification, SessionState,
};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    driver::{Driver, Told},
    event::{Event, State},
    handle::{Ended, Older, OlderError, SubmitError, Unaccepted},
    link::LinkError,
    queue::EventSender,
    retell::{Page, Retelling},
    store::{Change, StoreError, StoreThread},
};

/// Things that may wait for the store; then nothing more is taken from the connection or the application.
const BATCH_LIMIT: usize = 1_024;

/// Something to do with the session.
pub(super) type Act = Box<dyn FnOnce(&mut Session, Instant) + Send>;

/// What a handle asks for. Each is answered once, or dropped when the client ends.
pub(super) enum Command {
    Submit {
        submit: PendingSubmit,
        taken: oneshot::Sender<Result<(), SubmitError>>,
        fate: oneshot::Sender<Result<Place, Unaccepted>>,
    },
    Older {
        conversation: Recipient,
        before_seq: u64,
        limit: u32,
        answer: oneshot::Sender<Result<Older, OlderError>>,
    },
    /// To look at the session, or to do something with it that nothing has to be kept of before.
    Do(Act),
    End {
        done: oneshot::Sender<()>,
    },
}

/// What is done once the changes that belong to it are in the store.
enum Then {
    Tell(Event),
    Fate { id: MessageId, fate: Result<Place, Unaccepted> },
    HandOver { submit: PendingSubmit, taken: oneshot::Sender<Result<(), SubmitError>> },
    Answer { answer: oneshot::Sender<Result<Older, OlderError>>, older: Result<Older, OlderError> },
}

/// Changes that go into the store together, and what follows.
#[derive(Default)]
struct Batch {
    changes: Vec<Change>,
    then: Vec<Then>,
}

/// The store's answer to a batch, and what follows from it.
type Commit = Pin<Box<dyn Future<Output = (Result<(), StoreError>, Vec<Then>)> + Send>>;

/// The store's messages that are to be told again.
type Reading = Pin<Box<dyn Future<Output = Result<Vec<Arc<LogMessage>>, StoreError>> + Send>>;

pub(super) struct Task {
    driver: Driver<Session>,
    store: StoreThread,
    commands: mpsc::Receiver<Command>,
    events: EventSender,
    states: watch::Sender<State>,
    /// What is told before the connection is looked at.
    retelling: Retelling,
    /// What gathers for the store.
    batch: Batch,
    /// Who waits for the fate of a message that was submitted.
    fates: HashMap<MessageId, oneshot::Sender<Result<Place, Unaccepted>>>,
    /// Who waits for older messages.
    older: HashMap<OlderId, oneshot::Sender<Result<Older, OlderError>>>,
    /// Why the last link ended.
    link_error: Option<Arc<LinkError>>,
    stalled: bool,
    /// The client ends as soon as the connection is closed and the store has everything.
    ending: bool,
    /// Who waits for the end.
    ended: Vec<oneshot::Sender<()>>,
}

impl Task {
    pub(super) fn new(
        driver: Driver<Session>,
        store: StoreThread,
        commands: mpsc::Receiver<Command>,
        events: EventSender,
        states: watch::Sender<State>,
        retelling: Retelling,
    ) -> Self {
        Self {
            driver,
            store,
            commands,
            events,
            states,
            retelling,
            batch: Batch::default(),
            fates: HashMap::new(),
            older: HashMap::new(),
            link_error: None,
            stalled: false,
            ending: false,
            ended: Vec::new(),
        }
    }

    /// Lives until the client is closed, its last handle is dropped, or its store fails.
    pub(super) async fn run(mut self, connect: bool) {
        if connect {
            self.driver.command(Session::connect);
        }
        if let Err(error) = self.serve().await {
            tracing::error!(error = &error as &dyn std::error::Error, "a client's store has failed");
            let state = State::Failed(Arc::new(error));
            self.states.send_replace(state.clone());
            self.events.push(Event::State(state));
        }
        self.store.close().await;
        // Nobody is to find the handles' end of the channel open and the task gone.
        self.commands.close();
        for done in self.ended {
            let _ = done.send(());
        }
    }

    async fn serve(&mut self) -> Result<(), StoreError> {
        let mut commit: Option<Commit> = None;
        let mut reading: Option<Reading> = None;
        loop {
            self.gather();
            if commit.is_none() {
                commit = self.commit();
            }
            let closed = matches!(self.driver.machine().state(), SessionState::Closed(_));
            if self.ending && closed && commit.is_none() {
                return Ok(());
            }
            let full = self.batch.then.len() >= BATCH_LIMIT;
            let stalled = self.is_stalled();
            if reading.is_none() && !stalled {
                reading = self.read_again();
            }
            let retells = reading.is_some() && !self.ending;
            let idle = commit.is_none();
            let Self { driver, commands, events, .. } = self;
            let written = async {
                match &mut commit {
                    Some(commit) => commit.await,
                    None => std::future::pending().await,
                }
            };
            let read = async {
                match &mut reading {
                    Some(reading) => reading.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                command = commands.recv(), if !full && !self.ending => self.command(command),
                messages = read => {
                    reading = None;
                    self.retelling.read(messages?).into_iter().for_each(|event| self.events.push(event));
                }
                (written, then) = written => {
                    commit = None;
                    written?;
                    then.into_iter().for_each(|then| self.follow(then));
                }
                () = driver.step(), if !full && !stalled && !retells => {}
                () = events.progress(), if idle => {}
                () = events.room(), if stalled => {}
            }
        }
    }

    /// Whether the application reads its events too slowly. Nothing is read from the connection meanwhile; but
    /// who ends is not kept from it.
    fn is_stalled(&mut self) -> bool {
        let stalled = self.events.is_full() && !self.ending;
        if stalled && !self.stalled {
            tracing::debug!("a client's events are not read: its connection waits");
            self.events.push(Event::Stalled);
        }
        self.stalled = stalled;
        stalled
    }

    /// Reads what is to be told again next.
    fn read_again(&mut self) -> Option<Reading> {
        if self.ending || self.events.is_unread() {
            self.retelling.stop();
        }
        let Page { conversation, after_seq, limit } = self.retelling.next()?;
        let store = self.store.clone();
        Some(Box::pin(async move {
            store.call(move |store| store.messages_after(&conversation, after_seq, limit)).await
        }))
    }

    /// Takes what the session tells into the batch.
    fn gather(&mut self) {
        while let Some(told) = self.driver.try_next() {
            match told {
                Told::Notification(notification) => self.notified(notification),
                Told::LinkEnded(error) => self.link_error = Some(Arc::new(error)),
            }
        }
    }

    /// Gives the batch to the store, if there is something for it; does what has nothing to wait for.
    fn commit(&mut self) -> Option<Commit> {
        for (conversation, (epoch, seq)) in self.events.taken() {
            self.keep(Change::Taken { conversation, epoch, seq });
        }
        loop {
            let Batch { changes, then } = mem::take(&mut self.batch);
            if !changes.is_empty() {
                let store = self.store.clone();
                return Some(Box::pin(async move {
                    (store.call(move |store| store.apply(&changes)).await, then)
                }));
            }
            if then.is_empty() {
                return None;
            }
            then.into_iter().for_each(|then| self.follow(then));
            self.gather();
        }
    }

    fn notified(&mut self, notification: SessionNotification) {
        match notification {
            SessionNotification::StateChanged(state) => {
                let state = self.state(state);
                self.tell(Event::State(state));
            }
            SessionNotification::Message { conversation, epoch, message } => {
                let message: Arc<LogMessage> = Arc::from(message);
                self.keep(Change::Message {
                    conversation: conversation.clone(),
                    epoch,
                    message: Arc::clone(&message),
                });
                self.tell(Event::Message { conversation, epoch, message });
            }
            SessionNotification::Skipped { conversation, epoch, seq } => {
                self.keep(Change::Skipped { conversation: conversation.clone(), epoch, seq });
                self.tell(Event::Skipped { conversation, epoch, seq });
            }
            SessionNotification::Marked { conversation, epoch, own, marks } => {
                self.keep(Change::Marked { conversation: conversation.clone(), epoch, own, marks });
                self.tell(Event::Marked { conversation, epoch, own, marks });
            }
            SessionNotification::Named { conversation, name } => {
                let name: Arc<str> = name.into();
                self.keep(Change::Named { conversation: conversation.clone(), name: Arc::clone(&name) });
                self.tell(Event::Named { conversation, name });
            }
            SessionNotification::Typing { conversation, user, types } => {
                self.tell(Event::Typing { conversation, user, types });
            }
            SessionNotification::Notice { text } => self.tell(Event::Notice { text: text.into() }),
            SessionNotification::Reset { conversation } => {
                self.keep(Change::Reset { conversation: conversation.clone() });
                self.tell(Event::Reset { conversation });
            }
            SessionNotification::Delayed { id, text, until } => {
                let until = self.system(until);
                self.tell(Event::Delayed { id, text: text.into(), until });
            }
            SessionNotification::Accepted { id, place } => {
                self.keep(Change::Accepted { id, place });
                self.batch.then.push(Then::Fate { id, fate: Ok(place) });
            }
            SessionNotification::Rejected { id, code, text } => {
                self.keep(Change::Rejected { id, reason: code });
                let fate = Err(Unaccepted::Rejected { reason: code, text: text.into() });
                self.batch.then.push(Then::Fate { id, fate });
            }
            SessionNotification::Older { request, conversation, epoch, messages, first_seq } => {
                let messages: Vec<_> = messages.into_iter().map(Arc::new).collect();
                self.keep(Change::Older { conversation, epoch, messages: messages.clone() });
                self.answer(request, Ok(Older { epoch, messages, first_seq }));
            }
            SessionNotification::NoOlder { request, reason } => self.answer(request, Err(reason.into())),
            SessionNotification::Call { id, user, news } => self.tell(Event::Call { id, user, news }),
            SessionNotification::Presence { user, online, last_seen_ms } => {
                self.tell(Event::Presence { user, online, last_seen_ms });
            }
            SessionNotification::CaughtUp => {
                // A conversation that turns up from now on was begun after this device.
                self.driver.command(|session, _| session.set_history(History::All));
                self.tell(Event::CaughtUp);
            }
        }
    }

    fn keep(&mut self, change: Change) {
        self.batch.changes.push(change);
    }

    fn tell(&mut self, event: Event) {
        self.batch.then.push(Then::Tell(event));
    }

    fn answer(&mut self, request: OlderId, older: Result<Older, OlderError>) {
        if let Some(answer) = self.older.remove(&request) {
            self.batch.then.push(Then::Answer { answer, older });
        }
    }

    /// The session's state in the application's terms.
    fn state(&mut self, state: SessionState) -> State {
        match state {
            SessionState::Closed(reason) => State::Closed(reason),
            SessionState::Connecting { failures } => State::Connecting { failures },
            SessionState::Greeting => {
                self.link_error = None;
                State::Greeting
            }
            SessionState::Resyncing => State::CatchingUp,
            SessionState::Online => State::Online,
            SessionState::Closing => State::Closing,
            SessionState::Waiting { until, failures, cause } => {
                let until = self.system(until);
                State::Waiting { until, failures, cause, error: self.link_error.clone() }
            }
        }
    }

    /// A time of the session's, on the system's clock.
    fn system(&self, at: Instant) -> std::time::Instant {
        std::time::Instant::now() + self.driver.until(at)
    }

    fn follow(&mut self, then: Then) {
        // An answer that nobody waits for any more is not missed.
        match then {
            Then::Tell(event) => {
                if let Event::State(state) = &event {
                    self.states.send_replace(state.clone());
                }
                self.events.push(event);
            }
            Then::Fate { id, fate } => {
                self.events.push(match fate.clone() {
                    Ok(place) => Event::Accepted { id, place },
                    Err(Unaccepted::Rejected { reason, text }) => Event::Rejected { id, reason, text },
                    Err(Unaccepted::Ended(Ended)) => return,
                });
                if let Some(waiting) = self.fates.remove(&id) {
                    let _ = waiting.send(fate);
                }
            }
            Then::HandOver { submit, taken } => {
                let id = submit.id;
                let PendingSubmit { conversation, content, .. } = submit;
                let handed =
                    self.driver.command(|session, now| session.submit(now, id, conversation, content));
                if handed.is_err() {
                    self.fates.remove(&id);
                    self.keep(Change::Withdraw { id });
                }
                let _ = taken.send(handed.map_err(SubmitError::from));
            }
            Then::Answer { answer, older } => {
                let _ = answer.send(older);
            }
        }
    }

    /// Does what a handle asks for; without a handle, ends.
    fn command(&mut self, command: Option<Command>) {
        match command {
            Some(Command::Submit { submit, taken, fate }) => self.submit(submit, taken, fate),
            Some(Command::Older { conversation, before_seq, limit, answer }) => {
                let fetch =
                    |session: &mut Session, now| session.fetch_older(now, conversation, before_seq, limit);
                match self.driver.command(fetch) {
                    Ok(request) => {
                        self.older.insert(request, answer);
                    }
                    Err(error) => {
                        let _ = answer.send(Err(error.into()));
                    }
                }
            }
            Some(Command::Do(act)) => self.driver.command(act),
            Some(Command::End { done }) => {
                self.ended.push(done);
                self.events.take_given();
                self.end();
            }
            None => self.end(),
        }
    }

    fn end(&mut self) {
        self.ending = true;
        self.driver.command(Session::close);
    }

    /// Keeps a message before the session has it.
    fn submit(
        &mut self,
        submit: PendingSubmit,
        taken: oneshot::Sender<Result<(), SubmitError>>,
        fate: oneshot::Sender<Result<Place, Unaccepted>>,
    ) {
        let PendingSubmit { id, conversation, content } = &submit;
        let admitted = match self.fates.contains_key(id) {
            true => Err(switchboard_engine::SubmitError::AlreadyPending),
            false => self.driver.machine().admits(*id, conversation, content),
        };
        if let Err(error) = admitted {
            let _ = taken.send(Err(error.into()));
            return;
        }
        self.fates.insert(*id, fate);
        self.keep(Change::Submit(submit.clone()));
        self.batch.then.push(Then::HandOver { submit, taken });
    }
}
