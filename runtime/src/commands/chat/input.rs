//! What the user types: lines from a terminal with editing and history, or from a pipe, as commands.

use std::{
    io::{self, BufRead, Read as _},
    sync::mpsc::Receiver,
    thread,
    time::Duration,
};

use rustyline::{DefaultEditor, error::ReadlineError};
use switchboard_engine::{GroupId, UserId};
use tokio::sync::mpsc;

/// Lines that may be read before they are dealt with.
const LINES_AHEAD: usize = 64;
/// The longest line of a pipe. A message may have 8 MiB; nobody types as much.
const LINE_LIMIT_BYTES: u64 = 1 << 20;
/// How long the editor waits for what a line gives rise to, before it asks for the next one.
const READY_TIMEOUT: Duration = Duration::from_millis(500);
/// Lines that the editor remembers.
const HISTORY_LINES: usize = 1000;

/// Something from the user.
#[derive(Debug)]
pub(super) enum Input {
    /// What to do.
    Command(Command),
    /// Nothing more will come, because the user wants to leave or the input has ended.
    End,
    /// Nothing more will come, because the input cannot be read.
    Failed(InputError),
}

/// Why input cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The system, or the terminal, failed.
    #[error("reading failed")]
    Read(#[from] io::Error),
    /// The line editor failed.
    #[error("the line editor failed")]
    Editor(#[from] ReadlineError),
    /// A line is too long for a message.
    #[error("a line has more than {LINE_LIMIT_BYTES} bytes")]
    LineTooLong,
}

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Nothing: it is blank.
    Nothing,
    /// To send this.
    Say(String),
    Help,
    Quit,
    WhoAmI,
    Connect,
    /// To see older messages.
    More,
    /// To talk to this user from now on.
    To(UserId),
    /// To talk to this group from now on.
    Group(GroupId),
    /// It is no command, for this reason.
    Wrong(String),
}

/// What `/help` says.
pub(super) const HELP: [&str; 8] = [
    "/to USER      talk to a user from now on",
    "/group GROUP  talk to a group from now on",
    "/more         older messages of this conversation",
    "/whoami       who you are, whom you talk to, and the state of the connection",
    "/connect      connect now, instead of waiting for the next try",
    "/quit         leave; so do Ctrl-D and Ctrl-C",
    "//TEXT        send a message that begins with a slash",
    "anything else is sent as a message",
];

impl Command {
    /// Reads a line that was typed at a prompt.
    pub(super) fn parse(line: &str) -> Self {
        let line = line.trim_end_matches(['\r', '\n']);
        if line.trim().is_empty() {
            return Self::Nothing;
        }
        let Some(command) = line.strip_prefix('/') else { return Self::Say(line.to_owned()) };
        if command.starts_with('/') {
            return Self::Say(command.to_owned());
        }
        let (word, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let rest = rest.trim();
        match (word, rest.is_empty()) {
            ("help", true) => Self::Help,
            ("quit" | "exit", true) => Self::Quit,
            ("whoami" | "who-am-i", true) => Self::WhoAmI,
            ("connect", true) => Self::Connect,
            ("more", true) => Self::More,
            ("to", false) => match UserId::new(rest) {
                Ok(user) => Self::To(user),
                Err(error) => Self::Wrong(format!("/to USER: {error}")),
            },
            ("group", false) => match GroupId::new(rest) {
                Ok(group) => Self::Group(group),
                Err(error) => Self::Wrong(format!("/group GROUP: {error}")),
            },
            ("to", true) => Self::Wrong("/to needs a user: /to USER".to_owned()),
            ("group", true) => Self::Wrong("/group needs a group: /group GROUP".to_owned()),
            ("help" | "quit" | "exit" | "whoami" | "who-am-i" | "connect" | "more", false) => {
                Self::Wrong(format!("/{word} takes nothing"))
            }
            _ => Self::Wrong(format!("there is no /{word}: see /help, or send it with //{word}")),
        }
    }
}

/// An editor with history, in this terminal.
///
/// # Errors
/// If there is no terminal that can edit lines.
pub(super) fn editor() -> Result<DefaultEditor, ReadlineError> {
    let config = rustyline::Config::builder().auto_add_history(true).max_history_size(HISTORY_LINES)?.build();
    DefaultEditor::with_config(config)
}

/// Reads lines of a terminal. After each line, the next prompt is awaited for a short time, so that what the
/// line gives rise to stands above it.
pub(super) fn from_terminal(
    mut editor: DefaultEditor,
    mut prompt: String,
    prompts: Receiver<String>,
) -> mpsc::Receiver<Input> {
    let (to_app, inputs) = mpsc::channel(LINES_AHEAD);
    thread::spawn(move || {
        loop {
            let input = match editor.readline(&prompt) {
                Ok(line) => Input::Command(Command::parse(&line)),
                Err(ReadlineError::Eof | ReadlineError::Interrupted) => Input::End,
                // Of a window that has changed its size.
                Err(ReadlineError::Signal(_)) => continue,
                Err(error) => Input::Failed(error.into()),
            };
            let last = !matches!(&input, Input::Command(command) if *command != Command::Quit);
            if to_app.blocking_send(input).is_err() || last {
                return;
            }
            if let Ok(next) = prompts.recv_timeout(READY_TIMEOUT) {
                prompt = next;
            }
        }
    });
    inputs
}

/// Reads lines of a pipe or a file, each a message.
pub(super) fn from_pipe() -> mpsc::Receiver<Input> {
    let (to_app, inputs) = mpsc::channel(LINES_AHEAD);
    thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        loop {
            let input = match line(&mut stdin) {
                Ok(Some(line)) if line.trim().is_empty() => continue,
                Ok(Some(line)) => Input::Command(Command::Say(line)),
                Ok(None) => Input::End,
                Err(error) => Input::Failed(error),
            };
            let last = !matches!(input, Input::Command(_));
            if to_app.blocking_send(input).is_err() || last {
                return;
            }
        }
    });
    inputs
}

