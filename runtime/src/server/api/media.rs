//! Files.

use axum::{
    extract::{Request, State},
    response::Response,
};

use super::{
    input::{Me, Segments},
    problem::{Kind, Problem},
};
use crate::server::{
    access::Desk,
    download::{NotServed, serve},
};

/// A file
///
/// The bytes, or the range that is asked for (`Range`). Whoever has a session and knows the name may have it. Pictures, sounds and films
/// are inline, everything else is an attachment.
#[utoipa::path(
    get, path = "/api/v1/media/{name}", tag = "media",
    params(("name" = String, Path, description = "The file's name, as messages and users have it", max_length = 128)),
    responses(
        (status = 200, description = "The file", content_type = "*/*", body = inline(Vec<u8>)),
        (status = 206, description = "The range that was asked for", content_type = "*/*", body = inline(Vec<u8>)),
        (status = 404, description = "There is no such file"),
        (status = 416, description = "No part of the file is in this range"),
    )
)]
pub(super) async fn download(
    State(desk): State<Desk>,
    _me: Me,
    Segments(name): Segments<String>,
    request: Request,
) -> Result<Response, Problem> {
    serve(&desk.media, &name, request).await.map_err(|error| match error {
        NotServed::Missing => Problem::not_found("file"),
        NotServed::Busy => Problem::new(Kind::Busy, "too many files are being read; try again in a second"),
        NotServed::Broken(error) => error.into(),
        NotServed::Failed(reason) => Problem::internal(&reason),
    })
}
