//! Accounts: registering, logging in, sessions, and what users change about themselves.
//!
//! All of it is stored by the [`Directory`], whose calls block; they are made on a few threads of their own, and no more
//! of them wait than there is room for. Passwords are hashed on other threads, as each hash takes a large
//! piece of memory and a long time.

mod grant;
mod password;
mod pool;
mod text;
mod throttle;
mod token;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use switchboard_engine::UserId;

use crate::config;
use crate::store::{
    AccountChange, Ban, Directory, DirectoryError, NewAccount, NewSession, NewUser, OpenError, SessionId,
    Store, TokenHash, User,
};
use crate::tokens::{Issued, KeyFileError, Tokens};

pub(crate) use grant::Grant;
pub(crate) use pool::{Pool, PoolError};
pub(crate) use text::{check, check_name, check_present};
pub(crate) use throttle::{Rate, Throttle, Who};
pub use token::{Token, TokenError};

/// Why an account was not made, entered or changed. Each says to its user what is wrong and what would be right.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccountError {
    #[error("the {what} is missing")]
    Missing { what: &'static str },
    #[error("the {what} has {bytes} bytes; at most {limit_bytes} are taken")]
    TooLong { what: &'static str, bytes: usize, limit_bytes: u32 },
    #[error("the password has {bytes} bytes; it must have {least_bytes} at least")]
    ShortPassword { bytes: usize, least_bytes: u32 },
    #[error("the {what} has a control character in it")]
    ControlCharacter { what: &'static str },
    #[error("the {what} has a character in it that nobody sees")]
    Invisible { what: &'static str },
    #[error("nobody may be called {}", switchboard_engine::SYSTEM)]
    Reserved,
    #[error("the user name or the password is wrong")]
    WrongLogin,
    #[error("{0}")]
    Banned(Ban),
    #[error("the old password is wrong")]
    WrongPassword,
    #[error("too many tries; try again in {} s", seconds(*.0))]
    TooManyTries(Duration),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error("{0}")]
    Hash(String),
}

/// Whole seconds, none of them too early.
pub(crate) fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// Who registers.
#[derive(Clone, Default)]
pub(crate) struct Registration {
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) nickname: String,
    pub(crate) email: String,
    pub(crate) avatar: String,
}

/// What a user changes about itself; what is none stays.
#[derive(Clone, Default)]
pub(crate) struct Change {
    pub(crate) nickname: Option<String>,
    pub(crate) email: Option<String>,
    /// An empty one stays as well.
    pub(crate) password: String,
    /// The session that outlives a change of the password.
    pub(crate) session: Option<TokenHash>,
}

/// From where somebody registers or logs in.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    pub(crate) address: IpAddr,
    pub(crate) user_agent: String,
}

/// What a browser or program calls itself is cut to this.
const USER_AGENT_BYTES: usize = 256;

/// The accounts of a running server.
pub(crate) struct Accounts {
    directory: Pool<Directory>,
    hashing: Pool<()>,
    limits: config::Accounts,
    tokens: Arc<Tokens>,
    addresses: Throttle,
    names: Throttle,
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accounts").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Why accounts cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    #[error("cannot start the threads of the accounts")]
    Thread(#[from] io::Error),
}

impl Accounts {
    /// Starts the threads.
    pub(crate) fn start(
        store: &Store,
        limits: &config::Accounts,
        tokens: &config::Tokens,
    ) -> Result<Self, StartError> {
        let tokens = Tokens::start(tokens)?;
        let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let directories =
            (0..limits.threads.max(1)).map(|_| store.directory()).collect::<Result<Vec<_>, _>>()?;
        let directory = Pool::start("people", directories, count(limits.waiting))?;
        let hashing =
            Pool::start("passwords", vec![(); count(limits.hashes.max(1))], count(limits.hashes_waiting))?;
        let rate = |burst, interval_ms| Rate { burst, interval: Duration::from_millis(interval_ms) };
        let (entries, now) = (count(limits.login_entries), Instant::now());
        Ok(Self {
            directory,
            hashing,
            limits: limits.clone(),
            tokens: Arc::new(tokens),
            addresses: Throttle::new(rate(limits.address_burst, limits.address_interval_ms), entries, now),
            names: Throttle::new(rate(limits.login_burst, limits.login_interval_ms), entries, now),
        })
    }

    /// The limits it goes by.
    pub(crate) fn limits(&self) -> &config::Accounts {
        &self.limits
    }

