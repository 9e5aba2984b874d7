//! What a running server says of itself, and what the system says of it.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use switchboard_engine::Gauges;

use crate::crowd::harness::PATIENCE;

/// Asks the server, and gives the status and the body. None if it does not answer, as it may be down.
pub(crate) fn get(server: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(server).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: soak\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// The server's figures, as text.
#[derive(Debug)]
pub(crate) struct Figures(String);

impl Figures {
    pub(crate) fn of(server: SocketAddr) -> Self {
        let (status, text) = get(server, "/metrics").expect("a server that runs shows its figures");
        assert_eq!(status, 200, "{text}");
        Self(text)
    }

    /// The sum of all samples of that name.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        let samples = self.0.lines().filter_map(|line| line.rsplit_once(' '));
        let of = samples.filter(|(sample, _)| sample.split('{').next() == Some(name));
        of.map(|(_, value)| value.parse::<f64>().unwrap()).sum()
    }

    /// What is still there of connections, and of work, when everybody has gone.
    pub(crate) fn not_at_rest(&self) -> Vec<String> {
        let engine = Gauges::default();
        let engine = engine.iter().map(|(name, _)| (format!("switchboard_{name}"), 0.0));
        let others = [
            ("switchboard_places", 0.0),
            // The one that asks.
            ("switchboard_http_connections", 1.0),
            ("switchboard_store_queue_requests", 0.0),
            ("switchboard_bus_queue_records", 0.0),
        ];
        let others = others.map(|(name, value)| (name.to_owned(), value));
        let all = engine.chain(others).map(|(name, value)| (self.sum(&name), name, value));
        all.filter(|(found, _, value)| found != value)
            .map(|(found, name, _)| format!("{name} {found}"))
            .collect()
    }
}

/// What a process holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Holds {
    /// All of its memory that is there.
    pub(crate) resident_kib: u64,
    /// Of it what is in no file: pages of the database that are mapped come and go with the database.
    pub(crate) anonymous_kib: u64,
    /// But for recordings: what a full disk has cut off is begun anew after a while.
    pub(crate) files: u64,
    pub(crate) threads: u64,
}

impl Holds {
    pub(crate) fn of(process: u32) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        let files = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap();
        let targets = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        let files = targets.filter(|target| !target.to_string_lossy().contains("/recordings/")).count();
        Self {
            resident_kib: number("VmRSS"),
            anonymous_kib: number("RssAnon"),
            files: files as u64,
            threads: number("Threads"),
        }
    }
}

impl core::fmt::Display for Holds {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { resident_kib, anonymous_kib, files, threads } = self;
        write!(
            f,
            "{resident_kib} KiB resident, {anonymous_kib} KiB anonymous, {files} files, {threads} threads"
        )
    }
}
