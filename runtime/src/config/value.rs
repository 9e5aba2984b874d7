//! Values that are more than their type says.

use std::error::Error as _;
use std::path::PathBuf;

use serde::Deserialize as _;

/// Takes a log filter only if it is one. The error has its causes in its text, as serde keeps no more.
pub(super) fn filter<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    match crate::logging::parse_filter(&text) {
        Ok(_) => Ok(text),
        Err(error) => {
            let cause = error.source().map(|source| format!(": {source}")).unwrap_or_default();
            Err(serde::de::Error::custom(format!("{error}{cause}")))
        }
    }
}

/// Takes origins only if each is one, as browsers write them (RFC 6454 section 6.2).
pub(super) fn origins<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    for origin in text.split_whitespace() {
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        let is_host = |host: &str| {
            !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic() && !b"/?#@,*\"".contains(&b))
        };
        if !host.is_some_and(is_host) {
            return Err(serde::de::Error::custom(format!("{origin:?} is not like https://chat.example")));
        }
    }
    Ok(text)
}

/// Takes a path only if it is one: an empty variable is a slip, not the working directory.
pub(super) fn folder<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    if path.as_os_str().is_empty() { Err(serde::de::Error::custom("the path is empty")) } else { Ok(path) }
}

/// An address that may be `off`.
pub(super) mod optional_address {
    use std::net::SocketAddr;

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    const OFF: &str = "off";

    pub(in crate::config) fn serialize<S: Serializer>(
        address: &Option<SocketAddr>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match address {
            Some(address) => serializer.collect_str(address),
            None => serializer.serialize_str(OFF),
        }
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SocketAddr>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == OFF { Ok(None) } else { text.parse().map(Some).map_err(D::Error::custom) }
    }
}
