//! What entries say, and what edits and recalls make of that: a log gives its messages as the last of those has left
//! them, and a push as they were said.

use std::collections::BTreeMap;

use switchboard_engine::{NewMessage, Subject};

use crate::check::Fold;

/// A text as a number.
pub(super) fn hash(text: &str) -> u64 {
    use core::hash::Hasher as _;
    let mut hash = Fold::default();
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    words.iter().for_each(|word| hash.write_u64(u64::from_le_bytes(*word)));
    hash.write_u64(rest.iter().fold(rest.len() as u64, |word, byte| word << 8 | u64::from(*byte)));
    hash.finish()
}

/// What an entry is beside its texts, as a number.
fn subject_of(subject: &Subject) -> u64 {
    match subject {
        Subject::Message => 0,
        Subject::Edit { target_seq } => 1 + (target_seq << 2),
        Subject::Recall { target_seq } => 2 + (target_seq << 2),
        Subject::Change(change) => 3 + (hash(&format!("{change:?}")) << 2),
    }
}

/// What an entry says, as somebody is told or as it was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) kind: u32,
    pub(super) text: u64,
    pub(super) file: u64,
    subject: u64,
    /// Place of the last edit or recall of it.
    pub(super) changed_seq: u64,
    pub(super) is_recalled: bool,
}

impl Words {
    pub(super) fn new(kind: u32, text: &str, file: &str, subject: &Subject) -> Self {
        let (text, file) = (hash(text), hash(file));
        Self { kind, text, file, subject: subject_of(subject), changed_seq: 0, is_recalled: false }
    }

    /// What was said with this.
    pub(super) fn of(message: &NewMessage) -> Self {
        Self::new(message.content_type.into(), &message.content, &message.url, &message.subject)
    }

    /// The same as somebody was told who read it from a log.
    pub(super) const fn read(self, changed_seq: u64, is_recalled: bool) -> Self {
        Self { changed_seq, is_recalled, ..self }
    }

    /// Whether it is a message, and not about one or about the group.
    pub(super) const fn is_message(&self) -> bool {
        self.kind <= 5
    }

    /// The same, edited.
    const fn edited(self, text: u64, seq: u64) -> Self {
        Self { text, changed_seq: seq, ..self }
    }

    /// Nothing is left of it. An edit of what was recalled says nothing any more either, and is no message that was.
    pub(super) fn recalled(self, seq: u64) -> Self {
        let emptied = Self { text: hash(""), file: hash(""), ..self };
        if self.is_message() { Self { changed_seq: seq, is_recalled: true, ..emptied } } else { emptied }
    }
}

/// What an entry says since a time.
#[derive(Clone, Copy, Debug)]
struct Version {
    since_us: u64,
    /// The edit or recall that has made it so.
    by_seq: u64,
    words: Words,
}

/// What became of the entries of one log that were edited or recalled, or are edits of what was recalled.
#[derive(Clone, Debug, Default)]
pub(super) struct Versions(BTreeMap<u64, Vec<Version>>);

impl Versions {
    /// An entry at this place says something else from now on, because of the one at `by_seq`.
    fn becomes(&mut self, seq: u64, by_seq: u64, words: Words, now_us: u64) {
        self.0.entry(seq).or_default().push(Version { since_us: now_us, by_seq, words });
    }

    pub(super) fn edit(&mut self, seq: u64, said: Words, by_seq: u64, text: u64, now_us: u64) {
        let words = self.last(seq, said).edited(text, by_seq);
        self.becomes(seq, by_seq, words, now_us);
    }

    pub(super) fn recall(&mut self, seq: u64, said: Words, by_seq: u64, now_us: u64) {
        let words = self.last(seq, said).recalled(by_seq);
        self.becomes(seq, by_seq, words, now_us);
    }

    /// What an entry says now.
    pub(super) fn last(&self, seq: u64, said: Words) -> Words {
        self.0.get(&seq).and_then(|versions| versions.last()).map_or(said, |version| version.words)
    }

    /// Whether somebody who may read the log up to a place was told what an entry said at some time from then to now:
    /// edits beyond the place are not for its eyes; what was recalled is for nobody's.
    pub(super) fn said_since(&self, seq: u64, said: Words, told: Words, since_us: u64, to: u64) -> bool {
        let versions = self.0.get(&seq).map_or(&[][..], Vec::as_slice);
        // At the same moment, either may be first.
        let before = versions.iter().take_while(|version| version.since_us < since_us).count();
        (before..=versions.len()).any(|count| within(&versions[..count], said, to) == told)
    }

