//! One call to the server, and what can be wrong with it.

use std::thread;
use std::time::Duration;

use ureq::http::Response;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

/// Bytes of an answer that is text: a list has a thousand names, of a kilobyte at the most each.
const TEXT_LIMIT_BYTES: u64 = 4 << 20;

/// Bytes of an answer that says what is wrong.
const ERROR_LIMIT_BYTES: u64 = 64 << 10;

/// How long after the first failure it is tried again; four times as long after each further one.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections that are kept for later.
const IDLE_CONNECTIONS: usize = 16;

/// How long one is kept: less than servers keep them.
const IDLE_AGE: Duration = Duration::from_secs(10);

/// Why the server that keeps the files did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Trouble {
    text: String,
    /// It may work the next time.
    is_passing: bool,
    /// S3's word for it.
    code: String,
}

impl Trouble {
    fn passing(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_passing: true, code: String::new() }
    }

    /// The server does something else than it should.
    pub(super) fn wrong(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_passing: false, code: String::new() }
    }

    /// The answer cannot be read.
    pub(super) fn odd(error: &dyn std::fmt::Display) -> Self {
        Self::passing(format!("its answer cannot be understood: {error}"))
    }

    pub(super) fn here(error: &std::io::Error) -> Self {
        Self::wrong(format!("the file cannot be read: {error}"))
    }

    /// The answer ended too early.
    pub(super) fn cut(bytes: usize, wanted: u64) -> Self {
        Self::passing(format!("it sent {bytes} bytes of {wanted}"))
    }

    /// What an answer that is none of those hoped for says.
    pub(super) fn answered(response: &mut Response<Body>) -> Self {
        let status = response.status().as_u16();
        let said = response.body_mut().with_config().limit(ERROR_LIMIT_BYTES).lossy_utf8(true);
        let said = said.read_to_string().unwrap_or_default();
        let code = element(&said, "Code").unwrap_or_default();
        let advice = match (status, code.as_str()) {
            (_, "NoSuchBucket") => ": there is no such bucket; make it, or put the name right",
            (_, "InvalidAccessKeyId") => ": the key id is not known there",
            (_, "SignatureDoesNotMatch") => {
                ": the secret is not that of the key id, or a proxy changes the request"
            }
            (_, "RequestTimeTooSkewed" | "RequestExpired") => {
                ": the clocks are too far apart; set the time here"
            }
            (_, "AccessDenied") => ": this key may not read, write, delete and list there",
            (401 | 403, _) => ": the key id or the secret is wrong, or may not do this",
            (301 | 307 | 400, "PermanentRedirect" | "AuthorizationHeaderMalformed" | "TemporaryRedirect")
            | (301, _) => ": the region or the endpoint is not that of the bucket",
            _ => "",
        };
        let shown: String = element(&said, "Message").unwrap_or_default();
        let is_passing = matches!(status, 408 | 429 | 500..=599);
        let shown: String = shown.chars().filter(|c| !c.is_control()).take(200).collect();
        let code_shown = if code.is_empty() { String::new() } else { format!(" {code}") };
        let shown = if shown.is_empty() { shown } else { format!(" ({shown})") };
        Self { text: format!("it answers {status}{code_shown}{shown}{advice}"), is_passing, code }
    }

    /// Whether it is the bucket that is not there, and not an object.
    pub(super) fn is_about_the_bucket(&self) -> bool {
        self.code == "NoSuchBucket"
    }

    /// Whether another try may go well.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        self.is_passing
    }
}

impl From<ureq::Error> for Trouble {
    fn from(error: ureq::Error) -> Self {
        // None of them has the URL in it, which has the signature.
        #[allow(clippy::wildcard_enum_match_arm, reason = "the library may add some")]
        match error {
            ureq::Error::BadUri(_) | ureq::Error::RequireHttpsOnly(_) => {
                Self::wrong("its address cannot be used")
            }
            ureq::Error::Timeout(_) => Self::passing("it does not answer in time"),
            ureq::Error::HostNotFound => Self::passing("its address is not known (DNS)"),
            ureq::Error::Tls(_) | ureq::Error::Rustls(_) => {
                Self::wrong(format!("TLS with it fails: {error}"))
            }
            error => Self::passing(format!("the connection to it fails: {error}")),
        }
    }
}

/// What asks: statuses are looked at by whoever asks, nothing is redirected, and no call takes longer than this.
pub(super) fn agent(timeout: Duration) -> Agent {
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("switchboard/", env!("CARGO_PKG_VERSION")))
        .timeout_global(Some(timeout))
        .max_idle_connections(IDLE_CONNECTIONS)
        .max_idle_connections_per_host(IDLE_CONNECTIONS)
        .max_idle_age(IDLE_AGE)
        .tls_config(tls)
        .build()
        .new_agent()
}

/// Tries so many times at the most, as long as it may have been bad luck.
pub(super) fn again<T>(attempts: u32, mut attempt: impl FnMut() -> Result<T, Trouble>) -> Result<T, Trouble> {
    let mut pause = PAUSE;
    for _ in 1..attempts {
        match attempt() {
            Err(trouble) if trouble.is_passing => {
                thread::sleep(pause);
                pause *= 4;
            }
            done => return done,
        }
    }
    attempt()
}

pub(super) fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// A body that is text, of a bounded size.
pub(super) fn text(response: &mut Response<Body>) -> Result<String, Trouble> {
    Ok(response.body_mut().with_config().limit(TEXT_LIMIT_BYTES).read_to_string()?)
}

/// A body of at most so many bytes; of a larger one, that it is.
pub(super) fn body(response: &mut Response<Body>, most: u64) -> Result<Vec<u8>, Trouble> {
    // One more, as the limit is an error when it is reached.
    Ok(response.body_mut().with_config().limit(most + 1).read_to_vec()?)
}

/// What is in the first element of this name; errors are too small a thing for a parser.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once("</").map(|(text, _)| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_bad_luck_is_tried_again_and_a_clear_answer_is_not() {
        let mut tries = 0;
        let tried = again(3, || {
            tries += 1;
            if tries < 3 { Err(Trouble::passing("busy")) } else { Ok(tries) }
        });
        assert_eq!(tried, Ok(3));
        let mut tries = 0;
        let tried = again(3, || -> Result<(), _> {
            tries += 1;
            Err(Trouble::wrong("no"))
        });
        assert_eq!((tried, tries), (Err(Trouble::wrong("no")), 1));
        let mut tries = 0;
        let tried = again(2, || -> Result<(), _> {
            tries += 1;
            Err(Trouble::passing("busy"))
        });
        assert_eq!((tried, tries), (Err(Trouble::passing("busy")), 2));
    }

    #[test]
    fn an_element_is_found_in_whatever_a_server_says() {
        let said = "<?xml?><Error><Code>NoSuchKey</Code><Message>a\nb</Message></Error>";
        assert_eq!(element(said, "Code").as_deref(), Some("NoSuchKey"));
        for odd in ["", "<Code>", "<Code", "</Code><Code>x", "<html>"] {
            assert_eq!(element(odd, "Code"), None, "{odd}");
        }
    }
}
