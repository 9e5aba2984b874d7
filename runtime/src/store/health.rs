//! Whether a store works, for whoever asks: readiness checks, metrics, the engine's driver.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// The health of one store, shared with its threads.
#[derive(Debug, Default)]
pub struct StoreHealth {
    failure: Mutex<Option<Failure>>,
    /// The health of a part that fails and recovers by itself: that writing works says nothing of reading.
    part: Option<Arc<StoreHealth>>,
}

/// Why a store does not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What failed and why, for an operator.
    pub text: String,
    /// When the first of the failures since the last success was met.
    pub since: SystemTime,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StoreHealth {
    /// The health of something that has a part with a health of its own.
    pub(crate) fn with_part(part: Arc<StoreHealth>) -> Self {
        Self { failure: Mutex::default(), part: Some(part) }
    }

    /// The present failure: its newest text, and when it began. None while the store works.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        let own = self.lock().clone();
        own.or_else(|| self.part.as_ref().and_then(|part| part.failure()))
    }

    /// Whether the store works.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.itself_is_ok() && self.part.as_ref().is_none_or(|part| part.is_ok())
    }

    /// Whether it works as far as its part does not matter.
    pub(crate) fn itself_is_ok(&self) -> bool {
        self.lock().is_none()
    }

    /// Something failed.
    pub(crate) fn fail(&self, text: String) {
        let mut failure = self.lock();
        match &mut *failure {
            Some(failure) => failure.text = text,
            None => {
                tracing::error!(failure = text, "the store fails");
                *failure = Some(Failure { text, since: SystemTime::now() });
            }
        }
    }

    /// What failed has succeeded.
    pub(crate) fn recover(&self) {
        if self.lock().take().is_some() {
            tracing::info!("the store works again");
        }
    }

    /// A panic while the lock was held leaves nothing half-done behind, so poison means nothing here.
    fn lock(&self) -> MutexGuard<'_, Option<Failure>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_keeps_its_beginning_and_takes_the_newest_text() {
        let health = StoreHealth::default();
        assert!(health.is_ok());
        health.fail("first".into());
        let first = health.failure().unwrap();
        health.fail("second".into());
        let second = health.failure().unwrap();
        assert_eq!((second.text.as_str(), second.since), ("second", first.since));
        health.recover();
        assert_eq!(health.failure(), None);
    }

    #[test]
    fn a_part_that_fails_is_told_of_until_it_recovers_itself() {
        let part = Arc::new(StoreHealth::default());
        let health = StoreHealth::with_part(Arc::clone(&part));
        part.fail("reading".into());
        health.recover();
        assert_eq!(health.failure().unwrap().text, "reading");
        assert!(health.itself_is_ok() && !health.is_ok());
        health.fail("writing".into());
        assert_eq!(health.failure().unwrap().text, "writing");
        health.recover();
        part.recover();
        assert!(health.is_ok());
    }
}
