//! What there is to be seen of a machine between two steps, as words in tables: nothing here knows of terminals.

use std::collections::BTreeMap;
use std::time::Duration;

use switchboard_engine::{ConnectionPhase, ConnectionView, Probe, Server};

/// A step, as it stands in the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Its number, from 1.
    pub number: u64,
    /// Its time, since the run began.
    pub at: Duration,
    /// Whom it is about.
    pub who: String,
    /// What happened, or what the engine was told.
    pub told: String,
    /// How much came of it.
    pub actions: usize,
    /// Whether it is a fault, or the end of one.
    pub is_fault: bool,
    /// What does not hold since.
    pub failure: Option<String>,
}

/// A table of words. One of each row names it, and is in no other row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// What is in it.
    pub name: &'static str,
    /// The column that names rows.
    pub key: usize,
    /// The columns.
    pub head: Vec<&'static str>,
    /// The rows, each of as many words as there are columns.
    pub rows: Vec<Vec<String>>,
}

/// Everything that is seen behind a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The step; 0 is before the first.
    pub number: u64,
    /// Time since the run began.
    pub at: Duration,
    /// What was told in it and what came of it.
    pub story: Vec<String>,
    /// What does not hold since this step.
    pub failure: Option<String>,
    /// What the machine is like.
    pub tables: Vec<Table>,
    /// By table: which words were others before this step.
    pub changed: Vec<Changed>,
    /// A digest of the machine's whole state.
    pub digest: u64,
}

/// Which words of a table were others before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// By row and column.
    pub words: Vec<Vec<bool>>,
    /// Rows that are gone, with what was in them.
    pub gone: Vec<Vec<String>>,
}

impl Changed {
    /// What has changed from one table to another of the same kind.
    #[must_use]
    pub fn between(before: &Table, after: &Table) -> Self {
        let mut old: BTreeMap<&str, &Vec<String>> = BTreeMap::new();
        old.extend(before.rows.iter().filter_map(|row| Some((row.get(before.key)?.as_str(), row))));
        let words = after.rows.iter().map(|row| {
            let was = row.get(after.key).and_then(|name| old.remove(name.as_str()));
            match was {
                None => vec![true; row.len()],
                Some(was) => row.iter().zip(was).map(|(word, was)| word != was).collect(),
            }
        });
        let words = words.collect();
        Self { words, gone: old.into_values().cloned().collect() }
    }

    /// The first row of which anything has changed.
    #[must_use]
    pub fn first_row(&self) -> Option<usize> {
        self.words.iter().position(|row| row.contains(&true))
    }
}

/// The columns that [`connection`] fills.
pub(crate) const CONNECTION: [&str; 10] =
    ["connection", "user", "speaks", "phase", "frames", "bytes", "store", "held", "is", "groups"];

/// A connection of a server, in words; `name` is what it is called.
pub(crate) fn connection<P: Probe>(
    server: &Server<P>,
    view: &ConnectionView<'_>,
    name: String,
) -> Vec<String> {
    let phase = match view.phase {
        ConnectionPhase::Loading => "is loaded",
        ConnectionPhase::Greeting => "greets",
        ConnectionPhase::Online => "online",
        ConnectionPhase::Closing => "closing",
        ConnectionPhase::Aborted => "cut off",
    };
    let is = match (view.is_lagging, view.may_have_missed) {
        (true, _) => "lagging",
        (false, true) => "behind",
        (false, false) => "",
    };
    let groups = view.user.and_then(|user| server.groups_of(user)).map(|groups| {
        let groups: Vec<_> = groups.take(GROUPS + 1).map(|group| group.as_str().to_owned()).collect();
        let more = if groups.len() > GROUPS { " …" } else { "" };
        groups[..groups.len().min(GROUPS)].join(" ") + more
    });
    vec![
        name,
        view.user.map_or("-", |user| user.as_str()).to_owned(),
        if view.is_session { "session" } else { "classic" }.to_owned(),
        phase.to_owned(),
        view.unflushed_frames.to_string(),
        view.cost_bytes.to_string(),
        view.pending.to_string(),
        view.held_frames.to_string(),
        is.to_owned(),
        groups.unwrap_or_default(),
    ]
}

/// Groups of a user that are named.
const GROUPS: usize = 6;

/// What servers count, all together: how much there is now, and what has happened so far.
pub(crate) fn counters<'a, P: Probe + 'a>(servers: impl Iterator<Item = &'a Server<P>>) -> [Table; 2] {
    let mut gauges: Vec<(&'static str, u64)> = Vec::new();
    let mut stats: Vec<(&'static str, u64)> = Vec::new();
    for server in servers {
        add(&mut gauges, server.gauges().iter());
        add(&mut stats, server.stats().iter());
    }
    let rows = |counts: Vec<(&'static str, u64)>| {
        let counts = counts.into_iter().filter(|(_, count)| *count > 0);
        counts.map(|(name, count)| vec![count.to_string(), name.to_owned()]).collect()
    };
    [
        Table { name: "now", key: 1, head: vec!["now", "of engines"], rows: rows(gauges) },
        Table { name: "counters", key: 1, head: vec!["so far", "counter"], rows: rows(stats) },
    ]
}

fn add(sums: &mut Vec<(&'static str, u64)>, counts: impl Iterator<Item = (&'static str, u64)>) {
    for (place, (name, count)) in counts.enumerate() {
        match sums.get_mut(place) {
            Some((_, sum)) => *sum += count,
            None => sums.push((name, count)),
        }
    }
}

/// A time in seconds.
#[must_use]
pub fn seconds(time: Duration) -> String {
    format!("{:.6}", time.as_secs_f64())
}
