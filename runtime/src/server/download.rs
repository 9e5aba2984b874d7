//! Files on their way out: from the disk, or passed on from the server that keeps them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use http_range_header::parse_range_header;
use switchboard_engine::FileKind;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tower::ServiceExt as _;
use tower_http::services::ServeFile;

use crate::media::{CHUNK_BYTES, Chunk, Files, MediaError, NamedType, type_of};

/// Chunks that wait to be taken by who downloads a file, beside the one that is on its way.
const WAITING_CHUNKS: usize = 1;

/// Why a file is not served.
#[derive(Debug)]
pub(super) enum NotServed {
    /// There is none of this name.
    Missing,
    /// As many as may be are being read from where the files are.
    Busy,
    /// Where the files are, they cannot be read.
    Broken(MediaError),
    /// A bug.
    Failed(String),
}

impl From<MediaError> for NotServed {
    fn from(error: MediaError) -> Self {
        Self::Broken(error)
    }
}

/// The file of this name, or the range that is asked for (RFC 9110 section 14), with what keeps browsers from running it.
pub(super) async fn serve(files: &Files, name: &str, request: Request) -> Result<Response, NotServed> {
    let named = type_of(name).ok_or(NotServed::Missing)?;
    let mut response = match files.path(name) {
        Some(path) => {
            let (parts, _) = request.into_parts();
            match ServeFile::new(path).oneshot(Request::from_parts(parts, Body::empty())).await {
                Ok(response) if response.status() == StatusCode::NOT_FOUND => return Err(NotServed::Missing),
                Ok(response) => response.into_response(),
                Err(never) => match never {},
            }
        }
        None => pass_on(files, name, request.method(), request.headers()).await?,
    };
    describe(response.headers_mut(), named);
    Ok(response)
}

/// The smaller picture of the file of this name.
pub(super) async fn serve_smaller(files: &Files, name: &str, size: u32) -> Result<Response, NotServed> {
    let named = type_of(name).ok_or(NotServed::Missing)?;
    let smaller = files.thumbnail(name, size).await?.ok_or(NotServed::Missing)?;
    let mut response = Response::new(Body::from(smaller.bytes));
    describe(response.headers_mut(), NamedType { content_type: smaller.content_type, ..named });
    Ok(response)
}

/// A browser takes it for what its first bytes said when it came, and shows nothing but pictures, sounds and films.
fn describe(headers: &mut HeaderMap, named: NamedType) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(named.content_type));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let sandbox = HeaderValue::from_static("default-src 'none'; sandbox");
    headers.insert(header::CONTENT_SECURITY_POLICY, sandbox);
    let disposition = match named.kind {
        FileKind::Image | FileKind::Audio | FileKind::Video => "inline",
        FileKind::Other => "attachment",
    };
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(disposition));
    // Names are never used twice; with sessions, no cache in between may keep it.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=86400, immutable"));
}

/// A file that is on another server, chunk by chunk: nothing is asked for before who downloads it has taken what was before, and
/// no thread waits for that.
async fn pass_on(
    files: &Files,
    name: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, NotServed> {
    let place = files.reader_place().ok_or(NotServed::Busy)?;
    let tag = format!("\"{name}\"");
    let says = |header: header::HeaderName| headers.get(header).and_then(|value| value.to_str().ok());
    let is_known = says(header::IF_NONE_MATCH).is_some_and(|tags| tags.contains(&tag) || tags.trim() == "*");
    // One that is not about this very file is about one that is no more, and all of this one is wanted.
    let range = says(header::RANGE).filter(|_| says(header::IF_RANGE).is_none_or(|wanted| wanted == tag));
    let (first, size) = if *method == Method::HEAD || is_known || range.is_some() {
        (None, size(files, name).await?.ok_or(NotServed::Missing)?)
    } else {
        let chunk = read(files, name, 0, CHUNK_BYTES).await?.ok_or(NotServed::Missing)?;
        let size = chunk.size_bytes;
        (Some(chunk), size)
    };
    let range = match range.map(|range| single_range(range, size)) {
        Some(Ranged::One(from, to)) => Some((from, to)),
        Some(Ranged::Beyond) => {
            let headers = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, headers).into_response());
        }
        // RFC 9110 section 14.2: a server may pass over what it does not understand.
        Some(Ranged::Odd) | None => None,
    };
    let (from, to) = range.unwrap_or((0, size.saturating_sub(1)));
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let length = to.saturating_sub(from).saturating_add(1);
        let body = if *method == Method::HEAD {
            Body::empty()
        } else {
            Body::from_stream(stream(files.clone(), name.to_owned(), from, length, first, place))
        };
        let mut response = Response::new(body);
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        if range.is_some() {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let of = HeaderValue::from_str(&format!("bytes {from}-{to}/{size}"));
            response.headers_mut().extend(of.ok().map(|value| (header::CONTENT_RANGE, value)));
        }
        response
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.extend(HeaderValue::from_str(&tag).ok().map(|tag| (header::ETAG, tag)));
    Ok(response)
}

