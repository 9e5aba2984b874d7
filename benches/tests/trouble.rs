//! Loads that cannot be carried: what fell short is said, and every run ends by itself.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: a panic is a failed test, and clippy's leave for tests ends at their bodies"
)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use switchboard_benches::broadcast::{self, BroadcastOptions};
use switchboard_benches::crew::Processes;
use switchboard_benches::direct::{self, DirectOptions};
use switchboard_benches::group::{self, GroupOptions};
use switchboard_benches::idle::{self, IdleOptions};
use switchboard_benches::load::{Pace, Timing};
use switchboard_benches::storm::{self, StormOptions};
use switchboard_benches::{BenchError, Process, Progress, Target};
use switchboard_floor::{Repeater, Route};

/// An hour: whoever waits for the end of the time does not see it.
const HOUR: Duration = Duration::from_secs(3600);

fn timing(duration: Duration) -> Timing {
    let (connect_limit, warmup) = (Duration::from_secs(30), Duration::from_millis(10));
    Timing { connect_limit, warmup, duration }
}

/// This test's program once more, as a repeater in a process of its own.
struct Floor {
    child: Child,
    address: SocketAddr,
}

impl Floor {
    fn start(route: Route) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = port.local_addr().unwrap();
        drop(port);
        let mut program = Command::new(std::env::current_exe().unwrap());
        if route == Route::Pairs {
            program.env("PAIRS", "");
        }
        let child = program
            .args(["--ignored", "--exact", "a_repeater"])
            .env("REPEATER", address.to_string())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        while TcpStream::connect(address).is_err() {
            thread::sleep(Duration::from_millis(5));
        }
        Self { child, address }
    }

    fn target(&self) -> Target {
        let pid = i32::try_from(self.child.id()).unwrap();
        Target::running(self.address, Some(Process::new(pid).unwrap())).unwrap()
    }

    /// Sends a signal once so many connections are open: then the load has begun, or will at once.
    fn meets(&self, signal: Signal, connections: usize) {
        let pid = i32::try_from(self.child.id()).unwrap();
        let process = procfs::process::Process::new(pid).unwrap();
        thread::spawn(move || {
            while process.fd_count().unwrap() < connections {
                thread::sleep(Duration::from_millis(5));
            }
            // Whenever it comes, what is tested holds; after this the load is mostly under way.
            thread::sleep(Duration::from_millis(300));
            kill(Pid::from_raw(pid), signal).unwrap();
        });
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test: what [`Floor`] runs.
#[test]
#[ignore = "it is run by the others"]
fn a_repeater() {
    let Ok(address) = std::env::var("REPEATER") else { return };
    let route = if std::env::var("PAIRS").is_ok() { Route::Pairs } else { Route::All };
    let Err(error) = Repeater::bind(address.parse().unwrap(), route).unwrap().run();
    panic!("{error}");
}

#[test]
fn a_server_that_is_killed_ends_the_load_and_is_named() {
    let floor = Floor::start(Route::All);
    floor.meets(Signal::SIGKILL, 10);
    let options = BroadcastOptions { clients: 10, timing: timing(HOUR), ..BroadcastOptions::default() };
    let report = broadcast::run(&options, &floor.target(), &mut Progress::silent()).unwrap();
    let shortfalls = report.load.shortfalls;
    assert_eq!(shortfalls[0], "the server does not answer: it was ended by signal 9");
    assert!(shortfalls[1].starts_with("broken off after "), "{shortfalls:?}");
    assert!(shortfalls[1].ends_with("no sender is connected any more"), "{shortfalls:?}");
}

/// Ten seconds are the load's patience.
fn meets_a_stop(pace: Pace) {
    let floor = Floor::start(Route::All);
    floor.meets(Signal::SIGSTOP, 10);
    let options = BroadcastOptions { clients: 10, pace, timing: timing(HOUR), ..BroadcastOptions::default() };
    let report = broadcast::run(&options, &floor.target(), &mut Progress::silent()).unwrap();
    let shortfalls = report.load.shortfalls;
    assert_eq!(shortfalls[0], "the server does not answer: it is stopped");
    assert!(shortfalls[1].ends_with("nothing has come for 10 s"), "{shortfalls:?}");
}

#[test]
fn a_server_that_is_stopped_ends_a_closed_loop_and_is_named() {
    meets_a_stop(Pace::InFlight(4));
}

#[test]
fn a_server_that_is_stopped_ends_an_open_loop_and_is_named() {
    meets_a_stop(Pace::PerSecond(1000));
}

#[test]
fn a_rate_that_nothing_can_carry_is_said_and_fills_no_memory() {
    let floor = Floor::start(Route::All);
    let (pace, timing) = (Pace::PerSecond(10_000_000), timing(Duration::from_millis(300)));
    let options = BroadcastOptions { clients: 50, pace, timing, ..BroadcastOptions::default() };
    let report = broadcast::run(&options, &floor.target(), &mut Progress::silent()).unwrap();
    let late = report.load.late.join("; ");
    assert!(late.contains(" is too slow: ") && late.contains(" asked for"), "{late}");
}

#[test]
fn a_storm_over_a_server_that_dies_ends_and_says_so() {
    let floor = Floor::start(Route::Pairs);
    floor.meets(Signal::SIGKILL, 30);
    let connect_limit = Duration::from_secs(2);
    let options = StormOptions { clients: 30, staying: 2, connect_limit, ..StormOptions::default() };
    match storm::run(&options, &[floor.target()], &mut Progress::silent()) {
        Ok(report) => {
            let shortfalls = report.shortfalls;
            assert_eq!(shortfalls[0], "the server does not answer: it was ended by signal 9");
        }
        Err(error) => assert!(matches!(error, BenchError::NobodyConnected { .. }), "{error}"),
    }
}

/// Accepts everybody, and says this again and again, or nothing.
fn babbler(says: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                while stream.write_all(says).is_ok() {
                    if says.is_empty() {
                        thread::park();
                    }
                }
            });
        }
    });
    address
}

