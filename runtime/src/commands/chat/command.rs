//! What a line that was typed asks for.

use switchboard_engine::{GroupChange, GroupId, Role, UserId};

/// The longest time that somebody is muted for: a hundred years.
const MUTE_LIMIT_MINUTES: u32 = 52_560_000;

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
    /// To see one's groups.
    Groups,
    /// To talk to this group from now on.
    Group(GroupId),
    /// To change the text of the message at this place; none: of the last one said here.
    Edit(Option<u64>, String),
    /// To take back the message at this place; none: the last one said here.
    Recall(Option<u64>),
    /// To see the last messages with their places.
    Numbers,
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
pub(super) const HELP: [&str; 22] = [
    "/to USER              talk to a user from now on",
    "/group GROUP          talk to a group from now on, by its id; what it begins with, or its name, if it is known",
    "/groups               your groups, as far as this chat has heard of them",
    "/more                 older messages of this conversation",
    "/edit TEXT            change the last message that you said here; an earlier one: /edit #NUMBER TEXT",
    "/recall               take it back; an earlier one: /recall #NUMBER",
    "/numbers              the last messages of this conversation with their numbers",
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
            ("groups", true) => Self::Groups,
            ("to", false) => match UserId::new(rest) {
                Ok(user) => Self::To(user),
                Err(error) => Self::Wrong(format!("/to USER: {error}")),
            },
            ("group", false) => Self::of_group(rest),
            ("edit", false) => Self::edit(rest),
            ("edit", true) => Self::Wrong("/edit needs the new text: /edit TEXT".to_owned()),
            ("recall", true) => Self::Recall(None),
            ("recall", false) => match number(rest) {
                Some(seq) => Self::Recall(Some(seq)),
                None => {
                    Self::Wrong("/recall #NUMBER: /numbers shows them; /recall alone is the last".to_owned())
                }
            },
            ("numbers", true) => Self::Numbers,
            ("to", true) => Self::Wrong("/to needs a user: /to USER".to_owned()),
            ("group", true) => Self::Wrong("/group needs a group: /group GROUP".to_owned()),
            (
                "help" | "quit" | "exit" | "whoami" | "who-am-i" | "connect" | "more" | "groups" | "numbers",
                false,
            ) => Self::Wrong(format!("/{word} takes nothing")),
            _ => Self::Wrong(format!("there is no /{word}: see /help, or send it with //{word}")),
        }
    }
}

/// Reads `#NUMBER`, the place of a message.
fn number(word: &str) -> Option<u64> {
    word.strip_prefix('#')?.parse().ok().filter(|seq| *seq > 0)
}

impl Command {
    /// Reads `TEXT` or `#NUMBER TEXT`.
    fn edit(rest: &str) -> Self {
        let (word, text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        match (number(word), text.trim()) {
            (Some(_), "") => Self::Wrong(format!("/edit {word} needs the new text: /edit {word} TEXT")),
            (Some(seq), text) => Self::Edit(Some(seq), text.to_owned()),
            (None, _) => Self::Edit(None, rest.to_owned()),
        }
    }

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
            ("/edit more text", Command::Edit(None, "more text".to_owned())),
            ("/edit #12 more text", Command::Edit(Some(12), "more text".to_owned())),
            ("/edit #twelve", Command::Edit(None, "#twelve".to_owned())),
            ("/recall", Command::Recall(None)),
            ("/recall #12", Command::Recall(Some(12))),
            ("/numbers", Command::Numbers),
            ("/groups", Command::Groups),
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
            "/edit #12",
            "/recall 12",
            "/recall #0",
            "/numbers 3",
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
}
