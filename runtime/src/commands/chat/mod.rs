//! `switchboard chat`: a chat in a terminal, or in a pipe.
//!
//! | part | what it does |
//! | --- | --- |
//! | `input` | what the user types, in lines |
//! | `command` | lines, to commands |
//! | `actions` | commands, to what the client is asked for |
//! | `told` | what the client says, and what follows from it |
//! | `error` | why a chat ends otherwise than wanted |
//! | `conversation` | what the client says, to lines |
//! | `shown` | what was shown lately, and its ticks |
//! | `past` | what was said before, from the store or the server |
//! | `text` | how lines look, and what a peer's text must not do |
//! | `output` | lines to the screen |
//! | `terminal` | the terminal, the clock on the wall, signals |
//! | this file | brings them together with a [`Client`] |

mod actions;
mod command;
mod conversation;
mod error;
mod input;
mod output;
mod past;
mod shown;
mod terminal;
mod text;
mod told;

use std::{
    io::{self, IsTerminal as _},
    sync::Arc,
    time::Duration,
};

use switchboard_engine::{History, LogMessage};
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};

use self::{
    command::Command,
    conversation::{Clock as _, Conversation, Line, Manner, Submission, and_more},
    error::REACH_TIMEOUT,
    input::Input,
    output::Output,
    past::{Patience, past},
    terminal::{LocalTime, Signals, TerminalGuard, terminal},
    text::Style,
};
use crate::{
    cli::ChatArgs,
    client::{
        Client, ClientTls, Event, Events, LinkError, MemoryStore, OlderError, ServerUrl, SqliteStore, State,
        Store,
    },
};

pub use error::ChatError;
pub use input::InputError;
pub use output::OutputClosed;

/// In a pipe: at the end of the input, something must be accepted every so often until everything is.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long leaving a terminal waits for what was just typed, and then for the close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest wait for the next try, to connect or to have something stored: somebody sits there and waits with it.
const RECONNECT_CAP: Duration = Duration::from_secs(10);
/// Conversations that are looked at for what is unread, and for marks.
const SUMMARY_LIMIT: u32 = 100;
/// A user who has pressed no key for so long types no more.
const TYPING_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages of the past that are shown at a terminal, unless it is said otherwise.
const HISTORY_MESSAGES: u32 = 20;

/// Chats until the user leaves: at a terminal, with Ctrl-D, Ctrl-C or `/quit`; in a pipe, when the input has
/// ended and the server has everything.
///
/// # Errors
/// In a pipe: if the server cannot be reached in time, or does not have everything. In both: if the server refuses
/// the connection for good, if something was not sent when the user left and is not kept in a file, or if the
/// store, the input or the system fails.
pub fn chat(args: &ChatArgs) -> Result<(), ChatError> {
    let system = |doing| move |source| ChatError::System { doing, source };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("start the event loop"))?;
    let result = runtime.block_on(async {
        let signals = Signals::new().map_err(system("listen for signals"))?;
        match &args.store {
            Some(file) => Chat::start(args, SqliteStore::open(file)?).await?.run(signals).await,
            None => Chat::start(args, MemoryStore::default()).await?.run(signals).await,
        }
    });
    // A host name that is still being looked up must not keep the user waiting.
    runtime.shutdown_background();
    result
}

/// What happens next.
enum Turn {
    Told(Option<Event>),
    Older(Wanted, Result<Vec<Arc<LogMessage>>, OlderError>),
    Input(Option<Input>),
    Deadline,
    Signal,
}

/// Why older messages are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// The chat begins, and nothing was in the store.
    Beginning,
    /// The user has turned to another conversation.
    Turned,
    /// The user has asked for more.
    More,
    /// The user wants to know the numbers of messages.
    Numbers,
}

type Fetch = JoinHandle<Result<Vec<Arc<LogMessage>>, OlderError>>;

struct Chat {
    client: Client,
    events: Events,
    conversation: Conversation,
    /// Messages of the past to show.
    history: u32,
    /// Older messages on their way.
    older: Option<(Wanted, Fetch)>,
    input: mpsc::Receiver<Input>,
    input_ended: bool,
    output: Output,
    style: Style,
    /// A text that the client has no room for yet; in a pipe.
    held: Option<String>,
    /// Messages that were read from a pipe and that the client has not taken, at the end.
    unread: usize,
    /// In a pipe: when the server must have been reached, or have accepted everything. At a terminal: when
    /// whoever leaves has waited long enough.
    deadline: Option<Instant>,
    /// While the user types: until when, if no key follows.
    typing_until: Option<Instant>,
    /// How far the current conversation was marked as read.
    read: u64,
    /// Whether what is not sent is kept.
    kept: bool,
    /// Gives the terminal back; none in a pipe.
    terminal: Option<TerminalGuard>,
}

