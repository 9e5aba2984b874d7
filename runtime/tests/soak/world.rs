//! A server, those who talk, and what happens to them.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    crowd::{Crowd, Device, Logs, Order, Rng, create_group, newest_stored_at, until},
    fault::{Deck, Fault},
    figures::{Figures, Holds, get},
    ground::Ground,
    process::Process,
    replays::{Ending, Replayed, replay_folder},
    say,
    summary::Summary,
    uploads::Sender,
};

const SHARDS: u32 = 2;

/// Messages that each device says in a round.
const SAID_PER_ROUND: u32 = 120;

/// Messages that each says at a time until the disk is so full that one is refused.
const SAID_UNTIL_FULL: u32 = 40;

/// Messages for which there is room in what the database has taken already, at the most: some hundreds were seen.
const ACCEPTED_UNTIL_FULL: u64 = 20_000;

/// Files that are sent in a round.
const FILES_PER_ROUND: u64 = 2;

/// Of all that were sent, the newest ones that are looked at after a round.
const FILES_LOOKED_AT: usize = 20;

/// What the server is started with. Times are such that a test can wait for what follows from them: half-open connections are
/// found out, who has left is gone. Recordings are of many files.
const SETTINGS: [(&str, &str); 14] = [
    ("SWITCHBOARD_SHARDS", "2"),
    ("SWITCHBOARD_LIMITS_CONNECTIONS_PER_USER", "1000"),
    ("SWITCHBOARD_TIMEOUTS_PING_INTERVAL_MS", "500"),
    ("SWITCHBOARD_TIMEOUTS_IDLE_TIMEOUT_MS", "1500"),
    ("SWITCHBOARD_TIMEOUTS_HEARTBEAT_INTERVAL_MS", "400"),
    ("SWITCHBOARD_TIMEOUTS_PRESENCE_GRACE_MS", "300"),
    ("SWITCHBOARD_TIMEOUTS_CLOSE_TIMEOUT_MS", "1000"),
    ("SWITCHBOARD_TIMEOUTS_REQUEST_TIMEOUT_MS", "3000"),
    ("SWITCHBOARD_HANDSHAKE_TIMEOUT_MS", "1500"),
    ("SWITCHBOARD_HTTP_BODY_TIMEOUT_MS", "1500"),
    ("SWITCHBOARD_TIMEOUTS_DRAIN_TIME_MS", "100"),
    ("SWITCHBOARD_TIMEOUTS_RECONNECT_AFTER_MS", "50"),
    ("SWITCHBOARD_TIMEOUTS_RECONNECT_SPREAD_MS", "200"),
    ("SWITCHBOARD_RECORD_FILE_BYTES", "65536"),
];

/// By how many hours clocks are wrong: by time zones, by days, by a year.
const CLOCK_STEPS_H: [i64; 6] = [-24 * 400, -24, -1, 1, 24, 24 * 400];

/// What memory without clients may grow by from the first half of a process's life to the second one. It is what comes and goes by
/// itself: the allocator keeps some of each thread's, the recorder has up to 64 pieces of 256 KiB under way, the store 2 MiB
/// of pages for each connection to the database.
const MEMORY_SLACK_KIB: u64 = 24 << 10;

/// One process of the server.
struct Run {
    number: u32,
    /// None while there is none.
    process: Option<Process>,
    had_full_disk: bool,
}

pub(crate) struct World<'s> {
    // In the order in which they go.
    run: Run,
    crowd: Crowd,
    sender: Sender,
    ground: Ground,
    server: SocketAddr,
    rng: Rng,
    clock_step_h: i64,
    round: u64,
    begun: Instant,
    summary: &'s mut Summary,
}

impl<'s> World<'s> {
    pub(crate) fn begin(seed: u64, summary: &'s mut Summary) -> Self {
        let ground = Ground::prepare();
        create_group(&ground.data());
        let run = Run::start(&ground, 1, "127.0.0.1:0");
        summary.runs += 1;
        summary.left_out.clone_from(&ground.left_out);
        for what in &ground.left_out {
            say(&format!("LEFT OUT on this machine: {what}"));
        }
        let server = run.process.as_ref().unwrap().address;
        let crowd = Crowd::start(&ground.data(), &ground.devices(), server, seed);
        let sender = Sender::start(crowd.proxy.address(), seed);
        let (rng, begun) = (Rng::new(seed, 0), Instant::now());
        Self { run, crowd, sender, ground, server, rng, clock_step_h: 0, round: 0, begun, summary }
    }

