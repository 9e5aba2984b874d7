//! One line on a terminal that says how far a run is.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often the line changes: fast enough to look alive, too rare to cost anything.
const INTERVAL: Duration = Duration::from_millis(200);

/// A line on standard error, rewritten in place; nothing if that is not a terminal.
#[derive(Debug)]
pub struct Progress {
    shown: bool,
    next: Instant,
    /// What the run is a part of.
    prefix: String,
}

impl Progress {
    /// Shows progress if standard error is a terminal.
    #[must_use]
    pub fn on_terminal() -> Self {
        Self { shown: std::io::stderr().is_terminal(), next: Instant::now(), prefix: String::new() }
    }

    /// Shows nothing.
    #[must_use]
    pub fn silent() -> Self {
        Self { shown: false, next: Instant::now(), prefix: String::new() }
    }

    /// From now on, each line begins with this.
    pub fn prefix(&mut self, prefix: &str) {
        prefix.clone_into(&mut self.prefix);
    }

    /// Rewrites the line, if the last time is long enough ago; `line` is made only then.
    pub fn show(&mut self, line: impl FnOnce() -> String) {
        if self.shown && Instant::now() >= self.next {
            self.next = Instant::now() + INTERVAL;
            let line = line();
            let line = if self.prefix.is_empty() { line } else { format!("{}: {line}", self.prefix) };
            self.write(&line);
        }
    }

    /// Takes the line away, so that the report starts on an empty one.
    pub fn clear(&self) {
        if self.shown {
            self.write("");
        }
    }

    #[allow(clippy::unused_self, reason = "only a Progress writes")]
    fn write(&self, line: &str) {
        // A terminal that takes no progress line is no reason to stop measuring.
        let _ = write!(std::io::stderr(), "\r\x1b[2K{line}");
    }
}
