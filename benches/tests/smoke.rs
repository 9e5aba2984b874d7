//! Every measurement, small, against a relay of a few lines.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is a failed test, and clippy's leave for tests ends at their bodies"
)]

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use switchboard_benches::direct::{self, DirectOptions, Kind};
use switchboard_benches::idle::{self, IdleOptions};
use switchboard_benches::load::{Pace, Timing};
use switchboard_benches::{BenchError, Process, Progress, Settings, Target};
use switchboard_proto::{Message as _, classic};
use tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tungstenite::protocol::{CloseFrame, Role};
use tungstenite::{Message, WebSocket};

/// How the relay treats its clients.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// It relays every message to whom it names.
    Relays,
    /// It relays every message twice.
    Repeats,
    /// It takes messages and relays none.
    Swallows,
    /// It closes at the first message.
    Closes,
    /// It accepts connections and never says a word.
    Silent,
}

type Writers = Arc<Mutex<HashMap<String, Arc<Mutex<WebSocket<TcpStream>>>>>>;
type Seen = Arc<Mutex<Vec<Vec<u8>>>>;

/// Starts a relay on a thread of its own; it lasts as long as the test's process. Gives its address, and what
/// was sent through it.
fn relay(manner: Manner) -> (SocketAddr, Seen) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (writers, seen) = (Writers::default(), Seen::default());
    let also_seen = Arc::clone(&seen);
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for stream in listener.incoming().map(Result::unwrap) {
            if manner == Manner::Silent {
                silent.push(stream);
                continue;
            }
            let (writers, seen) = (Arc::clone(&writers), Arc::clone(&also_seen));
            std::thread::spawn(move || serve(stream, manner, &writers, &seen));
        }
    });
    (address, seen)
}

// The type of the answer is tungstenite's.
#[allow(clippy::result_large_err)]
fn serve(stream: TcpStream, manner: Manner, writers: &Writers, seen: &Seen) {
    let writing = stream.try_clone().unwrap();
    let mut user = String::new();
    let take_user = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        assert_eq!(request.uri().path(), "/socket.io");
        user = request.uri().query().unwrap().strip_prefix("user=").unwrap().to_owned();
        Ok(response)
    };
    let Ok(mut socket) = tungstenite::accept_hdr(stream, take_user) else { return };
    let writer = Arc::new(Mutex::new(WebSocket::from_raw_socket(writing, Role::Server, None)));
    writers.lock().unwrap().insert(user, Arc::clone(&writer));
    let _ = writer.lock().unwrap().send(Message::binary(&b"welcome"[..]));
    // A client that is asked must answer, and what is no message must not be counted.
    let _ = writer.lock().unwrap().send(Message::Ping("are you there?".into()));
    while let Ok(message) = socket.read() {
        let Message::Binary(payload) = message else { continue };
        seen.lock().unwrap().push(payload.to_vec());
        let to = classic::Message::decode(&payload[..]).unwrap().to;
        let times = match manner {
            Manner::Relays => 1,
            Manner::Repeats => 2,
            Manner::Swallows | Manner::Silent => 0,
            Manner::Closes => {
                let close = CloseFrame { code: 1008.into(), reason: "enough".into() };
                let _ = socket.close(Some(close));
                let _ = socket.flush();
                return;
            }
        };
        let partner = writers.lock().unwrap().get(&to).cloned();
        for _ in 0..times {
            // The run may be over: then the partner is gone.
            let _ = partner.as_ref().unwrap().lock().unwrap().send(Message::Binary(payload.clone()));
        }
    }
}

fn timing() -> Timing {
    let (warmup, duration) = (Duration::from_millis(20), Duration::from_millis(500));
    Timing { warmup, duration, ..Timing::default() }
}

fn direct_options() -> DirectOptions {
    DirectOptions { clients: 8, pace: Pace::InFlight(4), timing: timing(), ..DirectOptions::default() }
}

/// Measures the relay, which lives in this process.
fn run(manner: Manner, options: &DirectOptions) -> Result<direct::DirectReport, BenchError> {
    let target = Target::running(relay(manner).0, Some(Process::this()?))?;
    direct::run(options, &target, &mut Progress::silent())
}

#[test]
fn a_closed_loop_delivers_all_it_sends() {
    let report = run(Manner::Relays, &direct_options()).unwrap();
    assert_eq!(report.load.shortfalls, [""; 0]);
    assert!(report.load.delivered > 0);
    assert_eq!((report.load.clients_ready, report.load.undelivered, report.load.unexpected), (8, 0, 0));
    assert!(report.load.latency.p50_us > 0.0 && report.load.latency.p50_us <= report.load.latency.max_us);
    assert!(report.load.server.unwrap().rss_kib_after > 0);
    let text = report.to_string();
    assert!(
        text.starts_with("direct, relay: 8 clients, 128 bytes, closed loop, 4 in flight each\n"),
        "{text}"
    );
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["delivered"], report.load.delivered);
    assert_eq!(json["options"]["kind"], "relay");
}

#[test]
fn an_open_loop_delivers_all_it_sends() {
    let options = DirectOptions { pace: Pace::PerSecond(500), ..direct_options() };
    let report = run(Manner::Relays, &options).unwrap();
    assert!(report.load.delivered > 0);
    assert_eq!((report.load.undelivered, report.load.unexpected), (0, 0));
}

