#!/bin/bash
# All tests, by the very command that README.md gives. Needs Rust and a C linker.
set -euo pipefail
cd "$(dirname "$0")/.."
command='cargo test'
grep -qxF "$command" README.md || { echo "README.md does not say \`$command\`"; exit 1; }
$command
