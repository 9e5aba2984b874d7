//! Clients that come and then only stay: in this process as far as its open files reach, else in as many of its children as
//! it takes.
//!
//! A child is this program again, as `switchboard-bench crew`: it takes orders from its standard input and answers on its
//! standard output, a line of JSON each, looks after its connections meanwhile, and ends with its input.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::fleet::{Fleet, most_connections, why_nobody};
use crate::{BenchError, Process, Progress, Protocol, Usage};

/// Connections that all loads together may ask for: users are numbered, and those beyond are others'.
pub(crate) const CONNECTIONS_LIMIT: usize = 400_000;

/// How much longer than its order allows a child may take to answer.
const GRACE: Duration = Duration::from_secs(20);

/// How often a child looks for an order; its connections it serves at once.
const LOOK: Duration = Duration::from_millis(5);

/// Where the processes of a generator come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Processes {
    /// The program `switchboard-bench`, unless it is this one.
    pub program: Option<PathBuf>,
    /// Connections of one process, unless it is as many as its open files allow.
    pub connections_each: Option<usize>,
}

/// Who connects where.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Share {
    /// The servers; clients are dealt out to them in turn.
    pub(crate) targets: Vec<SocketAddr>,
    pub(crate) protocol: Protocol,
    pub(crate) count: usize,
    /// Time to be connected and welcomed.
    pub(crate) limit: Duration,
}

/// How clients are at a moment.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Count {
    /// Welcomed, and still connected.
    pub(crate) ready: usize,
    /// Why the others are not, and how many for each reason.
    pub(crate) complaints: Vec<(String, usize)>,
    /// What the generator has used, all its processes together.
    pub(crate) usage: Usage,
}

/// What a child is told.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    /// Connect, as users from this number on.
    Open(usize, Share),
    /// Cut all connections and open them again, all at once.
    Again,
    /// Say how they are.
    Count,
}

type Answer = Result<Count, String>;

/// All clients of such a load.
pub(crate) struct Crew {
    share: Share,
    hands: Hands,
}

enum Hands {
    Here(Box<Fleet>),
    Children(Vec<Hand>),
}

impl Crew {
    /// Connects them, a few at a time; fails if nobody is welcomed.
    pub(crate) fn open(
        share: Share,
        processes: &Processes,
        progress: &mut Progress,
    ) -> Result<Self, BenchError> {
        let most = most_connections()?;
        let each = processes.connections_each.map_or(most, |each| each.clamp(1, most));
        let (count, limit) = (share.count, share.limit);
        let hands = if count <= each {
            let mut fleet = Fleet::empty(0)?;
            fleet.open_some(&share.targets, share.protocol, count, limit, progress)?;
            Hands::Here(Box::new(fleet))
        } else {
            let number = count.div_ceil(each);
            let mut hands = Vec::new();
            for nth in 0..number {
                let (first, end) = (count * nth / number, count * (nth + 1) / number);
                let mut hand = Hand::start(processes)?;
                hand.order(&Order::Open(first, Share { count: end - first, ..share.clone() }))?;
                hands.push(hand);
            }
            answers(&mut hands, limit, progress, "connecting")?;
            Hands::Children(hands)
        };
        let mut crew = Self { share, hands };
        let Count { ready, complaints, .. } = crew.count(progress)?;
        if ready == 0 {
            let target = crew.share.targets.first().copied().unwrap_or(([127, 0, 0, 1], 0).into());
            let (seconds, why) = (limit.as_secs_f64(), why_nobody(complaints));
            return Err(BenchError::NobodyConnected { target, seconds, why });
        }
        Ok(crew)
    }

