//! One step of each kind that only sessions have.

use super::{
    Sources, changes,
    steps::{client_of, group, user},
    swarm::Session,
};
use crate::choice::Choices;
use crate::schedule::{ClientKind, ClientNo, Schedule, Step, To, What};
use crate::world::INVALID_KINDS;

/// Who says a text by a step.
const fn speaker(what: What) -> Option<ClientNo> {
    if let What::Send { client, .. }
    | What::Burst { client, .. }
    | What::Edit { client, .. }
    | What::Recall { client, .. }
    | What::Change { client, .. } = what
    {
        Some(client)
    } else {
        None
    }
}

/// One of the last steps by which a session of this client's user says something, which may still be on its way.
fn said_lately(f: &mut Choices, schedule: &Schedule, client: ClientNo) -> Option<u32> {
    let user = schedule.clients[client.index()].user;
    let own = |step: &&Step| {
        speaker(step.what)
            .map(|client| schedule.clients[client.index()])
            .is_some_and(|spec| spec.user == user && spec.kind.is_session())
    };
    let steps: Vec<u32> = schedule.steps.iter().filter(own).map(|step| step.id).collect();
    let back = f.below((steps.len() as u64).min(6)) as usize;
    steps.get(steps.len().checked_sub(back + 1)?).copied()
}

/// One step of what only sessions do; none where there are none.
pub(super) fn session_step(sources: &mut Sources, schedule: &Schedule, what: Session) -> Option<What> {
    let w = &mut sources.workload;
    let f = &mut sources.faults;
    let peer = |choices: &mut Choices| match choices.chance(500) {
        true => To::User(user(choices, schedule)),
        false => To::Group(group(choices, schedule)),
    };
    let (raw, app) = (ClientKind::RawSession, ClientKind::Session);
    match what {
        Session::Fetch => Some(What::Fetch {
            client: client_of(w, schedule, raw)?,
            of: if f.chance(50) { To::Nobody } else { peer(w) },
            from_seq: [w.below(8), w.below(2), u64::MAX][w.weighted(&[6, 3, 1])],
            backwards: u32::from(w.chance(300)),
            limit: [0, w.below(4) as u32][w.weighted(&[1, 1])],
            count: [1, f.below(12) as u32][f.weighted(&[3, 1])],
        }),
        Session::Older => Some(What::Older {
            client: client_of(w, schedule, app)?,
            of: peer(w),
            before_seq: w.below(8),
            limit: w.below(5) as u32,
        }),
        Session::Resync => Some(What::Resync {
            client: client_of(w, schedule, raw)?,
            cursors: [0, 5, 300][w.weighted(&[3, 2, 1])],
            count: [1, f.below(20) as u32][f.weighted(&[3, 1])],
        }),
        Session::Edit => changes::edit(sources, schedule),
        Session::Recall => changes::recall(sources, schedule),
        Session::Change => changes::change(sources, schedule),
        Session::Mark => changes::mark(sources, schedule),
        Session::Mislead => changes::mislead(sources, schedule),
        Session::OutOfTurn => Some(What::Hello { client: client_of(f, schedule, raw)?, cursors: 0 }),
        Session::Again => {
            let client = client_of(f, schedule, raw)?;
            let step = said_lately(f, schedule, client)?;
            Some(What::Again { client, step, nth: f.below(2) as u32 })
        }
        Session::Alter => {
            let client = client_of(f, schedule, raw)?;
            let step = said_lately(f, schedule, client)?;
            Some(What::Alter { client, step, nth: f.below(2) as u32 })
        }
        Session::Invalid => Some(What::Invalid {
            client: client_of(f, schedule, raw)?,
            kind: f.below(INVALID_KINDS.into()) as u32,
        }),
        Session::Die => Some(What::Die {
            client: client_of(f, schedule, app)?,
            actions: f.below(12) as u32,
            down_us: f.between(1_000, 2_000_000),
        }),
        Session::Wipe => Some(What::Wipe { client: client_of(f, schedule, app)? }),
    }
}
