//! The commands that have a file of their own.

pub(crate) mod canaries;
pub(crate) mod run;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on the terminal; nothing where there is none.
fn progress_bar(length: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// As many threads as are asked for, or as there are cores.
fn threads(jobs: Option<usize>) -> usize {
    jobs.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1)
}