    /// Cuts all connections and opens as many again, without waiting for any; ends when all are welcomed or closed.
    pub(crate) fn again(&mut self, progress: &mut Progress) -> Result<(), BenchError> {
        let Share { limit, .. } = self.share;
        match &mut self.hands {
            Hands::Here(fleet) => again(fleet, &self.share, progress),
            Hands::Children(hands) => {
                for hand in &mut *hands {
                    hand.order(&Order::Again)?;
                }
                answers(hands, limit, progress, "connecting again").map(|_| ())
            }
        }
    }

    /// Lets time go by.
    pub(crate) fn rest(&mut self, until: Instant, progress: &mut Progress) -> Result<(), BenchError> {
        let count = self.share.count;
        while Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            match &mut self.hands {
                Hands::Here(fleet) => fleet.turn(Some(left), |_, _, _| {})?,
                Hands::Children(_) => thread::sleep(left.min(Duration::from_millis(100))),
            }
            progress.show(|| format!("{count} connections are idle: {:.0} s left", left.as_secs_f64()));
        }
        Ok(())
    }

    /// How they are.
    pub(crate) fn count(&mut self, progress: &mut Progress) -> Result<Count, BenchError> {
        let own = Process::this()?.usage()?;
        match &mut self.hands {
            Hands::Here(fleet) => {
                Ok(Count { ready: fleet.ready(), complaints: fleet.complaints(), usage: own })
            }
            Hands::Children(hands) => {
                for hand in &mut *hands {
                    hand.order(&Order::Count)?;
                }
                let counts = answers(hands, Duration::ZERO, progress, "counting")?;
                Ok(together(own, &counts))
            }
        }
    }

    /// In how many processes they are.
    pub(crate) const fn processes(&self) -> usize {
        match &self.hands {
            Hands::Here(_) => 1,
            Hands::Children(hands) => hands.len(),
        }
    }
}

fn again(fleet: &mut Fleet, share: &Share, progress: &mut Progress) -> Result<(), BenchError> {
    let deadline = Instant::now() + share.limit;
    fleet.cut();
    fleet.open_all(&share.targets, share.protocol, share.count, deadline, progress)
}

fn together(own: Usage, counts: &[Count]) -> Count {
    let mut all = Count { ready: 0, complaints: Vec::new(), usage: own };
    for Count { ready, complaints, usage } in counts {
        all.ready += ready;
        all.usage.cpu_seconds += usage.cpu_seconds;
        all.usage.rss_kib += usage.rss_kib;
        for (why, count) in complaints {
            match all.complaints.iter_mut().find(|(other, _)| other == why) {
                Some((_, sum)) => *sum += count,
                None => all.complaints.push((why.clone(), *count)),
            }
        }
    }
    all
}