    /// At least each fault once, and as long as there is time.
    pub(crate) fn live(mut self, time: Duration) {
        let mut deck = Deck::new(false, self.ground.has_disk(), self.ground.has_clock());
        while !deck.is_dealt() || self.begun.elapsed() < time / 2 {
            let fault = deck.draw(&mut self.rng);
            self.round(fault);
        }
        self.stop_and_start();
        self.live_on(time);
        self.end();
    }

    /// Through the second half one process lives, and may not grow.
    fn live_on(&mut self, time: Duration) {
        let mut deck = Deck::new(true, self.ground.has_disk(), self.ground.has_clock());
        let lives_since = self.begun.elapsed();
        let middle = lives_since + time.saturating_sub(lives_since) / 2;
        let mut held = Vec::new();
        while !deck.is_dealt() || self.begun.elapsed() < middle {
            let fault = deck.draw(&mut self.rng);
            held.push(self.round(fault));
        }
        let most = |of: fn(&Holds) -> u64| held.iter().map(of).max().unwrap();
        let most = Holds {
            resident_kib: most(|held| held.resident_kib),
            anonymous_kib: most(|held| held.anonymous_kib),
            files: most(|held| held.files),
            threads: most(|held| held.threads),
        };
        let mut last = held[held.len() - 1];
        let mut deck = Deck::new(true, self.ground.has_disk(), self.ground.has_clock());
        while !deck.is_dealt() || self.begun.elapsed() < time {
            let fault = deck.draw(&mut self.rng);
            last = self.round(fault);
        }
        self.crowd.leave();
        let process = self.process().id();
        let mut now = last;
        let is_as_before = |now: &Holds| {
            now.files <= most.files
                && now.threads <= most.threads
                && now.anonymous_kib <= most.anonymous_kib + MEMORY_SLACK_KIB
        };
        until(
            || {
                format!(
                    "the server holds no more than it did; at the most it held {most}, and now {}",
                    Holds::of(process)
                )
            },
            || 0,
            || {
                now = Holds::of(process);
                is_as_before(&now).then_some(())
            },
        );
        self.crowd.come_back();
        self.summary.holds.push([held[0], most, now]);
    }

    /// People talk, connections break, and this happens to the server; then everything heals. Gives what the server holds when all
    /// have gone.
    fn round(&mut self, fault: Fault) -> Holds {
        let begun = Instant::now();
        self.round += 1;
        *self.summary.faults.entry(fault).or_default() += 1;
        self.crowd.proxy.fall_ill();
        let said = u64::from(SAID_PER_ROUND) * self.crowd.devices.len() as u64;
        let goal = self.crowd.ledger.accepted() + self.rng.between(1, said * 2 / 3);
        let at = goal.saturating_sub(self.rng.below(said / 3));
        let cut_off = self.rng.below(2 * self.crowd.devices.len() as u64) as usize;
        self.crowd.say(SAID_PER_ROUND);
        self.sender.send(FILES_PER_ROUND);
        self.crowd.await_accepted(at);
        if let Some(device) = self.crowd.devices.get(cut_off) {
            device.order(Order::Crash);
            self.summary.cut_off_devices += 1;
        }
        self.crowd.await_accepted(goal);
        let talked = begun.elapsed();
        match fault {
            Fault::Kill => self.kill(),
            Fault::Stop => self.stop_and_start(),
            Fault::Freeze => self.freeze(),
            Fault::FullDisk => self.fill_the_disk(),
            Fault::ClockStep => self.step_the_clock(),
            Fault::Network => {}
        }
        let gone_wrong = begun.elapsed();
        let logs = self.healed();
        self.crowd.assert_holds(&logs);
        self.sender.assert_holds(self.server, &self.ground.data(), FILES_LOOKED_AT);
        let healed = begun.elapsed();
        let held = self.without_clients();
        say(&format!(
            "{:>6.0} s, round {}, {}: {} accepted, {} connections, {} broken; run {} without clients: {held}; \
             {:.1} s, of which talk {:.1}, fault {:.1}, healing {:.1}",
            self.begun.elapsed().as_secs_f64(),
            self.round,
            fault.name(),
            self.crowd.ledger.accepted(),
            self.crowd.proxy.connections(),
            self.crowd.proxy.broken(),
            self.run.number,
            begun.elapsed().as_secs_f64(),
            talked.as_secs_f64(),
            (gone_wrong - talked).as_secs_f64(),
            (healed - gone_wrong).as_secs_f64(),
        ));
        held
    }

