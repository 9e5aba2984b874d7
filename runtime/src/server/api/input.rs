//! What calls take: their JSON, query and path, and who asks.

use axum::{
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{HeaderMap, header, request::Parts},
};
use serde::de::DeserializeOwned;
use switchboard_engine::UserId;

use super::problem::{Kind, Problem};
use crate::{
    accounts::Visitor,
    server::{
        access::{Admitted, Caller, Desk, Peer, Refusal},
        query::is_utf8,
    },
    store::{AccountRole, TokenHash},
};

/// A request's JSON.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Desk> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, desk: &Desk) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            let text = "the request needs the header Content-Type: application/json";
            return Err(Problem::new(Kind::UnsupportedType, text));
        }
        Ok(Self(desk.json(request.into_body()).await?))
    }
}

/// A page of another origin cannot have a browser send this without asking first.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

/// A request's query.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Desk> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, desk).await {
            // Two of them must not become one.
            Ok(_) if !is_utf8(&parts.uri) => Err(Problem::new(Kind::Malformed, "the query is not UTF-8")),
            Ok(Query(params)) => Ok(Self(params)),
            Err(error) => Err(Problem::new(Kind::Malformed, short(&error.body_text()))),
        }
    }
}

/// Refuses a text of a query that is empty, or has more characters than these.
pub(super) fn check_length(name: &str, text: &str, most: usize) -> Result<(), Problem> {
    match text.chars().count() {
        0 => Err(Problem::new(Kind::Malformed, format!("{name} is empty"))),
        count if count > most => {
            let text = format!("{name} has {count} characters; at most {most} are taken");
            Err(Problem::new(Kind::Malformed, text))
        }
        _ => Ok(()),
    }
}

/// The variable parts of a request's path.
pub(super) struct Segments<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Desk> for Segments<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Self, Problem> {
        match Path::<T>::from_request_parts(parts, desk).await {
            Ok(Path(segments)) => Ok(Self(segments)),
            Err(error) => Err(Problem::new(Kind::Malformed, short(&error.body_text()))),
        }
    }
}

/// What is wrong may be as long as the request.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// The user of the session that a request has with it: of who has none, nothing is asked any further.
pub(super) struct Me {
    pub(super) user: UserId,
    pub(super) username: Option<String>,
    pub(super) session: TokenHash,
    pub(super) is_administrator: bool,
    /// For a connection of this process's own, which ends with the call.
    pub(super) admitted: Admitted,
}

impl FromRequestParts<Desk> for Me {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Self, Problem> {
        let caller = desk.admit_session(peer(parts)?, &parts.method, &parts.headers).await;
        let admitted = caller.as_ref().ok().and_then(Caller::admitted);
        match (caller, admitted) {
            (Ok(Caller::User { user, username, session, role }), Some(admitted)) => {
                desk.rates.of_user(&user)?;
                // Where whoever is believed, anybody can have given an administrator another password.
                let is_administrator = role == AccountRole::Administrator && desk.rules.asks_for_passwords();
                Ok(Self { user, username, session, is_administrator, admitted })
            }
            // Nobody is believed here.
            (Ok(Caller::Anyone | Caller::User { .. }), _) => Err(Refusal::LogIn.into()),
            (Err(refusal), _) => {
                desk.rates.of_address(visitor(parts, desk)?.address)?;
                Err(refusal.into())
            }
        }
    }
}

/// A user who runs the server.
pub(super) struct Administrator(pub(super) Me);

impl FromRequestParts<Desk> for Administrator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Self, Problem> {
        let me = Me::from_request_parts(parts, desk).await?;
        if me.is_administrator {
            Ok(Self(me))
        } else {
            Err(Problem::new(Kind::Forbidden, "only administrators may do this"))
        }
    }
}

/// Who has no session yet.
pub(super) struct Guest(pub(super) Visitor);

impl FromRequestParts<Desk> for Guest {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Self, Problem> {
        let visitor = visitor(parts, desk)?;
        desk.rates.of_address(visitor.address)?;
        Ok(Self(visitor))
    }
}

fn visitor(parts: &Parts, desk: &Desk) -> Result<Visitor, Problem> {
    Ok(desk.visitor(peer(parts)?, &parts.headers))
}

fn peer(parts: &Parts) -> Result<Peer, Problem> {
    let peer = parts.extensions.get::<Peer>().copied();
    peer.ok_or_else(|| Problem::internal("a request from nowhere"))
}
