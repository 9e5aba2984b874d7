//! Groups in each of which one member speaks; what is said is stored.

use std::fmt;

use serde::Serialize;
use switchboard_proto::v1::{
    Content, GroupChange, Hello, Submit, client_frame::Body, group_change::Kind as ChangeKind,
};

use crate::fleet::Fleet;
use crate::load::{self, FRAMES_PER_WRITE, LoadReport, Pace, Plan, Timing, check, rules};
use crate::plot::Panel;
use crate::session::Session;
use crate::{BenchError, Progress, Protocol, Report, Target, random, wire};

/// `Content.kind` of a change of a group.
const CHANGE: u32 = 23;

/// What to measure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupOptions {
    /// What the members speak.
    pub protocol: Protocol,
    /// Groups; each has members of its own.
    pub groups: usize,
    /// Members of each; the first one speaks.
    pub members: usize,
    /// When they speak.
    pub pace: Pace,
    /// Size of a message as it stands in its WebSocket frame, in bytes.
    pub payload_bytes: usize,
    /// How long it takes.
    #[serde(flatten)]
    pub timing: Timing,
}

impl Default for GroupOptions {
    fn default() -> Self {
        Self {
            protocol: Protocol::Classic,
            groups: 20,
            members: 50,
            pace: Pace::PerSecond(500),
            payload_bytes: 128,
            timing: Timing::default(),
        }
    }
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupReport {
    /// What was asked for.
    pub options: GroupOptions,
    /// What came of it.
    #[serde(flatten)]
    pub load: LoadReport,
}

/// Makes the groups by the session protocol, runs the load, and ends by itself.
///
/// # Errors
/// Wrong options, no client could connect, or the groups could not be made. All else that goes wrong is in the report's
/// `shortfalls`.
pub fn run(
    options: &GroupOptions,
    target: &Target,
    progress: &mut Progress,
) -> Result<GroupReport, BenchError> {
    let GroupOptions { protocol, groups, members, pace, payload_bytes, timing } = *options;
    let clients = groups.saturating_mul(members);
    check([("--groups", "at least 1", groups > 0), ("--members", "at least 2", members > 1)])?;
    check(rules(pace, &timing, payload_bytes, groups))?;
    let mut fleet = Fleet::open(target.address, protocol, clients, timing.connect_limit, progress)?;
    let run = random::id();
    for group in 0..groups {
        progress.show(|| format!("making groups: {group} of {groups}"));
        let id = format!("bench-group-{run:016x}-{group}");
        let speaker = group * members;
        create(target, &id, speaker..speaker + members)?;
        let Some(connection) = fleet.connection(speaker) else { continue };
        match protocol {
            Protocol::Classic => {
                let frame = wire::frame(2, &wire::group(&wire::user(speaker), &id, payload_bytes));
                connection.prepare(&frame, FRAMES_PER_WRITE);
            }
            Protocol::Session => connection.prepare_submits(&wire::group_conversation(&id), payload_bytes),
        }
    }
    fleet.forget_arrivals()?;
    let hears = (0..clients).map(|client| Some(client - client % members).filter(|it| *it != client));
    let plan = Plan {
        protocol,
        pace,
        timing,
        payload_bytes,
        hears: hears.collect(),
        stalled: Vec::new(),
        signals: None,
    };
    let load = load::run(plan, &mut fleet, target, progress)?;
    Ok(GroupReport { options: options.clone(), load })
}

/// The first of some users, all of which have been here, creates the group and invites the others.
pub(crate) fn create(
    target: &Target,
    group: &str,
    members: std::ops::Range<usize>,
) -> Result<(), BenchError> {
    let change = |kind: ChangeKind, user: String, name: String| {
        let change = GroupChange { kind: kind.into(), user, name, ..GroupChange::default() };
        Body::Submit(Submit {
            message_id: random::id128().to_be_bytes().to_vec().into(),
            conversation: Some(wire::group_conversation(group)),
            content: Some(Content { kind: CHANGE, change: Some(change), ..Content::default() }),
        })
    };
    let mut session = Session::connect(target.address, &wire::user(members.start))?;
    session.send(&[Body::Hello(Hello { device_id: vec![8; 16].into(), cursors: Vec::new() })])?;
    session.submit(std::iter::once(change(ChangeKind::Create, String::new(), group.to_owned())))?;
    session
        .submit(members.skip(1).map(|member| change(ChangeKind::Invite, wire::user(member), String::new())))
}

impl Report for GroupReport {
    fn shortfalls(&self) -> &[String] {
        &self.load.shortfalls
    }

    fn panels(&self) -> Vec<Panel> {
        self.load.panels()
    }
}

impl fmt::Display for GroupReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let GroupOptions { protocol, groups, members, payload_bytes, pace, .. } = &self.options;
        let protocol = format!("{protocol:?}").to_lowercase();
        writeln!(f, "group, {protocol}: {groups} groups of {members}, {payload_bytes} bytes, {pace}")?;
        self.load.fmt(f)
    }
}
