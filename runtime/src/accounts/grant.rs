//! What a token gives to whoever has it: a session's, or a signed one.

use switchboard_engine::UserId;

use super::{AccountError, Accounts, Token};
use crate::store::{AccountRole, Directory, DirectoryError, SessionUser, TokenHash};
use crate::tokens::{Claims, Tokens};

/// Who somebody is, as a token has proved it.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) user: UserId,
    pub(crate) username: Option<String>,
    pub(crate) role: AccountRole,
    /// When it ends by itself, in milliseconds since 1970.
    pub(crate) expires_at_ms: i64,
    /// The session that it is, or came from; of a signed token that came from none, what stands for one.
    pub(crate) key: TokenHash,
    /// It came from no session.
    pub(crate) is_token: bool,
}

impl Accounts {
    /// What a token gives; none if it gives nothing. Who is banned is refused.
    pub(crate) async fn grant(&self, token: &Token) -> Result<Option<Grant>, AccountError> {
        let (tokens, token) = (self.tokens.clone(), token.clone());
        let granted = self.directory(move |directory| {
            if token.is_signed() {
                signed(directory, &tokens, &token)
            } else {
                Ok(directory.session(&token.hash())?.map(|found| Grant::of_session(found, token.hash())))
            }
        });
        Ok(granted.await??)
    }
}

impl Grant {
    fn of_session(found: SessionUser, key: TokenHash) -> Self {
        let SessionUser { user, username, role, expires_at_ms } = found;
        Self { user, username, role, expires_at_ms, key, is_token: false }
    }
}

/// What a signed token gives. Its user must be one, and neither banned nor have ended its tokens since; its session, if it came
/// from one, must go on.
fn signed(
    directory: &mut Directory,
    tokens: &Tokens,
    token: &Token,
) -> Result<Option<Grant>, DirectoryError> {
    let Claims { user, session, issued_at, expires_at, .. } = match tokens.check(token.expose()) {
        Ok(claims) => claims,
        Err(fault) => {
            tracing::debug!(%fault, "a signed token is refused");
            return Ok(None);
        }
    };
    if tokens.provision() && session.is_none() {
        directory.provision(&user)?;
    }
    let Some(account) = directory.account(&user)? else { return Ok(None) };
    if let Some(ban) = account.standing.ban {
        return Err(DirectoryError::Banned(ban));
    }
    let grant = Grant {
        user,
        username: account.user.username,
        role: account.standing.role,
        expires_at_ms: expires_at.saturating_mul(1_000),
        key: token.hash(),
        is_token: true,
    };
    match session {
        // Whole seconds are told: of two in one second, the one that was there before is ended with the others.
        None => {
            Ok(Some(grant).filter(|_| issued_at.saturating_mul(1_000) >= account.standing.tokens_from_ms))
        }
        Some(id) => {
            let found = directory.open_session(&grant.user, &id)?;
            Ok(found.map(|(key, ends_at_ms)| Grant {
                key,
                is_token: false,
                expires_at_ms: grant.expires_at_ms.min(ends_at_ms),
                ..grant
            }))
        }
    }
}
