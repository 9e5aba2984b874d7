//! What the entries of a log say, between the wire and this crate's own words: for servers, for clients, and for
//! what servers tell each other.

use alloc::{borrow::ToOwned as _, boxed::Box, string::String};

use switchboard_proto::v1::{self, Content, group_change::Kind};

use crate::{
    id::UserId,
    storage::{GroupChange, Recipient, Role, Subject},
};

/// The kind of an edit.
pub(crate) const EDIT: u32 = 21;
/// The kind of a recall.
pub(crate) const RECALL: u32 = 22;
/// The kind of a change of a group.
pub(crate) const CHANGE: u32 = 23;

/// The longest name of a stored file, in bytes: that of most file systems.
const FILE_NAME_LIMIT_BYTES: usize = 255;

/// The longest name of a group, in bytes.
pub(crate) const GROUP_NAME_LIMIT_BYTES: usize = 256;

/// What an entry for this conversation is, as a client submits it; else which field is wrong. What says more than
/// belongs to its kind is wrong too: everybody who is told of the entry is to be told the same.
pub(crate) fn subject(content: Option<&Content>, of: &Recipient) -> Result<Subject, &'static str> {
    let Some(content) = content else { return Err("content is missing") };
    if content.changed_seq != 0 || content.recalled {
        return Err("content.changed_seq and content.recalled are for the server to tell");
    }
    if content.change.is_some() && content.kind != CHANGE {
        return Err("content.change is for changes of groups");
    }
    if content.target_seq != 0 && !matches!(content.kind, EDIT | RECALL) {
        return Err("content.target_seq is for edits and recalls");
    }
    if content.target_seq == 0 && matches!(content.kind, EDIT | RECALL) {
        return Err("content.target_seq is 0: the first place is 1");
    }
    match content.kind {
        1 | EDIT if content.text.is_empty() => Err("content.text is empty"),
        1 | EDIT if !content.file.is_empty() => Err("content.file is for media: a text has none"),
        2..=5 if !is_file_name(&content.file) => Err("content.file is not the name of a stored file"),
        RECALL | CHANGE if !content.text.is_empty() => Err("content.text is for messages and edits"),
        RECALL | CHANGE if !content.file.is_empty() => Err("content.file is for messages"),
        1..=5 => Ok(Subject::Message),
        EDIT => Ok(Subject::Edit { target_seq: content.target_seq }),
        RECALL => Ok(Subject::Recall { target_seq: content.target_seq }),
        CHANGE => match of {
            Recipient::User(_) => Err("conversation is not a group's"),
            Recipient::Group(_) => {
                change(content.change.as_ref()).map(|change| Subject::Change(change.into()))
            }
        },
        _ => Err("content.kind is not 1 to 5, nor 21 to 23"),
    }
}

/// What an entry is, as a server tells it; a message if this version does not know what it is.
pub(crate) fn subject_told(content: &Content) -> Subject {
    match content.kind {
        EDIT => Subject::Edit { target_seq: content.target_seq },
        RECALL => Subject::Recall { target_seq: content.target_seq },
        CHANGE => change(content.change.as_ref())
            .map_or(Subject::Message, |change| Subject::Change(Box::new(change))),
        _ => Subject::Message,
    }
}

/// Whether a text can be the name of a stored file: one path component, safe to print.
fn is_file_name(name: &str) -> bool {
    let is_component = !matches!(name, "" | "." | "..") && !name.contains(['/', '\\']);
    is_component && name.len() <= FILE_NAME_LIMIT_BYTES && !name.chars().any(char::is_control)
}

/// Whether a text can be the name of a group, safe to print.
pub(crate) fn is_group_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= GROUP_NAME_LIMIT_BYTES && !name.chars().any(char::is_control)
}

pub(crate) fn change(change: Option<&v1::GroupChange>) -> Result<GroupChange, &'static str> {
    let Some(change) = change else { return Err("content.change is missing") };
    let kind = Kind::try_from(change.kind).unwrap_or(Kind::Unspecified);
    let user = || UserId::new(&change.user).map_err(|_| "content.change.user is missing, or is not an id");
    let name = || match is_group_name(&change.name) {
        true => Ok(Box::from(change.name.as_str())),
        false => Err("content.change.name: the name of a group has 1 to 256 bytes and no control characters"),
    };
    let read = match kind {
        Kind::Unspecified => return Err("content.change.kind is none"),
        Kind::Create => GroupChange::Create { name: name()?, invite_only: change.invite_only },
        Kind::Join => GroupChange::Join,
        Kind::Leave => GroupChange::Leave,
        Kind::Invite => GroupChange::Invite(user()?),
        Kind::Kick => GroupChange::Kick(user()?),
        Kind::SetRole => {
            let role = role(change.role).ok_or("content.change.role is none")?;
            GroupChange::SetRole(user()?, role)
        }
        Kind::Mute if change.until_ms < 0 => return Err("content.change.until_ms is before 1970"),
        Kind::Mute => GroupChange::Mute(user()?, change.until_ms),
        Kind::Rename => GroupChange::Rename(name()?),
    };
    match wire_change(&read) == *change {
        true => Ok(read),
        false => Err("content.change says more than belongs to its kind"),
    }
}

fn role(role: i32) -> Option<Role> {
    match v1::Role::try_from(role) {
        Ok(v1::Role::Member) => Some(Role::Member),
        Ok(v1::Role::Admin) => Some(Role::Admin),
        Ok(v1::Role::Owner) => Some(Role::Owner),
        Ok(v1::Role::Unspecified) | Err(_) => None,
    }
}

