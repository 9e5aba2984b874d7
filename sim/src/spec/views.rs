//! What applications show of messages that were edited or recalled: what they were told of the message, and then of
//! each edit and recall.

use std::collections::BTreeMap;

use switchboard_engine::{LogMessage, Subject};

use super::{
    Spec,
    versions::{Words, hash},
};
use crate::wire::session::{LogKey, Peer, peer_of};

/// What one application shows. Messages that it was told as they were said, and nothing of since, are not in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Views {
    changed: BTreeMap<(Peer, u64), View>,
    /// What it was not told, by conversation: after which place, up to which.
    skipped: BTreeMap<Peer, Vec<(u64, u64)>>,
}

/// A message as an application shows it.
#[derive(Clone, Copy, Debug)]
struct View {
    /// Its text; none: as it was said.
    text: Option<u64>,
    changed_seq: u64,
    is_recalled: bool,
}

impl Views {
    /// An application is told an entry, after all that are before it.
    pub(super) fn told(&mut self, peer: Peer, message: &LogMessage) {
        let (seq, is_recalled) = (message.seq, message.is_recalled);
        match message.content.subject {
            Subject::Message if message.changed_seq > 0 => {
                let text = Some(hash(&message.content.text));
                self.changed
                    .insert((peer, seq), View { text, changed_seq: message.changed_seq, is_recalled });
            }
            Subject::Edit { target_seq } => {
                let view = self.view(peer, target_seq);
                // What a page gave has the later ones in it.
                if seq > view.changed_seq && !view.is_recalled {
                    (view.text, view.changed_seq) = (Some(hash(&message.content.text)), seq);
                }
            }
            Subject::Recall { target_seq } => {
                let view = self.view(peer, target_seq);
                (view.is_recalled, view.changed_seq) = (true, view.changed_seq.max(seq));
            }
            Subject::Message | Subject::Change(_) => {}
        }
    }

    fn view(&mut self, peer: Peer, seq: u64) -> &mut View {
        let said = View { text: None, changed_seq: 0, is_recalled: false };
        self.changed.entry((peer, seq)).or_insert(said)
    }

    /// It will not be told what is beyond one place, up to another one.
    pub(super) fn skips(&mut self, peer: Peer, after_seq: u64, seq: u64) {
        self.skipped.entry(peer).or_default().push((after_seq, seq));
    }

    pub(super) fn forget(&mut self, peer: Peer) {
        self.changed.retain(|(of, _), _| *of != peer);
        self.skipped.remove(&peer);
    }

    fn has_skipped(&self, peer: Peer, seq: u64) -> bool {
        let parts = self.skipped.get(&peer).into_iter().flatten();
        parts.into_iter().any(|(after_seq, last_seq)| (after_seq + 1..=*last_seq).contains(&seq))
    }

    /// Whether it shows this of a message.
    fn shows(&self, peer: Peer, seq: u64, said: Words, is: Words) -> bool {
        let Some(view) = self.changed.get(&(peer, seq)) else { return is == said };
        let text = view.is_recalled || view.text.unwrap_or(said.text) == is.text;
        text && (view.is_recalled, view.changed_seq) == (is.is_recalled, is.changed_seq)
    }
}

impl Spec {
    /// A message of a log that an application shows otherwise than its log has it; none if all are right.
    pub(super) fn mistaken(&self, client: u16, log: LogKey) -> Option<u64> {
        let user = self.users[client as usize];
        let peer = peer_of(log, user)?;
        let views = &self.apps.get(&client)?.views;
        let newest = self.logs.newest(log)?;
        // Who has left is not told what changes since, or just a little of it.
        if self.logs.limits(log, user, u64::MAX) != [u64::MAX] {
            return None;
        }
        newest.versions.changed().find_map(|(seq, mut by)| {
            let said = newest.at(seq)?.words;
            let skipped = views.has_skipped(peer, seq) || by.any(|by| views.has_skipped(peer, by));
            let shown = skipped || views.shows(peer, seq, said, newest.versions.last(seq, said));
            (!shown).then_some(seq)
        })
    }
}
