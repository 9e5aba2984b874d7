//! What keys mean.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// So many steps, backwards if negative.
    Go(i64),
    /// So many screens of the list.
    Page(i64),
    /// Before the first step.
    Begin,
    /// To the last step.
    End,
    /// To the next failure, or the one before.
    Failure(bool),
    /// To the next step that is sought, or the one before.
    Again(bool),
    /// Something is to be typed first.
    Ask(Ask),
    /// To the next pane, or the one before.
    Focus(bool),
    /// The pane that has the focus, by so many lines.
    Scroll(i64),
    /// The pane that has the focus alone, or all again.
    Zoom,
    /// The keys.
    Help,
    /// How another run is to leave this one.
    Fork,
    /// The whole run as a file.
    WriteAll,
    /// The file that was written last, as it is by now.
    Open,
    /// Back to the run that this one has left.
    Back,
    /// Out.
    Quit,
    /// Nothing.
    Nothing,
}

/// What is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The number of a step.
    Step,
    /// A text to search for.
    Text,
    /// Whom steps are to concern.
    Whom,
    /// Which way another run goes on.
    Fork,
    /// What keys the same steps.
    Luck,
    /// What makes other steps.
    Steps,
    /// The name of a file for the run up to here.
    File,
    /// The name of a file for all of it.
    WholeFile,
}

/// What a key means while nothing is typed.
#[must_use]
#[allow(clippy::wildcard_enum_match_arm, reason = "terminals have many more keys, and those mean nothing")]
pub fn command(key: KeyEvent) -> Command {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c' | 'q') => Command::Quit,
            KeyCode::Char('f') => Command::Page(1),
            KeyCode::Char('b') => Command::Page(-1),
            _ => Command::Nothing,
        };
    }
    match key.code {
        KeyCode::Down | KeyCode::Right | KeyCode::Char('j' | 'l' | ' ') => Command::Go(1),
        KeyCode::Up | KeyCode::Left | KeyCode::Char('k' | 'h') => Command::Go(-1),
        KeyCode::Char('J') => Command::Go(10),
        KeyCode::Char('K') => Command::Go(-10),
        KeyCode::PageDown => Command::Page(1),
        KeyCode::PageUp => Command::Page(-1),
        KeyCode::Home | KeyCode::Char('g') => Command::Begin,
        KeyCode::End | KeyCode::Char('G') => Command::End,
        KeyCode::Char('e') => Command::Failure(true),
        KeyCode::Char('E') => Command::Failure(false),
        KeyCode::Char('n') => Command::Again(true),
        KeyCode::Char('N') => Command::Again(false),
        KeyCode::Char(':') => Command::Ask(Ask::Step),
        KeyCode::Char('/') => Command::Ask(Ask::Text),
        KeyCode::Char('c') => Command::Ask(Ask::Whom),
        KeyCode::Tab => Command::Focus(true),
        KeyCode::BackTab => Command::Focus(false),
        KeyCode::Char('d') => Command::Scroll(1),
        KeyCode::Char('u') => Command::Scroll(-1),
        KeyCode::Char('D') => Command::Scroll(10),
        KeyCode::Char('U') => Command::Scroll(-10),
        KeyCode::Char('z') => Command::Zoom,
        KeyCode::Char('f') => Command::Fork,
        KeyCode::Char('w') => Command::Ask(Ask::File),
        KeyCode::Char('W') => Command::WriteAll,
        KeyCode::Char('o') => Command::Open,
        KeyCode::Char('b') => Command::Back,
        KeyCode::Char('?') | KeyCode::F(1) => Command::Help,
        KeyCode::Char('q') => Command::Quit,
        _ => Command::Nothing,
    }
}

/// All keys, for those who ask.
pub const HELP: &[(&str, &str)] = &[
    ("down j space, up k", "the next step, the one before"),
    ("J, K", "ten steps"),
    ("PgDn, PgUp", "a screen of steps"),
    ("g Home, G End", "before the first step, to the last"),
    (":", "to a step, by its number"),
    ("e, E", "to the next failure, to the one before"),
    ("/", "to the next step with a text in its words"),
    ("c", "to the next step that concerns a user, a client or a connection"),
    ("n, N", "the same again, and backwards"),
    ("Tab, Shift-Tab", "to another pane"),
    ("d u, D U", "the pane with the focus by one line, by ten"),
    ("z", "the pane with the focus alone"),
    ("f", "fork: another run that is like this one up to here"),
    ("w, W", "write what leads to here to a file; write the whole run"),
    ("o", "open the file that was written last, as it is by now"),
    ("b", "back to the run that this one has left"),
    ("q Ctrl-C", "out"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: KeyCode) -> Command {
        command(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn keys_mean_what_the_help_says() {
        assert_eq!(of(KeyCode::Down), Command::Go(1));
        assert_eq!(of(KeyCode::Char('k')), Command::Go(-1));
        assert_eq!(of(KeyCode::Char('K')), Command::Go(-10));
        assert_eq!(of(KeyCode::End), Command::End);
        assert_eq!(of(KeyCode::Char('E')), Command::Failure(false));
        assert_eq!(of(KeyCode::Char(':')), Command::Ask(Ask::Step));
        assert_eq!(of(KeyCode::F(9)), Command::Nothing);
        let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(command(ctrl_c), Command::Quit);
    }
}
