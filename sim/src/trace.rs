//! What a run looked like: for tables and charts, noted only when somebody wants to see them.

use core::fmt;

/// Whose line a mark is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// A client.
    Client(u16),
    /// An engine: node and shard of the node.
    Shard(u16, u16),
    /// The store.
    Store,
    /// What happens to the world as a whole.
    World,
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(client) => write!(f, "c{client}"),
            Self::Shard(node, shard) => write!(f, "n{node}/{shard}"),
            Self::Store => f.write_str("store"),
            Self::World => f.write_str("world"),
        }
    }
}

/// One thing that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When, in microseconds of virtual time.
    pub at_us: u64,
    /// From where.
    pub from: Lane,
    /// To where; the same for what happens at one place.
    pub to: Lane,
    /// What.
    pub text: String,
}

/// The marks of a run, if they are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace {
    marks: Option<Vec<Mark>>,
}

impl Trace {
    pub(crate) fn wanted() -> Self {
        Self { marks: Some(Vec::new()) }
    }

    /// Notes something; `text` is made only if it is wanted.
    pub(crate) fn mark(&mut self, at_us: u64, from: Lane, to: Lane, text: impl FnOnce() -> String) {
        if let Some(marks) = &mut self.marks {
            marks.push(Mark { at_us, from, to, text: text() });
        }
    }

    pub(crate) fn take(&mut self) -> Vec<Mark> {
        self.marks.take().unwrap_or_default()
    }
}
