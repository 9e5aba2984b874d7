//! `switchboard user` and `switchboard token`, as an operator types them.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests may fail loudly")]

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use switchboard::store::Directory;

/// Runs a command with this on its standard input.
fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_switchboard"))
        .args(arguments)
        .env_remove("SWITCHBOARD_CONFIG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads nothing may have ended by then.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What a command prints that goes well.
#[track_caller]
fn done(arguments: &[&str], input: &str) -> String {
    let output = run(arguments, input);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// What a command says that fails.
#[track_caller]
fn refused(arguments: &[&str], input: &str) -> String {
    let output = run(arguments, input);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()), "{arguments:?}");
    text(&output.stderr)
}

fn folder() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    drop(Directory::open(&data).unwrap());
    let path = data.to_str().unwrap().to_owned();
    (folder, path)
}

#[test]
fn users_are_made_listed_banned_and_logged_out() {
    let (_folder, data) = folder();
    let user =
        |arguments: &[&str], input: &str| done(&[&["user", "--data", &data], arguments].concat(), input);
    let id = user(&["add", "alice", "--role", "administrator"], "correct horse\n");
    let id = id.trim();
    user(&["add", "bob", "--id", "bob", "--no-password"], "");
    let list = user(&["list"], "");
    assert!(list.contains(&format!("{id}  alice  administrator\n")), "{list}");
    assert!(list.contains("bob  bob  no password\n"), "{list}");
    assert!(user(&["show", "alice"], "").contains("role      administrator\npassword  yes\nbanned    no\n"));
    assert_eq!(user(&["role", "alice", "user"], ""), format!("alice ({id}) is now a user\n"));
    assert_eq!(user(&["role", "bob", "user"], ""), "bob was already a user\n");
    assert_eq!(user(&["ban", "bob", "--reason", "spam"], ""), "bob: this user is banned: spam\n");
    assert!(user(&["ban", "bob", "--for", "7d"], "").starts_with("bob: this user is banned until 20"));
    assert!(user(&["list"], "").contains("bob  bob  banned  no password\n"));
    assert_eq!(user(&["unban", "bob"], ""), "bob is no longer banned\n");
    assert_eq!(user(&["unban", "bob"], ""), "bob was not banned\n");
    assert_eq!(user(&["sessions", "bob"], ""), "no sessions\n");
    assert_eq!(user(&["revoke", "bob"], ""), "bob is logged in nowhere any more\n");
    assert_eq!(
        user(&["password", "bob"], "battery staple\n"),
        "bob has another password, and is logged in nowhere\n"
    );
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let (_folder, data) = folder();
    let no =
        |arguments: &[&str], input: &str| refused(&[&["user", "--data", &data], arguments].concat(), input);
    assert!(no(&["add", "alice"], "short\n").contains("the password has 5 bytes; it must have 8 at least"));
    assert!(no(&["add", "alice"], "").contains("the password is missing"));
    assert!(no(&["add", "System"], "correct horse\n").contains("nobody may be called System"));
    assert!(no(&["ban", "nobody"], "").contains("there is no user of this name or id: \"nobody\""));
    assert_eq!(done(&["user", "list", "--data", &data], ""), "no users\n");
    done(&["user", "add", "alice", "--data", &data], "correct horse\n");
    assert!(no(&["add", "alice"], "correct horse\n").contains("the user name \"alice\" is taken"));
    assert!(no(&["revoke", "alice", "--session", "x"], "").contains("32 hexadecimal digits"));
}

