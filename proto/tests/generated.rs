//! The committed code is the one that the schemas give.
use std::{env, fs, path::Path};

const FILES: [&str; 3] = ["protocol.rs", "switchboard.recording.v1.rs", "switchboard.v1.rs"];

#[test]
fn generated_code_matches_the_schemas() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let schemas = root.join("proto");
    let descriptors = protox::compile(
        [
            "classic.proto",
            "switchboard/v1/session.proto",
            "switchboard/v1/note.proto",
            "switchboard/recording/v1/recording.proto",
        ],
        [&schemas],
    )
    .expect("valid schemas");
    let out = tempfile::tempdir().expect("a temporary folder");
    prost_build::Config::new()
        .bytes(["."])
        .btree_map(["."])
        .out_dir(out.path())
        .compile_fds(descriptors)
        .expect("code for the schemas");

    let committed = root.join("src/generated");
    let update = env::var_os("UPDATE_GENERATED").is_some();
    for file in FILES {
        let fresh = fs::read_to_string(out.path().join(file)).expect("a generated file");
        if update {
            fs::create_dir_all(&committed).expect("src/generated");
            fs::write(committed.join(file), &fresh).expect("writing src/generated");
        }
        let kept = fs::read_to_string(committed.join(file)).unwrap_or_default();
        assert!(
            fresh == kept,
            "src/generated/{file} is not what the schemas give: \
             run `UPDATE_GENERATED=1 cargo test -p switchboard-proto` and commit the result"
        );
    }
}
