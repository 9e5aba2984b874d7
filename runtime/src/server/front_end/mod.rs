//! What browsers are served beside the calls: a front-end that others have built, from a folder, or a small page of our own.
//!
//! It is asked last: every route goes before it, and so does every path that begins as one.

mod built_in;
mod folder;

use std::sync::Arc;

use axum::{
    extract::Request,
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use percent_encoding::percent_decode_str;

pub use folder::FrontEndError;

use self::folder::Folder;
use crate::config;

/// What the paths of routes begin with: what is not found below one is no page.
const OF_ROUTES: [&str; 10] =
    ["api", "file", "friend", "group", "healthz", "message", "metrics", "readyz", "socket.io", "user"];

/// What browsers are served.
#[derive(Clone, Debug)]
pub(super) enum FrontEnd {
    BuiltIn,
    Off,
    Folder(Arc<Folder>),
}

impl FrontEnd {
    /// Looks whether it is there.
    pub(super) fn open(config: &config::FrontEnd) -> Result<Self, FrontEndError> {
        match config {
            config::FrontEnd::BuiltIn => Ok(Self::BuiltIn),
            config::FrontEnd::Off => Ok(Self::Off),
            config::FrontEnd::Folder(path) => Ok(Self::Folder(Arc::new(Folder::open(path)?))),
        }
    }

    /// Answers a request for which there is no route.
    pub(super) async fn answer(&self, request: Request) -> Response {
        let asked = match *request.method() {
            Method::GET | Method::HEAD => Asked::of(request.uri().path(), request.headers()),
            _ => None,
        };
        let found = match (self, asked) {
            (Self::Off, _) | (_, None) => None,
            (Self::BuiltIn, Some(asked)) => built_in::answer(&asked),
            (Self::Folder(folder), Some(asked)) => Arc::clone(folder).answer(asked, request).await,
        };
        found.unwrap_or_else(nothing)
    }
}

fn nothing() -> Response {
    (StatusCode::NOT_FOUND, "there is nothing here: see /healthz, or /socket.io?user=ID\n").into_response()
}

/// What a request asks for, if it may be a file or a page of a front-end.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    /// Without the slash at its begin; with none of `.`, `..` and hidden names in it.
    path: String,
    /// It is a browser that goes to a page, and no file is named: the front-end itself knows the page.
    is_page: bool,
}

impl Asked {
    fn of(path: &str, headers: &HeaderMap) -> Option<Self> {
        let path = percent_decode_str(path.strip_prefix('/')?).decode_utf8().ok()?.into_owned();
        if path.contains(|c: char| c.is_control() || c == '\\' || c == char::REPLACEMENT_CHARACTER) {
            return None;
        }
        let mut segments = path.split('/');
        let (first, last) =
            (segments.next().unwrap_or_default(), path.rsplit('/').next().unwrap_or_default());
        // What RFC 8615 has for everybody is not hidden.
        let is_hidden = |segment: &str| segment.starts_with('.');
        let mut others = path.strip_suffix(last).unwrap_or_default().split_terminator('/').skip(1);
        if OF_ROUTES.contains(&first)
            || is_hidden(first) && first != ".well-known"
            || segments.any(is_hidden)
            || others.any(str::is_empty)
            || path.starts_with('/')
        {
            return None;
        }
        let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let is_page = accepted.flat_map(|value| value.split(',')).any(|kind| {
            let kind = kind.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("text/html")
        });
        Some(Self { is_page: is_page && !last.contains('.'), path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(path: &str, accept: &'static str) -> Option<(String, bool)> {
        let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
        Asked::of(path, &headers).map(|asked| (asked.path, asked.is_page))
    }

    #[test]
    fn a_page_is_what_a_browser_goes_to_and_no_file() {
        const BROWSER: &str = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8";
        for (path, accept, expected) in [
            ("/", BROWSER, Some(("", true))),
            ("/panel/alice", BROWSER, Some(("panel/alice", true))),
            ("/panel/", "Text/HTML;level=1", Some(("panel/", true))),
            ("/panel", "*/*", Some(("panel", false))),
            ("/a%20b.js", BROWSER, Some(("a b.js", false))),
            ("/.well-known/x", BROWSER, Some((".well-known/x", true))),
            ("/users", BROWSER, Some(("users", true))),
        ] {
            let expected = expected.map(|(path, is_page)| (path.to_owned(), is_page));
            assert_eq!(asked(path, accept), expected, "{path}");
        }
    }

    #[test]
    fn what_is_hidden_or_leads_out_or_is_a_calls_is_no_file() {
        for path in [
            "/..",
            "/.",
            "/a/..",
            "/a/./b",
            "/%2e%2e/a",
            "/..%2fa",
            "/a%5cb",
            "/..%5c",
            "/%00",
            "/a%0a",
            "/%ff",
            "//a",
            "/a//b",
            "/.git/config",
            "/a/.env",
            "/a/.well-known",
            "/%2fetc/passwd",
            "/api",
            "/api/v2/x",
            "/user",
            "/user/a/b",
            "/group/",
            "/file/x/y",
            "/socket.io/",
            "/message/x",
            "/friend/x",
            "/healthz/x",
        ] {
            assert_eq!(asked(path, "text/html"), None, "{path}");
        }
    }
}
