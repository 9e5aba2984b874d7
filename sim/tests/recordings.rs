//! What a server was told is told to another one: the same comes of it, or it is said where not; a bug that was recorded is found and
//! made small.
#![allow(
    clippy::unwrap_used,
    reason = "a panic is a failed test, and clippy's leave for tests ends at their bodies"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use switchboard_engine::{
    Action, Answer, Canary, ConnId, Event, Protocol, Request, Server, Shipped, UserId,
    recording::{
        ActionDigest, BUILD, Digests, Encoder, Header, State, Step,
        file::{HEAD_BYTES, Kind, MAGIC, PREFIX_BYTES},
    },
};
use switchboard_proto::{
    Message as _,
    v1::{ClientFrame, Hello, client_frame},
};
use switchboard_sim::canaries::Planted;
use switchboard_sim::generate::{PROFILES, generate};
use switchboard_sim::recording::{
    accept::accept,
    file::{ReadError, Reader},
    files::Recording,
    record,
    replay::{Options, ReplayError, Report, Until, replay},
    write::Writer,
};
use switchboard_sim::script::{
    Script,
    from::cut,
    run::run,
    rust,
    shrink::{Trial, shrink},
};
use switchboard_sim::world;

fn recorded(seed: u64, profile: &str, bug: Option<Canary>, which: u32) -> Option<Vec<u8>> {
    let schedule = generate(seed, profile).unwrap();
    record(&schedule, world::Options::default(), bug, which).1
}

/// A folder with a file in it.
fn kept(file: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("engine.swr");
    fs::write(&path, file).unwrap();
    (folder, path)
}

fn one(path: &Path) -> Recording {
    let mut recordings = Recording::open(&[path.to_owned()]).unwrap();
    assert_eq!(recordings.len(), 1);
    recordings.remove(0)
}

fn replayed(path: &Path, bug: Option<Canary>, options: &Options) -> Report {
    replay(&mut one(path), &Planted(bug), options, |_| {}).unwrap()
}

fn assert_identical(report: &Report, what: &str) {
    assert!(report.differences.is_empty(), "{what}: {:?}", report.differences);
    assert!(report.violation.is_none(), "{what}: {:?}", report.violation);
    assert!(report.damage.is_none(), "{what}: {:?}", report.damage);
    assert_eq!(report.differing, 0, "{what}");
}

#[test]
fn what_servers_of_all_worlds_were_told_replays_to_the_same_and_holds() {
    let mut steps = 0;
    for (profile, _) in PROFILES.iter().filter(|(profile, _)| !profile.starts_with("bench")) {
        for seed in 0..12 {
            let Some(file) = recorded(seed, profile, None, (seed % 3) as u32) else { continue };
            let (_folder, path) = kept(&file);
            let report = replayed(&path, None, &Options { sweep_every: Some(1), ..Options::default() });
            assert_identical(&report, &format!("seed {seed} of {profile}"));
            assert!(report.has_ended && report.is_same_build);
            steps += report.steps;
        }
    }
    assert!(steps > 10_000, "{steps} steps are few");
}

/// A bug of which this seed's recording differs from what the engine without it does.
const WITH_BUG: (u64, &str, Canary) = (0, "small", Canary::WelcomeBeforeLoad);

#[test]
fn the_first_step_that_leads_to_something_else_is_named_with_both_sides() {
    let (seed, profile, bug) = WITH_BUG;
    let (_folder, path) = kept(&recorded(seed, profile, Some(bug), 0).unwrap());
    assert_eq!(replayed(&path, Some(bug), &Options::default()).differing, 0, "with the bug it is the same");
    let report = replayed(&path, None, &Options::default());
    assert_eq!(report.differing, 1, "it stops there");
    let difference = &report.differences[0];
    assert!(difference.told.contains("connects"), "{difference:?}");
    assert!(difference.recorded.starts_with("actions with the digest"), "{difference:?}");
    assert!(difference.now.iter().any(|action| action.contains("asks the store")), "{difference:?}");
    assert!(!difference.now.iter().any(|action| action.contains("welcome")), "{difference:?}");
}

