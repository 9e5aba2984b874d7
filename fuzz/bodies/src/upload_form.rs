//! Forms with a file, in whatever pieces they come.

use core::time::Duration;

use arbitrary::{Result, Unstructured};
use axum::{
    body::{Body, Bytes},
    extract::{FromRequest as _, Multipart, Request},
};
use futures_util::stream;
use switchboard::server::form::{Form, FormError, Sink, read};
use switchboard_engine::ID_LIMIT_BYTES;

use crate::waiting::done;

/// Bytes of a file at the most.
const LIMIT_BYTES: usize = 300;

/// A file in memory.
struct Memory(Vec<u8>);

/// The file has more bytes than one may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TooLarge;

impl Sink for Memory {
    type File = Vec<u8>;
    type Error = TooLarge;

    async fn push(&mut self, part: Bytes) -> core::result::Result<bool, TooLarge> {
        self.0.extend_from_slice(&part);
        if self.0.len() > LIMIT_BYTES { Err(TooLarge) } else { Ok(true) }
    }

    async fn finish(self) -> core::result::Result<Vec<u8>, TooLarge> {
        Ok(self.0)
    }
}

/// What came of a form: of what was wrong with it, the kind.
type Read = core::result::Result<(Option<Vec<u8>>, Option<String>), Wrong>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Malformed,
    Twice,
    LongId,
    NotUtf8,
    File,
}

/// A form means the same in one piece and in many; and one that is made of fields has them in it.
pub fn upload_form(data: &[u8]) {
    let Some((first, body)) = data.split_first() else { return };
    let whole = take(body, body.len().max(1));
    assert_eq!(take(body, 1), whole, "byte by byte it means something else");
    assert_eq!(take(body, usize::from(*first).max(2)), whole, "in pieces it means something else");
    // What cannot be read to its end is left out.
    let _ = fields(&mut Unstructured::new(data));
}

fn take(body: &[u8], piece: usize) -> Read {
    let pieces: Vec<_> =
        body.chunks(piece).map(|piece| Ok::<_, core::convert::Infallible>(piece.to_vec())).collect();
    let request = Request::builder()
        .header("content-type", "multipart/form-data; boundary=X")
        .body(Body::from_stream(stream::iter(pieces)));
    done(async {
        let multipart = match request {
            Ok(request) => Multipart::from_request(request, &()).await,
            Err(error) => panic!("{error}"),
        };
        let Ok(mut multipart) = multipart else { panic!("the request says that it has a form") };
        // Nothing is waited for.
        match read(&mut multipart, Duration::from_secs(3_600), || Memory(Vec::new())).await {
            Ok(Form { file, user }) => Ok((file, user)),
            Err(FormError::Malformed(_)) => Err(Wrong::Malformed),
            Err(FormError::Twice) => Err(Wrong::Twice),
            Err(FormError::LongId) => Err(Wrong::LongId),
            Err(FormError::NotUtf8) => Err(Wrong::NotUtf8),
            Err(FormError::File(TooLarge)) => Err(Wrong::File),
            Err(error @ (FormError::TooLarge | FormError::Stopped)) => panic!("{error}"),
        }
    })
}

/// Makes a form of fields, and says what must be read of it.
fn fields(u: &mut Unstructured<'_>) -> Result<()> {
    let (mut body, mut expected): (Vec<u8>, Read) =
        (b"before, which is passed over".to_vec(), Ok((None, None)));
    let count = u.int_in_range(0..=4)?;
    for _ in 0..count {
        let name = *u.choose(&["file", "uuid", "FILE", "", "other"])?;
        let len = usize::from(u.arbitrary::<u16>()?) % (LIMIT_BYTES + 20);
        let content = u.bytes(len.min(u.len()))?;
        let disposition =
            format!("\r\n--X\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"a\"\r\n");
        body.extend(disposition.bytes());
        if u.arbitrary()? {
            body.extend(b"Content-Type: image/png\r\n");
        }
        body.extend(b"\r\n");
        body.extend(content);
        if content.windows(5).any(|bytes| bytes == b"\r\n--X") || content.starts_with(b"--X") {
            return Ok(());
        }
        expected = expected.and_then(|form| with(form, name, content));
    }
    body.extend(b"\r\n--X--\r\n");
    assert_eq!(take(&body, body.len()), expected, "{}", body.escape_ascii());
    Ok(())
}

/// What a form is with one more field.
fn with((file, user): (Option<Vec<u8>>, Option<String>), name: &str, content: &[u8]) -> Read {
    match name {
        "file" if file.is_none() && content.len() > LIMIT_BYTES => Err(Wrong::File),
        "file" if file.is_none() => Ok((Some(content.to_vec()), user)),
        "uuid" if user.is_none() && content.len() > ID_LIMIT_BYTES => Err(Wrong::LongId),
        "uuid" if user.is_none() => match String::from_utf8(content.to_vec()) {
            Ok(id) => Ok((file, Some(id))),
            Err(_) => Err(Wrong::NotUtf8),
        },
        "file" | "uuid" => Err(Wrong::Twice),
        _ => Ok((file, user)),
    }
}
