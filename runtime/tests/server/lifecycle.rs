//! How the real binary ends, and when it does not begin.

use switchboard::store::{Conversation, Directory};
use tokio::net::TcpStream;

use crate::{
    harness::{Client, TestServer, heartbeat, pong, text, user},
    process::{Process, cannot_serve},
    raw::Raw,
};

const GOING_AWAY: &str = "the server is shutting down; reconnect later";

#[tokio::test]
async fn a_server_whose_log_nobody_reads_any_more_works_and_stops() {
    for signal in ["TERM", "INT"] {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Process::start_unread(folder.path());
        // The log has a line of this, as of all signals.
        process.signal("HUP");
        let mut alice = Client::connect(process.address, "alice").await;
        alice.send(&heartbeat()).await;
        assert_eq!(alice.recv().await, pong());
        process.signal(signal);
        assert_eq!(alice.closed().await, (1001, GOING_AWAY.to_owned()));
        assert!(process.exit().success());
    }
}

#[tokio::test]
async fn a_signal_closes_the_clients_with_1001_and_stores_what_was_accepted() {
    const SENT: u64 = 200;
    for signal in ["TERM", "INT"] {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Process::start(folder.path(), &[("SWITCHBOARD_SHARDS", "2")]);
        let mut alice = Client::connect(process.address, "alice").await;
        let mut bob = Client::connect(process.address, "bob").await;
        for n in 0..SENT {
            alice.send(&text("bob", &n.to_string())).await;
        }
        // The answer tells that the server has taken all that came before; the store is not done with it.
        alice.send(&heartbeat()).await;
        assert_eq!(alice.recv().await, pong());
        process.signal(signal);
        assert_eq!(alice.closed().await, (1001, GOING_AWAY.to_owned()));
        assert_eq!(bob.closed().await, (1001, GOING_AWAY.to_owned()));
        assert!(process.exit().success());
        assert!(TcpStream::connect(process.address).await.is_err(), "nobody listens any more");
        let directory = Directory::open(folder.path()).unwrap();
        let conversation = Conversation::Direct(user("alice"), user("bob"));
        let stored = directory.history(&conversation, 1..=u64::MAX, 1_000).unwrap();
        assert!(
            stored
                .iter()
                .map(|m| (m.seq, m.content.to_string()))
                .eq((0..SENT).map(|n| (n + 1, n.to_string())))
        );
    }
}

#[tokio::test]
async fn a_stopped_server_in_a_program_of_ones_own_ends_in_order() {
    let mut server = TestServer::with_shards(4);
    let mut clients = server.clients(["alice", "bob", "carol", "dave"]).await;
    server.stop();
    for client in &mut clients {
        assert_eq!(client.closed().await, (1001, GOING_AWAY.to_owned()));
    }
    server.ended();
}

/// A client that answers nothing, not even a close.
async fn stalled(process: &Process) -> Raw {
    Raw::welcomed(process.address, "stalled").await
}

#[tokio::test]
async fn a_client_that_does_not_close_is_cut_off_at_its_time_limit() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(folder.path(), &[("SWITCHBOARD_TIMEOUTS_CLOSE_TIMEOUT_MS", "300")]);
    let mut stalled = stalled(&process).await;
    process.signal("TERM");
    assert!(process.exit().success());
    assert_eq!(stalled.close_frame().await, (1001, GOING_AWAY.to_owned()));
}

#[tokio::test]
async fn a_shutdown_ends_at_its_time_limit_whatever_the_clients_do() {
    let folder = tempfile::tempdir().unwrap();
    let settings =
        [("SWITCHBOARD_TIMEOUTS_CLOSE_TIMEOUT_MS", "3600000"), ("SWITCHBOARD_SHUTDOWN_TIMEOUT_MS", "300")];
    let mut process = Process::start(folder.path(), &settings);
    let _stalled = stalled(&process).await;
    process.signal("TERM");
    assert!(process.exit().success());
    process.logs("not all connections could be closed in time");
    process.logs("stopped");
}

#[tokio::test]
async fn a_second_signal_cuts_off() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        ("SWITCHBOARD_TIMEOUTS_CLOSE_TIMEOUT_MS", "3600000"),
        ("SWITCHBOARD_SHUTDOWN_TIMEOUT_MS", "3600000"),
    ];
    let mut process = Process::start(folder.path(), &settings);
    let _stalled = stalled(&process).await;
    process.signal("TERM");
    process.logs("stopping");
    // Those that come right after the first one count as the same.
    assert_eq!(process.exit_when_signalled("INT").code(), Some(1));
    process.logs("cut off by a second signal");
}

#[tokio::test]
async fn a_restarted_server_takes_the_same_port_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = Process::start(folder.path(), &[]);
    let address = first.address;
    let mut alice = Client::connect(address, "alice").await;
    first.signal("TERM");
    assert_eq!(alice.closed().await.0, 1001);
    assert!(first.exit().success());
    // The server closed first, so its end of the connection lingers in TIME_WAIT.
    let again = Process::start_on(folder.path(), &address.to_string(), &[]);
    Client::connect(again.address, "alice").await.has_nothing_more().await;
}

#[test]
fn a_second_server_on_a_data_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _first = Process::start(folder.path(), &[]);
    let output = cannot_serve(folder.path(), "127.0.0.1:0");
    let expected = format!(
        "error: cannot run the server\n  caused by: cannot open the store\n  caused by: the data folder {} is in use \
         by another server: stop that one, or give this one a folder of its own\n",
        folder.path().display()
    );
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
}

#[test]
fn a_port_in_use_is_an_error_that_says_so() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = Process::start(folder.path(), &[]);
    let output = cannot_serve(other.path(), &first.address.to_string());
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    let expected = format!(
        "cannot listen on {}: check that no other program uses the port and that this one may\n  caused by: \
         Address already in use",
        first.address
    );
    assert!(errors.contains(&expected), "{errors}");
}

#[test]
fn a_data_folder_that_is_a_file_is_an_error_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data");
    std::fs::write(&file, "not a folder").unwrap();
    let output = cannot_serve(&file, "127.0.0.1:0");
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    let expected = format!("cannot use the data folder {}: check that it is a folder", file.display());
    assert!(errors.contains(&expected), "{errors}");
}
