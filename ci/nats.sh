#!/bin/bash
# The package for NATS: lints, documentation, tests. The tests need nats-server; on Debian
# `apt-get install --no-install-recommends nats-server iproute2 openssl`; those over several hosts need to be root.
set -euo pipefail
cd "$(dirname "$0")/.."
# Where no network namespaces may be made, the tests over several hosts are skipped, and say so.
if ! { ip netns add offspring-probe && ip netns delete offspring-probe; } 2>/dev/null; then
    echo "no network namespaces here: tests over several hosts are skipped"
    unset OFFSPRING_TESTS_NO_SKIP
fi
# Debian has the server where only root's PATH looks.
export PATH="$PATH:/usr/sbin"
cargo clippy -p offspring-nats --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc -p offspring-nats --no-deps
# Two at a time: each test has a server, workers and their pools.
timeout 1800 cargo test -p offspring-nats -- --test-threads=2
cargo clippy -p offspring-examples --features nats --bin sha256tree --test nats -- -D warnings
timeout -k 10 600 cargo test -p offspring-examples --features nats --test nats
