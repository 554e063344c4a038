#!/bin/bash
# The entry matrix: is a child recognised before `main`, in every kind of program and however it was built? And where it is not, is
# that refused? Builds the workspace tests/matrix into target/matrix; two minutes from scratch on two idle cores.
set -uo pipefail
cd "$(dirname "$0")/../tests/matrix"
# What starts itself could be a fork bomb: bounded in number and time.
ulimit -u 2000 2>/dev/null
export CARGO_TARGET_DIR=$PWD/../../target/matrix
cp ../../Cargo.lock . # the same versions as everywhere
failed=()

# row NAME EXPECTED COMMAND...: the command's standard output must be EXPECTED, where that is not `-`.
row() {
    local name=$1 expected=$2 start=$SECONDS output status
    shift 2
    output=$(timeout 300 "$@" 2>"$CARGO_TARGET_DIR.log")
    status=$?
    if [ $status -eq 0 ] && { [ "$expected" = - ] || [[ $output == $expected ]]; }; then
        echo "$name: ok ($((SECONDS - start)) s)"
    else
        echo "$name: FAILED with status $status"
        echo "--- stdout"; echo "$output" | tail -n 20
        echo "--- stderr"; tail -n 40 "$CARGO_TARGET_DIR.log"
        failed+=("$name")
    fi
}
lacks() {
    echo "$1: skipped, $2"
    [ -z "${OFFSPRING_TESTS_NO_SKIP:-}" ] || failed+=("$1")
}
mkdir -p "$CARGO_TARGET_DIR"
once=$'main\nchecked'
row "debug" "$once" cargo run --quiet
row "example" "$once" cargo run --quiet --example example
row "unit, integration and doc tests" - cargo test --quiet
if cargo nextest --version >/dev/null 2>&1; then
    row "nextest" - cargo nextest run --cargo-quiet
else
    lacks "nextest" "cargo-nextest is not installed"
fi
row "in a shared library, with init" $'main\n9' cargo run --quiet --package uses_shared
row "in a shared library, without" $'main\n*offspring::init()*' cargo run --quiet --package uses_shared -- refused
row "in a shared library, with init too late" $'main\n*offspring::init()*before any thread*' cargo run --quiet --package uses_shared -- late
row "release" "$once" cargo run --quiet --release
row "bench" "$once" cargo bench --quiet --bench bench

# Only the program itself is built anew for these; flags for all crates would mean building all of them each time.
variant() { # NAME PROFILE RUSTC-FLAGS...
    local name=$1 profile=$2
    shift 2
    if cargo rustc --quiet --package app --bin app --profile "$profile" -- "$@" 2>"$CARGO_TARGET_DIR.log"; then
        row "$name" "$once" "$CARGO_TARGET_DIR/$profile/app"
    else
        row "$name" "$once" cat "$CARGO_TARGET_DIR.log"
    fi
}
variant "panic=abort" release -C panic=abort
variant "stripped" release -C strip=symbols
variant "GNU ld" release -C linker-features=-lld
variant "static" release -C target-feature=+crt-static
variant "thin LTO" lto -C lto=thin
variant "fat LTO" lto -C lto=fat -C codegen-units=1

# The hook is built out: a child would run main again. Refused before there is one; and what such a child would do, had it been started:
without=(env RUSTFLAGS="--cfg offspring_no_entry" cargo run --quiet --target-dir "$CARGO_TARGET_DIR/no_entry" -- refused)
row "without the entry" $'main\n*refused*' "${without[@]}"
row "a child without the entry" $'main\n*did not notice*refused*' env OFFSPRING_CHILD=99.1 "${without[@]}"

if [ ${#failed[@]} -gt 0 ]; then
    printf 'FAILED: %s\n' "${failed[@]}"
    exit 1
fi
