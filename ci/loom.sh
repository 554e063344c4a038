#!/bin/bash
# Models of the locks' kernels: every order of steps of two or three threads, up to a number of preemptions.
set -euo pipefail
cd "$(dirname "$0")/.."
export RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom LOOM_MAX_BRANCHES=10000
timeout "${LOOM_SECONDS:-900}" cargo test --release --quiet --manifest-path tests/loom/Cargo.toml
