//! The client's library and `switchboard chat` over TLS.

use std::process::{Command, Output, Stdio};

use switchboard::client::{Client, ClientTls, Content, Event, Recipient, State};
use switchboard_engine::UserId;

use crate::{
    harness::soon,
    secure::{Files, Secure, issue_as_authority},
};

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

async fn start(secure: &Secure, id: &str) -> (Client, switchboard::client::Events) {
    let url = format!("wss://localhost:{}", secure.server.address.port());
    let tls = ClientTls::authority(&secure.files.certificate()).unwrap();
    Client::builder(url.parse().unwrap(), user(id)).tls(tls).start().await.unwrap()
}

#[tokio::test]
async fn clients_talk_over_tls_and_large_texts_arrive_whole() {
    let secure = Secure::start(|_| {});
    let (alice, _alices) = start(&secure, "alice").await;
    let (bob, mut events) = start(&secure, "bob").await;
    for text in ["hello".to_owned(), "large ".repeat(300_000)] {
        let submitted = alice.submit(Recipient::User(user("bob")), Content::text(&text)).await.unwrap();
        soon("the text is accepted", submitted).await.unwrap();
        loop {
            let event = soon("a message", events.next()).await.unwrap();
            if let Event::Message { message, .. } = event {
                assert!(*message.content.text == *text);
                break;
            }
        }
    }
    soon("the end", alice.close()).await;
    soon("the end", bob.close()).await;
}

fn chat(secure: &Secure, host: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.env_clear().args(["chat", "--user", "alice", "--to", "bob", "--history", "1"]);
    command.arg("--url").arg(format!("wss://{host}:{}", secure.server.address.port())).args(args);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"hello\n").unwrap();
    child.wait_with_output().unwrap()
}

#[tokio::test]
async fn a_chat_in_a_pipe_speaks_tls() {
    let secure = Secure::start(|_| {});
    let certificate = secure.files.certificate();
    let output = chat(&secure, "localhost", &["--ca", certificate.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn an_authoritys_certificate_as_a_servers_is_refused_with_what_to_do() {
    let secure = Secure::start(|config| {
        issue_as_authority(config.tls_cert.as_deref().unwrap(), config.tls_key.as_deref().unwrap());
    });
    let url = format!("wss://localhost:{}", secure.server.address.port());
    let tls = ClientTls::authority(&secure.files.certificate()).unwrap();
    let (client, mut events) =
        Client::builder(url.parse().unwrap(), user("alice")).tls(tls).start().await.unwrap();
    let error = loop {
        if let Event::State(State::Waiting { error: Some(error), .. }) =
            soon("an error", events.next()).await.unwrap()
        {
            break error.to_string();
        }
    };
    assert!(error.contains("-addext basicConstraints=critical,CA:FALSE"), "{error}");
    soon("the end", client.close()).await;
}

#[tokio::test]
async fn who_is_not_trusted_is_not_spoken_with() {
    let secure = Secure::start(|_| {});
    let another = Files::new();
    let url = format!("wss://localhost:{}", secure.server.address.port());
    let tls = ClientTls::authority(&another.certificate()).unwrap();
    let builder = Client::builder(url.parse().unwrap(), user("alice")).tls(tls);
    let (client, mut events) = builder.start().await.unwrap();
    loop {
        let event = soon("the link's end", events.next()).await.unwrap();
        let text = format!("{event:?}");
        assert!(!text.contains("Open"), "{text}");
        if text.contains("Tls {") {
            assert!(text.contains("InvalidCertificate"), "{text}");
            break;
        }
    }
    soon("the end", client.close()).await;
    let missing = ClientTls::authority(std::path::Path::new("/nowhere/ca.pem")).unwrap_err();
    assert!(missing.to_string().starts_with("cannot read a certificate from"), "{missing}");
}
