//! `switchboard doctor`: what is wrong on this machine before a server starts, or while it runs.

use std::{
    fmt::{self, Write as _},
    io,
    net::SocketAddr,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

mod files;

use crate::{
    cli::{ServeArgs, reason},
    config::{Config, FrontEnd, Loaded},
    server,
    store::{DATABASE_FILE, DataFolder, Inspector, OpenError},
    tls::{Certificate, Validity},
};

/// Less free space than this is wrong: a write-ahead log of usual size and a little more fits into it.
const SPACE_NEEDED_BYTES: u64 = 512 << 20;

/// Fewer files than this are wrong: each connection is one.
const FILES_NEEDED: u64 = 1_024;

/// A larger write-ahead log is worth a word: twice what is usually left of it.
const WAL_NOTED_BYTES: u64 = 256 << 20;

/// No clock is right that says it is earlier: 2026-01-01.
const EARLIEST: Duration = Duration::from_secs(1_767_225_600);

/// How far clocks may be apart.
const CLOCK_SLACK: Duration = Duration::from_secs(60);

/// What was found of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    level: Level,
    what: &'static str,
    text: String,
}

/// How good that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Good,
    /// To be known.
    Note,
    /// To be put right.
    Wrong,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Good => "ok",
            Self::Note => "note",
            Self::Wrong => "WRONG",
        })
    }
}

/// All findings, in their order.
#[derive(Debug, Default)]
struct Report(Vec<Finding>);

impl Report {
    fn add(&mut self, level: Level, what: &'static str, text: impl Into<String>) {
        self.0.push(Finding { level, what, text: text.into() });
    }
}

/// Looks at everything that a server with these flags needs; gives the text to print, and how many things are wrong. Changes nothing,
/// but that it makes the lock file of a data folder that has none.
#[must_use]
pub fn doctor(args: &ServeArgs) -> (String, usize) {
    let mut report = Report::default();
    match args.load() {
        Ok(loaded) => {
            settings(&mut report, &loaded);
            let in_use = folder(&mut report, &loaded.config.data);
            space(&mut report, &loaded.config.data);
            database(&mut report, &loaded.config.data);
            files::look(&mut report, &loaded.config);
            let addresses = [Some(loaded.config.listen), loaded.config.metrics_listen];
            addresses.into_iter().flatten().for_each(|address| port(&mut report, address, in_use));
            open_files(&mut report, &loaded.config);
            front_end(&mut report, &loaded.config);
            tls(&mut report, &loaded.config, SystemTime::now());
        }
        // Without a configuration nobody knows which folder and which address to look at.
        Err(errors) => {
            errors.0.iter().for_each(|error| report.add(Level::Wrong, "configuration", reason(error)));
        }
    }
    clock(&mut report, SystemTime::now());
    let mut text = String::new();
    for Finding { level, what, text: found } in &report.0 {
        let _ = writeln!(text, "{level:<5}  {what}: {found}");
    }
    (text, report.0.iter().filter(|finding| finding.level == Level::Wrong).count())
}

fn settings(report: &mut Report, loaded: &Loaded) {
    report.add(Level::Good, "configuration", "every value is right");
    for (key, value, origin) in loaded.settings() {
        report.add(Level::Good, "configuration", format!("{key} = {value} ({origin})"));
    }
    for warning in loaded.warnings() {
        report.add(Level::Note, "configuration", warning);
    }
}

/// Whether a server runs on the folder.
fn folder(report: &mut Report, data: &Path) -> bool {
    let what = "data folder";
    let shown = data.display();
    if !data.exists() {
        report.add(Level::Note, what, format!("{shown} is not there; the server makes it when it starts"));
        return false;
    }
    match DataFolder::lock(data) {
        Ok(_lock) => {
            report.add(Level::Good, what, format!("{shown} can be written, and no server runs on it"));
        }
        Err(OpenError::InUse { .. }) => {
            report.add(Level::Good, what, format!("a server runs on {shown}"));
            return true;
        }
        Err(error) => report.add(Level::Wrong, what, reason(&error)),
    }
    false
}

fn space(report: &mut Report, data: &Path) {
    // Of a folder that is not there, the one that it is made in.
    let existing = data.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    match rustix::fs::statvfs(existing) {
        Ok(system) => {
            let free = system.f_bavail.saturating_mul(system.f_frsize);
            let size = system.f_blocks.saturating_mul(system.f_frsize).max(1);
            let (level, advice) = if free < SPACE_NEEDED_BYTES {
                (Level::Wrong, ": messages are refused when it is full; make room, or move the data folder")
            } else if free < size / 20 {
                (Level::Note, ": less than 5%")
            } else {
                (Level::Good, "")
            };
            report.add(level, "disk", format!("{} MiB free of {} MiB{advice}", free >> 20, size >> 20));
        }
        Err(error) => {
            let error = io::Error::from(error);
            report.add(Level::Note, "disk", format!("cannot tell how much is free: {error}"));
        }
    }
}

