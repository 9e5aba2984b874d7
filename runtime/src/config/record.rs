//! Section `record`: recordings of what the engines are told.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::value;

/// Section `record`: recordings of what the engines are told, from which the simulator does the same again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Record {
    /// The folder of the recordings, which have in them all that is said. Default `off`: nothing is recorded.
    #[serde(with = "value::optional_path")]
    pub folder: Option<PathBuf>,
    /// When they are written. Default `always`.
    pub mode: RecordMode,
    /// Whether what was said, display names and files are replaced by stand-ins. Default `off`.
    pub redact: Redact,
    /// Size at which a shard begins another file, compressed, in bytes. Default 256 MiB; 64 KiB to 1 TiB.
    pub file_bytes: u64,
    /// What all files in the folder may have together, beyond which the oldest are deleted, in bytes. Default 4 GiB; for each shard at least
    /// twice `file_bytes`, to 1 PiB.
    pub total_bytes: u64,
    /// What is kept in memory of each shard with `mode = "on-demand"`, compressed, in bytes. Default 64 MiB; 1 MiB to 1 TiB.
    pub memory_bytes: u64,
}

/// When recordings are written to files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordMode {
    /// At once.
    Always,
    /// When somebody asks, or a shard fails: until then the newest are kept in memory.
    OnDemand,
}

/// Whether recordings have stand-ins in them for what was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Redact {
    /// Of the same length, and the same for the same text.
    On,
    /// Everything is recorded as it was said.
    Off,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            folder: None,
            mode: RecordMode::Always,
            redact: Redact::Off,
            file_bytes: 256 << 20,
            total_bytes: 4 << 30,
            memory_bytes: 64 << 20,
        }
    }
}
