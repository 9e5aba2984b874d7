//! What the user types: lines from a terminal with editing and history, or from a pipe, as commands.

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
use switchboard_engine::{GroupChange, GroupId, Role, UserId};
use tokio::sync::mpsc;

/// Lines that may be read before they are dealt with.
const LINES_AHEAD: usize = 64;
/// The longest line of a pipe. A message may have 8 MiB; nobody types as much.
const LINE_LIMIT_BYTES: u64 = 1 << 20;
/// How long the editor waits for what a line gives rise to, before it asks for the next one.
const READY_TIMEOUT: Duration = Duration::from_millis(500);
/// That the user goes on typing is told at this interval.
const TYPING_INTERVAL: Duration = Duration::from_secs(2);
/// The longest time that somebody is muted for: a hundred years.
const MUTE_LIMIT_MINUTES: u32 = 52_560_000;
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
    /// To change the text of the last message said here.
    Edit(String),
    /// To take back the last message said here.
    Recall,
    /// To make a group of this name, and talk to it.
    Create {
        name: String,
        invite_only: bool,
    },
    /// To become a member of this group, and talk to it.
    Join(GroupId),
    /// To change the group that the user talks to.
    Change(GroupChange),
    /// To keep this user from writing to the group for so many minutes; 0: no longer.
    Mute(UserId, u32),
    /// It is no command, for this reason.
    Wrong(String),
}

/// What `/help` says.
pub(super) const HELP: [&str; 20] = [
    "/to USER              talk to a user from now on",
    "/group GROUP          talk to a group from now on, by its id; what it begins with, or its name, if it is known",
    "/more                 older messages of this conversation",
    "/edit TEXT            change the last message that you said here",
    "/recall               take it back",
    "/group create NAME    make a group that one is invited to, and talk to it",
    "/group open NAME      make a group that everybody may join who knows its id",
    "/group join GROUP     become a member of a group that is open",
    "/group leave          leave the group that you talk to",
    "/group invite USER    make somebody a member",
    "/group kick USER      end somebody's membership",
    "/group role USER ROLE make somebody a member, admin or owner",
    "/group mute USER MINUTES, /group unmute USER",
    "/group rename NAME    call the group something else",
    "/whoami               who you are, whom you talk to, and the state of the connection",
    "/connect              connect now, instead of waiting for the next try",
    "/quit                 leave; so do Ctrl-D and Ctrl-C",
    "//TEXT                send a message that begins with a slash",
    "anything else is sent as a message; ✓ says that the server has it",
    "lines that begin with -- are about the conversation and not a part of it",
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
            ("group", false) => Self::of_group(rest),
            ("edit", false) => Self::Edit(rest.to_owned()),
            ("edit", true) => Self::Wrong("/edit needs the new text: /edit TEXT".to_owned()),
            ("recall", true) => Self::Recall,
            ("to", true) => Self::Wrong("/to needs a user: /to USER".to_owned()),
            ("group", true) => Self::Wrong("/group needs a group: /group GROUP".to_owned()),
            ("help" | "quit" | "exit" | "whoami" | "who-am-i" | "connect" | "more" | "recall", false) => {
                Self::Wrong(format!("/{word} takes nothing"))
            }
            _ => Self::Wrong(format!("there is no /{word}: see /help, or send it with //{word}")),
        }
    }
}

