//! The signatures of `jsonwebtoken`, made and compared by `ring`, which TLS brings. What the library itself offers for this is
//! some forty packages more, an RSA without constant time among them, or a second C library.

use jsonwebtoken::{
    Algorithm as Theirs, DecodingKey, DecodingKeyKind, EncodingKey,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{ErrorKind, Result},
    signature::{Error, Signer, Verifier},
};
use ring::{
    hmac,
    signature::{
        ECDSA_P256_SHA256_FIXED, ED25519, Ed25519KeyPair, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
        UnparsedPublicKey,
    },
};

use super::key::Algorithm;

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    // For JWKs of the library, which knows no private ones: `jwk` reads them.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Has the library use it, from the first call on. Where a program that this is a part of has chosen another one, that stays, and does
/// as well.
pub(super) fn install() {
    let _ = PROVIDER.install_default();
}

fn signer(algorithm: &Theirs, key: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    match Algorithm::of_library(*algorithm).ok_or(ErrorKind::UnsupportedAlgorithm)? {
        Algorithm::Hs256 => Ok(Box::new(Hmac(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes())))),
        Algorithm::EdDsa => {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.as_bytes());
            Ok(Box::new(Ed25519(pair.map_err(|_| ErrorKind::InvalidEddsaKey)?)))
        }
        Algorithm::Es256 | Algorithm::Rs256 => Err(ErrorKind::UnsupportedAlgorithm.into()),
    }
}

fn verifier(algorithm: &Theirs, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    let algorithm = Algorithm::of_library(*algorithm).ok_or(ErrorKind::UnsupportedAlgorithm)?;
    if key.family() != algorithm.in_library().family() {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    Ok(Box::new(Verifying { algorithm, key: key.clone() }))
}

struct Hmac(hmac::Key);

impl Signer<Vec<u8>> for Hmac {
    fn try_sign(&self, bytes: &[u8]) -> std::result::Result<Vec<u8>, Error> {
        Ok(hmac::sign(&self.0, bytes).as_ref().to_vec())
    }
}

impl JwtSigner for Hmac {
    fn algorithm(&self) -> Theirs {
        Algorithm::Hs256.in_library()
    }
}

struct Ed25519(Ed25519KeyPair);

impl Signer<Vec<u8>> for Ed25519 {
    fn try_sign(&self, bytes: &[u8]) -> std::result::Result<Vec<u8>, Error> {
        Ok(self.0.sign(bytes).as_ref().to_vec())
    }
}

impl JwtSigner for Ed25519 {
    fn algorithm(&self) -> Theirs {
        Algorithm::EdDsa.in_library()
    }
}

struct Verifying {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Verifier<Vec<u8>> for Verifying {
    /// HMACs are compared in constant time.
    fn verify(&self, bytes: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        let verified = match (self.algorithm, self.key.kind()) {
            (Algorithm::Hs256, DecodingKeyKind::SecretOrDer(secret)) => {
                hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), bytes, signature)
            }
            (Algorithm::EdDsa, DecodingKeyKind::SecretOrDer(public)) => {
                UnparsedPublicKey::new(&ED25519, public).verify(bytes, signature)
            }
            (Algorithm::Es256, DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(bytes, signature)
            }
            (Algorithm::Rs256, DecodingKeyKind::SecretOrDer(der)) => {
                UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der).verify(bytes, signature)
            }
            (Algorithm::Rs256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, bytes, signature)
            }
            // Only RSA's keys have these parts.
            (
                Algorithm::Hs256 | Algorithm::EdDsa | Algorithm::Es256,
                DecodingKeyKind::RsaModulusExponent { .. },
            ) => Err(ring::error::Unspecified),
        };
        verified.map_err(|_| Error::new())
    }
}

impl JwtVerifier for Verifying {
    fn algorithm(&self) -> Theirs {
        self.algorithm.in_library()
    }
}
