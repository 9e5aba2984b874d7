//! `switchboard chat`: a chat in a terminal, or in a pipe.
//!
//! | part | what it does |
//! | --- | --- |
//! | `input` | what the user types, to commands |
//! | `conversation` | what the session says, to lines |
//! | `text` | how lines look, and what a peer's text must not do |
//! | `output` | lines to the screen |
//! | this file | brings them together with a [`Session`] |

mod conversation;
mod input;
mod output;
mod text;

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::mpsc::sync_channel,
    time::Duration,
};

use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use switchboard_engine::{
    ClientConfig, ClosedReason, ConnectionState, Notification, Outgoing, SendError, Target,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::Instant,
};

use self::{
    conversation::{Conversation, Line},
    input::{Command, Input},
    output::Output,
    text::Style,
};
use crate::{
    cli::ChatArgs,
    client::{Classic as Session, ClassicEvent as Event, LinkError, ServerUrl, UrlError},
};

pub use input::InputError;
pub use output::OutputClosed;

/// In a pipe: the server must be reached within this time.
const REACH_TIMEOUT: Duration = Duration::from_secs(10);
/// In a pipe: at the end of the input, everything must be sent within this time.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(30);
/// How long leaving may take, with the close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Switches bracketed paste off, which the line editor switches on.
const BRACKETED_PASTE_OFF: &[u8] = b"\x1b[?2004l";

