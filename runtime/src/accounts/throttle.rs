//! How often something may be done: logging in be tried, calls be made.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Who tries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    /// Somebody at this address; of IPv6, at this network of 64 bits, which one machine has to itself.
    Address(IpAddr),
    /// Somebody who says to be this user, or is.
    Account(String),
    /// All those for whom there is no place in the table.
    Others,
}

/// So many tries at once, and then one each time this has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) burst: u32,
    pub(crate) interval: Duration,
}

/// The generic cell rate algorithm: of each it remembers the time at which it will have all its tries again.
pub(crate) struct Throttle {
    rate: Rate,
    limit: usize,
    table: Mutex<Table>,
}

struct Table {
    full_at: HashMap<Who, Instant>,
    /// When it was looked for places that are free again.
    swept: Instant,
}

/// A full table is not looked through more often than this.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

impl Throttle {
    pub(crate) fn new(rate: Rate, limit: usize, now: Instant) -> Self {
        Self { rate, limit, table: Mutex::new(Table { full_at: HashMap::new(), swept: now }) }
    }

    /// Takes a try.
    ///
    /// # Errors
    /// How long it is until the next one, if there is none left.
    pub(crate) fn take(&self, who: Who, now: Instant) -> Result<(), Duration> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let who = table.place(who, self.limit, now);
        let full_at = table.full_at.get(&who).copied().unwrap_or(now).max(now);
        let after = full_at + self.rate.interval;
        let most = self.rate.interval.saturating_mul(self.rate.burst.max(1));
        match after.duration_since(now).checked_sub(most) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                table.full_at.insert(who, after);
                Ok(())
            }
        }
    }

    /// Gives all tries back: who has logged in has not guessed.
    pub(crate) fn forgive(&self, who: &Who) {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).full_at.remove(who);
    }
}

impl Table {
    /// The place of somebody: its own, or that of all others.
    fn place(&mut self, who: Who, limit: usize, now: Instant) -> Who {
        if self.full_at.len() >= limit && now.duration_since(self.swept) >= SWEEP_INTERVAL {
            self.swept = now;
            self.full_at.retain(|_, full_at| *full_at > now);
        }
        if self.full_at.len() < limit || self.full_at.contains_key(&who) { who } else { Who::Others }
    }
}

impl Who {
    pub(crate) fn at(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = u128::from(address) & !u128::from(u64::MAX);
                IpAddr::V6(network.into())
            }
            address @ IpAddr::V4(_) => address,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, interval: Duration::from_secs(10) };

    fn account(name: &str) -> Who {
        Who::Account(name.to_owned())
    }

    #[test]
    fn after_its_burst_one_waits_and_others_do_not() {
        let now = Instant::now();
        let throttle = Throttle::new(RATE, 10, now);
        for _ in 0..3 {
            assert_eq!(throttle.take(account("alice"), now), Ok(()));
        }
        assert_eq!(throttle.take(account("alice"), now), Err(Duration::from_secs(10)));
        assert_eq!(throttle.take(account("bob"), now), Ok(()));
        let later = now + Duration::from_secs(10);
        assert_eq!(throttle.take(account("alice"), later), Ok(()));
        assert_eq!(throttle.take(account("alice"), later), Err(Duration::from_secs(10)));
        throttle.forgive(&account("alice"));
        assert_eq!(throttle.take(account("alice"), later), Ok(()));
    }

    #[test]
    fn the_table_is_bounded_and_who_has_no_place_shares_one() {
        let now = Instant::now();
        let throttle = Throttle::new(RATE, 4, now);
        for index in 0..100 {
            let _ = throttle.take(account(&index.to_string()), now);
        }
        assert!(throttle.table.lock().unwrap().full_at.len() <= 5);
        assert!(throttle.take(account("late"), now).is_err());
        let later = now + Duration::from_secs(3_600);
        assert_eq!(throttle.take(account("late"), later), Ok(()));
        assert_eq!(throttle.table.lock().unwrap().full_at.len(), 1);
    }

    #[test]
    fn addresses_of_one_network_are_one() {
        let at = |text: &str| Who::at(text.parse().unwrap());
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:2"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("::ffff:10.0.0.1"), at("10.0.0.1"));
        assert_ne!(at("10.0.0.2"), at("10.0.0.1"));
    }
}
