//! Who may do what: every call of the document, tried as everybody whose it is not. A call that is not in the table fails the
//! test, so that a new one cannot be forgotten.

use serde_json::{Value, json};

use crate::client::{Api, PASSWORD, Reply, with_passwords};
use crate::document::{document, operations};
use crate::harness::{TestServer, group_text};

/// Who there is.
struct World {
    server: TestServer,
    /// Owns the group.
    owner: Api,
    /// Is a member, and no more.
    member: Api,
    /// Was one.
    former: Api,
    /// Has nothing to do with any of them.
    stranger: Api,
    /// Whom calls are about.
    target: Api,
    /// The name of a file.
    picture: String,
}

impl World {
    async fn new() -> Self {
        let server = with_passwords();
        let owner = Api::registered(&server, "owner").await;
        let member = Api::registered(&server, "member").await;
        let former = Api::registered(&server, "former").await;
        let stranger = Api::registered(&server, "stranger").await;
        let target = Api::registered(&server, "target").await;
        let picture = owner.picture().await;
        Self { server, owner, member, former, stranger, target, picture }
    }

    /// A group of these, in which the target is a member if a call is about that, and in which something was said.
    async fn group(&self, with_target: bool) -> String {
        let group = self.owner.group("chess", "invited").await;
        let seat = |user: &Api| format!("/api/v1/groups/{group}/members/{}", user.id);
        for user in [&self.member, &self.former, &self.target] {
            if user.id != self.target.id || with_target {
                assert_eq!(self.owner.put(&seat(user)).await.status, 204);
            }
        }
        assert_eq!(self.former.delete(&seat(&self.former)).await.status, 204);
        group
    }
}

/// What a call is answered to: the stranger, the former member, the member, the owner.
type Statuses = [u16; 4];

/// A call's body, and its answers to those who have a session. Of a call without one, the first is the answer to nobody.
fn expected(operation: &str) -> (Value, Statuses) {
    let none = Value::Null;
    let body_of = |fields: Value, statuses| (fields, statuses);
    match operation {
        "register" => body_of(json!({"username": "new", "password": PASSWORD}), [201, 409, 409, 409]),
        "log_in" => body_of(json!({"username": "owner", "password": PASSWORD}), [201; 4]),
        "list_problems" => (none, [200; 4]),
        // One's own, whoever one is.
        "show_account" | "list_sessions" | "list_friends" | "list_groups" | "list_conversations" => {
            (none, [200; 4])
        }
        "change_account" => body_of(json!({"nickname": "changed"}), [200; 4]),
        "change_password" => {
            body_of(json!({"old_password": "not this one", "new_password": "battery staple"}), [403; 4])
        }
        "end_other_sessions" => (none, [204; 4]),
        // The owner's.
        "end_session" => (none, [404, 404, 404, 204]),
        // What everybody may know.
        "find_user" | "show_user" | "find_open_group" => (none, [200; 4]),
        "befriend" => (none, [204; 4]),
        // Each of them has befriended the target by then.
        "unfriend" => (none, [204; 4]),
        "create_group" => body_of(json!({"name": "go"}), [201; 4]),
        "show_group" | "list_members" => (none, [404, 404, 200, 200]),
        "change_group" => body_of(json!({"name": "go", "notice": "x"}), [404, 404, 403, 200]),
        "add_member" | "remove_member" => (none, [404, 404, 403, 204]),
        "change_member" => body_of(json!({"role": "admin"}), [404, 404, 403, 204]),
        "download" => (none, [200; 4]),
        // What a file is called and said to be does not matter.
        "upload" => body_of(json!({}), [201; 4]),
        // This server signs none.
        "issue_token" => body_of(json!({}), [409; 4]),
        "list_accounts" | "unban" | "end_sessions_of" | "statistics" | "write_recording" => (none, [403; 4]),
        "ban" => body_of(json!({}), [403; 4]),
        "announce" => body_of(json!({"text": "hello"}), [403; 4]),
        "send_message" => body_of(json!({"text": "hello"}), [404, 404, 201, 201]),
        // Who has left may say how far it has read.
        "mark_read" => body_of(json!({"seq": 1}), [404, 200, 200, 200]),
        "show_conversation" | "read_history" | "search_messages" => (none, [404, 200, 200, 200]),
        other => panic!("{other}: say in this table who may do it"),
    }
}

/// The path of a call with what it names, and a query where one is needed.
fn path_of(operation: &str, template: &str, world: &World, group: &str, session: &str) -> String {
    let path = template
        .replace("{group_id}", group)
        .replace("{user_id}", &world.target.id)
        .replace("{session_id}", session)
        .replace("{kind}/{id}", &format!("group/{group}"))
        .replace("{name}", &world.picture);
    assert!(!path.contains('{'), "{path}: a part of it has no value");
    match operation {
        "find_user" => format!("{path}?username=target"),
        "find_open_group" => format!("{path}?name=chess"),
        "search_messages" => format!("{path}?q=e4&kind=group&id={group}"),
        _ => path,
    }
}

