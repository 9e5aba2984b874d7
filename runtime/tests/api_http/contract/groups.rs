//! Groups and their members.

use serde_json::{Value, json};

use crate::client::{Api, passwords, with_passwords};
use crate::harness::TestServer;

fn member_path(group: &str, user: &Api) -> String {
    format!("/api/v1/groups/{group}/members/{}", user.id)
}

async fn roles(reader: &Api, group: &str) -> Vec<(String, String)> {
    let members = reader.all(&format!("/api/v1/groups/{group}/members"), 2).await;
    let text = |member: &Value, field: &str| member[field].as_str().unwrap().to_owned();
    let mut roles: Vec<_> =
        members.iter().map(|member| (text(member, "username"), text(member, "role"))).collect();
    roles.sort();
    roles
}

fn are(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, role)| ((*name).to_owned(), (*role).to_owned())).collect()
}

#[tokio::test]
async fn a_group_is_made_changed_and_listed() {
    let server = with_passwords();
    let alice = Api::registered(&server, "alice").await;
    let reply = alice.post("/api/v1/groups", &json!({"name": " chess ", "notice": "e4"})).await;
    assert_eq!(reply.status, 201);
    let made = reply.data();
    let id = made["id"].as_str().unwrap();
    assert_eq!(reply.header("location"), Some(format!("/api/v1/groups/{id}").as_str()));
    let expected = json!({
        "id": id, "name": "chess", "notice": "e4", "joining": "invited", "created_at": made["created_at"],
        "members": 1, "role": "owner"
    });
    assert_eq!(made, expected);
    let path = format!("/api/v1/groups/{id}");
    assert_eq!(alice.get(&path).await.data(), expected);
    let changed = alice.patch(&path, &json!({"name": "go"})).await.data();
    assert_eq!((&changed["name"], &changed["notice"]), (&json!("go"), &json!("e4")));
    let changed = alice.patch(&path, &json!({"notice": ""})).await.data();
    assert_eq!((&changed["name"], &changed["notice"]), (&json!("go"), &json!("")));
    assert_eq!(alice.patch(&path, &json!({})).await.data(), changed);
    for index in 0..4 {
        alice.group(&format!("group {index}"), "open").await;
    }
    let names: Vec<_> =
        alice.all("/api/v1/groups", 2).await.iter().map(|group| group["name"].clone()).collect();
    assert_eq!(names, ["go", "group 0", "group 1", "group 2", "group 3"]);
    for (fields, text) in [
        (json!({"name": ""}), "the group's name is missing"),
        (json!({"name": "x".repeat(257)}), "the group's name has 257 bytes; at most 256 are taken"),
        (json!({"name": "a\u{7}"}), "the group's name has a control character in it"),
        (
            json!({"name": "x", "notice": "x".repeat(1025)}),
            "the group's notice has 1025 bytes; at most 1024 are taken",
        ),
    ] {
        assert_eq!(alice.post("/api/v1/groups", &fields).await.problem(422).1, text);
        assert_eq!(alice.patch(&path, &fields).await.problem(422).1, text);
    }
    assert_eq!(
        alice.post("/api/v1/groups", &json!({"name": "x", "joining": "never"})).await.problem(422).0,
        "invalid"
    );
    assert_eq!(alice.get(&path).await.data(), changed);
}

