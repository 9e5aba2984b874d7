//! The keys of a running server: read again when their file has changed.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use switchboard_engine::UserId;

use super::{Claims, KeyFileError, KeySet, Rules, TokenFault, check, read, sign};
use crate::{
    accounts::random_id,
    config::{self, Provision},
};

/// How often the file is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Signed tokens, as a running server makes and takes them.
#[derive(Debug)]
pub(crate) struct Tokens {
    rules: Rules,
    lifetime_s: i64,
    provision: Provision,
    /// None: there are no tokens.
    file: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    keys: Arc<KeySet>,
    seen: Stamp,
    looked: Instant,
}

/// Tells one state of a file from another; none of one that is not there.
type Stamp = Option<(u64, u64, i64, i64)>;

fn stamp(path: &Path) -> Stamp {
    let of = fs::metadata(path).ok()?;
    Some((of.ino(), of.len(), of.mtime(), of.mtime_nsec()))
}

/// A token that was just made.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) token: String,
    pub(crate) claims: Claims,
}

impl Tokens {
    /// Reads the keys.
    pub(crate) fn start(config: &config::Tokens) -> Result<Self, KeyFileError> {
        let file = Some(PathBuf::from(&config.keys)).filter(|path| !path.as_os_str().is_empty());
        let seen = file.as_deref().and_then(stamp);
        let keys = file.as_deref().map(read).transpose()?.unwrap_or_default();
        Ok(Self {
            rules: config.rules(),
            lifetime_s: i64::from(config.lifetime_s),
            provision: config.provision,
            file,
            state: Mutex::new(State { keys: Arc::new(keys), seen, looked: Instant::now() }),
        })
    }

    /// Whether users come into being with their first token.
    pub(crate) const fn provision(&self) -> bool {
        matches!(self.provision, Provision::On)
    }

    /// Whether there is a key to sign with.
    pub(crate) fn can_issue(&self) -> bool {
        self.keys(Instant::now()).signer().is_some()
    }

    /// Reads a token. Blocks while the keys are read again.
    pub(crate) fn check(&self, token: &str) -> Result<Claims, TokenFault> {
        check(token, &self.keys(Instant::now()), &self.rules, now_s())
    }

    /// Makes a token of a user: for as long as that is allowed, and no longer than until then, in milliseconds since 1970. None
    /// if there is no key to sign with.
    pub(crate) fn issue(
        &self,
        user: UserId,
        session: String,
        lifetime_s: Option<u32>,
        until_ms: i64,
    ) -> Option<Issued> {
        let (keys, now_s) = (self.keys(Instant::now()), now_s());
        let key = keys.signer()?;
        let lifetime_s = lifetime_s.map_or(self.lifetime_s, i64::from).min(self.lifetime_s);
        let claims = Claims {
            user,
            session: Some(session),
            issued_at: now_s,
            expires_at: (now_s + lifetime_s).min(until_ms / 1_000),
            id: random_id().ok()?,
        };
        Some(Issued { token: sign(&claims, &self.rules, key)?, claims })
    }

    /// The keys as they are now, or were a second ago. A file that has become wrong changes nothing, and the log says why.
    fn keys(&self, now: Instant) -> Arc<KeySet> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = self.file.as_deref().filter(|_| now.duration_since(state.looked) >= LOOK_INTERVAL)
        {
            state.looked = now;
            let stamp = stamp(file);
            if stamp != state.seen {
                state.seen = stamp;
                match read(file) {
                    Ok(keys) => {
                        tracing::info!(keys = keys.keys().len(), "the keys of tokens have changed");
                        state.keys = Arc::new(keys);
                    }
                    Err(error) => {
                        let error = crate::cli::report(&error);
                        tracing::error!(
                            error,
                            "the keys of tokens have changed, and cannot be read: the old ones hold"
                        );
                    }
                }
            }
        }
        Arc::clone(&state.keys)
    }
}

/// The time in seconds since 1970.
fn now_s() -> i64 {
    jiff::Timestamp::now().as_second()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::{Algorithm, Key, write};

    #[test]
    fn keys_are_exchanged_within_a_second_and_a_broken_file_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let set = |kids: &[&str]| {
            let mut keys = KeySet::default();
            for kid in kids {
                let key = Key::generate(Algorithm::Hs256, 7).unwrap();
                keys.add(Key { kid: (*kid).to_owned(), ..key }).unwrap();
            }
            write(&path, &keys).unwrap();
        };
        set(&["old"]);
        let config = config::Tokens { keys: path.to_str().unwrap().into(), ..config::Tokens::default() };
        let tokens = Tokens::start(&config).unwrap();
        let mut now = tokens.state.lock().unwrap().looked;
        let mut after = |passed: Duration| {
            now += passed;
            tokens.keys(now).keys().iter().map(|key| key.kid().to_owned()).collect::<Vec<_>>()
        };
        fs::write(&path, "not a key").unwrap();
        assert_eq!(after(LOOK_INTERVAL), ["old"]);
        set(&["old", "new"]);
        assert_eq!(after(LOOK_INTERVAL - Duration::from_millis(1)), ["old"], "it is not looked at yet");
        assert_eq!(after(Duration::from_millis(1)), ["old", "new"]);
        set(&["new"]);
        assert_eq!(after(LOOK_INTERVAL), ["new"]);
        fs::remove_file(&path).unwrap();
        assert_eq!(after(LOOK_INTERVAL), ["new"], "a file that has gone changes nothing, either");
    }
}
