//! How many calls somebody may make.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use switchboard_engine::UserId;

use crate::{
    accounts::{Rate, Throttle, Who},
    config::Config,
};

/// Counts the calls of each user, and of each address from which somebody asks who is nobody.
pub(in crate::server) struct CallRates(Option<Throttle>);

/// So many calls were made that there is none left for now; the next one comes after this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) struct TooManyCalls(pub(in crate::server) Duration);

impl CallRates {
    pub(super) fn new(config: &Config) -> Self {
        let interval = Duration::from_secs(1).checked_div(config.http.calls_per_second);
        let entries = usize::try_from(config.accounts.login_entries).unwrap_or(usize::MAX);
        Self(interval.map(|interval| {
            Throttle::new(Rate { burst: config.http.call_burst, interval }, entries, Instant::now())
        }))
    }

    /// Takes note of a call of a user's.
    pub(in crate::server) fn of_user(&self, user: &UserId) -> Result<(), TooManyCalls> {
        self.take(|| Who::Account(user.as_str().to_owned()))
    }

    /// Takes note of a call of nobody's.
    pub(in crate::server) fn of_address(&self, address: IpAddr) -> Result<(), TooManyCalls> {
        self.take(|| Who::at(address))
    }

    fn take(&self, who: impl FnOnce() -> Who) -> Result<(), TooManyCalls> {
        let Some(throttle) = &self.0 else { return Ok(()) };
        throttle.take(who(), Instant::now()).map_err(TooManyCalls)
    }
}

impl std::fmt::Debug for CallRates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallRates").finish_non_exhaustive()
    }
}
