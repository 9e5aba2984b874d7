//! The command `switchboard-floor`.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use switchboard_floor::{Repeater, Route};

/// Repeats WebSocket messages, as cheaply as the kernel lets it
#[derive(Debug, Parser)]
#[command(name = "switchboard-floor", version, about)]
struct Cli {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Whom a message is for
    #[arg(long, value_enum, default_value_t = Route::All)]
    route: Route,
}

fn main() -> ExitCode {
    let Cli { listen, route } = Cli::parse();
    // Where the limit cannot be raised, fewer connections fit, and the one too many ends the run with its reason.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    match Repeater::bind(listen, route).and_then(Repeater::run) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("switchboard-floor: {error}");
            ExitCode::FAILURE
        }
    }
}
