//! Calls as applications are told of them: each ends once, or with the process.

use switchboard_engine::{CallId, CallNews, UserId};

use crate::{spec::Spec, wire};

impl Spec {
    /// An application has begun a call.
    pub(crate) fn begins_call(&mut self, client: u16, id: CallId) {
        if self.is_on {
            self.calls.apps.insert((client, id.0), false);
        }
    }

    /// An application is told something of a call.
    pub(in crate::spec) fn told_call(&mut self, client: u16, id: CallId, user: &UserId, news: &CallNews) {
        let key = (client, id.0);
        let known = self.calls.apps.get(&key).copied();
        let own = self.users[client as usize];
        let other = wire::index(user.as_str());
        let is_rung = self.calls.calls.get(&id.0).is_some_and(|seen| {
            seen.rings.iter().any(|ring| ring.callee == own && Some(ring.caller) == other)
        });
        let holds = match news {
            CallNews::Rings { .. } => {
                self.calls.apps.insert(key, false);
                known.is_none() && is_rung
            }
            CallNews::Accepted => {
                self.calls.apps.insert(key, true);
                known == Some(false)
            }
            CallNews::Signal(_) => known == Some(true),
            CallNews::Ended(_) => self.calls.apps.remove(&key).is_some(),
        };
        if !holds {
            self.fail("protocol", |_| {
                format!("c{client} is told of a call with {user} that is {known:?}: {news:?}")
            });
        }
    }

    /// A process has died, and with it its calls.
    pub(in crate::spec) fn forget_calls(&mut self, client: u16) {
        self.calls.apps.retain(|(of, _), _| *of != client);
    }

    /// A call that an application has and its connection does not know of, once nothing is wrong any more.
    pub(crate) fn hanging_call(&self, client: u16) -> Option<String> {
        let conn = self.apps.get(&client).and_then(|app| app.conn);
        let calls = self.calls.apps.iter().filter(|((of, _), _)| *of == client);
        calls.into_iter().find_map(|((_, id), _)| {
            let part = conn.and_then(|conn| self.part_of(conn, id)).unwrap_or_default();
            (!part.is_open && !part.is_doubtful).then(|| format!("c{client} has a call that is no more"))
        })
    }
}
