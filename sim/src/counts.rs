//! What is counted while worlds run: rules that the engines reach, and faults that truly happened.

use switchboard_engine::{Canary, Probe, Rule, Shipped};

/// Rules of the engine that the simulator's worlds leave out: promises for longer than anybody waits for a place.
pub const LEFT_OUT: &[Rule] = &[Rule::AdmissionsPromised];

/// How often each rule of the engine was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached([u64; Rule::ALL.len()]);

impl Default for Reached {
    fn default() -> Self {
        Self([0; Rule::ALL.len()])
    }
}

impl Reached {
    /// Adds what another part of the run has counted.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(sum, count)| *sum += count);
    }

    /// Each rule with how often it was reached, in the engine's order, but for [`LEFT_OUT`].
    pub fn iter(&self) -> impl Iterator<Item = (Rule, u64)> {
        Rule::ALL.iter().copied().zip(self.0).filter(|(rule, _)| !LEFT_OUT.contains(rule))
    }

    pub(crate) const fn count(&mut self, rule: Rule) {
        self.0[rule as usize] += 1;
    }
}

/// A probe that can say what it counted.
pub(crate) trait Counts {
    /// How often each rule was reached.
    fn reached(&self) -> Reached;
}

/// The probe of a healthy engine in the simulator: no bugs, and every rule is counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks(Reached);

impl Probe for Marks {
    #[inline(always)]
    fn canary(&self, _: Canary) -> bool {
        false
    }

    #[inline(always)]
    fn reached(&mut self, rule: Rule) {
        self.0.count(rule);
    }
}

/// Exploration copies engines all the time, and counts nothing.
impl Counts for Shipped {
    fn reached(&self) -> Reached {
        Reached::default()
    }
}

impl Counts for Marks {
    fn reached(&self) -> Reached {
        self.0.clone()
    }
}

macro_rules! faults {
    ($($(#[$doc:meta])* $Fault:ident $name:literal,)+) => {
        /// Something that went wrong in a world, because its schedule says so or because of what it said before.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault {
            $($(#[$doc])* $Fault,)+
        }

        impl Fault {
            /// All of them, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$Fault,)+];

            /// The name that reports use: what it is about, and what happened, joined by hyphens.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$Fault => $name,)+ }
            }
        }
    };
}

faults! {
    /// The bus lost a record.
    RecordLost "record-lost",
    /// The bus delivered a record twice.
    RecordRepeated "record-repeated",
    /// A record arrived before one that was published earlier.
    RecordReordered "record-reordered",
    /// A record took longer than without the fault.
    RecordSlow "record-slow",
    /// A partition in both directions stopped a record.
    RecordStopped "record-stopped-both-ways",
    /// A partition in one direction stopped a record.
    RecordStoppedOneWay "record-stopped-one-way",
    /// The store failed to do what it was asked.
    RequestFailed "request-failed",
    /// The store failed, and had done it all the same.
    RequestFailedAndDone "request-failed-but-done",
    /// The store never answered.
    RequestUnanswered "request-unanswered",
    /// The store did something before what it was asked earlier.
    RequestReordered "request-reordered",
    /// The store took longer than without the fault.
    RequestSlow "request-slow",
    /// A connection was lost, and the server knew at once.
    LostSeenByServer "connection-lost-seen-by-server",
    /// A connection was lost, and the client knew at once.
    LostSeenByClient "connection-lost-seen-by-client",
    /// A connection was lost, and both knew at once.
    LostSeenByBoth "connection-lost-seen-by-both",
    /// A connection was lost, and nobody knew.
    LostSeenByNobody "connection-lost-seen-by-nobody",
    /// A server's idle time-out found a connection that was lost.
    HalfOpenFound "half-open-found-by-idle-timeout",
    /// A late event of a connection that is gone came to an engine.
    LateEvent "late-event",
    /// A client stopped reading while it was connected.
    ReaderStopped "reader-stopped",
    /// A client that had stopped reading was closed for it.
    ReaderClosed "reader-stopped-until-closed",
    /// A connection was closed for sending too fast.
    SentTooFast "closed-for-sending-too-fast",
    /// What a client sent, or was sent, took longer than without the fault.
    FrameSlow "frame-slow",
    /// A node died.
    Crashed "crash",
    /// The store was set back to its last backup.
    StoreRestored "store-restored",
    /// The store had not done what a node had asked when that died.
    RequestDied "request-lost-with-its-node",
    /// A node stopped because it was told to.
    Stopped "stop",
    /// A node came back.
    Restarted "restart",
    /// A connection reached a node that was told to stop.
    ArrivedDuringStop "arrived-during-stop",
    /// A clock jumped forward.
    ClockForward "clock-forward",
    /// A clock jumped backward.
    ClockBackward "clock-backward",
    /// The process of a session client died.
    AppDied "client-process-died",
    /// A session client lost all that it had kept.
    AppWiped "client-wiped",
}

/// How often each fault happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally([u64; Fault::ALL.len()]);

impl Default for Tally {
    fn default() -> Self {
        Self([0; Fault::ALL.len()])
    }
}

impl Tally {
    /// Notes one.
    pub(crate) const fn add(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    /// Notes one if it happened.
    pub(crate) fn add_if(&mut self, happened: bool, fault: Fault) {
        self.0[fault as usize] += u64::from(happened);
    }

    /// Adds what another part of the run has counted.
    pub fn add_all(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(sum, count)| *sum += count);
    }

    /// Each fault with how often it happened, in the order of their declaration.
    pub fn iter(&self) -> impl Iterator<Item = (Fault, u64)> {
        Fault::ALL.iter().copied().zip(self.0)
    }
}