/// The same steps of an engine with another seed.
fn with_other_seed(file: &[u8]) -> Vec<u8> {
    let (_folder, path) = kept(file);
    let mut reader = Reader::open(&path).unwrap();
    let header = reader.header().clone();
    let mut writer = Writer::new(&Header { seed: !header.seed, ..header.clone() });
    let mut encoder = Encoder::new(header.started_at);
    while let Some(placed) = reader.next_step().unwrap() {
        match placed.step {
            Step::Event(event) => encoder.event(placed.at, &event),
            Step::Timeout => encoder.timeout(placed.at),
            Step::Acted(acted) => encoder.acted(acted),
            Step::Digests(digests) => encoder.digests(digests),
        }
    }
    writer.steps(&mut encoder);
    writer.end()
}

#[test]
fn all_steps_that_lead_to_something_else_are_counted_if_that_is_wanted() {
    let (_folder, path) = kept(&with_other_seed(&recorded(3, "calm", None, 0).unwrap()));
    let first = replayed(&path, None, &Options::default());
    assert_eq!((first.differing, first.differences.len()), (1, 1));
    let all = replayed(&path, None, &Options { all_differences: true, differences: 3, ..Options::default() });
    assert!(all.differing > 3 && all.differences.len() == 3, "{} differ", all.differing);
    assert_eq!(all.differences[0], first.differences[0]);
}

#[test]
fn a_replay_stops_where_it_is_told_to() {
    let (_folder, path) = kept(&recorded(3, "calm", None, 0).unwrap());
    let all = replayed(&path, None, &Options::default());
    let until = |until| replayed(&path, None, &Options { until: Some(until), ..Options::default() }).steps;
    assert_eq!(until(Until::Step(5)), 5);
    let half = until(Until::Time(all.recorded / 2));
    assert!(0 < half && half < all.steps, "{half} of {}", all.steps);
    assert_eq!("12".parse(), Ok(Until::Step(12)));
    assert_eq!("1.5s".parse(), Ok(Until::Time(Duration::from_millis(1500))));
    assert_eq!("250ms".parse(), Ok(Until::Time(Duration::from_millis(250))));
    assert!("soon".parse::<Until>().unwrap_err().contains("1.5s"));
}

