//! The figures of a running server, for Prometheus.
//!
//! Whoever asks makes the figures: each shard is asked through its mailbox and answers at the end of a turn with its engine's own
//! accounting, and the rest are atomics beside what they count. A shard that nobody asks pays for one look at the clock after a
//! turn that has written.

mod family;
mod process;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use switchboard_engine::{Gauges, Stats};
use tokio::sync::Mutex;

use self::family::{Families, Labels};
use super::{
    bus::Bus,
    gateway::{Handshakes, Shards},
    shard::{Figures, Question},
};
use crate::{
    histogram::Histogram,
    recorder::RecorderDesk,
    store::{DATABASE_FILE, Shared},
    telemetry::Telemetry,
};

/// How long a shard may take to answer. One that does not is told of by `switchboard_shard_up`.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where figures come from.
#[derive(Debug)]
pub(super) struct Metrics {
    pub(super) shards: Arc<Shards>,
    /// Of each shard, from frames' coming about to their having been written.
    pub(super) latencies: Vec<Arc<Histogram>>,
    /// What the threads of the stores share, by their names.
    pub(super) stores: Vec<(&'static str, Arc<Shared>)>,
    pub(super) bus: Arc<Bus>,
    /// What records, if anything does.
    pub(super) recorder: Option<RecorderDesk>,
    pub(super) handshakes: Handshakes,
    pub(super) requests: Arc<Requests>,
    /// What sends traces, if anything does.
    pub(super) telemetry: Option<Telemetry>,
    pub(super) data: PathBuf,
    /// Shards are asked for one answer at a time.
    pub(super) turn: Mutex<()>,
}

/// HTTP requests by the first digit of their answers' status.
#[derive(Debug, Default)]
pub(super) struct Requests([AtomicU64; 6]);

impl Requests {
    /// One was answered with this status.
    pub(super) fn count(&self, status: u16) {
        if let Some(class) = self.0.get(usize::from(status / 100)) {
            class.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Metrics {
    /// All figures as text in the form that this `Accept` prefers, and its `Content-Type`.
    pub(super) async fn text(&self, accept: Option<&str>) -> Result<(String, &'static str), std::fmt::Error> {
        let figures = {
            let _turn = self.turn.lock().await;
            self.shards.ask(Question::Figures, PATIENCE).await
        };
        let mut families = Families::default();
        self.server(&mut families, &figures);
        engine(&mut families, &figures);
        self.latencies(&mut families);
        self.stores(&mut families);
        self.commits(&mut families);
        self.bus(&mut families);
        self.recorder(&mut families);
        self.spans(&mut families);
        process::process(&mut families);
        families.encode(accept)
    }

    fn server(&self, families: &mut Families, figures: &[Option<Figures>]) {
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        families.gauge("switchboard_build_info", "Always 1; its label is the version.", version, 1);
        for (shard, figures) in figures.iter().enumerate() {
            let help = "1 while the shard answers, 0 when it has not within 5 seconds or has ended.";
            families.gauge("switchboard_shard_up", help, of_shard(shard), u64::from(figures.is_some()));
        }
        for (shard, connections) in self.shards.connections().enumerate() {
            let help =
                "Places for connections that are taken, those of handshakes that are not done included.";
            families.gauge("switchboard_places", help, of_shard(shard), connections);
        }
        let help = "TCP connections that are no WebSockets, or not yet.";
        families.gauge("switchboard_http_connections", help, Vec::new(), self.handshakes.taken());
        for (class, count) in self.requests.0.iter().enumerate().skip(1) {
            let help = "HTTP requests that were answered, by the class of the status; 1xx are those that became WebSockets.";
            let labels = vec![("status", format!("{class}xx"))];
            families.counter("switchboard_http_requests", help, labels, count.load(Ordering::Relaxed));
        }
    }

    fn latencies(&self, families: &mut Families) {
        for (shard, latency) in self.latencies.iter().enumerate() {
            let help = "From the begin of the turn in which a frame came about (a message arrived, or the store answered) to its \
                        having been written, one for each frame that the turn's end wrote; frames for readers that are behind \
                        are not among them.";
            families.histogram("switchboard_flush_seconds", help, of_shard(shard), latency.observed());
        }
    }

    fn stores(&self, families: &mut Families) {
        let of = |name: &&'static str| vec![("thread", (*name).to_owned())];
        for (name, shared) in &self.stores {
            let help = "1 while the thread's last work on the disk succeeded, 0 after it failed.";
            let is_ok = shared.health.itself_is_ok();
            families.gauge("switchboard_store_up", help, of(name), u64::from(is_ok));
        }
        for (name, shared) in &self.stores {
            let help = "Requests that wait for the thread, or that it has not answered yet.";
            let requests = shared.queue.outstanding().requests as u64;
            families.gauge("switchboard_store_queue_requests", help, of(name), requests);
        }
        for (name, shared) in &self.stores {
            let help = "Bytes of the requests that wait for the thread, or that it has not answered yet.";
            let bytes = shared.queue.outstanding().bytes as u64;
            families.gauge("switchboard_store_queue_bytes", help, of(name), bytes);
        }
        for (name, shared) in &self.stores {
            let help =
                "Requests that came when the thread's queue was full, and were answered as failed at once.";
            let rejected = shared.figures.rejected.load(Ordering::Relaxed);
            families.counter("switchboard_store_rejected", help, of(name), rejected);
        }
        for (name, shared) in &self.stores {
            let help = "Requests that the thread could not carry out, as the disk or the database failed or was full.";
            let failed = shared.figures.failed.load(Ordering::Relaxed);
            families.counter("switchboard_store_failures", help, of(name), failed);
        }
        for (name, shared) in &self.stores {
            let help = "From a request to its answer, waiting for others of its commit included.";
            families.histogram(
                "switchboard_store_answer_seconds",
                help,
                of(name),
                shared.figures.answers.observed(),
            );
        }
    }

    /// What only the thread has that writes the database.
    fn commits(&self, families: &mut Families) {
        if let Some((_, shared)) = self.stores.first() {
            let (figures, none) = (&shared.figures, Vec::new);
            let commits = figures.commits.observed();
            let help = "Transactions that were committed; each is one sync to the disk.";
            families.counter("switchboard_store_commits", help, none(), commits.count);
            let help = "Transactions that failed and were rolled back.";
            let failed = figures.commits_failed.load(Ordering::Relaxed);
            families.counter("switchboard_store_commits_failed", help, none(), failed);
            let help = "From the begin of a transaction to its commit, the sync included.";
            families.histogram("switchboard_store_commit_seconds", help, none(), commits);
            let help = "Requests of one committed transaction.";
            families.histogram("switchboard_store_commit_requests", help, none(), figures.batches.observed());
        }
        let size = |name: &str| std::fs::metadata(self.data.join(name)).map(|data| data.len()).ok();
        if let Some(bytes) = size(DATABASE_FILE) {
            let help = "Size of the database's file.";
            families.gauge("switchboard_store_database_bytes", help, Vec::new(), bytes);
        }
        if let Some(bytes) = size(&format!("{DATABASE_FILE}-wal")) {
            let help = "Size of the write-ahead log beside the database; usually up to 128 MiB.";
            families.gauge("switchboard_store_wal_bytes", help, Vec::new(), bytes);
        }
    }

    fn spans(&self, families: &mut Families) {
        let Some(figures) = self.telemetry.as_ref().map(Telemetry::figures) else { return };
        let none = Vec::new;
        let help = "Spans that wait to be sent to the collector of traces, or are being sent.";
        families.gauge("switchboard_spans_waiting", help, none(), figures.waiting);
        let help = "Spans that the collector has taken.";
        families.counter("switchboard_spans_sent", help, none(), figures.sent);
        let help = "Spans that were lost as the collector was not reached, or did not take them.";
        families.counter("switchboard_spans_failed", help, none(), figures.failed);
        let help = "Spans that were dropped as too many waited.";
        families.counter("switchboard_spans_dropped", help, none(), figures.dropped);
    }

    fn recorder(&self, families: &mut Families) {
        let Some(recorder) = &self.recorder else { return };
        let figures = recorder.figures();
        for (name, help, figure) in [
            ("raw_bytes", "Bytes of recorded steps, before they were compressed.", &figures.raw_bytes),
            ("bytes", "Bytes of recordings, in files or in memory.", &figures.written_bytes),
            ("gaps", "Recordings that began anew because there was no room for something.", &figures.gaps),
            ("failures", "Writes of recordings that failed.", &figures.failures),
        ] {
            let name = format!("switchboard_recorder_{name}");
            families.counter(&name, help, Labels::new(), figure.load(Ordering::Relaxed));
        }
    }

    fn bus(&self, families: &mut Families) {
        let figures = self.bus.figures();
        for (shard, figures) in figures.iter().enumerate() {
            let help = "Records that wait for the shard.";
            families.gauge("switchboard_bus_queue_records", help, of_shard(shard), figures.waiting);
        }
        for (shard, figures) in figures.iter().enumerate() {
            let help = "Records that other shards have queued for the shard.";
            families.counter("switchboard_bus_records", help, of_shard(shard), figures.queued);
        }
        for (shard, figures) in figures.iter().enumerate() {
            let help = "Records that found the shard's queue full; what was stored stays stored, its live push is lost.";
            families.counter("switchboard_bus_dropped", help, of_shard(shard), figures.dropped);
        }
        for (shard, figures) in figures.into_iter().enumerate() {
            let help = "How long a record waited until the shard took it.";
            families.histogram("switchboard_bus_seconds", help, of_shard(shard), figures.latency);
        }
    }
}

/// The engines' accounting: every counter and every gauge that an engine has, under its own name and with its own meaning.
fn engine(families: &mut Families, figures: &[Option<Figures>]) {
    let known = || figures.iter().enumerate().filter_map(|(shard, figures)| Some((shard, (*figures)?)));
    let names = Stats::default();
    for ((name, _), help) in names.iter().zip(helps(Stats::meanings())) {
        for (shard, figures) in known() {
            let value = figures.stats.iter().find(|(other, _)| *other == name).map_or(0, |(_, value)| value);
            let name = format!("switchboard_engine_{name}");
            families.counter(&name, &help, of_shard(shard), value);
        }
    }
    let names = Gauges::default();
    for ((name, _), help) in names.iter().zip(helps(Gauges::meanings())) {
        for (shard, figures) in known() {
            let value = figures.gauges.iter().find(|(other, _)| *other == name).map_or(0, |(_, value)| value);
            families.gauge(&format!("switchboard_{name}"), &help, of_shard(shard), value);
        }
    }
}

/// Each text by itself: what says more of an earlier one has that one before it.
fn helps(meanings: impl Iterator<Item = &'static str>) -> impl Iterator<Item = String> {
    let mut of = "";
    meanings.map(move |meaning| match meaning.strip_prefix("Of those, ") {
        Some(rest) => format!("{}: of those, {rest}", of.trim_end_matches('.')),
        None => {
            of = meaning;
            meaning.to_owned()
        }
    })
}

fn of_shard(shard: usize) -> Labels {
    vec![("shard", shard.to_string())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_of_an_engine_is_shown_with_its_meaning() {
        let figures = Figures { stats: Stats::default(), gauges: Gauges::default() };
        let mut families = Families::default();
        engine(&mut families, &[Some(figures), None, Some(figures)]);
        let (text, _) = families.encode(None).unwrap();
        for (name, _) in figures.stats.iter() {
            for line in [
                format!("\nswitchboard_engine_{name}_total{{shard=\"2\"}} 0\n"),
                format!("# HELP switchboard_engine_{name}_total "),
            ] {
                assert!(text.contains(&line), "{line}");
            }
        }
        for (name, _) in figures.gauges.iter() {
            assert!(text.contains(&format!("\nswitchboard_{name}{{shard=\"2\"}} 0\n")), "{name}");
        }
        assert!(!text.contains("shard=\"1\""), "a shard that has not answered has no figures");
        assert!(text.contains(
            "# HELP switchboard_engine_heartbeats_total Messages received: of those, heartbeats.\n"
        ));
    }
}