/// What a `Range` asks for.
enum Ranged {
    /// From here to there, both included.
    One(u64, u64),
    /// Something that the file does not have.
    Beyond,
    /// Several ranges, or what is none.
    Odd,
}

fn single_range(range: &str, size: u64) -> Ranged {
    let Ok(parsed) = parse_range_header(range) else { return Ranged::Odd };
    match parsed.validate(size) {
        Ok(ranges) => match ranges.as_slice() {
            [one] => Ranged::One(*one.start(), *one.end()),
            _ => Ranged::Odd,
        },
        Err(_) => Ranged::Beyond,
    }
}

async fn size(files: &Files, name: &str) -> Result<Option<u64>, NotServed> {
    let (files, name) = (files.clone(), name.to_owned());
    let found = tokio::task::spawn_blocking(move || files.size(&name)).await;
    Ok(found.map_err(|error| NotServed::Failed(error.to_string()))??)
}

async fn read(files: &Files, name: &str, at: u64, most: usize) -> Result<Option<Chunk>, NotServed> {
    let (files, name) = (files.clone(), name.to_owned());
    let found = tokio::task::spawn_blocking(move || files.read(&name, at, most)).await;
    Ok(found.map_err(|error| NotServed::Failed(error.to_string()))??)
}

/// So many bytes of a file from a place on, of which some may have been read.
fn stream(
    files: Files,
    name: String,
    from: u64,
    length: u64,
    first: Option<Chunk>,
    place: OwnedSemaphorePermit,
) -> Chunks {
    let (sender, chunks) = mpsc::channel(WAITING_CHUNKS);
    tokio::spawn(async move {
        let _place = place;
        let (mut at, mut left, mut chunk) = (from, length, first);
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            let next = match chunk.take() {
                Some(chunk) => Ok(Some(chunk)),
                None => read(&files, &name, at, most).await,
            };
            let sent = match next {
                Ok(Some(chunk)) => {
                    let bytes = u64::try_from(chunk.bytes.len()).unwrap_or(u64::MAX);
                    (at, left) = (at.saturating_add(bytes), left.saturating_sub(bytes));
                    sender.send(Ok(Bytes::from(chunk.bytes))).await
                }
                // The answer has begun: its reader sees that it is cut off.
                Ok(None) => sender.send(Err(io::Error::other("the file has gone"))).await,
                Err(error) => {
                    tracing::warn!(?error, name, "a download is cut off");
                    sender.send(Err(io::Error::other("the file cannot be read on"))).await
                }
            };
            if sent.is_err() {
                return;
            }
        }
    });
    Chunks(chunks)
}

/// What comes of a file.
struct Chunks(mpsc::Receiver<io::Result<Bytes>>);

impl futures_core::Stream for Chunks {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_given_and_several_are_passed_over() {
        let ask = |range| match single_range(range, 100) {
            Ranged::One(from, to) => Some((from, to)),
            Ranged::Beyond => Some((0, 0)),
            Ranged::Odd => None,
        };
        for (range, found) in [
            ("bytes=0-9", Some((0, 9))),
            ("bytes=90-", Some((90, 99))),
            ("bytes=-10", Some((90, 99))),
            ("bytes=90-999", Some((90, 99))),
            ("bytes=100-", Some((0, 0))),
            ("bytes=0-1,3-4", None),
            ("lines=1-2", None),
            ("nonsense", None),
        ] {
            assert_eq!(ask(range), found, "{range}");
        }
    }
}
