//! Faults that seeds have found in the model of the original server, shrunk: the original fails, and under the very
//! same schedule the shipped engine holds.

use std::{fs, path::Path};

use switchboard_sim::{
    runner::execute_caught,
    schedule::Schedule,
    world::{Options, Target},
};

/// Each schedule of the folder, and how the original fails in it.
const KEPT: &[(&str, &str)] = &[
    ("reconnection-ends-the-process", "crash: close of closed channel"),
    (
        "reconnection-is-thrown-out",
        "delivery: c# (u#) does not hear the direct message m#.#, and an older connection of its user has ended",
    ),
    ("broadcast-throws-out-the-busy", "isolation: c# (u#) is thrown out without a word"),
    ("two-writers-end-the-process", "crash: concurrent write to websocket connection"),
    ("stalled-reader-ends-the-process", "crash: concurrent write to websocket connection"),
    ("two-writers-tear-a-frame", "no-spoof: c# (u#) hears bytes that nobody has sent"),
    (
        "stale-close-removes-the-newer-session",
        "delivery: c# (u#) does not hear the direct message m#.#, and an older connection of its user has ended",
    ),
    (
        "second-login-makes-the-first-deaf",
        "delivery: c# (u#) does not hear the addressed signal m#.#, and its user has connected again since",
    ),
    (
        "one-who-does-not-read-freezes-everybody",
        "isolation: c# (u#) does not hear the direct message m#.#, while somebody does not read",
    ),
    ("short-frame-ends-the-process", "crash: slice bounds out of range"),
    ("garbage-reaches-everybody", "no-leak: c# (u#) hears garbage that somebody has sent"),
    ("call-signal-reaches-everybody", "no-leak: c# (u#) hears the call's signal m#.#, which is not for it"),
    (
        "from-is-believed",
        "no-spoof: c# (u#) hears the direct message m#.# under another name than the sender's",
    ),
    ("from-is-believed-by-the-store", "no-spoof: m#.# is kept as said by u#, and u# said it"),
    (
        "membership-is-not-checked",
        "no-leak: c# (u#) hears the group message m#.# of somebody who is no member",
    ),
    (
        "failed-save-is-delivered",
        "accepted-is-durable: c# (u#) hears the direct message m#.#, which no log has",
    ),
    (
        "absent-sender-leaves-no-trace",
        "accepted-is-durable: c# (u#) hears the direct message m#.#, which no log has",
    ),
    ("slow-store-stops-everything", "delivery: c# (u#) does not hear the addressed signal m#.#"),
    ("photo-is-lost-on-other-nodes", "no-spoof: c# (u#) hears the group message m#.# without its file"),
    (
        "sender-on-two-nodes-is-stored-twice",
        "exactly-once: m#.# is committed # times, and was received # times",
    ),
    (
        "file-message-loses-its-text",
        "no-spoof: c# (u#) hears the direct message m#.# otherwise than it was said",
    ),
];

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions/original")
}

fn kept(name: &str) -> Schedule {
    fs::read_to_string(folder().join(name).with_extension("schedule")).unwrap().parse().unwrap()
}

#[test]
fn the_original_fails_in_the_way_that_each_schedule_is_named_for() {
    for (name, fault) in KEPT {
        let options = Options { target: Target::Original, ..Options::default() };
        let violation = execute_caught(&kept(name), options).violation;
        assert_eq!(violation.map(|violation| violation.fault()).as_deref(), Some(*fault), "{name}");
    }
}

#[test]
fn the_shipped_engine_holds_under_every_schedule_that_breaks_the_original() {
    for (name, _) in KEPT {
        let options = Options { sweep_every: 1, ..Options::default() };
        assert_eq!(execute_caught(&kept(name), options).violation, None, "{name}");
    }
}

#[test]
fn every_schedule_of_the_folder_is_replayed() {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<_> =
        files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    let mut expected: Vec<_> = KEPT.iter().map(|(name, _)| (*name).to_owned()).collect();
    names.sort();
    expected.sort();
    assert_eq!(names, expected);
}
