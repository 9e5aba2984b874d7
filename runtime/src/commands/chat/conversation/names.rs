//! What conversations are called.

use switchboard_engine::{GroupChange, GroupId, LogMessage, Recipient, Subject};

use super::{
    super::text::{NAME_LIMIT_CHARS, neutral, short},
    Conversation, Line,
};
use crate::client::Summary;

/// Groups whose names are remembered.
const NAMES_LIMIT: usize = 1_000;
/// An id of a group is cut to so many characters where a whole one is not needed.
const ID_LIMIT_CHARS: usize = 12;

impl Conversation {
    /// A conversation in a few words: a group by its name, if that is known.
    pub(super) fn label(&self, conversation: &Recipient) -> String {
        match conversation {
            Recipient::User(user) => neutral(user.as_str()),
            Recipient::Group(group) => match self.names.get(group).filter(|name| !name.is_empty()) {
                Some(name) => name.clone(),
                None => format!("group {}", short(group.as_str(), ID_LIMIT_CHARS)),
            },
        }
    }

    /// A group of the user's, with the last entry of its log that is known here; none if it is no group, or the user has
    /// left it.
    pub(in super::super) fn group_line(&self, summary: &Summary, last: Option<&LogMessage>) -> Option<Line> {
        let Recipient::Group(group) = &summary.conversation else { return None };
        if last.is_some_and(|last| self.ends_membership(last)) {
            return None;
        }
        let here = if summary.conversation == self.current { ", where you are" } else { "" };
        let unread = match summary.unread {
            0 => String::new(),
            unread => format!(", {unread} unread"),
        };
        let name = self.label(&summary.conversation);
        Some(Line::Status(format!("{name}: /group {}{unread}{here}", neutral(group.as_str()))))
    }

    /// Whether an entry of a group's log ends the user's membership.
    fn ends_membership(&self, entry: &LogMessage) -> bool {
        let Subject::Change(change) = &entry.content.subject else { return false };
        match &**change {
            GroupChange::Leave => entry.own,
            GroupChange::Kick(user) => *user == self.me,
            GroupChange::Create { .. }
            | GroupChange::Join
            | GroupChange::Invite(_)
            | GroupChange::SetRole(..)
            | GroupChange::Mute(..)
            | GroupChange::Rename(_) => false,
        }
    }

    /// What a group is called from now on.
    pub(in super::super) fn call(&mut self, group: &GroupId, name: &str) {
        if self.names.len() < NAMES_LIMIT || self.names.contains_key(group) {
            self.names.insert(group.clone(), short(name, NAME_LIMIT_CHARS));
        }
    }

    /// The group that the user means: the one with this id or, of those that were heard of here, the only one with
    /// this name, or whose id begins so.
    pub(in super::super) fn group(&self, group: GroupId) -> GroupId {
        if self.names.contains_key(&group) {
            return group;
        }
        let only = |fits: &dyn Fn(&GroupId, &String) -> bool| {
            let mut fitting = self.names.iter().filter(|(id, name)| fits(id, name)).map(|(id, _)| id);
            fitting.next().filter(|_| fitting.next().is_none()).cloned()
        };
        only(&|_, name| name == group.as_str())
            .or_else(|| only(&|id, _| id.as_str().starts_with(group.as_str())))
            .unwrap_or(group)
    }

    /// Learns what groups are called.
    pub(super) fn learn(&mut self, conversation: &Recipient, message: &LogMessage) {
        let Recipient::Group(group) = conversation else { return };
        match message.content.subject.group_name() {
            Some(name) => self.call(group, name),
            None if !self.names.contains_key(group) => self.call(group, ""),
            None => {}
        }
    }

    /// The server says what a group is called. Whoever talks there under its id is told.
    pub(super) fn named(&mut self, conversation: &Recipient, name: &str) -> Option<Line> {
        let Recipient::Group(group) = conversation else { return None };
        let is_news = self.names.get(group).is_none_or(String::is_empty);
        self.call(group, name);
        let about_current = is_news && *conversation == self.current && self.manner.interactive;
        about_current.then(|| Line::Status(format!("this group is \"{}\"", self.label(conversation))))
    }
}