    /// Whether an entry ever said this.
    pub(super) fn ever_said(&self, seq: u64, said: Words, told: Words) -> bool {
        // What a reader sees who may not read further, is one of these but for the place of a recall.
        let is = |words: Words| Words { changed_seq: 0, ..words } == Words { changed_seq: 0, ..told };
        is(said) || self.0.get(&seq).into_iter().flatten().any(|version| is(version.words))
    }

    /// Whether an entry was edited to a text, and said that at some time since then.
    pub(super) fn was_edited_to(&self, seq: u64, text: &str, since_us: u64) -> bool {
        let versions = self.0.get(&seq).map_or(&[][..], Vec::as_slice);
        let before = versions.iter().take_while(|version| version.since_us < since_us).count();
        let text = hash(text);
        let lately = versions.iter().skip(before.saturating_sub(1));
        lately.into_iter().any(|version| !version.words.is_recalled && version.words.text == text)
    }

    /// When a message was recalled.
    pub(super) fn recalled_us(&self, seq: u64) -> Option<u64> {
        let last = self.0.get(&seq)?.last()?;
        last.words.is_recalled.then_some(last.since_us)
    }

    /// The entries that have changed one.
    pub(super) fn of(&self, seq: u64) -> Vec<u64> {
        self.0.get(&seq).into_iter().flatten().map(|version| version.by_seq).collect()
    }

    /// The messages that were changed, each with the places of what has changed them.
    pub(super) fn changed(&self) -> impl Iterator<Item = (u64, impl Iterator<Item = u64>)> {
        let messages = self.0.iter().filter(|(_, versions)| versions.iter().any(|v| v.words.is_message()));
        messages.map(|(seq, versions)| (*seq, versions.iter().map(|version| version.by_seq)))
    }
}

/// What an entry says after these changes to who may read up to a place.
fn within(versions: &[Version], said: Words, to: u64) -> Words {
    match versions.last() {
        Some(Version { by_seq, words, .. }) if *by_seq > to && !words.is_recalled && words.is_message() => {
            let seen = versions.iter().rev().find(|version| version.by_seq <= to);
            seen.map_or(said, |version| version.words)
        }
        Some(Version { words, .. }) => words.read(words.changed_seq.min(to), words.is_recalled),
        None => said,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said() -> Words {
        Words::new(1, "hi", "", &Subject::Message)
    }

    fn text(text: &str, changed_seq: u64) -> Words {
        Words::new(1, text, "", &Subject::Message).read(changed_seq, false)
    }

    fn gone(changed_seq: u64) -> Words {
        Words::new(1, "", "", &Subject::Message).read(changed_seq, true)
    }

    fn last_within(versions: &Versions, to: u64) -> Words {
        within(&versions.0[&3], said(), to)
    }

    fn versions() -> Versions {
        let mut versions = Versions::default();
        versions.edit(3, said(), 5, hash("hi!"), 100);
        versions.recall(3, said(), 8, 200);
        versions
    }

    #[test]
    fn a_message_says_what_it_said_at_some_time_of_the_asking() {
        let versions = versions();
        let is = |told, since_us| versions.said_since(3, said(), told, since_us, u64::MAX);
        assert!(is(said(), 50) && is(text("hi!", 5), 50) && is(gone(8), 50));
        assert!(!is(said(), 150) && is(text("hi!", 5), 150) && is(gone(8), 150));
        assert!(!is(text("hi!", 5), 250) && is(gone(8), 250));
        assert!(!is(gone(5), 250), "the place of the recall is told");
    }

    #[test]
    fn who_may_not_read_on_sees_no_later_edits_and_every_recall() {
        let mut versions = Versions::default();
        versions.edit(3, said(), 5, hash("hi!"), 100);
        assert_eq!(last_within(&versions, 4), said());
        assert_eq!(last_within(&versions, 5), text("hi!", 5));
        versions.recall(3, said(), 8, 200);
        assert_eq!(last_within(&versions, 4), gone(4));
        assert_eq!(last_within(&versions, 9), gone(8));
        assert_eq!(versions.recalled_us(3), Some(200));
    }
}