/// Why a chat ended otherwise than its user wanted.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// The URL names no server.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The operating system failed.
    #[error("cannot {doing}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// What it says.
        source: io::Error,
    },
    /// The operating system has no random numbers.
    #[error("cannot seed the connection's jitter: {0}")]
    Random(getrandom::Error),
    /// The server was never reached within the time that a pipe has for it.
    #[error("the server could not be reached within {} s", REACH_TIMEOUT.as_secs())]
    Unreachable(#[source] Option<LinkError>),
    /// The server says that it never wants this connection.
    #[error("cannot chat")]
    Unwanted(#[source] LinkError),
    /// Another connection of the user took the place of this one, which is a pipe's.
    #[error("{0}")]
    Displaced(&'static str),
    /// Messages were not sent, or not surely.
    #[error("not everything was sent; messages that are missing, or may be: {0}")]
    Unsent(usize),
    /// The input cannot be read.
    #[error("cannot read what to send")]
    Input(#[from] InputError),
    /// There is nobody to tell anything.
    #[error(transparent)]
    Output(#[from] OutputClosed),
}

/// Chats until the user leaves: at a terminal, with Ctrl-D, Ctrl-C or `/quit`; in a pipe, when the input has
/// ended and everything was sent.
///
/// # Errors
/// In a pipe: if the server cannot be reached in time, or something was not sent. In both: if the server refuses
/// the connection for good, if something was not sent when the user left, or if the input or the system fails.
pub fn chat(args: &ChatArgs) -> Result<(), ChatError> {
    let system = |doing| move |source| ChatError::System { doing, source };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("start the event loop"))?;
    let result = runtime.block_on(async {
        let signals = Signals::new().map_err(system("listen for signals"))?;
        Chat::start(args)?.run(signals).await
    });
    // A host name that is still being looked up must not keep the user waiting.
    runtime.shutdown_background();
    result
}

/// What ends a chat, or the wait for something.
enum Turn {
    Session(Event),
    Input(Option<Input>),
    Deadline,
    Signal,
}

struct Chat {
    session: Session,
    conversation: Conversation,
    input: mpsc::Receiver<Input>,
    input_ended: bool,
    output: Output,
    style: Style,
    /// A text that the session has no room for yet; in a pipe.
    held: Option<String>,
    /// In a pipe: when the server must have been reached, or everything have been sent.
    deadline: Option<Instant>,
    /// Gives the terminal back; none in a pipe.
    terminal: Option<TerminalGuard>,
}

impl Chat {
    fn start(args: &ChatArgs) -> Result<Self, ChatError> {
        let server = ServerUrl::new(&args.url)?;
        let target = match (&args.to, &args.group) {
            (_, Some(group)) => Target::Group(group.clone()),
            (Some(user), None) => Target::User(user.clone()),
            // The command line asks for one of the two.
            (None, None) => Target::Everyone,
        };
        let url = format!("ws://{}", server.authority());
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(ChatError::Random)?;
        let mut config = ClientConfig::new(args.user.clone());
        // Front-ends show this name, and would show an empty one otherwise.
        config.username = args.user.as_str().into();
        config.close_timeout = CLOSE_TIMEOUT;
        let session = Session::new(config, server, u64::from_ne_bytes(seed));

        let at_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
        // https://no-color.org: set and not empty.
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let style = Style { colours: at_terminal && !plain, times: at_terminal };
        let conversation = Conversation::new(args.user.clone(), url, target, style);
        let ends = at_terminal.then(|| terminal(conversation.prompt())).flatten();
        let (input, output, terminal) = match ends {
            Some((input, output, terminal)) => (input, output, Some(terminal)),
            None => (input::from_pipe(), Output::to_streams(), None),
        };
        let deadline = terminal.is_none().then(|| Instant::now() + REACH_TIMEOUT);
        let (input_ended, held) = (false, None);
        Ok(Self { session, conversation, input, input_ended, output, style, held, deadline, terminal })
    }

    async fn run(mut self, mut signals: Signals) -> Result<(), ChatError> {
        self.session.connect();
        let result = self.converse(&mut signals).await;
        let told = self.leave().await;
        self.output.finish().await;
        drop(self.terminal);
        result.and(told)?;
        match self.conversation.lost() {
            0 => Ok(()),
            count => Err(ChatError::Unsent(count)),
        }
    }

    /// Until it is time to leave.
    async fn converse(&mut self, signals: &mut Signals) -> Result<(), ChatError> {
        loop {
            if self.is_done() {
                return Ok(());
            }
            let Self { session, input, input_ended, held, deadline, .. } = self;
            let expired = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(*at).await,
                    None => std::future::pending().await,
                }
            };
            let turn = tokio::select! {
                event = session.next() => Turn::Session(event),
                input = input.recv(), if !*input_ended && held.is_none() => Turn::Input(input),
                () = expired => Turn::Deadline,
                () = signals.next() => Turn::Signal,
            };
            match turn {
                Turn::Session(event) => self.told(event).await?,
                Turn::Input(Some(Input::Command(Command::Quit))) | Turn::Signal => return Ok(()),
                Turn::Input(Some(Input::Command(command))) => self.command(command).await?,
                Turn::Input(Some(Input::Failed(error))) => return Err(error.into()),
                Turn::Input(Some(Input::End) | None) => {
                    self.input_ended = true;
                    if self.conversation.was_online() && self.terminal.is_none() {
                        self.deadline = Some(Instant::now() + FLUSH_TIMEOUT);
                    }
                }
                Turn::Deadline if self.conversation.was_online() => return Ok(()),
                Turn::Deadline => {
                    return Err(ChatError::Unreachable(self.conversation.take_link_error()));
                }
            }
        }
    }

    /// At a terminal, whoever ends the input wants to leave now; in a pipe, everything is sent before, and the
    /// server's greeting awaited: a server may forget what came from a user whom it was still loading.
    fn is_done(&self) -> bool {
        let sent = self.held.is_none() && self.session.pending_messages() == 0;
        self.input_ended && (self.terminal.is_some() || (sent && self.conversation.is_greeted()))
    }

    /// Closes the session and shows what it still says, within [`CLOSE_TIMEOUT`].
    async fn leave(&mut self) -> Result<(), ChatError> {
        self.session.close();
        self.conversation.leave();
        if let Some(text) = self.held.take() {
            let outgoing = Box::new(self.conversation.outgoing(&text));
            let line = self.conversation.refused(&text, &SendError::Closed(outgoing));
            self.show(line).await?;
        }
        // Nothing is told of what was closed before.
        while !matches!(self.session.state(), ConnectionState::Closed(_)) {
            let event = self.session.next().await;
            self.show_event(event).await?;
        }
        // What the session has told itself while closing waits to be fetched; there is no more to wait for.
        while let Some(event) = self.session.try_next() {
            self.show_event(event).await?;
        }
        Ok(())
    }

    /// Something happened to the session.
    async fn told(&mut self, event: Event) -> Result<(), ChatError> {
        if let Event::LinkEnded(LinkError::Connect(error)) = &event
            && error.is_permanent()
            && !self.conversation.was_online()
            && let Event::LinkEnded(error) = event
        {
            return Err(ChatError::Unwanted(error));
        }
        let state = match &event {
            Event::Notification(Notification::StateChanged(state)) => Some(*state),
            Event::Notification(_) | Event::LinkEnded(_) => None,
        };
        self.show_event(event).await?;
        match state {
            Some(ConnectionState::Online) => {
                self.deadline =
                    (self.terminal.is_none() && self.input_ended).then(|| Instant::now() + FLUSH_TIMEOUT);
            }
            Some(ConnectionState::Closed(reason)) => self.displaced(reason).await?,
            Some(
                ConnectionState::Connecting { .. }
                | ConnectionState::Closing
                | ConnectionState::Waiting { .. },
            )
            | None => {}
        }
        if let Some(text) = self.held.take() {
            self.say(text).await?;
        }
        Ok(())
    }

    /// The server has closed the connection, and it would do so again: another device is at it.
    async fn displaced(&mut self, reason: ClosedReason) -> Result<(), ChatError> {
        let why = match reason {
            ClosedReason::TakenOver => "a newer connection of the same user took over",
            ClosedReason::TooManyDevices => "the user has too many connections, and this was the oldest",
            ClosedReason::Dismissed => "the server asks not to be dialled again",
            ClosedReason::Application | ClosedReason::NotStarted => return Ok(()),
        };
        if self.terminal.is_none() {
            return Err(ChatError::Displaced(why));
        }
        self.show(Line::Status("/connect takes it back".to_owned())).await
    }

    async fn show_event(&mut self, event: Event) -> Result<(), ChatError> {
        let lines = match event {
            Event::LinkEnded(error) => {
                self.conversation.link_ended(error);
                Vec::new()
            }
            Event::Notification(notification) => {
                let session = &self.session;
                self.conversation.notified(notification, &time_of_day(), |at| session.until(at))
            }
        };
        for line in lines {
            self.show(line).await?;
        }
        Ok(())
    }

    async fn show(&self, line: Line) -> Result<(), ChatError> {
        match line {
            Line::Message(line) => self.output.message(line).await?,
            Line::Status(text) => self.output.status(self.style.status(&text, &time_of_day())).await?,
        }
        Ok(())
    }

    async fn command(&mut self, command: Command) -> Result<(), ChatError> {
        match command {
            Command::Nothing | Command::Quit => {}
            Command::Say(text) => self.say(text).await?,
            Command::Help => {
                for line in input::HELP {
                    self.show(Line::Status(line.to_owned())).await?;
                }
            }
            Command::WhoAmI => {
                let session = &self.session;
                let line = self.conversation.who_am_i(session.state(), |at| session.until(at));
                self.show(line).await?;
            }
            Command::Connect => self.session.connect(),
            Command::To(user) => {
                let line = self.conversation.turn_to(Target::User(user));
                self.show(line).await?;
            }
            Command::Group(group) => {
                let line = self.conversation.turn_to(Target::Group(group));
                self.show(line).await?;
            }
            Command::Wrong(why) => self.show(Line::Status(why)).await?,
        }
        Ok(self.output.prompt(self.conversation.prompt()).await?)
    }

    /// Sends a text. In a pipe, one that finds no room is held until there is some; nothing is read meanwhile.
    async fn say(&mut self, text: String) -> Result<(), ChatError> {
        let outgoing: Outgoing = self.conversation.outgoing(&text);
        let line = match self.session.send(outgoing) {
            Ok(id) => self.conversation.accepted(id, &text, self.session.state()),
            Err(SendError::QueueFull(_)) if self.terminal.is_none() => {
                self.held = Some(text);
                None
            }
            Err(error) => Some(self.conversation.refused(&text, &error)),
        };
        match line {
            Some(line) => self.show(line).await,
            None => Ok(()),
        }
    }
}

/// A line editor in this terminal, and what it prints with; none if the terminal cannot do that.
fn terminal(prompt: String) -> Option<(mpsc::Receiver<Input>, Output, TerminalGuard)> {
    let guard = TerminalGuard::new()?;
    let mut editor = input::editor().ok()?;
    let printer = editor.create_external_printer().ok()?;
    let (to_editor, prompts) = sync_channel(1);
    let output = Output::to_terminal(printer, to_editor);
    Some((input::from_terminal(editor, prompt, prompts), output, guard))
}

/// Gives the terminal back as it was: the line editor cannot be interrupted, and leaves it as it needs it.
struct TerminalGuard {
    before: Termios,
}

impl TerminalGuard {
    fn new() -> Option<Self> {
        Some(Self { before: tcgetattr(io::stdin()).ok()? })
    }
}

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let edited = tcgetattr(io::stdin()).is_ok_and(|now| now != self.before);
        if edited {
            let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.before);
            let mut stdout = io::stdout().lock();
            let _ = stdout.write_all(BRACKETED_PASTE_OFF);
            // The line being typed stays where it is.
            let _ = stdout.write_all(b"\n");
            let _ = stdout.flush();
        }
    }
}

/// The local time, to the minute.
fn time_of_day() -> String {
    jiff::Zoned::now().strftime("%H:%M").to_string()
}

/// The signals that end a chat.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
