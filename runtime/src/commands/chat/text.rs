//! What stands on the screen: texts of other people made harmless, and lines made of them.

use switchboard_engine::{Incoming, IncomingKind, Media, Scope, SignalKind, Target};

/// A display name of a peer is cut to this many characters.
const NAME_LIMIT_CHARS: usize = 64;
/// An own message is quoted with this many characters.
const QUOTE_LIMIT_CHARS: usize = 40;

/// Makes a text of a peer harmless: on one line, with nothing in it that drives a terminal or reorders what is
/// seen. Control characters are shown as their pictures (U+2400), those without one and marks of direction as
/// U+FFFD; tabs become blanks.
pub(super) fn neutral(text: &str) -> String {
    text.chars().map(neutral_char).collect()
}

fn neutral_char(c: char) -> char {
    match c {
        '\t' => ' ',
        // "Control pictures" has one for each of ASCII's.
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(c)).unwrap_or(char::REPLACEMENT_CHARACTER),
        '\x7f' => '\u{2421}',
        // C1, which some terminals obey like ESC and the next character.
        '\u{80}'..='\u{9f}'
        // Line and paragraph separator.
        | '\u{2028}' | '\u{2029}'
        // Unicode Standard Annex 9: marks, embeddings, overrides and isolates.
        | '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            char::REPLACEMENT_CHARACTER
        }
        c => c,
    }
}

/// At most this many characters of a text, harmless; an ellipsis says that there were more.
fn short(text: &str, limit_chars: usize) -> String {
    let mut chars = text.chars();
    let mut short: String = chars.by_ref().take(limit_chars).map(neutral_char).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

/// An own message, as a status line names it.
pub(super) fn quote(text: &str) -> String {
    format!("\"{}\"", short(text, QUOTE_LIMIT_CHARS))
}

/// A conversation's name, for the prompt and for status lines.
pub(super) fn name(target: &Target) -> String {
    match target {
        Target::User(user) => neutral(user.as_str()),
        Target::Group(group) => format!("group {}", neutral(group.as_str())),
        Target::Everyone => "everyone".to_owned(),
    }
}

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    /// Colours, as ANSI escape sequences.
    pub(super) colours: bool,
    /// The time of day before messages and status lines.
    pub(super) times: bool,
}

// SGR parameters (ECMA-48).
const DIM: &str = "2";
const BOLD_CYAN: &str = "1;36";
const YELLOW: &str = "33";

