//! Endurance: a real server through everything that happens to real servers, for a minute or for hours.
//!
//! `switchboard serve` records what its engines are told, with its database, files and recordings on a small disk. People talk
//! through a network that breaks (`runtime/tests/crowd`), in rounds; in each something else happens to the server (`fault`), in
//! an order that the seed decides. In the first half of the time it is killed and stopped, too; through the second half
//! one process lives. After each round the network is well again, and it must hold that
//! - nothing acknowledged is lost: it is in the log, at the place that was acknowledged, once, in the same order at everybody;
//! - no client hangs: everything submitted has its fate, and everybody knows every log to its end;
//! - when all have left, no connection and no work is left in the server, half-open connections included;
//! - of a process that lives, memory and open files come back to what they were in the first half of its life;
//! - what was recorded of every process, up to where it was killed, replays in the simulator identically, and all of its checks
//!   hold (`replays`).
//!
//! `SOAK_SECONDS=36000 SOAK_SEED=7 cargo test -p switchboard --test soak` goes on for ten hours, in worlds of `SOAK_WORLD_SECONDS` (half
//! an hour), as what is checked is all that was ever said in a world. Waits are bounded, and say what they waited for.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    reason = "a panic is a failed test, and clippy's leave for tests ends at their bodies"
)]

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use crowd::{harness, variable};
use summary::Summary;
use world::World;

#[path = "../crowd/mod.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod crowd;
mod fault;
mod figures;
mod ground;
#[path = "../server/process.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod process;
mod replays;
mod summary;
mod uploads;
mod world;

/// In CI; each fault comes once in any case.
const SECONDS: u64 = 40;

/// All that is said in a world is checked after each of its rounds.
const WORLD_SECONDS: u64 = 1_800;

/// Says how it goes, to who waits for it, also where tests are not shown what they print.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "soak: {text}");
}

#[test]
fn a_server_holds_what_it_promises_through_every_fault() {
    let (seed, seconds) = (variable("SOAK_SEED", 1), variable("SOAK_SECONDS", SECONDS));
    let world_seconds = variable("SOAK_WORLD_SECONDS", WORLD_SECONDS).max(1);
    say(&format!("SOAK_SEED={seed} SOAK_SECONDS={seconds} SOAK_WORLD_SECONDS={world_seconds}"));
    let begun = Instant::now();
    let mut summary = Summary::default();
    let mut number = 0;
    while number == 0 || begun.elapsed() < Duration::from_secs(seconds) {
        let left = seconds.saturating_sub(begun.elapsed().as_secs()).min(world_seconds);
        // The same as the first world of another run.
        let world = World::begin(seed + number, &mut summary);
        world.live(Duration::from_secs(left));
        number += 1;
    }
    say(&format!("{number} worlds, {:.0} s\n{summary}", begun.elapsed().as_secs_f64()));
}
