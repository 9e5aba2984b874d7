//! Searching in one's own messages.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use switchboard::client::{Client, Content, GroupId, Recipient, ServerUrl, Token};

use crate::client::{Api, with_passwords};
use crate::harness::{TestServer, soon, user};

/// A session's client of a user, which nobody listens to.
async fn session(server: &TestServer, api: &Api) -> Client {
    let url: ServerUrl = format!("ws://{}", server.address).parse().unwrap();
    let token: Token = api.token.as_deref().unwrap().parse().unwrap();
    let started = Client::builder(url, user(&api.id)).token(token).start();
    let (client, mut events) = soon("a client", started).await.unwrap();
    tokio::spawn(async move { while events.next().await.is_some() {} });
    client
}

/// Has something stored; gives its place.
async fn said(client: &Client, to: &Recipient, content: Content) -> u64 {
    let submitted = client.submit(to.clone(), content).await.unwrap();
    soon("a place", submitted).await.unwrap().seq
}

/// The texts that are found, of all pages of this size.
async fn found(api: &Api, query: &str, limit: usize) -> Vec<String> {
    let hits = api.all(&format!("/api/v1/search/messages?{query}"), limit).await;
    hits.iter().map(|hit| hit["message"]["text"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn words_are_found_by_who_may_read_them() {
    let server = with_passwords();
    let alice = Api::registered(&server, "alice").await;
    let bob = Api::registered(&server, "bob").await;
    let carol = Api::registered(&server, "carol").await;
    let client = session(&server, &alice).await;
    let to_bob = Recipient::User(user(&bob.id));
    for content in ["The quick brown fox", "jumps over the lazy dog", "Grüße aus dem Café", "u1 u2 g1 secret"]
    {
        said(&client, &to_bob, Content::text(content)).await;
    }
    said(&client, &Recipient::User(user(&carol.id)), Content::text("another fox")).await;
    for (query, texts) in [
        ("q=fox", vec!["The quick brown fox"]),
        ("q=FOX", vec!["The quick brown fox"]),
        ("q=quick%20fo", vec!["The quick brown fox"]),
        ("q=qui%20fox", vec![]),
        ("q=the", vec!["jumps over the lazy dog", "The quick brown fox"]),
        ("q=cafe", vec!["Grüße aus dem Café"]),
        ("q=gr%C3%BC%C3%9Fe", vec!["Grüße aus dem Café"]),
        // Nothing that is typed is an operator, or leads anywhere else.
        ("q=fox%20OR%20dog", vec![]),
        ("q=fox%20NOT%20dog", vec![]),
        ("q=content:fox", vec![]),
        ("q=places:u1", vec![]),
        ("q=%22fox%22", vec!["The quick brown fox"]),
        ("q=fox%22)%20OR%20(%22dog", vec![]),
        ("q=NEAR(fox%20dog)", vec![]),
        ("q=-fox", vec!["The quick brown fox"]),
        ("q=fox*", vec!["The quick brown fox"]),
        ("q=%5Efox", vec!["The quick brown fox"]),
        ("q=u1", vec!["u1 u2 g1 secret"]),
        ("q=fox%00dog", vec![]),
        ("q=%E2%80%AEfox", vec!["The quick brown fox"]),
    ] {
        assert_eq!(found(&bob, query, 50).await, texts, "{query}");
    }
    assert_eq!(found(&bob, "q=the", 1).await, ["jumps over the lazy dog", "The quick brown fox"]);
    assert_eq!(found(&alice, "q=fox", 1).await, ["another fox", "The quick brown fox"]);
    assert_eq!(found(&carol, "q=fox", 50).await, ["another fox"]);
    assert_eq!(found(&carol, "q=secret", 50).await, [""; 0]);
    let with = |id: &str| format!("q=fox&kind=direct&id={id}");
    assert_eq!(found(&alice, &with(&bob.id), 50).await, ["The quick brown fox"]);
    assert_eq!(found(&carol, &with(&bob.id), 50).await, [""; 0]);
    let hit = &bob.get("/api/v1/search/messages?q=brown").await.items()[0];
    assert_eq!((&hit["kind"], &hit["conversation_id"]), (&json!("direct"), &json!(alice.id)));
    assert_eq!((&hit["snippet"], &hit["message"]["seq"]), (&json!("The quick brown fox"), &json!(1)));
    for query in ["q=!!", "q=%20%00"] {
        let reply = bob.get(&format!("/api/v1/search/messages?{query}")).await;
        assert_eq!(reply.problem(422).0, "invalid", "{query}");
    }
    for query in [
        "",
        "q=",
        &format!("q={}", "x".repeat(257)),
        "q=x&kind=direct",
        "q=x&id=x",
        "q=x&kind=x&id=x",
        "q=x&cursor=e30",
    ] {
        let reply = bob.get(&format!("/api/v1/search/messages?{query}")).await;
        assert_eq!(reply.problem(400).0, "malformed", "{query}");
    }
    for query in ["q=x&kind=direct&id=nobody", "q=x&kind=group&id=none"] {
        let reply = bob.get(&format!("/api/v1/search/messages?{query}")).await;
        assert_eq!(reply.problem(404).0, "not-found", "{query}");
    }
    client.close().await;
}

#[tokio::test]
async fn what_was_edited_is_found_by_what_it_says_now_and_what_was_recalled_is_not() {
    let server = with_passwords();
    let alice = Api::registered(&server, "alice").await;
    let bob = Api::registered(&server, "bob").await;
    let client = session(&server, &alice).await;
    let to = Recipient::User(user(&bob.id));
    let seq = said(&client, &to, Content::text("meet at noon")).await;
    assert_eq!(found(&bob, "q=noon", 50).await, ["meet at noon"]);
    said(&client, &to, Content::edit(seq, "meet at dusk")).await;
    assert_eq!(found(&bob, "q=noon", 50).await, [""; 0]);
    assert_eq!(found(&bob, "q=dusk", 50).await, ["meet at dusk"]);
    let hit = &bob.get("/api/v1/search/messages?q=dusk").await.items()[0]["message"];
    assert_eq!((&hit["changed_seq"], &hit["kind"]), (&json!(2), &json!("text")));
    said(&client, &to, Content::edit(seq, "meet at dawn")).await;
    said(&client, &to, Content::recall(seq)).await;
    for word in ["noon", "dusk", "dawn", "meet"] {
        assert_eq!(found(&bob, &format!("q={word}"), 50).await, [""; 0], "{word}");
    }
    client.close().await;
    let damage = switchboard::store::Inspector::open(&server.data()).unwrap().quick_check().unwrap();
    assert_eq!(damage, [""; 0]);
}

#[tokio::test]
async fn members_find_what_was_said_while_they_were_members() {
    let server = with_passwords();
    let alice = Api::registered(&server, "alice").await;
    let dave = Api::registered(&server, "dave").await;
    let bob = Api::registered(&server, "bob").await;
    let group = alice.group("chess", "open").await;
    let seat = format!("/api/v1/groups/{group}/members/{}", dave.id);
    let client = session(&server, &alice).await;
    let to = Recipient::Group(GroupId::new(&group).unwrap());
    said(&client, &to, Content::text("word before")).await;
    assert_eq!(dave.put(&seat).await.status, 204);
    let seq = said(&client, &to, Content::text("word while")).await;
    said(&client, &to, Content::text("word while too")).await;
    assert_eq!(dave.delete(&seat).await.status, 204);
    said(&client, &to, Content::text("word after")).await;
    said(&client, &to, Content::edit(seq, "word of later")).await;
    let texts =
        async |api: &Api, query: &str| found(api, query, 1).await.into_iter().collect::<BTreeSet<_>>();
    let set = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(texts(&dave, "q=word").await, set(&["word while too"]));
    assert_eq!(
        texts(&alice, "q=word").await,
        set(&["word before", "word of later", "word while too", "word after"])
    );
    assert_eq!(texts(&bob, "q=word").await, set(&[]));
    let here = format!("q=word&kind=group&id={group}");
    assert_eq!(texts(&dave, &here).await, set(&["word while too"]));
    assert_eq!(bob.get(&format!("/api/v1/search/messages?{here}")).await.problem(404).0, "not-found");
    // Whoever comes back reads from there on.
    assert_eq!(dave.put(&seat).await.status, 204);
    assert_eq!(texts(&dave, "q=word").await, set(&[]));
    // What a group is called is no message.
    assert_eq!(found(&alice, "q=chess", 50).await, Vec::<Value>::new());
    client.close().await;
}
