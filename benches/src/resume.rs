//! What it costs a server that a client comes back who has missed something.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

use serde::Serialize;
use switchboard_proto::v1::{
    Content, Conversation, Fetch, Head, Hello, Submit, client_frame, server_frame::Body,
};

use crate::plot::{Paint, Panel};
use crate::report::{Spread, row, shortfall_rows};
use crate::session::{Session, settled};
use crate::{BenchError, Progress, Report, Target, random, wire};

/// What to measure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ResumeOptions {
    /// Messages that were missed, and conversations of which the heads are told.
    pub messages: usize,
    /// Conversations that the messages are spread over, in the second part.
    pub conversations: usize,
    /// Size of a message's text, in bytes.
    pub text_bytes: usize,
    /// How often the client comes back; nothing changes by that.
    pub runs: usize,
}

impl Default for ResumeOptions {
    fn default() -> Self {
        Self { messages: 10_000, conversations: 100, text_bytes: 80, runs: 5 }
    }
}

impl ResumeOptions {
    fn validate(&self) -> Result<(), BenchError> {
        let rules = [
            ("--messages", "between 1 and 1000000", (1..=1_000_000).contains(&self.messages)),
            ("--conversations", "between 1 and --messages", {
                (1..=self.messages).contains(&self.conversations)
            }),
            ("--text-bytes", "between 1 and 65536", (1..=65_536).contains(&self.text_bytes)),
            ("--runs", "at least 1", self.runs > 0),
        ];
        match rules.into_iter().find(|(_, _, holds)| !holds) {
            Some((option, rule, _)) => Err(BenchError::Option { option, rule }),
            None => Ok(()),
        }
    }
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResumeReport {
    /// What was asked for.
    pub options: ResumeOptions,
    /// Each case.
    pub parts: Vec<Part>,
    /// What was asked for and not reached, in words; empty after good runs.
    pub shortfalls: Vec<String>,
}

/// One case.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    /// Which.
    pub what: String,
    /// Heads told.
    pub heads: usize,
    /// Pages sent.
    pub pages: usize,
    /// Messages in them.
    pub messages: usize,
    /// Bytes of all frames from the `Welcome` on.
    pub bytes: u64,
    /// CPU time of the server from the `Hello` until it is quiet after the last page, in milliseconds.
    pub server_cpu_ms: Option<Spread>,
    /// From the `Hello` until the last page was read, in milliseconds.
    pub elapsed_ms: Option<Spread>,
}

/// Fills the logs, and comes back to each.
///
/// # Errors
/// Wrong options, or a server that does not do what the protocol says.
pub fn run(
    options: &ResumeOptions,
    target: &Target,
    progress: &mut Progress,
) -> Result<ResumeReport, BenchError> {
    options.validate()?;
    let ResumeOptions { messages, conversations, .. } = *options;
    let mut report = ResumeReport { options: options.clone(), parts: Vec::new(), shortfalls: Vec::new() };
    // Names of this run alone: a server that is used again has the logs of the last one.
    let run = Filler { target: target.address, id: random::id(), text: "x".repeat(options.text_bytes) };

    fill(&run, "one", 1, messages, progress)?;
    fill(&run, "many", conversations, messages, progress)?;
    // Whoever begins a conversation has it among his own: one device makes what the other one missed.
    progress.show(|| format!("filling {messages} conversations"));
    let others = (0..messages).map(|other| run.name(&format!("head-{other:06}")));
    run.submit(&run.name("heads"), others)?;

    let cases = [
        (format!("{messages} messages of one conversation"), "one", messages, 1),
        (format!("{messages} messages of {conversations} conversations"), "many", messages, conversations),
        (format!("heads of {messages} conversations"), "heads", 0, messages),
    ];
    for (what, user, messages, heads) in cases {
        progress.show(|| what.clone());
        let part = part(options, target, &what, &run.name(user), messages > 0)?;
        if (part.messages, part.heads) != (messages, heads) {
            let (got, told) = (part.messages, part.heads);
            report
                .shortfalls
                .push(format!("{what}: got {got} messages and {told} heads, not {messages} and {heads}"));
        }
        report.parts.push(part);
    }
    progress.clear();
    Ok(report)
}

/// Writes what is missed.
struct Filler {
    target: SocketAddr,
    id: u64,
    text: String,
}

impl Filler {
    fn name(&self, who: &str) -> String {
        format!("resume-{:016x}-{who}", self.id)
    }

    /// Sends one message to each recipient, in order, and waits until all are accepted.
    fn submit(&self, sender: &str, to: impl Iterator<Item = String>) -> Result<(), BenchError> {
        let mut session = Session::connect(self.target, sender)?;
        session.send(&[hello()])?;
        session.submit(to.enumerate().map(|(nth, to)| self.message(nth, &to)))
    }

