//! An engine beside the one that is recorded, which is told the stand-ins.
//!
//! What a server does with what was really said is nobody's business, so a redacted recording has what an engine does that was told the stand-ins,
//! and that engine's state where a file begins. It is as true as the other one as long as no rule looks at what is redacted.

use bytes::Bytes;
use switchboard_engine::{
    Server,
    recording::{Acted, ActionDigest, Decoder, Digests, Encoder, Header, Step, StepError},
};

use super::redact::Redactor;

/// The engine, and what is written of it.
pub(super) struct Shadow {
    redactor: Redactor,
    engine: Server,
    header: Header,
    decoder: Decoder,
    encoder: Encoder,
    digest: ActionDigest,
    acted: Option<Acted>,
    /// It has done something where the other one did nothing, or nothing where that one did something.
    pub(super) has_strayed: bool,
}

impl Shadow {
    /// Of the engine whose first file begins with this header.
    pub(super) fn new(mut header: Header, key: [u64; 2]) -> Self {
        header.is_redacted = true;
        Self {
            redactor: Redactor::new(key),
            engine: Server::new(header.config.clone(), header.seed, header.started_at),
            decoder: Decoder::new(header.started_at),
            encoder: Encoder::new(header.started_at),
            digest: ActionDigest::default(),
            acted: None,
            has_strayed: false,
            header,
        }
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// Tells it what the other engine was told; gives that with stand-ins, and with what came of it here.
    pub(super) fn tell(&mut self, steps: Vec<u8>) -> Result<Vec<u8>, StepError> {
        let mut redacted = Vec::with_capacity(steps.len());
        self.redactor.redact(steps, |step| redacted.extend_from_slice(&step))?;
        self.decoder.feed(Bytes::from(redacted));
        while let Some((now, step)) = self.decoder.step()? {
            match step {
                Step::Event(event) => {
                    self.encoder.event(now, &event);
                    self.engine.handle(now, event);
                    self.act();
                }
                Step::Timeout => {
                    self.encoder.timeout(now);
                    self.engine.handle_timeout(now);
                    self.act();
                }
                Step::Acted(_) => self.has_strayed |= self.acted.take().is_none(),
                Step::Digests(_) => {
                    let actions = std::mem::take(&mut self.digest).finish();
                    let digests = Digests { actions, state: self.engine.full_digest() };
                    self.encoder.digests(digests);
                }
            }
        }
        Ok(self.encoder.take())
    }

    fn act(&mut self) {
        // What the other one did is told after what it was told.
        self.has_strayed |= self.acted.is_some();
        while let Some(action) = self.engine.poll_action() {
            self.digest.add(&action);
        }
        self.acted = self.digest.end_step();
        if let Some(acted) = self.acted {
            self.encoder.acted(acted);
        }
    }

    /// Begins another file; gives its header and the state in it. None if there is no such state: then there is no other file.
    pub(super) fn next_part(&mut self, wall_ms: i64, skip: bool) -> Option<(Header, Vec<u8>)> {
        let state = self.engine.snapshot().ok()?;
        let now = self.decoder.now();
        self.header.part = self.header.part.saturating_add(1 + u32::from(skip));
        (self.header.started_at, self.header.wall_ms) = (now, wall_ms);
        (self.encoder, self.digest) = (Encoder::new(now), ActionDigest::default());
        Some((self.header.clone(), state))
    }
}
