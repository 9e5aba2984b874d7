//! What stands on the screen: texts of other people made harmless, and lines made of them.

use switchboard_engine::{Content, GroupChange, LogMessage, Recipient, Role, Subject, UserId};

/// A name or file of a peer is cut to this many characters.
pub(super) const NAME_LIMIT_CHARS: usize = 64;
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
pub(super) fn short(text: &str, limit_chars: usize) -> String {
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
const GREEN: &str = "32";

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

    /// A message of a conversation, or an edit of one, while the user talks in `current`.
    pub(super) fn message(
        self,
        conversation: &Recipient,
        message: &LogMessage,
        current: &Recipient,
        time: &str,
    ) -> String {
        let sender =
            if message.own { "you".to_owned() } else { short(message.from.as_str(), NAME_LIMIT_CHARS) };
        let sender = self.paint(if message.own { GREEN } else { BOLD_CYAN }, &sender);
        let content = content(message);
        let line = match mark(conversation, message, current) {
            Some(mark) => format!("{} {sender}: {content}", self.paint(YELLOW, &mark)),
            None => format!("{sender}: {content}"),
        };
        self.with_time(&line, time)
    }
}

/// Which conversation a message belongs to, if not to the current one.
fn mark(conversation: &Recipient, message: &LogMessage, current: &Recipient) -> Option<String> {
    match conversation {
        _ if conversation == current => None,
        Recipient::User(user) if message.own => {
            Some(format!("[to {}]", short(user.as_str(), NAME_LIMIT_CHARS)))
        }
        Recipient::User(_) => Some("[to you]".to_owned()),
        Recipient::Group(group) => Some(format!("[group {}]", short(group.as_str(), NAME_LIMIT_CHARS))),
    }
}

fn content(message: &LogMessage) -> String {
    let content = &message.content;
    if message.is_recalled {
        return "(taken back)".to_owned();
    }
    let text = match content.kind {
        1 => neutral(&content.text),
        2 => file("file", content),
        3 => file("image", content),
        4 => file("audio", content),
        5 => file("video", content),
        _ => match content.subject {
            Subject::Edit { .. } => neutral(&content.text),
            Subject::Message | Subject::Recall { .. } | Subject::Change(_) => {
                format!("[content kind {}]", content.kind)
            }
        },
    };
    let is_edited = message.changed_seq > 0 || matches!(content.subject, Subject::Edit { .. });
    if is_edited { format!("{text} (edited)") } else { text }
}

/// What somebody has done to a group, or to themselves in it.
pub(super) fn change(change: &GroupChange, time: impl Fn(i64) -> String) -> String {
    let user = |user: &UserId| short(user.as_str(), NAME_LIMIT_CHARS);
    match change {
        GroupChange::Create { name, .. } => format!("created the group {}", quote(name)),
        GroupChange::Join => "joined".to_owned(),
        GroupChange::Leave => "left".to_owned(),
        GroupChange::Invite(whom) => format!("invited {}", user(whom)),
        GroupChange::Kick(whom) => format!("removed {}", user(whom)),
        GroupChange::SetRole(whom, role) => {
            let role = match role {
                Role::Member => "a member",
                Role::Admin => "an admin",
                Role::Owner => "an owner",
            };
            format!("made {} {role}", user(whom))
        }
        GroupChange::Mute(whom, 0) => format!("let {} write again", user(whom)),
        GroupChange::Mute(whom, until_ms) => {
            // Times are shown to the minute: the first one that is not before it is over.
            format!("muted {} until {}", user(whom), time(until_ms.saturating_add(59_999)))
        }
        GroupChange::Rename(name) => format!("called the group {}", quote(name)),
    }
}

/// An own entry, as a status line names it.
pub(super) fn describe(content: &Content, time: impl Fn(i64) -> String) -> String {
    match &content.subject {
        Subject::Message => quote(&content.text),
        Subject::Edit { .. } => format!("edited: {}", quote(&content.text)),
        Subject::Recall { .. } => "taken back".to_owned(),
        Subject::Change(made) => change(made, time),
    }
}

