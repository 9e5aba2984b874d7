//! The form of an upload: `multipart/form-data` (RFC 7578) with a file and the id of the user who sends it.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{
        Multipart,
        multipart::{Field, MultipartError},
    },
    http::StatusCode,
};
use switchboard_engine::ID_LIMIT_BYTES;

/// Where a file goes while it comes.
pub trait Sink: Sized {
    /// What it is when all of it has come.
    type File;
    /// Why it is not taken.
    type Error;

    /// Takes another part; false if no more are of use, as finishing it will say why.
    fn push(&mut self, part: Bytes) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// The file.
    fn finish(self) -> impl Future<Output = Result<Self::File, Self::Error>> + Send;
}

/// What was in a form. What else there is, is passed over.
#[derive(Debug, PartialEq, Eq)]
pub struct Form<F> {
    /// The field `file`.
    pub file: Option<F>,
    /// The field `uuid`.
    pub user: Option<String>,
}

/// Why a form was not taken.
#[derive(Debug, thiserror::Error)]
pub enum FormError<E> {
    /// It is none, or breaks off.
    #[error("the upload cannot be read: {0}")]
    Malformed(String),
    /// It has more bytes than any request may have.
    #[error("the upload is too large")]
    TooLarge,
    /// Nothing has come for too long.
    #[error("the upload stopped coming")]
    Stopped,
    /// A field is there more than once.
    #[error("the upload has file or uuid twice")]
    Twice,
    /// The id is longer than any.
    #[error("the uuid has more than {ID_LIMIT_BYTES} bytes")]
    LongId,
    /// The id is no text.
    #[error("the uuid is not UTF-8")]
    NotUtf8,
    /// The file is not taken.
    #[error("the file is not taken")]
    File(#[source] E),
}

/// Reads a form; `begin` is called when its file comes. No part of it may take longer than `pause` to come.
///
/// # Errors
/// What is wrong with it. Nothing behind that is read.
pub async fn read<S: Sink>(
    multipart: &mut Multipart,
    pause: Duration,
    begin: impl Fn() -> S,
) -> Result<Form<S::File>, FormError<S::Error>> {
    let mut form = Form { file: None, user: None };
    while let Some(mut field) = in_time(pause, multipart.next_field()).await? {
        match field.name() {
            Some("file") if form.file.is_none() => {
                form.file = Some(read_file(&mut field, pause, begin()).await?);
            }
            Some("uuid") if form.user.is_none() => form.user = Some(read_id(&mut field, pause).await?),
            Some("file" | "uuid") => return Err(FormError::Twice),
            Some(_) | None => {}
        }
    }
    Ok(form)
}

/// Reads what is left of a form, which is not looked at: who still sends when the connection ends may not see the answer.
pub(super) async fn pass_over(multipart: &mut Multipart, pause: Duration) {
    while let Ok(Some(_)) = in_time::<_, ()>(pause, multipart.next_field()).await {}
}

async fn read_file<S: Sink>(
    field: &mut Field<'_>,
    pause: Duration,
    mut sink: S,
) -> Result<S::File, FormError<S::Error>> {
    while let Some(part) = in_time(pause, field.chunk()).await? {
        if !sink.push(part).await.map_err(FormError::File)? {
            break;
        }
    }
    sink.finish().await.map_err(FormError::File)
}

async fn read_id<E>(field: &mut Field<'_>, pause: Duration) -> Result<String, FormError<E>> {
    let mut bytes = Vec::new();
    while let Some(part) = in_time(pause, field.chunk()).await? {
        bytes.extend(part);
        if bytes.len() > ID_LIMIT_BYTES {
            return Err(FormError::LongId);
        }
    }
    String::from_utf8(bytes).map_err(|_| FormError::NotUtf8)
}

/// The next part, which must not be waited for too long.
async fn in_time<T, E>(
    pause: Duration,
    next: impl Future<Output = Result<T, MultipartError>>,
) -> Result<T, FormError<E>> {
    match tokio::time::timeout(pause, next).await {
        Ok(Ok(next)) => Ok(next),
        Ok(Err(error)) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(FormError::TooLarge),
        Ok(Err(error)) => Err(FormError::Malformed(error.body_text())),
        Err(_) => Err(FormError::Stopped),
    }
}