#[test]
fn who_is_removed_leaves_a_free_name_and_an_id_that_nobody_is_given() {
    let (_folder, data) = folder();
    let user =
        |arguments: &[&str], input: &str| done(&[&["user", "--data", &data], arguments].concat(), input);
    let no = |arguments: &[&str]| refused(&[&["user", "--data", &data], arguments].concat(), "");
    user(&["add", "alice", "--id", "a1"], "correct horse\n");
    user(&["add", "bob", "--id", "b1", "--no-password"], "");
    let chess = done(&["group", "create", "chess", "--owner", "a1", "--data", &data], "");
    done(&["group", "join", chess.trim(), "b1", "--data", &data], "");
    let said = user(&["remove", "alice"], "");
    let expected =
        format!("alice (a1) is removed, and has left 1 groups\n{}  is owned by b1 now\n", chess.trim());
    assert_eq!(said, expected);
    assert_eq!(user(&["list"], ""), "a1  -  removed\nb1  bob  no password\n");
    assert!(user(&["show", "a1"], "").starts_with("id        a1\nremoved   20"));
    assert!(no(&["remove", "alice"]).contains("there is no user of this name or id: \"alice\""));
    for command in ["remove", "unban", "sessions", "revoke", "password"] {
        let said = no(&[command, "a1"]);
        assert!(said.contains("a1 was removed: nothing can be done with it any more"), "{command}: {said}");
    }
    assert!(no(&["role", "a1", "administrator"]).contains("a1 was removed"));
    assert!(no(&["add", "alice", "--id", "a1", "--no-password"]).contains("there is a user a1 already"));
    user(&["add", "alice", "--id", "a2", "--no-password"], "");
    assert_eq!(user(&["remove", "alice"], ""), "alice (a2) is removed\n");
}

#[test]
fn a_mistyped_folder_is_said_and_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("dta");
    for arguments in
        [&["user", "list"][..], &["user", "add", "alice"], &["group", "create", "chess", "--owner", "alice"]]
    {
        let said = refused(&[arguments, &["--data", data.to_str().unwrap()]].concat(), "correct horse\n");
        assert!(said.contains("there is no database in the data folder"), "{said}");
        assert!(!data.exists());
    }
}

#[test]
fn keys_are_exchanged_and_tokens_made_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let path = file.to_str().unwrap();
    let token =
        |arguments: &[&str], input: &str| done(&[&["token", "--keys", path], arguments].concat(), input);
    let no =
        |arguments: &[&str], input: &str| refused(&[&["token", "--keys", path], arguments].concat(), input);
    assert!(no(&["key", "list"], "").contains("cannot read the keys"));
    let first = token(&["key", "add"], "");
    let old = token(&["issue", "--user", "alice", "--lifetime", "10m"], "");
    let second = token(&["key", "add", "--algorithm", "hs256"], "");
    let list = token(&["key", "list"], "");
    assert!(list.lines().next().unwrap().starts_with(&format!("{}  EdDSA  made 20", first.trim())), "{list}");
    assert!(list.lines().nth(1).unwrap().ends_with("  signs"), "{list}");
    let new = token(&["issue", "--user", "alice"], "");
    for token_text in [&old, &new] {
        assert!(token(&["check"], token_text).starts_with("user alice  issued 20"));
    }
    assert!(token(&["key", "retire", first.trim()], "").contains("is retired"));
    assert!(
        no(&["check"], &old)
            .contains("the token was signed with a key that is not, or no longer, known here")
    );
    assert!(token(&["check"], &new).starts_with("user alice"));
    assert!(no(&["check"], "x").contains("this is no signed token"));
    assert!(no(&["key", "retire", "x"], "").contains("there is no key \"x\""));
    assert!(
        no(&["issue", "--user", "alice", "--lifetime", "30d"], "").contains("tokens last 3600 s at the most")
    );
    assert_eq!(token(&["key", "retire", second.trim()], "").lines().count(), 1);
    assert!(no(&["issue", "--user", "alice"], "").contains("there is no key to sign with"));
    no_secret_is_taken_from_others(path);
    open_files_are_refused(&file);
}

fn no_secret_is_taken_from_others(path: &str) {
    let public = r#"{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","kid":"theirs","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let add = ["token", "--keys", path, "key", "add", "--public", "--issuer", "https://id.example"];
    assert_eq!(done(&add, public), "theirs\n");
    assert!(
        done(&["token", "--keys", path, "key", "list"], "").contains("theirs  EdDSA  of https://id.example")
    );
    let secret = r#"{"kty":"oct","alg":"HS256","kid":"s","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#;
    let said = refused(&add, secret);
    assert!(said.contains("the key \"s\" is secret") && !said.contains("AAAA"), "{said}");
    assert!(refused(&add, public).contains("two keys have the id \"theirs\""));
}

fn open_files_are_refused(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let path = file.to_str().unwrap();
    done(&["token", "--keys", path, "key", "add"], "");
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let said = refused(&["token", "--keys", path, "key", "list"], "");
    assert!(said.contains("others can read the secret keys in") && said.contains("chmod 600 it"), "{said}");
}
