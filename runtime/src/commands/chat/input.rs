//! What the user types: lines from a terminal with editing and history, or from a pipe.

use std::{
    cell::Cell,
    io::{self, BufRead, Read as _},
    sync::mpsc::Receiver,
    thread,
    time::{Duration, Instant},
};

use rustyline::{
    Helper, completion::Completer, error::ReadlineError, highlight::Highlighter, hint::Hinter,
    history::DefaultHistory, validate::Validator,
};
use tokio::sync::mpsc;

use super::command::Command;

/// Lines that may be read before they are dealt with.
const LINES_AHEAD: usize = 64;
/// The longest line of a pipe. A message may have 8 MiB; nobody types as much.
const LINE_LIMIT_BYTES: u64 = 1 << 20;
/// How long the editor waits for what a line gives rise to, before it asks for the next one.
const READY_TIMEOUT: Duration = Duration::from_millis(500);
/// That the user goes on typing is told at this interval.
const TYPING_INTERVAL: Duration = Duration::from_secs(2);
/// Lines that the editor remembers.
const HISTORY_LINES: usize = 1000;

/// Something from the user.
#[derive(Debug)]
pub(super) enum Input {
    /// What to do.
    Command(Command),
    /// At a terminal: whether something stands on the line that will be a message.
    Typing(bool),
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

/// A line editor with history that tells whether somebody types.
pub(super) type Editor = rustyline::Editor<Keys, DefaultHistory>;

/// Looks at the line after each key. The line editor calls this to ask for a hint; there is none to give.
#[derive(Debug)]
pub(super) struct Keys {
    to_app: mpsc::Sender<Input>,
    told: Cell<Option<Instant>>,
}

impl Keys {
    fn look(&self, line: &str) {
        let types = !line.is_empty() && (!line.starts_with('/') || line.starts_with("//"));
        let told = self.told.get();
        let news = match (types, told) {
            (true, Some(told)) => told.elapsed() >= TYPING_INTERVAL,
            (types, told) => types != told.is_some(),
        };
        if news {
            self.told.set(types.then(Instant::now));
            // An application that is behind with its input has no use for this.
            let _ = self.to_app.try_send(Input::Typing(types));
        }
    }
}

impl Hinter for Keys {
    type Hint = String;

    fn hint(&self, line: &str, _: usize, _: &rustyline::Context<'_>) -> Option<String> {
        self.look(line);
        None
    }
}

impl Completer for Keys {
    type Candidate = String;
}

impl Highlighter for Keys {}
impl Validator for Keys {}
impl Helper for Keys {}

/// An editor with history, in this terminal, and what comes from it.
///
/// # Errors
/// If there is no terminal that can edit lines.
pub(super) fn editor() -> Result<(Editor, mpsc::Receiver<Input>), ReadlineError> {
    let config = rustyline::Config::builder().auto_add_history(true).max_history_size(HISTORY_LINES)?.build();
    let (to_app, inputs) = mpsc::channel(LINES_AHEAD);
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(Keys { to_app, told: Cell::new(None) }));
    Ok((editor, inputs))
}

/// Reads lines of a terminal. After each line, the next prompt is awaited for a short time, so that what the
/// line gives rise to stands above it.
pub(super) fn from_terminal(mut editor: Editor, mut prompt: String, prompts: Receiver<String>) {
    let Some(to_app) = editor.helper().map(|keys| keys.to_app.clone()) else { return };
    thread::spawn(move || {
        loop {
            let read = editor.readline(&prompt);
            if let Some(keys) = editor.helper() {
                keys.told.set(None);
            }
            let input = match read {
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
