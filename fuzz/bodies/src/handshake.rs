//! Handshakes of WebSockets, which are read in two ways.

use core::cell::RefCell;
use core::convert::Infallible;
use std::rc::Rc;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use switchboard::server::handshake;
use switchboard_engine::{Protocol, UserId};
use tokio::io::AsyncWriteExt as _;

use crate::waiting::done;

/// What the HTTP layer has made of a request.
type Taken = (UserId, Protocol, String);

/// What the short way takes, the HTTP layer takes as well: as the same user's, of the same protocol, with the same answer.
pub fn handshake(data: &[u8]) {
    let usual = handshake::read(data);
    let taken = done(http(data));
    if let Some(usual) = usual {
        let Some((user, protocol, accept)) = taken else { panic!("the HTTP layer refuses {usual:?}") };
        assert_eq!((&usual.user, usual.protocol), (&user, protocol));
        assert!(usual.head_bytes <= data.len());
        let answer = usual.answer("7");
        assert!(answer.contains(&format!("\r\nsec-websocket-accept: {accept}\r\n")), "{answer}");
        // What is behind it is not a part of it.
        let alone = handshake::read(data.get(..usual.head_bytes).unwrap_or_default());
        assert_eq!(alone.as_ref(), Some(&usual));
    }
}

/// Has hyper read the first request, as the gateway does. None if that is no handshake.
async fn http(data: &[u8]) -> Option<Taken> {
    let (mut client, server) = tokio::io::duplex(data.len().max(1) + (64 << 10));
    client.write_all(data).await.ok()?;
    client.shutdown().await.ok()?;
    let first = Rc::new(RefCell::new(None));
    let told = Rc::clone(&first);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        let is_socket = request.method() == hyper::Method::GET && request.uri().path() == "/socket.io";
        let taken = handshake::check(&request).ok().filter(|_| is_socket).and_then(|(user, protocol)| {
            let (answer, _) = fastwebsockets::upgrade::upgrade(&mut request).ok()?;
            let accept = answer.headers().get("sec-websocket-accept")?.to_str().ok()?.to_owned();
            Some((user, protocol, accept))
        });
        told.borrow_mut().get_or_insert(taken);
        async {
            let mut answer = Response::new(Body::empty());
            *answer.status_mut() = StatusCode::BAD_REQUEST;
            Ok::<_, Infallible>(answer)
        }
    });
    // That it ends, and how, is of no interest.
    let _ = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(server), service).await;
    drop(client);
    first.take().flatten()
}
