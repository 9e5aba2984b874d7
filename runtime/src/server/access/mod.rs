//! Who asks over HTTP, and for whom it may act: what all calls have in common, whatever they look like.
//!
//! [`Desk::admit`] finds out who asks. A handler acts for nobody of whom [`Caller`] has not made an [`Actor`], and what
//! takes one cannot be called without it.

mod auth;
mod body;
mod proxies;
mod rates;
mod uploads;

use std::net::SocketAddr;
use std::sync::Arc;

use crate::{
    accounts::Accounts,
    config::{AuthMode, Config, Devices, Http},
    media::Files,
    server::{authority::Authority, courier::Courier},
};

pub(super) use auth::{Actor, Admitted, COOKIE, Caller, Refusal, session_in};
pub(super) use body::BodyError;
pub(super) use proxies::Proxies;
pub(super) use rates::{CallRates, TooManyCalls};
pub(super) use uploads::Uploads;

/// What the calls work with; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    pub(super) accounts: Arc<Accounts>,
    pub(super) media: Files,
    pub(super) rules: Arc<Rules>,
    pub(super) rates: Arc<CallRates>,
    pub(super) authority: Authority,
    pub(super) courier: Courier,
    /// Places for uploads.
    pub(super) uploads: Uploads,
}

/// What of the configuration the calls go by.
#[derive(Debug)]
pub(super) struct Rules {
    auth: AuthMode,
    devices: Devices,
    pub(super) proxies: Arc<Proxies>,
    allowed_origins: Vec<String>,
    pub(super) groups_per_user: u32,
    pub(super) http: Http,
}

/// Who is at the other end of a connection: perhaps a proxy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) is_tls: bool,
}

impl Rules {
    /// Whether nobody is believed to be whom it says.
    pub(super) fn asks_for_passwords(&self) -> bool {
        self.auth == AuthMode::Password
    }

    /// Whether a user's connections leave each other alone.
    pub(super) fn keeps_all_devices(&self) -> bool {
        self.devices == Devices::All
    }
}

impl Desk {
    pub(super) fn new(
        config: &Config,
        accounts: Arc<Accounts>,
        media: Files,
        authority: Authority,
        courier: Courier,
    ) -> Self {
        let origins = config.allowed_origins.split_whitespace();
        let rules = Rules {
            auth: config.auth,
            devices: config.devices,
            proxies: Arc::new(Proxies::new(&config.trusted_proxies)),
            allowed_origins: origins.map(str::to_ascii_lowercase).collect(),
            groups_per_user: config.limits.groups_per_user,
            http: config.http.clone(),
        };
        let uploads = Uploads::new(config.http.uploads);
        let rates = Arc::new(CallRates::new(config));
        Self { accounts, media, rules: Arc::new(rules), rates, authority, courier, uploads }
    }

    /// The proxies that are believed.
    pub(super) fn proxies(&self) -> Arc<Proxies> {
        Arc::clone(&self.rules.proxies)
    }
}
