//! What the original's database keeps of messages.

use switchboard_engine::{GroupId, NewMessage, Recipient, UserId};

/// The original's tables, as far as they decide what a history shows: users and groups are numbered each for
/// themselves, and a message keeps the number of its recipient in one column, whichever it is.
#[derive(Clone, Debug, Default)]
pub struct Table {
    users: Vec<UserId>,
    groups: Vec<GroupId>,
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
struct Row {
    from: usize,
    to: usize,
    content: Box<str>,
}

impl Table {
    /// Adds a user; the numbers are given in the order of creation.
    pub fn add_user(&mut self, user: UserId) {
        self.users.push(user);
    }

    /// Adds a group; the numbers are given in the order of creation.
    pub fn add_group(&mut self, group: GroupId) {
        self.groups.push(group);
    }

    /// Inserts a message; false if its sender or recipient does not exist.
    pub fn store(&mut self, message: &NewMessage) -> bool {
        let to = match &message.recipient {
            Recipient::User(user) => self.number(user),
            Recipient::Group(group) => self.groups.iter().position(|known| known == group),
        };
        let (Some(from), Some(to)) = (self.number(&message.sender), to) else { return false };
        self.rows.push(Row { from, to, content: message.content.clone() });
        true
    }

    /// What the original shows as the private history of two users, to whoever asks: all rows of which both
    /// columns hold one of their numbers, oldest first.
    #[must_use]
    pub fn private_history(&self, one: &UserId, other: &UserId) -> Vec<&str> {
        let (Some(one), Some(other)) = (self.number(one), self.number(other)) else { return Vec::new() };
        let theirs = |number| number == one || number == other;
        self.rows.iter().filter(|row| theirs(row.from) && theirs(row.to)).map(|row| &*row.content).collect()
    }

    fn number(&self, user: &UserId) -> Option<usize> {
        self.users.iter().position(|known| known == user)
    }
}