    /// Has a thread work on the directory.
    pub(crate) async fn directory<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Directory) -> R + Send + 'static,
    ) -> Result<R, PoolError> {
        self.directory.run(call).await
    }

    /// Makes a user, and logs it in.
    pub(crate) async fn register(
        &self,
        new: Registration,
        from: Visitor,
    ) -> Result<(User, Token), AccountError> {
        let limits = &self.limits;
        let username = check_name("user name", &new.username, limits.name_bytes)?;
        let nickname = check("nickname", &new.nickname, limits.name_bytes)?;
        let email = check("e-mail address", &new.email, limits.email_bytes)?;
        let avatar = check("avatar", &new.avatar, limits.name_bytes)?;
        if [&username, &nickname].into_iter().any(|name| name == switchboard_engine::SYSTEM) {
            return Err(AccountError::Reserved);
        }
        self.check_password(&new.password)?;
        self.addresses.take(Who::at(from.address), Instant::now()).map_err(AccountError::TooManyTries)?;
        let name = username.clone();
        // Before the hash, which costs more; the name is looked at again when it is taken.
        if self.directory(move |directory| directory.credentials(&name)).await??.is_some() {
            return Err(DirectoryError::UsernameTaken(username).into());
        }
        let password_hash = Some(self.hash(new.password).await?);
        let id = UserId::new(&random_id()?).map_err(DirectoryError::ForeignId)?;
        let (token, session) = self.new_session(&from)?;
        let user = NewUser { id, username, nickname, email, avatar, password_hash };
        let account = NewAccount { user, session };
        let user = self.directory(move |directory| directory.register(&account)).await??;
        Ok((user, token))
    }

    /// Logs a user in.
    pub(crate) async fn log_in(
        &self,
        username: &str,
        password: String,
        from: Visitor,
    ) -> Result<(User, Token), AccountError> {
        let username = username.trim().to_owned();
        let now = Instant::now();
        self.addresses.take(Who::at(from.address), now).map_err(AccountError::TooManyTries)?;
        // Whoever has such a long one has none of ours: it is not to be hashed, nor to be kept in the table.
        let too_long = |text: &str, limit: u32| text.len() > usize::try_from(limit).unwrap_or(usize::MAX);
        if too_long(&username, self.limits.name_bytes) || too_long(&password, self.limits.password_bytes) {
            return Err(AccountError::WrongLogin);
        }
        let account = Who::Account(username.clone());
        self.names.take(account.clone(), now).map_err(AccountError::TooManyTries)?;
        let found = self.directory(move |directory| directory.credentials(&username)).await??;
        let (user, hash) = match found {
            Some(found) => (Some(found.user).filter(|_| found.password_hash.is_some()), found.password_hash),
            None => (None, None),
        };
        // The same work, whether there is such a user, whether it has a password, and whether this is the one.
        let hash = hash.unwrap_or_else(|| password::NOBODYS.to_owned());
        let is_right = self.hashing.run(move |()| password::verify(&password, &hash)).await?;
        let user = user.filter(|_| is_right).ok_or(AccountError::WrongLogin)?;
        self.names.forgive(&account);
        let (token, session) = self.new_session(&from)?;
        let found = self
            .directory(move |directory| {
                directory.begin_session(&user, &session)?;
                directory.user(&user)?.ok_or(DirectoryError::NoSuchUser(user))
            })
            .await?;
        match found {
            Ok(found) => Ok((found, token)),
            Err(DirectoryError::Banned(ban)) => Err(AccountError::Banned(ban)),
            Err(error) => Err(error.into()),
        }
    }

    /// Changes what a user says of itself. With its password, all its sessions end but the one that is named.
    pub(crate) async fn change(&self, user: UserId, change: Change) -> Result<(), AccountError> {
        let limits = &self.limits;
        let nickname = change.nickname.map(|text| check("nickname", &text, limits.name_bytes)).transpose()?;
        if nickname.as_deref() == Some(switchboard_engine::SYSTEM) {
            return Err(AccountError::Reserved);
        }
        let email =
            change.email.map(|text| check("e-mail address", &text, limits.email_bytes)).transpose()?;
        let password_hash = if change.password.is_empty() {
            None
        } else {
            self.check_password(&change.password)?;
            Some(self.hash(change.password).await?)
        };
        let change = AccountChange { nickname, email, password_hash, keep: change.session };
        Ok(self.directory(move |directory| directory.change_account(&user, &change)).await??)
    }

    /// Changes a password, of who knows the one that it has; all its sessions end but this one.
    pub(crate) async fn change_password(
        &self,
        (user, username): (UserId, String),
        old: String,
        new: String,
        keep: TokenHash,
    ) -> Result<(), AccountError> {
        self.check_password(&new)?;
        let account = Who::Account(username.clone());
        self.names.take(account.clone(), Instant::now()).map_err(AccountError::TooManyTries)?;
        let found = self.directory(move |directory| directory.credentials(&username)).await??;
        let hash = found.filter(|found| found.user == user).and_then(|found| found.password_hash);
        let hash = hash.ok_or(AccountError::WrongPassword)?;
        let too_long = old.len() > usize::try_from(self.limits.password_bytes).unwrap_or(usize::MAX);
        if too_long || !self.hashing.run(move |()| password::verify(&old, &hash)).await? {
            return Err(AccountError::WrongPassword);
        }
        self.names.forgive(&account);
        self.change(user, Change { password: new, session: Some(keep), ..Change::default() }).await
    }

    /// Ends a session of a user; returns whether there was one.
    pub(crate) async fn end_session(&self, user: UserId, id: SessionId) -> Result<bool, AccountError> {
        Ok(self.directory(move |directory| directory.end_session_of(&user, id)).await??)
    }

    /// Ends all sessions of a user but one.
    pub(crate) async fn end_other_sessions(&self, user: UserId, keep: TokenHash) -> Result<(), AccountError> {
        Ok(self.directory(move |directory| directory.end_other_sessions(&user, &keep)).await??)
    }

    /// Makes a signed token that ends with a session. The outer none: there is no key to sign with; the inner one: there is no such
    /// session.
    pub(crate) async fn issue(
        &self,
        user: UserId,
        session: SessionId,
        lifetime_s: Option<u32>,
    ) -> Result<Option<Option<Issued>>, AccountError> {
        let tokens = Arc::clone(&self.tokens);
        let issued = self.directory(move |directory| {
            if !tokens.can_issue() {
                return Ok(None);
            }
            let id = HEXLOWER.encode(&session);
            let Some((_, until_ms)) = directory.open_session(&user, &id)? else { return Ok(Some(None)) };
            Ok::<_, DirectoryError>(tokens.issue(user, id, lifetime_s, until_ms).map(Some))
        });
        Ok(issued.await??)
    }

    /// Ends a session.
    pub(crate) async fn log_out(&self, session: TokenHash) -> Result<(), AccountError> {
        self.directory(move |directory| directory.end_session(&session)).await??;
        Ok(())
    }

    /// Does what waits, and ends the threads; blocks until then.
    pub(crate) fn stop(&self) {
        self.hashing.stop();
        self.directory.stop();
    }

    /// How long a session lasts, in seconds.
    pub(crate) fn session_seconds(&self) -> u64 {
        u64::from(self.limits.session_hours) * 3_600
    }

    fn check_password(&self, password: &str) -> Result<(), AccountError> {
        check_password(password, &self.limits)
    }

    async fn hash(&self, password: String) -> Result<String, AccountError> {
        self.hashing.run(move |()| password::hash(&password)).await?.map_err(AccountError::Hash)
    }

    fn new_session(&self, from: &Visitor) -> Result<(Token, NewSession), AccountError> {
        let token = Token::random().map_err(|error| AccountError::Hash(error.to_string()))?;
        let mut user_agent = from.user_agent.clone();
        user_agent.retain(|c| !c.is_control());
        user_agent.truncate(user_agent.floor_char_boundary(USER_AGENT_BYTES));
        let session = NewSession {
            token_hash: token.hash(),
            lifetime_ms: i64::from(self.limits.session_hours) * 3_600_000,
            user_agent,
            sessions_per_user: self.limits.sessions_per_user,
        };
        Ok((token, session))
    }
}

/// Refuses a password that is not one that is taken.
pub(crate) fn check_password(password: &str, limits: &config::Accounts) -> Result<(), AccountError> {
    let (bytes, least_bytes) = (password.len(), limits.password_least_bytes);
    let limit_bytes = limits.password_bytes;
    let at_most = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
    if password.is_empty() {
        Err(AccountError::Missing { what: "password" })
    } else if bytes < usize::try_from(least_bytes).unwrap_or(usize::MAX) {
        Err(AccountError::ShortPassword { bytes, least_bytes })
    } else if bytes > at_most {
        Err(AccountError::TooLong { what: "password", bytes, limit_bytes })
    } else {
        Ok(())
    }
}

/// The hash of a password, for whoever may wait for it.
pub(crate) fn hash_password(password: &str) -> Result<String, AccountError> {
    password::hash(password).map_err(AccountError::Hash)
}

/// Sixteen random bytes in hexadecimal: an id that is unique without asking anybody.
pub(crate) fn random_id() -> Result<String, AccountError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| AccountError::Hash(error.to_string()))?;
    Ok(data_encoding::HEXLOWER.encode(&bytes))
}
