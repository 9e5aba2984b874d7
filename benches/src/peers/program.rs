//! The programs that are measured beside each other: how each is built and started.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::Scenario;
use crate::{BenchError, Progress, Settings, Target};

/// Where builds of peers go, below the repository.
const BUILDS: &str = "target/peers";

/// Lines of a failed build's output that are told.
const TOLD_LINES: usize = 3;

/// A program to be measured.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    /// The server of this repository, with one shard.
    Switchboard,
    /// The same with two shards.
    TwoShards,
    /// A bare repeater with epoll: what the kernel costs.
    Floor,
    /// A hub with axum, the way its chat example is written.
    Axum,
    /// A hub with Node and ws.
    Node,
    /// A hub in Go with gorilla/websocket, its channels without buffers, as the original server has them.
    Go,
    /// The same, with the buffers of gorilla's chat example.
    GoBuffered,
}

/// Whom messages go to; the floor cannot read it from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    All,
    Pairs,
}

/// A peer that is built.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    peer: Peer,
    path: PathBuf,
    arguments: Vec<OsString>,
}

/// Why a peer cannot be measured, in words.
pub(crate) type Missing = String;

impl Peer {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 7] =
        [Self::Switchboard, Self::TwoShards, Self::Floor, Self::Axum, Self::Node, Self::Go, Self::GoBuffered];

    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Switchboard => "switchboard",
            Self::TwoShards => "two-shards",
            Self::Floor => "floor",
            Self::Axum => "axum",
            Self::Node => "node",
            Self::Go => "go",
            Self::GoBuffered => "go-buffered",
        }
    }

    /// Whether a load is put on it: of two shards only what messages cost is asked.
    pub(super) const fn takes(self, scenario: Scenario) -> bool {
        match (self, scenario) {
            (Self::TwoShards, Scenario::Idle | Scenario::Storm | Scenario::Stall) => false,
            (Self::TwoShards, Scenario::Broadcast { .. } | Scenario::Direct { .. })
            | (Self::Switchboard | Self::Floor | Self::Axum | Self::Node | Self::Go | Self::GoBuffered, _) => {
                true
            }
        }
    }

    /// Builds it from what is in the repository.
    pub(crate) fn build(self, repository: &Path, progress: &mut Progress) -> Result<Program, Missing> {
        match self {
            Self::Switchboard | Self::TwoShards => {
                cargo(repository, &["-p", "switchboard", "--target-dir", "target"], progress)?;
            }
            Self::Floor => {
                cargo(repository, &["-p", "switchboard-floor", "--target-dir", "target"], progress)?;
            }
            Self::Axum => {
                let manifest = ["--manifest-path", "benches/peers/axum/Cargo.toml"];
                cargo(repository, &[manifest, ["--target-dir", "target/peers/axum"]].concat(), progress)?;
            }
            Self::Node => {
                let folder = repository.join(BUILDS).join("node");
                npm(&repository.join("benches/peers/node"), &folder, progress)?;
            }
            Self::Go | Self::GoBuffered => go(repository, progress)?,
        }
        self.built(repository)
    }

    /// Takes it as it was built before.
    pub(crate) fn built(self, repository: &Path) -> Result<Program, Missing> {
        let builds = repository.join(BUILDS);
        let file = match self {
            Self::Switchboard | Self::TwoShards => repository.join("target/release/switchboard"),
            Self::Floor => repository.join("target/release/switchboard-floor"),
            Self::Axum => builds.join("axum/release/switchboard-peer-axum"),
            Self::Node => builds.join("node/hub.js"),
            Self::Go | Self::GoBuffered => builds.join("go/hub"),
        };
        if !file.is_file() {
            return Err(format!("{} is not there", file.display()));
        }
        let (path, arguments) = match self {
            Self::Node => (PathBuf::from("node"), vec![file.into()]),
            Self::GoBuffered => (file, vec!["--send-buffer=256".into()]),
            Self::Switchboard | Self::TwoShards | Self::Floor | Self::Axum | Self::Go => (file, Vec::new()),
        };
        Ok(Program { peer: self, path, arguments })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Program {
    pub(crate) const fn peer(&self) -> Peer {
        self.peer
    }

    /// Starts it on a free port; it is stopped when the target goes.
    pub(crate) fn start(&self, route: Route) -> Result<Target, BenchError> {
        match (self.peer, route) {
            (Peer::Switchboard, _) => Target::started(&self.path, &Settings::default()),
            (Peer::TwoShards, _) => {
                Target::started(&self.path, &Settings { shards: 2, ..Settings::default() })
            }
            (Peer::Floor, Route::All) => Target::other(&self.path, &["--route=all".into()]),
            (Peer::Floor, Route::Pairs) => Target::other(&self.path, &["--route=pairs".into()]),
            (Peer::Axum | Peer::Node | Peer::Go | Peer::GoBuffered, _) => {
                Target::other(&self.path, &self.arguments)
            }
        }
    }
}

fn cargo(repository: &Path, what: &[&str], progress: &mut Progress) -> Result<(), Missing> {
    let mut command = Command::new("cargo");
    command.current_dir(repository).args(["build", "--release", "--locked"]).args(what);
    run(command, "https://rustup.rs", progress)
}

/// Everything is put beside the modules, so that nothing is written among the sources.
fn npm(sources: &Path, folder: &Path, progress: &mut Progress) -> Result<(), Missing> {
    let lock = |folder: &Path| fs::read(folder.join("package-lock.json")).ok();
    let installed = folder.join("node_modules/ws").is_dir() && lock(folder) == lock(sources);
    fs::create_dir_all(folder).map_err(|error| format!("making {}: {error}", folder.display()))?;
    for file in ["hub.js", "package.json", "package-lock.json"] {
        fs::copy(sources.join(file), folder.join(file))
            .map_err(|error| format!("copying {}: {error}", sources.join(file).display()))?;
    }
    let mut node = Command::new("node");
    node.arg("--version");
    run(node, "apt-get install nodejs npm", progress)?;
    if installed {
        return Ok(());
    }
    let mut command = Command::new("npm");
    command.current_dir(folder).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    run(command, "apt-get install nodejs npm", progress)
}

/// With the libraries of Debian, which need no network.
fn go(repository: &Path, progress: &mut Progress) -> Result<(), Missing> {
    let mut command = Command::new("go");
    command.current_dir(repository).args(["build", "-o", "target/peers/go/hub", "benches/peers/go/hub.go"]);
    command.envs([("GOPATH", "/usr/share/gocode"), ("GO111MODULE", "off"), ("GOFLAGS", "")]);
    let packages = "golang-go golang-github-gorilla-websocket-dev golang-google-protobuf-dev";
    let install = format!("apt-get install --no-install-recommends {packages}");
    run(command, &install, progress)
}

/// Runs a step of a build to its end.
fn run(mut command: Command, install: &str, progress: &mut Progress) -> Result<(), Missing> {
    let tool = command.get_program().to_string_lossy().into_owned();
    let words = command.get_args().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    progress.show(|| format!("building: {tool} {words}"));
    let output = command.output().map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            return format!("{tool} is not installed ({install})");
        }
        format!("{tool} does not run: {error}")
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let told = lines.get(lines.len().saturating_sub(TOLD_LINES)..).unwrap_or_default().join("; ");
    Err(format!("{tool} {words} failed: {told} (it needs: {install})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_step(program: &str, arguments: &[&str]) -> Result<(), Missing> {
        let mut command = Command::new(program);
        command.args(arguments);
        run(command, "apt-get install it", &mut Progress::silent())
    }

    #[test]
    fn a_tool_that_is_missing_is_named_with_what_to_install() {
        let missing = run_step("no-such-tool", &[]).unwrap_err();
        assert_eq!(missing, "no-such-tool is not installed (apt-get install it)");
    }

    #[test]
    fn a_peer_that_was_never_built_is_missing() {
        let nowhere = tempfile::tempdir().unwrap();
        for peer in Peer::ALL {
            let missing = peer.built(nowhere.path()).unwrap_err();
            assert!(missing.ends_with("is not there"), "{missing}");
        }
    }

    #[test]
    fn a_build_that_fails_tells_its_last_words() {
        let said = "for word in one two three four; do echo $word >&2; done; exit 3";
        let failed = run_step("sh", &["-c", said]).unwrap_err();
        assert!(failed.contains("failed: two; three; four (it needs: apt-get install it)"), "{failed}");
        assert_eq!(run_step("true", &[]), Ok(()));
    }
}