/// The kind of what is not a message, whose kind it does not tell: 0.
pub(crate) const fn kind(subject: &Subject) -> u32 {
    match subject {
        Subject::Message => 0,
        Subject::Edit { .. } => EDIT,
        Subject::Recall { .. } => RECALL,
        Subject::Change(_) => CHANGE,
    }
}

/// What an entry says, on the wire.
pub(crate) fn content(kind: u32, text: String, file: String, subject: &Subject) -> Content {
    let content = Content { kind, text, file, ..Content::default() };
    match subject {
        Subject::Message => content,
        Subject::Edit { target_seq } | Subject::Recall { target_seq } => {
            Content { target_seq: *target_seq, ..content }
        }
        Subject::Change(change) => Content { change: Some(wire_change(change)), ..content },
    }
}

pub(crate) fn wire_change(change: &GroupChange) -> v1::GroupChange {
    let of = |kind: Kind| v1::GroupChange { kind: kind.into(), ..v1::GroupChange::default() };
    let about = |kind, user: &UserId| v1::GroupChange { user: user.as_str().to_owned(), ..of(kind) };
    match change {
        GroupChange::Create { name, invite_only } => {
            v1::GroupChange { name: String::from(&**name), invite_only: *invite_only, ..of(Kind::Create) }
        }
        GroupChange::Join => of(Kind::Join),
        GroupChange::Leave => of(Kind::Leave),
        GroupChange::Invite(user) => about(Kind::Invite, user),
        GroupChange::Kick(user) => about(Kind::Kick, user),
        GroupChange::SetRole(user, role) => {
            let role = match role {
                Role::Member => v1::Role::Member,
                Role::Admin => v1::Role::Admin,
                Role::Owner => v1::Role::Owner,
            };
            v1::GroupChange { role: role.into(), ..about(Kind::SetRole, user) }
        }
        GroupChange::Mute(user, until_ms) => {
            v1::GroupChange { until_ms: *until_ms, ..about(Kind::Mute, user) }
        }
        GroupChange::Rename(name) => v1::GroupChange { name: String::from(&**name), ..of(Kind::Rename) },
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::id::GroupId;

    fn crew() -> Recipient {
        Recipient::Group(GroupId::new("crew").unwrap())
    }

    fn bob() -> UserId {
        UserId::new("bob").unwrap()
    }

    fn changes() -> [GroupChange; 9] {
        [
            GroupChange::Create { name: "The crew".into(), invite_only: true },
            GroupChange::Join,
            GroupChange::Leave,
            GroupChange::Invite(bob()),
            GroupChange::Kick(bob()),
            GroupChange::SetRole(bob(), Role::Admin),
            GroupChange::Mute(bob(), 7),
            GroupChange::Mute(bob(), 0),
            GroupChange::Rename("Us".into()),
        ]
    }

    #[test]
    fn what_is_written_reads_back() {
        let target = |subject: Subject, kind, text| (subject, kind, text);
        let mut entries = vec![
            target(Subject::Message, 1, "hi"),
            target(Subject::Edit { target_seq: 3 }, EDIT, "hi!"),
            target(Subject::Recall { target_seq: 4 }, RECALL, ""),
        ];
        entries.extend(changes().map(|change| target(Subject::Change(change.into()), CHANGE, "")));
        for (expected, kind, text) in entries {
            assert_eq!(
                subject(Some(&content(kind, text.into(), String::new(), &expected)), &crew()),
                Ok(expected)
            );
        }
    }

    #[test]
    fn what_says_more_or_less_than_belongs_to_its_kind_is_wrong() {
        let of = |change| content(CHANGE, String::new(), String::new(), &Subject::Change(Box::new(change)));
        let edit = |content: &Content, with: fn(&mut v1::GroupChange)| {
            let mut content = content.clone();
            with(content.change.as_mut().unwrap());
            content
        };
        let (join, kick) = (of(GroupChange::Join), of(GroupChange::Kick(bob())));
        let recall = content(RECALL, String::new(), String::new(), &Subject::Recall { target_seq: 1 });
        let wrong = [
            edit(&join, |change| change.user = "bob".into()),
            edit(&join, |change| change.until_ms = 1),
            edit(&join, |change| change.kind = 0),
            edit(&join, |change| change.kind = 9),
            edit(&kick, |change| change.user.clear()),
            edit(&kick, |change| change.role = 2),
            edit(&of(GroupChange::SetRole(bob(), Role::Owner)), |change| change.role = 0),
            edit(&of(GroupChange::Mute(bob(), 1)), |change| change.until_ms = -1),
            edit(&of(GroupChange::Rename("x".into())), |change| change.name = "x".repeat(257)),
            edit(&of(GroupChange::Rename("x".into())), |change| change.name = "a\nb".into()),
            edit(&of(GroupChange::Rename("x".into())), |change| change.name.clear()),
            Content { text: "x".into(), ..join.clone() },
            Content { change: None, ..join.clone() },
            Content { target_seq: 1, ..join.clone() },
            Content { changed_seq: 1, ..recall.clone() },
            Content { recalled: true, ..recall.clone() },
            Content { target_seq: 0, ..recall.clone() },
            Content { file: "x".into(), ..recall },
            Content { kind: 1, text: "x".into(), ..join },
            Content { kind: 24, ..kick },
        ];
        for content in wrong {
            assert!(subject(Some(&content), &crew()).is_err(), "{content:?}");
        }
        let join = of(GroupChange::Join);
        assert!(subject(Some(&join), &Recipient::User(bob())).is_err(), "users have no members");
        assert!(subject(None, &crew()).is_err());
    }
}
