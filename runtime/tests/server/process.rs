//! The real binary: started, signalled, killed.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use crate::harness::PATIENCE;

/// The binary without the settings of whoever runs the tests.
fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SWITCHBOARD_") {
            command.env_remove(name);
        }
    }
    command
}

fn serve(data: &Path, listen: &str, settings: &[(&str, &str)]) -> Command {
    let mut command = binary();
    command.args(["serve", "--listen", listen, "--data"]).arg(data).envs(settings.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs `switchboard group` on a data folder.
pub(crate) fn group(data: &Path, args: &[&str]) -> String {
    let output = binary().arg("group").args(args).arg("--data").arg(data).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs another command of the binary with these settings.
pub(crate) fn command(args: &[&str], settings: &[(&str, &str)]) -> Output {
    binary().args(args).envs(settings.iter().copied()).output().unwrap()
}

/// A server that cannot start: its exit status, and what it says.
pub(crate) fn cannot_serve(data: &Path, listen: &str) -> Output {
    let mut child = serve(data, listen, &[]).spawn().unwrap();
    wait(&mut child);
    child.wait_with_output().unwrap()
}

/// The address in the line that says that a server listens.
fn address_in(line: &str) -> SocketAddr {
    let address = line.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next());
    address.unwrap().parse().unwrap()
}

/// A running `switchboard serve`; killed when it is dropped.
pub(crate) struct Process {
    pub(crate) address: SocketAddr,
    child: Child,
    log: mpsc::Receiver<String>,
}

impl Process {
    /// Starts a server on a port of the system's choice, and waits until it listens.
    pub(crate) fn start(data: &Path, settings: &[(&str, &str)]) -> Self {
        Self::start_on(data, "127.0.0.1:0", settings)
    }

    /// Starts a server on an address, and waits until it listens.
    pub(crate) fn start_on(data: &Path, listen: &str, settings: &[(&str, &str)]) -> Self {
        Self::start_logged(data, listen, settings, None)
    }

    /// The same, and its log goes to a file, too.
    pub(crate) fn start_logged(
        data: &Path,
        listen: &str,
        settings: &[(&str, &str)],
        mut kept: Option<File>,
    ) -> Self {
        let mut child = serve(data, listen, settings).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, log) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if let Some(file) = &mut kept {
                    let _ = writeln!(file, "{line}");
                }
                let _ = sender.send(line);
            }
        });
        let address = SocketAddr::from(([0; 4], 0));
        let mut process = Self { address, child, log };
        let line = process.logs("listening address=");
        process.address = address_in(&line);
        process
    }

    /// Starts a server whose log nobody reads any more once it listens.
    pub(crate) fn start_unread(data: &Path) -> Self {
        let mut child = serve(data, "127.0.0.1:0", &[]).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening address=") {
            line.clear();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "it ends before it listens");
        }
        Self { address: address_in(&line), child, log: mpsc::channel().1 }
    }

    /// The process's number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line of the log with this text in it.
    pub(crate) fn logs(&self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line =
                self.log.recv_timeout(left).unwrap_or_else(|why| panic!("no line with {text:?}: {why}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Sends a signal, by its name.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Ends the process as a crash would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Signals the process again and again until it ends.
    pub(crate) fn exit_when_signalled(&mut self, name: &str) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the process has not ended within {PATIENCE:?}");
            self.signal(name);
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits for the process to end.
    pub(crate) fn exit(&mut self) -> ExitStatus {
        wait(&mut self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("the process has not ended within {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