impl Chat {
    async fn start(args: &ChatArgs, store: impl Store) -> Result<Self, ChatError> {
        let server = ServerUrl::new(&args.url)?;
        let url = server.origin();
        let at_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
        let kept = args.store.is_some();
        let history = args.history.unwrap_or(if at_terminal { HISTORY_MESSAGES } else { 0 });
        let mut builder = Client::builder(server, args.user.clone());
        if let Some(authority) = &args.ca {
            builder = builder.tls(ClientTls::authority(authority)?);
        }
        if let Some(token) = args.token.clone() {
            builder = builder.token(token);
        }
        let (client, events) = builder
            .store(store)
            .history(History::Latest(history))
            .configure(|config| {
                config.close_timeout = CLOSE_TIMEOUT;
                config.reconnect.cap = RECONNECT_CAP;
                config.retry.cap = RECONNECT_CAP;
            })
            .start()
            .await?;

        // https://no-color.org: set and not empty.
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let style = Style { colours: at_terminal && !plain, times: at_terminal };
        let manner = Manner { interactive: at_terminal };
        let conversation = Conversation::new(args.user.clone(), url, args.conversation(), style, manner);
        let ends = at_terminal.then(|| terminal(conversation.prompt())).flatten();
        let (input, output, terminal) = match ends {
            Some((input, output, terminal)) => (input, output, Some(terminal)),
            None => (input::from_pipe(), Output::to_streams(), None),
        };
        let deadline = terminal.is_none().then(|| Instant::now() + REACH_TIMEOUT);
        Ok(Self {
            client,
            events,
            conversation,
            history,
            older: None,
            input,
            input_ended: false,
            output,
            style,
            held: None,
            unread: 0,
            deadline,
            typing_until: None,
            read: 0,
            kept,
            terminal,
        })
    }

    async fn run(mut self, mut signals: Signals) -> Result<(), ChatError> {
        let mut result = self.recall().await;
        if result.is_ok() {
            self.conversation.begin(self.history > 0 && self.conversation.newest_shown() == 0);
            result = self.converse(&mut signals).await;
        }
        let told = self.leave().await;
        self.output.finish().await;
        result.and(told)?;
        let kept = if self.kept { self.conversation.unaccepted() } else { 0 };
        // Whoever sits there was told of each message that was turned away.
        let lost = if self.terminal.is_some() { 0 } else { self.conversation.lost() };
        match lost + self.conversation.unaccepted() - kept + self.unread {
            0 => Ok(()),
            count => Err(ChatError::Unsent(count)),
        }
    }

    /// Shows what is in the store from before.
    async fn recall(&mut self) -> Result<(), ChatError> {
        self.watch().await;
        if self.terminal.is_some() {
            let summaries = self.client.conversations(SUMMARY_LIMIT).await?;
            if summaries.is_empty() {
                self.conversation.knows_latest(self.history);
            }
            summaries.iter().for_each(|summary| self.conversation.known_before(summary));
        }
        if self.history > 0 {
            let current = self.conversation.current().clone();
            let kept = past(self.client.clone(), current, 0, self.history, Patience::Short).await;
            self.show_history(&kept.unwrap_or_default()).await?;
        }
        for submit in self.client.pending().await.unwrap_or_default() {
            let what = text::describe(&submit.content, |ms| LocalTime.time(ms));
            let submission = Submission::new(&what, &submit.content);
            let line = self.conversation.left_over(submit.id, &submit.conversation, submission);
            self.show(line).await?;
        }
        Ok(())
    }