#[test]
fn of_a_file_that_is_cut_off_or_damaged_everything_before_is_replayed() {
    let file = recorded(3, "calm", None, 0).unwrap();
    let (_folder, path) = kept(&file);
    let whole = replayed(&path, None, &Options::default());
    let ends = HEAD_BYTES;
    for (name, damage) in [
        ("cut", file[..file.len() - ends - 1].to_vec()),
        ("damaged", {
            let mut file = file.clone();
            let at = file.len() - ends - 1;
            file[at] ^= 1;
            file
        }),
    ] {
        let (_folder, path) = kept(&damage);
        let report = replayed(&path, None, &Options::default());
        assert!(report.steps < whole.steps && report.differing == 0 && report.violation.is_none(), "{name}");
        let error = report.damage.unwrap();
        assert!(matches!(error, ReadError::File { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("engine.swr: at byte ") && !text.contains("byte 0"), "{text}");
    }
}

#[test]
fn what_is_no_recording_is_told_apart_and_named() {
    let file = recorded(3, "calm", None, 0).unwrap();
    let error = |bytes: &[u8]| {
        let (_folder, path) = kept(bytes);
        Reader::open(&path).map(|_| ()).unwrap_err().to_string()
    };
    assert!(error(b"").ends_with("engine.swr: at byte 0: this is no recording of a server"));
    assert!(error(b"switchboard-schedule 1").ends_with("this is no recording of a server"));
    assert!(error(&file[..PREFIX_BYTES - 1]).contains("at byte 0: the file ends within a block"));
    assert!(error(&file[..PREFIX_BYTES]).ends_with("at byte 12: nothing follows"));
    let mut newer = file;
    newer[8] = 9;
    assert!(error(&newer).contains("a newer version has written this, in format 9"));
    let empty = tempfile::tempdir().unwrap();
    let error = Recording::open(&[empty.path().to_owned()]).unwrap_err();
    assert!(error.to_string().starts_with("there is no recording of a server in "));
    let missing = Recording::open(&[empty.path().join("none")]).unwrap_err().to_string();
    assert!(missing.starts_with("reading ") && missing.contains("none"), "{missing}");
}

/// The same recording in two files, cut behind so many steps.
fn in_two_files(file: &[u8], steps: u64, build: &str) -> (tempfile::TempDir, [PathBuf; 2]) {
    let (folder, path) = kept(file);
    let mut reader = Reader::open(&path).unwrap();
    let header = reader.header().clone();
    let mut server = Server::new(header.config.clone(), header.seed, header.started_at);
    let (mut writer, mut encoder) = (Writer::new(&header), Encoder::new(header.started_at));
    let (mut told, mut files, mut digest) = (0, Vec::new(), ActionDigest::default());
    while let Some(placed) = reader.next_step().unwrap() {
        let is_told = matches!(placed.step, Step::Event(_) | Step::Timeout);
        if is_told && told == steps {
            digest = ActionDigest::default();
            writer.steps(&mut encoder);
            files.push(writer.end());
            let bytes = server.snapshot().unwrap();
            writer = Writer::new(&Header { part: 1, started_at: placed.at, ..header.clone() });
            writer.block(Kind::State, State { build, bytes: &bytes }.encode());
            encoder = Encoder::new(placed.at);
        }
        match placed.step {
            Step::Event(event) => {
                encoder.event(placed.at, &event);
                server.handle(placed.at, event);
                told += 1;
            }
            Step::Timeout => {
                encoder.timeout(placed.at);
                server.handle_timeout(placed.at);
                told += 1;
            }
            // Each file's are of what is in it.
            Step::Digests(_) => {
                let actions = core::mem::take(&mut digest).finish();
                encoder.digests(Digests { actions, state: server.full_digest() });
            }
            Step::Acted(acted) => encoder.acted(acted),
        }
        while let Some(action) = server.poll_action() {
            digest.add(&action);
        }
        if is_told {
            digest.end_step();
        }
    }
    writer.steps(&mut encoder);
    files.push(writer.end());
    fs::remove_file(path).unwrap();
    let paths = [folder.path().join("0.swr"), folder.path().join("1.swr")];
    paths.iter().zip(&files).for_each(|(path, file)| fs::write(path, file).unwrap());
    (folder, paths)
}

#[test]
fn the_files_of_an_engine_are_one_recording_and_each_can_begin_it() {
    let file = recorded(3, "calm", None, 0).unwrap();
    let (folder, [first, second]) = in_two_files(&file, 40, BUILD);
    let both = replayed(folder.path(), None, &Options::default());
    assert_identical(&both, "both");
    let (one, other) =
        (replayed(&first, None, &Options::default()), replayed(&second, None, &Options::default()));
    assert_identical(&one, "the first");
    assert_identical(&other, "the second");
    assert_eq!((one.steps, one.steps + other.steps), (40, both.steps));
}

/// Nobody says what was asked before, and who waits for it.
#[test]
fn a_recording_may_begin_anywhere() {
    for (seed, profile) in
        [(3, "calm"), (5, "store"), (7, "sessions"), (11, "resend"), (13, "classic"), (17, "default")]
    {
        let file = recorded(seed, profile, None, 0).unwrap();
        let (_folder, path) = kept(&file);
        let steps = replayed(&path, None, &Options::default()).steps;
        for begin in (1..steps).step_by((steps / 24).max(1) as usize) {
            let (_folder, [_, second]) = in_two_files(&file, begin, BUILD);
            let report = replayed(&second, None, &Options::default());
            assert_identical(&report, &format!("seed {seed} of {profile}, from step {begin}"));
        }
    }
}

/// What the store could not say of a user when the file began is not waited for: the user is welcomed all the same.
#[test]
fn a_recording_may_begin_before_or_behind_the_failure_to_load_a_user() {
    let (_folder, path) = kept(&recorded(3, "sessions", None, 0).unwrap());
    let header = Reader::open(&path).unwrap().header().clone();
    let (conn, user) = (ConnId::new(0, 1), UserId::new("alice").unwrap());
    let now = header.started_at;
    let hello = ClientFrame { body: Some(client_frame::Body::Hello(Hello::default())) };
    let mut server = Server::new(header.config.clone(), header.seed, now);
    let (mut writer, mut encoder, mut digest) =
        (Writer::new(&header), Encoder::new(now), ActionDigest::default());
    let mut tell = |event: Event| {
        encoder.event(now, &event);
        server.handle(now, event);
        let mut asked = None;
        while let Some(action) = server.poll_action() {
            digest.add(&action);
            if let Action::Request { ticket, request: Request::LoadUser(_) } = action {
                asked = Some(ticket);
            }
        }
        if let Some(acted) = digest.end_step() {
            encoder.acted(acted);
        }
        asked
    };
    let ticket = tell(Event::Connected { conn, user, protocol: Protocol::Session }).unwrap();
    tell(Event::Answered { ticket, answer: Answer::Failed });
    tell(Event::Received { conn, message: hello.encode_to_vec().into() });
    writer.steps(&mut encoder);
    let file = writer.end();
    for begin in [1, 2] {
        let (_folder, paths) = in_two_files(&file, begin, BUILD);
        for path in &paths {
            let report = replayed(path, None, &Options::default());
            assert_identical(&report, &format!("cut behind step {begin}, {}", path.display()));
        }
    }
}

#[test]
fn a_file_that_was_cut_off_before_its_first_step_keeps_nobody_from_the_others() {
    let file = recorded(3, "calm", None, 0).unwrap();
    let (folder, whole) = kept(&file);
    for len in [MAGIC.len(), PREFIX_BYTES, PREFIX_BYTES + HEAD_BYTES] {
        fs::write(folder.path().join(format!("{len}.swr")), &file[..len]).unwrap();
    }
    assert_identical(&replayed(folder.path(), None, &Options::default()), "the whole one");
    fs::remove_file(whole).unwrap();
    let error = Recording::open(&[folder.path().to_owned()]).unwrap_err();
    assert!(error.is_cut_off(), "{error}");
}

#[test]
fn a_recording_that_begins_in_the_middle_is_for_its_own_build_and_a_missing_file_is_missed() {
    let file = recorded(3, "calm", None, 0).unwrap();
    let (folder, [first, second]) = in_two_files(&file, 40, "0.0.9-cafe");
    let error = replay(&mut one(&second), &Shipped, &Options::default(), |_| {}).unwrap_err();
    assert!(matches!(&error, ReplayError::OtherBuild { build, .. } if build == "0.0.9-cafe"), "{error}");
    assert!(error.to_string().contains("begins in the middle"));
    // With the first file the state is not needed.
    assert_identical(&replayed(folder.path(), None, &Options::default()), "both");
    let third = folder.path().join("2.swr");
    let header = Header { part: 3, ..Reader::open(&second).unwrap().header().clone() };
    let mut writer = Writer::new(&header);
    writer.block(Kind::State, State::of_this_build(b"").encode());
    fs::write(&third, writer.end()).unwrap();
    let report = replayed(folder.path(), None, &Options::default());
    let damage = report.damage.unwrap().to_string();
    assert!(damage.ends_with("part 2 of this engine's files is missing, part 3 is here"), "{damage}");
    assert!(report.steps > 40);
    drop(first);
}

/// Bugs in a server, each with a seed in whose recording it is found.
const CAUGHT: &[(Canary, u64, &str)] = &[
    (Canary::WelcomeBeforeLoad, 0, "small"),
    (Canary::TakeoverClosesNewest, 5, "store"),
    (Canary::TakeoverForgotten, 5, "store"),
    (Canary::AckBeforeCommit, 1, "default"),
    (Canary::AnswerOrder, 13, "store"),
    (Canary::SecondDeviceTwice, 2, "resend"),
    (Canary::EchoToSender, 0, "small"),
    (Canary::FromBelieved, 8, "small"),
    (Canary::PublishForgotten, 1, "default"),
    (Canary::PipelineDiesWithSender, 5, "store"),
    (Canary::FlushNotCounted, 0, "small"),
    (Canary::MessageIdReused, 6, "bus"),
    (Canary::GroupTakenForUser, 4, "readers"),
    (Canary::SignalToEverybody, 6, "bus"),
];

#[test]
fn a_bug_of_a_server_is_caught_from_its_recording_and_made_small() {
    for (bug, seed, profile) in CAUGHT.iter().copied() {
        let (_folder, path) = kept(&recorded(seed, profile, Some(bug), 0).unwrap());
        let found = cut(&mut one(&path), &Planted(Some(bug)), None, None).unwrap();
        assert!(found.report.violation.is_some(), "{bug} is not caught");
        let trial = Trial { probe: Planted(Some(bug)), must_hold_without: true };
        let small =
            shrink(&found.script, &trial).unwrap().unwrap_or_else(|| panic!("{bug} cannot be made small"));
        assert!(small.lines.len() <= 12, "{bug}: {} lines are left\n{small}", small.lines.len());
        let again: Script = small.to_string().parse().unwrap();
        assert_eq!(again.to_string(), small.to_string(), "{bug}");
        assert_eq!(run(&again, Shipped).unwrap().violation, None, "{bug}: without it everything holds");
        let outcome = run(&again, Planted(Some(bug))).unwrap();
        assert!(outcome.violation.is_some(), "{bug}");
        let test = rust::test("a bug", &small, &outcome);
        assert!(test.contains("fn a_bug()") && test.contains("switchboard_sim::script::holds("), "{test}");
        switchboard_sim::script::holds(&small.to_string());
    }
}

#[test]
fn a_stretch_begins_with_the_state_and_is_made_small_without_it() {
    let (bug, seed, profile) = CAUGHT[1];
    let (_folder, path) = kept(&recorded(seed, profile, Some(bug), 0).unwrap());
    let whole = cut(&mut one(&path), &Planted(Some(bug)), None, None).unwrap();
    let failed_at = whole.report.violation.unwrap().1;
    assert!(failed_at > 2, "there is something before it");
    let stretch =
        cut(&mut one(&path), &Planted(Some(bug)), Some(Until::Step(failed_at - 2)), None).unwrap().script;
    assert!(stretch.state.is_some() && stretch.lines.len() < whole.script.lines.len());
    let again: Script = stretch.to_string().parse().unwrap();
    assert_eq!(again.state, stretch.state);
    assert!(run(&again, Planted(Some(bug))).unwrap().violation.is_some());
}

#[test]
fn scripts_are_read_as_they_were_written() {
    for (seed, profile) in [(1, "sessions"), (2, "default"), (3, "bus"), (4, "resend"), (5, "readers")] {
        let (_folder, path) = kept(&recorded(seed, profile, None, 0).unwrap());
        let script = cut(&mut one(&path), &Shipped, None, None).unwrap().script;
        let text = script.to_string();
        let again: Script = text.parse().unwrap_or_else(|error| panic!("seed {seed} of {profile}: {error}"));
        assert_eq!(again.to_string(), text);
        assert_eq!(again.config, script.config);
        let outcome = run(&again, Shipped).unwrap();
        assert_eq!(outcome.violation, None, "seed {seed} of {profile}");
        // Worlds also tell late events of connections that are gone, and a script leaves those out.
        let left_out = script.lines.len() - outcome.told.len();
        assert!(left_out <= 1, "seed {seed} of {profile}: {left_out} lines are left out");
    }
}

#[test]
fn a_wrong_line_of_a_script_is_named() {
    let error =
        |lines: &str| format!("switchboard-events 1\n{lines}").parse::<Script>().unwrap_err().to_string();
    assert_eq!(error("hello"), "line 2: hello does not begin a line of this format");
    assert_eq!(error("0 1 fly 0v1"), "line 2: fly is no verb");
    assert_eq!(error("0 1 receive 01 \"\""), "line 2: 01 is no connection: 0v1 is");
    assert_eq!(error("0 1 receive 0v1 \"\u{100}\""), "line 2: 'Ā' is no byte: characters up to U+00FF are");
    assert_eq!(error("0 1 close 0v1 now"), "line 2: too much: now");
    assert_eq!(error("0 1 timeout\n0 1 timeout"), "line 3: two lines have the id 1");
    assert_eq!(error("5 1 timeout\n4 2 timeout"), "line 3: line 2 is before the one before it");
    assert_eq!(error("config {\"colour\":1}"), "line 2: colour is no setting");
    assert_eq!(
        error("0 1 connect 0v1 \"alice\" telepathy"),
        "line 2: telepathy is no protocol: classic and session are"
    );
    assert!(error("0 1 answer 7 \"Failed\"").contains("names no request"));
    let other = "switchboard-events 2".parse::<Script>().unwrap_err().to_string();
    assert!(other.contains("version 2") && other.contains("version 1"), "{other}");
}

#[test]
fn what_cannot_happen_in_a_script_is_left_out() {
    let script: Script = "switchboard-events 1
        0 1 receive 3v1 \"x\"               ; nobody is there
        0 2 connect 0v1 \"alice\" classic
        0 3 connect 0v2 \"bob\" classic      ; its slot is taken
        0 4 answer 2.5 \"Failed\"            ; there is no such request
        0 5 flush 0v1 3 100                ; nothing was sent
        0 6 close 0v1
        0 7 receive 0v1 \"x\"               ; nothing more is read
        0 8 gone 0v1
        0 9 gone 0v1"
        .parse()
        .unwrap();
    let outcome = run(&script, Shipped).unwrap();
    assert_eq!(outcome.violation, None);
    assert_eq!(outcome.told, [2, 6, 8]);
}

fn corpus() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "there are recordings to replay");
    files
}

