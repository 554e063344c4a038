#!/bin/bash
# The package for MPI: lints, documentation, tests. Needs an MPI library and libclang; on Debian
# `apt-get install --no-install-recommends libopenmpi-dev openmpi-bin libclang-dev pkg-config`.
set -euo pipefail
cd "$(dirname "$0")/.."
# Where no network namespaces may be made, the tests over several hosts are skipped, and say so.
if ! { ip netns add offspring-probe && ip netns delete offspring-probe; } 2>/dev/null; then
    echo "no network namespaces here: tests over several hosts are skipped"
    unset OFFSPRING_TESTS_NO_SKIP
fi
cargo clippy -p offspring-mpi --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc -p offspring-mpi --no-deps
# The jobs run under time limits of their own, two at a time: each has ranks that wait by looking. The hosts of tests/hosts.sh want root.
timeout -k 10 1200 cargo test -p offspring-mpi --features journal -- --test-threads=2
cargo clippy -p offspring-examples --features mpi --bins -- -D warnings
timeout -k 10 600 cargo test -p offspring-examples --features mpi --test mpi
