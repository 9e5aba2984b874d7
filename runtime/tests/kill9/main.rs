//! A server that is killed with SIGKILL again and again, while real clients talk over a network that breaks.
//!
//! `switchboard serve` runs as a process of its own. Devices of several users talk in one-to-one conversations and in a
//! group, through a proxy that severs connections, leaves them half open, or lets only one direction through. Some
//! devices are cut off in the middle of everything and go on from their SQLite files; classic clients talk too. At the
//! end everything heals, and then it must hold that
//! - nothing acknowledged is lost: it is in the log, at the place that was acknowledged;
//! - nothing is there twice, in the log or at any device;
//! - `one-order`: what each device has been told is the log, in the order of `seq`, without gaps;
//! - each message submitted has one fate.
//!
//! `KILL9_KILLS=100` kills so often, `KILL9_SEED=7` makes other decisions: who says what to whom, when the server and which
//! devices are killed (counted in acknowledged messages), which connections break, and after how many bytes.
//!
//! The devices, the network, and what must hold of them are in `runtime/tests/crowd`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    reason = "a panic is a failed test, and clippy's leave for tests ends at their bodies"
)]

use std::{net::SocketAddr, path::Path, time::Instant};

use crowd::{Crowd, Order, Rng, create_group, harness, variable};
use process::Process;

#[path = "../crowd/mod.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod crowd;
#[path = "../server/process.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod process;

/// Messages that each device says between two kills.
const SAID_PER_ROUND: u32 = 60;
/// Kills in CI.
const KILLS: u64 = 3;

fn serve(data: &Path, listen: &str) -> Process {
    let settings = [
        ("SWITCHBOARD_LIMITS_CONNECTIONS_PER_USER", "1000"),
        ("SWITCHBOARD_TIMEOUTS_REQUEST_TIMEOUT_MS", "3000"),
    ];
    Process::start_on(data, listen, &settings)
}

/// The server is killed under load, after a number of acknowledgements that was drawn before, and started again. In
/// between, and after it, devices are cut off.
fn kill(crowd: &Crowd, rng: &mut Rng, data: &Path, server: Process, address: SocketAddr) -> Process {
    let said = u64::from(SAID_PER_ROUND) * crowd.devices.len() as u64;
    let goal = crowd.ledger.accepted() + rng.between(1, said * 2 / 3);
    let cut_off = rng.below(crowd.devices.len() as u64 + 1) as usize;
    let at = goal.saturating_sub(rng.below(said / 3));
    crowd.say(SAID_PER_ROUND);
    crowd.await_accepted(at);
    if let Some(device) = crowd.devices.get(cut_off) {
        device.order(Order::Crash);
    }
    crowd.await_accepted(goal);
    server.kill();
    serve(data, &address.to_string())
}

#[test]
fn nothing_is_lost_doubled_or_out_of_order_however_often_the_server_is_killed() {
    let (seed, kills) = (variable("KILL9_SEED", 1), variable("KILL9_KILLS", KILLS));
    println!("KILL9_SEED={seed} KILL9_KILLS={kills}");
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir_all(&data).unwrap();
    create_group(&data);

    let mut server = serve(&data, "127.0.0.1:0");
    let address = server.address;
    let crowd = Crowd::start(&data, folder.path(), address, seed);
    let mut rng = Rng::new(seed, 0);
    for round in 1..=kills {
        let begun = Instant::now();
        server = kill(&crowd, &mut rng, &data, server, address);
        println!("kill {round}: {} accepted, {:?}", crowd.ledger.accepted(), begun.elapsed());
    }
    let logs = crowd.healed();
    println!("broken on the way: {}", crowd.proxy.broken());
    crowd.assert_holds(&logs);
    crowd.end();
    drop(server);
}
