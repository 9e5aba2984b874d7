//! One key, and what it signs and verifies with.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{DecodingKey, EncodingKey};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::ring_provider;

/// What a key signs with (RFC 7518 section 3.1, RFC 8037, RFC 9864).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256: whoever can verify can sign.
    Hs256,
    /// Ed25519.
    EdDsa,
    /// ECDSA with P-256 and SHA-256; verified alone.
    Es256,
    /// RSA with PKCS #1 version 1.5 and SHA-256, 2,048 to 8,192 bits; verified alone.
    Rs256,
}

impl Algorithm {
    const ALL: [Self; 4] = [Self::Hs256, Self::EdDsa, Self::Es256, Self::Rs256];

    /// Its name in the header of a token.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }

    /// The algorithm of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        // RFC 9864 gives EdDSA with this curve a name of its own.
        let name = if name == "Ed25519" { "EdDSA" } else { name };
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// The same of the library of tokens.
    pub(super) const fn in_library(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
        }
    }

    /// Which one this is of the library's; none if it is not for this server.
    pub(super) fn of_library(theirs: jsonwebtoken::Algorithm) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.in_library() == theirs)
    }
}

/// What is wrong with a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A member is missing, or not what it has to be.
    #[error("{member} of the key {kid:?} must be {wanted}")]
    Member {
        /// The key's id; may be empty if that is what is wrong.
        kid: String,
        /// Which.
        member: &'static str,
        /// What would be right.
        wanted: &'static str,
    },
    /// Two keys have the same id.
    #[error("two keys have the id {0:?}: each needs one of its own")]
    Twice(String),
    /// The operating system has no random numbers.
    #[error("cannot make up a key: {0}")]
    Random(String),
}

/// A key, by its id. Its `Debug` shows no secrets.
#[derive(Clone)]
pub struct Key {
    pub(super) kid: String,
    /// Whose tokens it signs; none for this server's own.
    pub(super) issuer: Option<String>,
    /// When it was made, in seconds since 1970, if that is known.
    pub(super) made_at: Option<i64>,
    pub(super) material: Material,
}

/// What a key is made of.
#[derive(Clone)]
pub(super) enum Material {
    Hmac(Vec<u8>),
    /// With the seed of its private half, if that is here.
    Ed25519 {
        public: Vec<u8>,
        seed: Option<Vec<u8>>,
    },
    /// The point, uncompressed.
    P256 {
        x: Vec<u8>,
        y: Vec<u8>,
    },
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm())
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

/// What PKCS #8 has before the seed of an Ed25519 key (RFC 8410 section 7).
const PKCS8_ED25519: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Bytes of a key that is made here: as many as its hash has (RFC 7518 section 3.2), or its curve's seed.
const SECRET_BYTES: usize = 32;

impl Key {
    /// A new key, to sign with: HMAC or Ed25519.
    ///
    /// # Errors
    /// If this server cannot sign with the algorithm, or there are no random numbers.
    pub fn generate(algorithm: Algorithm, made_at: i64) -> Result<Self, KeyError> {
        let random = |length: usize| {
            let mut bytes = vec![0; length];
            getrandom::fill(&mut bytes).map_err(|error| KeyError::Random(error.to_string()))?;
            Ok(bytes)
        };
        let secret: Vec<u8> = random(SECRET_BYTES)?;
        let kid = BASE64URL_NOPAD.encode(&random(9)?);
        let material = match algorithm {
            Algorithm::Hs256 => Material::Hmac(secret),
            Algorithm::EdDsa => {
                let pair = Ed25519KeyPair::from_seed_unchecked(&secret)
                    .map_err(|error| KeyError::Random(error.to_string()))?;
                Material::Ed25519 { public: pair.public_key().as_ref().to_vec(), seed: Some(secret) }
            }
            Algorithm::Es256 | Algorithm::Rs256 => {
                let wanted = "HS256 or EdDSA: with the others this server only verifies";
                return Err(KeyError::Member { kid, member: "alg", wanted });
            }
        };
        Ok(Self { kid, issuer: None, made_at: Some(made_at), material })
    }

    /// The same as a key of this issuer.
    #[must_use]
    pub fn of(self, issuer: &str) -> Self {
        Self { issuer: Some(issuer.to_owned()), ..self }
    }

    /// What tokens name it by.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Whose tokens it signs; none for this server's own.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// When it was made, in seconds since 1970, if that is known.
    #[must_use]
    pub const fn made_at(&self) -> Option<i64> {
        self.made_at
    }

    /// The one algorithm that it is for.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Hmac(_) => Algorithm::Hs256,
            Material::Ed25519 { .. } => Algorithm::EdDsa,
            Material::P256 { .. } => Algorithm::Es256,
            Material::Rsa { .. } => Algorithm::Rs256,
        }
    }

    /// Whether whoever has it can sign.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        match &self.material {
            Material::Hmac(_) => true,
            Material::Ed25519 { seed, .. } => seed.is_some(),
            Material::P256 { .. } | Material::Rsa { .. } => false,
        }
    }

    /// Whether this server signs with it: it has the secret, and the key is its own.
    #[must_use]
    pub const fn can_sign(&self) -> bool {
        self.is_secret() && self.issuer.is_none()
    }

    /// What the library signs with; none if it cannot sign.
    pub(super) fn signing(&self) -> Option<EncodingKey> {
        ring_provider::install();
        match &self.material {
            Material::Hmac(secret) => Some(EncodingKey::from_secret(secret)),
            Material::Ed25519 { seed, .. } => {
                let seed = seed.as_ref()?;
                Some(EncodingKey::from_ed_der(&[PKCS8_ED25519.as_slice(), seed.as_slice()].concat()))
            }
            Material::P256 { .. } | Material::Rsa { .. } => None,
        }
    }

    /// What the library verifies with.
    pub(super) fn verifying(&self) -> DecodingKey {
        ring_provider::install();
        match &self.material {
            Material::Hmac(secret) => DecodingKey::from_secret(secret),
            Material::Ed25519 { public, .. } => DecodingKey::from_ed_der(public),
            // What it calls DER is a point of SEC 1 section 2.3.3.
            Material::P256 { x, y } => DecodingKey::from_ec_der(&[&[4], x.as_slice(), y.as_slice()].concat()),
            Material::Rsa { n, e } => DecodingKey::from_rsa_raw_components(n, e),
        }
    }
}