#[test]
fn a_server_that_never_stops_talking_is_given_up_like_one_that_never_talks() {
    for says in [&b""[..], b"HTTP/1.1 101 ", b"\0\0\0\0\r\n"] {
        let target = Target::running(babbler(says), None).unwrap();
        let timing = Timing { connect_limit: Duration::from_millis(300), ..timing(HOUR) };
        let options = DirectOptions { clients: 4, timing, ..DirectOptions::default() };
        let error = direct::run(&options, &target, &mut Progress::silent()).unwrap_err();
        assert!(matches!(error, BenchError::NobodyConnected { .. }), "{error}");
    }
}

/// Greets everybody, and then sends messages without end that nobody has asked for.
#[test]
fn a_flood_keeps_no_load_from_its_end() {
    const GREETING: &str =
        "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let target = Target::running(listener.local_addr().unwrap(), None).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(GREETING.as_bytes());
                let flood = [0x82, 3, 1, 2, 3].repeat(50_000);
                while stream.write_all(&flood).is_ok() {}
            });
        }
    });
    let timing = timing(Duration::from_millis(300));
    let options = DirectOptions { clients: 2, pace: Pace::InFlight(1), timing, ..DirectOptions::default() };
    let report = direct::run(&options, &target, &mut Progress::silent()).unwrap();
    assert!(report.load.unexpected > 0);
    // Groups are made by a session, which waits for its answer and gets none.
    let options = GroupOptions { groups: 1, members: 2, timing, ..GroupOptions::default() };
    assert!(group::run(&options, &target, &mut Progress::silent()).is_err());
}

/// The generator, as it is built.
fn processes(connections_each: usize) -> Processes {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_switchboard-bench"));
    Processes { program: Some(program), connections_each: Some(connections_each) }
}

#[test]
fn connections_are_dealt_out_to_processes_and_servers() {
    let floors = [Floor::start(Route::Pairs), Floor::start(Route::Pairs)];
    let targets: Vec<Target> = floors.iter().map(Floor::target).collect();
    let settle = vec![Duration::from_millis(10)];
    let options = IdleOptions { connections: 50, settle, processes: processes(20), ..IdleOptions::default() };
    let report = idle::run(&options, &targets, &mut Progress::silent()).unwrap();
    assert_eq!(report.shortfalls, [""; 0]);
    assert_eq!((report.open, report.servers, report.generator_processes), (50, 2, 3));
    assert!(report.kib_per_connection.is_some());
    assert!(report.to_string().contains("2 of servers, 3 of the generator"), "{report}");

    let options = StormOptions {
        clients: 50,
        staying: 2,
        rate_per_second: 100,
        processes: processes(20),
        ..StormOptions::default()
    };
    let report = storm::run(&options, &targets, &mut Progress::silent()).unwrap();
    assert_eq!(report.shortfalls, [""; 0]);
    assert_eq!((report.welcomed, report.servers, report.generator_processes), (50, 2, 3));
}

#[test]
fn what_fell_short_in_other_processes_is_told_here() {
    let floor = Floor::start(Route::All);
    // Half of the connections go where nobody says a word.
    let targets = [floor.target(), Target::running(babbler(b""), None).unwrap()];
    let options = IdleOptions {
        connections: 40,
        settle: vec![Duration::ZERO],
        connect_limit: Duration::from_millis(500),
        processes: processes(10),
        ..IdleOptions::default()
    };
    let report = idle::run(&options, &targets, &mut Progress::silent()).unwrap();
    assert_eq!(report.open, 20);
    let shortfalls = report.shortfalls;
    assert_eq!(shortfalls[0], "20 of 40 connections are open");
    assert_eq!(shortfalls.last().unwrap(), "20 clients: no answer in time");
}

#[test]
fn a_process_of_the_generator_that_is_none_is_reported() {
    for program in ["/bin/true", "/bin/cat"] {
        let floor = Floor::start(Route::All);
        let program = Some(Path::new(program).to_owned());
        let processes = Processes { program, connections_each: Some(10) };
        let options = IdleOptions { connections: 20, processes, ..IdleOptions::default() };
        let began = Instant::now();
        let error = idle::run(&options, &[floor.target()], &mut Progress::silent()).unwrap_err();
        let is_named = matches!(error, BenchError::Crew { .. } | BenchError::Io { .. });
        assert!(is_named && began.elapsed() < HOUR, "{error}");
    }
}