fn database(report: &mut Report, data: &Path) {
    let what = "database";
    if !data.join(DATABASE_FILE).exists() {
        return report.add(Level::Note, what, "there is none; the server makes one when it starts");
    }
    let inspector = match Inspector::open(data) {
        Ok(inspector) => inspector,
        Err(error) => return report.add(Level::Wrong, what, reason(&error)),
    };
    let (schema, newest) = inspector.schema();
    if schema == newest {
        report.add(Level::Good, what, format!("schema {schema}, the newest that this build knows"));
    } else {
        let text = format!(
            "schema {schema}; this build brings it to {newest} when it starts, and older builds cannot read it then: \
             back it up first"
        );
        report.add(Level::Note, what, text);
    }
    match inspector.quick_check() {
        Ok(damage) if damage.is_empty() => report.add(Level::Good, what, "whole"),
        Ok(damage) => {
            // As SQLite calls the kind of table that the index alone is of.
            let is_index = damage.iter().all(|line| line.to_ascii_lowercase().contains("fts5"));
            let advice = if is_index {
                "stop the server, and have the index for searching made anew by `switchboard store rebuild-search`"
            } else {
                "put a backup in its place"
            };
            let text = format!("damaged: {}; {advice}", damage.join("; "));
            report.add(Level::Wrong, what, text);
        }
        Err(error) => report.add(Level::Wrong, what, reason(&error)),
    }
    if let Ok(wal) = std::fs::metadata(data.join(format!("{DATABASE_FILE}-wal"))) {
        let (level, advice) = if wal.len() > WAL_NOTED_BYTES {
            (Level::Note, ": somebody has had the database open for long, like a backup or sqlite3")
        } else {
            (Level::Good, "")
        };
        report.add(level, what, format!("write-ahead log of {} MiB{advice}", wal.len() >> 20));
    }
    if let Ok(Some(ms)) = inspector.newest_message_ms() {
        newest_message(report, ms, SystemTime::now());
    }
}

/// A message of the future was stored by a clock that was wrong then, or this one is wrong now.
fn newest_message(report: &mut Report, stored_at_ms: i64, now: SystemTime) {
    let stored = UNIX_EPOCH + Duration::from_millis(u64::try_from(stored_at_ms).unwrap_or_default());
    if let Ok(ahead) = stored.duration_since(now)
        && ahead > CLOCK_SLACK
    {
        let text = format!("the newest message is {} seconds ahead of it: check the time", ahead.as_secs());
        report.add(Level::Wrong, "clock", text);
    }
}

fn clock(report: &mut Report, now: SystemTime) {
    if now.duration_since(UNIX_EPOCH).is_ok_and(|since| since >= EARLIEST) {
        report.add(Level::Good, "clock", "plausible");
    } else {
        report.add(Level::Wrong, "clock", "it is long behind: set the time, messages are stored with it");
    }
}

fn port(report: &mut Report, address: SocketAddr, in_use: bool) {
    let what = "address";
    if address.port() == 0 {
        return report.add(Level::Good, what, format!("{address}: the system chooses a port"));
    }
    match server::can_listen(address) {
        Ok(()) => report.add(Level::Good, what, format!("{address} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && in_use => {
            report.add(
                Level::Good,
                what,
                format!("{address} is taken, by the server that runs, most likely"),
            );
        }
        Err(error) => {
            let advice = "check that no other program uses it and that this one may";
            report.add(Level::Wrong, what, format!("cannot listen on {address}: {error}: {advice}"));
        }
    }
}

fn open_files(report: &mut Report, config: &Config) {
    let what = "open files";
    match rlimit::getrlimit(rlimit::Resource::NOFILE) {
        Ok((_, most)) => {
            let wanted = u64::from(config.limits.connections).saturating_mul(config.shards.into());
            let advice = "raise the hard limit (LimitNOFILE= of systemd, ulimit -Hn)";
            if most < FILES_NEEDED {
                report.add(
                    Level::Wrong,
                    what,
                    format!("{most} at the most, and each connection is one: {advice}"),
                );
            } else if most < wanted {
                let text = format!(
                    "{most} at the most, so fewer connections than limits.connections allows: {advice}"
                );
                report.add(Level::Note, what, text);
            } else {
                report.add(Level::Good, what, format!("{most} at the most"));
            }
        }
        Err(error) => report.add(Level::Note, what, format!("cannot tell how many there may be: {error}")),
    }
}

fn front_end(report: &mut Report, config: &Config) {
    let what = "front-end";
    match (server::check_front_end(config), &config.front_end) {
        (Err(error), _) => report.add(Level::Wrong, what, reason(&error)),
        (Ok(()), FrontEnd::Folder(folder)) => {
            report.add(Level::Good, what, format!("{} has an index.html", folder.display()));
        }
        (Ok(()), FrontEnd::BuiltIn | FrontEnd::Off) => {}
    }
}

fn tls(report: &mut Report, config: &Config, now: SystemTime) {
    let what = "certificate";
    let Some(files) = config.tls() else { return };
    let certificate = match Certificate::load(&files) {
        Ok(certificate) => certificate,
        Err(error) => return report.add(Level::Wrong, what, reason(&error)),
    };
    let (level, advice) = match certificate.validity(now) {
        Validity::Good => (Level::Good, ""),
        Validity::Soon => (Level::Note, ": it ends soon; replace it, and send the server a SIGHUP"),
        Validity::NotYet => (Level::Wrong, ": it is not valid yet; clients refuse it"),
        Validity::Over => (Level::Wrong, ": it is over; clients refuse it"),
    };
    report.add(level, what, format!("{certificate}{advice}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_behind_is_found() {
        let mut report = Report::default();
        clock(&mut report, UNIX_EPOCH);
        clock(&mut report, UNIX_EPOCH + EARLIEST);
        newest_message(&mut report, 61_001, UNIX_EPOCH);
        newest_message(&mut report, 60_000, UNIX_EPOCH);
        let levels: Vec<_> = report.0.iter().map(|finding| finding.level).collect();
        assert_eq!(levels, [Level::Wrong, Level::Good, Level::Wrong]);
    }
}
