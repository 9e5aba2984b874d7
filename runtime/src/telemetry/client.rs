//! How the exporter speaks HTTP: by `ureq`, which blocks, on the exporter's own thread.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use ureq::{
    Agent,
    tls::{RootCerts, TlsConfig},
};

use super::gate::Tally;

/// How much of an answer is read: what it says is how many spans were not taken.
const ANSWER_LIMIT_BYTES: u64 = 64 << 10;

#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    tally: Arc<Tally>,
}

impl Client {
    /// No request takes longer than this.
    pub(super) fn new(timeout: Duration, tally: Arc<Tally>) -> Self {
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("switchboard/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(timeout))
            .tls_config(tls)
            .build()
            .new_agent();
        Self { agent, tally }
    }

    fn ask(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ureq::Error> {
        let (parts, body) = request.into_parts();
        let answer = self.agent.run(Request::from_parts(parts, body.as_ref()))?;
        let (parts, mut body) = answer.into_parts();
        let body = body.with_config().limit(ANSWER_LIMIT_BYTES).read_to_vec()?;
        Ok(Response::from_parts(parts, body.into()))
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // The exporter keeps neither of the two.
        match self.ask(request) {
            Ok(answer) => {
                if !answer.status().is_success() {
                    self.tally.note(format!("it answers {}", answer.status()));
                }
                Ok(answer)
            }
            Err(error) => {
                self.tally.note(error.to_string());
                Err(error.into())
            }
        }
    }
}
