#!/bin/bash
# The package for MPI: lints, documentation, tests. Needs an MPI library and libclang; on Debian
# `apt-get install --no-install-recommends libopenmpi-dev openmpi-bin libclang-dev pkg-config`.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo clippy -p offspring-mpi --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc -p offspring-mpi --no-deps
cargo test -p offspring-mpi
