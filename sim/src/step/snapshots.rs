//! Copies of a machine, of which some are kept: few that are far from where one looks, and those just before it.

use std::collections::{BTreeMap, btree_map::Entry};

/// Copies that are kept of the steps just before the one that was gone to last.
const NEAR: u64 = 8;

/// How many copies are kept, and of which steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Steps between two copies, as long as not too many are kept.
    pub every: u64,
    /// So many are kept over the whole run: if there are more, every other one goes, and twice as many steps are between two from there on.
    /// Beside them are at most eight just before the step that was gone to.
    pub limit: usize,
}

impl Default for Keep {
    /// Measured: see `docs/recording.md`.
    fn default() -> Self {
        Self { every: 256, limit: 64 }
    }
}

/// Copies by their steps.
#[derive(Clone, Debug)]
pub(crate) struct Snapshots<P> {
    keep: Keep,
    /// Steps between two of `far`.
    stride: u64,
    far: BTreeMap<u64, P>,
    near: BTreeMap<u64, P>,
}

impl<P: Clone> Snapshots<P> {
    /// With the machine as it is before the first step.
    pub(crate) fn new(keep: Keep, start: P) -> Self {
        let keep = Keep { every: keep.every.max(1), limit: keep.limit.max(1) };
        Self { keep, stride: keep.every, far: BTreeMap::from([(0, start)]), near: BTreeMap::new() }
    }

    /// The last copy of a step that is not behind this one.
    pub(crate) fn nearest(&self, step: u64) -> Option<(u64, &P)> {
        let far = self.far.range(..=step).next_back();
        let near = self.near.range(..=step).next_back();
        far.into_iter().chain(near).max_by_key(|(at, _)| **at).map(|(at, place)| (*at, place))
    }

    /// Looks at a machine on its way from one step to another, and copies it if it is to be kept.
    pub(crate) fn pass(&mut self, step: u64, to: u64, place: &P) {
        if step.is_multiple_of(self.stride) {
            if let Entry::Vacant(entry) = self.far.entry(step) {
                entry.insert(place.clone());
                self.thin();
            }
        } else if step.is_multiple_of(self.keep.every) && to - step < NEAR * self.keep.every {
            self.near.entry(step).or_insert_with(|| place.clone());
            while self.near.len() as u64 > NEAR {
                let farthest = self.near.keys().max_by_key(|at| at.abs_diff(to)).copied();
                farthest.map(|at| self.near.remove(&at));
            }
        }
    }

    fn thin(&mut self) {
        while self.far.len() > self.keep.limit && self.far.len() > 1 {
            self.stride *= 2;
            let stride = self.stride;
            self.far.retain(|at, _| at.is_multiple_of(stride));
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.far.len() + self.near.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_kept_than_may_be_and_one_is_near_wherever_one_goes() {
        let mut kept = Snapshots::new(Keep { every: 4, limit: 8 }, 0);
        for to in [10_000_u64, 9_000, 20, 9_999] {
            let (from, _) = kept.nearest(to).unwrap();
            (from + 1..=to).for_each(|step| kept.pass(step, to, &step));
            assert!(kept.len() <= 8 + NEAR as usize, "{}", kept.len());
            let (at, place) = kept.nearest(to).unwrap();
            assert!(to - at < 4 && *place == at, "{to} has {at}");
            assert!(to < 40 || kept.nearest(to - 25).unwrap().0 > to - 32);
        }
        assert_eq!(kept.nearest(0), Some((0, &0)));
    }
}