/// The next line without its end; none at the end of the input. What is not UTF-8 becomes U+FFFD.
fn line(input: &mut impl BufRead) -> Result<Option<String>, InputError> {
    let mut bytes = Vec::new();
    // One more than the limit tells a line that is too long from one that just fits.
    input.by_ref().take(LINE_LIMIT_BYTES + 1).read_until(b'\n', &mut bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.pop_if(|last| *last == b'\n').is_some() {
        bytes.pop_if(|last| *last == b'\r');
    }
    if bytes.len() as u64 > LINE_LIMIT_BYTES {
        return Err(InputError::LineTooLong);
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_message_unless_it_begins_with_one_slash() {
        let say = |text: &str| Command::Say(text.to_owned());
        assert_eq!(Command::parse("hello /to bob"), say("hello /to bob"));
        assert_eq!(Command::parse("//to bob"), say("/to bob"));
        assert_eq!(Command::parse("  "), Command::Nothing);
        assert_eq!(Command::parse("/to  bob "), Command::To(UserId::new("bob").unwrap()));
        assert_eq!(Command::parse("/group g 1"), Command::Group(GroupId::new("g 1").unwrap()));
        assert_eq!(Command::parse("/help"), Command::Help);
        assert_eq!(Command::parse("/quit"), Command::Quit);
        assert_eq!(Command::parse("/who-am-i"), Command::WhoAmI);
        assert_eq!(Command::parse("/connect"), Command::Connect);
        assert_eq!(Command::parse("/more"), Command::More);
    }

    #[test]
    fn a_wrong_command_is_not_sent_as_a_message() {
        for line in ["/", "/too bob", "/to", "/group", "/quit now", "/help me"] {
            assert!(matches!(Command::parse(line), Command::Wrong(_)), "{line}");
        }
    }

    #[test]
    fn lines_of_a_pipe_lose_their_ends_and_have_a_limit() {
        let mut input: &[u8] = b"one\r\n\n  two\xff\nlast";
        let mut lines = Vec::new();
        while let Some(line) = line(&mut input).unwrap() {
            lines.push(line);
        }
        assert_eq!(lines, ["one", "", "  two\u{fffd}", "last"]);
        let limit = usize::try_from(LINE_LIMIT_BYTES).unwrap();
        let fits = [vec![b'x'; limit], b"\n".to_vec()].concat();
        assert_eq!(line(&mut &fits[..]).unwrap().unwrap().len(), limit);
        let too_long = vec![b'x'; limit + 1];
        assert!(matches!(line(&mut &too_long[..]), Err(InputError::LineTooLong)));
    }
}
