//! What was submitted, and what became of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard},
};

use switchboard::store::Conversation;

/// An entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) seq: u64,
    pub(crate) from: String,
    pub(crate) id: [u8; 16],
    pub(crate) text: String,
}

/// A message that some device has submitted.
#[derive(Debug)]
struct Submit {
    from: String,
    text: String,
    /// The device knows that its client has taken it; it may have been cut off before.
    taken: bool,
    /// Where it was told to be accepted, each time that it was told.
    accepted: Vec<(u64, u64)>,
}

#[derive(Debug, Default)]
struct Inner {
    submits: BTreeMap<[u8; 16], Submit>,
    accepted: u64,
    /// Cut off after the store had the fate, and before anybody was told.
    untold: u64,
    /// Why messages were not taken for a while, and how many.
    delayed: BTreeMap<String, u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Inner>);

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    pub(crate) fn offered(&self, id: [u8; 16], from: &str, text: &str) {
        let submit =
            Submit { from: from.to_owned(), text: text.to_owned(), taken: false, accepted: Vec::new() };
        assert!(self.lock().submits.insert(id, submit).is_none());
    }

    pub(crate) fn taken(&self, id: [u8; 16]) {
        self.lock().submits.get_mut(&id).unwrap().taken = true;
    }

    pub(crate) fn accepted_at(&self, id: [u8; 16], epoch: u64, seq: u64) {
        let mut inner = self.lock();
        inner.accepted += 1;
        let submit = inner.submits.get_mut(&id).expect("only what was submitted has a fate");
        submit.accepted.push((epoch, seq));
        assert_eq!(submit.accepted.len(), 1, "{:?} has one fate", submit.text);
    }

    /// A device that was cut off finds that its client knows of no such message any more: it has its fate, which nobody
    /// was told, or was never taken.
    pub(crate) fn settled(&self, id: [u8; 16]) {
        let mut inner = self.lock();
        inner.untold += u64::from(inner.submits[&id].taken);
    }

    /// The server cannot store something for now, and says why.
    pub(crate) fn delayed(&self, why: &str) {
        *self.lock().delayed.entry(why.to_owned()).or_default() += 1;
    }

    /// Why messages were not taken for a while, and how many, so far.
    pub(crate) fn delays(&self) -> BTreeMap<String, u64> {
        self.lock().delayed.clone()
    }

    /// Acknowledgements that were told so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.lock().accepted
    }

    pub(crate) fn assert_holds(&self, logs: &[(Conversation, Vec<Entry>)]) {
        let inner = self.lock();
        let mut stored = BTreeMap::new();
        for (conversation, log) in logs {
            assert!(
                log.iter().map(|entry| entry.seq).eq(1..=log.len() as u64),
                "{conversation:?} has no gaps"
            );
            let mut ids = BTreeSet::new();
            for entry in log {
                assert!(ids.insert((&entry.from, entry.id)), "{conversation:?} has {:?} once", entry.text);
                if inner.submits.contains_key(&entry.id) {
                    assert!(stored.insert(entry.id, entry).is_none(), "{:?} is in one log", entry.text);
                }
            }
        }
        let mut untold = 0;
        for (id, submit) in &inner.submits {
            let entry = stored.get(id);
            if submit.taken {
                let entry = entry.unwrap_or_else(|| panic!("{:?} was taken, and is in no log", submit.text));
                assert_eq!((&entry.from, &entry.text), (&submit.from, &submit.text));
                untold += u64::from(submit.accepted.is_empty());
            }
            if let [(_, seq)] = submit.accepted[..] {
                assert_eq!(
                    entry.map(|entry| entry.seq),
                    Some(seq),
                    "{:?} is where it was accepted",
                    submit.text
                );
            }
        }
        assert!(untold <= inner.untold, "only who was cut off misses a fate: {untold} of {}", inner.untold);
        println!(
            "{} submitted, {} accepted, {untold} fates told to nobody",
            inner.submits.len(),
            inner.accepted
        );
    }
}