    /// Everything has reached everybody.
    fn healed(&self) -> Logs {
        self.crowd.proxy.heal();
        self.sender.await_done();
        self.crowd.healed()
    }

    /// All leave and come back. Meanwhile nothing is left of them in the server.
    fn without_clients(&mut self) -> Holds {
        self.crowd.leave();
        let server = self.server;
        let left = || {
            let half_open = self.crowd.proxy.half_open();
            let left = Figures::of(server).not_at_rest();
            if half_open > 0 {
                [left, vec![format!("half-open connections {half_open}")]].concat()
            } else {
                left
            }
        };
        until(
            || format!("nothing is left of clients that have gone: {}", left().join(", ")),
            || 0,
            || left().is_empty().then_some(()),
        );
        let held = Holds::of(self.process().id());
        self.crowd.come_back();
        held
    }

    fn kill(&mut self) {
        self.next_run(true, Process::kill);
    }

    fn stop_and_start(&mut self) {
        self.await_recorder();
        self.next_run(false, stop);
    }

    /// Ends the process in this way, starts another one at the same place, and replays what was recorded of the first.
    fn next_run(&mut self, was_killed: bool, end: impl FnOnce(Process)) {
        let Run { number, had_full_disk, .. } = self.run;
        end(self.run.process.take().unwrap());
        self.run = Run::start(&self.ground, number + 1, &self.server.to_string());
        self.summary.runs += 1;
        self.replay(number, Ending { was_killed, had_full_disk });
    }

    /// Replays what was recorded of a process that has ended, and removes it, as there would be too much in hours.
    fn replay(&mut self, run: u32, ending: Ending) {
        let folder = self.ground.recordings(run);
        let replayed = replay_folder(&folder, SHARDS, ending);
        // Of what happens in the last second before it is killed, nothing may have been written.
        assert!(ending.was_killed || replayed.steps > 0, "nothing was recorded in {}", folder.display());
        self.summary.replayed += replayed;
        std::fs::remove_dir_all(folder).unwrap();
        let Replayed { files, gaps, steps, recorded, took, .. } = replayed;
        say(&format!(
            "{:>6.0} s, run {run} replayed: {files} files, {gaps} gaps, {steps} steps, {:.1} s in {:.1} s",
            self.begun.elapsed().as_secs_f64(),
            recorded.as_secs_f64(),
            took.as_secs_f64(),
        ));
    }

    /// The process stands still, for less or for longer than it takes both sides to believe that the other one is gone.
    fn freeze(&mut self) {
        self.process().signal("STOP");
        std::thread::sleep(Duration::from_millis(self.rng.between(200, 3_000)));
        self.process().signal("CONT");
    }

    /// There is no room any more. The server says so to those who ask and to those who say something, and goes on once there is room.
    fn fill_the_disk(&mut self) {
        self.run.had_full_disk = true;
        let as_full = |refused: BTreeMap<String, u64>| -> u64 {
            refused.iter().filter(|(why, _)| why.contains("full")).map(|(_, count)| count).sum()
        };
        let messages = || as_full(self.crowd.ledger.delays());
        let files = || as_full(self.sender.refused());
        let before = (messages(), files());
        self.ground.fill();
        // As long as there is room in what the database has taken already, it takes what comes: over a network that is well, that is
        // soon used up.
        self.crowd.proxy.heal();
        let enough = self.crowd.ledger.accepted() + ACCEPTED_UNTIL_FULL;
        until(
            || {
                format!(
                    "a message is refused as the disk is full, after {} that were accepted; why others were: {:?}",
                    self.crowd.ledger.accepted() + ACCEPTED_UNTIL_FULL - enough,
                    self.crowd.ledger.delays()
                )
            },
            || self.crowd.ledger.accepted().min(enough),
            || {
                if self.crowd.devices.iter().all(Device::is_done) {
                    self.crowd.say(SAID_UNTIL_FULL);
                }
                (messages() > before.0).then_some(())
            },
        );
        self.crowd.proxy.fall_ill();
        self.sender.send(1);
        until(
            || format!("a file is refused as the disk is full; why others were: {:?}", self.sender.refused()),
            || 0,
            || (files() > before.1).then_some(()),
        );
        self.await_answer("/readyz", 503, "full");
        self.await_answer("/healthz", 503, "full");
        self.ground.empty();
        self.await_answer("/readyz", 200, "ready");
        self.await_answer("/healthz", 200, "ok");
    }

