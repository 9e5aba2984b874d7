//! Files that come and go.

use std::time::Duration;

use axum::{
    Extension,
    extract::{
        FromRequest as _, Multipart, Path, Query, Request, State,
        rejection::{PathRejection, QueryRejection},
    },
};
use rusqlite::ErrorCode;
use serde::Deserialize;
use switchboard_engine::FileKind;

use super::{
    super::access::{Actor, Caller, Desk},
    answer::{Answer, Fault, done},
    users::text,
};
use crate::media::{MediaError, PartFile, THUMBNAIL_SIZES};
use crate::server::{
    download::{self, NotServed},
    form::{self, Form, FormError},
    upload::{Upload, UploadError, blocking},
};

/// `POST /file`: a picture, which becomes its user's avatar.
pub(super) async fn upload(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Answer {
    let _place = desk.uploads.place(caller.user()).ok_or(Fault::Busy)?;
    let multipart = Multipart::from_request(request, &()).await;
    let mut multipart =
        multipart.map_err(|error| Fault::refused(format!("the upload: {}", error.body_text())))?;
    let time = Duration::from_millis(desk.rules.http.upload_timeout_ms);
    let received = tokio::time::timeout(time, async {
        let pause = Duration::from_millis(desk.rules.http.body_timeout_ms);
        let received = receive(&desk, &caller, &mut multipart, pause).await;
        // The body's limit holds here, too.
        form::pass_over(&mut multipart, pause).await;
        received
    });
    let received = received.await;
    let (part, actor) = received.map_err(|_| Fault::refused("the upload took too long"))??;
    let part = part.check_picture().await.map_err(|error| fault(&error))?;
    let owner = actor.user().clone();
    let stored = blocking(move || part.finish(FileKind::Image, &owner)).await?;
    let (name, media) = (stored.name.clone(), desk.media.clone());
    let changed = desk
        .accounts
        .directory(move |directory| {
            let set = directory.set_uploaded_avatar(actor.user(), &name);
            if set.is_err() {
                // Nobody was told of it.
                media.discard(&name);
            }
            set
        })
        .await;
    if changed.is_err() {
        desk.media.discard(&stored.name);
    }
    changed??;
    done(&stored.name)
}

/// Has a file written while it comes. What is returned is not kept until it is finished.
async fn receive(
    desk: &Desk,
    caller: &Caller,
    multipart: &mut Multipart,
    pause: Duration,
) -> Result<(PartFile, Actor), Fault> {
    let form = form::read(multipart, pause, || Upload::begin(desk)).await;
    let Form { file, user } = form.map_err(|error| refusal(error, desk.rules.http.upload_bytes))?;
    let actor = caller.acts_as(&user.ok_or_else(|| Fault::refused("the upload has no uuid"))?)?;
    let file: PartFile = file.ok_or_else(|| Fault::refused("the upload has no file"))?;
    Ok((file, actor))
}

fn refusal(error: FormError<UploadError>, limit_bytes: u64) -> Fault {
    match error {
        FormError::File(error) => error.into(),
        FormError::TooLarge => Fault::refused(format!("{error}: a file may have {limit_bytes} bytes")),
        FormError::Malformed(_)
        | FormError::Stopped
        | FormError::Twice
        | FormError::LongId
        | FormError::NotUtf8 => Fault::refused(error.to_string()),
    }
}

impl From<UploadError> for Fault {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::TooLarge { .. } => Self::Refused(error.to_string()),
            UploadError::Media(error) => fault(&error),
            UploadError::Failed(error) => Self::Broken(error.to_string()),
        }
    }
}

fn fault(error: &MediaError) -> Fault {
    match error {
        MediaError::Empty | MediaError::MalformedDataUrl | MediaError::Quota(_) | MediaError::Picture(_) => {
            Fault::refused(error.to_string())
        }
        MediaError::WrongKind => Fault::refused("the file is no picture that is known here"),
        MediaError::Books(source) if source.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
            Fault::Busy
        }
        MediaError::Busy | MediaError::Stopped => Fault::Busy,
        MediaError::Name(_) | MediaError::Disk { .. } | MediaError::Bucket { .. } | MediaError::Books(_) => {
            let source = std::error::Error::source(error).map(ToString::to_string);
            Fault::Broken(format!("{error}: {}", source.unwrap_or_default()))
        }
    }
}

/// `GET /file/:name`: the bytes, or a range of them (RFC 9110 section 14); with `?size=`, a smaller picture.
pub(super) async fn download(
    State(desk): State<Desk>,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<Smaller>, QueryRejection>,
    request: Request,
) -> Answer {
    let name = text(name).map_err(|_| Fault::NoFile)?;
    let size = match query {
        Ok(Query(Smaller { size: None })) => None,
        Ok(Query(Smaller { size: Some(size) })) if THUMBNAIL_SIZES.contains(&size) => Some(size),
        Ok(_) | Err(_) => return Err(Fault::refused(format!("the size is one of {THUMBNAIL_SIZES:?}"))),
    };
    let served = match size {
        Some(size) => download::serve_smaller(&desk.media, &name, size).await,
        None => download::serve(&desk.media, &name, request).await,
    };
    served.map_err(|error| match error {
        // Whatever cannot be made smaller has no smaller picture.
        NotServed::Missing | NotServed::Broken(MediaError::Picture(_)) => Fault::NoFile,
        NotServed::Busy => Fault::Busy,
        NotServed::Broken(error) => fault(&error),
        NotServed::Failed(reason) => Fault::Broken(reason),
    })
}

/// A wish for a smaller picture.
#[derive(Debug, Deserialize)]
pub(super) struct Smaller {
    size: Option<u32>,
}
