//! Keys as a JWK Set (RFC 7517).

use std::collections::BTreeSet;

use data_encoding::BASE64URL_NOPAD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde::{Deserialize, Serialize};

use super::key::{Algorithm, Key, KeyError, Material};

/// Bytes of a key's id, and of an issuer, at the most.
const NAME_BYTES: usize = 256;

/// Keys that a set may have.
const KEYS_LIMIT: usize = 64;

/// The keys of a file: the last one that can sign does, all of them verify.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

/// A set as it is written. What other programs say of keys is passed over.
#[derive(Deserialize, Serialize)]
struct Wired {
    keys: Vec<WiredKey>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct WiredKey {
    kty: String,
    kid: String,
    alg: String,
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    usage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crv: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    k: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    e: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    d: Option<String>,
    /// Members of our own: whose tokens it signs, and when it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
}

/// What is wrong with a set.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// It is no JWK Set.
    #[error("this is no JWK Set (RFC 7517): {0}")]
    Syntax(String),
    /// It has too many keys.
    #[error("there are {0} keys, and {KEYS_LIMIT} may be")]
    TooMany(usize),
    /// A key is wrong.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl KeySet {
    /// Reads a set, or a key alone.
    ///
    /// # Errors
    /// If it is none, or a key in it is wrong or not of a kind that is known here.
    pub fn parse(text: &str) -> Result<Self, KeySetError> {
        // What is wrong is said without the text, which is secret.
        let syntax = |error: serde_json::Error| {
            KeySetError::Syntax(format!("line {}, column {}", error.line(), error.column()))
        };
        let value: serde_json::Value = serde_json::from_str(text).map_err(syntax)?;
        let wired = if value.get("keys").is_some() {
            serde_json::from_value::<Wired>(value).map(|set| set.keys)
        } else {
            serde_json::from_value::<WiredKey>(value).map(|key| vec![key])
        };
        let wired = wired.map_err(|_| KeySetError::Syntax("a member has a wrong type".to_owned()))?;
        if wired.len() > KEYS_LIMIT {
            return Err(KeySetError::TooMany(wired.len()));
        }
        let mut set = Self::default();
        for key in wired {
            set.add(key.try_into()?)?;
        }
        Ok(set)
    }

    /// The set as JSON, secrets and all.
    #[must_use]
    pub fn to_json(&self) -> String {
        let wired = Wired { keys: self.keys.iter().map(WiredKey::from).collect() };
        // Texts and numbers can be written.
        serde_json::to_string_pretty(&wired).unwrap_or_default() + "\n"
    }

    /// All keys, in their order.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Adds a key behind all others.
    ///
    /// # Errors
    /// If another one has its id.
    pub fn add(&mut self, key: Key) -> Result<(), KeyError> {
        let known: BTreeSet<&str> = self.keys.iter().map(Key::kid).collect();
        if known.contains(key.kid()) {
            return Err(KeyError::Twice(key.kid));
        }
        self.keys.push(key);
        Ok(())
    }

    /// Takes a key out: its tokens are none any more. Returns whether there was one.
    pub fn retire(&mut self, kid: &str) -> bool {
        let before = self.keys.len();
        self.keys.retain(|key| key.kid != kid);
        self.keys.len() < before
    }

    /// The key that signs: the last one that can.
    #[must_use]
    pub fn signer(&self) -> Option<&Key> {
        self.keys.iter().rev().find(|key| key.can_sign())
    }

    pub(super) fn find(&self, kid: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.kid == kid)
    }
}

impl TryFrom<WiredKey> for Key {
    type Error = KeyError;