#[test]
fn messages_are_of_their_kind_and_size_and_from_one_neighbour_to_the_other() {
    for (kind, content_type, message_type) in [(Kind::Relay, 7, 0), (Kind::Stored, 1, 1)] {
        let (address, seen) = relay(Manner::Relays);
        let options = DirectOptions { kind, clients: 2, payload_bytes: 300, ..direct_options() };
        let target = Target::running(address, None).unwrap();
        let report = direct::run(&options, &target, &mut Progress::silent()).unwrap();
        assert_eq!(report.load.server, None);
        let seen = seen.lock().unwrap();
        let first = seen.first().unwrap();
        assert_eq!(first.len(), 300);
        let message = classic::Message::decode(&first[..]).unwrap();
        assert_eq!((message.content_type, message.message_type), (content_type, message_type));
        let mut pair = [message.from.as_str(), message.to.as_str()];
        pair.sort_unstable();
        assert_eq!(pair, ["bench-000000", "bench-000001"]);
    }
}

#[test]
fn what_is_not_delivered_is_reported() {
    let report = run(Manner::Swallows, &direct_options()).unwrap();
    assert_eq!((report.load.delivered, report.load.undelivered), (0, 32));
    let expected =
        ["no message was delivered in the measured time", "32 messages had not come 3 s after the end"];
    assert_eq!(report.load.shortfalls, expected);
    assert!(report.to_string().contains("FELL SHORT"));
}

#[test]
fn what_was_not_sent_is_reported() {
    let report = run(Manner::Repeats, &direct_options()).unwrap();
    assert!(report.load.unexpected > 0);
    assert!(report.load.shortfalls.iter().any(|line| line.ends_with("messages came that were not sent")));
}

#[test]
fn a_close_by_the_server_is_reported_in_its_own_words() {
    let report = run(Manner::Closes, &direct_options()).unwrap();
    let found = report.load.shortfalls.iter().any(|line| line.contains("the server closed: 1008 enough"));
    assert!(found, "{:?}", report.load.shortfalls);
}

#[test]
fn idle_connections_are_opened_counted_and_weighed() {
    let target = Target::running(relay(Manner::Relays).0, Some(Process::this().unwrap())).unwrap();
    let settle = vec![Duration::from_millis(20), Duration::from_millis(50)];
    let options = IdleOptions { connections: 40, settle, ..IdleOptions::default() };
    let report = idle::run(&options, &[target], &mut Progress::silent()).unwrap();
    assert_eq!(report.shortfalls, [""; 0]);
    assert_eq!((report.open, report.settled.len()), (40, 2));
    assert!(report.kib_per_connection.is_some());
    assert_eq!(report.kib_per_connection, report.settled[1].kib_per_connection);
    assert!(report.to_string().starts_with("idle, classic: 40 connections"));
}

#[test]
fn a_server_that_says_nothing_is_given_up_in_time() {
    let options = DirectOptions {
        timing: Timing { connect_limit: Duration::from_millis(100), ..timing() },
        ..direct_options()
    };
    let error = run(Manner::Silent, &options).unwrap_err();
    assert!(matches!(error, BenchError::NobodyConnected { .. }), "{error}");
}

#[test]
fn a_server_that_is_not_there_is_named() {
    // Bound, so that nobody else gets the port, and never listening.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let free = socket.local_addr().unwrap().as_socket().unwrap();
    let target = Target::running(free, None).unwrap();
    let error = direct::run(&direct_options(), &target, &mut Progress::silent()).unwrap_err().to_string();
    assert!(error.contains(&free.to_string()) && error.contains("refused"), "{error}");
}

#[test]
fn only_this_machine_is_a_target() {
    for address in ["192.0.2.1:80", "[2001:db8::1]:80", "0.0.0.0:80"] {
        let refused = Target::running(address.parse().unwrap(), None);
        assert!(matches!(refused, Err(BenchError::NotLoopback(_))), "{address}");
    }
    assert!(Target::running("[::1]:80".parse().unwrap(), None).is_ok());
}

#[test]
fn options_that_cannot_be_are_refused_by_name() {
    for (options, name) in [
        (DirectOptions { clients: 3, ..direct_options() }, "--clients"),
        (DirectOptions { pace: Pace::InFlight(0), ..direct_options() }, "--in-flight"),
        (DirectOptions { clients: 10_000, pace: Pace::InFlight(10_000), ..direct_options() }, "--in-flight"),
        (DirectOptions { pace: Pace::PerSecond(0), ..direct_options() }, "--rate"),
        (DirectOptions { pace: Pace::PerSecond(u64::MAX), ..direct_options() }, "--rate"),
        (DirectOptions { clients: 0, ..direct_options() }, "--clients"),
        (DirectOptions { payload_bytes: usize::MAX, ..direct_options() }, "--payload-bytes"),
        (
            DirectOptions { timing: Timing { duration: Duration::ZERO, ..timing() }, ..direct_options() },
            "--seconds",
        ),
    ] {
        let error = run(Manner::Relays, &options).unwrap_err().to_string();
        assert!(error.starts_with(name), "{error}");
    }
}

#[test]
fn more_connections_than_open_files_are_refused() {
    let options = DirectOptions { clients: 1 << 40, pace: Pace::PerSecond(1), ..direct_options() };
    let error = run(Manner::Relays, &options).unwrap_err();
    assert!(matches!(error, BenchError::OpenFiles { .. }), "{error}");
    let options = IdleOptions { connections: usize::MAX, ..IdleOptions::default() };
    let target = Target::running(relay(Manner::Relays).0, None).unwrap();
    let error = idle::run(&options, &[target], &mut Progress::silent()).unwrap_err().to_string();
    assert_eq!(error, "--connections must be between 1 and 400000");
}

#[test]
fn a_program_that_is_missing_or_ends_is_no_server() {
    let settings = Settings::default();
    let missing = Target::started(Path::new("no/such/program"), &settings).unwrap_err();
    assert!(matches!(missing, BenchError::Start { .. }), "{missing}");
    let ends = Target::started(Path::new("/bin/false"), &settings).unwrap_err().to_string();
    assert!(ends.contains("it ended with exit status: 1"), "{ends}");
}
