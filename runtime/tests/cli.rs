//! The command line, mostly by running the real binary.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic like tests")]

use std::process::{Command as Process, Output};

use switchboard::cli::{ChatArgs, Command, GroupArgs, GroupCommand, parse_from};
use switchboard_engine::{GroupId, UserId};

fn run(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut process = Process::new(env!("CARGO_BIN_EXE_switchboard"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SWITCHBOARD_") {
            process.env_remove(name);
        }
    }
    process.args(args).envs(variables.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[track_caller]
fn assert_wrong(output: &Output, parts: &[&str]) {
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert_eq!(text(&output.stdout), "");
    for part in parts {
        assert!(errors.contains(part), "{errors}");
    }
}

#[test]
fn help_names_the_commands_and_gives_examples() {
    let output = run(&["--help"], &[]);
    assert_eq!(output.status.code(), Some(0));
    let help = text(&output.stdout);
    for part in [
        "serve",
        "chat",
        "group",
        "user",
        "token",
        "store",
        "backup",
        "doctor",
        "health",
        "config",
        "Examples:",
        "Exit codes:",
    ] {
        assert!(help.contains(part), "{help}");
    }
}

#[test]
fn help_of_serve_names_every_flag() {
    let output = run(&["serve", "--help"], &[]);
    let help = text(&output.stdout);
    for flag in ["--listen", "--data", "--shards", "--auth", "--devices", "--config", "--log"] {
        assert!(help.contains(flag), "{help}");
    }
}

#[test]
fn the_defaults_in_the_help_are_the_defaults() {
    let output = run(&["serve", "--help"], &[]);
    let help = text(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    let table = toml::Table::try_from(switchboard::config::Config::default()).unwrap();
    for key in ["listen", "data", "shards", "auth", "devices", "log"] {
        let default = table[key].to_string().replace('"', "");
        let flag = help.split(&format!(" --{key} <")).nth(1).unwrap();
        let after = flag.split("[default: ").nth(1).unwrap();
        assert!(after.starts_with(&format!("{default}]")), "{key}: {after}");
    }
}

#[test]
fn the_version_is_the_packages() {
    let output = run(&["--version"], &[]);
    assert_eq!(text(&output.stdout), concat!("switchboard ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn a_wrong_flag_is_wrong_usage_and_suggests_the_right_one() {
    assert_wrong(&run(&["serve", "--lisen", "x"], &[]), &["--lisen", "--listen"]);
    assert_wrong(&run(&["sevre"], &[]), &["sevre", "serve"]);
    assert_wrong(&run(&[], &[]), &["Usage"]);
}

#[test]
fn a_wrong_key_is_told_in_one_line_for_serve_as_for_config() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    std::fs::write(&path, "[limits]\nmesage_bytes = 1\n").unwrap();
    let path = path.to_str().unwrap();
    let line = format!(
        "error: unknown key limits.mesage_bytes ({path}, line 2): did you mean limits.message_bytes?\n"
    );
    for command in ["serve", "config"] {
        let outputs =
            [run(&[command, "--config", path], &[]), run(&[command], &[("SWITCHBOARD_CONFIG", path)])];
        for output in outputs {
            assert_wrong(&output, &[]);
            assert_eq!(text(&output.stderr), line);
        }
    }
}

#[test]
fn causes_have_a_line_each() {
    let output = run(&["serve", "--log", "inof"], &[]);
    assert_wrong(
        &output,
        &["error: log = \"inof\" (flag --log) must be a log filter", "\n  caused by: \"inof\""],
    );
    assert_eq!(text(&output.stderr).lines().count(), 2);
}

#[test]
fn an_open_address_is_refused_unless_asked_for() {
    assert_wrong(&run(&["serve", "--listen", "0.0.0.0:0"], &[]), &["listen = 0.0.0.0:0", "--auth open"]);
    let asked = run(&["config", "--listen", "0.0.0.0:0", "--auth", "open"], &[]);
    assert_eq!(asked.status.code(), Some(0));
}

#[test]
fn config_prints_the_values_and_their_origins() {
    let output = run(&["config", "--shards", "2"], &[("SWITCHBOARD_LIMITS_PENDING", "9")]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "");
    let printed = text(&output.stdout);
    for line in [
        "listen = \"127.0.0.1:8888\" # default\n",
        "shards = 2 # flag --shards\n",
        "\n[limits]\n",
        "pending = 9 # environment variable SWITCHBOARD_LIMITS_PENDING\n",
    ] {
        assert!(printed.contains(line), "{printed}");
    }
    assert_eq!(printed.parse::<toml::Table>().unwrap()["limits"]["pending"].as_integer(), Some(9));
}

fn parsed(line: &str) -> Result<Command, clap::Error> {
    parse_from(line.split(' '))
}

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

fn group(id: &str) -> GroupId {
    GroupId::new(id).unwrap()
}

#[test]
fn chat_is_with_a_user_or_with_a_group() {
    let args = |to, group, url: &str| {
        Command::Chat(ChatArgs {
            user: user("alice"),
            to,
            group,
            url: url.parse().unwrap(),
            ca: None,
            token: None,
            history: None,
            store: None,
        })
    };
    assert_eq!(
        parsed("switchboard chat --user alice --to bob").unwrap(),
        args(Some(user("bob")), None, "ws://127.0.0.1:8888")
    );
    assert_eq!(
        parsed("switchboard chat --user alice --group g --url ws://[::1]:9/x").unwrap(),
        args(None, Some(group("g")), "ws://[::1]:9/x")
    );
    for line in [
        "switchboard chat --user alice",
        "switchboard chat --to bob",
        "switchboard chat --user alice --to bob --group g",
        "switchboard chat --user alice --to bob --url https://a",
        "switchboard chat --user alice --to bob --url 127.0.0.1:8888",
        "switchboard chat --user alice --to ",
    ] {
        assert_eq!(parsed(line).unwrap_err().exit_code(), 2, "{line}");
    }
}

#[test]
fn groups_are_created_joined_left_and_listed() {
    for (line, command) in [
        (
            "create friends --owner alice",
            GroupCommand::Create { name: "friends".to_owned(), owner: user("alice"), open: false },
        ),
        ("join g bob", GroupCommand::Join { group: group("g"), user: user("bob") }),
        ("members g", GroupCommand::Members { group: group("g") }),
        ("leave g bob", GroupCommand::Leave { group: group("g"), user: user("bob") }),
        ("list", GroupCommand::List { user: None }),
        ("list --user bob", GroupCommand::List { user: Some(user("bob")) }),
    ] {
        for (flags, data) in [("", None), (" --data there", Some("there".to_owned()))] {
            let expected = GroupArgs { command: command.clone(), config: None, data };
            let parsed = parsed(&format!("switchboard group {line}{flags}")).unwrap();
            assert_eq!(parsed, Command::Group(expected), "{line}{flags}");
        }
    }
    for line in ["create friends", "join g", "leave g", "list bob"] {
        assert_eq!(parsed(&format!("switchboard group {line}")).unwrap_err().exit_code(), 2, "{line}");
    }
}

#[test]
fn new_epochs_need_a_database() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let output = run(&["store", "new-epochs", "--data", data], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(data), "{}", text(&output.stderr));
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing was made in it");
    switchboard::store::Directory::open(folder.path()).unwrap();
    let output = run(&["store", "new-epochs", "--data", data], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "new epochs: 0; clients will fetch these conversations again\n");
}
