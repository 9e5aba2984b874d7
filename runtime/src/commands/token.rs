//! `switchboard token`: the keys of signed tokens, and tokens.

use std::{
    fmt::Write as _,
    io::{self, Read as _},
    path::PathBuf,
};

use crate::{
    accounts::{AccountError, random_id},
    cli::{KeyCommand, TokenCommand},
    config,
    tokens::{
        self, Claims, Key, KeyError, KeyFileError, KeySet, KeySetError, TOKEN_BYTES, TokenFault, read, write,
    },
};

/// Bytes of keys of others at the most.
const PUBLIC_BYTES: u64 = 1 << 20;

/// Why a token command failed. No secret is in it.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// No file of keys is configured.
    #[error("there is no file of keys: set `keys` in the section [tokens], or name one with --keys")]
    NoFile,
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// A key is wrong.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// What was given is no set of public keys.
    #[error("the standard input has no keys that can be added: {0}")]
    Public(KeySetError),
    /// What was given has secrets in it.
    #[error("the key {0:?} is secret: only its owner may have it, so give this server its public half")]
    Secret(String),
    /// There is no such key.
    #[error("there is no key {0:?}; `switchboard token key list` names them all")]
    NoSuchKey(String),
    /// No key can sign.
    #[error("there is no key to sign with: `switchboard token key add` makes one")]
    NoSigner,
    /// It lasts too long.
    #[error("tokens last {0} s at the most: see `lifetime_s` in the section [tokens]")]
    TooLong(u32),
    /// The token is none.
    #[error(transparent)]
    Fault(#[from] TokenFault),
    /// No random numbers.
    #[error("{0}")]
    Random(String),
    /// The standard input cannot be read.
    #[error("cannot read the standard input")]
    Input(#[source] io::Error),
}

/// Carries out a token command; gives the text to print. A running server reads its keys again within a second.
///
/// # Errors
/// If there is no file of keys, it cannot be used, or what is asked for cannot be done; nothing is changed then.
pub fn token(config: &config::Tokens, command: &TokenCommand) -> Result<String, TokenError> {
    let file = PathBuf::from(&config.keys);
    if file.as_os_str().is_empty() {
        return Err(TokenError::NoFile);
    }
    let now_s = jiff::Timestamp::now().as_second();
    match command {
        TokenCommand::Key { command: KeyCommand::Add { algorithm, public, issuer } } => {
            let mut keys = if file.exists() { read(&file)? } else { KeySet::default() };
            let added = if *public {
                foreign(issuer.as_deref())?
            } else {
                vec![Key::generate((*algorithm).into(), now_s)?]
            };
            let mut text = String::new();
            for key in added {
                let _ = writeln!(text, "{}", key.kid());
                keys.add(key)?;
            }
            write(&file, &keys)?;
            Ok(text)
        }
        TokenCommand::Key { command: KeyCommand::List } => Ok(list(&read(&file)?)),
        TokenCommand::Key { command: KeyCommand::Retire { kid } } => {
            let mut keys = read(&file)?;
            if !keys.retire(kid) {
                return Err(TokenError::NoSuchKey(kid.clone()));
            }
            write(&file, &keys)?;
            Ok(format!("{kid} is retired: its tokens are none any more\n"))
        }
        TokenCommand::Issue { user, lifetime } => {
            let lifetime_s = lifetime.map_or(u64::from(config.lifetime_s), |lifetime| lifetime.as_secs());
            if lifetime_s > config.lifetime_s.into() {
                return Err(TokenError::TooLong(config.lifetime_s));
            }
            let keys = read(&file)?;
            let key = keys.signer().ok_or(TokenError::NoSigner)?;
            let claims = Claims {
                user: user.clone(),
                session: None,
                issued_at: now_s,
                expires_at: now_s.saturating_add_unsigned(lifetime_s),
                id: random_id().map_err(|error: AccountError| TokenError::Random(error.to_string()))?,
            };
            let token = tokens::sign(&claims, &config.rules(), key).ok_or(TokenError::NoSigner)?;
            Ok(format!("{token}\n"))
        }
        TokenCommand::Check => {
            let mut text = String::new();
            let limit = TOKEN_BYTES as u64 + 2;
            io::stdin().take(limit).read_to_string(&mut text).map_err(TokenError::Input)?;
            let claims = tokens::check(text.trim(), &read(&file)?, &config.rules(), now_s)?;
            let Claims { user, session, issued_at, expires_at, id } = claims;
            let session = session.map(|session| format!("  session {session}")).unwrap_or_default();
            Ok(format!(
                "user {user}  issued {}  ends {}  id {id}{session}\n",
                time(issued_at),
                time(expires_at)
            ))
        }
    }
}

/// Public keys of somebody else, from the standard input.
fn foreign(issuer: Option<&str>) -> Result<Vec<Key>, TokenError> {
    let mut text = String::new();
    io::stdin().take(PUBLIC_BYTES).read_to_string(&mut text).map_err(TokenError::Input)?;
    let keys = KeySet::parse(&text).map_err(TokenError::Public)?;
    let take = |key: &Key| match key.is_secret() {
        true => Err(TokenError::Secret(key.kid().to_owned())),
        false => Ok(issuer.map_or_else(|| key.clone(), |issuer| key.clone().of(issuer))),
    };
    keys.keys().iter().map(take).collect()
}

fn list(keys: &KeySet) -> String {
    let signer = keys.signer().map(Key::kid);
    let mut text = String::new();
    for key in keys.keys() {
        let made = key.made_at().map(|at| format!("  made {}", time(at))).unwrap_or_default();
        let issuer = key.issuer().map(|issuer| format!("  of {issuer}")).unwrap_or_default();
        let signs = if signer == Some(key.kid()) { "  signs" } else { "" };
        let _ = writeln!(text, "{}  {}{made}{issuer}{signs}", key.kid(), key.algorithm().name());
    }
    if text.is_empty() { "no keys\n".to_owned() } else { text }
}

fn time(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds).ok();
    time.map(|time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()).unwrap_or_default()
}
