#!/bin/bash
# Is all Rust code formatted? `cargo fmt --all` formats it.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo fmt --all --check
