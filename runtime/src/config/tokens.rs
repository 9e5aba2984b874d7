//! Section `tokens`: signed tokens.

use serde::{Deserialize, Serialize};

use crate::tokens::Rules;

/// Section `tokens`: signed tokens (JSON Web Tokens), in place of sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tokens {
    /// File of the keys, a JWK Set; read again when it changes. Default empty: no tokens.
    pub keys: String,
    /// What this server's own tokens say that they come from (`iss`). Default `switchboard`.
    #[serde(deserialize_with = "name")]
    pub issuer: String,
    /// Whom all tokens must be for (`aud`). Default `switchboard`.
    #[serde(deserialize_with = "name")]
    pub audience: String,
    /// How long this server's own tokens last at the most, in seconds. Default 3,600; 60 to 31,536,000.
    pub lifetime_s: u32,
    /// Whether users come into being with their first token. Default `off`.
    pub provision: Provision,
}

/// Whether users come into being with their first token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provision {
    /// Whoever has a right token is a user from then on.
    On,
    /// The token of a user whom nobody has made is refused.
    Off,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            keys: String::new(),
            issuer: "switchboard".to_owned(),
            audience: "switchboard".to_owned(),
            lifetime_s: 3_600,
            provision: Provision::Off,
        }
    }
}

impl Tokens {
    /// What tokens have to say.
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules { issuer: self.issuer.clone(), audience: self.audience.clone() }
    }
}

/// Takes a name only if it is one.
pub(super) fn name<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
        return Err(serde::de::Error::custom("a name has 1 to 256 bytes, and no control characters"));
    }
    Ok(text)
}