#[tokio::test]
async fn members_come_and_go_by_the_rules_of_the_engine() {
    let server = with_passwords();
    let alice = Api::registered(&server, "alice").await;
    let bob = Api::registered(&server, "bob").await;
    let carol = Api::registered(&server, "carol").await;
    let group = alice.group("chess", "invited").await;
    let path = format!("/api/v1/groups/{group}");
    // To who is no member there is no such group.
    assert_eq!(bob.get(&path).await.problem(404).0, "not-found");
    assert_eq!(bob.put(&member_path(&group, &bob)).await.problem(404).0, "not-found");
    assert_eq!(alice.put(&member_path(&group, &bob)).await.status, 204);
    assert_eq!(alice.put(&member_path(&group, &bob)).await.problem(409).1, "this user is a member already");
    assert_eq!(bob.get(&path).await.data()["role"], "member");
    let (kind, detail) = bob.put(&member_path(&group, &carol)).await.problem(403);
    assert_eq!(
        (kind.as_str(), detail.as_str()),
        ("forbidden", "only admins and owners of the group may do this")
    );
    // Promoted, he may.
    let admin = json!({"role": "admin"});
    assert_eq!(bob.patch(&member_path(&group, &bob), &admin).await.problem(403).0, "forbidden");
    assert_eq!(alice.patch(&member_path(&group, &bob), &admin).await.status, 204);
    assert_eq!(bob.put(&member_path(&group, &carol)).await.status, 204);
    assert_eq!(
        roles(&carol, &group).await,
        are(&[("alice", "owner"), ("bob", "admin"), ("carol", "member")])
    );
    assert_eq!(bob.patch(&path, &json!({"notice": "d4"})).await.data()["notice"], "d4");
    assert_eq!(carol.patch(&path, &json!({"notice": "x"})).await.problem(403).0, "forbidden");
    assert_eq!(carol.patch(&path, &json!({"name": "x"})).await.problem(403).0, "forbidden");
    // Muted, and not any more.
    let until = "2999-01-01T00:00:00Z";
    let mute = |until: Value| json!({"muted_until": until});
    assert_eq!(bob.patch(&member_path(&group, &carol), &mute(json!(until))).await.status, 204);
    let muted = async || {
        let members = alice.all(&format!("{path}/members"), 50).await;
        members.iter().find(|member| member["username"] == "carol").unwrap()["muted_until"].clone()
    };
    assert_eq!(muted().await, json!(until));
    for wrong in [json!("tomorrow"), json!(5), json!("1969-01-01T00:00:00Z"), json!("2999-01-01")] {
        assert_eq!(bob.patch(&member_path(&group, &carol), &mute(wrong)).await.problem(422).0, "invalid");
    }
    assert_eq!(bob.patch(&member_path(&group, &carol), &mute(Value::Null)).await.status, 204);
    assert_eq!(muted().await, Value::Null);
    // All or nothing: the role is not his to give.
    let both = json!({"muted_until": until, "role": "admin"});
    assert_eq!(bob.patch(&member_path(&group, &carol), &both).await.problem(403).0, "forbidden");
    assert_eq!(muted().await, Value::Null);
    // Removed, and gone.
    assert_eq!(bob.delete(&member_path(&group, &alice)).await.problem(403).0, "forbidden");
    assert_eq!(bob.delete(&member_path(&group, &carol)).await.status, 204);
    assert_eq!(bob.delete(&member_path(&group, &carol)).await.problem(409).0, "conflict");
    assert_eq!(carol.get(&path).await.problem(404).0, "not-found");
    assert_eq!(carol.get(&format!("{path}/members")).await.problem(404).0, "not-found");
    assert_eq!(alice.delete(&member_path(&group, &alice)).await.problem(409).0, "conflict");
    assert_eq!(bob.delete(&member_path(&group, &bob)).await.status, 204);
    assert_eq!(roles(&alice, &group).await, are(&[("alice", "owner")]));
    assert_eq!(alice.delete(&member_path(&group, &alice)).await.status, 204);
    assert_eq!(alice.all("/api/v1/groups", 50).await, Vec::<Value>::new());
}

#[tokio::test]
async fn an_open_group_is_found_and_joined() {
    let server = TestServer::start(|config| {
        passwords(config);
        config.limits.groups_per_user = 1;
    });
    let alice = Api::registered(&server, "alice").await;
    let bob = Api::registered(&server, "bob").await;
    let carol = Api::registered(&server, "carol").await;
    let group = alice.group("go", "open").await;
    let found = bob.get("/api/v1/open_groups?name=go").await.items();
    assert_eq!((&found[0]["id"], &found[0]["role"]), (&json!(group), &Value::Null));
    assert_eq!(bob.get("/api/v1/open_groups?name=chess").await.items(), Vec::<Value>::new());
    assert_eq!(bob.get(&format!("/api/v1/groups/{group}")).await.data(), found[0]);
    assert_eq!(bob.get(&format!("/api/v1/groups/{group}/members")).await.problem(404).0, "not-found");
    assert_eq!(bob.put(&member_path(&group, &bob)).await.status, 204);
    assert_eq!(bob.put(&member_path(&group, &bob)).await.problem(409).1, "you are a member already");
    // Members invite to what is open; nobody is in more groups than may be.
    assert_eq!(bob.put(&member_path(&group, &carol)).await.status, 204);
    let limit = "there are 1 groups already, which is the limit";
    assert_eq!(bob.post("/api/v1/groups", &json!({"name": "x"})).await.problem(409).1, limit);
    assert_eq!(
        bob.put(&format!("/api/v1/groups/{group}/members/nobody")).await.problem(409).1,
        "there is no such user"
    );
    assert_eq!(roles(&bob, &group).await.len(), 3);
}
