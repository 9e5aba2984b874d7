//! What can be wrong with a configuration. Each error is one line, and its causes follow from `source`.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::load::Origin;

/// One thing that is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path:?} (named by {named_by})")]
    Read {
        /// The file.
        path: PathBuf,
        /// The flag or the variable that named it.
        named_by: Origin,
        /// Why.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("{origin} is not valid TOML: {message}")]
    Syntax {
        /// Where in the file.
        origin: Origin,
        /// What the parser says.
        message: String,
    },
    /// There is no such key.
    #[error("unknown key {key} ({origin}){}", suggestion(.nearest.as_deref()))]
    UnknownKey {
        /// Its dotted name.
        key: String,
        /// Where it is.
        origin: Origin,
        /// The known key or section nearest to it.
        nearest: Option<String>,
    },
    /// There was such a key.
    #[error("{key} ({origin}) is not a setting any more: use {successor}")]
    Removed {
        /// Its name.
        key: String,
        /// Where it is.
        origin: Origin,
        /// What to use instead.
        successor: &'static str,
    },
    /// A variable begins with `SWITCHBOARD_`, but there is no such key.
    #[error("unknown environment variable {name}{}", suggestion(.nearest.as_deref()))]
    UnknownVariable {
        /// The variable.
        name: String,
        /// The known variable nearest to it.
        nearest: Option<String>,
    },
    /// A value is of a wrong type or out of range.
    #[error("{key} = {value} ({origin}) must be {expected}")]
    Value {
        /// The key's dotted name.
        key: String,
        /// The value, as given.
        value: String,
        /// Where it came from.
        origin: Origin,
        /// What would be right.
        expected: String,
        /// What is wrong with it, where there is more to say.
        source: Option<toml::de::Error>,
    },
    /// `auth` is not set, and the address is not a loopback address.
    #[error(
        "listen = {listen} ({origin}) can be reached from other machines, but auth is not set, and without it \
         anybody can be any user with `?user=`: have users log in with auth = \"password\" (--auth password), \
         listen on a loopback address such as 127.0.0.1:8888, or, if all who can reach {listen} are trusted, \
         ask for it with auth = \"open\" (--auth open, SWITCHBOARD_AUTH=open)"
    )]
    AuthNotChosen {
        /// The address.
        listen: SocketAddr,
        /// Where it came from.
        origin: Origin,
    },
}

/// All that is wrong with a configuration, in the order of the layers.
#[derive(Debug, thiserror::Error)]
#[error("{} of the configuration {} wrong", .0.len(), if .0.len() == 1 { "value is" } else { "values are" })]
pub struct ConfigErrors(pub Vec<ConfigError>);

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!(": did you mean {nearest}?")).unwrap_or_default()
}