    fn await_answer(&self, path: &str, status: u16, text: &str) {
        let ask = || get(self.server, path);
        until(
            || format!("{path} says {status} and {text:?}; it says {:?}", ask()),
            || 0,
            || ask().filter(|(found, body)| *found == status && body.contains(text)).map(drop),
        );
    }

    /// The time of day is another one. What is stored from now on has it; nothing else depends on it.
    fn step_the_clock(&mut self) {
        let steps: Vec<_> = CLOCK_STEPS_H.into_iter().filter(|step| *step != self.clock_step_h).collect();
        self.clock_step_h = steps[self.rng.below(steps.len() as u64) as usize];
        self.ground.step_clock(self.clock_step_h * 3600);
        // Who says nothing more says something.
        self.crowd.say(1);
        until(
            || format!("something is stored with a time that is {} h wrong", self.clock_step_h),
            || 0,
            || {
                let wrong_h = newest_stored_at(&self.ground.data()) - wall_ms();
                let wrong_h = (wrong_h as f64 / 3_600_000.0).round() as i64;
                (wrong_h == self.clock_step_h).then_some(())
            },
        );
    }

    fn process(&self) -> &Process {
        self.run.process.as_ref().unwrap()
    }

    /// What a full disk has cut off is recorded again.
    fn await_recorder(&self) {
        let state = || {
            let figures = Figures::of(self.server);
            let sum = |name: &str| figures.sum(&format!("switchboard_recorder_{name}_total"));
            (sum("failures"), sum("gaps"))
        };
        until(
            || format!("recordings go on after each failure; failures and gaps: {:?}", state()),
            || 0,
            || Some(state()).filter(|(failures, gaps)| gaps >= failures).map(drop),
        );
    }

    fn end(mut self) {
        self.await_recorder();
        let logs = self.healed();
        self.crowd.assert_holds(&logs);
        self.sender.assert_holds(self.server, &self.ground.data(), usize::MAX);
        let Run { number, had_full_disk, .. } = self.run;
        stop(self.run.process.take().unwrap());
        self.replay(number, Ending { was_killed: false, had_full_disk });
        let Self { crowd, sender, summary, .. } = self;
        summary.accepted += crowd.ledger.accepted();
        summary.told += crowd.known();
        summary.stored += logs.iter().map(|(_, log)| log.len() as u64).sum::<u64>();
        summary.connections += crowd.proxy.connections();
        summary.broken += crowd.proxy.broken();
        summary.files += sender.sent();
        for (why, count) in crowd.ledger.delays().into_iter().chain(sender.refused()) {
            *summary.refused.entry(why).or_default() += count;
        }
        sender.end();
        crowd.end();
    }
}

impl Run {
    fn start(ground: &Ground, number: u32, listen: &str) -> Self {
        let clock = ground.clock_settings();
        let recordings = ground.recordings(number);
        let recordings = ("SWITCHBOARD_RECORD_FOLDER", recordings.to_str().unwrap());
        let clock = clock.iter().map(|(name, value)| (*name, value.as_str()));
        let settings: Vec<_> = SETTINGS.into_iter().chain([recordings]).chain(clock).collect();
        let process = Process::start_logged(&ground.data(), listen, &settings, Some(ground.log(number)));
        Self { number, process: Some(process), had_full_disk: false }
    }
}

/// Asks a process to stop, which it does in order.
fn stop(mut process: Process) {
    process.signal("TERM");
    let status = process.exit();
    assert!(status.success(), "a server that is asked to stop says {status}");
}

fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_millis() as i64
}
