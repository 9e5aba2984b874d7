//! Conversations and their histories.

use serde_json::{Value, json};

use crate::client::{Api, with_passwords};
use crate::harness::{group_text, text};

/// The values of a field.
fn all(items: &[Value], field: &str) -> Vec<Value> {
    items.iter().map(|item| item[field].clone()).collect()
}

#[tokio::test]
async fn conversations_are_listed_with_their_last_messages() {
    let server = with_passwords();
    let alice = Api::registered(&server, "alice").await;
    let bob = Api::registered(&server, "bob").await;
    let carol = Api::registered(&server, "carol").await;
    let group = alice.group("chess", "invited").await;
    assert_eq!(alice.put(&format!("/api/v1/groups/{group}/members/{}", bob.id)).await.status, 204);
    let (mut from, mut to) = (alice.socket().await, bob.socket().await);
    from.send(&text(&bob.id, "hello")).await;
    assert_eq!(to.content().await, "hello");
    to.send(&text(&alice.id, "hello yourself")).await;
    assert_eq!(from.content().await, "hello yourself");
    from.send(&group_text(&group, "e4")).await;
    assert_eq!(to.content().await, "e4");

    let list = alice.all("/api/v1/conversations", 1).await;
    assert_eq!(all(&list, "kind"), ["group", "direct"], "the newest first");
    let direct = list.iter().find(|conversation| conversation["kind"] == "direct").unwrap();
    let user = json!({"id": bob.id, "username": "bob", "nickname": "", "avatar": null});
    assert_eq!((&direct["id"], &direct["user"], &direct["group"]), (&json!(bob.id), &user, &Value::Null));
    assert_eq!((&direct["head_seq"], &direct["first_seq"]), (&json!(2), &json!(1)));
    let last = &direct["last_message"];
    assert_eq!(
        (&last["text"], &last["kind"], &last["sender_id"]),
        (&json!("hello yourself"), &json!("text"), &json!(bob.id))
    );
    assert_eq!(direct["unread"], Value::Null, "classic clients set no marks");
    let groups = list.iter().find(|conversation| conversation["kind"] == "group").unwrap();
    assert_eq!((&groups["id"], &groups["group"]["name"]), (&json!(group), &json!("chess")));
    assert_eq!(
        (&groups["user"], &groups["peer"], &groups["head_seq"]),
        (&Value::Null, &Value::Null, &json!(3))
    );
    assert_eq!(groups["last_message"]["text"], "e4");

    let one = alice.get(&format!("/api/v1/conversations/direct/{}", bob.id)).await.data();
    assert_eq!(&one, direct);
    let one = alice.get(&format!("/api/v1/conversations/group/{group}")).await.data();
    assert_eq!(&one, groups);
    for path in [
        format!("/api/v1/conversations/direct/{}", alice.id),
        format!("/api/v1/conversations/group/{group}"),
        "/api/v1/conversations/group/none".to_owned(),
        "/api/v1/conversations/direct/nobody".to_owned(),
    ] {
        assert_eq!(carol.get(&path).await.problem(404).0, "not-found", "{path}");
    }
    assert_eq!(carol.all("/api/v1/conversations", 50).await, Vec::<Value>::new());
    assert_eq!(carol.get("/api/v1/conversations/nothing/x").await.problem(400).0, "malformed");
}

#[tokio::test]
async fn conversations_are_listed_from_the_newest_on_whatever_is_said_meanwhile() {
    let server = with_passwords();
    let alice = Api::registered(&server, "alice").await;
    let mut from = alice.socket().await;
    let mut others = Vec::new();
    for number in 0..5 {
        let other = Api::registered(&server, &format!("user-{number}")).await;
        let mut to = other.socket().await;
        from.send(&text(&other.id, "hello")).await;
        assert_eq!(to.content().await, "hello");
        others.push((other, to));
    }
    let group = others[4].0.group("chess", "open").await;
    assert_eq!(alice.put(&format!("/api/v1/groups/{group}/members/{}", alice.id)).await.status, 204);
    // What is of one commit has one time: numbers decide, which are as the conversations were made.
    let mut expected: Vec<String> = others.iter().map(|(other, _)| other.id.clone()).collect();
    expected.push(group.clone());
    expected.reverse();
    for limit in [1, 2, 3, 50] {
        assert_eq!(all(&alice.all("/api/v1/conversations", limit).await, "id"), expected, "{limit}");
    }
    let page = alice.get("/api/v1/conversations?limit=2").await.data();
    let cursor = page["next_cursor"].as_str().unwrap();
    // One that was on the page, and one that was not.
    for place in [0, 4] {
        let (other, to) = &mut others[place];
        from.send(&text(&other.id, "again")).await;
        assert_eq!(to.content().await, "again");
    }
    let rest = alice.all(&format!("/api/v1/conversations?cursor={cursor}"), 50).await;
    assert_eq!(all(&rest, "id"), expected[2..5], "none twice, and none missing that has not moved");
    let anew = alice.all("/api/v1/conversations", 50).await;
    assert_eq!(all(&anew, "id")[..3], [json!(others[4].0.id), json!(others[0].0.id), json!(group)]);
    assert_eq!(anew[0]["last_message"]["text"], "again");
    // To who has left, what is said later is nothing new.
    assert_eq!(alice.delete(&format!("/api/v1/groups/{group}/members/{}", alice.id)).await.status, 204);
    assert_eq!(alice.all("/api/v1/conversations", 50).await[0]["id"], group.as_str());
    let late = Api::registered(&server, "late").await;
    let mut to = late.socket().await;
    from.send(&text(&late.id, "more")).await;
    assert_eq!(to.content().await, "more");
    others[4].1.send(&group_text(&group, "without alice")).await;
    let log = format!("/api/v1/conversations/group/{group}/messages");
    while others[4].0.get(&log).await.items()[0]["text"] != "without alice" {
        tokio::task::yield_now().await;
    }
    let list = alice.all("/api/v1/conversations", 50).await;
    assert_eq!(all(&list, "id")[..2], [json!(late.id), json!(group)]);
    for cursor in ["WzFd", "MQ", "bnVsbA"] {
        let reply = alice.get(&format!("/api/v1/conversations?cursor={cursor}")).await;
        assert_eq!(reply.problem(400).0, "malformed");
    }
}

