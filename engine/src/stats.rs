//! What the engine counts. Nothing is dropped or refused without a counter that says why.

/// A struct of numbers that knows its own fields, so that whoever shows them all cannot forget one.
macro_rules! figures {
    ($(#[$of:meta])* pub struct $name:ident { $($(#[doc = $doc:literal])+ $field:ident,)+ }) => {
        $(#[$of])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $field: u64,)+
        }

        impl $name {
            /// All figures with their names, in a fixed order.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), self.$field),)+].into_iter()
            }

            /// What each figure says, in the order of [`iter`](Self::iter). Where a text begins with "Of those", it says more
            /// of the last one before it that does not.
            pub fn meanings() -> impl Iterator<Item = &'static str> {
                [$(concat!($($doc),+),)+].into_iter().map(str::trim_start)
            }
        }
    };
}

pub(crate) use figures;

figures! {
    /// Counters since the engine was made; they only grow.
    pub struct Stats {
        /// Connections that were opened.
        connects,
        /// Of those, ones that were told to come back later, as too many came at once.
        refused_admission,
        /// Connections that are gone.
        disconnects,
        /// Connections that the engine asked to close.
        closes,
        /// Of those, ones that nobody may use any more: a login has ended, a user is banned, an administrator wants it so.
        revoked,
        /// Closing connections that were cut off at the time limit.
        aborts,
        /// Events about connections that are gone, and answers to requests that are not waited for any more.
        stale_events,
        /// Events that contradict what the driver said before. Always zero with a correct driver.
        driver_faults,

        /// Messages received.
        received,
        /// Of those, heartbeats.
        heartbeats,
        /// Of those, ones that are no message of the protocol.
        undecodable,
        /// Of those, ones beyond the rate limits.
        rate_limited,
        /// Of those, ones larger than the limit.
        refused_too_large,
        /// Of those, ones that came after the server was told to stop.
        refused_stopping,
        /// Of those, ones for which there was no room among the pending.
        refused_pending,
        /// Of those, ones whose recipient cannot be an id.
        refused_recipient,
        /// Of those, ones to a group that the sender does not belong to.
        refused_not_member,
        /// Of those, call signals without a recipient from users who are in no call.
        refused_no_call,
        /// Of those, ones of a session before its `Hello`, or a second one; also sessions whose `Hello` did not come.
        refused_out_of_turn,
        /// Of those, submits and fetches with a field that is missing or wrong.
        refused_invalid,
        /// Of those, fetches beyond the limit of one connection.
        refused_fetches,
        /// Of those, marks with a field that is missing or wrong.
        refused_marks,
        /// Of those, signs of typing for a conversation that cannot be, or a group that the sender does not belong to.
        refused_typing,
        /// Things that the server itself has said, to a user or to everybody.
        announced,
        /// Messages whose `from` was not the sender and was corrected.
        corrected_from,

        /// Messages that the store was asked to keep.
        store_requests,
        /// Messages that the store has kept.
        stored,
        /// Messages and files that the store refused.
        store_refused,
        /// Messages and files that the store failed to keep, or did not answer for in time.
        store_failed,
        /// Submits that were answered with their place in the log.
        accepted,
        /// Submits that were stored earlier, so that sessions are told their places.
        places_told,
        /// Parts of logs that the store was asked for.
        fetches,
        /// Of those, ones that the store refused or failed to give, did not give in time, or that there was no room for.
        fetches_failed,
        /// Marks that the store was asked to keep.
        marks,
        /// Of those, ones that were there already.
        marks_unmoved,
        /// Of those, ones that the store refused.
        marks_refused,
        /// Of those, ones that the store failed to keep, or did not answer for in time.
        marks_failed,
        /// Marks that came while others of their conversation were on their way, and wait with the newest for those.
        marks_coalesced,
        /// Marks beyond the limit of one connection.
        marks_dropped,
        /// Signs of typing that were passed on.
        typing,
        /// Loads of heads that failed; it is tried again.
        heads_failed,
        /// Times when a user was last here that the store failed to keep or to give; the latter is tried again.
        seen_failed,
        /// Users who have left without anybody waiting for them to come back, as too many have left; the store keeps no time.
        seen_skipped,
        /// Sides of calls that began here.
        calls,
        /// Of those, ones that are over.
        calls_ended,
        /// Calls for which there was no room, and those of who is in another call.
        calls_refused,
        /// Signals of calls from sessions.
        signals,
        /// Signals for which the other side had no room; that ends their call.
        signals_dropped,
        /// What sessions said of calls that are not, or are not theirs to say it of.
        refused_calls,
        /// What sessions said of calls a second time.
        calls_repeated,
        /// Users whom a session wanted to watch who are beyond its limit, or are no users' ids.
        watches_passed_over,
        /// Users whose profile could not be loaded; it is tried again.
        load_failed,
        /// Groups beyond the limit of one user.
        groups_over_limit,

        /// Messages of logs that were sent to classic clients that had not received them.
        resent,
        /// Messages that are not sent again, as there are too many of their conversation.
        resend_given_up,
        /// Logs and messages that are sent again to the user's next classic client only, as too much is to be sent to this one.
        resend_over_limit,
        /// Requests of the store for this that failed; what is to be sent is asked for again.
        resend_failed,
        /// Messages to classic clients of which is not remembered whether they have arrived: they are sent again.
        receipts_over_limit,
        /// Stored messages that wait for their turn behind what is sent again.
        pushes_withheld,
        /// Of those, ones that there was no room to keep: they are read from the log.
        withheld_over_limit,
        /// Stored messages that count as arrived because their clients, who go on living, answer no Pings.
        receipts_assumed,
        /// Times that the store was told what has arrived.
        received_told,

        /// Records handed to the bus.
        published,
        /// Records taken from the bus.
        bus_received,
        /// Of those, ones that are no message of the protocol.
        bus_undecodable,
        /// Notes handed to the bus.
        notes_told,
        /// Notes taken from the bus.
        notes_received,
        /// Of those, ones that are no note, or not for anybody here to understand.
        notes_undecodable,

        /// Frames meant for a connection. Each ends in one of the counters below, or is still waiting.
        pushes,
        /// Frames that were written to the network.
        pushes_flushed,
        /// Frames for which a connection's outbox had no room.
        pushes_dropped_full,
        /// Stored messages and marks that were not pushed to a session that lags; it is told the heads instead.
        pushes_dropped_lagging,
        /// Signs of typing that were not pushed to a session that reads slowly.
        pushes_dropped_typing,
        /// Live pictures that a newer one replaced before they were sent.
        pushes_dropped_superseded,
        /// Frames that were waiting when their connection closed.
        pushes_dropped_closed,
    }
}