    /// Until it is time to leave.
    async fn converse(&mut self, signals: &mut Signals) -> Result<(), ChatError> {
        loop {
            if self.is_done() {
                return Ok(());
            }
            self.mark_read().await;
            let gathers = self.gathers();
            let Self { events, older, input, input_ended, held, deadline, typing_until, .. } = self;
            let (expired, paused) = (at(*deadline), at(*typing_until));
            let fetched = async {
                match older {
                    Some((wanted, fetch)) => (*wanted, fetch.await.unwrap_or(Ok(Vec::new()))),
                    None => std::future::pending().await,
                }
            };
            let turn = tokio::select! {
                // What comes stands below what was said before.
                event = events.next(), if !gathers => Turn::Told(event),
                (wanted, fetched) = fetched => Turn::Older(wanted, fetched),
                input = input.recv(), if !*input_ended && held.is_none() => Turn::Input(input),
                () = expired => Turn::Deadline,
                () = paused => Turn::Input(Some(Input::Typing(false))),
                () = signals.next() => Turn::Signal,
            };
            match turn {
                Turn::Told(Some(event)) => self.told(event).await?,
                // The store's failure was told.
                Turn::Told(None) => return Ok(()),
                Turn::Older(wanted, fetched) => {
                    self.older = None;
                    self.fetched(wanted, fetched).await?;
                }
                Turn::Input(Some(Input::Command(Command::Quit))) => self.end_input(),
                Turn::Signal => return Ok(()),
                Turn::Input(Some(Input::Command(command))) => self.command(command).await?,
                Turn::Input(Some(Input::Typing(types))) => self.types(types).await,
                Turn::Input(Some(Input::Failed(error))) => return Err(error.into()),
                Turn::Input(Some(Input::End) | None) => self.end_input(),
                Turn::Deadline if self.terminal.is_some() || self.conversation.was_online() => return Ok(()),
                Turn::Deadline => return Err(ChatError::Unreachable(link_error(&self.client.state()))),
            }
        }
    }

    fn end_input(&mut self) {
        self.input_ended = true;
        let patience = if self.terminal.is_some() { CLOSE_TIMEOUT } else { ACCEPT_TIMEOUT };
        // A pipe that has not reached the server yet has a deadline already.
        if self.terminal.is_some() || self.conversation.was_online() {
            self.deadline = Some(Instant::now() + patience);
        }
    }

    /// Whoever ends the input wants to leave once everything is accepted: at a terminal at once if there is no
    /// connection, in a pipe when the server has answered.
    fn is_done(&self) -> bool {
        if !self.input_ended {
            return false;
        }
        let sent = self.held.is_none() && self.conversation.unaccepted() == 0;
        match self.terminal {
            Some(_) => sent || !self.client.state().is_connected(),
            None => sent && self.conversation.was_online() && self.has_shown(),
        }
    }

    /// Whether what was said before is on its way, and what comes waits for it.
    fn gathers(&self) -> bool {
        matches!(self.older, Some((Wanted::Beginning | Wanted::Turned, _)))
    }

    /// In a pipe, whether what is to be read has been written.
    fn has_shown(&self) -> bool {
        let reads = self.history > 0 || self.kept;
        !reads || (self.conversation.has_caught_up() && !self.gathers())
    }

    /// Ends the client and shows what it still says.
    async fn leave(&mut self) -> Result<(), ChatError> {
        self.conversation.leave();
        self.client.close().await;
        while let Some(event) = self.events.next().await {
            self.show_event(event).await?;
        }
        // Read from a pipe, and not taken by the client.
        let mut unread = self.held.take();
        self.unread = usize::from(unread.is_some());
        self.input.close();
        while let Ok(input) = self.input.try_recv() {
            if let Input::Command(Command::Say(text)) = input
                && self.terminal.is_none()
            {
                unread.get_or_insert(text);
                self.unread += 1;
            }
        }
        let rest = match self.input_ended || self.terminal.is_some() {
            true => "",
            false => "; the rest of the input was not read",
        };
        let mut unread = unread.map(|text| and_more(&text::quote(&text), self.unread - 1));
        if self.kept {
            if let Some(waiting) = self.conversation.left_behind(0) {
                let line =
                    format!("not sent yet: {waiting}; kept, and sent when you chat with this store again");
                self.show(Line::Status(line)).await?;
            }
        } else {
            unread = self.conversation.left_behind(self.unread).or(unread);
        }
        match unread {
            Some(unsent) => self.show(Line::Status(format!("not sent: {unsent}{rest}"))).await,
            None => Ok(()),
        }
    }
}

/// At this time, or never.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Why the last connection ended, if that is known.
fn link_error(state: &State) -> Option<Arc<LinkError>> {
    match state {
        State::Waiting { error, .. } => error.clone(),
        State::Closed(_)
        | State::Connecting { .. }
        | State::Greeting
        | State::CatchingUp
        | State::Online
        | State::Closing
        | State::Failed(_) => None,
    }
}
