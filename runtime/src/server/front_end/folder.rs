//! A front-end as its build has left it: files in a folder.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use tower::ServiceExt as _;
use tower_http::services::ServeFile;

use super::Asked;

const INDEX: &str = "index.html";

/// Why there is no front-end to serve.
#[derive(Debug, thiserror::Error)]
pub enum FrontEndError {
    /// The folder is not there, or cannot be looked into.
    #[error("cannot find the folder {folder:?}: name the one that the front-end's build has made")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It has no page.
    #[error(
        "there is no readable index.html in {folder:?}: name the folder that the front-end's build has made"
    )]
    Index {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// A folder with a front-end in it.
#[derive(Debug)]
pub(in crate::server) struct Folder {
    /// Absolute, without symbolic links.
    root: PathBuf,
}

/// A file, and which compressed copies of it are beside it.
struct Found {
    path: PathBuf,
    brotli: bool,
    gzip: bool,
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self, FrontEndError> {
        let root = path.canonicalize().and_then(|root| std::fs::read_dir(&root).map(|_| root));
        let root = root.map_err(|source| FrontEndError::Folder { folder: path.to_owned(), source })?;
        let folder = Self { root };
        let index = folder.find(INDEX).ok_or_else(|| io::ErrorKind::NotFound.into());
        match index.and_then(|found| std::fs::File::open(found.path)) {
            Ok(_) => Ok(folder),
            Err(source) => Err(FrontEndError::Index { folder: path.to_owned(), source }),
        }
    }

    /// The file that is asked for, or the page for what the front-end knows itself.
    pub(super) async fn answer(self: Arc<Self>, asked: Asked, request: Request) -> Option<Response> {
        let located = tokio::task::spawn_blocking(move || {
            let Asked { mut path, is_page } = asked;
            if path.is_empty() || path.ends_with('/') {
                path.push_str(INDEX);
            }
            let found = self.find(&path).map(|found| (found, path));
            found.or_else(|| Some((self.find(INDEX).filter(|_| is_page)?, INDEX.to_owned())))
        });
        let (Found { path, brotli, gzip }, name) = located.await.ok()??;
        let mut service = ServeFile::new(path);
        if brotli {
            service = service.precompressed_br();
        }
        if gzip {
            service = service.precompressed_gzip();
        }
        let (parts, _) = request.into_parts();
        let mut response = match service.oneshot(Request::from_parts(parts, Body::empty())).await {
            Ok(response) if response.status() == StatusCode::NOT_FOUND => return None,
            Ok(response) => response.into_response(),
            Err(never) => match never {},
        };
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache_control(&name)));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Some(response)
    }

    /// The file with this name, unless it is none, or a symbolic link leads out of the folder to it.
    fn find(&self, name: &str) -> Option<Found> {
        let path = self.inside(&self.root.join(name))?;
        let beside = |suffix: &str| {
            let mut copy = OsString::from(&path);
            copy.push(suffix);
            self.inside(Path::new(&copy)).is_some()
        };
        let (brotli, gzip) = (beside(".br"), beside(".gz"));
        Some(Found { path, brotli, gzip })
    }

    fn inside(&self, path: &Path) -> Option<PathBuf> {
        let real = path.canonicalize().ok()?;
        (real.starts_with(&self.root) && real.metadata().ok()?.is_file()).then_some(real)
    }
}

/// How long a browser may go on with a file: for ever if a change would give it another name, and otherwise it asks each
/// time whether there is a newer one.
fn cache_control(name: &str) -> &'static str {
    if has_hash(name) { "public, max-age=31536000, immutable" } else { "no-cache" }
}

/// Whether a file's name has a hash of what is in it, as builds make them: `main.3f2a1b4c.js`, `index-BkX3a9Dq.js`. Who is not
/// recognised is only asked for more often.
fn has_hash(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or_default();
    // Of `main.3f2a1b4c.js.map` and `main.3f2a1b4c.chunk.js` as well.
    let mut parts = file.split('.').rev().skip(1);
    let is_long = !file.ends_with(".html");
    is_long && parts.any(|part| is_hash(part) || last_after_dash(part).is_some_and(is_hash))
}

/// What follows the dash before the last eight characters: these may have dashes themselves.
fn last_after_dash(part: &str) -> Option<&str> {
    let (before, hash) = part.split_at_checked(part.len().checked_sub(8)?)?;
    before.ends_with('-').then_some(hash).or_else(|| part.rsplit_once('-').map(|(_, hash)| hash))
}

/// Eight characters or more in which no word or number is likely: digits among hexadecimal letters, or all of base64's.
fn is_hash(text: &str) -> bool {
    let bytes = text.as_bytes();
    let any = |is: fn(&u8) -> bool| bytes.iter().any(is);
    let (digit, lower, upper) =
        (any(u8::is_ascii_digit), any(u8::is_ascii_lowercase), any(u8::is_ascii_uppercase));
    let is_hexadecimal = bytes.iter().all(u8::is_ascii_hexdigit) && digit && lower;
    let is_base64 = bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    (8..=64).contains(&bytes.len()) && (is_hexadecimal || is_base64 && upper && (digit || lower))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_hashes_are_recognised() {
        for (name, expected) in [
            ("static/js/main.3f2a1b4c.js", true),
            ("static/js/2.0a1b2c3d.chunk.js", true),
            ("static/css/main.3f2a1b4c.css.map", true),
            ("assets/index-BkX3a9Dq.js", true),
            ("assets/index-D-x9_aBc.css", true),
            ("index.1a2b3c4d5e6f7a8b9c0d.js", true),
            ("index.html", false),
            ("main.3f2a1b4c.html", false),
            ("index.js", false),
            ("service-worker.js", false),
            ("apple-touch-icon-180x180.png", false),
            ("report-20261127.pdf", false),
            ("asset-manifest.json", false),
            ("jquery.min.js", false),
            ("logo-transparent.svg", false),
            ("LICENSE.txt", false),
        ] {
            assert_eq!(has_hash(name), expected, "{name}");
        }
    }
}
