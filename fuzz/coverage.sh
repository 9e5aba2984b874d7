#!/usr/bin/env bash
# How many of the engine's lines the kept inputs reach: a table of its files, and an error below 90%.
#
#   fuzz/coverage.sh [CORPORA]     another folder of corpora than fuzz/corpus, to see what it would add
#
# It needs a llvm-profdata and llvm-cov that read the profiles of the compiler in use: those of `rustup component add llvm-tools`, of
# Debian's llvm-22 (the LLVM of Rust 1.95), or what LLVM_PROFDATA and LLVM_COV name.
set -euo pipefail
cd "$(dirname "$0")/.."
least=90
corpora=${1:-fuzz/corpus}
target=target/coverage
export CARGO_TARGET_DIR=$target CARGO_INCREMENTAL=0 CARGO_TERM_COLOR=never
# Whatever is instrumented leaves a profile where it runs, build scripts too. Only those of the inputs are wanted.
export LLVM_PROFILE_FILE=/dev/null

tools=$(rustc --print target-libdir)/../bin
version=$(rustc --version --verbose | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
find_tool() {
    local name
    for name in "$tools/$1" "$1-$version" "$1"; do
        # An older one is often installed, and cannot read the profiles.
        [[ $("$name" --version 2>/dev/null) == *"LLVM version $version."* ]] && command -v "$name" && return
    done
    echo "there is no $1 of LLVM $version: rustup component add llvm-tools, or apt-get install llvm-$version" >&2
    return 2
}
profdata=${LLVM_PROFDATA:-$(find_tool llvm-profdata)}
cov=${LLVM_COV:-$(find_tool llvm-cov)}

# Only what belongs to the workspace is instrumented; optimised a little, as whole worlds are run.
rm -rf "$target/profiles"
mkdir -p "$target/profiles"
cat >"$target/instrumented" <<'WRAPPER'
#!/bin/sh
exec "$@" -Cinstrument-coverage
WRAPPER
chmod +x "$target/instrumented"
RUSTC_WORKSPACE_WRAPPER=$PWD/$target/instrumented CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_DEBUG=none \
    cargo build --locked -q -p switchboard-fuzz --bin switchboard-fuzz --no-default-features
program=$target/debug/switchboard-fuzz
for name in $("$program" list); do
    find "$corpora/$name" -type f -print0 | LLVM_PROFILE_FILE=$target/profiles/$name.%p.profraw xargs -0 -r "$program" run "$name" >"$target/log" ||
        { tail -n 3 "$target/log"; exit 1; }
done
"$profdata" merge -sparse "$target"/profiles/*.profraw -o "$target/all.profdata"
"$cov" export --summary-only --instr-profile "$target/all.profdata" "$program" "$PWD/engine/src" |
    jq -r --arg here "$PWD/engine/src/" --argjson least "$least" '
        .data[0].files | map({name: .filename | ltrimstr($here), lines: .summary.lines})
        | (map(.lines.covered) | add) as $covered | (map(.lines.count) | add) as $count
        | (sort_by(.name)[] | "\(.lines.percent * 10 | floor / 10)%\t\(.lines.covered) of \(.lines.count)\t\(.name)"),
          "\($covered * 1000 / $count | floor / 10)%\t\($covered) of \($count)\tall of the engine",
          if $covered * 100 < $least * $count then "below \($least)%" | halt_error(1) else empty end'
