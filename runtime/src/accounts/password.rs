//! Hashes of passwords.
//!
//! Argon2id (RFC 9106) with 19 MiB, two passes and one lane: the least that OWASP's Password Storage Cheat Sheet advises, and
//! the default of the crate. The second recommendation of RFC 9106 (64 MiB, three passes, four lanes) costs five
//! times the time and three times the memory, on the machine that also delivers the messages; a hash names its
//! parameters, so that they can grow without anybody's password being set anew.

use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};

/// Random bytes of each password's own: what RFC 9106 section 3.1 recommends.
const SALT_BYTES: usize = 16;

/// What the password of who does not exist is compared with, so that it takes as long: of no password that anybody knows.
pub(super) const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The hash of a password, as a string that names its algorithm and parameters. Takes tens of milliseconds.
pub(super) fn hash(password: &str) -> Result<String, String> {
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(|error| error.to_string())?;
    let hash = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
    hash.map(|hash: PasswordHash| hash.to_string()).map_err(|error| error.to_string())
}

/// Whether a password is the one of a hash. As long as hashing takes it also takes to find out that it is not.
pub(super) fn verify(password: &str, hash: &str) -> bool {
    match PasswordHash::new(hash) {
        Ok(hash) => Argon2::default().verify_password(password.as_bytes(), &hash).is_ok(),
        Err(error) => {
            tracing::warn!(%error, "the database has a password's hash that is none");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_verified_and_another_one_is_not() {
        let hash = hash("correct horse").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(verify("correct horse", &hash));
        for wrong in ["", "correct hors", "correct horse ", "Correct horse"] {
            assert!(!verify(wrong, &hash), "{wrong}");
        }
        assert!(!verify("", ""));
    }

    #[test]
    fn nobodys_hash_costs_what_others_do() {
        let parameters = |hash: &str| PasswordHash::new(hash).unwrap().params.to_string();
        assert_eq!(parameters(NOBODYS), parameters(&hash("correct horse").unwrap()));
        assert!(!verify("", NOBODYS));
    }

    #[test]
    fn two_hashes_of_one_password_differ() {
        assert_ne!(hash("correct horse").unwrap(), hash("correct horse").unwrap());
    }
}
