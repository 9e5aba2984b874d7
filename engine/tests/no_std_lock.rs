//! The crate that proves the engine to be `no_std` is built of the same packages as the workspace.

use std::collections::BTreeSet;

/// Name, version and checksum of every package of a lock file that comes from a registry.
fn packages(lock: &str) -> BTreeSet<Vec<&str>> {
    lock.split("[[package]]")
        .filter(|package| package.contains("\nchecksum = "))
        .map(|package| {
            let kept = |line: &&str| ["name", "version", "checksum"].iter().any(|key| line.starts_with(key));
            package.lines().filter(kept).collect()
        })
        .collect()
}

#[test]
fn the_no_std_crate_locks_the_versions_of_the_workspace() {
    let workspace = packages(include_str!("../../Cargo.lock"));
    let no_std = packages(include_str!("no_std/Cargo.lock"));
    assert!(no_std.len() > 5, "the lock file was not understood: {no_std:?}");
    let others: Vec<_> = no_std.difference(&workspace).collect();
    assert!(
        others.is_empty(),
        "see no_std/Cargo.toml on how to lock anew; not in the workspace: {others:#?}"
    );
}