    fn try_from(wired: WiredKey) -> Result<Self, KeyError> {
        let kid = wired.kid.clone();
        let wrong = |member, wanted| KeyError::Member { kid: kid.clone(), member, wanted };
        if kid.is_empty() || kid.len() > NAME_BYTES || kid.chars().any(char::is_control) {
            return Err(wrong("kid", "a name of 1 to 256 bytes"));
        }
        if wired.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return Err(wrong("use", "sig: other keys are not for tokens"));
        }
        if wired.iss.as_ref().is_some_and(|iss| iss.is_empty() || iss.len() > NAME_BYTES) {
            return Err(wrong("iss", "the name of an issuer, 1 to 256 bytes"));
        }
        let bytes = |text: &Option<String>| BASE64URL_NOPAD.decode(text.as_deref()?.as_bytes()).ok();
        let exactly = |text: &Option<String>, length: usize| bytes(text).filter(|b| b.len() == length);
        let algorithm = Algorithm::named(&wired.alg);
        let is_for = |wanted: Algorithm| algorithm == Some(wanted);
        let material = match (wired.kty.as_str(), wired.crv.as_deref()) {
            ("oct", _) if !is_for(Algorithm::Hs256) => return Err(wrong("alg", "HS256")),
            ("oct", _) => {
                // RFC 7518 section 3.2; more than a block is hashed and says no more.
                let secret = bytes(&wired.k).filter(|secret| (32..=1024).contains(&secret.len()));
                Material::Hmac(secret.ok_or_else(|| wrong("k", "32 bytes or more in base64url"))?)
            }
            ("OKP", Some("Ed25519")) if !is_for(Algorithm::EdDsa) => return Err(wrong("alg", "EdDSA")),
            ("OKP", Some("Ed25519")) => {
                let public = exactly(&wired.x, 32).ok_or_else(|| wrong("x", "32 bytes in base64url"))?;
                let seed = match &wired.d {
                    None => None,
                    Some(_) => {
                        Some(exactly(&wired.d, 32).ok_or_else(|| wrong("d", "32 bytes in base64url"))?)
                    }
                };
                let is_pair = seed.as_ref().is_none_or(|seed| {
                    let pair = Ed25519KeyPair::from_seed_unchecked(seed);
                    pair.is_ok_and(|pair| pair.public_key().as_ref() == public)
                });
                if !is_pair {
                    return Err(wrong("x", "the public half of d"));
                }
                Material::Ed25519 { public, seed }
            }
            ("EC", Some("P-256")) if !is_for(Algorithm::Es256) => return Err(wrong("alg", "ES256")),
            ("RSA", _) if !is_for(Algorithm::Rs256) => return Err(wrong("alg", "RS256")),
            ("EC", Some("P-256")) | ("RSA", _) if wired.d.is_some() => {
                return Err(wrong("d", "left out: this server only verifies with such a key"));
            }
            ("EC", Some("P-256")) => {
                let coordinate = |text: &Option<String>, member| {
                    exactly(text, 32).ok_or_else(|| wrong(member, "32 bytes in base64url"))
                };
                Material::P256 { x: coordinate(&wired.x, "x")?, y: coordinate(&wired.y, "y")? }
            }
            ("RSA", _) => {
                let n = bytes(&wired.n).filter(|n| (256..=1024).contains(&n.len()));
                let e = bytes(&wired.e).filter(|e| (1..=4).contains(&e.len()));
                Material::Rsa {
                    n: n.ok_or_else(|| wrong("n", "2048 to 8192 bits in base64url"))?,
                    e: e.ok_or_else(|| wrong("e", "an exponent in base64url"))?,
                }
            }
            _ => return Err(wrong("kty", "oct, OKP with Ed25519, EC with P-256, or RSA")),
        };
        Ok(Self { kid, issuer: wired.iss, made_at: wired.iat, material })
    }
}

impl From<&Key> for WiredKey {
    fn from(key: &Key) -> Self {
        let encode = |bytes: &[u8]| Some(BASE64URL_NOPAD.encode(bytes));
        let wired = Self {
            kid: key.kid.clone(),
            alg: key.algorithm().name().to_owned(),
            usage: Some("sig".to_owned()),
            iss: key.issuer.clone(),
            iat: key.made_at,
            ..Self::default()
        };
        match &key.material {
            Material::Hmac(secret) => Self { kty: "oct".to_owned(), k: encode(secret), ..wired },
            Material::Ed25519 { public, seed } => Self {
                kty: "OKP".to_owned(),
                crv: Some("Ed25519".to_owned()),
                x: encode(public),
                d: seed.as_deref().and_then(encode),
                ..wired
            },
            Material::P256 { x, y } => Self {
                kty: "EC".to_owned(),
                crv: Some("P-256".to_owned()),
                x: encode(x),
                y: encode(y),
                ..wired
            },
            Material::Rsa { n, e } => Self { kty: "RSA".to_owned(), n: encode(n), e: encode(e), ..wired },
        }
    }
}
