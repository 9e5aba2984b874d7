//! Gives every target all inputs that are kept for it: what has been found to be worth looking at, and what was wrong once.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use peak_alloc::PeakAlloc;
use switchboard_fuzz::{Memory, TARGETS};

/// Counts what is allocated, to hold targets to their limits.
#[global_allocator]
static PEAK: PeakAlloc = PeakAlloc;

/// Bytes of all corpora together: they are part of the repository.
const CORPORA_BYTES: u64 = 2 << 20;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
        Err(_) => Vec::new(),
    };
    paths.sort();
    paths
}

/// In one test, as each other one would allocate as well.
#[test]
fn every_kept_input_holds_and_stays_within_its_memory() {
    for target in TARGETS {
        let corpus = entries(&folder("corpus").join(target.name));
        assert!(!corpus.is_empty(), "there is no corpus of {}", target.name);
        for path in corpus.into_iter().chain(entries(&folder("regressions").join(target.name))) {
            let input = fs::read(&path).unwrap();
            // A panic tells what does not hold, and the test's output which input it was.
            println!("{}", path.display());
            let before = PEAK.current_usage();
            PEAK.reset_peak_usage();
            (target.run)(&input);
            let taken = PEAK.peak_usage().saturating_sub(before);
            let Memory { base_bytes, bytes_per_byte } = target.memory;
            let most = base_bytes + input.len() * bytes_per_byte;
            assert!(taken <= most, "{} takes {taken} bytes, and may take {most}", path.display());
        }
    }
}

#[test]
fn every_input_belongs_to_a_target_and_all_of_them_are_small() {
    let names: BTreeSet<_> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    let mut bytes = 0;
    for kept in ["corpus", "regressions"] {
        for of_target in entries(&folder(kept)) {
            let name = of_target.file_name().unwrap().to_str().unwrap().to_owned();
            let is_known = names.contains(&name) || cfg!(not(feature = "runtime"));
            assert!(is_known, "{} is of no target", of_target.display());
            bytes += entries(&of_target).iter().map(|path| path.metadata().unwrap().len()).sum::<u64>();
        }
    }
    assert!(bytes <= CORPORA_BYTES, "{bytes} bytes are kept, and {CORPORA_BYTES} may be");
}

/// Of each target there is a binary, which does nothing else.
#[test]
fn every_target_has_its_binary() {
    let manifest = fs::read_to_string(folder("Cargo.toml")).unwrap();
    for target in TARGETS {
        let name = target.name;
        let source = fs::read_to_string(folder("fuzz_targets").join(format!("{name}.rs"))).unwrap();
        assert!(source.contains(&format!("switchboard_fuzz::{name}(data)")), "{source}");
        assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"\n")));
    }
}
