//! Session tokens.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use hyper::header::HeaderValue;
use sha2::{Digest as _, Sha256};

use crate::{store::TokenHash, tokens};

const TOKEN_BYTES: usize = 32;
/// 32 bytes in base64 without padding (RFC 4648 section 5).
const TOKEN_CHARACTERS: usize = 43;

/// What proves who somebody is. That of a session is 256 random bits, so that a plain hash of it is enough to be stored; a signed
/// one ([`crate::tokens`]) says itself whose it is. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Why a text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a session's token has {TOKEN_CHARACTERS} characters: letters, digits, - and _; a signed one has three such parts, joined \
     by dots, and at most {} bytes",
    tokens::TOKEN_BYTES
)]
pub struct TokenError;

impl Token {
    /// A new one.
    pub(super) fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; TOKEN_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self(BASE64URL_NOPAD.encode(&bytes)))
    }

    /// Whether it is a signed one.
    pub(crate) fn is_signed(&self) -> bool {
        self.0.contains('.')
    }

    /// What is stored of it.
    pub(crate) fn hash(&self) -> TokenHash {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// The value of an `Authorization` header (RFC 6750 section 2.1), which HTTP libraries are not to show either.
    pub(crate) fn bearer(&self) -> HeaderValue {
        // Letters, digits, - and _ are fit for a header.
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.0))
            .unwrap_or_else(|_| HeaderValue::from_static("Bearer"));
        value.set_sensitive(true);
        value
    }

    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl std::str::FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let is_part = |part: &str| !part.is_empty() && part.bytes().all(is_digit);
        let is_session = text.len() == TOKEN_CHARACTERS && text.bytes().all(is_digit);
        let is_signed =
            text.len() <= tokens::TOKEN_BYTES && text.split('.').count() == 3 && text.split('.').all(is_part);
        if is_session || is_signed { Ok(Self(text.to_owned())) } else { Err(TokenError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_random_is_read_again_and_is_not_shown() {
        let (one, other) = (Token::random().unwrap(), Token::random().unwrap());
        assert_ne!(one, other);
        let again: Token = one.expose().parse().unwrap();
        assert_eq!(again.hash(), one.hash());
        assert_ne!(other.hash(), one.hash());
        assert_eq!(format!("{one:?}"), "Token(..)");
        let signed: Token = "a-b.c_d.e".parse().unwrap();
        assert!(signed.is_signed() && !one.is_signed());
        let long = format!("a.b.{}", "x".repeat(tokens::TOKEN_BYTES));
        for wrong in ["a.b", "a..b", "a.b.c.d", "a.b.c=", &long] {
            assert_eq!(wrong.parse::<Token>(), Err(TokenError), "{wrong}");
        }
        for wrong in ["", "x", &"x".repeat(44), &"é".repeat(21), &format!("{};", "x".repeat(42))] {
            assert_eq!(wrong.parse::<Token>(), Err(TokenError));
        }
    }
}
