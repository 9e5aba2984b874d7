//! The configuration: what can be set, what it means, and how it becomes the engine's.
//!
//! A value comes from the highest of four layers that names it: the defaults, the file, the environment, the
//! flags. [`load`] merges them and checks every value of every layer, overridden ones too. A key is written
//! with dots (`limits.message_bytes`); its variable is `SWITCHBOARD_LIMITS_MESSAGE_BYTES`. The file
//! `runtime/switchboard.toml` lists all keys with their defaults.

mod defaults;
mod engine;
mod error;
mod front_end;
mod key;
mod load;
mod media;
mod record;
mod sections;
mod show;
mod telemetry;
mod tokens;
mod value;

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::tls::CertificateFiles;

pub use error::{ConfigError, ConfigErrors};
pub use front_end::FrontEnd;
pub(crate) use load::is_loopback;
pub use load::{CONFIG_VARIABLE, Layers, Loaded, Origin, TOKEN_VARIABLE, load};
pub use media::{BucketStyle, FileStore, Media};
pub use record::{Record, RecordMode, Redact};
pub use sections::{Accounts, Bus, Handshake, Http, Limits, Store, Timeouts};
pub use telemetry::Telemetry;
pub use tokens::{Provision, Tokens};
pub(crate) use value::parse_networks;

/// How a Switchboard server runs. Each field says which values [`load`] takes; numbers in names that end in
/// `_ms` are milliseconds, in `_bytes` bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port for WebSockets and HTTP. Default 127.0.0.1:8888; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Address and port for figures, readiness and health alone, for operators. Default `off`: figures are then shown on
    /// `listen`, if that is a loopback address.
    #[serde(with = "value::optional_address")]
    pub metrics_listen: Option<SocketAddr>,
    /// Certificate in PEM, with those that lead from it to an authority. Default `off`: no TLS is spoken.
    #[serde(with = "value::optional_path")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key in PEM.
    #[serde(with = "value::optional_path")]
    pub tls_key: Option<PathBuf>,
    /// Folder of the database and of uploaded files. Default `data`, in the working directory.
    #[serde(deserialize_with = "value::folder")]
    pub data: PathBuf,
    /// Shards: threads with an engine each. Default 1; 1 to 64.
    pub shards: u16,
    /// How a user proves who they are. Default `open`, which [`load`] refuses on an address that is not a
    /// loopback address unless some layer asked for it by name.
    pub auth: AuthMode,
    /// Web sites of other origins whose pages may use sessions here, like `https://chat.example`, separated by blanks.
    /// Default: none.
    #[serde(deserialize_with = "value::origins")]
    pub allowed_origins: String,
    /// Addresses and networks of proxies, separated by blanks: what they say of a request's origin is believed. Default: none.
    #[serde(deserialize_with = "value::networks")]
    pub trusted_proxies: String,
    /// What browsers are served beside the calls: key `static`. Default `built-in`.
    #[serde(rename = "static")]
    pub front_end: FrontEnd,
    /// What happens when a connected user connects again. Default: the engine's.
    pub devices: Devices,
    /// Whether it is known who is here, and kept when users were last. Default `on`.
    pub presence: Presence,
    /// Which log lines are written: a filter like `info` or `info,switchboard=debug`. Default `info`.
    #[serde(deserialize_with = "value::filter")]
    pub log: String,
    /// How log lines are written. Default `text`.
    pub log_format: LogFormat,
    /// How long a shutdown waits for connections to close, in milliseconds. Default 10,000; 0 to a day.
    pub shutdown_timeout_ms: u64,
    /// How long `/readyz` says that the server stops before anything else follows from that, in milliseconds. Default 0; 0 to a
    /// day.
    pub shutdown_notice_ms: u64,
    /// How long frames wait for others to the same connections, in milliseconds: fewer and larger writes, for that much latency.
    /// Default 0, which writes at the end of the turn; at most 1,000.
    pub write_delay_ms: u32,
    /// Connections that are not WebSockets yet.
    pub handshake: Handshake,
    /// Time-outs and intervals of the engine.
    pub timeouts: Timeouts,
    /// Limits of each shard.
    pub limits: Limits,
    /// The database.
    pub store: Store,
    /// The bus between shards.
    pub bus: Bus,
    /// Users, and who is logged in.
    pub accounts: Accounts,
    /// Signed tokens.
    pub tokens: Tokens,
    /// Requests that are no WebSockets.
    pub http: Http,
    /// Files that users have sent.
    pub media: Media,
    /// Recordings of what the engines are told.
    pub record: Record,
    /// Traces for a collector.
    pub telemetry: Telemetry,
}

impl Config {
    /// The files of the certificate, if TLS is to be spoken.
    pub(crate) fn tls(&self) -> Option<CertificateFiles> {
        let (certificate, key) = (self.tls_cert.clone()?, self.tls_key.clone()?);
        Some(CertificateFiles { certificate, key })
    }
}

/// How a user proves who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthMode {
    /// They need not: `?user=` is believed. For development, and behind a proxy that sets it.
    Open,
    /// They log in with a password, and have a session.
    Password,
}

/// What happens when a connected user connects again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Devices {
    /// All connections stay, and each receives everything.
    All,
    /// The newest connection stays, the others are closed.
    NewestWins,
}

/// Whether it is known who is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// To those who have a conversation or a group in common with a user.
    On,
    /// To nobody: everybody is always said to be offline, and nothing is kept.
    Off,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people: coloured on a terminal, unless `NO_COLOR` is set.
    Text,
    /// For programs: one JSON object per line.
    Json,
}
