//! Files.

use std::time::Duration;

use axum::{
    Json,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    input::{Me, Params, Segments},
    model::File,
    problem::{Kind, Problem},
};
use crate::{
    media::{MediaError, PartFile},
    server::{
        access::Desk,
        download::{NotServed, serve, serve_smaller},
        form::Sink as _,
        upload::{Upload, UploadError, blocking},
    },
};

/// What is known of a file that is coming.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct UploadParams {
    /// What it is called where it comes from. It is not kept: its suffix says what the file is, where its first bytes do not.
    #[param(example = "report.pdf", max_length = 255)]
    name: Option<String>,
}

/// A file that was taken.
#[derive(Serialize, ToSchema)]
pub(super) struct UploadedFile {
    #[serde(flatten)]
    file: File,
    /// How many bytes it has.
    size_bytes: u64,
}

/// Upload a file
///
/// Its bytes are the request's body, whatever its `Content-Type` says: what the file is, its first bytes say. A message that names it
/// keeps it; one that nothing refers to is removed after a while.
#[utoipa::path(
    post, path = "/api/v1/files", tag = "media", params(UploadParams),
    request_body(content = inline(Vec<u8>), content_type = "application/octet-stream", description = "The file's bytes"),
    responses(
        (status = 201, description = "The file", body = UploadedFile),
        (status = 403, description = "Your files would have more bytes together than they may"),
    )
)]
pub(super) async fn upload(
    State(desk): State<Desk>,
    me: Me,
    Params(UploadParams { name }): Params<UploadParams>,
    request: Request,
) -> Result<Response, Problem> {
    let suffix = suffix(name.as_deref().unwrap_or_default())?;
    let busy = || Problem::new(Kind::Busy, "too many files are coming; try again in a second");
    let _place = desk.uploads.place(Some(&me.user)).ok_or_else(busy)?;
    let time = Duration::from_millis(desk.rules.http.upload_timeout_ms);
    let received = tokio::time::timeout(time, receive(&desk, request)).await;
    let part = received.map_err(|_| Problem::new(Kind::Timeout, "the upload took too long"))??;
    let size_bytes = part.size_bytes();
    let stored = blocking(move || part.finish_any(&suffix, &me.user)).await?;
    let file = File::named(stored.name.into());
    let location = file.url.clone().unwrap_or_default();
    let answer = Json(UploadedFile { file, size_bytes });
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], answer).into_response())
}

/// What follows the last dot of a name.
fn suffix(name: &str) -> Result<String, Problem> {
    const NAME_CHARACTERS: usize = 255;
    if name.chars().count() > NAME_CHARACTERS {
        let text = format!("name has more than {NAME_CHARACTERS} characters");
        return Err(Problem::new(Kind::Malformed, text));
    }
    Ok(name.rsplit_once('.').map(|(_, suffix)| suffix.to_owned()).unwrap_or_default())
}

/// Has a file written while it comes. What is returned is not kept until it is finished.
async fn receive(desk: &Desk, request: Request) -> Result<PartFile, Problem> {
    let (parts, mut body) = request.into_parts();
    let limit_bytes = desk.rules.http.upload_bytes;
    let pause = Duration::from_millis(desk.rules.http.body_timeout_ms);
    let received = if declared(&parts.headers).is_some_and(|bytes| bytes > limit_bytes) {
        Err(UploadError::TooLarge { limit_bytes }.into())
    } else {
        write(desk, &mut body, pause).await
    };
    // Who still sends when the connection ends may not see the answer. Who waits for a word before it sends is not kept waiting.
    if received.is_err() && !parts.headers.contains_key(header::EXPECT) {
        pass_over(&mut body, limit_bytes, pause).await;
    }
    received
}