impl Command {
    /// Reads what follows `/group`.
    fn of_group(whole: &str) -> Self {
        let rest = whole;
        let (word, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let rest = rest.trim();
        let of_user = |change: fn(UserId) -> Self| match UserId::new(rest) {
            Ok(user) => change(user),
            Err(error) => Self::Wrong(format!("/group {word} USER: {error}")),
        };
        match (word, rest.is_empty()) {
            ("create", false) => Self::Create { name: rest.to_owned(), invite_only: true },
            ("open", false) => Self::Create { name: rest.to_owned(), invite_only: false },
            ("join", false) => match GroupId::new(rest) {
                Ok(group) => Self::Join(group),
                Err(error) => Self::Wrong(format!("/group join GROUP: {error}")),
            },
            ("leave", true) => Self::Change(GroupChange::Leave),
            ("invite", false) => of_user(|user| Self::Change(GroupChange::Invite(user))),
            ("kick", false) => of_user(|user| Self::Change(GroupChange::Kick(user))),
            ("unmute", false) => of_user(|user| Self::Mute(user, 0)),
            ("rename", false) => Self::Change(GroupChange::Rename(rest.into())),
            ("role", false) => Self::role(rest),
            ("mute", false) => Self::mute(rest),
            ("create" | "open" | "rename", true) => Self::Wrong(format!("/group {word} needs a name")),
            ("join" | "invite" | "kick" | "role" | "mute" | "unmute", true) => {
                Self::Wrong(format!("/group {word} needs more: see /help"))
            }
            ("leave", false) => {
                Self::Wrong("/group leave takes nothing: it is about the group that you talk to".to_owned())
            }
            _ => match GroupId::new(whole) {
                Ok(group) => Self::Group(group),
                Err(error) => Self::Wrong(format!("/group GROUP: {error}")),
            },
        }
    }

    /// Reads `USER ROLE`.
    fn role(rest: &str) -> Self {
        let wrong = || Self::Wrong("/group role USER ROLE: the role is member, admin or owner".to_owned());
        let Some((user, role)) = rest.rsplit_once(char::is_whitespace) else { return wrong() };
        let role = match role {
            "member" => Role::Member,
            "admin" => Role::Admin,
            "owner" => Role::Owner,
            _ => return wrong(),
        };
        UserId::new(user.trim())
            .map_or_else(|_| wrong(), |user| Self::Change(GroupChange::SetRole(user, role)))
    }

    /// Reads `USER MINUTES`.
    fn mute(rest: &str) -> Self {
        let read = || {
            let (user, minutes) = rest.rsplit_once(char::is_whitespace)?;
            let minutes =
                minutes.parse().ok().filter(|minutes| (1..=MUTE_LIMIT_MINUTES).contains(minutes))?;
            Some(Self::Mute(UserId::new(user.trim()).ok()?, minutes))
        };
        read().unwrap_or_else(|| {
            Self::Wrong(format!(
                "/group mute USER MINUTES: as in /group mute bob 10; at most {MUTE_LIMIT_MINUTES} minutes"
            ))
        })
    }
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
    fn a_line_is_a_message_unless_it_begins_with_one_slash() {
        let say = |text: &str| Command::Say(text.to_owned());
        assert_eq!(Command::parse("hello /to bob"), say("hello /to bob"));
        assert_eq!(Command::parse("//to bob"), say("/to bob"));
        assert_eq!(Command::parse("  "), Command::Nothing);
        assert_eq!(Command::parse("/to  bob "), Command::To(UserId::new("bob").unwrap()));
        assert_eq!(Command::parse("/group g1"), Command::Group(GroupId::new("g1").unwrap()));
        assert_eq!(Command::parse("/help"), Command::Help);
        assert_eq!(Command::parse("/quit"), Command::Quit);
        assert_eq!(Command::parse("/who-am-i"), Command::WhoAmI);
        assert_eq!(Command::parse("/connect"), Command::Connect);
        assert_eq!(Command::parse("/more"), Command::More);
    }

    #[test]
    fn groups_are_made_and_changed() {
        let bob = || UserId::new("bob").unwrap();
        let name = || "the lunch table".to_owned();
        for (line, command) in [
            ("/group create the lunch table", Command::Create { name: name(), invite_only: true }),
            ("/group open the lunch table", Command::Create { name: name(), invite_only: false }),
            ("/group join g1", Command::Join(GroupId::new("g1").unwrap())),
            ("/group leave", Command::Change(GroupChange::Leave)),
            ("/group invite bob", Command::Change(GroupChange::Invite(bob()))),
            ("/group kick bob", Command::Change(GroupChange::Kick(bob()))),
            ("/group role bob admin", Command::Change(GroupChange::SetRole(bob(), Role::Admin))),
            ("/group mute bob 10", Command::Mute(bob(), 10)),
            ("/group unmute bob", Command::Mute(bob(), 0)),
            ("/group rename the lunch table", Command::Change(GroupChange::Rename("the lunch table".into()))),
            ("/edit more text", Command::Edit("more text".to_owned())),
            ("/recall", Command::Recall),
        ] {
            assert_eq!(Command::parse(line), command, "{line}");
        }
    }

    #[test]
    fn a_wrong_command_is_not_sent_as_a_message() {
        for line in [
            "/",
            "/too bob",
            "/to",
            "/group",
            "/quit now",
            "/help me",
            "/edit",
            "/group create",
            "/group leave now",
            "/group role bob",
            "/group role bob king",
            "/group mute bob",
            "/group mute bob 0",
            "/group mute bob 52560001",
            "/group invite",
        ] {
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
