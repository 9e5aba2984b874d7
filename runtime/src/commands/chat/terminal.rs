//! The terminal, the clock on the wall, and the signals that end a chat.

use std::{
    io::{self, Write as _},
    sync::mpsc::sync_channel,
    time::Duration,
};

use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use super::{
    conversation::Clock,
    input::{self, Input},
    output::Output,
};

/// Switches bracketed paste off, which the line editor switches on.
const BRACKETED_PASTE_OFF: &[u8] = b"\x1b[?2004l";

/// A line editor in this terminal, and what it prints with; none if the terminal cannot do that.
pub(super) fn terminal(prompt: String) -> Option<(mpsc::Receiver<Input>, Output, TerminalGuard)> {
    let guard = TerminalGuard::new()?;
    let (mut editor, inputs) = input::editor().ok()?;
    let printer = editor.create_external_printer().ok()?;
    let (to_editor, prompts) = sync_channel(1);
    let output = Output::to_terminal(printer, to_editor);
    input::from_terminal(editor, prompt, prompts);
    Some((inputs, output, guard))
}

/// Gives the terminal back as it was: the line editor cannot be interrupted, and leaves it as it needs it.
pub(super) struct TerminalGuard {
    before: Termios,
}

impl TerminalGuard {
    fn new() -> Option<Self> {
        Some(Self { before: tcgetattr(io::stdin()).ok()? })
    }
}

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let edited = tcgetattr(io::stdin()).is_ok_and(|now| now != self.before);
        if edited {
            let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.before);
            let mut stdout = io::stdout().lock();
            let _ = stdout.write_all(BRACKETED_PASTE_OFF);
            // The line being typed stays where it is.
            let _ = stdout.write_all(b"\n");
            let _ = stdout.flush();
        }
    }
}

/// Times of this computer's time zone, to the minute; with the day if it is not today.
pub(super) struct LocalTime;

impl LocalTime {
    pub(super) fn now() -> String {
        jiff::Zoned::now().strftime("%H:%M").to_string()
    }
}

impl Clock for LocalTime {
    fn time(&self, unix_ms: i64) -> String {
        let now = jiff::Zoned::now();
        // Others may name any time.
        let Ok(time) = jiff::Timestamp::from_millisecond(unix_ms) else {
            return "a time that no calendar has".to_owned();
        };
        let time = time.to_zoned(now.time_zone().clone());
        let form = if time.date() == now.date() { "%H:%M" } else { "%Y-%m-%d %H:%M" };
        time.strftime(form).to_string()
    }

    fn until(&self, at: std::time::Instant) -> Duration {
        at.saturating_duration_since(std::time::Instant::now())
    }
}

/// The signals that end a chat.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
