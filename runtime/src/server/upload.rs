//! Files on their way in over HTTP: written to the disk while they come.

use axum::body::Bytes;
use tokio::{sync::mpsc, task::JoinHandle};

use super::{access::Desk, form::Sink};
use crate::media::{MediaError, PartFile};

/// Parts of a file that wait for the disk.
const WAITING_PARTS: usize = 4;

/// Why a file was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum UploadError {
    #[error("the file has more than {limit_bytes} bytes")]
    TooLarge { limit_bytes: u64 },
    #[error(transparent)]
    Media(#[from] MediaError),
    /// A bug.
    #[error("the thread that writes has failed: {0}")]
    Failed(#[from] tokio::task::JoinError),
}

/// A file that comes in parts. Dropped before it is finished, nothing is left of it.
#[derive(Debug)]
pub(super) struct Upload {
    parts: mpsc::Sender<Bytes>,
    writer: JoinHandle<Result<PartFile, MediaError>>,
    bytes: u64,
    limit_bytes: u64,
}

impl Upload {
    /// Begins one, with a thread that writes what comes.
    pub(super) fn begin(desk: &Desk) -> Self {
        let media = desk.media.clone();
        let (sender, mut parts) = mpsc::channel::<Bytes>(WAITING_PARTS);
        let writer = tokio::task::spawn_blocking(move || {
            let mut file = media.begin()?;
            while let Some(part) = parts.blocking_recv() {
                file.write(&part)?;
            }
            Ok(file)
        });
        Self { parts: sender, writer, bytes: 0, limit_bytes: desk.rules.http.upload_bytes }
    }
}

impl Sink for Upload {
    type File = PartFile;
    type Error = UploadError;

    async fn push(&mut self, part: Bytes) -> Result<bool, UploadError> {
        self.bytes = self.bytes.saturating_add(u64::try_from(part.len()).unwrap_or(u64::MAX));
        if self.bytes > self.limit_bytes {
            return Err(UploadError::TooLarge { limit_bytes: self.limit_bytes });
        }
        Ok(self.parts.send(part).await.is_ok())
    }

    /// The file, once it is written. It is not kept until it has a name.
    async fn finish(self) -> Result<PartFile, UploadError> {
        drop(self.parts);
        Ok(self.writer.await??)
    }
}

/// Has something done where it may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MediaError> + Send + 'static,
) -> Result<T, UploadError> {
    Ok(tokio::task::spawn_blocking(work).await??)
}
