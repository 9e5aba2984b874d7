//! The sockets of one shard, by slot; the other half of what makes a `ConnId`.

use mio::net::TcpStream;
use rustls::ServerConnection;
use switchboard_engine::ConnId;

use super::{Place, socket::Socket};

/// The table of sockets. A slot's generation grows whenever the slot becomes free.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    socket: Option<Socket>,
}

impl Sockets {
    /// Gives a connection its id, unless all slots up to the limit are taken.
    pub(super) fn insert(
        &mut self,
        stream: TcpStream,
        tls: Option<ServerConnection>,
        taken: Place,
        limit: u32,
    ) -> Option<&mut Socket> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = u32::try_from(self.slots.len()).ok().filter(|slot| *slot < limit)?;
                self.slots.push(Slot { generation: 0, socket: None });
                slot
            }
        };
        let place = self.slots.get_mut(slot as usize)?;
        let id = ConnId::new(slot, place.generation);
        Some(place.socket.insert(Socket::new(id, stream, tls, taken)))
    }

    /// The connection that has this slot now.
    pub(super) fn at(&mut self, slot: usize) -> Option<&mut Socket> {
        self.slots.get_mut(slot)?.socket.as_mut()
    }

    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut Socket> {
        self.slots.get_mut(id.slot() as usize)?.socket.as_mut().filter(|socket| socket.id == id)
    }

    /// Removes a connection. A slot whose generations are used up is never taken again.
    pub(super) fn remove(&mut self, id: ConnId) -> Option<Socket> {
        self.get_mut(id)?;
        let slot = self.slots.get_mut(id.slot() as usize)?;
        let socket = slot.socket.take();
        if let Some(next) = slot.generation.checked_add(1) {
            slot.generation = next;
            self.free.push(id.slot());
        }
        socket
    }
}
