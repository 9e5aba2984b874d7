//! Places for uploads: a few for all, and of those a share for each user, so that who sends slowly keeps nobody else waiting.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use switchboard_engine::UserId;

/// One user has this part of all places at the most, and one at least.
const SHARE: u32 = 4;

/// The places. Who is believed without having logged in has none but those of all.
#[derive(Clone, Debug)]
pub(in crate::server) struct Uploads {
    limit: u32,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    all: u32,
    of: HashMap<UserId, u32>,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(in crate::server) struct UploadPlace {
    user: Option<UserId>,
    taken: Arc<Mutex<Taken>>,
}

impl Uploads {
    pub(super) fn new(limit: u32) -> Self {
        Self { limit, taken: Arc::default() }
    }

    /// A place for an upload of this user, if there is one.
    pub(in crate::server) fn place(&self, user: Option<&UserId>) -> Option<UploadPlace> {
        let mut taken = lock(&self.taken);
        if taken.all >= self.limit {
            return None;
        }
        if let Some(user) = user {
            let own = taken.of.entry(user.clone()).or_default();
            if *own >= (self.limit / SHARE).max(1) {
                return None;
            }
            *own += 1;
        }
        taken.all += 1;
        Some(UploadPlace { user: user.cloned(), taken: Arc::clone(&self.taken) })
    }
}

impl Drop for UploadPlace {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.all = taken.all.saturating_sub(1);
        let Some(user) = self.user.take() else { return };
        let left = taken.of.get(&user).map_or(0, |own| own.saturating_sub(1));
        if left == 0 {
            taken.of.remove(&user);
        } else {
            taken.of.insert(user, left);
        }
    }
}

fn lock(taken: &Mutex<Taken>) -> std::sync::MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_leaves_places_for_others_and_all_have_no_more_than_there_are() {
        let [mallory, alice] = ["mallory", "alice"].map(|user| UserId::new(user).unwrap());
        let uploads = Uploads::new(8);
        let places: Vec<_> = (0..3).filter_map(|_| uploads.place(Some(&mallory))).collect();
        assert_eq!(places.len(), 2);
        let own = uploads.place(Some(&alice)).unwrap();
        let others: Vec<_> = (0..9).filter_map(|_| uploads.place(None)).collect();
        assert_eq!(others.len(), 5);
        drop((places, others, own));
        assert!(uploads.place(Some(&mallory)).is_some());
        assert_eq!(lock(&uploads.taken).all, 0);
        assert!(lock(&uploads.taken).of.is_empty());
    }

    #[test]
    fn of_few_places_each_user_has_one() {
        let alice = UserId::new("alice").unwrap();
        let uploads = Uploads::new(1);
        let place = uploads.place(Some(&alice));
        assert!(place.is_some() && uploads.place(None).is_none());
    }
}
