//! What those who run the server can do to it while it runs: close connections, say something to users, have written what was recorded.

use std::{path::PathBuf, sync::Arc, time::Duration};

use switchboard_engine::{Audience, Revocation, UserId};
use tokio::sync::oneshot;

use super::{
    gateway::{Full, Shards},
    shard::{Order, Which},
};
pub use crate::recorder::RecordingError;
use crate::{
    recorder::RecorderDesk,
    store::{Ended, EndedLogins},
};

/// How long a shard may take to do what is wanted. No turn takes so long.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most that the server says at once, in bytes.
pub const NOTICE_BYTES: usize = 4096;

/// What those who run a server can do to it while it runs; cheap to clone.
#[derive(Clone, Debug)]
pub struct Authority {
    shards: Arc<Shards>,
    recorder: Option<RecorderDesk>,
}

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// A shard has too much to do, or has ended.
    #[error("the server has too much to do; try again in a second")]
    Busy,
    /// There is nothing to say, or too much.
    #[error("the text has {0} bytes; 1 to {NOTICE_BYTES} are taken")]
    Text(usize),
}

impl Authority {
    pub(super) const fn new(shards: Arc<Shards>, recorder: Option<RecorderDesk>) -> Self {
        Self { shards, recorder }
    }

    /// Has what was recorded in memory written to files; gives which.
    ///
    /// # Errors
    /// If nothing is recorded in memory, or it cannot be written.
    pub async fn write_recording(&self, reason: &'static str) -> Result<Vec<PathBuf>, RecordingError> {
        let recorder = self.recorder.clone().ok_or(RecordingError::Off)?;
        let written = tokio::task::spawn_blocking(move || recorder.dump(reason)).await;
        written.map_err(|_| RecordingError::Busy)?
    }

    /// How many connections there are.
    pub(super) fn connections(&self) -> u64 {
        self.shards.connected()
    }

    /// Closes the connections of logins that have ended. What it has not done can be done again.
    pub(super) fn logins_ended(&self, EndedLogins { user, which, .. }: &EndedLogins) -> Result<(), Full> {
        let user = user.clone();
        let order = match which {
            Ended::Session(session) => Order::EndLogins { user, which: Which::One(*session) },
            Ended::Tokens => Order::EndLogins { user, which: Which::Tokens },
            Ended::Banned => Order::EndUser { user, why: Revocation::Banned, closed: None },
        };
        self.shards.order(order)
    }

    /// Closes all connections of a user, who may come back unless the directory forbids it; gives how many that were.
    ///
    /// # Errors
    /// If the user's shard has too much to do, or has ended. It may still be done then.
    pub async fn disconnect(&self, user: &UserId, why: Revocation) -> Result<u64, AuthorityError> {
        let (closed, answer) = oneshot::channel();
        let order = Order::EndUser { user: user.clone(), why, closed: Some(closed) };
        self.shards.order(order).map_err(busy)?;
        answered(answer).await
    }

    /// Says something as the server; gives to how many connections. Who is not connected at this moment misses it.
    ///
    /// # Errors
    /// If there is nothing to say, or too much, or a shard has too much to do or has ended. Some may have been told then.
    pub async fn announce(&self, to: Audience, text: &str) -> Result<u64, AuthorityError> {
        if text.is_empty() || text.len() > NOTICE_BYTES {
            return Err(AuthorityError::Text(text.len()));
        }
        let text: Arc<str> = text.into();
        let mut answers = Vec::new();
        let shards = match &to {
            Audience::User(_) => 1,
            Audience::Everyone => self.shards.count(),
        };
        for shard in 0..shards {
            let (told, answer) = oneshot::channel();
            let order = Order::Announce { to: to.clone(), text: Arc::clone(&text), told: Some(told) };
            match to {
                Audience::User(_) => self.shards.order(order).map_err(busy)?,
                Audience::Everyone => self.shards.order_of(shard, order).map_err(busy)?,
            }
            answers.push(answer);
        }
        let mut told = 0;
        for answer in answers {
            told += answered(answer).await?;
        }
        Ok(told)
    }
}

const fn busy(_: Full) -> AuthorityError {
    AuthorityError::Busy
}

async fn answered(answer: oneshot::Receiver<u64>) -> Result<u64, AuthorityError> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(count)) => Ok(count),
        Ok(Err(_)) | Err(_) => Err(AuthorityError::Busy),
    }
}
