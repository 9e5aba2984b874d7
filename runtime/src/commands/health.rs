//! `switchboard health`: asks a running server on this machine, for health checks of containers.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use crate::config::Config;

/// How long the server may take for each step of its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The answer is a line or two; more is not read.
const ANSWER_LIMIT_BYTES: u64 = 64 << 10;

/// Why the server is not healthy.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// It does not answer.
    #[error("nobody answers on {address}")]
    Silent {
        /// Where it was asked.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// It says so.
    #[error("the server on {address} is not well: {answer}")]
    Unwell {
        /// Where it was asked.
        address: SocketAddr,
        /// What it says.
        answer: String,
    },
}

/// Asks the server with this configuration for its `/healthz`; gives the text to print.
///
/// # Errors
/// If it does not answer, or with anything but 200.
pub fn health(config: &Config) -> Result<String, HealthError> {
    let address = config.metrics_listen.unwrap_or(config.listen);
    // Who listens on every address listens on this one, too.
    let loopback: IpAddr =
        if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    let ip = if address.ip().is_unspecified() { loopback } else { address.ip() };
    let address = SocketAddr::new(ip, address.port());
    let is_tls = config.metrics_listen.is_none() && config.tls_cert.is_some();
    let answer = ask(address, is_tls).map_err(|source| HealthError::Silent { address, source })?;
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned();
    let status = answer.split(' ').nth(1).unwrap_or_default();
    if status == "200" { Ok(body + "\n") } else { Err(HealthError::Unwell { address, answer: body }) }
}

fn ask(address: SocketAddr, is_tls: bool) -> io::Result<String> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    if is_tls {
        converse(crate::tls::local(stream, address.ip())?, address)
    } else {
        converse(stream, address)
    }
}

fn converse(mut stream: impl Read + Write, address: SocketAddr) -> io::Result<String> {
    write!(stream, "GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_LIMIT_BYTES).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
