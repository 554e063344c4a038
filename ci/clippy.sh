#!/bin/bash
# Lints, tests and benches included; a warning is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo clippy --all-targets -- -D warnings
