//! A client that has nothing in common with this workspace: Python's standard library.

use std::process::Command;

use crate::{harness::create_group, process::Process};

#[test]
fn pythons_standard_library_finds_the_rules_of_the_classic_protocol_to_hold() {
    for shards in ["1", "4"] {
        let folder = tempfile::tempdir().unwrap();
        create_group(folder.path(), "friends", &["member-1", "member-2"]);
        let process = Process::start(folder.path(), &[("SWITCHBOARD_SHARDS", shards)]);
        let output = Command::new("python3")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/classic.py"))
            .arg(process.address.to_string())
            .args(["friends", "member-1", "member-2"])
            .output()
            .expect("this test needs python3: install it, and see that it is on the PATH");
        let report = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{report}{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(report.lines().filter(|line| line.ends_with(": ok")).count(), 8, "{report}");
    }
}
