//! Messages under way, from each sender to all who hear it.

use std::collections::VecDeque;
use std::time::Instant;

use hdrhistogram::Histogram;

/// Beyond an hour, a latency counts as an hour.
const LATENCY_LIMIT_NS: u64 = 3_600_000_000_000;

/// Who hears whom, what has not been heard, and how long the rest took. A client hears one sender, in the order in which it
/// sends.
pub(crate) struct Flows {
    /// By client: what it sends.
    flows: Vec<Flow>,
    /// By client: what it hears.
    hearers: Vec<Hearer>,
    /// Of all messages: how many have to be heard by somebody still, counted for each hearer.
    outstanding: u64,
    /// The same, each counted once.
    kept: usize,
    pub(crate) latency: Histogram<u64>,
    /// How many were heard while it was measured.
    pub(crate) measured: u64,
}

#[derive(Clone, Default)]
struct Flow {
    hearers: usize,
    /// The number of the oldest message that somebody lacks.
    first: usize,
    messages: VecDeque<Sent>,
}

/// A message, and how many lack it.
#[derive(Clone, Copy)]
struct Sent {
    at: Instant,
    lacking: usize,
}

#[derive(Clone, Copy, Default)]
struct Hearer {
    /// The client that it hears.
    sender: Option<usize>,
    /// The number of the message that it hears next.
    next: usize,
}

/// What came of messages that a client has received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// So many of them had been sent.
    pub(crate) expected: usize,
    /// So many are now heard by everybody who hears this sender.
    pub(crate) completed: usize,
}

impl Flows {
    /// By client: whom it hears.
    pub(crate) fn new(hears: &[Option<usize>]) -> Self {
        let mut flows = vec![Flow::default(); hears.len()];
        for sender in hears.iter().flatten() {
            if let Some(flow) = flows.get_mut(*sender) {
                flow.hearers += 1;
            }
        }
        #[allow(clippy::expect_used, reason = "the bounds are constants that a histogram can have")]
        let latency = Histogram::new_with_bounds(1, LATENCY_LIMIT_NS, 3).expect("valid bounds");
        let hearers = hears.iter().map(|sender| Hearer { sender: *sender, next: 0 }).collect();
        Self { flows, hearers, outstanding: 0, kept: 0, latency, measured: 0 }
    }

    /// Those whom somebody hears.
    pub(crate) fn senders(&self) -> impl Iterator<Item = usize> {
        self.flows.iter().enumerate().filter(|(_, flow)| flow.hearers > 0).map(|(client, _)| client)
    }

    /// How many clients hear somebody, or are heard.
    pub(crate) fn participants(&self) -> usize {
        let all = self.flows.iter().zip(&self.hearers);
        all.filter(|(flow, hearer)| flow.hearers > 0 || hearer.sender.is_some()).count()
    }

    /// Whom a client hears.
    pub(crate) fn heard_by(&self, client: usize) -> Option<usize> {
        self.hearers.get(client)?.sender
    }

    /// A client has sent so many messages.
    pub(crate) fn sent(&mut self, client: usize, count: usize, at: Instant) {
        let Some(flow) = self.flows.get_mut(client) else { return };
        if flow.hearers > 0 {
            flow.messages.extend(std::iter::repeat_n(Sent { at, lacking: flow.hearers }, count));
            self.outstanding += (flow.hearers * count) as u64;
            self.kept += count;
        }
    }

    /// A client has received so many messages.
    pub(crate) fn arrived(&mut self, client: usize, count: usize, at: Instant, measuring: bool) -> Heard {
        let Some(hearer) = self.hearers.get_mut(client) else { return Heard::default() };
        let Some(flow) = hearer.sender.and_then(|sender| self.flows.get_mut(sender)) else {
            return Heard::default();
        };
        let mut heard = Heard::default();
        let from = hearer.next.saturating_sub(flow.first);
        for message in flow.messages.iter_mut().skip(from).take(count) {
            message.lacking = message.lacking.saturating_sub(1);
            heard.expected += 1;
            if measuring {
                let ns =
                    u64::try_from(at.saturating_duration_since(message.at).as_nanos()).unwrap_or(u64::MAX);
                self.latency.saturating_record(ns);
            }
        }
        hearer.next += heard.expected;
        self.outstanding -= heard.expected as u64;
        if measuring {
            self.measured += heard.expected as u64;
        }
        heard.completed = flow.complete();
        self.kept -= heard.completed;
        heard
    }

    /// A client will receive nothing more: nobody waits for it. Gives how many messages are now heard by everybody else.
    pub(crate) fn gone(&mut self, client: usize) -> usize {
        let Some(hearer) = self.hearers.get_mut(client) else { return 0 };
        let Some(flow) = hearer.sender.take().and_then(|sender| self.flows.get_mut(sender)) else { return 0 };
        flow.hearers -= 1;
        for message in flow.messages.iter_mut().skip(hearer.next.saturating_sub(flow.first)) {
            message.lacking = message.lacking.saturating_sub(1);
            self.outstanding -= 1;
        }
        let completed = flow.complete();
        self.kept -= completed;
        completed
    }

    /// Messages that somebody has not heard.
    pub(crate) const fn kept(&self) -> usize {
        self.kept
    }

    /// Messages that were not heard, counted for each who lacks one.
    pub(crate) const fn outstanding(&self) -> u64 {
        self.outstanding
    }
}

impl Flow {
    /// Takes the messages that everybody has heard off the front, and gives their number.
    fn complete(&mut self) -> usize {
        let complete = self.messages.iter().take_while(|message| message.lacking == 0).count();
        self.messages.drain(..complete);
        self.first += complete;
        complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_complete_when_the_last_one_has_heard_it() {
        // 0 is heard by itself, 1 and 2.
        let mut flows = Flows::new(&[Some(0), Some(0), Some(0), None]);
        let now = Instant::now();
        flows.sent(0, 2, now);
        flows.sent(3, 5, now);
        assert_eq!((flows.outstanding(), flows.kept(), flows.participants()), (6, 2, 3));
        assert_eq!(flows.arrived(0, 1, now, true), Heard { expected: 1, completed: 0 });
        assert_eq!(flows.arrived(1, 2, now, true), Heard { expected: 2, completed: 0 });
        assert_eq!(flows.arrived(2, 1, now, false), Heard { expected: 1, completed: 1 });
        // What was not sent is not expected.
        assert_eq!(flows.arrived(1, 1, now, true), Heard::default());
        assert_eq!(flows.arrived(3, 1, now, true), Heard::default());
        assert_eq!((flows.outstanding(), flows.measured), (2, 3));
        assert_eq!(flows.gone(2), 0);
        assert_eq!(flows.arrived(0, 1, now, true), Heard { expected: 1, completed: 1 });
        assert_eq!(flows.kept(), 0);
        flows.sent(0, 1, now);
        assert_eq!((flows.outstanding(), flows.kept()), (2, 1));
    }
}
