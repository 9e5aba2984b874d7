//! Where lines go: above the line being typed, or to the standard output and the standard error.
//!
//! A thread of its own writes them: a terminal that is stopped, or a pipe that nobody reads, blocks the writer.

use std::{
    io::{self, Write as _},
    sync::mpsc::SyncSender,
    thread,
    time::Duration,
};

use rustyline::ExternalPrinter;
use tokio::sync::{mpsc, oneshot};

/// Lines that may wait to be written; then the conversation waits, and with it the server.
const WAITING_LINES: usize = 1024;
/// How long the last lines may take to be written.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

/// The lines' writer has ended: nobody reads them any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody reads the output any more")]
pub struct OutputClosed;

enum Job {
    Message(String),
    Status(String),
    Prompt(String),
    Finish(oneshot::Sender<()>),
}

/// The way to the writer.
#[derive(Debug)]
pub(super) struct Output {
    jobs: mpsc::Sender<Job>,
}

impl Output {
    /// Writes above the line being typed. After the lines before it, a prompt goes to the editor.
    pub(super) fn to_terminal(
        mut printer: impl ExternalPrinter + Send + 'static,
        prompts: SyncSender<String>,
    ) -> Self {
        Self::start(move |job| match job {
            Job::Message(line) | Job::Status(line) => {
                printer.print(line + "\n").map_err(|error| io::Error::other(error.to_string()))
            }
            Job::Prompt(prompt) => {
                // An editor that waits for no prompt, having ended or waited long enough, does without.
                let _ = prompts.try_send(prompt);
                Ok(())
            }
            Job::Finish(_) => Ok(()),
        })
    }

    /// Writes messages to the standard output, and the rest to the standard error.
    pub(super) fn to_streams() -> Self {
        Self::start(|job| match job {
            Job::Message(line) => {
                let mut stdout = io::stdout().lock();
                writeln!(stdout, "{line}")?;
                stdout.flush()
            }
            Job::Status(line) => {
                // Without a reader of the standard error, messages still have theirs.
                let _ = writeln!(io::stderr().lock(), "{line}");
                Ok(())
            }
            Job::Prompt(_) | Job::Finish(_) => Ok(()),
        })
    }

    fn start(mut write: impl FnMut(Job) -> io::Result<()> + Send + 'static) -> Self {
        let (jobs, mut waiting) = mpsc::channel(WAITING_LINES);
        thread::spawn(move || {
            while let Some(job) = waiting.blocking_recv() {
                if let Job::Finish(done) = job {
                    let _ = done.send(());
                } else if write(job).is_err() {
                    return;
                }
            }
        });
        Self { jobs }
    }

    /// What somebody said.
    pub(super) async fn message(&self, line: String) -> Result<(), OutputClosed> {
        self.jobs.send(Job::Message(line)).await.map_err(|_| OutputClosed)
    }

    /// What there is to know beside it.
    pub(super) async fn status(&self, line: String) -> Result<(), OutputClosed> {
        self.jobs.send(Job::Status(line)).await.map_err(|_| OutputClosed)
    }

    /// What the next line is typed behind.
    pub(super) async fn prompt(&self, prompt: String) -> Result<(), OutputClosed> {
        self.jobs.send(Job::Prompt(prompt)).await.map_err(|_| OutputClosed)
    }

    /// Waits until all lines are written, for a bounded time.
    pub(super) async fn finish(&self) {
        let (done, finished) = oneshot::channel();
        let finish = async {
            if self.jobs.send(Job::Finish(done)).await.is_ok() {
                // An error says that the writer has ended: there is nothing to wait for.
                let _ = finished.await;
            }
        };
        // What cannot be written by then never will be.
        let _ = tokio::time::timeout(FINISH_TIMEOUT, finish).await;
    }
}
