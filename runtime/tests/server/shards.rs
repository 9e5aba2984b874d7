//! People of whom it is known that they are on different shards.

use tokio::sync::OnceCell;
use tokio_tungstenite::tungstenite::{self, http::StatusCode};

use crate::{
    harness::{TestServer, open},
    raw::health_becomes,
};

/// Users of a server with two shards: Alice and Carol are on one of them, Bob and Dave on the other one.
#[derive(Debug)]
pub(crate) struct People {
    pub(crate) alice: String,
    pub(crate) carol: String,
    pub(crate) bob: String,
    pub(crate) dave: String,
}

/// Who is where is the same at every server with two shards.
pub(crate) async fn people() -> &'static People {
    static PEOPLE: OnceCell<People> = OnceCell::const_new();
    PEOPLE.get_or_init(find).await
}

/// Where a name leads only the server knows. It is found out with room for one connection on each shard: while Alice
/// has one, whoever is refused is where she is.
async fn find() -> People {
    let server = TestServer::start(|config| (config.shards, config.limits.connections) = (2, 1));
    let _alice = open(server.address, "alice").await.unwrap();
    let (mut here, mut there) = (Vec::new(), Vec::new());
    for number in 0..64 {
        let name = format!("user-{number}");
        match open(server.address, &name).await {
            Ok(socket) => {
                there.push(name);
                drop(socket);
                health_becomes(server.address, "Alice is alone again", |_, body| body["connections"] == 1)
                    .await;
            }
            Err(tungstenite::Error::Http(response))
                if response.status() == StatusCode::SERVICE_UNAVAILABLE =>
            {
                here.push(name);
            }
            Err(error) => panic!("{name} cannot connect: {error}"),
        }
    }
    let one = |names: &mut Vec<String>| names.pop().expect("64 names are spread over two shards");
    People { alice: "alice".to_owned(), carol: one(&mut here), bob: one(&mut there), dave: one(&mut there) }
}