impl Style {
    fn paint(self, parameters: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{parameters}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn with_time(self, line: &str, time: &str) -> String {
        if self.times { format!("{} {line}", self.paint(DIM, time)) } else { line.to_owned() }
    }

    /// A line about the connection or a command, not about what somebody said.
    pub(super) fn status(self, text: &str, time: &str) -> String {
        self.with_time(&self.paint(DIM, &format!("-- {}", neutral(text))), time)
    }

    /// A message of the conversation with `current`, or of another one, which is said; none for what a
    /// terminal has no use for.
    pub(super) fn message(self, incoming: &Incoming, current: &Target, time: &str) -> Option<String> {
        let content = content(&incoming.kind)?;
        let sender = self.paint(BOLD_CYAN, &sender(incoming));
        let line = match mark(incoming, current) {
            Some(mark) => format!("{} {sender}: {content}", self.paint(YELLOW, &mark)),
            None => format!("{sender}: {content}"),
        };
        Some(self.with_time(&line, time))
    }
}

/// The sender's id, which the server vouches for, and the display name, which it does not.
fn sender(incoming: &Incoming) -> String {
    let id = short(incoming.sender(), NAME_LIMIT_CHARS);
    let username = short(&incoming.username, NAME_LIMIT_CHARS);
    if username.is_empty() || username == id { id } else { format!("{id} ({username})") }
}

/// Which conversation a message belongs to, if not to the current one.
fn mark(incoming: &Incoming, current: &Target) -> Option<String> {
    match (incoming.scope, current) {
        (Scope::Direct, Target::User(user)) if user.as_str() == incoming.sender() => None,
        (Scope::Group, Target::Group(group)) if incoming.group() == Some(group.as_str()) => None,
        (Scope::Direct, _) => Some("[to you]".to_owned()),
        (Scope::Group, _) => {
            Some(format!("[group {}]", short(incoming.group().unwrap_or_default(), NAME_LIMIT_CHARS)))
        }
        (Scope::Everyone, _) => Some("[to everyone]".to_owned()),
    }
}

fn content(kind: &IncomingKind) -> Option<String> {
    match kind {
        IncomingKind::Text(text) => Some(neutral(text)),
        IncomingKind::File(media) => Some(file("file", media)),
        IncomingKind::Image(media) => Some(file("image", media)),
        IncomingKind::Audio(media) => Some(file("audio", media)),
        IncomingKind::Video(media) => Some(file("video", media)),
        // The rest of a call, pictures above all, comes many times a second.
        IncomingKind::Signal { kind: SignalKind::Dialling(_), .. } => {
            Some("[a call: a terminal cannot take it]".to_owned())
        }
        IncomingKind::Signal { .. } => None,
        IncomingKind::Other { content_type, .. } => Some(format!("[content type {content_type}]")),
    }
}

fn file(what: &str, media: &Media) -> String {
    let name = if media.caption.is_empty() { &media.url } else { &media.caption };
    if name.is_empty() { format!("[{what}]") } else { format!("[{what} {}]", short(name, NAME_LIMIT_CHARS)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchboard_engine::{GroupId, UserId};

    const PLAIN: Style = Style { colours: false, times: false };

    fn text(scope: Scope, from: &str, to: &str, text: &str) -> Incoming {
        Incoming {
            from: from.to_owned(),
            to: to.to_owned(),
            scope,
            username: String::new(),
            avatar: String::new(),
            kind: IncomingKind::Text(text.to_owned()),
        }
    }

    fn user(id: &str) -> Target {
        Target::User(UserId::new(id).unwrap())
    }

    fn shown(incoming: &Incoming, current: &Target) -> String {
        PLAIN.message(incoming, current, "").unwrap()
    }

    #[test]
    fn no_control_character_survives() {
        for c in (0..=0x9f).filter_map(char::from_u32).filter(|c| c.is_control()) {
            let shown = neutral(&format!("a{c}b"));
            assert!(!shown.chars().any(char::is_control), "{c:?} became {shown:?}");
            assert_eq!(shown.chars().count(), 3, "{c:?} became {shown:?}");
        }
        assert_eq!(
            neutral("\x1b[2J\x07\r\nx\u{9b}31m\u{202e}txt\tend"),
            "␛[2J␇␍␊x\u{fffd}31m\u{fffd}txt end"
        );
        assert_eq!(neutral("Zoë 你好 👋"), "Zoë 你好 👋");
    }

    #[test]
    fn names_captions_and_groups_of_peers_cannot_drive_the_terminal() {
        let mut incoming = text(Scope::Group, "g\x1b[1m", "bob\x1b]0;x\x07", "hi\x1bc");
        incoming.username = "B\nob".to_owned();
        let line = PLAIN.message(&incoming, &user("carol"), "").unwrap();
        assert_eq!(line, "[group g␛[1m] bob␛]0;x␇ (B␊ob): hi␛c");
        let media =
            Media { caption: "a\x1b.png".into(), url: "u".into(), suffix: "png".into(), file: [][..].into() };
        incoming.kind = IncomingKind::Image(media);
        assert!(shown(&incoming, &user("carol")).ends_with("[image a␛.png]"));
        let coloured = Style { colours: true, times: true };
        let escapes = coloured.message(&incoming, &user("carol"), "12:00").unwrap().matches('\x1b').count();
        // Time, mark and sender: each one on and one off.
        assert_eq!(escapes, 6);
    }

    #[test]
    fn messages_of_other_conversations_say_where_they_belong() {
        let group = Target::Group(GroupId::new("g").unwrap());
        let direct = text(Scope::Direct, "bob", "alice", "hi");
        assert_eq!(shown(&direct, &user("bob")), "bob: hi");
        assert_eq!(shown(&direct, &user("carol")), "[to you] bob: hi");
        assert_eq!(shown(&direct, &group), "[to you] bob: hi");
        let in_group = text(Scope::Group, "g", "bob", "hi");
        assert_eq!(shown(&in_group, &group), "bob: hi");
        // A group may be called like the user one talks to.
        assert_eq!(shown(&text(Scope::Group, "bob", "eve", "hi"), &user("bob")), "[group bob] eve: hi");
        assert_eq!(shown(&in_group, &user("bob")), "[group g] bob: hi");
        assert_eq!(shown(&text(Scope::Everyone, "bob", "", "hi"), &user("bob")), "[to everyone] bob: hi");
    }

    #[test]
    fn files_are_named_and_the_stream_of_a_call_is_left_out() {
        let mut incoming = text(Scope::Direct, "bob", "alice", "");
        let media = |caption: &str| Media {
            caption: caption.into(),
            url: "f3.bin".into(),
            suffix: String::new(),
            file: [][..].into(),
        };
        for (kind, line) in [
            (IncomingKind::File(media("a.txt")), "bob: [file a.txt]"),
            (IncomingKind::Image(media("")), "bob: [image f3.bin]"),
            (IncomingKind::Audio(media("a.mp3")), "bob: [audio a.mp3]"),
            (IncomingKind::Video(media("a.mp4")), "bob: [video a.mp4]"),
        ] {
            incoming.kind = kind;
            assert_eq!(shown(&incoming, &user("bob")), line);
        }
        incoming.kind = IncomingKind::Signal { kind: SignalKind::ScreenFrame, content: "x".into() };
        assert_eq!(PLAIN.message(&incoming, &user("bob"), ""), None);
    }

    #[test]
    fn long_names_and_quotes_are_cut() {
        let mut incoming = text(Scope::Direct, "bob", "alice", "hi");
        incoming.username = "x".repeat(1000);
        assert_eq!(shown(&incoming, &user("bob")).chars().count(), "bob (): hi".len() + 64 + 1);
        assert_eq!(quote(&"y".repeat(41)), format!("\"{}…\"", "y".repeat(40)));
        assert_eq!(quote("short"), "\"short\"");
    }
}
