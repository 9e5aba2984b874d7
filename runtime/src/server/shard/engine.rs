//! The engine of a shard: the shipped one. With the cargo feature `canary`, which is for trying how a bug is found from a recording,
//! one with a bug of the engine's list, which the variable `CANARY` names.

use switchboard_engine::{Instant, Server, ServerConfig};

#[cfg(not(feature = "canary"))]
pub(super) use self::shipped::{Engine, new, note};
#[cfg(feature = "canary")]
pub(super) use self::sick::{Engine, new, note};

#[cfg(not(feature = "canary"))]
mod shipped {
    use super::{Instant, Server, ServerConfig};

    pub(in super::super) type Engine = Server;

    pub(in super::super) fn new(config: ServerConfig, seed: u64, now: Instant) -> Engine {
        Server::new(config, seed, now)
    }

    /// What is to be known of the engine by whoever has a recording.
    pub(in super::super) fn note() -> String {
        String::new()
    }
}

#[cfg(feature = "canary")]
mod sick {
    use switchboard_engine::{Canary, Probe, Rule};

    use super::{Instant, Server, ServerConfig};

    pub(in super::super) type Engine = Server<Sick>;

    /// A server with a bug, if one is named.
    #[derive(Clone, Copy, Debug)]
    pub(in super::super) struct Sick(Option<Canary>);

    impl Probe for Sick {
        fn canary(&self, canary: Canary) -> bool {
            self.0 == Some(canary)
        }

        fn reached(&mut self, _: Rule) {}
    }

    fn named() -> Option<Canary> {
        let name = std::env::var("CANARY").ok().filter(|name| !name.is_empty())?;
        let found = Canary::ALL.iter().copied().find(|canary| canary.name() == name);
        if found.is_none() {
            tracing::error!(
                name,
                "CANARY names no bug: `switchboard-sim canaries` lists them; this server has none"
            );
        }
        found
    }

    pub(in super::super) fn new(config: ServerConfig, seed: u64, now: Instant) -> Engine {
        let canary = named();
        if let Some(canary) = canary {
            tracing::warn!(bug = canary.name(), "this server has a bug on purpose: {}", canary.what());
        }
        Server::with_probe(config, seed, now, Sick(canary))
    }

    pub(in super::super) fn note() -> String {
        named().map(|canary| format!(" with the bug {}", canary.name())).unwrap_or_default()
    }
}
