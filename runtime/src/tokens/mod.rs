//! Signed tokens: JSON Web Tokens (RFC 7519) of this server, and of identity servers whose keys it knows.
//!
//! A token is three parts, each in base64 (`jwt`, over the library `jsonwebtoken`): a header that names a key, claims, and a signature. Which algorithm a key
//! signs with is said by the key alone ([`Key`]), so no token can choose one; what a token's header says must be the same. Keys
//! stand in a file, a JWK Set (RFC 7517): the last one that can sign does, all of them verify ([`KeySet`]). It is read again when it
//! has changed (`Tokens`), so keys are exchanged while the server runs.
//!
//! A signature is compared in constant time where that matters: HMAC, by `ring` (`ring_provider`). Verifying with a public key handles no secret.

mod file;
mod jwk;
mod jwt;
mod key;
mod ring_provider;
mod running;

pub use file::{KeyFileError, read, write};
pub use jwk::{KeySet, KeySetError};
pub use jwt::{Claims, Rules, TOKEN_BYTES, TokenFault, check, sign};
pub use key::{Algorithm, Key, KeyError};
pub(crate) use running::{Issued, Tokens};