#[test]
fn this_build_does_what_the_kept_recordings_say() {
    for path in corpus() {
        let report =
            replayed(&path, None, &Options { all_differences: true, differences: 5, ..Options::default() });
        let name = path.display();
        assert_eq!(
            report.differing, 0,
            "{name}: if it is meant to be so, `switchboard-sim compat --accept sim/recordings`: {:#?}",
            report.differences
        );
        assert!(report.violation.is_none() && report.damage.is_none() && report.has_ended, "{name}");
    }
}

#[test]
fn what_has_changed_can_be_accepted() {
    let (seed, profile, bug) = WITH_BUG;
    let (_folder, path) = kept(&recorded(seed, profile, Some(bug), 0).unwrap());
    assert!(replayed(&path, None, &Options::default()).differing > 0);
    let accepted = accept(&path).unwrap();
    fs::write(&path, accepted).unwrap();
    assert_identical(&replayed(&path, None, &Options::default()), "accepted");
}

fn sim(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_switchboard-sim")).args(args).output().unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    (output.status.code(), text)
}

#[test]
fn the_commands_say_what_they_find_and_end_so() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (bug, seed, profile) = CAUGHT[0];
    let (good, bad, small, test, svg) =
        (at("good.swr"), at("bad.swr"), at("small.events"), at("small.rs"), at("run.svg"));
    let seed = seed.to_string();
    assert_eq!(sim(&["record", "3", "--profile", "calm", "-o", &good]).0, Some(0));
    let (code, text) = sim(&["replay", &good, "--chart", &svg]);
    assert!(code == Some(0) && text.contains("identical: ") && text.contains("times as fast"), "{text}");
    assert!(fs::read_to_string(&svg).unwrap().contains("c0: 0v1 of u"));
    let (code, text) = sim(&["replay", &good, "--user", "u1"]);
    assert!(code == Some(0) && text.contains("u1") && text.contains("->"), "{text}");
    assert_eq!(sim(&["compat", &good]).0, Some(0));
    assert_eq!(sim(&["record", &seed, "--profile", profile, "--canary", bug.name(), "-o", &bad]).0, Some(1));
    let (code, text) = sim(&["replay", &bad]);
    assert!(
        code == Some(1) && text.contains("leads to something else") && text.contains("this build:"),
        "{text}"
    );
    let (code, text) = sim(&["replay", &bad, "--canary", bug.name()]);
    assert!(code == Some(1) && text.contains("seen after step"), "{text}");
    assert_eq!(sim(&["convert", &bad, "--canary", bug.name(), "-o", &at("all.events")]).0, Some(1));
    let (code, text) =
        sim(&["shrink", &at("all.events"), "--out", &small, "--rust-test", &test, "--canary", bug.name()]);
    assert!(code == Some(1) && text.contains("are left"), "{text}");
    assert_eq!(sim(&["replay", &small]).0, Some(0));
    assert_eq!(sim(&["replay", &small, "--canary", bug.name()]).0, Some(1));
    assert!(fs::read_to_string(&test).unwrap().contains("#[test]"));
    assert_eq!(sim(&["compat", &bad]).0, Some(1));
    assert_eq!(sim(&["compat", &bad, "--accept"]).0, Some(0));
    assert_eq!(sim(&["compat", &bad]).0, Some(0));
    let (code, text) = sim(&["compat", &svg]);
    assert!(code == Some(2) && text.contains("no recording"), "{text}");
}

