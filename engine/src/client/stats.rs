//! What a client has counted.

use crate::digest::Digest;

/// Counters of a [`Client`](crate::Client), since it was made.
///
/// At every moment `accepted` equals `flushed`, the four `dropped_…` and the messages still pending, together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientStats {
    /// Links dialled.
    pub dialled: u64,
    /// Links opened.
    pub opened: u64,
    /// Links lost, failed attempts included.
    pub lost: u64,
    /// Events of links that are not the current one: late, or never asked for.
    pub stale_events: u64,
    /// Events of the current link that cannot happen in its state: the driver's mistakes.
    pub misplaced_events: u64,
    /// Messages and Pings discarded because the driver did not drain the actions.
    pub undrained_events: u64,
    /// Messages received over an open link, heartbeats and undecodable ones included.
    pub received: u64,
    /// Messages that were not what the protocol says.
    pub undecodable: u64,
    /// Messages that came while the link was being closed, and were ignored.
    pub ignored: u64,
    /// Answers to heartbeats.
    pub heartbeats_received: u64,
    /// Heartbeats queued.
    pub heartbeats: u64,
    /// Pings that stay unanswered because too many answers wait to be written.
    pub pongs_skipped: u64,
    /// Messages accepted for sending.
    pub accepted: u64,
    /// Messages refused by `send`.
    pub refused: u64,
    /// Messages flushed.
    pub flushed: u64,
    /// Times that a message was queued again because its link was lost.
    pub requeued: u64,
    /// Call signals dropped with their link.
    pub dropped_link_lost: u64,
    /// Live pictures dropped for a newer one.
    pub dropped_superseded: u64,
    /// Messages dropped because the application closed the client.
    pub dropped_closed: u64,
    /// Messages dropped because the server closed the link over them.
    pub dropped_refused: u64,
}

impl ClientStats {
    pub(super) fn fold(&self, digest: &mut Digest<'_>) {
        let Self {
            dialled,
            opened,
            lost,
            stale_events,
            misplaced_events,
            undrained_events,
            received,
            undecodable,
            ignored,
            heartbeats_received,
            heartbeats,
            pongs_skipped,
            accepted,
            refused,
            flushed,
            requeued,
            dropped_link_lost,
            dropped_superseded,
            dropped_closed,
            dropped_refused,
        } = self;
        let counts = [
            dialled,
            opened,
            lost,
            stale_events,
            misplaced_events,
            undrained_events,
            received,
            undecodable,
            ignored,
            heartbeats_received,
            heartbeats,
            pongs_skipped,
            accepted,
            refused,
            flushed,
            requeued,
            dropped_link_lost,
            dropped_superseded,
            dropped_closed,
            dropped_refused,
        ];
        counts.into_iter().for_each(|count| digest.word(*count));
    }
}