fn file(what: &str, content: &Content) -> String {
    let name = if content.text.is_empty() { &content.file } else { &content.text };
    if name.is_empty() { format!("[{what}]") } else { format!("[{what} {}]", short(name, NAME_LIMIT_CHARS)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchboard_engine::{GroupId, MessageId, UserId};

    const PLAIN: Style = Style { colours: false, times: false };

    fn message(from: &str, content: Content) -> LogMessage {
        let from = UserId::new(from).unwrap();
        let own = from.as_str() == "alice";
        LogMessage {
            seq: 1,
            id: MessageId([1; 16]),
            from,
            content,
            stored_at_ms: 0,
            own,
            changed_seq: 0,
            is_recalled: false,
        }
    }

    fn user(id: &str) -> Recipient {
        Recipient::User(UserId::new(id).unwrap())
    }

    fn group(id: &str) -> Recipient {
        Recipient::Group(GroupId::new(id).unwrap())
    }

    fn shown(conversation: &Recipient, from: &str, content: Content, current: &Recipient) -> String {
        PLAIN.message(conversation, &message(from, content), current, "")
    }

    #[test]
    fn a_text_of_a_peer_cannot_drive_the_terminal() {
        assert_eq!(
            neutral("\x1b[2J\x07\r\nx\u{9b}31m\u{202e}txt\tend"),
            "␛[2J␇␍␊x\u{fffd}31m\u{fffd}txt end"
        );
        assert_eq!(neutral("Zoë 你好 👋"), "Zoë 你好 👋");
    }

    #[test]
    fn files_and_texts_of_peers_cannot_drive_the_terminal_and_colours_are_closed() {
        let media = Content { kind: 3, text: "a\x1b.png".into(), file: "u".into(), ..Content::default() };
        assert!(shown(&user("bob"), "bob", media.clone(), &user("bob")).ends_with("[image a␛.png]"));
        let coloured = Style { colours: true, times: true };
        let line = coloured.message(&group("g"), &message("bob", media), &user("carol"), "12:00");
        // Time, mark and sender: each one on and one off.
        assert_eq!(line.matches('\x1b').count(), 6);
    }

    #[test]
    fn messages_of_other_conversations_say_where_they_belong() {
        let hi = || Content::text("hi");
        assert_eq!(shown(&user("bob"), "bob", hi(), &user("bob")), "bob: hi");
        assert_eq!(shown(&user("bob"), "bob", hi(), &user("carol")), "[to you] bob: hi");
        assert_eq!(shown(&user("bob"), "bob", hi(), &group("g")), "[to you] bob: hi");
        assert_eq!(shown(&user("bob"), "alice", hi(), &user("bob")), "you: hi");
        assert_eq!(shown(&user("bob"), "alice", hi(), &user("carol")), "[to bob] you: hi");
        assert_eq!(shown(&group("g"), "bob", hi(), &group("g")), "bob: hi");
        // A group may be called like the user one talks to.
        assert_eq!(shown(&group("bob"), "eve", hi(), &user("bob")), "[group bob] eve: hi");
    }

    #[test]
    fn files_are_named_and_what_is_unknown_is_said_to_be() {
        let media = |kind, text: &str| Content {
            kind,
            text: text.into(),
            file: "f3.bin".into(),
            ..Content::default()
        };
        for (content, line) in [
            (media(2, "a.txt"), "bob: [file a.txt]"),
            (media(3, ""), "bob: [image f3.bin]"),
            (media(4, "a.mp3"), "bob: [audio a.mp3]"),
            (media(5, "a.mp4"), "bob: [video a.mp4]"),
            (media(77, "?"), "bob: [content kind 77]"),
        ] {
            assert_eq!(shown(&user("bob"), "bob", content, &user("bob")), line);
        }
    }

    #[test]
    fn edits_recalls_and_changes_of_groups_are_said_in_words() {
        let bob = user("bob");
        assert_eq!(shown(&bob, "bob", Content::edit(3, "new"), &bob), "bob: new (edited)");
        let edited = LogMessage { changed_seq: 7, ..message("bob", Content::text("new")) };
        assert_eq!(PLAIN.message(&bob, &edited, &bob, ""), "bob: new (edited)");
        let recalled = LogMessage { changed_seq: 8, is_recalled: true, ..message("bob", Content::text("")) };
        assert_eq!(PLAIN.message(&bob, &recalled, &bob, ""), "bob: (taken back)");
        let carol = || UserId::new("carol").unwrap();
        for (made, words) in [
            (GroupChange::Create { name: "x".into(), invite_only: true }, "created the group \"x\""),
            (GroupChange::Invite(carol()), "invited carol"),
            (GroupChange::SetRole(carol(), Role::Admin), "made carol an admin"),
            (GroupChange::Mute(carol(), 0), "let carol write again"),
            (GroupChange::Mute(carol(), 5), "muted carol until 60004"),
            (GroupChange::Rename("a\x1b[1m".into()), "called the group \"a␛[1m\""),
        ] {
            assert_eq!(describe(&Content::change(made), |ms| ms.to_string()), words);
        }
    }

    #[test]
    fn long_names_and_quotes_are_cut() {
        let name = "x".repeat(100);
        let line = shown(&user(&name), &name, Content::text("hi"), &user(&name));
        assert_eq!(line, format!("{}…: hi", "x".repeat(64)));
        assert_eq!(quote(&"y".repeat(41)), format!("\"{}…\"", "y".repeat(40)));
        assert_eq!(quote("short"), "\"short\"");
    }
}
