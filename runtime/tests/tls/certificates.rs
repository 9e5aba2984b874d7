//! Certificates: what a server starts with, and what it shows when they are replaced.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Instant,
};

use nix::{
    fcntl::OFlag,
    pty::{grantpt, posix_openpt, ptsname_r, unlockpt},
};
use switchboard::{config::Config, server::Server};
use tokio::net::TcpStream;

use crate::{
    harness::{PATIENCE, soon},
    secure::{Files, connect, der},
};

/// `switchboard serve` with the certificate in these files; killed when it is dropped.
struct Process {
    child: Child,
    log: mpsc::Receiver<String>,
    address: SocketAddr,
    _data: tempfile::TempDir,
}

impl Process {
    fn start(files: Option<&Files>) -> Self {
        Self::start_with(files, Stdio::null())
    }

    fn start_with(files: Option<&Files>, stdin: Stdio) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        command
            .env_clear()
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data.path().join("data"));
        if let Some(files) = files {
            command.arg("--tls-cert").arg(files.certificate()).arg("--tls-key").arg(files.key());
        }
        command.stdin(stdin).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It holds the other end of a terminal open.
        drop(command);
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, log) = mpsc::channel();
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        let mut process =
            Self { child, log, address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), _data: data };
        let line = process.logs("listening address=");
        let address = line.split("address=").nth(1).and_then(|rest| rest.split(' ').next());
        process.address = address.unwrap().parse().unwrap();
        process
    }

    fn logs(&self, text: &str) -> String {
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

    fn hang_up(&self) {
        let kill = format!("kill -HUP {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Whether whoever connects now is shown this certificate.
    async fn shows(&self, files: &Files) {
        let stream = soon("connecting", TcpStream::connect(self.address)).await.unwrap();
        let stream = connect(&files.trusted(rustls::ALL_VERSIONS), stream).await;
        let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
        assert_eq!(shown, der(&files.certificate()));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_new_certificate_is_shown_after_sighup_and_a_broken_one_never() {
    let files = Files::new();
    let mut process = Process::start(Some(&files));
    process.shows(&files).await;
    files.issue("the next one");
    process.hang_up();
    let line = process.logs("TLS certificate=");
    assert!(line.contains("CN=the next one"), "{line}");
    process.shows(&files).await;
    // Half a renewal: the key is another one's.
    let old = (fs::read(files.certificate()).unwrap(), fs::read(files.key()).unwrap());
    files.issue("one more");
    fs::write(files.certificate(), &old.0).unwrap();
    process.hang_up();
    let line = process.logs("the certificate stays as it was");
    assert!(line.contains("it is another one's"), "{line}");
    process.shows(&files).await;
    fs::write(files.certificate(), "no certificate").unwrap();
    process.hang_up();
    process.logs("the certificate stays as it was");
    fs::write(files.certificate(), &old.0).unwrap();
    process.shows(&files).await;
    assert!(process.child.try_wait().unwrap().is_none());
}

#[tokio::test]
async fn without_a_certificate_sighup_changes_nothing() {
    let mut process = Process::start(None);
    process.hang_up();
    process.logs("there is no certificate to be read again");
    assert!(process.child.try_wait().unwrap().is_none());
}

#[test]
fn a_terminal_that_is_closed_ends_the_server() {
    let files = Files::new();
    // Nobody else may have it open: not the server, nor what another test starts just now.
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let slave = fs::File::open(ptsname_r(&master).unwrap()).unwrap();
    let mut process = Process::start_with(Some(&files), slave.into());
    // As long as it is there, it may be somebody with a new certificate who sends the signal.
    process.hang_up();
    process.logs("TLS certificate=");
    drop(master);
    process.hang_up();
    process.logs("stopped");
    assert!(process.child.wait().unwrap().success());
}

fn refusal(files: &Files) -> String {
    let data = tempfile::tempdir().unwrap();
    let mut config = Config {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        data: data.path().join("data"),
        ..Config::default()
    };
    files.configure(&mut config);
    let error = Server::start(&config).unwrap_err();
    assert!(!config.data.exists());
    assert_eq!(error.to_string(), "cannot speak TLS (tls_cert, tls_key)");
    std::error::Error::source(&error).unwrap().to_string()
}

#[tokio::test]
async fn what_cannot_be_used_is_an_error_at_the_start() {
    let files = Files::new();
    let (certificate, key) = (fs::read(files.certificate()).unwrap(), fs::read(files.key()).unwrap());
    files.issue("another one");
    fs::write(files.certificate(), &certificate).unwrap();
    let text = refusal(&files);
    assert!(text.contains("it is another one's; name the key that belongs to it"), "{text}");
    fs::write(files.key(), &certificate).unwrap();
    assert!(refusal(&files).starts_with("cannot read a private key from"));
    fs::write(files.key(), &key).unwrap();
    fs::write(files.certificate(), &key).unwrap();
    assert!(refusal(&files).starts_with("cannot read a certificate from"));
    let nonsense = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    fs::write(files.certificate(), nonsense).unwrap();
    assert!(refusal(&files).ends_with("cannot be used"));
    fs::remove_file(files.certificate()).unwrap();
    assert!(refusal(&files).starts_with("cannot read a certificate from"));
}

/// What the doctor says of the certificate, and whether all is well.
fn doctor(files: &Files) -> (String, bool) {
    let data = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.env_clear().args(["doctor", "--listen", "127.0.0.1:0", "--data"]).arg(data.path().join("data"));
    command.arg("--tls-cert").arg(files.certificate()).arg("--tls-key").arg(files.key());
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.contains(" certificate: ")).unwrap_or_default();
    (line.to_owned(), output.status.success())
}

#[test]
fn the_doctor_looks_at_the_certificate() {
    let files = Files::new();
    let (line, is_well) = doctor(&files);
    assert!(is_well && line.starts_with("ok ") && line.contains("CN=localhost"), "{line}");
    assert!(line.contains("from 2020-01-01T00:00:00Z to 2090-01-01T00:00:00Z"), "{line}");
    files.issue_for("localhost", 2020, 2021);
    let (line, is_well) = doctor(&files);
    assert!(!is_well && line.starts_with("WRONG") && line.contains("it is over"), "{line}");
    files.issue_for("localhost", 2080, 2081);
    let (line, is_well) = doctor(&files);
    assert!(!is_well && line.contains("it is not valid yet"), "{line}");
    fs::write(files.key(), "").unwrap();
    let (line, is_well) = doctor(&files);
    assert!(!is_well && line.contains("cannot read a private key"), "{line}");
}

#[test]
fn a_server_with_a_certificate_is_asked_for_its_health() {
    let files = Files::new();
    let process = Process::start(Some(&files));
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.env_clear().args(["health", "--listen", &process.address.to_string()]);
    command.arg("--tls-cert").arg(files.certificate()).arg("--tls-key").arg(files.key());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("\"status\":\"ok\""));
}