/// How many bytes a request says that it has.
fn declared(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn write(desk: &Desk, body: &mut Body, pause: Duration) -> Result<PartFile, Problem> {
    let mut upload = Upload::begin(desk);
    loop {
        let next = tokio::time::timeout(pause, body.frame()).await;
        let next = next.map_err(|_| Problem::new(Kind::Timeout, "the upload stopped coming"))?;
        let Some(frame) = next else { break };
        let frame = frame.map_err(|_| Problem::new(Kind::Malformed, "the upload broke off"))?;
        // Trailers are of no interest.
        let Ok(part) = frame.into_data() else { continue };
        if !upload.push(part).await? {
            break;
        }
    }
    Ok(upload.finish().await?)
}

/// Reads what is left of a body, if that is not more than this.
async fn pass_over(body: &mut Body, most_bytes: u64, pause: Duration) {
    let mut bytes = 0_u64;
    while bytes <= most_bytes
        && let Ok(Some(Ok(frame))) = tokio::time::timeout(pause, body.frame()).await
    {
        let read = frame.data_ref().map_or(0, bytes::Bytes::len);
        bytes = bytes.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
    }
}

impl From<UploadError> for Problem {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::TooLarge { .. } => Self::new(Kind::TooLarge, error.to_string()),
            UploadError::Media(error) => error.into(),
            UploadError::Failed(_) => Self::internal(&error.to_string()),
        }
    }
}

/// How large a picture is to be: its longer side, in pixels, at the most.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
enum Size {
    #[serde(rename = "128")]
    Small,
    #[serde(rename = "256")]
    Medium,
    #[serde(rename = "512")]
    Large,
}

/// In which form to give a file.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DownloadParams {
    /// A smaller picture, whose longer side has so many pixels at the most: of PNG, JPEG, GIF and WebP.
    #[param(inline)]
    size: Option<Size>,
}

/// A file
///
/// The bytes, or the range that is asked for (`Range`). Whoever has a session and knows the name may have it. Pictures, sounds and films
/// are inline, everything else is an attachment. With `size`, a smaller picture, whole.
#[utoipa::path(
    get, path = "/api/v1/media/{name}", tag = "media",
    params(
        ("name" = String, Path, description = "The file's name, as messages and users have it", max_length = 128),
        DownloadParams,
    ),
    responses(
        (status = 200, description = "The file", content_type = "*/*", body = inline(Vec<u8>)),
        (status = 206, description = "The range that was asked for", content_type = "*/*", body = inline(Vec<u8>)),
        (status = 404, description = "There is no such file, or it cannot be made smaller"),
        (status = 416, description = "No part of the file is in this range"),
    )
)]
pub(super) async fn download(
    State(desk): State<Desk>,
    _me: Me,
    Segments(name): Segments<String>,
    Params(DownloadParams { size }): Params<DownloadParams>,
    request: Request,
) -> Result<Response, Problem> {
    let served = match size {
        None => serve(&desk.media, &name, request).await,
        Some(Size::Small) => serve_smaller(&desk.media, &name, 128).await,
        Some(Size::Medium) => serve_smaller(&desk.media, &name, 256).await,
        Some(Size::Large) => serve_smaller(&desk.media, &name, 512).await,
    };
    served.map_err(|error| match error {
        NotServed::Missing => Problem::not_found("file"),
        NotServed::Broken(MediaError::Picture(error)) => Problem::new(Kind::NotFound, error.to_string()),
        NotServed::Busy => Problem::new(Kind::Busy, "too many files are being read; try again in a second"),
        NotServed::Broken(error) => error.into(),
        NotServed::Failed(reason) => Problem::internal(&reason),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::THUMBNAIL_SIZES;

    #[test]
    fn the_sizes_are_those_that_there_are() {
        for size in THUMBNAIL_SIZES {
            assert!(serde_json::from_str::<Size>(&format!("\"{size}\"")).is_ok());
        }
        assert!(serde_json::from_str::<Size>("\"64\"").is_err());
    }

    #[test]
    fn a_suffix_is_what_follows_the_last_dot() {
        for (name, expected) in [("a.tar.gz", "gz"), ("a", ""), ("", ""), (".x", "x"), ("a.", "")] {
            assert_eq!(suffix(name).unwrap(), expected, "{name}");
        }
        assert!(suffix(&"x".repeat(256)).is_err());
    }
}