/// The answers of all, each of which was told the same.
fn answers(
    hands: &mut [Hand],
    limit: Duration,
    progress: &mut Progress,
    what: &str,
) -> Result<Vec<Count>, BenchError> {
    let deadline = Instant::now() + limit.saturating_add(GRACE);
    let (number, mut counts) = (hands.len(), Vec::new());
    for hand in hands {
        loop {
            match hand.answers.recv_timeout(Duration::from_millis(100)) {
                Ok(Ok(count)) => break counts.push(count),
                Ok(Err(what)) => return Err(BenchError::Crew { what }),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(BenchError::Crew { what: "it has ended".to_owned() });
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() > deadline => {
                    return Err(BenchError::Crew { what: "it does not answer".to_owned() });
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            progress.show(|| format!("{what}: {} of {number} processes are done", counts.len()));
        }
    }
    Ok(counts)
}

/// A child; it is ended with this value.
struct Hand {
    child: Child,
    orders: ChildStdin,
    answers: Receiver<Answer>,
}

impl Hand {
    fn start(processes: &Processes) -> Result<Self, BenchError> {
        let program = match &processes.program {
            Some(program) => program.clone(),
            None => std::env::current_exe().map_err(BenchError::io("looking for this program"))?,
        };
        let mut child = Command::new(&program)
            .arg("crew")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| BenchError::Start { path: program, hint: "", source })?;
        let (Some(orders), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(BenchError::Crew { what: "it has no pipes".to_owned() });
        };
        let (sender, answers) = mpsc::channel();
        // Ends with the child, whose output it reads.
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let answer = serde_json::from_str(&line).unwrap_or_else(|_| Err(format!("it says {line:?}")));
                if sender.send(answer).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, orders, answers })
    }

    fn order(&mut self, order: &Order) -> Result<(), BenchError> {
        let failed = BenchError::io("giving orders to another process of the generator");
        let line = serde_json::to_string(order).map_err(std::io::Error::from);
        line.and_then(|line| writeln!(self.orders, "{line}")).map_err(failed)
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a child does: takes orders until there are no more.
///
/// # Errors
/// An answer that cannot be written, or a poll that fails. What an order meets is in its answer.
pub fn serve(orders: impl BufRead + Send + 'static, mut answers: impl Write) -> Result<(), BenchError> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in orders.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let mut clients: Option<(Fleet, Share)> = None;
    loop {
        let line = match (lines.try_recv(), &mut clients) {
            (Ok(line), _) => line,
            (Err(TryRecvError::Disconnected), _) => return Ok(()),
            (Err(TryRecvError::Empty), Some((fleet, _))) => {
                fleet.turn(Some(LOOK), |_, _, _| {})?;
                continue;
            }
            (Err(TryRecvError::Empty), None) => {
                thread::sleep(LOOK);
                continue;
            }
        };
        let answer: Answer = obey(&line, &mut clients).map_err(|error| error.to_string());
        serde_json::to_string(&answer)
            .map_err(std::io::Error::from)
            .and_then(|line| writeln!(answers, "{line}"))
            .and_then(|()| answers.flush())
            .map_err(BenchError::io("answering an order"))?;
    }
}

fn obey(line: &str, clients: &mut Option<(Fleet, Share)>) -> Result<Count, BenchError> {
    let order = serde_json::from_str(line).map_err(|error| BenchError::Crew { what: error.to_string() })?;
    let progress = &mut Progress::silent();
    match order {
        Order::Open(first, share) => {
            let mut fleet = Fleet::empty(first)?;
            fleet.open_some(&share.targets, share.protocol, share.count, share.limit, progress)?;
            *clients = Some((fleet, share));
        }
        Order::Again => {
            if let Some((fleet, share)) = clients {
                again(fleet, share, progress)?;
            }
        }
        Order::Count => {}
    }
    let (ready, complaints) =
        clients.as_ref().map_or_else(Default::default, |(fleet, _)| (fleet.ready(), fleet.complaints()));
    Ok(Count { ready, complaints, usage: Process::this()?.usage()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(ready: usize, complaints: &[(&str, usize)]) -> Count {
        let complaints = complaints.iter().map(|(why, count)| ((*why).to_owned(), *count)).collect();
        Count { ready, complaints, usage: Usage { cpu_seconds: 1.5, rss_kib: 10 } }
    }

    #[test]
    fn what_processes_have_counted_is_added_up() {
        let own = Usage { cpu_seconds: 1.0, rss_kib: 5 };
        let all = together(own, &[count(3, &[("closed", 1)]), count(4, &[("refused", 2), ("closed", 5)])]);
        assert_eq!((all.ready, all.usage), (7, Usage { cpu_seconds: 4.0, rss_kib: 25 }));
        assert_eq!(all.complaints, [("closed".to_owned(), 6), ("refused".to_owned(), 2)]);
    }

    #[test]
    fn orders_that_cannot_be_read_are_answered_and_the_end_of_orders_is_the_end() {
        let mut answers = Vec::new();
        serve(&b"dance\n\"count\"\n"[..], &mut answers).unwrap();
        let answers = String::from_utf8(answers).unwrap();
        let answers: Vec<Answer> = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(answers[0].is_err());
        assert_eq!(answers[1].as_ref().unwrap().ready, 0);
    }
}
