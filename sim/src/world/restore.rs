//! A store that is restored from a backup: all nodes die, what was committed since the backup is gone, and the logs
//! begin new epochs.

use super::{World, store::log, sut::Sut};
use crate::{
    check::Backup as CheckBackup,
    counts::Fault,
    schedule::{NodeNo, Schedule, What},
    spec::Backup as SpecBackup,
    store::SimStore,
    trace::Lane,
};

/// What there was when the store was backed up: the store itself, and what the checks knew of it.
#[derive(Clone, Debug)]
pub(super) struct Backup {
    store: SimStore,
    check: CheckBackup,
    spec: SpecBackup,
}

impl<T: Sut> World<'_, T> {
    /// The store is backed up, in place of the backup before; if any is ever needed.
    pub(super) fn back_up(&mut self) {
        if is_restored(self.schedule) {
            let (check, spec) = (self.check.backup(), self.spec.backup());
            self.backup = Some(Box::new(Backup { store: self.store.model.clone(), check, spec }));
        }
    }

    /// All nodes die, and come back with the store as it was.
    pub(super) fn restore(&mut self, down_us: u64) {
        let Some(backup) = self.backup.take() else { return };
        for node in 0..self.nodes.len() as u16 {
            self.crash(NodeNo(node), down_us);
        }
        self.tally.add(Fault::StoreRestored);
        self.trace.note(self.now_us, Lane::Store, || "is restored from its backup".to_owned());
        let model = &mut self.store.model;
        model.set_back(&backup.store);
        let epochs: Vec<_> = model.conversations().map(|of| (log(of), model.epoch_of(of))).collect();
        let (revision, restored) = (model.revision(), model.restored());
        self.check.restored(&backup.check, revision);
        self.spec.restored(&backup.spec, restored, &epochs);
        self.backup = Some(backup);
    }
}

/// Whether a schedule restores the store at all.
fn is_restored(schedule: &Schedule) -> bool {
    schedule.steps.iter().any(|step| matches!(step.what, What::Restore { .. }))
}
