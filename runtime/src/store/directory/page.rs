//! Histories as people read them: what was said, without what changed it.

use switchboard_engine::{Answer, GroupId, Messages, Range, Recipient, Subject, UserId};

use super::super::reads::Reads;
use super::{Directory, DirectoryError, Result};

/// Parts of a log that are looked at for one page, of which a group's changes may leave nothing.
const PARTS: usize = 64;

/// Whose history is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageOf {
    /// A user's with the one of this name.
    Direct {
        /// Who reads.
        reader: UserId,
        /// The other's name.
        with: String,
    },
    /// A group's.
    Group {
        /// Who reads, and is or was a member; none for who may read everything.
        reader: Option<UserId>,
        /// Which.
        group: GroupId,
    },
}

/// A message as people read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastMessage {
    /// Its place in its conversation's log.
    pub seq: u64,
    /// Who sent it.
    pub sender: UserId,
    /// The sender's name to log in with; empty if it has none.
    pub sender_name: String,
    /// The id of whom it went to.
    pub recipient: String,
    /// The name of that user or group; empty where there is none.
    pub recipient_name: String,
    /// The file name of the sender's picture; may be empty.
    pub avatar: Box<str>,
    /// 1 text, 2 file, 3 image, 4 audio, 5 video.
    pub content_type: u8,
    /// Its text, as its last edit has left it.
    pub content: Box<str>,
    /// The stored file's name, if it has one.
    pub url: Box<str>,
    /// When it was stored, in milliseconds since 1970.
    pub stored_at_ms: i64,
}

/// How much of it, and up to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    before: Option<u64>,
    limit: u32,
    limit_bytes: u64,
}

impl Directory {
    /// The newest messages of a history that are before a place, in order: at most so many, of at most so many bytes of
    /// content unless it is one. Changes of groups, recalled messages, and what is not for the reader's eyes are left
    /// out.
    ///
    /// # Errors
    /// If there is no such user, name or group, the reader is none of the participants, or the database fails.
    pub fn past(
        &self,
        of: &PageOf,
        before: Option<u64>,
        limit: u32,
        limit_bytes: u64,
    ) -> Result<Vec<PastMessage>> {
        let extent = Extent { before, limit, limit_bytes };
        let mut reads = Reads::new(&self.connection)?;
        reads.begin()?;
        let page = match of {
            PageOf::Direct { reader, with } => self.direct(&mut reads, reader, with, extent),
            PageOf::Group { reader, group } => group_page(self, &mut reads, reader.as_ref(), group, extent),
        };
        reads.end()?;
        page
    }

    fn direct(
        &self,
        reads: &mut Reads<'_>,
        reader: &UserId,
        with: &str,
        extent: Extent,
    ) -> Result<Vec<PastMessage>> {
        let own = self.user(reader)?.ok_or_else(|| DirectoryError::NoSuchUser(reader.clone()))?;
        let other = self.user_named(with)?.ok_or_else(|| DirectoryError::NoSuchName(with.to_owned()))?;
        let conversation = Recipient::User(other.id.clone());
        let mut page = collect(extent, |from_seq| {
            let range = range(reader, &conversation, from_seq, extent);
            Ok(loaded(reads.load_messages(&range)?))
        })?;
        let own_name = own.username.unwrap_or_default();
        for message in &mut page {
            let is_own = message.sender == *reader;
            let (from, to) = if is_own { (&*own_name, with) } else { (with, &*own_name) };
            from.clone_into(&mut message.sender_name);
            to.clone_into(&mut message.recipient_name);
            let recipient = if is_own { &other.id } else { reader };
            recipient.as_str().clone_into(&mut message.recipient);
        }
        Ok(page)
    }
}

fn group_page(
    directory: &Directory,
    reads: &mut Reads<'_>,
    reader: Option<&UserId>,
    group: &GroupId,
    extent: Extent,
) -> Result<Vec<PastMessage>> {
    let conversation = Recipient::Group(group.clone());
    let mut name = Box::default();
    let mut page = collect(extent, |from_seq| {
        let messages = match reader {
            Some(reader) => loaded(reads.load_messages(&range(reader, &conversation, from_seq, extent))?),
            None => reads.load_whole_group(group, from_seq, extent.limit, extent.limit_bytes)?,
        };
        if let Some(messages) = &messages {
            name = messages.group_name.clone();
        }
        Ok(messages)
    })?;
    let mut names: Vec<(UserId, String)> = Vec::new();
    for message in &mut page {
        group.as_str().clone_into(&mut message.recipient);
        message.recipient_name = String::from(name.clone());
        let known = names.iter().find(|(user, _)| *user == message.sender).map(|(_, name)| name.clone());
        message.sender_name = match known {
            Some(name) => name,
            None => {
                let name =
                    directory.user(&message.sender)?.and_then(|user| user.username).unwrap_or_default();
                names.push((message.sender.clone(), name.clone()));
                name
            }
        };
    }
    Ok(page)
}

/// The part that was read; none for who may not read it.
fn loaded(answer: Answer) -> Option<Messages> {
    if let Answer::MessagesLoaded(messages) = answer { Some(messages) } else { None }
}

fn range(reader: &UserId, conversation: &Recipient, from_seq: u64, extent: Extent) -> Range {
    Range {
        reader: reader.clone(),
        conversation: conversation.clone(),
        from_seq,
        backwards: true,
        limit: extent.limit,
        limit_bytes: extent.limit_bytes,
    }
}

/// Reads parts of a log, the newest first, until there is a page of messages. Who and to whom is left to the caller.
fn collect(
    extent: Extent,
    mut read: impl FnMut(u64) -> Result<Option<Messages>>,
) -> Result<Vec<PastMessage>> {
    let limit = usize::try_from(extent.limit.max(1)).unwrap_or(usize::MAX);
    // 0 stands for the end of the log. There is nothing before the first place, but who may not read is told so.
    let is_empty = extent.before.is_some_and(|before| before <= 1);
    let mut from_seq = extent.before.map_or(0, |before| before.saturating_sub(1));
    let (mut page, mut bytes) = (Vec::new(), 0_u64);
    for _ in 0..PARTS {
        let part = read(from_seq)?.ok_or(DirectoryError::GroupNotOpen)?;
        let reached = part.messages.first().map_or(0, |message| message.seq);
        if is_empty {
            break;
        }
        for message in part.messages.into_iter().rev() {
            let size = u64::try_from(message.content.len() + message.url.len()).unwrap_or(u64::MAX);
            if message.subject != Subject::Message
                || !(1..=5).contains(&message.content_type)
                || message.is_recalled
            {
                continue;
            }
            bytes = bytes.saturating_add(size);
            if page.len() == limit || (bytes > extent.limit_bytes && !page.is_empty()) {
                page.reverse();
                return Ok(page);
            }
            page.push(PastMessage {
                seq: message.seq,
                sender: message.sender,
                sender_name: String::new(),
                recipient: String::new(),
                recipient_name: String::new(),
                avatar: message.avatar,
                content_type: message.content_type,
                content: message.content,
                url: message.url,
                stored_at_ms: message.stored_at_ms,
            });
        }
        if page.len() == limit || reached <= part.first_seq.max(1) {
            break;
        }
        from_seq = reached - 1;
    }
    page.reverse();
    Ok(page)
}