    fn message(&self, nth: usize, to: &str) -> client_frame::Body {
        // Spread over the whole range, as random ones are.
        let nth = u64::try_from(nth).unwrap_or_default();
        let id = (u128::from(nth.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 64 | u128::from(nth)).to_be_bytes();
        client_frame::Body::Submit(Submit {
            message_id: id.to_vec().into(),
            conversation: Some(wire::user_conversation(to)),
            content: Some(Content { kind: 1, text: self.text.clone(), ..Content::default() }),
        })
    }
}

/// Has others write so many messages to a user, each in a conversation of its own.
fn fill(
    run: &Filler,
    user: &str,
    others: usize,
    messages: usize,
    progress: &mut Progress,
) -> Result<(), BenchError> {
    for other in 0..others {
        progress.show(|| format!("filling {messages} messages: {other} of {others} conversations"));
        let share = messages / others + usize::from(other < messages % others);
        let to = run.name(user);
        run.submit(&run.name(&format!("{user}-{other:06}")), std::iter::repeat_n(to, share))?;
    }
    Ok(())
}

fn hello() -> client_frame::Body {
    client_frame::Body::Hello(Hello { device_id: vec![9; 16].into(), cursors: Vec::new() })
}

/// What one return brought.
#[derive(Default)]
struct Return {
    heads: Vec<Head>,
    pages: usize,
    messages: usize,
}

#[allow(clippy::cast_precision_loss, reason = "microseconds of a run are far below 2^52")]
fn part(
    options: &ResumeOptions,
    target: &Target,
    what: &str,
    user: &str,
    fetches: bool,
) -> Result<Part, BenchError> {
    let (mut cpu_ms, mut elapsed_ms) = (Vec::new(), Vec::new());
    let mut last = (Return::default(), 0);
    for _ in 0..options.runs {
        let mut session = Session::connect(target.address, user)?;
        let before = target.process.as_ref().map(settled).transpose()?;
        let start = Instant::now();
        let found = come_back(&mut session, fetches)?;
        elapsed_ms.push(start.elapsed().as_secs_f64() * 1e3);
        let after = target.process.as_ref().map(settled).transpose()?;
        cpu_ms.extend(before.zip(after).map(|(before, after)| (after - before).as_secs_f64() * 1e3));
        last = (found, session.received_bytes);
    }
    let (found, bytes) = last;
    Ok(Part {
        what: what.to_owned(),
        heads: found.heads.len(),
        pages: found.pages,
        messages: found.messages,
        bytes,
        server_cpu_ms: Spread::of(cpu_ms),
        elapsed_ms: Spread::of(elapsed_ms),
    })
}

/// Says Hello, and fetches all that the heads name if that is asked for.
fn come_back(session: &mut Session, fetches: bool) -> Result<Return, BenchError> {
    let mut found = Return::default();
    session.send(&[hello()])?;
    let mut limit = 1;
    loop {
        #[allow(
            clippy::wildcard_enum_match_arm,
            reason = "what is waited for is named; anything else is one fault"
        )]
        match session.next()? {
            Body::Welcome(welcome) => limit = welcome.limits.map_or(1, |limits| limits.fetches.max(1)),
            Body::Heads(heads) => {
                found.heads.extend(heads.heads);
                if heads.last {
                    break;
                }
            }
            other => return Err(session.wrong(&format!("{other:?} instead of heads"))),
        }
    }
    if !fetches {
        return Ok(found);
    }
    let next = |head: &Head| (head.conversation.clone(), head.first_seq.max(1));
    let mut wanted: VecDeque<(Option<Conversation>, u64)> = found.heads.iter().map(next).collect();
    let limit = usize::try_from(limit).unwrap_or(1);
    let mut open = 0;
    while open > 0 || !wanted.is_empty() {
        let mut some = Vec::new();
        while open < limit
            && let Some((conversation, from_seq)) = wanted.pop_front()
        {
            open += 1;
            some.push(client_frame::Body::Fetch(Fetch { conversation, from_seq, ..Fetch::default() }));
        }
        session.send(&some)?;
        #[allow(
            clippy::wildcard_enum_match_arm,
            reason = "what is waited for is named; anything else is one fault"
        )]
        match session.next()? {
            Body::Page(page) => {
                open -= 1;
                found.pages += 1;
                found.messages += page.messages.len();
                let last = page.messages.last().map_or(page.head_seq, |message| message.seq);
                if last < page.head_seq {
                    wanted.push_back((page.conversation, last + 1));
                }
            }
            other => return Err(session.wrong(&format!("{other:?} instead of a page"))),
        }
    }
    Ok(found)
}

impl Report for ResumeReport {
    fn shortfalls(&self) -> &[String] {
        &self.shortfalls
    }

    fn panels(&self) -> Vec<Panel> {
        let names = ["one conversation", "many", "heads alone"];
        let parts = || names.into_iter().map(str::to_owned).zip(&self.parts);
        let cpu = parts().map(|(name, part)| (name, Paint::Own, part.server_cpu_ms));
        let elapsed = parts().map(|(name, part)| (name, Paint::Own, part.elapsed_ms));
        vec![Panel::of_values("server CPU, ms", cpu), Panel::of_values("until all was there, ms", elapsed)]
    }
}

impl fmt::Display for ResumeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ResumeOptions { runs, text_bytes, .. } = &self.options;
        writeln!(f, "resume: texts of {text_bytes} bytes, {runs} runs each")?;
        for part in &self.parts {
            let Part { what, heads, pages, bytes, .. } = part;
            writeln!(f, "  {what} ({heads} heads, {pages} pages, {} KiB)", bytes / 1024)?;
            match &part.server_cpu_ms {
                Some(cpu_ms) => row(f, "server CPU, ms", format_args!("{cpu_ms}"))?,
                None => row(f, "server", format_args!("not measured: its process is not known"))?,
            }
            if let Some(elapsed_ms) = &part.elapsed_ms {
                row(f, "elapsed, ms", format_args!("{elapsed_ms}"))?;
            }
        }
        shortfall_rows(f, &self.shortfalls)
    }
}
