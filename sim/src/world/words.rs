//! What happens in a world, in words.

use super::{
    Happening, World,
    drive::record_name,
    links::up_name,
    queue::{Life, Up},
    sut::Sut,
};
use crate::{
    check::{ConnKey, pipelines::answer_name},
    trace::is_fault,
};

impl<T: Sut> World<'_, T> {
    /// Whom something that happens is about, what it is, and whether it is a fault or the end of one.
    pub(super) fn words(&self, what: &Happening) -> (String, String, bool) {
        let lane = |life: &Life| self.lane(life.shard).to_string();
        let ends = |conn: ConnKey| {
            let conn = &self.conns[conn as usize];
            (conn.client.to_string(), self.lane(conn.shard).to_string(), conn.id)
        };
        let plain = |who: String, text: String| (who, text, false);
        match what {
            Happening::Step(place) => self.schedule.steps.get(*place).map_or_else(
                || plain("world".to_owned(), "nothing".to_owned()),
                |step| ("world".to_owned(), format!("step {}: {}", step.id, step.what), is_fault(&step.what)),
            ),
            Happening::Open { client, node, .. } => {
                plain(client.to_string(), format!("its handshake reaches {node}"))
            }
            Happening::Opened { conn } => {
                let (client, lane, id) = ends(*conn);
                plain(client, format!("learns that it is connected to {lane} as {id}"))
            }
            Happening::Failed { client, .. } => {
                plain(client.to_string(), "learns that it could not connect".to_owned())
            }
            Happening::ToServer { conn, up } => {
                let (client, lane, id) = ends(*conn);
                plain(client, format!("{} arrives at {lane}, from {id}", self.up_words(*conn, up)))
            }
            Happening::ToClient { conn, frames } => {
                let (client, lane, id) = ends(*conn);
                let frames = if *frames == 1 { "1 frame".to_owned() } else { format!("{frames} frames") };
                plain(client, format!("is brought {frames} by {lane}, over {id}"))
            }
            Happening::ServerLost { conn } => {
                let (client, lane, id) = ends(*conn);
                plain(lane, format!("learns that {id} of {client} is gone"))
            }
            Happening::ClientLost { conn } => {
                let (client, lane, id) = ends(*conn);
                plain(client, format!("learns that its connection {id} to {lane} is gone"))
            }
            Happening::Timeout { life } => plain(lane(life), "its timer runs out".to_owned()),
            Happening::ClientTimeout { client } => plain(client.to_string(), "its timer runs out".to_owned()),
            Happening::Commit { life, request, fate, .. } => {
                let how = match (fate.committed, fate.failed, fate.answered) {
                    (true, false, true) => "",
                    (true, true, true) => ", and says that it failed",
                    (true, _, false) => ", and does not answer",
                    (false, _, true) => ", and fails",
                    (false, _, false) => ", fails, and does not answer",
                };
                let request = crate::recording::name::request(request);
                plain("store".to_owned(), format!("is to {request}, for {}{how}", lane(life)))
            }
            Happening::Answer { life, answer, .. } => {
                plain(lane(life), format!("the store's answer arrives: {}", answer_name(answer)))
            }
            Happening::Record { from, life, record } => plain(
                lane(life),
                format!("the bus brings {}, from {}", record_name(record), self.lane(*from)),
            ),
            Happening::Directory { life, change } => plain(
                lane(life),
                format!("the directory, {}: {} {:?}", change.revision, change.user, change.kind),
            ),
            Happening::Say { client, message } => {
                plain(client.to_string(), format!("says {}", self.check.said[*message as usize].token))
            }
            Happening::Redial { client } => plain(client.to_string(), "dials again".to_owned()),
            Happening::Revive { client, .. } => {
                plain(client.to_string(), "its process starts again".to_owned())
            }
            Happening::Stop { node, .. } => (node.to_string(), "is told to stop".to_owned(), true),
            Happening::Start { node, .. } => (node.to_string(), "starts".to_owned(), true),
        }
    }

    fn up_words(&self, conn: ConnKey, up: &Up) -> String {
        up_name(up, self.conns[conn as usize].is_session).1
    }
}