#[test]
fn what_is_asked_for_in_vain_or_would_lose_something_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let refused = |args: &[&str], why: &str| {
        let (code, text) = sim(args);
        assert!(code == Some(2) && text.contains(why), "{args:?}: {code:?} {text}");
    };
    let (empty, good, events, cut) = (at("empty"), at("good.swr"), at("all.events"), at("cut.swr"));
    fs::create_dir(&empty).unwrap();
    refused(&["compat", &empty], "there is no recording of a server in");
    assert_eq!(sim(&["record", "3", "--profile", "calm", "-o", &good]).0, Some(0));
    assert_eq!(sim(&["convert", &good, "-o", &events]).0, Some(0));
    let text = fs::read_to_string(&events).unwrap();
    refused(&["shrink", &events, "--out", &events], "write to another file");
    refused(&["convert", &good, "--out", &good], "write to another file");
    assert_eq!(fs::read_to_string(&events).unwrap(), text);
    // Behind the damage there may be what fails.
    let bytes = fs::read(&good).unwrap();
    fs::write(&cut, &bytes[..bytes.len() - 1]).unwrap();
    refused(&["shrink", &cut, "--out", &at("small.events")], "at byte ");
    refused(&["shrink", &good, "--out", &at("small.events")], "everything holds");
    for (option, value) in [("--user", "u1"), ("--until", "100ms"), ("--chart", &at("run.svg"))] {
        refused(&["replay", &events, option, value], &format!("{option} is of no use here"));
    }
    refused(&["replay", "3", "--user", "u1"], "--user is of no use here");
    refused(&["replay", &at("none"), "--user", "u1"], "No such file");
}