async fn ask(who: &Api, method: &str, path: &str, body: &Value) -> Reply {
    if body.is_null() { who.send(method, path, &[], "").await } else { who.json(method, path, body).await }
}

#[tokio::test]
async fn every_call_is_for_whom_the_table_says() {
    let world = World::new().await;
    let ended = world.owner.again().await;
    assert_eq!(ended.delete("/api/v1/sessions/current").await.status, 204);
    let nobody = Api::nobody(&world.server);
    let forged = Api { token: Some("x".repeat(43)), ..nobody.clone() };
    let broken = Api { token: Some("nonsense".to_owned()), ..nobody.clone() };
    let mut calls = operations(&document());
    // Who is a friend is one before it is none.
    calls.sort_by_key(|(_, _, operation)| operation["operationId"] == "unfriend");
    for (template, method, operation) in calls {
        let name = operation["operationId"].as_str().unwrap();
        let (body, statuses) = expected(name);
        let needs_session = operation["security"] != json!([]);
        let with_target = name != "add_member";
        let group = world.group(with_target).await;
        if needs_session {
            let path = path_of(name, &template, &world, &group, &"0".repeat(32));
            for (who, what) in
                [(&nobody, "nobody"), (&ended, "ended"), (&forged, "forged"), (&broken, "broken")]
            {
                let reply = ask(who, &method, &path, &body).await;
                assert_eq!(reply.problem(401).0, "unauthenticated", "{method} {path} as {what}");
            }
            // Whatever else is wrong with it, who is nobody learns nothing of it.
            let reply = nobody.send(&method, &path, &[("content-type", "text/x")], "{").await;
            assert_eq!(reply.status, 401, "{method} {path}");
            if method != "GET" {
                let cookie = format!("switchboard_session={}", world.owner.token.as_deref().unwrap());
                let headers = [
                    ("cookie", cookie.as_str()),
                    ("origin", "http://evil.example"),
                    ("content-type", "application/json"),
                ];
                let reply = nobody.send(&method, &path, &headers, body.to_string()).await;
                assert_eq!(reply.problem(403).0, "foreign-page", "{method} {path} of a foreign page");
            }
        }
        let everybody = [&world.stranger, &world.former, &world.member, &world.owner];
        for (who, status) in everybody.into_iter().zip(statuses) {
            // What is done to a member is done to one who is as it was.
            let group = world.group(with_target).await;
            let session = if template.contains("{session_id}") {
                let items = world.owner.again().await.get("/api/v1/sessions").await.items();
                let current = items.iter().find(|session| session["is_current"] == true).unwrap();
                current["id"].as_str().unwrap().to_owned()
            } else {
                String::new()
            };
            let path = path_of(name, &template, &world, &group, &session);
            let reply = ask(who, &method, &path, &body).await;
            let text = String::from_utf8_lossy(&reply.body).into_owned();
            assert_eq!(reply.status, status, "{method} {path} as {}: {text}", who.name);
            if status >= 400 {
                reply.problem(status);
            }
            let said = &operation["responses"][status.to_string()];
            assert!(said.is_object(), "{name} is answered {status}, and the document does not say so");
        }
    }
    // What others have changed was their own.
    let target = world.target.get("/api/v1/accounts/me").await.data();
    assert_eq!((&target["username"], &target["nickname"]), (&json!("target"), &json!("")));
    assert_eq!(world.target.all("/api/v1/friends", 50).await, Vec::<Value>::new());
}

#[tokio::test]
async fn nobody_reads_what_others_have_said_one_to_one() {
    let world = World::new().await;
    let group = world.group(true).await;
    let (mut from, mut to) = (world.owner.socket().await, world.member.socket().await);
    from.send(&group_text(&group, "secret of the group")).await;
    assert_eq!(to.content().await, "secret of the group");
    from.send(&crate::harness::text(&world.member.id, "secret of two")).await;
    assert_eq!(to.content().await, "secret of two");
    for who in [&world.stranger, &world.former, &world.target] {
        let mut paths = vec!["/api/v1/conversations".to_owned(), "/api/v1/search/messages?q=two".to_owned()];
        for user in [&world.owner, &world.member, who] {
            paths.push(format!("/api/v1/conversations/direct/{}", user.id));
            paths.push(format!("/api/v1/conversations/direct/{}/messages", user.id));
            paths.push(format!("/api/v1/search/messages?q=two&kind=direct&id={}", user.id));
        }
        if who.id != world.target.id {
            paths.push(format!("/api/v1/conversations/group/{group}/messages"));
            paths.push("/api/v1/search/messages?q=secret".to_owned());
        }
        for path in paths {
            let reply = who.get(&path).await;
            let text = String::from_utf8_lossy(&reply.body).into_owned();
            assert!(!text.contains("secret of two"), "{path} as {}: {text}", who.name);
            let is_targets = who.id == world.target.id;
            assert!(is_targets || !text.contains("secret"), "{path} as {}: {text}", who.name);
        }
    }
}
