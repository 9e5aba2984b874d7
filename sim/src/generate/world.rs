//! The world of a seed: its nodes, users, clients and groups, and its limits.

use super::{BENCH, BENCH_LONG, Sources, is_bench};
use crate::choice::Choices;
use crate::schedule::{ClientKind, ClientSpec, Schedule, Settings, UserNo};

pub(super) fn world(sources: &mut Sources, seed: u64, profile: &str) -> Schedule {
    let (workload, network) = (&mut sources.workload, &mut sources.network);
    let mut settings = Settings::default();
    let clients = match profile {
        BENCH | BENCH_LONG => 50,
        "small" | "original" => workload.between(2, 5),
        "resend" => workload.between(2, 6),
        _ => workload.between(2, 16),
    };
    (settings.nodes, settings.shards) = match profile {
        BENCH | BENCH_LONG => (3, 1),
        "small" => (1, 1),
        "original" => (1 + u64::from(workload.chance(250)), 1),
        "bus" => (workload.between(2, 4), workload.between(1, 2)),
        "resend" => (1 + u64::from(workload.chance(200)), 1 + u64::from(workload.chance(300))),
        _ => (workload.between(1, 3), workload.between(1, 2)),
    };
    settings.users = match profile {
        BENCH | BENCH_LONG => 50,
        "resend" => workload.between(2, 4),
        _ => workload.between(2, clients.max(3)),
    };
    settings.newest_wins = u64::from(workload.chance(300));
    if workload.chance(200) {
        settings.connections_per_user = workload.between(1, 2);
    }
    if profile == "readers" || workload.chance(300) {
        settings.message_bytes = 1024;
        settings.outbox_bytes = 2048 + workload.below(2048);
        settings.socket_bytes = workload.between(64, 1024);
        settings.streams_per_connection = workload.between(1, 3);
    }
    if !is_bench(profile) && workload.chance(100) {
        settings.pending_per_connection = workload.between(1, 4);
    }
    if !is_bench(profile) {
        limits(workload, &mut settings, profile);
        flow(workload, &mut settings, profile);
        settings.ring_timeout_ms = if workload.chance(400) { workload.between(50, 3_000) } else { 60_000 };
        settings.answer_jitter_us = [0, 500, 20_000, 400_000][network.weighted(&[3, 2, 2, 1])];
        settings.clock_skew_us = if network.chance(200) { network.below(60_000_000) } else { 0 };
        settings.net_delay_us = network.between(20, 2_000);
        settings.net_jitter_us = [0, 500, 20_000][network.weighted(&[1, 2, 1])];
        settings.bus_delay_us = network.between(20, 2_000);
        settings.bus_jitter_us = [0, 500, 20_000][network.weighted(&[1, 2, 1])];
        settings.store_jitter_us = [0, 500, 20_000][network.weighted(&[1, 2, 1])];
    }
    if profile == "resend" {
        // On slow networks much is on its way that is lost with a connection.
        if network.chance(400) {
            settings.net_delay_us = network.between(50_000, 200_000);
        }
    }
    if profile == "original" {
        (settings.net_jitter_us, settings.store_jitter_us) = (0, 0);
        settings.socket_bytes = workload.between(256, 8192);
    }
    let engine_permille = [0, 300, 1000][workload.weighted(&[1, 2, 1])];
    let clients: Vec<_> = (0..clients)
        .map(|number| ClientSpec {
            user: UserNo(if is_bench(profile) { number } else { workload.below(settings.users) } as u16),
            kind: if workload.chance(engine_permille) { ClientKind::Engine } else { ClientKind::Raw },
        })
        .collect();
    let clients = with_sessions(workload, &mut settings, profile, clients);
    let groups = (0..workload.between(1, 3))
        .map(|_| {
            let share = workload.between(200, 900);
            (0..(settings.users - settings.unknown_users) as u16)
                .filter(|_| workload.chance(share))
                .map(UserNo)
                .collect()
        })
        .collect();
    Schedule { seed, profile: profile.to_owned(), settings, clients, groups, steps: Vec::new() }
}

/// Draws which clients speak the session protocol, and what only they meet.
fn with_sessions(
    workload: &mut Choices,
    settings: &mut Settings,
    profile: &str,
    mut clients: Vec<ClientSpec>,
) -> Vec<ClientSpec> {
    let permille = match profile {
        "sessions" => 1000,
        "classic" | "original" | BENCH | BENCH_LONG => 0,
        "resend" => [0, 300][workload.weighted(&[4, 1])],
        _ => [0, 300, 700][workload.weighted(&[2, 1, 1])],
    };
    if permille == 0 {
        return clients;
    }
    let raw_permille = [0, 250, 700][workload.weighted(&[2, 3, 1])];
    for client in &mut clients {
        if workload.chance(permille) {
            let is_raw = workload.chance(raw_permille);
            client.kind = if is_raw { ClientKind::RawSession } else { ClientKind::Session };
        }
    }
    settings.resync_interval_ms = workload.between(2_000, 10_000);
    settings.hello_timeout_ms = workload.between(500, 6_000);
    settings.page_messages = [1, 3, 16][workload.weighted(&[1, 1, 2])];
    settings.fetches_per_connection = workload.between(1, 4);
    settings.marks_per_connection = if workload.chance(300) { workload.between(1, 2) } else { 256 };
    settings.unfounded_groups = workload.below(3);
    settings.history = if workload.chance(150) { workload.between(1, 5) } else { 0 };
    clients
}

/// Draws what connections share with each other: the rates of their users, how many are taken in, and how slowly they
/// are closed.
fn flow(workload: &mut Choices, settings: &mut Settings, profile: &str) {
    if workload.chance(if profile == "rates" { 500 } else { 80 }) {
        settings.user_messages_per_second = workload.between(20, 100);
        settings.user_message_burst = workload.between(12, 40);
    }
    if workload.chance(if profile == "rates" { 300 } else { 40 }) {
        settings.user_bytes_per_second = workload.between(5_000, 30_000);
        settings.user_byte_burst = settings.message_bytes + workload.below(8_192);
    }
    if workload.chance(if matches!(profile, "storm" | "rates") { 300 } else { 80 }) {
        settings.admissions_per_second = workload.between(20, 60);
        settings.admission_burst = workload.between(1, 6);
    }
    if workload.chance(150) {
        settings.drain_time_ms = workload.between(20, 1_500);
    }
}

/// Draws how much clients may send, and what the directory has for users.
fn limits(workload: &mut Choices, settings: &mut Settings, profile: &str) {
    let rates = profile == "rates";
    if rates || workload.chance(200) {
        // As slow as the healed phase can bear: it speaks ten times a second.
        settings.messages_per_second = workload.between(10, 100);
        settings.message_burst = workload.between(3, 30);
    }
    if workload.chance(if rates { 500 } else { 100 }) {
        settings.bytes_per_second = workload.between(2_000, 20_000);
        settings.byte_burst = settings.message_bytes + workload.below(4_096);
    }
    if workload.chance(60) {
        settings.groups_per_user = workload.between(1, 2);
    }
    if workload.chance(60) {
        settings.unknown_users = 1;
    }
}
