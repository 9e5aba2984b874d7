//! What a session has counted.

use crate::digest::Digest;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters of a [`Session`](crate::Session), since it was made.
        ///
        /// At every moment `submitted` equals `accepted`, `rejected`, `rejected_locally` and
        /// [`Session::pending_submits`](crate::Session::pending_submits), together.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct SessionStats {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl SessionStats {
            /// Each counter with its name, in a fixed order.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }
    };
}

counters! {
    /// Links dialled.
    dialled,
    /// Links opened.
    opened,
    /// Greetings answered.
    welcomed,
    /// Links lost, failed attempts included.
    lost,
    /// Events of links that are not the current one: late, or never asked for.
    stale_events,
    /// Events of the current link that cannot happen in its state: the driver's mistakes.
    misplaced_events,
    /// Frames and Pings discarded because the driver did not drain the actions.
    undrained_events,
    /// Frames received over an open link, undecodable ones included.
    received,
    /// Frames that came while the link was being closed, or after a Goodbye, and were ignored.
    ignored,
    /// Frames that were not what the protocol says: undecodable, contradictory, out of turn, or without what
    /// they must have.
    protocol_errors,
    /// Links given up for one of these.
    given_up,
    /// Answers to nothing that is being asked: late ones, repeated ones, invented ones.
    unasked,
    /// Heartbeats sent.
    heartbeats,
    /// Answers to heartbeats.
    heartbeats_received,
    /// Pings that stay unanswered because too many answers wait to be written.
    pongs_skipped,
    /// Messages taken for sending, those that the session began with included.
    submitted,
    /// Messages refused by `submit`, and those that the session was to begin with twice.
    refused,
    /// Messages stored.
    accepted,
    /// Messages that the server rejected for good.
    rejected,
    /// Messages larger than the server reads.
    rejected_locally,
    /// Submits sent.
    submits_sent,
    /// Submits that the server could not take.
    submits_delayed,
    /// Submits whose answer was lost with their link.
    submits_requeued,
    /// Messages told to the application.
    told,
    /// Deliveries of messages that were told already.
    duplicates,
    /// Messages that came before those with earlier places.
    early,
    /// Early messages for which there was no room.
    early_dropped,
    /// Messages of another epoch than the conversation's: late, or the first signs of a new one.
    foreign,
    /// Heads and pages behind what was told already: the log has moved on since they were read.
    stale_heads,
    /// Places that somebody claimed and a page did not confirm.
    refuted,
    /// Conversations whose log was replaced after something of it was told or skipped.
    resets,
    /// Places left out because they may not be read, or the history is limited.
    skips,
    /// Times that something of a conversation or a call beyond the limit was ignored.
    unfollowed,
    /// Resyncs sent.
    resyncs,
    /// Marks sent.
    marks_sent,
    /// Marks told of another epoch than the conversation's, or of a conversation that is not known.
    marks_foreign,
    /// Signs of the user's typing sent.
    typing_sent,
    /// Others' signs of typing for which there was no room.
    typists_dropped,
    /// Times that users who are watched were named.
    watches,
    /// Calls that others have begun.
    calls_rung,
    /// Calls that the application was told the end of.
    calls_ended,
    /// Fetches sent.
    fetches,
    /// Fetches that the server could not do now.
    fetches_delayed,
    /// Fetches that the server will not do.
    fetches_refused,
}

impl SessionStats {
    pub(super) fn fold(&self, digest: &mut Digest<'_>) {
        self.iter().for_each(|(_, count)| digest.word(count));
    }
}
