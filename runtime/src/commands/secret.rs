//! Asks for a secret at a terminal, which does not show it meanwhile.

use std::{
    io::{self, BufRead as _, Write as _},
    thread,
};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

/// Why there is no secret.
#[derive(Debug)]
pub(super) enum AskError {
    /// The terminal cannot be read.
    Input(io::Error),
    /// Whoever was asked has broken off, as with Ctrl-C.
    Interrupted,
}

impl From<io::Error> for AskError {
    fn from(error: io::Error) -> Self {
        Self::Input(error)
    }
}

/// A terminal that shows what is typed again when this is dropped.
struct Hidden(Termios);

impl Hidden {
    fn begin() -> io::Result<Self> {
        let stdin = io::stdin();
        let shown = tcgetattr(&stdin)?;
        let mut hidden = shown.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Flush, &hidden)?;
        Ok(Self(shown))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // A terminal that has gone needs nothing any more.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
        let _ = io::stderr().write_all(b"\n");
    }
}

/// Asks for a line that is not shown while it is typed. However that ends, by a signal too, the terminal is as it was.
pub(super) fn ask(prompt: &str) -> Result<String, AskError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        // Before anything is hidden: from here on they do not end the process by themselves.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut quit = signal(SignalKind::quit())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let _hidden = Hidden::begin()?;
        // With a closed standard error there is nobody to ask, and nothing to hide from.
        let _ = io::stderr().write_all(prompt.as_bytes());
        let (sender, line) = oneshot::channel();
        // It may wait for a line until the process ends.
        thread::spawn(move || {
            let mut line = String::new();
            let read = io::stdin().lock().read_line(&mut line).map(|_| line);
            let _ = sender.send(read);
        });
        tokio::select! {
            line = line => {
                let line = line.map_err(|_| AskError::Interrupted)??;
                Ok(line.trim_end_matches(['\r', '\n']).to_owned())
            }
            _ = interrupt.recv() => Err(AskError::Interrupted),
            _ = quit.recv() => Err(AskError::Interrupted),
            _ = terminate.recv() => Err(AskError::Interrupted),
            _ = hang_up.recv() => Err(AskError::Interrupted),
        }
    })
}
