//! Values that are more than their type says.

use std::error::Error as _;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
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

/// Takes addresses and networks only if each is one.
pub(super) fn networks<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_networks(&text).map_err(serde::de::Error::custom)?;
    Ok(text)
}

/// The networks in a list; an address is one of its own.
pub(crate) fn parse_networks(list: &str) -> Result<Vec<IpNet>, String> {
    let network = |word: &str| {
        let address = || word.parse::<IpAddr>().map(IpNet::from);
        word.parse().or_else(|_| address()).map_err(|_| format!("{word:?} is not like 10.0.0.0/8 or ::1"))
    };
    list.split_whitespace().map(network).collect()
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

/// A path that may be `off`.
pub(super) mod optional_path {
    use std::path::PathBuf;

    use serde::{Deserializer, Serialize as _, Serializer};

    const OFF: &str = "off";

    pub(in crate::config) fn serialize<S: Serializer>(
        path: &Option<PathBuf>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match path {
            Some(path) => path.serialize(serializer),
            None => serializer.serialize_str(OFF),
        }
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<PathBuf>, D::Error> {
        let path = super::folder(deserializer)?;
        Ok(Some(path).filter(|path| path.as_os_str() != OFF))
    }
}
