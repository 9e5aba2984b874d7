//! A client that speaks the session protocol, frame by frame.

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use switchboard_proto::{
    Message as _,
    v1::{
        Accepted, ClientFrame, Content, Conversation, Delivery, Fetch, Head, Heads, Heartbeat, Hello, Page,
        ServerFrame, Submit, Welcome, client_frame as said, conversation::Peer, server_frame::Body,
    },
};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, client::IntoClientRequest as _, http::HeaderValue},
};

use crate::harness::soon;

pub(crate) const SUBPROTOCOL: &str = "switchboard.v1";

/// A client that speaks the session protocol.
pub(crate) struct Device {
    pub(crate) user: String,
    pub(crate) socket: WebSocketStream<TcpStream>,
}

impl Device {
    /// Connects, and says nothing.
    pub(crate) async fn dial(address: std::net::SocketAddr, user: &str) -> Self {
        let stream = soon("connecting", TcpStream::connect(address)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut request = format!("ws://{address}/socket.io?user={user}").into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
        let opened = tokio_tungstenite::client_async(request, stream);
        let (socket, response) = soon("the handshake", opened).await.unwrap();
        assert_eq!(response.headers().get("sec-websocket-protocol").unwrap(), SUBPROTOCOL);
        Self { user: user.to_owned(), socket }
    }

    /// Connects without cursors. Gives what it is told: the welcome, and the heads.
    pub(crate) async fn sign_in(address: std::net::SocketAddr, user: &str) -> (Self, Welcome, Vec<Head>) {
        let mut device = Self::dial(address, user).await;
        device.say(hello()).await;
        let Body::Welcome(welcome) = device.hear().await else { panic!("{user} is not welcomed") };
        let heads = device.heads().await;
        (device, welcome, heads)
    }

    /// Connects as the device of this number, and has read everything that it is told at the beginning.
    pub(crate) async fn sign_in_as(address: std::net::SocketAddr, user: &str, number: u8) -> Self {
        let mut device = Self::dial(address, user).await;
        device.say(hello_of(number)).await;
        assert!(matches!(device.hear().await, Body::Welcome(_)), "{user} is not welcomed");
        device.heads().await;
        device
    }

    pub(crate) async fn say(&mut self, body: said::Body) {
        let bytes: Bytes = ClientFrame { body: Some(body) }.encode_to_vec().into();
        soon("sending", self.socket.send(tungstenite::Message::Binary(bytes))).await.unwrap();
    }

    async fn frame(&mut self) -> Option<tungstenite::Message> {
        let what = format!("a frame for {}", self.user);
        soon(&what, self.socket.next()).await.map(|frame| frame.unwrap())
    }

    /// What the next frame says. Pings are answered on the way.
    pub(crate) async fn hear(&mut self) -> Body {
        loop {
            match self.frame().await {
                Some(tungstenite::Message::Binary(bytes)) => {
                    return ServerFrame::decode(bytes).unwrap().body.unwrap();
                }
                Some(tungstenite::Message::Ping(_) | tungstenite::Message::Pong(_)) => {}
                other => panic!("{} expected a frame and got {other:?}", self.user),
            }
        }
    }

    /// Heads up to the last.
    pub(crate) async fn heads(&mut self) -> Vec<Head> {
        let mut all = Vec::new();
        loop {
            let Body::Heads(Heads { heads, last }) = self.hear().await else { panic!("heads are next") };
            all.extend(heads);
            if last {
                return all;
            }
        }
    }

    pub(crate) async fn submit(&mut self, id: u8, to: &Conversation, content: &str) -> Accepted {
        self.say(submit(id, to, content)).await;
        let Body::Accepted(accepted) = self.hear().await else { panic!("{content:?} is not accepted") };
        assert_eq!((&accepted.message_id[..], accepted.conversation.as_ref()), (&[id; 16][..], Some(to)));
        accepted
    }

    pub(crate) async fn delivery(&mut self) -> Delivery {
        let Body::Delivery(delivery) = self.hear().await else { panic!("a delivery is next") };
        delivery
    }

    /// The next delivery beyond this place: whom a change concerns may be told of it in both its ways.
    pub(crate) async fn delivery_after(&mut self, seq: u64) -> Delivery {
        loop {
            let delivery = self.delivery().await;
            if delivery.seq > seq {
                return delivery;
            }
        }
    }

    pub(crate) async fn fetch(&mut self, fetch: Fetch) -> Page {
        let id = fetch.fetch_id;
        self.say(said::Body::Fetch(fetch)).await;
        let Body::Page(page) = self.hear().await else { panic!("a page is next") };
        assert_eq!(page.fetch_id, id);
        page
    }

    /// All of a conversation's log, whatever is delivered meanwhile.
    pub(crate) async fn page_of(&mut self, conversation: &Conversation) -> Page {
        self.say(said::Body::Fetch(all_of(conversation))).await;
        loop {
            let said = self.hear().await;
            if let Body::Page(page) = said {
                return page;
            }
            assert!(matches!(said, Body::Delivery(_)), "{} expected a page and got {said:?}", self.user);
        }
    }

    /// Everything that was to come before has come: the answer to a heartbeat is next.
    pub(crate) async fn has_nothing_more(&mut self) {
        self.say(said::Body::Heartbeat(Heartbeat { nonce: 77 })).await;
        assert_eq!(self.hear().await, Body::Heartbeat(Heartbeat { nonce: 77 }), "{}", self.user);
    }

    /// The code of the server's close frame, which comes next.
    pub(crate) async fn closed(&mut self) -> u16 {
        let Some(tungstenite::Message::Close(Some(close))) = self.frame().await else {
            panic!("{} is not closed", self.user)
        };
        assert_eq!(self.frame().await, None, "nothing comes after a close frame");
        close.code.into()
    }
}

pub(crate) fn with_user(id: &str) -> Conversation {
    Conversation { peer: Some(Peer::User(id.to_owned())) }
}

pub(crate) fn with_group(id: &str) -> Conversation {
    Conversation { peer: Some(Peer::Group(id.to_owned())) }
}

pub(crate) fn hello() -> said::Body {
    said::Body::Hello(Hello { device_id: Bytes::new(), cursors: Vec::new() })
}

/// The Hello of the device of this number.
pub(crate) fn hello_of(number: u8) -> said::Body {
    said::Body::Hello(Hello { device_id: vec![number; 16].into(), cursors: Vec::new() })
}

pub(crate) fn submit(id: u8, to: &Conversation, content: &str) -> said::Body {
    said::Body::Submit(Submit {
        message_id: vec![id; 16].into(),
        conversation: Some(to.clone()),
        content: Some(Content {
            kind: 1,
            text: content.to_owned(),
            file: String::new(),
            ..Content::default()
        }),
    })
}

pub(crate) fn all_of(conversation: &Conversation) -> Fetch {
    Fetch { fetch_id: 1, conversation: Some(conversation.clone()), from_seq: 1, ..Fetch::default() }
}