#[tokio::test]
async fn what_no_client_has_read_is_counted() {
    let server = with_passwords();
    let alice = Api::registered(&server, "alice").await;
    let bob = Api::registered(&server, "bob").await;
    let mut from = alice.socket().await;
    for content in ["1", "2", "3"] {
        from.send(&text(&bob.id, content)).await;
    }
    let path = format!("/api/v1/conversations/direct/{}", alice.id);
    // The sender of a classic message is not told when it is stored.
    while bob.get(&path).await.status == 404 || bob.get(&path).await.data()["head_seq"] != 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bob.get(&path).await.data()["unread"], 3);
    assert_eq!(bob.get(&path).await.data()["own"], json!({"delivered_seq": 0, "read_seq": 0}));
}

#[tokio::test]
async fn a_history_is_read_in_both_directions() {
    let server = with_passwords();
    let alice = Api::registered(&server, "alice").await;
    let bob = Api::registered(&server, "bob").await;
    let (mut from, mut to) = (alice.socket().await, bob.socket().await);
    for content in ["1", "2", "3", "4", "5"] {
        from.send(&text(&bob.id, content)).await;
        assert_eq!(to.content().await, content);
    }
    let path = format!("/api/v1/conversations/direct/{}/messages", alice.id);
    let newest_first = bob.all(&path, 2).await;
    assert_eq!(all(&newest_first, "text"), ["5", "4", "3", "2", "1"]);
    assert_eq!(
        all(&bob.all(&format!("{path}?direction=backwards&from_seq=3"), 50).await, "text"),
        ["3", "2", "1"]
    );
    let first = bob.get(&format!("{path}?direction=forwards&limit=2")).await.data();
    assert_eq!(all(first["items"].as_array().unwrap(), "seq"), [1, 2]);
    let next =
        bob.get(&format!("{path}?limit=2&cursor={}", first["next_cursor"].as_str().unwrap())).await.data();
    assert_eq!(all(next["items"].as_array().unwrap(), "seq"), [3, 4]);
    assert_eq!(all(&bob.get(&format!("{path}?direction=forwards&from_seq=5")).await.items(), "text"), ["5"]);
    assert_eq!(bob.get(&format!("{path}?direction=forwards&from_seq=6")).await.items(), Vec::<Value>::new());
    let entry = &newest_first[0];
    let expected = json!({
        "seq": 5, "message_id": entry["message_id"], "kind": "text", "sender_id": alice.id, "sender_name": "alice",
        "text": "5", "file": null, "stored_at": entry["stored_at"], "is_recalled": false, "changed_seq": null,
        "target_seq": null, "change": null
    });
    assert_eq!(entry, &expected);
    let cursor = first["next_cursor"].as_str().unwrap();
    for query in [
        "direction=sideways",
        "from_seq=0",
        "from_seq=x",
        "from_seq=-1",
        &format!("from_seq=1&cursor={cursor}"),
        &format!("direction=forwards&cursor={cursor}"),
        "cursor=WzFd",
    ] {
        assert_eq!(bob.get(&format!("{path}?{query}")).await.problem(400).0, "malformed", "{query}");
    }
    assert_eq!(bob.get("/api/v1/conversations/direct/nobody/messages").await.problem(404).0, "not-found");
    assert_eq!(
        bob.get(&format!("/api/v1/conversations/direct/{}/messages", bob.id)).await.items(),
        Vec::<Value>::new()
    );
}

#[tokio::test]
async fn who_has_left_reads_what_was_said_until_then() {
    let server = with_passwords();
    let alice = Api::registered(&server, "alice").await;
    let dave = Api::registered(&server, "dave").await;
    let group = alice.group("chess", "open").await;
    let own = format!("/api/v1/groups/{group}/members/{}", dave.id);
    assert_eq!(dave.put(&own).await.status, 204);
    let (mut from, mut to) = (alice.socket().await, dave.socket().await);
    from.send(&group_text(&group, "before")).await;
    assert_eq!(to.content().await, "before");
    assert_eq!(dave.delete(&own).await.status, 204);
    from.send(&group_text(&group, "after")).await;
    let path = format!("/api/v1/conversations/group/{group}/messages");
    while alice.get(&path).await.items().len() < 5 {
        tokio::task::yield_now().await;
    }
    assert_eq!(all(&alice.get(&path).await.items(), "text"), ["after", "", "before", "", ""]);
    let seen = dave.get(&format!("{path}?direction=forwards")).await.items();
    assert_eq!(all(&seen, "text"), ["", "before", ""]);
    let kinds: Vec<_> = seen.iter().map(|entry| entry["change"]["kind"].clone()).collect();
    assert_eq!(kinds, [json!("join"), Value::Null, json!("leave")]);
    let listed = dave.get(&format!("/api/v1/conversations/group/{group}")).await.data();
    assert_eq!((&listed["group"], &listed["last_message"]["text"]), (&Value::Null, &json!("before")));
    let first = &alice.get(&format!("{path}?direction=forwards&limit=1")).await.items()[0]["change"];
    let expected =
        json!({"kind": "create", "user_id": null, "name": "chess", "role": null, "muted_until": null});
    assert_eq!(first, &expected);
}
